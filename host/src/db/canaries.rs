//! Rows of newer versions of plugins that a part of a tenant's records meets, and of how both versions fare.

use serde_json::{Value, json};

use super::{Json, Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::canary::{Share, Tally};
use crate::domain::grant::Grants;
use crate::domain::ids::{CustomerId, OrderId, TenantId};
use crate::error::Result;

statements! {
    FIND = "
        SELECT plugin, canary_version, live_version, state, ended_because, share, grants, settings, started_at,
            ended_at, live_tally, canary_tally, last_error
        FROM plugin_canaries
        WHERE tenant = $1 AND plugin = $2";
    // One that runs is not replaced.
    PUT = "
        INSERT INTO plugin_canaries (tenant, plugin, canary_version, live_version, state, ended_because, share,
            grants, settings, started_at, ended_at, live_tally, canary_tally, last_error)
        VALUES ($1, $2, $3, $4, 'running', NULL, $5, $6, $7, $8, NULL, $9, $9, NULL)
        ON CONFLICT (tenant, plugin) DO UPDATE
        SET canary_version = excluded.canary_version, live_version = excluded.live_version,
            state = excluded.state, ended_because = excluded.ended_because, share = excluded.share,
            grants = excluded.grants, settings = excluded.settings, started_at = excluded.started_at,
            ended_at = excluded.ended_at, live_tally = excluded.live_tally,
            canary_tally = excluded.canary_tally, last_error = excluded.last_error
        WHERE plugin_canaries.state <> 'running'";
    SHARE = "
        UPDATE plugin_canaries
        SET share = $3
        WHERE tenant = $1 AND plugin = $2 AND state = 'running'";
    END = "
        UPDATE plugin_canaries
        SET state = 'ended', ended_because = $3, ended_at = $4
        WHERE tenant = $1 AND plugin = $2 AND state = 'running'";
    // A version that the operator has stopped runs nowhere; its records meet the enabled one meanwhile.
    RUNNING = "
        SELECT c.plugin, c.canary_version, c.share, c.grants, c.settings, c.started_at, p.digest
        FROM plugin_canaries c
        JOIN plugin_packages p ON p.name = c.plugin AND p.version = c.canary_version
        WHERE c.tenant = $1 AND c.state = 'running'
          AND NOT EXISTS (
              SELECT 1 FROM plugin_stops s WHERE s.name = c.plugin AND s.version = c.canary_version)
        ORDER BY c.plugin
        LIMIT 1000";
    HOLD = split(
        "SELECT c.started_at
        FROM plugin_canaries c
        WHERE c.tenant = $1 AND c.plugin = $2 AND c.state = 'running'
          AND NOT EXISTS (
              SELECT 1 FROM plugin_stops s WHERE s.name = c.plugin AND s.version = c.canary_version)",
        "SELECT c.started_at
        FROM plugin_canaries c
        WHERE c.tenant = $1 AND c.plugin = $2 AND c.state = 'running'
          AND NOT EXISTS (
              SELECT 1 FROM plugin_stops s WHERE s.name = c.plugin AND s.version = c.canary_version)
        FOR SHARE OF c",
    );
    TALLIES = "
        SELECT live_tally, canary_tally
        FROM plugin_canaries
        WHERE tenant = $1 AND plugin = $2 AND started_at = $3 AND state = 'running'";
    COUNT = "
        UPDATE plugin_canaries
        SET live_tally = $4, canary_tally = $5, last_error = COALESCE($6, last_error)
        WHERE tenant = $1 AND plugin = $2 AND started_at = $3 AND state = 'running'";
    UNIT_PATHS = split(
        "SELECT c.id, u.path
        FROM customers c
        JOIN org_units u ON u.tenant = c.tenant AND u.id = c.org_unit_id
        WHERE c.tenant = $1 AND c.id IN (SELECT value FROM json_each($2))",
        "SELECT c.id, u.path
        FROM customers c
        JOIN org_units u ON u.tenant = c.tenant AND u.id = c.org_unit_id
        WHERE c.tenant = $1 AND c.id IN (SELECT value FROM json_array_elements_text(CAST($2 AS JSON)))",
    );
    UNIT_PATH = "SELECT path FROM org_units WHERE tenant = $1 AND id = $2";
    CUSTOMER_OF_ORDER = "SELECT customer_id FROM orders WHERE tenant = $1 AND id = $2";
}

/// A version that a part of a tenant's records meets, as it is kept.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct CanaryRow {
    pub(crate) plugin: String,
    pub(crate) canary_version: String,
    pub(crate) live_version: String,
    /// `running` or `ended`.
    pub(crate) state: String,
    /// `promoted`, `aborted`, `breaker`, `failures` or `live_changed`.
    pub(crate) ended_because: Option<String>,
    pub(crate) share: Json<Share>,
    pub(crate) grants: Json<Grants>,
    pub(crate) settings: Json<Value>,
    pub(crate) started_at: Timestamp,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) live_tally: Json<Tally>,
    pub(crate) canary_tally: Json<Tally>,
    pub(crate) last_error: Option<String>,
}

