//! Rows of plugin versions that run in the shadow of the enabled ones, and of how their effects differ.

use serde::Serialize;
use serde_json::{Value, json};

use super::{Json, Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::grant::Grants;
use crate::domain::ids::TenantId;
use crate::error::Result;

statements! {
    FIND = "
        SELECT plugin, shadow_version, live_version, state, ended_because, grants, settings, started_at, ends_at,
            events_max, deliveries, events, saves, saves_left_out, failures, fuel, differences, last_error
        FROM plugin_shadows
        WHERE tenant = $1 AND plugin = $2";
    PUT = "
        INSERT INTO plugin_shadows (tenant, plugin, shadow_version, live_version, state, ended_because, grants,
            settings, started_at, ends_at, events_max, deliveries, events, saves, saves_left_out, failures, fuel,
            differences, last_error)
        VALUES ($1, $2, $3, $4, 'running', NULL, $5, $6, $7, $8, $9, 0, 0, 0, 0, 0, 0, 0, NULL)
        ON CONFLICT (tenant, plugin) DO UPDATE
        SET shadow_version = excluded.shadow_version, live_version = excluded.live_version,
            state = excluded.state, ended_because = excluded.ended_because, grants = excluded.grants,
            settings = excluded.settings, started_at = excluded.started_at, ends_at = excluded.ends_at,
            events_max = excluded.events_max, deliveries = excluded.deliveries, events = excluded.events,
            saves = excluded.saves, saves_left_out = excluded.saves_left_out, failures = excluded.failures, fuel = excluded.fuel, differences = excluded.differences,
            last_error = excluded.last_error";
    END = "
        UPDATE plugin_shadows
        SET state = 'ended', ended_because = $3
        WHERE tenant = $1 AND plugin = $2 AND state = 'running'";
    // A version that the operator has stopped runs nowhere, not even in the shadow.
    RUNNING = "
        SELECT s.plugin, s.shadow_version, s.grants, s.settings, s.started_at, s.ends_at, p.digest
        FROM plugin_shadows s
        JOIN plugin_packages p ON p.name = s.plugin AND p.version = s.shadow_version
        WHERE s.tenant = $1 AND s.state = 'running'
          AND NOT EXISTS (
              SELECT 1 FROM plugin_stops t WHERE t.name = s.plugin AND t.version = s.shadow_version)
        ORDER BY s.plugin
        LIMIT 1000";
    COUNT = "
        UPDATE plugin_shadows
        SET deliveries = deliveries + $9, events = events + $4, saves = saves + $10,
            saves_left_out = saves_left_out + $11, failures = failures + $5, fuel = fuel + $6,
            differences = differences + $7, last_error = COALESCE($8, last_error),
            ended_because = CASE WHEN events + $4 >= events_max THEN 'events' ELSE ended_because END,
            state = CASE WHEN events + $4 >= events_max THEN 'ended' ELSE state END
        WHERE tenant = $1 AND plugin = $2 AND started_at = $3 AND state = 'running'
        RETURNING differences, state";
    INSERT = split(
        "INSERT INTO plugin_shadow_differences
            (tenant, plugin, seq, at, event, subject_kind, subject_id, what, live, shadow)
        SELECT $1, $2, j.value ->> 0, $4, $5, j.value ->> 1, j.value ->> 2, j.value ->> 3, j.value ->> 4,
            j.value ->> 5
        FROM json_each($3) j",
        "INSERT INTO plugin_shadow_differences
            (tenant, plugin, seq, at, event, subject_kind, subject_id, what, live, shadow)
        SELECT $1, $2, CAST(j.value ->> 0 AS BIGINT), $4, $5, j.value ->> 1, j.value ->> 2, j.value ->> 3,
            j.value ->> 4, j.value ->> 5
        FROM json_array_elements(CAST($3 AS JSON)) AS j(value)",
    );
    LIST = "
        SELECT seq, at, event, subject_kind, subject_id, what, live, shadow
        FROM plugin_shadow_differences
        WHERE tenant = $1 AND plugin = $2 AND seq > $3
        ORDER BY seq
        LIMIT $4";
    FORGET = "DELETE FROM plugin_shadow_differences WHERE tenant = $1 AND plugin = $2";
}

/// A version in the shadow of another, as it is kept.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct ShadowRow {
    pub(crate) plugin: String,
    pub(crate) shadow_version: String,
    pub(crate) live_version: String,
    /// `running` or `ended`; one whose time is over may still say `running`.
    pub(crate) state: String,
    /// `stopped`, `events` or `live_changed`.
    pub(crate) ended_because: Option<String>,
    pub(crate) grants: Json<Grants>,
    pub(crate) settings: Json<Value>,
    pub(crate) started_at: Timestamp,
    pub(crate) ends_at: Timestamp,
    pub(crate) events_max: i64,
    pub(crate) deliveries: i64,
    pub(crate) events: i64,
    pub(crate) saves: i64,
    pub(crate) saves_left_out: i64,
    pub(crate) failures: i64,
    pub(crate) fuel: i64,
    pub(crate) differences: i64,
    pub(crate) last_error: Option<String>,
}

