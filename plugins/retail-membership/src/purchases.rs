//! Orders become points. One batch of events costs the host a handful of calls,
//! however many customers are in it.

use std::collections::{BTreeMap, BTreeSet};

use hospes_sdk::{Event, Order, Result, log};

use crate::account::Recorded;
use crate::programme::Enrol;
use crate::rating;
use crate::store::{Account, Desk};

/// Handles a batch of events.
pub(crate) fn handle(events: Vec<Event>) -> Result<()> {
    let orders = newest(events.into_iter().filter_map(|event| event.body.into_order()));
    if orders.is_empty() {
        return Ok(());
    }
    let desk = Desk::open()?;
    let customers: BTreeSet<&str> = orders.values().map(|order| order.customer_id.as_str()).collect();
    let mut accounts = desk.load(customers)?;
    for order in orders.values() {
        if let Some(account) = accounts.get_mut(order.customer_id.as_str()) {
            record(&desk, account, order);
        }
    }
    desk.save(accounts.values_mut())
}

/// The newest version of every order of the batch.
fn newest(orders: impl Iterator<Item = Order>) -> BTreeMap<String, Order> {
    let mut newest: BTreeMap<String, Order> = BTreeMap::new();
    for order in orders {
        let known = newest.get(&order.id);
        if known.is_none_or(|known| known.version <= order.version) {
            newest.insert(order.id.clone(), order);
        }
    }
    newest
}

fn record(desk: &Desk, account: &mut Account, order: &Order) {
    let member = match (&mut account.member, desk.programme.enrol) {
        (Some(member), _) => member,
        (None, Enrol::OnJoin) => return,
        (member @ None, Enrol::Automatic) => member.insert(desk.enrol(&account.customer, order.ordered_at)),
    };
    let too_early = desk.programme.enrol == Enrol::OnJoin
        && member.signed_up_at.is_some_and(|joined| order.ordered_at < joined);
    if too_early {
        return;
    }
    let rating = rating::rate(order, &desk.programme, &desk.currency);
    if member.record(order, rating, &mut account.changes) == Recorded::Full {
        log::warn(&format!(
            "customer `{}` has too many open orders: order `{}` earns nothing",
            account.customer, order.id
        ));
    }
}
