//! Use cases of orders and refunds; prepared and written as customers are.
//!
//! An order is as visible as its customer. Writing by external id changes nothing if
//! the order is the same already.

mod change;
mod maker;

use std::collections::HashMap;

pub use change::{OrderChange, apply, apply_many};
use maker::{Maker, Mode};

use futures::future::BoxFuture;

use super::customers::{Upserted, is_race};
use super::pending::Pending;
use super::{Core, check_many, visible};

use crate::db::orders;
use crate::domain::actor::{Actor, Visibility};
use crate::domain::code::{Reason, RecordKind};
use crate::domain::ids::{OrderId, RefundId};
use crate::domain::order::{NewOrder, NewRefund, Order, OrderPatch};
use crate::domain::page::{Page, PageRequest};
use crate::domain::permission::Permission;
use crate::domain::query::{OrderFilter, OrderSort};
use crate::error::{Error, Result};

/// How often a change without a stated version is prepared again after it met another one.
const ATTEMPTS_MAX: u32 = 4;
/// Orders that are written together, at most.
pub const UPSERT_MANY_MAX: usize = 1_000;

/// Prepares a new order, and its customer if that is to be made.
///
/// # Errors
/// `Forbidden`, `Invalid` with every fault, `external_id_taken`, and those of hooks.
pub async fn prepare_create(
    core: &Core,
    actor: &Actor,
    new: NewOrder,
    pending: &Pending,
) -> Result<OrderChange> {
    let mut maker = Maker::load(core, actor, std::slice::from_ref(&new), pending).await?;
    maker.make(new, Mode::Create).await
}

/// Prepares a change; `expected` is the version that the caller has seen.
///
/// # Errors
/// `NotFound`, `VersionMismatch`, `order_status`, `order_closed`, `Invalid`, and those of hooks.
pub async fn prepare_update(
    core: &Core,
    actor: &Actor,
    (id, expected): (&OrderId, Option<i64>),
    patch: OrderPatch,
    pending: &Pending,
) -> Result<OrderChange> {
    let before = find(core, actor, (id, expected), pending).await?;
    let mut maker = Maker::for_patch(core, actor, &patch).await?;
    maker.update(before, patch, Mode::Create).await
}

/// Prepares a refund. One that its source has stated before is no change.
///
/// # Errors
/// `NotFound`, `VersionMismatch`, `Invalid`, `refund_exceeds_total`, `order_cancelled`,
/// `external_id_taken` for another refund with the same external id, and those of hooks.
pub async fn prepare_refund(
    core: &Core,
    actor: &Actor,
    (id, expected): (&OrderId, Option<i64>),
    new: NewRefund,
    pending: &Pending,
) -> Result<OrderChange> {
    let before = find(core, actor, (id, expected), pending).await?;
    let now = core.now();
    let mut after = before.clone();
    if let Some(known) = before.refund_of(&new) {
        if known.amount != new.amount {
            let message = "the order has another refund with this external id";
            return Err(Error::conflict(Reason::ExternalIdTaken, message));
        }
    } else {
        after.refund(RefundId::new(&*core.ids, now), new, now)?;
        after = maker::hook(core, actor, Some(&before), after).await?;
        after.check_status(&before)?;
        after.check_closed(&before)?;
    }
    Ok(OrderChange::updated(core, actor, (before, after), ("order.refund", "order.refunded"), now))
}

/// Prepares writes by external id, with few statements for all of them, at most
/// [`UPSERT_MANY_MAX`]. Orders that name the same external id build on one another, and
/// customers that are to be made are made once.
///
/// Each order has an answer of its own; the changes of the good ones are written
/// together by [`apply_many`].
///
/// # Errors
/// `Forbidden`, a limit for more orders, and those of the database.
pub async fn prepare_upsert_many(
    core: &Core,
    actor: &Actor,
    news: Vec<NewOrder>,
) -> Result<Vec<Result<OrderChange>>> {
    if news.len() > UPSERT_MANY_MAX {
        let message = format!("at most {UPSERT_MANY_MAX} orders can be written together");
        return Err(Error::Limit {
            code: Reason::UpsertMany { max: UPSERT_MANY_MAX.to_string() },
            message,
            retry_after_s: 0,
        });
    }
    let mut maker = Maker::load(core, actor, &news, &Pending::default()).await?;
    let mut changes = Vec::with_capacity(news.len());
    for new in news {
        changes.push(maker.make(new, Mode::Upsert).await);
    }
    Ok(changes)
}

async fn find(
    core: &Core,
    actor: &Actor,
    (id, expected): (&OrderId, Option<i64>),
    pending: &Pending,
) -> Result<Order> {
    let visibility: Visibility = visible(actor, Permission::OrderWrite)?;
    let order = match pending.order(id) {
        Some(order) => Some(order.clone()),
        None => {
            let mut reader = core.db.read(&actor.tenant).await?;
            orders::find(&mut reader, &actor.tenant, &visibility, id).await?
        }
    };
    let order = order.ok_or_else(|| Error::not_found(RecordKind::Order, id))?;
    super::check_version(RecordKind::Order, id, expected, order.version)?;
    Ok(order)
}

