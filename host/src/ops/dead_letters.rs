//! Lanes and dead letters, for those who look after a tenant: see what failed, try it again, or let it go.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::db::deliveries::{self, DeadHeadRow, DeadRow};
use crate::db::lanes::{self, LaneRow};
use crate::db::{Tx, backfills};
use crate::domain::actor::{Actor, Locale};
use crate::domain::audit::Entry;
use crate::domain::code::RecordKind;
use crate::domain::ids::{EventId, TenantId};
use crate::domain::page::{Page, PageRequest};
use crate::domain::permission::Permission;
use crate::error::{Error, KeptError, Result};
use crate::ops::{self, Core, require};

/// Dead letters that one request makes ready again at most.
pub const REPLAYED_MAX: u32 = 1_000;
/// Waiting events and dead letters are counted so far, no further.
const COUNTED_MAX: i64 = 10_000;
/// Characters of a reason at most.
pub const REASON_CHARS_MAX: usize = 500;

/// An event that a consumer has failed on for the last time.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct DeadLetter {
    /// The consumer, such as `plugin:retail-membership`.
    pub consumer: String,
    /// The event's id.
    pub event: String,
    /// The event's name.
    pub name: String,
    /// What kind of record it is about.
    pub subject_kind: String,
    /// The record.
    pub subject_id: String,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub occurred_at: Timestamp,
    /// How often it was tried.
    pub attempts: i64,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// The stable code of that.
    pub last_error_code: Option<String>,
    /// When the last attempt failed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub failed_at: Option<Timestamp>,
    /// The event's body.
    #[schema(value_type = Object)]
    pub body: Value,
}

/// A dead letter as it is named beside a consumer's lane: without what the event says.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct DeadLetterHead {
    /// The event's id, by which it is replayed or discarded.
    pub event: String,
    /// The event's name.
    pub name: String,
    /// What kind of record it is about.
    pub subject_kind: String,
    /// The record.
    pub subject_id: String,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub occurred_at: Timestamp,
    /// How often it was tried.
    pub attempts: i64,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// The stable code of that.
    pub last_error_code: Option<String>,
    /// When the last attempt failed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub failed_at: Option<Timestamp>,
}

/// How a consumer of events is doing.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct LaneStatus {
    /// The consumer, such as `plugin:retail-membership`.
    pub consumer: String,
    /// `active` or `paused`.
    pub state: String,
    /// Events that wait, counted up to 10,000.
    pub waiting: i64,
    /// Dead letters, counted up to 10,000.
    pub dead: i64,
    /// Since when the oldest event waits.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub waiting_since: Option<Timestamp>,
    /// How often the consumer as a whole has failed in a row.
    pub failures: i64,
    /// When it is tried again, if it has failed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub retry_at: Option<Timestamp>,
    /// Why it failed.
    pub last_error: Option<String>,
    /// The stable code of that.
    pub last_error_code: Option<String>,
    /// The replay of history, if there ever was one.
    pub backfill: Option<BackfillStatus>,
}

/// How the replay of history to a consumer is doing.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct BackfillStatus {
    /// `running` or `done`; what was replayed may still wait to be handled.
    pub state: String,
    /// Records replayed so far.
    pub records: i64,
    /// Events of the replay that the consumer has still to handle, counted up to 10,000.
    pub waiting: i64,
    /// Why the last attempt failed, if it did.
    pub last_error: Option<String>,
    /// The stable code of that.
    pub last_error_code: Option<String>,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When the last record was replayed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
}

/// How many dead letters were made ready again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Replayed {
    /// So many; at most 1,000 a request.
    pub replayed: u64,
    /// Whether some are left.
    pub has_more: bool,
}

/// The lanes of the actor's tenant.
///
/// # Errors
/// `Forbidden`, and those of the database.
pub async fn lanes(core: &Core, actor: &Actor, request: &PageRequest) -> Result<Page<LaneStatus>> {
    require(actor, Permission::EventRead)?;
    let after: String = request.after()?.unwrap_or_default();
    let mut reader = core.db.read(&actor.tenant).await?;
    let rows = lanes::list(&mut reader, &actor.tenant, &after, request.fetch()).await?;
    let page = Page::of(request, rows, |row| row.consumer.clone());
    let mut items = Vec::with_capacity(page.items.len());
    for row in page.items {
        items.push(status_of(&mut reader, actor, row).await?);
    }
    Ok(Page { items, next_cursor: page.next_cursor })
}

