//! Rows of plugin packages, and of what each tenant has enabled.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Json, Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::grant::Grants;
use crate::domain::hook_modes::HookModes;
use crate::domain::ids::{LogId, TenantId};
use crate::domain::manifest::{Job, Manifest};
use crate::domain::recording::RecordingRules;
use crate::error::Result;

/// Bytes of a component in one row.
const CHUNK_BYTES: usize = 1_024 * 1_024;

statements! {
    INSERT_PACKAGE = "
        INSERT INTO plugin_packages (name, version, digest, size, manifest, imports, exports, installed_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (name, version) DO NOTHING";
    INSERT_CHUNK = "
        INSERT INTO plugin_chunks (digest, seq, body)
        VALUES ($1, $2, $3)
        ON CONFLICT (digest, seq) DO NOTHING";
    READ_CHUNK = "SELECT body FROM plugin_chunks WHERE digest = $1 AND seq = $2";
    FIND_PACKAGE = "
        SELECT name, version, digest, size, manifest, imports, exports, installed_at
        FROM plugin_packages
        WHERE name = $1 AND version = $2";
    LIST_PACKAGES = "
        SELECT name, version, digest, size, manifest, imports, exports, installed_at
        FROM plugin_packages
        ORDER BY name, version
        LIMIT 1000";
    VERSIONS_OF = "
        SELECT name, version, digest, size, manifest, imports, exports, installed_at
        FROM plugin_packages
        WHERE name = $1
        ORDER BY version
        LIMIT 1000";
    FIND_ENABLEMENT = "
        SELECT plugin, package_version, previous_version, state, version, grants, settings, recording, purge_at, purged,
            on_failure, created_at, updated_at
        FROM plugin_enablements
        WHERE tenant = $1 AND plugin = $2";
    LIST_ENABLEMENTS = "
        SELECT plugin, package_version, previous_version, state, version, grants, settings, recording, purge_at, purged,
            on_failure, created_at, updated_at
        FROM plugin_enablements
        WHERE tenant = $1
        ORDER BY plugin
        LIMIT 1000";
    // PostgreSQL holds the row, so that a unit that narrows the grants waits for
    // this one or makes it run again; SQLite has one writer. A version that the
    // operator has stopped commits nothing more.
    HOLD_ENABLEMENT = split(
        "SELECT e.version
        FROM plugin_enablements e
        WHERE e.tenant = $1 AND e.plugin = $2
          AND NOT EXISTS (
              SELECT 1 FROM plugin_stops s WHERE s.name = e.plugin AND s.version = e.package_version)",
        "SELECT e.version
        FROM plugin_enablements e
        WHERE e.tenant = $1 AND e.plugin = $2
          AND NOT EXISTS (
              SELECT 1 FROM plugin_stops s WHERE s.name = e.plugin AND s.version = e.package_version)
        FOR SHARE OF e",
    );
    PUT_ENABLEMENT = "
        INSERT INTO plugin_enablements
            (tenant, plugin, package_version, state, version, grants, settings, recording, created_at, updated_at, purge_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10)
        ON CONFLICT (tenant, plugin) DO UPDATE
        SET package_version = excluded.package_version, state = excluded.state, version = excluded.version,
            grants = excluded.grants, settings = excluded.settings, recording = excluded.recording,
            updated_at = excluded.updated_at, purge_at = excluded.purge_at, moving_to = NULL,
            previous_version = CASE WHEN plugin_enablements.package_version <> excluded.package_version
                THEN plugin_enablements.package_version ELSE plugin_enablements.previous_version END,
            previous_grants = CASE WHEN plugin_enablements.package_version <> excluded.package_version
                THEN plugin_enablements.grants ELSE plugin_enablements.previous_grants END,
            previous_settings = CASE WHEN plugin_enablements.package_version <> excluded.package_version
                THEN plugin_enablements.settings ELSE plugin_enablements.previous_settings END
        WHERE plugin_enablements.version = excluded.version - 1 AND plugin_enablements.purged IS NULL";
    SET_ON_FAILURE = "UPDATE plugin_enablements SET on_failure = $3 WHERE tenant = $1 AND plugin = $2";
    FIND_PREVIOUS = "
        SELECT previous_version, previous_grants, previous_settings
        FROM plugin_enablements
        WHERE tenant = $1 AND plugin = $2 AND previous_version IS NOT NULL";
    FORGET_PREVIOUS = "
        UPDATE plugin_enablements
        SET previous_version = NULL, previous_grants = NULL, previous_settings = NULL
        WHERE tenant = $1 AND plugin = $2";
    LIST_RUNNING = "
        SELECT e.plugin, e.package_version, e.version, e.grants, e.settings, e.recording, e.on_failure, p.digest
        FROM plugin_enablements e
        JOIN plugin_packages p ON p.name = e.plugin AND p.version = e.package_version
        WHERE e.tenant = $1 AND e.state = 'enabled'
          AND NOT EXISTS (
              SELECT 1 FROM plugin_stops s WHERE s.name = e.plugin AND s.version = e.package_version)
        ORDER BY e.plugin
        LIMIT 1000";
    TENANT_FACTS = "
        SELECT locale, time_zone, currency
        FROM tenants
        WHERE tenant = $1";
    INSERT_LOG = split(
        "INSERT INTO plugin_log (tenant, plugin, id, at, point, level, code, message, plugin_version, backtrace)
        SELECT $1, $2, j.value ->> 0, $4, j.value ->> 1, j.value ->> 2, j.value ->> 3, j.value ->> 4, j.value ->> 5,
            j.value ->> 6
        FROM json_each($3) j",
        "INSERT INTO plugin_log (tenant, plugin, id, at, point, level, code, message, plugin_version, backtrace)
        SELECT $1, $2, j.value ->> 0, $4, j.value ->> 1, j.value ->> 2, j.value ->> 3, j.value ->> 4, j.value ->> 5,
            j.value ->> 6
        FROM json_array_elements(CAST($3 AS JSON)) AS j(value)",
    );
    TRIM_LOG = "
        DELETE FROM plugin_log
        WHERE tenant = $1 AND plugin = $2 AND id <= (
            SELECT id FROM plugin_log WHERE tenant = $1 AND plugin = $2 ORDER BY id DESC LIMIT 1 OFFSET $3)";
    LIST_LOG = "
        SELECT id, at, point, level, code, message, plugin_version, backtrace
        FROM plugin_log
        WHERE tenant = $1 AND plugin = $2 AND id < $3
        ORDER BY id DESC
        LIMIT $4";
    // Some of each extension point: one that always fails must not hide the others' failures. A log has a
    // bounded number of lines, so that to rank them is no work.
    LAST_FAILURES = "
        SELECT id, at, point, level, code, message, plugin_version, backtrace
        FROM (
            SELECT id, at, point, level, code, message, plugin_version, backtrace,
                ROW_NUMBER() OVER (PARTITION BY point ORDER BY id DESC) AS nth
            FROM plugin_log
            WHERE tenant = $1 AND plugin = $2 AND level = 'failure') ranked
        WHERE nth <= $3
        ORDER BY id DESC";
    ADD_DENIAL = "
        INSERT INTO plugin_denials (tenant, plugin, grant_name, function, count, last_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (tenant, plugin, grant_name, function) DO UPDATE
        SET count = plugin_denials.count + excluded.count, last_at = excluded.last_at";
    LIST_DENIALS = "
        SELECT grant_name, function, count, last_at
        FROM plugin_denials
        WHERE tenant = $1 AND plugin = $2
        ORDER BY grant_name, function
        LIMIT 200";
    DELETE_SCHEDULES = "DELETE FROM schedules WHERE tenant = $1 AND plugin = $2";
    INSERT_SCHEDULE = "
        INSERT INTO schedules (tenant, plugin, job, schedule, catch_up, due_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (tenant, plugin, job) DO UPDATE
        SET schedule = excluded.schedule, catch_up = excluded.catch_up, due_at = excluded.due_at";
}

/// A version of a plugin that the host has; it never changes.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Package {
    /// The plugin's name.
    pub name: String,
    /// Its semantic version.
    pub version: String,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// The component's bytes.
    pub size: i64,
    /// What it says of itself.
    pub manifest: Json<Manifest>,
    /// The functions that it imports.
    pub imports: Json<Vec<String>>,
    /// The extension points that it exports.
    pub exports: Json<Vec<String>>,
    /// When it came into the host.
    pub installed_at: Timestamp,
}

/// A plugin of a tenant.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Enablement {
    /// The plugin's name.
    pub plugin: String,
    /// The version of the package.
    pub package_version: String,
    /// The version before, to which there is a way back.
    pub previous_version: Option<String>,
    /// `enabled` or `disabled`.
    pub state: String,
    /// Grows with every change of this row.
    pub version: i64,
    /// What the tenant lets it do.
    pub grants: Json<Grants>,
    /// Its settings, valid by its schema.
    pub settings: Json<Value>,
    /// Which of its runs are recorded.
    pub recording: Json<RecordingRules>,
    /// What the tenant has decided about saves whose hook fails.
    pub on_failure: Json<HookModes>,
    /// When everything that it keeps is purged, if it is uninstalled.
    pub purge_at: Option<Timestamp>,
    /// What is purged so far, as JSON, once that has begun.
    pub purged: Option<String>,
    /// When it was first enabled.
    pub created_at: Timestamp,
    /// When this row last changed.
    pub updated_at: Timestamp,
}

/// What a tenant had enabled before.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Previous {
    #[sqlx(rename = "previous_version")]
    pub(crate) version: String,
    #[sqlx(rename = "previous_grants")]
    pub(crate) grants: Json<Grants>,
    #[sqlx(rename = "previous_settings")]
    pub(crate) settings: Json<Value>,
}

