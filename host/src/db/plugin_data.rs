//! Rows of all that a plugin keeps for a tenant: read in pages when it is exported, deleted in chunks when
//! it is purged.

use std::collections::BTreeMap;

use super::documents::Owner;
use super::{Sql, Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::field::FieldEntity;
use crate::domain::ids::{BlobId, TenantId};
use crate::error::{Error, Result};

/// Tables of which a purge deletes the plugin's rows, a chunk at a time.
const IN_CHUNKS: &[(&str, Sql)] = &[
    ("document_index", DELETE_DOCUMENT_INDEX),
    ("documents", DELETE_DOCUMENTS),
    ("plugin_kv", DELETE_ENTRIES),
    ("subject_versions", DELETE_SUBJECT_VERSIONS),
    ("plugin_steps", DELETE_STEPS),
    ("plugin_log", DELETE_LOG),
    ("plugin_denials", DELETE_DENIALS),
    ("plugin_shadow_differences", DELETE_DIFFERENCES),
];

/// Tables with few rows for a plugin, which go together with the enablement.
const AT_THE_END: &[(&str, Sql)] = &[
    ("plugin_credentials", DELETE_CREDENTIALS),
    ("plugin_file_usage", DELETE_FILE_USAGE),
    ("plugin_canaries", DELETE_CANARY),
    ("plugin_shadows", DELETE_SHADOW),
    ("plugin_moves", DELETE_MOVE),
    ("recording_drops", DELETE_DROPS),
    ("schedules", DELETE_SCHEDULES),
];

/// Tables that are purged by statements of their own; contents of files go an hour after their names.
const OTHERWISE: &[&str] = &["plugin_files", "loose_blobs", "recordings", "plugin_enablements"];

/// Tables of which a purge leaves the plugin's rows, with the reason beside each.
pub const STAY: &[(&str, &str)] = &[("plugin_usage", "what was used is billed and shared later")];

/// Every table whose rows of a plugin a purge deletes.
pub fn purged_tables() -> impl Iterator<Item = &'static str> {
    let named = IN_CHUNKS.iter().chain(AT_THE_END).map(|(table, _)| *table);
    named.chain(OTHERWISE.iter().copied())
}