/// What runs in a shadow, with what the engine needs of its package.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct RunningShadow {
    pub(crate) plugin: String,
    pub(crate) shadow_version: String,
    pub(crate) grants: Json<Grants>,
    pub(crate) settings: String,
    pub(crate) started_at: Timestamp,
    pub(crate) ends_at: Timestamp,
    pub(crate) digest: String,
}

/// One effect in which the two versions differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Difference {
    /// Its place in the report, from 1.
    pub seq: i64,
    /// When it was found.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The id of the last event of the delivery that showed it; null if a hook's answer to a save did.
    #[schema(required)]
    pub event: Option<String>,
    /// `customer` or `order`, or `tenant` for what belongs to no record.
    pub subject_kind: String,
    /// The record's id; empty for the tenant.
    pub subject_id: String,
    /// What would be written, such as `fields/retail-membership.points` or `documents/members/cus_7`; of a
    /// hook, `hook/decision` (`accepted` or `rejected: code: message`) or `hook/patch/` and a member.
    pub what: String,
    /// As the enabled version has left it, cut to 2,000 bytes; null if it does not touch it.
    pub live: Option<String>,
    /// As the version in the shadow would have left it; null if it does not touch it.
    pub shadow: Option<String>,
}

/// A difference that has no place yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) subject: (String, String),
    pub(crate) what: String,
    pub(crate) live: Option<String>,
    pub(crate) shadow: Option<String>,
}

/// How a delivery of events went in the shadow, or some saves.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    /// Of which shadow: when it was started.
    pub(crate) started_at: Timestamp,
    pub(crate) at: Timestamp,
    /// The id of the last event; nothing if there are only saves.
    pub(crate) event: Option<String>,
    pub(crate) events: i64,
    pub(crate) saves: i64,
    /// Saves since the last time that it was not called with for want of room.
    pub(crate) left_out: i64,
    /// Of the delivery and of the saves, how many failed.
    pub(crate) failures: i64,
    pub(crate) fuel: i64,
    /// Why it failed the last time, if it did.
    pub(crate) last_error: Option<String>,
    pub(crate) found: Vec<Found>,
}

/// The last shadow of a plugin.
pub(crate) async fn find(tx: &mut Tx, tenant: &TenantId, plugin: &str) -> Result<Option<ShadowRow>> {
    tx.fetch_optional(FIND, args![tenant, plugin]).await
}

/// Starts a shadow in the place of the last one, whose report is forgotten.
pub(crate) async fn put(tx: &mut Tx, tenant: &TenantId, row: &ShadowRow) -> Result<()> {
    let ShadowRow { plugin, shadow_version, live_version, grants, settings, .. } = row;
    let ShadowRow { started_at, ends_at, events_max, .. } = row;
    tx.execute(FORGET, args![tenant, plugin]).await?;
    let (grants, settings) = (json!(grants.0), &settings.0);
    let args = args![
        tenant,
        plugin,
        shadow_version,
        live_version,
        grants,
        settings,
        *started_at,
        *ends_at,
        *events_max,
    ];
    tx.execute(PUT, args).await.map(drop)
}

/// Ends a shadow that runs; false if none does.
pub(crate) async fn end(tx: &mut Tx, tenant: &TenantId, plugin: &str, because: &str) -> Result<bool> {
    Ok(tx.execute(END, args![tenant, plugin, because]).await? == 1)
}

/// The shadows that run for a tenant, by plugin.
pub(crate) async fn running(tx: &mut Tx, tenant: &TenantId) -> Result<Vec<RunningShadow>> {
    tx.fetch_all(RUNNING, args![tenant]).await
}

/// Counts a delivery and keeps its differences, of one report at most `rows_max`; whether the
/// shadow goes on.
pub(crate) async fn count(
    tx: &mut Tx,
    tenant: &TenantId,
    plugin: &str,
    (delivery, rows_max): (&Delivery, i64),
) -> Result<bool> {
    let Delivery { started_at, at, event, events, saves, left_out, .. } = delivery;
    let Delivery { failures, fuel, last_error, found, .. } = delivery;
    let new = i64::try_from(found.len()).unwrap_or(i64::MAX);
    let (event, last_error) = (event.as_deref(), last_error.as_deref());
    let mut args = args![tenant, plugin, *started_at, *events, *failures, *fuel, new, last_error];
    args.extend(args![i64::from(*events > 0), *saves, *left_out]);
    let Some((sum, state)) = tx.fetch_optional::<(i64, String)>(COUNT, args).await? else { return Ok(false) };
    let row = |(seq, found): (i64, &Found)| {
        let Found { subject: (kind, id), what, live, shadow } = found;
        json!([seq, kind, id, what, live, shadow])
    };
    let rows: Vec<Value> =
        (sum - new + 1..).zip(found).filter(|(seq, _)| *seq <= rows_max).map(row).collect();
    if !rows.is_empty() {
        tx.execute(INSERT, args![tenant, plugin, Value::Array(rows), *at, event]).await?;
    }
    Ok(state == "running")
}

/// A page of a report behind the place `after`.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &TenantId,
    plugin: &str,
    (after, limit): (i64, i64),
) -> Result<Vec<Difference>> {
    tx.fetch_all(LIST, args![tenant, plugin, after, limit]).await
}
