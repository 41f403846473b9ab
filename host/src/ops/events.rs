//! Events: appending them in the transaction of the change, and who is told of them.
//!
//! A consumer has one lane a tenant. What it handles and the acknowledgement are
//! written in one transaction, so that effects inside the database happen once;
//! everything else happens at least once, with a stable id.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::clock::Timestamp;
use crate::db::{self, Tx};
use crate::domain::actor::{Actor, CAUSE_DEPTH_MAX};
use crate::domain::code::Reason;
use crate::domain::event::{Event, Subject};
use crate::domain::ids::{EventId, TenantId};
use crate::error::{Error, Result};
use crate::ops::Core;

/// Events that one batch delivers at most.
pub const DELIVERY_BATCH_MAX: u32 = 200;

/// The consumer that a plugin is.
#[must_use]
pub fn consumer_of_plugin(plugin: &str) -> String {
    format!("plugin:{plugin}")
}

/// How deep in a chain of reactions the events of this actor stand.
///
/// # Errors
/// [`Error::Limit`] beyond [`CAUSE_DEPTH_MAX`]: plugins react to one another without end.
pub fn depth(actor: &Actor) -> Result<u32> {
    let depth = actor.cause.as_ref().map_or(0, |cause| cause.depth + 1);
    if depth <= CAUSE_DEPTH_MAX {
        return Ok(depth);
    }
    Err(Error::Limit {
        code: Reason::CauseDepth { max: CAUSE_DEPTH_MAX.to_string() },
        message: format!("this change is more than {CAUSE_DEPTH_MAX} reactions away from its first cause"),
        retry_after_s: 0,
    })
}

/// Appends events and their deliveries with as many statements as one needs: for bulk writes.
///
/// # Errors
/// Those of [`depth`] and of the database.
pub async fn append_many(tx: &mut Tx, actor: &Actor, at: Timestamp, events: &[&Event]) -> Result<()> {
    let depth = depth(actor)?;
    if events.is_empty() {
        return Ok(());
    }
    db::outbox::append_many(tx, actor, at, depth, events).await
}

/// Subscribes `consumer` to the events `names` and to no others, in the unit that enables or changes it.
///
/// A new consumer gets an active lane and nothing that happened before.
///
/// # Errors
/// Those of the database.
pub async fn subscribe(
    tx: &mut Tx,
    tenant: &TenantId,
    consumer: &str,
    names: &[String],
    at: Timestamp,
) -> Result<()> {
    open_lane(tx, (tenant, consumer), true, at).await?;
    db::lanes::set_subscriptions(tx, tenant, consumer, names).await
}

/// As [`subscribe`], for a consumer that takes events in any order: one that has failed
/// keeps no other waiting.
///
/// # Errors
/// Those of the database.
pub async fn subscribe_unordered(
    tx: &mut Tx,
    tenant: &TenantId,
    consumer: &str,
    names: &[String],
    at: Timestamp,
) -> Result<()> {
    open_lane(tx, (tenant, consumer), false, at).await?;
    db::lanes::set_subscriptions(tx, tenant, consumer, names).await
}

async fn open_lane(tx: &mut Tx, lane: (&TenantId, &str), in_order: bool, at: Timestamp) -> Result<()> {
    if db::lanes::insert(tx, lane, in_order, at).await? {
        // A transaction that began before an earlier end of the subscription may have left some.
        db::deliveries::delete_all(tx, lane.0, lane.1).await?;
    }
    Ok(())
}

/// Ends a consumer in the unit that disables it; what it has not handled is forgotten, dead letters too.
///
/// # Errors
/// Those of the database.
pub async fn unsubscribe(tx: &mut Tx, tenant: &TenantId, consumer: &str) -> Result<()> {
    db::lanes::delete(tx, tenant, consumer).await?;
    db::backfills::delete(tx, tenant, consumer).await?;
    db::deliveries::delete_all(tx, tenant, consumer).await
}

/// Stops delivering to a consumer; its events wait.
///
/// # Errors
/// Those of the database.
pub async fn pause(tx: &mut Tx, tenant: &TenantId, consumer: &str) -> Result<()> {
    db::lanes::pause(tx, tenant, consumer).await
}

