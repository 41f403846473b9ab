//! Rows of subscriptions, lanes and deliveries: who is told what, and in which order.

use serde_json::{Value, json};

use super::{Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::ids::{EventId, TenantId};
use crate::error::Result;

statements! {
    INSERT_LANE = "
        INSERT INTO lanes (tenant, consumer, state, leased_until, failures, retry_at, created_at)
        VALUES ($1, $2, 'active', 0, 0, 0, $3)
        ON CONFLICT (tenant, consumer) DO NOTHING";
    INSERT_SUBSCRIPTION = "
        INSERT INTO subscriptions (tenant, event_name, consumer)
        VALUES ($1, $2, $3)
        ON CONFLICT (tenant, event_name, consumer) DO NOTHING";
    DELETE_SUBSCRIPTIONS = "DELETE FROM subscriptions WHERE tenant = $1 AND consumer = $2";
    DELETE_LANE = "DELETE FROM lanes WHERE tenant = $1 AND consumer = $2";
    DELETE_DELIVERIES = "DELETE FROM deliveries WHERE tenant = $1 AND consumer = $2";
    DELETE_BACKFILL = "DELETE FROM backfills WHERE tenant = $1 AND consumer = $2";
    SET_LANE_STATE = "UPDATE lanes SET state = $3 WHERE tenant = $1 AND consumer = $2";
    FIND_LEASE = "
        SELECT lease_token
        FROM lanes
        WHERE tenant = $1
          AND consumer = $2
          AND state = 'active'";
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
}

/// Makes a consumer's lane if it has none; true if it had none.
pub(crate) async fn insert_lane(
    tx: &mut Tx,
    tenant: &TenantId,
    consumer: &str,
    at: Timestamp,
) -> Result<bool> {
    tx.insert_if_absent(INSERT_LANE, args![tenant, consumer, at]).await
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

/// Forgets a consumer: its subscriptions, its lane and what it has not handled.
pub(crate) async fn delete_consumer(tx: &mut Tx, tenant: &TenantId, consumer: &str) -> Result<()> {
    for statement in [DELETE_SUBSCRIPTIONS, DELETE_LANE, DELETE_BACKFILL, DELETE_DELIVERIES] {
        tx.execute(statement, args![tenant, consumer]).await?;
    }
    Ok(())
}

/// Deletes what is left of deliveries to a consumer.
pub(crate) async fn delete_deliveries(tx: &mut Tx, tenant: &TenantId, consumer: &str) -> Result<()> {
    tx.execute(DELETE_DELIVERIES, args![tenant, consumer]).await.map(drop)
}

/// Stops or continues a lane.
pub(crate) async fn set_lane_state(
    tx: &mut Tx,
    tenant: &TenantId,
    consumer: &str,
    state: &str,
) -> Result<()> {
    tx.execute(SET_LANE_STATE, args![tenant, consumer, state]).await.map(drop)
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

/// Deletes exactly the deliveries that have been handled; answers how many there were.
pub(crate) async fn delete_handled(
    tx: &mut Tx,
    tenant: &TenantId,
    consumer: &str,
    handled: &[(i64, EventId)],
) -> Result<u64> {
    let handled: Value = handled.iter().map(|(position, event)| json!([position, event])).collect();
    tx.execute(DELETE_HANDLED, args![tenant, consumer, handled]).await
}