/// How one consumer is doing; `None` if it has no lane. For use cases that have checked the actor.
///
/// # Errors
/// Those of the database.
pub async fn lane_status(core: &Core, actor: &Actor, consumer: &str) -> Result<Option<LaneStatus>> {
    let mut reader = core.db.read(&actor.tenant).await?;
    match lanes::find(&mut reader, &actor.tenant, consumer).await? {
        Some(row) => status_of(&mut reader, actor, row).await.map(Some),
        None => Ok(None),
    }
}

/// The latest dead letters of a consumer, at most `limit`. For use cases that have checked the actor.
///
/// # Errors
/// Those of the database.
pub async fn latest(core: &Core, actor: &Actor, consumer: &str, limit: i64) -> Result<Vec<DeadLetterHead>> {
    let mut reader = core.db.read(&actor.tenant).await?;
    let rows = deliveries::last_dead(&mut reader, (&actor.tenant, consumer), limit).await?;
    rows.into_iter().map(|row| head_of(row, actor.locale)).collect()
}

fn head_of(row: DeadHeadRow, locale: Locale) -> Result<DeadLetterHead> {
    let DeadHeadRow { event, attempts, last_error, failed_at, name, subject_kind, subject_id, occurred_at } =
        row;
    let (last_error, last_error_code) = told(last_error.as_deref(), locale)?;
    let event = event.to_string();
    Ok(DeadLetterHead {
        event,
        name,
        subject_kind,
        subject_id,
        occurred_at,
        attempts,
        last_error,
        last_error_code,
        failed_at,
    })
}

async fn status_of(tx: &mut Tx, actor: &Actor, row: LaneRow) -> Result<LaneStatus> {
    let Actor { tenant, locale, .. } = actor;
    let lane = (tenant, row.consumer.as_str());
    let waiting = deliveries::count(tx, lane, "ready", COUNTED_MAX).await?;
    let dead = deliveries::count(tx, lane, "dead", COUNTED_MAX).await?;
    let backfill = match backfills::find(tx, tenant, &row.consumer).await? {
        None => None,
        Some(backfill) => {
            let (last_error, last_error_code) = told(backfill.last_error.as_deref(), *locale)?;
            Some(BackfillStatus {
                state: backfill.state,
                records: backfill.records,
                waiting: deliveries::count_history(tx, lane, COUNTED_MAX).await?,
                last_error,
                last_error_code,
                started_at: backfill.started_at,
                finished_at: backfill.finished_at,
            })
        }
    };
    let (last_error, last_error_code) = told(row.last_error.as_deref(), *locale)?;
    Ok(LaneStatus {
        consumer: row.consumer,
        state: row.state,
        waiting,
        dead,
        waiting_since: row.oldest_due_at,
        failures: row.failures,
        retry_at: (row.failures > 0).then_some(row.retry_at),
        last_error,
        last_error_code,
        backfill,
    })
}

/// The dead letters of a consumer, oldest first.
///
/// # Errors
/// `Forbidden`, and those of the database.
pub async fn list(
    core: &Core,
    actor: &Actor,
    consumer: &str,
    request: &PageRequest,
) -> Result<Page<DeadLetter>> {
    // The bodies are records of the whole tenant, so seeing that something failed is not enough.
    for permission in [Permission::EventWrite, Permission::CustomerRead, Permission::OrderRead] {
        require(actor, permission)?;
    }
    let after: Option<(i64, String)> = request.after()?;
    let after = after.unwrap_or((-1, String::new()));
    let mut reader = core.db.read(&actor.tenant).await?;
    let lane = (&actor.tenant, consumer);
    let rows = deliveries::list_dead(&mut reader, lane, (after.0, &after.1), request.fetch()).await?;
    let page = Page::of(request, rows, |row| (row.position, row.event.to_string()));
    let letters = page.items.into_iter().map(|row| dead_letter(row, actor.locale));
    Ok(Page { items: letters.collect::<Result<_>>()?, next_cursor: page.next_cursor })
}

/// Text and code of an error that was kept.
fn told(stored: Option<&str>, locale: Locale) -> Result<(Option<String>, Option<String>)> {
    let Some(stored) = stored else { return Ok((None, None)) };
    let kept = KeptError::from_stored(stored)?;
    Ok((Some(kept.text(locale).to_owned()), Some(kept.code)))
}

fn dead_letter(row: DeadRow, locale: Locale) -> Result<DeadLetter> {
    let (last_error, last_error_code) = told(row.last_error.as_deref(), locale)?;
    Ok(DeadLetter {
        consumer: row.consumer,
        event: row.event.to_string(),
        name: row.name,
        subject_kind: row.subject_kind,
        subject_id: row.subject_id,
        occurred_at: row.occurred_at,
        attempts: row.attempts,
        last_error,
        last_error_code,
        failed_at: row.failed_at,
        body: row.body.0,
    })
}