/// Stops delivering to a consumer and telling it of more; what waits already stays.
///
/// # Errors
/// Those of the database.
pub async fn silence(tx: &mut Tx, tenant: &TenantId, consumer: &str) -> Result<()> {
    db::lanes::set_subscriptions(tx, tenant, consumer, &[]).await?;
    db::lanes::pause(tx, tenant, consumer).await
}

/// Delivers to a paused consumer again, at once, beginning with what has waited.
///
/// # Errors
/// Those of the database.
pub async fn resume(tx: &mut Tx, tenant: &TenantId, consumer: &str) -> Result<()> {
    tx.announce();
    db::lanes::resume(tx, tenant, consumer).await
}

/// Begins to replay history to a consumer, in the unit that enables it: events made
/// from the current records, each customer's in the order of their times.
///
/// Until it is done, live events of a customer wait until that customer's history
/// has been delivered. A record that changes meanwhile comes both ways: as history
/// with its state of then, and live; so a consumer sees every record at least once,
/// and handles a record that it knows as a change.
///
/// # Errors
/// Those of the database.
pub async fn start_backfill(
    tx: &mut Tx,
    tenant: &TenantId,
    consumer: &str,
    names: &[String],
    at: Timestamp,
) -> Result<()> {
    db::backfills::start(tx, tenant, consumer, names, at).await?;
    db::lanes::set_gate(tx, tenant, consumer, Some("")).await
}

/// As [`start_backfill`], in a unit of its own.
///
/// # Errors
/// Those of the database.
pub async fn backfill(core: &Core, tenant: &TenantId, consumer: &str, names: Vec<String>) -> Result<()> {
    let state = (tenant.clone(), consumer.to_owned(), names, core.now());
    core.db
        .write(tenant, state, |tx, (tenant, consumer, names, at)| {
            Box::pin(start_backfill(tx, tenant, consumer, names, *at))
        })
        .await
}

/// An event on its way to a consumer.
#[derive(Clone, Debug)]
pub struct DeliveredEvent {
    /// The same at every delivery.
    pub id: EventId,
    /// The name, such as `order.created`.
    pub name: String,
    /// What it is about.
    pub subject: Subject,
    /// When it was appended; for replayed history, when that was made.
    pub occurred_at: Timestamp,
    /// How many reactions stand between it and its first cause.
    pub depth: u32,
    /// How often it was tried before.
    pub attempts: i64,
    /// Made from a current record for a consumer that was enabled later.
    pub backfill: bool,
    /// The record after the change.
    pub body: Value,
}

/// The right to acknowledge one batch, in the unit that writes its effects.
#[derive(Clone, Debug)]
pub struct Acknowledgement {
    tenant: TenantId,
    consumer: String,
    lease: String,
    batch: Arc<[(i64, EventId)]>,
    applied: Arc<AtomicBool>,
}

impl Acknowledgement {
    /// For the deliveries `batch` of a lane that is leased with the token `lease`.
    pub(crate) fn new(
        tenant: TenantId,
        consumer: String,
        lease: String,
        batch: Arc<[(i64, EventId)]>,
    ) -> Self {
        Self { tenant, consumer, lease, batch, applied: Arc::default() }
    }

    /// Marks the whole batch as handled. The effects are kept only together with
    /// this, so the caller's unit ends with the error if there is one.
    ///
    /// # Errors
    /// `Conflict` with the code `lease_lost` if another dispatcher has taken the
    /// lane over, or the batch is no longer there; the effects must be discarded.
    pub async fn apply(&self, tx: &mut Tx) -> Result<()> {
        let Self { tenant, consumer, lease, batch, applied } = self;
        let holder = db::lanes::lease_token(tx, tenant, consumer).await?;
        if holder.as_deref() != Some(lease) {
            return Err(lease_lost(consumer));
        }
        // The rows are the fence: whoever deletes one first wins, whatever the lease says.
        let deleted = db::deliveries::delete_handled(tx, (tenant, consumer), batch).await?;
        if usize::try_from(deleted).ok() != Some(batch.len()) {
            return Err(lease_lost(consumer));
        }
        applied.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Whether a unit has called [`Acknowledgement::apply`] with success.
    #[must_use]
    pub(crate) fn is_applied(&self) -> bool {
        self.applied.load(Ordering::SeqCst)
    }
}

fn lease_lost(consumer: &str) -> Error {
    Error::conflict(Reason::LeaseLost, format!("another dispatcher delivers to `{consumer}` now"))
}