statements! {
    DOCUMENTS = "
        SELECT collection, key, subject_kind, subject_id, version, body, updated_at
        FROM documents
        WHERE tenant = $1 AND plugin = $2 AND (collection, key) > ($3, $4)
        ORDER BY collection, key
        LIMIT $5";
    ENTRIES = "
        SELECT key, value, expires_at
        FROM plugin_kv
        WHERE tenant = $1 AND plugin = $2 AND key > $3
        ORDER BY key
        LIMIT $4";
    FILES = "
        SELECT name, blob, size, modified_at
        FROM plugin_files
        WHERE tenant = $1 AND plugin = $2 AND name > $3
        ORDER BY name
        LIMIT $4";
    SCHEDULES = "
        SELECT job, schedule, due_at
        FROM schedules
        WHERE tenant = $1 AND plugin = $2
        ORDER BY job
        LIMIT 1000";
    CUSTOMERS = "
        SELECT id, version, details AS kept
        FROM customers
        WHERE tenant = $1 AND id > $2
        ORDER BY id
        LIMIT $3";
    ORDERS = "
        SELECT id, version, fields AS kept
        FROM orders
        WHERE tenant = $1 AND id > $2
        ORDER BY id
        LIMIT $3";
    SET_CUSTOMER = "
        UPDATE customers
        SET details = $4, version = version + 1, updated_at = $5
        WHERE tenant = $1 AND id = $2 AND version = $3";
    SET_ORDER = "
        UPDATE orders
        SET fields = $4, version = version + 1, updated_at = $5
        WHERE tenant = $1 AND id = $2 AND version = $3";
    DELETE_VALUES = "
        DELETE FROM field_values
        WHERE tenant = $1 AND entity = $2 AND record_id = $3 AND namespace = $4";
    DUE = "
        SELECT plugin
        FROM plugin_enablements
        WHERE tenant = $1 AND state = 'disabled' AND purge_at <= $2
        ORDER BY plugin
        LIMIT $3";
    BEGIN = "
        UPDATE plugin_enablements
        SET purged = '{}', version = version + 1, updated_at = $3
        WHERE tenant = $1 AND plugin = $2 AND state = 'disabled' AND purge_at <= $3 AND purged IS NULL";
    PROGRESS = "
        SELECT purged
        FROM plugin_enablements
        WHERE tenant = $1 AND plugin = $2 AND purged IS NOT NULL";
    SET_PROGRESS = "
        UPDATE plugin_enablements
        SET purged = $3
        WHERE tenant = $1 AND plugin = $2 AND purged IS NOT NULL";
    DELETE_ENABLEMENT = "
        DELETE FROM plugin_enablements
        WHERE tenant = $1 AND plugin = $2 AND purged IS NOT NULL";
    DELETE_DOCUMENTS = "
        DELETE FROM documents
        WHERE tenant = $1 AND plugin = $2 AND (collection, key) IN (
            SELECT collection, key FROM documents
            WHERE tenant = $1 AND plugin = $2 ORDER BY collection, key LIMIT $3)";
    DELETE_DOCUMENT_INDEX = "
        DELETE FROM document_index
        WHERE tenant = $1 AND plugin = $2 AND (collection, name, value, key) IN (
            SELECT collection, name, value, key FROM document_index
            WHERE tenant = $1 AND plugin = $2 ORDER BY collection, name, value, key LIMIT $3)";
    DELETE_ENTRIES = "
        DELETE FROM plugin_kv
        WHERE tenant = $1 AND plugin = $2 AND key IN (
            SELECT key FROM plugin_kv WHERE tenant = $1 AND plugin = $2 ORDER BY key LIMIT $3)";
    DELETE_SUBJECT_VERSIONS = "
        DELETE FROM subject_versions
        WHERE tenant = $1 AND plugin = $2 AND (kind, id) IN (
            SELECT kind, id FROM subject_versions
            WHERE tenant = $1 AND plugin = $2 ORDER BY kind, id LIMIT $3)";
    DELETE_STEPS = "
        DELETE FROM plugin_steps
        WHERE tenant = $1 AND plugin = $2 AND (step, key) IN (
            SELECT step, key FROM plugin_steps
            WHERE tenant = $1 AND plugin = $2 ORDER BY step, key LIMIT $3)";
    DELETE_LOG = "
        DELETE FROM plugin_log
        WHERE tenant = $1 AND plugin = $2 AND id IN (
            SELECT id FROM plugin_log WHERE tenant = $1 AND plugin = $2 ORDER BY id LIMIT $3)";
    DELETE_DENIALS = "
        DELETE FROM plugin_denials
        WHERE tenant = $1 AND plugin = $2 AND (grant_name, function) IN (
            SELECT grant_name, function FROM plugin_denials
            WHERE tenant = $1 AND plugin = $2 ORDER BY grant_name, function LIMIT $3)";
    DELETE_DIFFERENCES = "
        DELETE FROM plugin_shadow_differences
        WHERE tenant = $1 AND plugin = $2 AND seq IN (
            SELECT seq FROM plugin_shadow_differences
            WHERE tenant = $1 AND plugin = $2 ORDER BY seq LIMIT $3)";
    // First the pieces, while the recordings still say which they are.
    DELETE_RECORDING_CHUNKS = "
        DELETE FROM recording_chunks
        WHERE tenant = $1 AND recording IN (
            SELECT id FROM recordings WHERE tenant = $1 AND plugin = $2 ORDER BY id LIMIT $3)";
    DELETE_RECORDINGS = "
        DELETE FROM recordings
        WHERE tenant = $1 AND id IN (
            SELECT id FROM recordings WHERE tenant = $1 AND plugin = $2 ORDER BY id LIMIT $3)";
    DELETE_CREDENTIALS = "DELETE FROM plugin_credentials WHERE tenant = $1 AND plugin = $2";
    DELETE_FILE_USAGE = "DELETE FROM plugin_file_usage WHERE tenant = $1 AND plugin = $2";
    DELETE_CANARY = "DELETE FROM plugin_canaries WHERE tenant = $1 AND plugin = $2";
    DELETE_SHADOW = "DELETE FROM plugin_shadows WHERE tenant = $1 AND plugin = $2";
    DELETE_MOVE = "DELETE FROM plugin_moves WHERE tenant = $1 AND plugin = $2";
    DELETE_DROPS = "DELETE FROM recording_drops WHERE tenant = $1 AND plugin = $2";
    DELETE_SCHEDULES = "DELETE FROM schedules WHERE tenant = $1 AND plugin = $2";
}

