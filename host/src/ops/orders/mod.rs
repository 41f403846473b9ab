//! Use cases of orders and refunds; prepared and written as customers are.
//!
//! An order is as visible as its customer. Writing by external id changes nothing if
//! the order is the same already.

mod change;
mod maker;

use std::collections::HashMap;
use std::slice;

pub use change::{OrderChange, apply, apply_many};
use maker::{Maker, Mode};

use futures::future::BoxFuture;

use super::change::{Upserted, is_overtaken, is_race, retry};
use super::pending::Pending;
use super::{Core, check_conditions, check_many, fields, visible};

use crate::db::{Tx, orders};
use crate::domain::actor::{Actor, Visibility};
use crate::domain::code::{Reason, RecordKind};
use crate::domain::field::FieldEntity;
use crate::domain::ids::OrderId;
use crate::domain::order::{NewOrder, NewRefund, Order, OrderPatch};
use crate::domain::page::{Page, PageRequest};
use crate::domain::permission::Permission;
use crate::domain::query::{OrderFilter, OrderSort};
use crate::error::{Error, Result};

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
    let mut maker = Maker::load(core, actor, slice::from_ref(&new), pending).await?;
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
    Maker::for_patch(core, actor, &OrderPatch::default()).await?.refund(before, new).await
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
    // Another transaction may have made the customer that this one was about to make.
    let is_worth_it = |error: &Error| matches!(error, Error::Conflict { code: Reason::IdentityTaken, .. });
    let attempt = || write(core, actor, prepare_create(core, actor, new.clone(), &pending));
    shown(core, actor, retry(is_worth_it, attempt).await?).await.map(Upserted::into_record)
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
    let attempt = || write(core, actor, prepare_update(core, actor, (id, expected), patch.clone(), &pending));
    shown(core, actor, retry(is_overtaken(expected), attempt).await?).await.map(Upserted::into_record)
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
    let attempt = || write(core, actor, prepare_refund(core, actor, (id, expected), new.clone(), &pending));
    shown(core, actor, retry(is_overtaken(expected), attempt).await?).await
}

/// Makes or changes the order that its source knows by its external id.
///
/// # Errors
/// Those of [`prepare_upsert_many`] and [`apply`].
pub async fn upsert(core: &Core, actor: &Actor, new: NewOrder) -> Result<Upserted<Order>> {
    let attempt = || {
        let news = vec![new.clone()];
        let change = async {
            let mut changes = prepare_upsert_many(core, actor, news).await?;
            changes.pop().expect("one change was asked for")
        };
        write(core, actor, change)
    };
    shown(core, actor, retry(is_race, attempt).await?).await
}

/// An order that was written, as the actor sees it.
async fn shown(core: &Core, actor: &Actor, mut written: Upserted<Order>) -> Result<Upserted<Order>> {
    fields::show_written(core, actor, (FieldEntity::Order, &mut written.record.fields)).await?;
    Ok(written)
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
    let mut order = found.ok_or_else(|| Error::not_found(RecordKind::Order, id))?;
    show(&mut reader, actor, slice::from_mut(&mut order)).await?;
    Ok(order)
}

/// Refuses an order that `permission` does not reach as if there were none.
pub(super) async fn check_reach(
    core: &Core,
    actor: &Actor,
    permission: Permission,
    id: &OrderId,
) -> Result<()> {
    let visibility = visible(actor, permission)?;
    let mut reader = core.db.read(&actor.tenant).await?;
    let found = orders::find(&mut reader, &actor.tenant, &visibility, id).await?;
    found.map(drop).ok_or_else(|| Error::not_found(RecordKind::Order, id))
}

/// Leaves of the plugins' fields those that the actor may read.
async fn show(tx: &mut Tx, actor: &Actor, orders: &mut [Order]) -> Result<()> {
    let fields = orders.iter_mut().map(|order| (FieldEntity::Order, &mut order.fields));
    fields::show(tx, actor, fields.collect()).await
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
    let mut found = orders::find_many(&mut reader, &actor.tenant, &visibility, ids).await?;
    show(&mut reader, actor, &mut found).await?;
    let found: HashMap<_, _> = found.into_iter().map(|order| (order.id.clone(), order)).collect();
    Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
}

/// One page of the orders that the filter holds for.
///
/// # Errors
/// `Forbidden`, and `Invalid` for a bad cursor or too many conditions.
pub async fn list(
    core: &Core,
    actor: &Actor,
    (filter, sort): (&OrderFilter, OrderSort),
    page: &PageRequest,
) -> Result<Page<Order>> {
    let visibility = visible(actor, Permission::OrderRead)?;
    check_conditions(filter.fields.len())?;
    let mut reader = core.db.read(&actor.tenant).await?;
    let mut page = orders::list(&mut reader, &actor.tenant, &visibility, (filter, sort), page).await?;
    show(&mut reader, actor, &mut page.items).await?;
    Ok(page)
}