/// A canary that runs, with what the engine needs of its package.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct RunningCanary {
    pub(crate) plugin: String,
    pub(crate) canary_version: String,
    pub(crate) share: Json<Share>,
    pub(crate) grants: Json<Grants>,
    pub(crate) settings: String,
    pub(crate) started_at: Timestamp,
    pub(crate) digest: String,
}

/// Runs of both versions that are not written down yet.
#[derive(Clone, Debug)]
pub struct Counted {
    /// Of which canary: when it was started.
    pub started_at: Timestamp,
    /// Runs of the enabled version.
    pub live: Tally,
    /// Runs of the new one.
    pub canary: Tally,
    /// Why the new one has failed the last time, if it has.
    pub last_error: Option<String>,
}

impl Counted {
    /// Nothing yet, of the same canary.
    #[must_use]
    pub(crate) fn empty(&self) -> Self {
        let (live, canary) = Default::default();
        Self { started_at: self.started_at, live, canary, last_error: None }
    }
}

/// The last canary of a plugin.
pub(crate) async fn find(tx: &mut Tx, tenant: &TenantId, plugin: &str) -> Result<Option<CanaryRow>> {
    tx.fetch_optional(FIND, args![tenant, plugin]).await
}

/// Starts a canary in the place of the last one; false while one runs.
pub(crate) async fn put(tx: &mut Tx, tenant: &TenantId, row: &CanaryRow) -> Result<bool> {
    let CanaryRow { plugin, canary_version, live_version, share, grants, settings, started_at, .. } = row;
    let (share, grants, settings) = (json!(share.0), json!(grants.0), &settings.0);
    let nothing = json!(Tally::default());
    let mut args = args![tenant, plugin, canary_version, live_version, share, grants, settings, *started_at];
    args.extend(args![nothing]);
    tx.insert_if_absent(PUT, args).await
}

/// Changes whom a canary that runs is for; false if none does.
pub(crate) async fn set_share(tx: &mut Tx, tenant: &TenantId, plugin: &str, share: &Share) -> Result<bool> {
    Ok(tx.execute(SHARE, args![tenant, plugin, json!(share)]).await? == 1)
}

/// Ends a canary that runs; false if none does.
pub(crate) async fn end(
    tx: &mut Tx,
    tenant: &TenantId,
    plugin: &str,
    (because, at): (&str, Timestamp),
) -> Result<bool> {
    Ok(tx.execute(END, args![tenant, plugin, because, at]).await? == 1)
}

/// The canaries that run for a tenant, by plugin.
pub(crate) async fn running(tx: &mut Tx, tenant: &TenantId) -> Result<Vec<RunningCanary>> {
    tx.fetch_all(RUNNING, args![tenant]).await
}

/// When the canary that runs was started, held until the unit ends; nothing if none does.
pub(crate) async fn hold(tx: &mut Tx, tenant: &TenantId, plugin: &str) -> Result<Option<Timestamp>> {
    let row: Option<(Timestamp,)> = tx.fetch_optional(HOLD, args![tenant, plugin]).await?;
    Ok(row.map(|(started_at,)| started_at))
}

/// Adds runs; how the new version has fared in all, or nothing if its canary runs no longer.
pub(crate) async fn count(
    tx: &mut Tx,
    tenant: &TenantId,
    plugin: &str,
    counted: &Counted,
) -> Result<Option<Tally>> {
    let Counted { started_at, live, canary, last_error } = counted;
    let args = args![tenant, plugin, *started_at];
    let sums: Option<(Json<Tally>, Json<Tally>)> = tx.fetch_optional(TALLIES, args).await?;
    let Some((Json(mut live_sum), Json(mut canary_sum))) = sums else { return Ok(None) };
    live_sum.add(live);
    canary_sum.add(canary);
    let last_error = last_error.as_deref();
    let args = args![tenant, plugin, *started_at, json!(live_sum), json!(canary_sum), last_error];
    tx.execute(COUNT, args).await?;
    Ok(Some(canary_sum))
}

/// The paths of the org units that look after these customers, of those whom one does.
pub(crate) async fn unit_paths(
    tx: &mut Tx,
    tenant: &TenantId,
    customers: &[&str],
) -> Result<Vec<(CustomerId, String)>> {
    tx.fetch_all(UNIT_PATHS, args![tenant, json!(customers)]).await
}

/// The path of an org unit.
pub(crate) async fn unit_path(tx: &mut Tx, tenant: &TenantId, unit: &str) -> Result<Option<String>> {
    let row: Option<(String,)> = tx.fetch_optional(UNIT_PATH, args![tenant, unit]).await?;
    Ok(row.map(|(path,)| path))
}

/// The customer of an order.
pub(crate) async fn customer_of(
    tx: &mut Tx,
    tenant: &TenantId,
    order: &OrderId,
) -> Result<Option<CustomerId>> {
    let row: Option<(CustomerId,)> = tx.fetch_optional(CUSTOMER_OF_ORDER, args![tenant, order]).await?;
    Ok(row.map(|(customer,)| customer))
}
