//! Rows of deliveries: what a consumer has not handled yet, in the order in which it will.

use serde_json::{Value, json};

use super::{Json, Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::ids::{EventId, TenantId};
use crate::error::Result;

statements! {
    // Left out: what waits for its next attempt and, in a lane that keeps their order, what
    // comes after such a one of the same subject; and live events whose subject has not had its history. The
    // innermost condition is no row comparison, because SQLite would then walk the
    // order of all deliveries instead of the few that wait.
    BATCH = "
        SELECT d.position, d.event, d.attempts, e.name, e.subject_kind, e.subject_id, e.occurred_at,
            e.depth, e.backfill_for, e.body
        FROM deliveries d
        JOIN lanes l ON l.tenant = d.tenant AND l.consumer = d.consumer
        JOIN events e ON e.tenant = d.tenant AND e.id = d.event
        WHERE d.tenant = $1
          AND d.consumer = $2
          AND d.state = 'ready'
          AND d.due_at <= $3
          AND (d.position = 0 OR l.gate IS NULL
            OR (d.subject_kind = 'customer' AND d.subject_id < l.gate))
          AND (NOT l.in_order OR NOT EXISTS (
            SELECT 1
            FROM deliveries w
            WHERE w.tenant = d.tenant
              AND w.consumer = d.consumer
              AND w.subject_kind = d.subject_kind
              AND w.subject_id = d.subject_id
              AND w.state = 'ready'
              AND w.attempts > 0
              AND w.due_at > $3
              AND (w.position < d.position OR (w.position = d.position AND w.event < d.event))))
        ORDER BY d.position, d.event
        LIMIT $4";
    // A list is one JSON array, which each engine unfolds in its own way.
    DELETE_HANDLED = split(
        "DELETE FROM deliveries
        WHERE tenant = $1
          AND consumer = $2
          AND state = 'ready'
          AND (position, event) IN (SELECT value ->> 0, value ->> 1 FROM json_each($3))",
        "DELETE FROM deliveries
        WHERE tenant = $1
          AND consumer = $2
          AND state = 'ready'
          AND (position, event) IN (
            SELECT CAST(r.value ->> 0 AS BIGINT), r.value ->> 1
            FROM json_array_elements(CAST($3 AS JSON)) AS r(value))"
    );
    // As above. What was made for one consumer is of no use once it has handled it.
    DELETE_HANDLED_HISTORY = split(
        "DELETE FROM events
        WHERE tenant = $1
          AND backfill_for = $2
          AND id IN (SELECT value ->> 1 FROM json_each($3) WHERE value ->> 0 = 0)",
        "DELETE FROM events
        WHERE tenant = $1
          AND backfill_for = $2
          AND id IN (
            SELECT r.value ->> 1
            FROM json_array_elements(CAST($3 AS JSON)) AS r(value)
            WHERE CAST(r.value ->> 0 AS BIGINT) = 0)"
    );
    FAIL = "
        UPDATE deliveries
        SET state = $5, attempts = $6, due_at = $7, last_error = $8, failed_at = $9
        WHERE tenant = $1
          AND consumer = $2
          AND state = 'ready'
          AND position = $3
          AND event = $4";
    DELETE_ALL = "DELETE FROM deliveries WHERE tenant = $1 AND consumer = $2";
    LIST_DEAD = "
        SELECT d.consumer, d.position, d.event, d.attempts, d.last_error, d.failed_at,
            e.name, e.subject_kind, e.subject_id, e.occurred_at, e.body
        FROM deliveries d
        JOIN events e ON e.tenant = d.tenant AND e.id = d.event
        WHERE d.tenant = $1
          AND d.consumer = $2
          AND d.state = 'dead'
          AND (d.position, d.event) > ($3, $4)
        ORDER BY d.position, d.event
        LIMIT $5";
    LAST_DEAD = "
        SELECT d.event, d.attempts, d.last_error, d.failed_at, e.name, e.subject_kind, e.subject_id, e.occurred_at
        FROM deliveries d
        JOIN events e ON e.tenant = d.tenant AND e.id = d.event
        WHERE d.tenant = $1
          AND d.consumer = $2
          AND d.state = 'dead'
        ORDER BY d.position DESC, d.event DESC
        LIMIT $3";
    FIND_DEAD = "
        SELECT position
        FROM deliveries
        WHERE tenant = $1
          AND consumer = $2
          AND state = 'dead'
          AND event = $3";
    REPLAY = "
        UPDATE deliveries
        SET state = 'ready', attempts = 0, due_at = $5
        WHERE tenant = $1
          AND consumer = $2
          AND state = 'dead'
          AND position = $3
          AND event = $4";
    REPLAY_SOME = "
        UPDATE deliveries
        SET state = 'ready', attempts = 0, due_at = $3
        WHERE tenant = $1
          AND consumer = $2
          AND state = 'dead'
          AND (position, event) IN (
            SELECT position, event
            FROM deliveries
            WHERE tenant = $1
              AND consumer = $2
              AND state = 'dead'
            ORDER BY position, event
            LIMIT $4)";
    DISCARD = "
        DELETE FROM deliveries
        WHERE tenant = $1
          AND consumer = $2
          AND state = 'dead'
          AND position = $3
          AND event = $4";
    // Counts no further than the limit: a list of a million costs as much as one of a thousand.
    COUNT = "
        SELECT COUNT(*) AS count
        FROM (
            SELECT 1 AS one
            FROM deliveries
            WHERE tenant = $1
              AND consumer = $2
              AND state = $3
            LIMIT $4) counted";
    COUNT_HISTORY = "
        SELECT COUNT(*) AS count
        FROM (
            SELECT 1 AS one
            FROM deliveries
            WHERE tenant = $1
              AND consumer = $2
              AND state = 'ready'
              AND position = 0
            LIMIT $3) counted";
    NEXT_CONSUMER = "
        SELECT tenant, consumer
        FROM deliveries
        WHERE (tenant, consumer) > ($1, $2)
        ORDER BY tenant, consumer
        LIMIT 1";
}

/// One delivery with its event.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Queued {
    pub(crate) position: i64,
    pub(crate) event: EventId,
    pub(crate) attempts: i64,
    pub(crate) name: String,
    pub(crate) subject_kind: String,
    pub(crate) subject_id: String,
    pub(crate) occurred_at: Timestamp,
    pub(crate) depth: i64,
    pub(crate) backfill_for: Option<String>,
    /// JSON as text, because its size bounds the batch.
    pub(crate) body: String,
}