/// A change of dead letters, ready to be written.
#[derive(Clone, Debug)]
pub struct Prepared {
    actor: Actor,
    consumer: String,
    event: Option<EventId>,
    audit: Entry,
    at: Timestamp,
}

fn prepare(
    core: &Core,
    actor: &Actor,
    consumer: &str,
    event: Option<EventId>,
    (action, changes): (&'static str, Value),
) -> Result<Prepared> {
    require(actor, Permission::EventWrite)?;
    let at = core.now();
    let record = event.as_ref().map_or_else(|| consumer.to_owned(), ToString::to_string);
    let audit = Entry::new(&*core.ids, at, action, "dead_letter", record, changes);
    Ok(Prepared { actor: actor.clone(), consumer: consumer.to_owned(), event, audit, at })
}

/// Makes one dead letter ready again; it is tried at once, before newer events.
///
/// # Errors
/// `NotFound` if there is no such dead letter, and `Forbidden`.
pub async fn replay(core: &Core, actor: &Actor, consumer: &str, event: EventId) -> Result<Replayed> {
    let changes = json!({ "consumer": consumer });
    let prepared = async { prepare(core, actor, consumer, Some(event), ("dead_letter.replay", changes)) };
    core.write_once(actor, prepared, |tx, prepared: &Prepared| {
        Box::pin(async move {
            let (lane, position, event) = recheck_and_find(tx, prepared).await?;
            if !deliveries::replay(tx, lane, (position, event), prepared.at).await? {
                return Err(Error::not_found(RecordKind::DeadLetter, event));
            }
            tx.announce();
            ops::audit::append(tx, &prepared.actor, prepared.at, &prepared.audit).await?;
            Ok(Replayed { replayed: 1, has_more: false })
        })
    })
    .await
}

/// Makes the oldest dead letters of a consumer ready again, at most [`REPLAYED_MAX`].
///
/// # Errors
/// `Forbidden`, and those of the database.
pub async fn replay_all(core: &Core, actor: &Actor, consumer: &str) -> Result<Replayed> {
    let changes = json!({ "consumer": consumer });
    let prepared = async { prepare(core, actor, consumer, None, ("dead_letter.replay_all", changes)) };
    core.write_once(actor, prepared, |tx, prepared: &Prepared| {
        Box::pin(async move {
            let Prepared { actor, consumer, event: _, audit, at } = prepared;
            ops::access::recheck(tx, actor, Permission::EventWrite, *at).await?;
            let lane = (&actor.tenant, consumer.as_str());
            let replayed = deliveries::replay_some(tx, lane, *at, REPLAYED_MAX).await?;
            let has_more = deliveries::count(tx, lane, "dead", 1).await? > 0;
            tx.announce();
            ops::audit::append(tx, actor, *at, audit).await?;
            Ok(Replayed { replayed, has_more })
        })
    })
    .await
}

/// Drops a dead letter: the consumer will never handle that event.
///
/// # Errors
/// `NotFound` if there is no such dead letter, and `Forbidden`.
pub async fn discard(core: &Core, actor: &Actor, consumer: &str, event: EventId, reason: &str) -> Result<()> {
    let changes = json!({ "consumer": consumer, "reason": reason });
    let prepared = async { prepare(core, actor, consumer, Some(event), ("dead_letter.discard", changes)) };
    core.write_once(actor, prepared, |tx, prepared: &Prepared| {
        Box::pin(async move {
            let (lane, position, event) = recheck_and_find(tx, prepared).await?;
            if !deliveries::discard(tx, lane, (position, event)).await? {
                return Err(Error::not_found(RecordKind::DeadLetter, event));
            }
            ops::audit::append(tx, &prepared.actor, prepared.at, &prepared.audit).await
        })
    })
    .await
}

async fn recheck_and_find<'p>(
    tx: &mut Tx,
    prepared: &'p Prepared,
) -> Result<((&'p TenantId, &'p str), i64, &'p EventId)> {
    let Prepared { actor, consumer, event, audit: _, at } = prepared;
    ops::access::recheck(tx, actor, Permission::EventWrite, *at).await?;
    let lane = (&actor.tenant, consumer.as_str());
    let event = event.as_ref().ok_or_else(|| Error::internal("a change of one dead letter names it"))?;
    let position = deliveries::find_dead(tx, lane, event).await?;
    let position = position.ok_or_else(|| Error::not_found(RecordKind::DeadLetter, event))?;
    Ok((lane, position, event))
}