/// A document as it is kept.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct DocumentRow {
    pub(crate) collection: String,
    pub(crate) key: String,
    pub(crate) subject_kind: String,
    pub(crate) subject_id: String,
    pub(crate) version: i64,
    /// JSON.
    pub(crate) body: String,
    pub(crate) updated_at: Timestamp,
}

/// Documents after a collection and key; at most `limit`.
pub(crate) async fn documents(
    tx: &mut Tx,
    owner: Owner<'_>,
    (collection, key): (&str, &str),
    limit: u32,
) -> Result<Vec<DocumentRow>> {
    tx.fetch_all(DOCUMENTS, args![owner.tenant, owner.plugin, collection, key, limit]).await
}

/// A small value as it is kept.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct EntryRow {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    pub(crate) expires_at: Option<Timestamp>,
}

/// Small values after a key; at most `limit`.
pub(crate) async fn entries(tx: &mut Tx, owner: Owner<'_>, after: &str, limit: u32) -> Result<Vec<EntryRow>> {
    tx.fetch_all(ENTRIES, args![owner.tenant, owner.plugin, after, limit]).await
}

/// A file without its content.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct FileRow {
    pub(crate) name: String,
    pub(crate) blob: BlobId,
    /// In bytes.
    pub(crate) size: i64,
    pub(crate) modified_at: Timestamp,
}

/// Files after a name; at most `limit`.
pub(crate) async fn files(tx: &mut Tx, owner: Owner<'_>, after: &str, limit: u32) -> Result<Vec<FileRow>> {
    tx.fetch_all(FILES, args![owner.tenant, owner.plugin, after, limit]).await
}

/// A job and when it runs next.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct ScheduleRow {
    pub(crate) job: String,
    pub(crate) schedule: String,
    pub(crate) due_at: Timestamp,
}

/// The jobs of an enabled plugin.
pub(crate) async fn schedules(tx: &mut Tx, owner: Owner<'_>) -> Result<Vec<ScheduleRow>> {
    tx.fetch_all(SCHEDULES, args![owner.tenant, owner.plugin]).await
}

/// A record with the JSON text that its fields are kept in.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct RecordRow {
    pub(crate) id: String,
    pub(crate) version: i64,
    pub(crate) kept: Option<String>,
}

/// A kind of record that plugins have fields on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fielded {
    Customer,
    Order,
}

impl Fielded {
    /// The kind as fields know it.
    pub(crate) const fn entity(self) -> FieldEntity {
        match self {
            Self::Customer => FieldEntity::Customer,
            Self::Order => FieldEntity::Order,
        }
    }
}

/// Records after an id, deleted customers too; at most `limit`.
pub(crate) async fn records(
    tx: &mut Tx,
    tenant: &TenantId,
    (kind, after): (Fielded, &str),
    limit: u32,
) -> Result<Vec<RecordRow>> {
    let statement = match kind {
        Fielded::Customer => CUSTOMERS,
        Fielded::Order => ORDERS,
    };
    tx.fetch_all(statement, args![tenant, after, limit]).await
}