/// A plugin that runs for a tenant, with what the engine needs of its package.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Running {
    pub(crate) plugin: String,
    pub(crate) package_version: String,
    pub(crate) version: i64,
    pub(crate) grants: Json<Grants>,
    pub(crate) settings: String,
    pub(crate) recording: Json<RecordingRules>,
    pub(crate) on_failure: Json<HookModes>,
    pub(crate) digest: String,
}

/// What plugins are told of the tenant.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct TenantFacts {
    pub(crate) locale: String,
    pub(crate) time_zone: String,
    pub(crate) currency: String,
}

/// An enablement as it shall be.
#[derive(Clone, Debug)]
pub(crate) struct EnablementRow {
    pub(crate) plugin: String,
    pub(crate) package_version: String,
    pub(crate) state: &'static str,
    pub(crate) version: i64,
    pub(crate) grants: Grants,
    pub(crate) settings: Value,
    pub(crate) recording: RecordingRules,
    /// Nothing, unless it is uninstalled.
    pub(crate) purge_at: Option<Timestamp>,
    pub(crate) at: Timestamp,
}

/// A line of a plugin's log.
#[derive(Clone, Debug, Serialize, Deserialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct LogLine {
    /// Its id; later lines have greater ones.
    #[schema(value_type = String)]
    pub id: LogId,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The extension point that ran.
    pub point: String,
    /// `debug`, `info`, `warn`, `error`, or `failure` for what the host says of a failed run.
    pub level: String,
    /// The stable code of a failure.
    pub code: Option<String>,
    /// The text.
    pub message: String,
    /// The version of the plugin that ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin_version: Option<String>,
    /// The functions in which a guest broke off, the innermost first, at most 20. A component that was built
    /// without names has numbers instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub backtrace: Option<Json<Vec<String>>>,
}