/// The next deliveries of a lane that may be handled now, in their order.
pub(crate) async fn batch(
    tx: &mut Tx,
    lane: (&TenantId, &str),
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Queued>> {
    tx.fetch_all(BATCH, args![lane.0, lane.1, now, limit]).await
}

/// Deletes exactly the deliveries that have been handled; answers how many there were.
pub(crate) async fn delete_handled(
    tx: &mut Tx,
    lane: (&TenantId, &str),
    handled: &[(i64, EventId)],
) -> Result<u64> {
    let keys: Value = handled.iter().map(|(position, event)| json!([position, event])).collect();
    let deleted = tx.execute(DELETE_HANDLED, args![lane.0, lane.1, &keys]).await?;
    if handled.iter().any(|(position, _)| *position == 0) {
        tx.execute(DELETE_HANDLED_HISTORY, args![lane.0, lane.1, keys]).await?;
    }
    Ok(deleted)
}

/// What a failed attempt leaves behind.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) position: i64,
    pub(crate) event: EventId,
    /// Attempts so far.
    pub(crate) attempts: i64,
    /// When to try again; `None` for never.
    pub(crate) retry_at: Option<Timestamp>,
    pub(crate) error: String,
    pub(crate) at: Timestamp,
}

/// Keeps a failed attempt of a delivery, which waits or becomes a dead letter.
pub(crate) async fn fail(tx: &mut Tx, lane: (&TenantId, &str), failure: &Failure) -> Result<()> {
    let Failure { position, event, attempts, retry_at, error, at } = failure;
    let state = if retry_at.is_some() { "ready" } else { "dead" };
    let due_at = retry_at.unwrap_or(*at);
    let args = args![lane.0, lane.1, *position, event, state, *attempts, due_at, error, *at];
    tx.execute(FAIL, args).await.map(drop)
}

/// Deletes every delivery to a consumer, dead letters too.
pub(crate) async fn delete_all(tx: &mut Tx, tenant: &TenantId, consumer: &str) -> Result<()> {
    tx.execute(DELETE_ALL, args![tenant, consumer]).await.map(drop)
}

