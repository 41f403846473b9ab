//! Notes every event in a document of its own, with how often it came: 1 if
//! deliveries are exactly once.

use hospes_sdk::documents::{self, Collection, Expectation};
use hospes_sdk::{Event, EventBody, Result, Subject, Timestamp, customers};
use serde::{Deserialize, Serialize};

pub(crate) const SEEN: Collection<Seen> = Collection::new("seen");
pub(crate) const TALLIES: Collection<Tally> = Collection::new("tallies");

#[derive(Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) name: String,
    pub(crate) count: i64,
    pub(crate) occurred_at: Timestamp,
    pub(crate) backfill: bool,
}

/// How many events a customer had, and a number to add to and take from.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) events: i64,
    pub(crate) amount: i64,
}

pub(crate) fn handle(events: Vec<Event>) -> Result<()> {
    for event in events {
        let Some(customer) = customer_of(&event) else {
            continue;
        };
        let subject = Subject::Customer(customer.clone());
        let count = SEEN.get(&event.id)?.map_or(0, |seen| seen.value.count) + 1;
        let seen = Seen { name: event.name, count, occurred_at: event.occurred_at, backfill: event.backfill };
        let mut tally = tally_of(&customer)?;
        tally.events += 1;
        documents::put_all(&[
            SEEN.write(&event.id, &subject, Expectation::Nothing, &seen)?,
            TALLIES.write(&customer, &subject, Expectation::Nothing, &tally)?,
        ])?;
        customers::set_fields(&[customers::field(&customer, "events", tally.events)])?;
    }
    Ok(())
}

pub(crate) fn tally_of(customer: &str) -> Result<Tally> {
    Ok(TALLIES.get(customer)?.map(|tally| tally.value).unwrap_or_default())
}

fn customer_of(event: &Event) -> Option<String> {
    match &event.body {
        EventBody::CustomerCreated(customer) | EventBody::CustomerUpdated(customer) => {
            Some(customer.id.clone())
        }
        EventBody::OrderCreated(order) | EventBody::OrderUpdated(order) | EventBody::OrderRefunded(order) => {
            Some(order.customer_id.clone())
        }
        EventBody::InteractionCreated(interaction) => Some(interaction.customer_id.clone()),
        EventBody::BehaviourCreated(behaviour) => Some(behaviour.customer_id.clone()),
        EventBody::CustomerDeleted(_) | EventBody::Unknown(_) => None,
    }
}