/// What a plugin was denied for want of a grant, since it was first enabled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Denial {
    /// The grant that is missing, or does not go far enough.
    #[sqlx(rename = "grant_name")]
    pub grant: String,
    /// The host function, or the extension point that was not called.
    pub function: String,
    /// How often.
    pub count: i64,
    /// The last time.
    #[schema(value_type = String, format = DateTime)]
    pub last_at: Timestamp,
}

/// Inserts a package and its bytes; false if this version is there already.
pub(crate) async fn insert_package(tx: &mut Tx, package: &Package, bytes: &[u8]) -> Result<bool> {
    let Package { name, version, digest, size, manifest, imports, exports, installed_at } = package;
    let manifest = serde_json::to_string(&manifest.0).map_err(crate::error::Error::internal)?;
    let imports = serde_json::json!(imports.0);
    let exports = serde_json::json!(exports.0);
    let args = args![name, version, digest, *size, manifest, imports, exports, *installed_at];
    if !tx.insert_if_absent(INSERT_PACKAGE, args).await? {
        return Ok(false);
    }
    for (seq, chunk) in (0_u32..).zip(bytes.chunks(CHUNK_BYTES)) {
        tx.insert_if_absent(INSERT_CHUNK, args![digest, seq, chunk]).await?;
    }
    Ok(true)
}

