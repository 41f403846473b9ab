//! Rows of subscriptions and lanes: who is told what, and which dispatcher tells them now.

use super::{Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::ids::TenantId;
use crate::error::Result;

statements! {
    INSERT = "
        INSERT INTO lanes (tenant, consumer, state, in_order, leased_until, failures, retry_at, created_at)
        VALUES ($1, $2, 'active', $4, 0, 0, 0, $3)
        ON CONFLICT (tenant, consumer) DO NOTHING";
    INSERT_SUBSCRIPTION = "
        INSERT INTO subscriptions (tenant, event_name, consumer)
        VALUES ($1, $2, $3)
        ON CONFLICT (tenant, event_name, consumer) DO NOTHING";
    DELETE_SUBSCRIPTIONS = "DELETE FROM subscriptions WHERE tenant = $1 AND consumer = $2";
    DELETE = "DELETE FROM lanes WHERE tenant = $1 AND consumer = $2";
    PAUSE = "UPDATE lanes SET state = 'paused' WHERE tenant = $1 AND consumer = $2";
    // Whoever resumes a lane has mended what it waited for.
    RESUME = "
        UPDATE lanes
        SET state = 'active', failures = 0, retry_at = 0, last_error = NULL
        WHERE tenant = $1
          AND consumer = $2";
    SET_GATE = "UPDATE lanes SET gate = $3 WHERE tenant = $1 AND consumer = $2";
    // The inner conditions are those of `deliveries::BATCH`.
    READY = "
        SELECT l.tenant, l.consumer, l.failures
        FROM lanes l
        WHERE (l.tenant, l.consumer) > ($2, $3)
          AND l.state = 'active'
          AND l.leased_until <= $1
          AND l.retry_at <= $1
          AND EXISTS (
            SELECT 1
            FROM deliveries d
            WHERE d.tenant = l.tenant
              AND d.consumer = l.consumer
              AND d.state = 'ready'
              AND d.due_at <= $1
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
                  AND w.due_at > $1
                  AND (w.position < d.position OR (w.position = d.position AND w.event < d.event)))))
        ORDER BY l.tenant, l.consumer
        LIMIT $4";
    READY_OF_TENANT = "
        SELECT l.tenant, l.consumer, l.failures
        FROM lanes l
        WHERE l.tenant = $2
          AND l.state = 'active'
          AND l.leased_until <= $1
          AND l.retry_at <= $1
          AND EXISTS (
            SELECT 1
            FROM deliveries d
            WHERE d.tenant = l.tenant
              AND d.consumer = l.consumer
              AND d.state = 'ready'
              AND d.due_at <= $1)
        ORDER BY l.consumer
        LIMIT $3";
    LEASE = "
        UPDATE lanes
        SET lease_token = $3, leased_until = $4
        WHERE tenant = $1
          AND consumer = $2
          AND state = 'active'
          AND leased_until <= $5";
    EXTEND = "
        UPDATE lanes
        SET leased_until = $4
        WHERE tenant = $1
          AND consumer = $2
          AND lease_token = $3";
    RELEASE = "
        UPDATE lanes
        SET lease_token = NULL, leased_until = 0, failures = $4, retry_at = $5, last_error = $6
        WHERE tenant = $1
          AND consumer = $2
          AND lease_token = $3";
    FIND_LEASE = "
        SELECT lease_token
        FROM lanes
        WHERE tenant = $1
          AND consumer = $2
          AND state = 'active'";
    LIST = "
        SELECT consumer, state, failures, retry_at, last_error,
            (SELECT d.due_at
             FROM deliveries d
             WHERE d.tenant = l.tenant AND d.consumer = l.consumer AND d.state = 'ready'
             ORDER BY d.position, d.event
             LIMIT 1) AS oldest_due_at
        FROM lanes l
        WHERE l.tenant = $1
          AND l.consumer > $2
        ORDER BY l.consumer
        LIMIT $3";
    FIND = "
        SELECT consumer, state, failures, retry_at, last_error,
            (SELECT d.due_at
             FROM deliveries d
             WHERE d.tenant = l.tenant AND d.consumer = l.consumer AND d.state = 'ready'
             ORDER BY d.position, d.event
             LIMIT 1) AS oldest_due_at
        FROM lanes l
        WHERE l.tenant = $1
          AND l.consumer = $2";
}

/// Makes a consumer's lane if it has none; true if it had none. `in_order` says whether later
/// events of a subject wait behind an earlier one that has failed.
pub(crate) async fn insert(
    tx: &mut Tx,
    (tenant, consumer): (&TenantId, &str),
    in_order: bool,
    at: Timestamp,
) -> Result<bool> {
    tx.insert_if_absent(INSERT, args![tenant, consumer, at, in_order]).await
}

/// Subscribes a consumer to `names` and to nothing else.
pub(crate) async fn set_subscriptions(
    tx: &mut Tx,
    tenant: &TenantId,
    consumer: &str,
    names: &[String],
) -> Result<()> {
    tx.execute(DELETE_SUBSCRIPTIONS, args![tenant, consumer]).await?;
    for name in names {
        tx.execute(INSERT_SUBSCRIPTION, args![tenant, name, consumer]).await?;
    }
    Ok(())
}