/// A dead letter with its event.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct DeadRow {
    pub(crate) consumer: String,
    pub(crate) position: i64,
    pub(crate) event: EventId,
    pub(crate) attempts: i64,
    pub(crate) last_error: Option<String>,
    pub(crate) failed_at: Option<Timestamp>,
    pub(crate) name: String,
    pub(crate) subject_kind: String,
    pub(crate) subject_id: String,
    pub(crate) occurred_at: Timestamp,
    pub(crate) body: Json<Value>,
}

/// The dead letters of a consumer after a key, oldest first.
pub(crate) async fn list_dead(
    tx: &mut Tx,
    lane: (&TenantId, &str),
    after: (i64, &str),
    limit: i64,
) -> Result<Vec<DeadRow>> {
    tx.fetch_all(LIST_DEAD, args![lane.0, lane.1, after.0, after.1, limit]).await
}

/// A dead letter without the event's body.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct DeadHeadRow {
    pub(crate) event: EventId,
    pub(crate) attempts: i64,
    pub(crate) last_error: Option<String>,
    pub(crate) failed_at: Option<Timestamp>,
    pub(crate) name: String,
    pub(crate) subject_kind: String,
    pub(crate) subject_id: String,
    pub(crate) occurred_at: Timestamp,
}

/// The dead letters of a consumer whose events are the latest, those first.
pub(crate) async fn last_dead(tx: &mut Tx, lane: (&TenantId, &str), limit: i64) -> Result<Vec<DeadHeadRow>> {
    tx.fetch_all(LAST_DEAD, args![lane.0, lane.1, limit]).await
}

#[derive(sqlx::FromRow)]
struct PositionRow {
    position: i64,
}

/// The position of a dead letter; `None` if there is no such one.
pub(crate) async fn find_dead(tx: &mut Tx, lane: (&TenantId, &str), event: &EventId) -> Result<Option<i64>> {
    let row: Option<PositionRow> = tx.fetch_optional(FIND_DEAD, args![lane.0, lane.1, event]).await?;
    Ok(row.map(|row| row.position))
}

/// Makes a dead letter ready again; false if it is no longer one.
pub(crate) async fn replay(
    tx: &mut Tx,
    lane: (&TenantId, &str),
    key: (i64, &EventId),
    now: Timestamp,
) -> Result<bool> {
    Ok(tx.execute(REPLAY, args![lane.0, lane.1, key.0, key.1, now]).await? > 0)
}

/// Makes the oldest `limit` dead letters ready again; answers how many there were.
pub(crate) async fn replay_some(
    tx: &mut Tx,
    lane: (&TenantId, &str),
    now: Timestamp,
    limit: u32,
) -> Result<u64> {
    tx.execute(REPLAY_SOME, args![lane.0, lane.1, now, limit]).await
}

/// Drops a dead letter; false if it is no longer one.
pub(crate) async fn discard(tx: &mut Tx, lane: (&TenantId, &str), key: (i64, &EventId)) -> Result<bool> {
    Ok(tx.execute(DISCARD, args![lane.0, lane.1, key.0, key.1]).await? > 0)
}

#[derive(sqlx::FromRow)]
struct CountRow {
    count: i64,
}

/// How many deliveries of a lane are in `state`, counted up to `max`.
pub(crate) async fn count(tx: &mut Tx, lane: (&TenantId, &str), state: &str, max: i64) -> Result<i64> {
    let row: CountRow = tx.fetch_one(COUNT, args![lane.0, lane.1, state, max]).await?;
    Ok(row.count)
}

/// How much replayed history a consumer has not handled, counted up to `max`.
pub(crate) async fn count_history(tx: &mut Tx, lane: (&TenantId, &str), max: i64) -> Result<i64> {
    let row: CountRow = tx.fetch_one(COUNT_HISTORY, args![lane.0, lane.1, max]).await?;
    Ok(row.count)
}

/// A tenant's consumer.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct ConsumerRow {
    pub(crate) tenant: TenantId,
    pub(crate) consumer: String,
}

/// The first consumer after `after` that has deliveries. Through the directory.
pub(crate) async fn next_consumer(tx: &mut Tx, after: (&str, &str)) -> Result<Option<ConsumerRow>> {
    tx.fetch_optional(NEXT_CONSUMER, args![after.0, after.1]).await
}