/// The bytes of a component.
pub(crate) async fn read_component(tx: &mut Tx, digest: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for seq in 0_u32.. {
        let Some((chunk,)) = tx.fetch_optional::<(Vec<u8>,)>(READ_CHUNK, args![digest, seq]).await? else {
            break;
        };
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// A version of a plugin.
pub(crate) async fn find_package(tx: &mut Tx, name: &str, version: &str) -> Result<Option<Package>> {
    tx.fetch_optional(FIND_PACKAGE, args![name, version]).await
}

/// All packages.
pub(crate) async fn list_packages(tx: &mut Tx) -> Result<Vec<Package>> {
    tx.fetch_all(LIST_PACKAGES, args![]).await
}

/// All versions of a plugin.
pub(crate) async fn versions_of(tx: &mut Tx, name: &str) -> Result<Vec<Package>> {
    tx.fetch_all(VERSIONS_OF, args![name]).await
}

/// What a tenant has decided about a plugin.
pub(crate) async fn find_enablement(
    tx: &mut Tx,
    tenant: &TenantId,
    plugin: &str,
) -> Result<Option<Enablement>> {
    tx.fetch_optional(FIND_ENABLEMENT, args![tenant, plugin]).await
}

/// What a tenant had enabled before, if there is a way back to it.
pub(crate) async fn find_previous(tx: &mut Tx, tenant: &TenantId, plugin: &str) -> Result<Option<Previous>> {
    tx.fetch_optional(FIND_PREVIOUS, args![tenant, plugin]).await
}

/// Ends the way back.
pub(crate) async fn forget_previous(tx: &mut Tx, tenant: &TenantId, plugin: &str) -> Result<()> {
    tx.execute(FORGET_PREVIOUS, args![tenant, plugin]).await.map(drop)
}

/// What a tenant has decided about all plugins.
pub(crate) async fn list_enablements(tx: &mut Tx, tenant: &TenantId) -> Result<Vec<Enablement>> {
    tx.fetch_all(LIST_ENABLEMENTS, args![tenant]).await
}

/// The version of an enablement, held until the unit ends; nothing if its version of the plugin is stopped.
pub(crate) async fn hold_enablement(tx: &mut Tx, tenant: &TenantId, plugin: &str) -> Result<Option<i64>> {
    let row: Option<(i64,)> = tx.fetch_optional(HOLD_ENABLEMENT, args![tenant, plugin]).await?;
    Ok(row.map(|(version,)| version))
}

/// Writes an enablement over the version before; false if it is not there any more.
pub(crate) async fn put_enablement(tx: &mut Tx, tenant: &TenantId, row: &EnablementRow) -> Result<bool> {
    let EnablementRow { plugin, package_version, state, version, grants, settings, recording, purge_at, at } =
        row;
    let (grants, recording) = (serde_json::json!(grants), serde_json::json!(recording));
    let mut args = args![tenant, plugin, package_version, *state, *version, grants, settings, recording, *at];
    args.extend(args![*purge_at]);
    tx.insert_if_absent(PUT_ENABLEMENT, args).await
}

/// Writes what becomes of saves whose hook fails, from the same unit that writes the enablement.
pub(crate) async fn set_on_failure(
    tx: &mut Tx,
    tenant: &TenantId,
    plugin: &str,
    modes: &HookModes,
) -> Result<()> {
    tx.execute(SET_ON_FAILURE, args![tenant, plugin, serde_json::json!(modes)]).await.map(drop)
}

/// The plugins that run for a tenant, by name.
pub(crate) async fn list_running(tx: &mut Tx, tenant: &TenantId) -> Result<Vec<Running>> {
    tx.fetch_all(LIST_RUNNING, args![tenant]).await
}

/// What plugins are told of the tenant.
pub(crate) async fn tenant_facts(tx: &mut Tx, tenant: &TenantId) -> Result<Option<TenantFacts>> {
    tx.fetch_optional(TENANT_FACTS, args![tenant]).await
}

/// Appends lines to a plugin's log and forgets the oldest beyond `keep`.
pub(crate) async fn append_log(
    tx: &mut Tx,
    tenant: &TenantId,
    plugin: &str,
    lines: &[LogLine],
    keep: i64,
) -> Result<()> {
    let Some(first) = lines.first() else { return Ok(()) };
    let rows: Vec<Value> = lines
        .iter()
        .map(|line| {
            let LogLine { id, at: _, point, level, code, message, plugin_version, backtrace } = line;
            let backtrace = backtrace.as_ref().map(|frames| serde_json::json!(frames.0).to_string());
            serde_json::json!([id, point, level, code, message, plugin_version, backtrace])
        })
        .collect();
    tx.execute(INSERT_LOG, args![tenant, plugin, Value::Array(rows), first.at]).await?;
    tx.execute(TRIM_LOG, args![tenant, plugin, keep]).await.map(drop)
}

/// A page of a plugin's log, the latest first, before the line `before`.
pub(crate) async fn list_log(
    tx: &mut Tx,
    tenant: &TenantId,
    plugin: &str,
    before: &str,
    limit: i64,
) -> Result<Vec<LogLine>> {
    tx.fetch_all(LIST_LOG, args![tenant, plugin, before, limit]).await
}

/// The last failures of a plugin, at most `limit` of each extension point, the latest first.
pub(crate) async fn last_failures(
    tx: &mut Tx,
    tenant: &TenantId,
    plugin: &str,
    limit: i64,
) -> Result<Vec<LogLine>> {
    tx.fetch_all(LAST_FAILURES, args![tenant, plugin, limit]).await
}

/// Adds to what a plugin was denied.
pub(crate) async fn add_denials(
    tx: &mut Tx,
    tenant: &TenantId,
    plugin: &str,
    denials: &[Denial],
) -> Result<()> {
    for Denial { grant, function, count, last_at } in denials {
        tx.execute(ADD_DENIAL, args![tenant, plugin, grant, function, *count, *last_at]).await?;
    }
    Ok(())
}

/// What a plugin was denied. There is a row for each function and grant of the contract at most.
pub(crate) async fn list_denials(tx: &mut Tx, tenant: &TenantId, plugin: &str) -> Result<Vec<Denial>> {
    tx.fetch_all(LIST_DENIALS, args![tenant, plugin]).await
}

/// Forgets the schedules of a plugin.
pub(crate) async fn delete_schedules(tx: &mut Tx, tenant: &TenantId, plugin: &str) -> Result<()> {
    tx.execute(DELETE_SCHEDULES, args![tenant, plugin]).await.map(drop)
}

/// Writes a job's schedule and its next run.
pub(crate) async fn put_schedule(
    tx: &mut Tx,
    tenant: &TenantId,
    plugin: &str,
    (job, due_at): (&Job, Timestamp),
) -> Result<()> {
    let Job { name, schedule, catch_up } = job;
    let args = args![tenant, plugin, name, &serde_json::json!(schedule), catch_up.as_str(), due_at];
    tx.execute(INSERT_SCHEDULE, args).await.map(drop)
}
