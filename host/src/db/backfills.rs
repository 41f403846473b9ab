//! Rows of backfills: history that is being replayed to one consumer, and how far it has come.

use super::{Json, Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::ids::TenantId;
use crate::error::Result;

statements! {
    START = "
        INSERT INTO backfills (tenant, consumer, state, event_names, cursor_customer, cursor_at, cursor_id,
            records, leased_until, attempts, started_at)
        VALUES ($1, $2, 'running', $3, '', 0, '', 0, 0, 0, $4)
        ON CONFLICT (tenant, consumer) DO UPDATE
        SET state = 'running', event_names = excluded.event_names, horizon = NULL, cursor_customer = '',
            cursor_at = 0, cursor_id = '', records = 0, lease_token = NULL, leased_until = 0, attempts = 0,
            last_error = NULL, started_at = excluded.started_at, finished_at = NULL";
    DELETE = "DELETE FROM backfills WHERE tenant = $1 AND consumer = $2";
    FIND = "
        SELECT state, event_names, horizon, cursor_customer, cursor_at, cursor_id, records,
            attempts, last_error, started_at, finished_at
        FROM backfills
        WHERE tenant = $1
          AND consumer = $2";
    // A gate stands in the lane exactly while history is replayed.
    OPEN = "
        SELECT tenant, consumer
        FROM lanes
        WHERE gate IS NOT NULL
          AND state = 'active'
          AND (tenant, consumer) > ($1, $2)
        ORDER BY tenant, consumer
        LIMIT $3";
    LEASE = "
        UPDATE backfills
        SET lease_token = $3, leased_until = $4
        WHERE tenant = $1
          AND consumer = $2
          AND state = 'running'
          AND leased_until <= $5";
    SET_HORIZON = "
        UPDATE backfills
        SET horizon = $4
        WHERE tenant = $1
          AND consumer = $2
          AND lease_token = $3";
    ADVANCE = "
        UPDATE backfills
        SET cursor_customer = $4, cursor_at = $5, cursor_id = $6, records = records + $7,
            leased_until = $8, attempts = 0, last_error = NULL
        WHERE tenant = $1
          AND consumer = $2
          AND lease_token = $3
          AND state = 'running'";
    FINISH = "
        UPDATE backfills
        SET state = 'done', lease_token = NULL, leased_until = 0, finished_at = $4
        WHERE tenant = $1
          AND consumer = $2
          AND lease_token = $3";
    // The lease of one that has failed stands until it may be tried again.
    RELEASE = "
        UPDATE backfills
        SET lease_token = NULL, leased_until = $4, attempts = $5, last_error = $6
        WHERE tenant = $1
          AND consumer = $2
          AND lease_token = $3";
}

/// The last record that was replayed: its customer, its time and its id.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, sqlx::FromRow)]
pub(crate) struct Cursor {
    #[sqlx(rename = "cursor_customer")]
    pub(crate) customer: String,
    #[sqlx(rename = "cursor_at")]
    pub(crate) at: Timestamp,
    #[sqlx(rename = "cursor_id")]
    pub(crate) id: String,
}

/// A backfill.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct BackfillRow {
    pub(crate) state: String,
    pub(crate) event_names: Json<Vec<String>>,
    pub(crate) horizon: Option<i64>,
    #[sqlx(flatten)]
    pub(crate) cursor: Cursor,
    pub(crate) records: i64,
    pub(crate) attempts: i64,
    pub(crate) last_error: Option<String>,
    pub(crate) started_at: Timestamp,
    pub(crate) finished_at: Option<Timestamp>,
}

/// Begins a backfill, from the first record if there was one before.
pub(crate) async fn start(
    tx: &mut Tx,
    tenant: &TenantId,
    consumer: &str,
    names: &[String],
    at: Timestamp,
) -> Result<()> {
    tx.execute(START, args![tenant, consumer, serde_json::Value::from(names), at]).await.map(drop)
}

/// Removes a consumer's backfill.
pub(crate) async fn delete(tx: &mut Tx, tenant: &TenantId, consumer: &str) -> Result<()> {
    tx.execute(DELETE, args![tenant, consumer]).await.map(drop)
}

/// A consumer's backfill, if it ever had one.
pub(crate) async fn find(tx: &mut Tx, tenant: &TenantId, consumer: &str) -> Result<Option<BackfillRow>> {
    tx.fetch_optional(FIND, args![tenant, consumer]).await
}

/// Consumers after `after` whose backfill is not done. Through the directory.
pub(crate) async fn open(
    tx: &mut Tx,
    after: (&str, &str),
    limit: u32,
) -> Result<Vec<super::deliveries::ConsumerRow>> {
    tx.fetch_all(OPEN, args![after.0, after.1, limit]).await
}

/// Leases a backfill that nobody has; false if somebody has, or it waits to be tried again.
pub(crate) async fn lease(
    tx: &mut Tx,
    key: (&TenantId, &str),
    token: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool> {
    Ok(tx.execute(LEASE, args![key.0, key.1, token, until, now]).await? == 1)
}

/// Keeps the number of the first transaction that sees the subscription.
pub(crate) async fn set_horizon(
    tx: &mut Tx,
    key: (&TenantId, &str),
    token: &str,
    horizon: i64,
) -> Result<()> {
    tx.execute(SET_HORIZON, args![key.0, key.1, token, horizon]).await.map(drop)
}

/// Moves on behind `cursor`; false if the lease is lost.
pub(crate) async fn advance(
    tx: &mut Tx,
    key: (&TenantId, &str),
    token: &str,
    (cursor, records): (&Cursor, u32),
    leased_until: Timestamp,
) -> Result<bool> {
    let Cursor { customer, at, id } = cursor;
    let args = args![key.0, key.1, token, customer, *at, id, records, leased_until];
    Ok(tx.execute(ADVANCE, args).await? == 1)
}

/// Ends a backfill; false if the lease is lost.
pub(crate) async fn finish(tx: &mut Tx, key: (&TenantId, &str), token: &str, at: Timestamp) -> Result<bool> {
    Ok(tx.execute(FINISH, args![key.0, key.1, token, at]).await? == 1)
}

/// Gives a backfill back, which may be leased again from `retry_at` on.
pub(crate) async fn release(
    tx: &mut Tx,
    key: (&TenantId, &str),
    token: &str,
    retry_at: Timestamp,
    failed: Option<(i64, &str)>,
) -> Result<()> {
    let (attempts, error) = failed.unzip();
    let args = args![key.0, key.1, token, retry_at, attempts.unwrap_or(0), error];
    tx.execute(RELEASE, args).await.map(drop)
}