/// Removes a consumer's lane and its subscriptions.
pub(crate) async fn delete(tx: &mut Tx, tenant: &TenantId, consumer: &str) -> Result<()> {
    tx.execute(DELETE_SUBSCRIPTIONS, args![tenant, consumer]).await?;
    tx.execute(DELETE, args![tenant, consumer]).await.map(drop)
}

/// Stops a lane.
pub(crate) async fn pause(tx: &mut Tx, tenant: &TenantId, consumer: &str) -> Result<()> {
    tx.execute(PAUSE, args![tenant, consumer]).await.map(drop)
}

/// Continues a lane at once.
pub(crate) async fn resume(tx: &mut Tx, tenant: &TenantId, consumer: &str) -> Result<()> {
    tx.execute(RESUME, args![tenant, consumer]).await.map(drop)
}

/// Lets live events pass only of customers below `gate`; of all without one.
pub(crate) async fn set_gate(
    tx: &mut Tx,
    tenant: &TenantId,
    consumer: &str,
    gate: Option<&str>,
) -> Result<()> {
    tx.execute(SET_GATE, args![tenant, consumer, gate]).await.map(drop)
}

/// A lane with something to deliver.
#[derive(Clone, Debug, PartialEq, Eq, Hash, sqlx::FromRow)]
pub(crate) struct Ready {
    pub(crate) tenant: TenantId,
    pub(crate) consumer: String,
    /// How often the whole lane has failed in a row.
    pub(crate) failures: i64,
}

/// Lanes after `after` that nobody has leased and that have something to deliver now. Through the directory.
pub(crate) async fn ready(
    tx: &mut Tx,
    now: Timestamp,
    after: (&str, &str),
    limit: u32,
) -> Result<Vec<Ready>> {
    tx.fetch_all(READY, args![now, after.0, after.1, limit]).await
}

/// As [`ready`], for one tenant; may answer a lane whose events all wait behind others.
pub(crate) async fn ready_of_tenant(
    tx: &mut Tx,
    now: Timestamp,
    tenant: &TenantId,
    limit: u32,
) -> Result<Vec<Ready>> {
    tx.fetch_all(READY_OF_TENANT, args![now, tenant, limit]).await
}

/// Leases a lane that nobody has; false if somebody has.
pub(crate) async fn lease(
    tx: &mut Tx,
    lane: (&TenantId, &str),
    token: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool> {
    Ok(tx.execute(LEASE, args![lane.0, lane.1, token, until, now]).await? == 1)
}

/// Keeps a lane longer; false if somebody else has it now.
pub(crate) async fn extend(
    tx: &mut Tx,
    lane: (&TenantId, &str),
    token: &str,
    until: Timestamp,
) -> Result<bool> {
    Ok(tx.execute(EXTEND, args![lane.0, lane.1, token, until]).await? == 1)
}

/// How a lane is left.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// Failures of the whole lane in a row.
    pub(crate) failures: i64,
    /// When it may be tried again.
    pub(crate) retry_at: Timestamp,
    /// Why it may not be tried at once.
    pub(crate) last_error: Option<String>,
}

/// Gives a lane back.
pub(crate) async fn release(
    tx: &mut Tx,
    lane: (&TenantId, &str),
    token: &str,
    standing: &Standing,
) -> Result<()> {
    let Standing { failures, retry_at, last_error } = standing;
    let args = args![lane.0, lane.1, token, *failures, *retry_at, last_error.as_deref()];
    tx.execute(RELEASE, args).await.map(drop)
}

#[derive(sqlx::FromRow)]
struct LeaseRow {
    lease_token: Option<String>,
}

/// The token of whoever has leased an active lane.
pub(crate) async fn lease_token(tx: &mut Tx, tenant: &TenantId, consumer: &str) -> Result<Option<String>> {
    let row: Option<LeaseRow> = tx.fetch_optional(FIND_LEASE, args![tenant, consumer]).await?;
    Ok(row.and_then(|row| row.lease_token))
}

/// A lane as an administrator sees it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct LaneRow {
    pub(crate) consumer: String,
    pub(crate) state: String,
    pub(crate) failures: i64,
    pub(crate) retry_at: Timestamp,
    pub(crate) last_error: Option<String>,
    /// Since when the oldest event is due.
    pub(crate) oldest_due_at: Option<Timestamp>,
}

/// The lanes of a tenant after `after`, by consumer.
pub(crate) async fn list(tx: &mut Tx, tenant: &TenantId, after: &str, limit: i64) -> Result<Vec<LaneRow>> {
    tx.fetch_all(LIST, args![tenant, after, limit]).await
}

/// One lane of a tenant.
pub(crate) async fn find(tx: &mut Tx, tenant: &TenantId, consumer: &str) -> Result<Option<LaneRow>> {
    tx.fetch_optional(FIND, args![tenant, consumer]).await
}