/// Makes an order.
///
/// # Errors
/// Those of [`prepare_create`] and [`apply`].
pub async fn create(core: &Core, actor: &Actor, new: NewOrder) -> Result<Order> {
    let pending = Pending::default();
    let mut attempt = 1;
    loop {
        let change = prepare_create(core, actor, new.clone(), &pending);
        match write(core, actor, change).await {
            // Another transaction has made the customer that this one was about to make.
            Err(Error::Conflict { code: Reason::IdentityTaken, .. }) if attempt < ATTEMPTS_MAX => {
                attempt += 1
            }
            answer => return answer.map(|upserted| upserted.record),
        }
    }
}

/// Changes an order. Without `expected`, a concurrent change is no error: the patch is applied to its result.
///
/// # Errors
/// Those of [`prepare_update`] and [`apply`].
pub async fn update(
    core: &Core,
    actor: &Actor,
    (id, expected): (&OrderId, Option<i64>),
    patch: OrderPatch,
) -> Result<Order> {
    let pending = Pending::default();
    let mut attempt = 1;
    loop {
        let change = prepare_update(core, actor, (id, expected), patch.clone(), &pending);
        match write(core, actor, change).await {
            Err(Error::VersionMismatch { .. }) if expected.is_none() && attempt < ATTEMPTS_MAX => {
                attempt += 1;
            }
            answer => return answer.map(|upserted| upserted.record),
        }
    }
}

/// Refunds an order; never more than its total, whatever happens at the same time.
///
/// # Errors
/// Those of [`prepare_refund`] and [`apply`].
pub async fn refund(
    core: &Core,
    actor: &Actor,
    (id, expected): (&OrderId, Option<i64>),
    new: NewRefund,
) -> Result<Upserted<Order>> {
    let pending = Pending::default();
    let mut attempt = 1;
    loop {
        let change = prepare_refund(core, actor, (id, expected), new.clone(), &pending);
        match write(core, actor, change).await {
            Err(Error::VersionMismatch { .. }) if expected.is_none() && attempt < ATTEMPTS_MAX => {
                attempt += 1;
            }
            answer => return answer,
        }
    }
}

/// Makes or changes the order that its source knows by its external id.
///
/// # Errors
/// Those of [`prepare_upsert_many`] and [`apply`].
pub async fn upsert(core: &Core, actor: &Actor, new: NewOrder) -> Result<Upserted<Order>> {
    let mut attempt = 1;
    loop {
        let news = vec![new.clone()];
        let change = async {
            let mut changes = prepare_upsert_many(core, actor, news).await?;
            changes.pop().expect("one change was asked for")
        };
        match write(core, actor, change).await {
            Err(error) if is_race(&error) && attempt < ATTEMPTS_MAX => attempt += 1,
            answer => return answer,
        }
    }
}

fn write<'a>(
    core: &'a Core,
    actor: &'a Actor,
    prepare: impl Future<Output = Result<OrderChange>> + Send + 'a,
) -> BoxFuture<'a, Result<Upserted<Order>>> {
    core.write_once(actor, prepare, |tx, change| {
        Box::pin(async move {
            apply(tx, change).await?;
            Ok(Upserted { record: change.order().clone(), outcome: change.outcome() })
        })
    })
}

/// The order.
///
/// # Errors
/// `Forbidden`, and `NotFound` also for one of a customer that the actor may not see.
pub async fn get(core: &Core, actor: &Actor, id: &OrderId) -> Result<Order> {
    let visibility = visible(actor, Permission::OrderRead)?;
    let mut reader = core.db.read(&actor.tenant).await?;
    let found = orders::find(&mut reader, &actor.tenant, &visibility, id).await?;
    found.ok_or_else(|| Error::not_found(RecordKind::Order, id))
}

/// The orders in the order of the ids, of which there are at most 200; nothing for those that the
/// actor does not see.
///
/// # Errors
/// `Forbidden`, and a limit for more ids.
pub async fn get_many(core: &Core, actor: &Actor, ids: &[OrderId]) -> Result<Vec<Option<Order>>> {
    let visibility = visible(actor, Permission::OrderRead)?;
    check_many(ids.len())?;
    let mut reader = core.db.read(&actor.tenant).await?;
    let found = orders::find_many(&mut reader, &actor.tenant, &visibility, ids).await?;
    let found: HashMap<_, _> = found.into_iter().map(|order| (order.id.clone(), order)).collect();
    Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
}

/// One page of the orders that the filter holds for.
///
/// # Errors
/// `Forbidden`, and `Invalid` for a bad cursor.
pub async fn list(
    core: &Core,
    actor: &Actor,
    (filter, sort): (&OrderFilter, OrderSort),
    page: &PageRequest,
) -> Result<Page<Order>> {
    let visibility = visible(actor, Permission::OrderRead)?;
    let mut reader = core.db.read(&actor.tenant).await?;
    orders::list(&mut reader, &actor.tenant, &visibility, (filter, sort), page).await
}