/// Writes what is left of a record without the plugin's fields; false if it has changed since it was read.
pub(crate) async fn drop_values(
    tx: &mut Tx,
    owner: Owner<'_>,
    (kind, left): (Fielded, &RecordRow),
    at: Timestamp,
) -> Result<bool> {
    let RecordRow { id, version, kept } = left;
    let statement = match kind {
        Fielded::Customer => SET_CUSTOMER,
        Fielded::Order => SET_ORDER,
    };
    let args = args![owner.tenant, id, *version, kept.as_deref(), at];
    if tx.execute(statement, args).await? == 0 {
        return Ok(false);
    }
    let args = args![owner.tenant, kind.entity().as_str(), id, owner.plugin];
    tx.execute(DELETE_VALUES, args).await?;
    Ok(true)
}

/// What a purge has deleted so far, by table.
pub(crate) type Counts = BTreeMap<String, u64>;

/// Plugins of a tenant whose time is over; at most `limit`.
pub(crate) async fn due(tx: &mut Tx, tenant: &TenantId, now: Timestamp, limit: u32) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = tx.fetch_all(DUE, args![tenant, now, limit]).await?;
    Ok(rows.into_iter().map(|(plugin,)| plugin).collect())
}

/// Begins a purge; false if it has begun already, or is not wanted any more.
pub(crate) async fn begin(tx: &mut Tx, owner: Owner<'_>, now: Timestamp) -> Result<bool> {
    Ok(tx.execute(BEGIN, args![owner.tenant, owner.plugin, now]).await? == 1)
}

/// What was deleted so far; nothing if no purge goes on.
pub(crate) async fn progress(tx: &mut Tx, owner: Owner<'_>) -> Result<Option<Counts>> {
    let row: Option<(String,)> = tx.fetch_optional(PROGRESS, args![owner.tenant, owner.plugin]).await?;
    row.map(|(text,)| serde_json::from_str(&text).map_err(Error::internal)).transpose()
}

/// Adds what a unit has deleted of a table to what there was, which it has read before it deleted.
pub(crate) async fn count(
    tx: &mut Tx,
    owner: Owner<'_>,
    mut counts: Counts,
    (table, deleted): (&'static str, u64),
) -> Result<()> {
    if deleted > 0 {
        *counts.entry(table.to_owned()).or_default() += deleted;
        let text = serde_json::to_string(&counts).map_err(Error::internal)?;
        tx.execute(SET_PROGRESS, args![owner.tenant, owner.plugin, text]).await?;
    }
    Ok(())
}

/// How many tables are purged by [`delete_chunk`].
pub(crate) const CHUNKED_TABLES: usize = IN_CHUNKS.len();

/// Deletes rows of a table, by its number; answers its name and how many, at most `limit`.
pub(crate) async fn delete_chunk(
    tx: &mut Tx,
    owner: Owner<'_>,
    table: usize,
    limit: u32,
) -> Result<(&'static str, u64)> {
    let (name, statement) = IN_CHUNKS[table];
    Ok((name, tx.execute(statement, args![owner.tenant, owner.plugin, limit]).await?))
}

/// Deletes recordings with all that is sealed of them; answers how many, at most `limit`.
pub(crate) async fn delete_recordings(tx: &mut Tx, owner: Owner<'_>, limit: u32) -> Result<u64> {
    tx.execute(DELETE_RECORDING_CHUNKS, args![owner.tenant, owner.plugin, limit]).await?;
    tx.execute(DELETE_RECORDINGS, args![owner.tenant, owner.plugin, limit]).await
}

/// Deletes what is left, the enablement last; answers what the whole purge has deleted, or nothing if no
/// purge goes on.
pub(crate) async fn end(tx: &mut Tx, owner: Owner<'_>) -> Result<Option<Counts>> {
    let Some(mut counts) = progress(tx, owner).await? else { return Ok(None) };
    for (table, statement) in AT_THE_END {
        let deleted = tx.execute(*statement, args![owner.tenant, owner.plugin]).await?;
        if deleted > 0 {
            counts.insert((*table).to_owned(), deleted);
        }
    }
    tx.execute(DELETE_ENABLEMENT, args![owner.tenant, owner.plugin]).await?;
    Ok(Some(counts))
}
