//! Rows of recordings of plugins' runs, of the keys that they are sealed with, and of those that there
//! was no room for.

use serde::Serialize;

use super::{Json, Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::ids::{RecordingId, TenantId};
use crate::error::Result;

/// Bytes of a recording in one row.
const CHUNK_BYTES: usize = 1_024 * 1_024;

statements! {
    INSERT = "
        INSERT INTO recordings (tenant, id, plugin, plugin_version, digest, point, outcome, at, attempt, fuel,
            calls, size, truncated, customers)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
        ON CONFLICT (tenant, id) DO NOTHING";
    INSERT_CHUNK = "
        INSERT INTO recording_chunks (tenant, recording, seq, body)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (tenant, recording, seq) DO NOTHING";
    READ_CHUNK = "SELECT body FROM recording_chunks WHERE tenant = $1 AND recording = $2 AND seq = $3";
    FIND = "
        SELECT id, plugin, plugin_version, digest, point, outcome, at, attempt, fuel, calls, size, truncated,
            customers
        FROM recordings
        WHERE tenant = $1 AND id = $2";
    // Empty text stands for any.
    LIST = "
        SELECT id, plugin, plugin_version, digest, point, outcome, at, attempt, fuel, calls, size, truncated,
            customers
        FROM recordings
        WHERE tenant = $1
          AND ($2 = '' OR plugin = $2)
          AND ($3 = '' OR point = $3)
          AND ($4 = '' OR outcome = $4)
          AND id < $5
        ORDER BY id DESC
        LIMIT $6";
    SIZES = "
        SELECT id, size
        FROM recordings
        WHERE tenant = $1 AND plugin = $2
        ORDER BY id DESC
        LIMIT $3";
    OLD = "
        SELECT id, size
        FROM recordings
        WHERE tenant = $1 AND at < $2
        ORDER BY id
        LIMIT $3";
    DELETE = "DELETE FROM recordings WHERE tenant = $1 AND id = $2";
    DELETE_CHUNKS = "DELETE FROM recording_chunks WHERE tenant = $1 AND recording = $2";
    // A list is one JSON array, which each engine unfolds in its own way.
    KEYS = split(
        "SELECT k.customer, k.sealed
        FROM json_each($2) j
        JOIN recording_keys k ON k.tenant = $1 AND k.customer = j.value
        ORDER BY k.customer",
        "SELECT k.customer, k.sealed
        FROM json_array_elements_text(CAST($2 AS JSON)) AS j(value)
        JOIN recording_keys k ON k.tenant = $1 AND k.customer = j.value
        ORDER BY k.customer",
    );
    INSERT_KEY = "
        INSERT INTO recording_keys (tenant, customer, sealed, created_at)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (tenant, customer) DO NOTHING";
    DELETE_KEY = "DELETE FROM recording_keys WHERE tenant = $1 AND customer = $2";
    // Ids that plugins have made up, and those of customers that are gone.
    DELETE_LOST_KEYS = "
        DELETE FROM recording_keys
        WHERE tenant = $1 AND customer <> '' AND created_at < $2
          AND NOT EXISTS (
              SELECT 1 FROM customers c WHERE c.tenant = $1 AND c.id = recording_keys.customer)";
    ADD_DROPS = "
        INSERT INTO recording_drops (tenant, plugin, count, last_at)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (tenant, plugin) DO UPDATE
        SET count = recording_drops.count + excluded.count, last_at = excluded.last_at";
    DROPS = "
        SELECT CAST(COALESCE(SUM(count), 0) AS BIGINT)
        FROM recording_drops
        WHERE tenant = $1 AND ($2 = '' OR plugin = $2)";
}

/// A recording without what is sealed.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct RecordingRow {
    /// Its id; later ones have greater ones.
    #[schema(value_type = String)]
    pub id: RecordingId,
    /// The plugin's name.
    pub plugin: String,
    /// The plugin's version.
    pub plugin_version: String,
    /// SHA-256 of the component that ran.
    pub digest: String,
    /// The extension point.
    pub point: String,
    /// `ok`, `refused`, `stale` (a conflict made it run again), `host`, or the code of a failure.
    pub outcome: String,
    /// When the run began.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// 1 for the first run, more when a conflict or a failure has repeated it. Of several attempts, the
    /// last is the one that counts.
    pub attempt: i64,
    /// Fuel that it has burnt.
    pub fuel: i64,
    /// Calls of the host.
    pub calls: i64,
    /// Bytes that are kept.
    pub size: i64,
    /// Whether it was too large to be kept whole; then it cannot be replayed.
    pub truncated: bool,
    /// Ids of the customers whom it is about.
    #[serde(skip)]
    #[schema(ignore)]
    pub customers: Json<Vec<String>>,
}

/// A customer's key; the key that is about nobody has an empty id.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct KeyRow {
    pub(crate) customer: String,
    pub(crate) sealed: Vec<u8>,
}

/// What to list; empty text stands for anything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filter<'a> {
    pub(crate) plugin: &'a str,
    pub(crate) point: &'a str,
    pub(crate) outcome: &'a str,
}

/// Inserts a recording and what is sealed of it.
pub(crate) async fn insert(tx: &mut Tx, tenant: &TenantId, row: &RecordingRow, sealed: &[u8]) -> Result<()> {
    let RecordingRow {
        id,
        plugin,
        plugin_version,
        digest,
        point,
        outcome,
        at,
        attempt,
        fuel,
        calls,
        size,
        truncated,
        customers,
    } = row;
    let args = args![
        tenant,
        id,
        plugin,
        plugin_version,
        digest,
        point,
        outcome,
        *at,
        *attempt,
        *fuel,
        *calls,
        *size,
        *truncated,
        serde_json::json!(customers.0),
    ];
    if !tx.insert_if_absent(INSERT, args).await? {
        return Ok(());
    }
    for (seq, chunk) in (0_u32..).zip(sealed.chunks(CHUNK_BYTES)) {
        tx.insert_if_absent(INSERT_CHUNK, args![tenant, id, seq, chunk]).await?;
    }
    Ok(())
}

/// What is sealed of a recording.
pub(crate) async fn read(tx: &mut Tx, tenant: &TenantId, id: &RecordingId) -> Result<Vec<u8>> {
    let mut sealed = Vec::new();
    for seq in 0_u32.. {
        let chunk: Option<(Vec<u8>,)> = tx.fetch_optional(READ_CHUNK, args![tenant, id, seq]).await?;
        let Some((chunk,)) = chunk else { break };
        sealed.extend_from_slice(&chunk);
    }
    Ok(sealed)
}

/// A recording.
pub(crate) async fn find(tx: &mut Tx, tenant: &TenantId, id: &RecordingId) -> Result<Option<RecordingRow>> {
    tx.fetch_optional(FIND, args![tenant, id]).await
}

/// Recordings before the id `before`, the latest first.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &TenantId,
    Filter { plugin, point, outcome }: Filter<'_>,
    before: &str,
    limit: i64,
) -> Result<Vec<RecordingRow>> {
    tx.fetch_all(LIST, args![tenant, plugin, point, outcome, before, limit]).await
}

/// Ids and bytes of a plugin's recordings, the latest first.
pub(crate) async fn sizes(
    tx: &mut Tx,
    tenant: &TenantId,
    plugin: &str,
    limit: i64,
) -> Result<Vec<(RecordingId, i64)>> {
    tx.fetch_all(SIZES, args![tenant, plugin, limit]).await
}

/// Ids and bytes of recordings of runs that began before a time, the oldest first.
pub(crate) async fn old(
    tx: &mut Tx,
    tenant: &TenantId,
    before: Timestamp,
    limit: i64,
) -> Result<Vec<(RecordingId, i64)>> {
    tx.fetch_all(OLD, args![tenant, before, limit]).await
}

/// Deletes a recording; false if there is none.
pub(crate) async fn delete(tx: &mut Tx, tenant: &TenantId, id: &RecordingId) -> Result<bool> {
    tx.execute(DELETE_CHUNKS, args![tenant, id]).await?;
    Ok(tx.execute(DELETE, args![tenant, id]).await? > 0)
}

/// The keys of customers, as far as they have one, in the order of their ids.
pub(crate) async fn keys(tx: &mut Tx, tenant: &TenantId, customers: &[String]) -> Result<Vec<KeyRow>> {
    tx.fetch_all(KEYS, args![tenant, serde_json::json!(customers)]).await
}

/// Keeps a key, unless there is one.
pub(crate) async fn insert_key(tx: &mut Tx, tenant: &TenantId, row: &KeyRow, at: Timestamp) -> Result<()> {
    let args = args![tenant, &row.customer, row.sealed.as_slice(), at];
    tx.insert_if_absent(INSERT_KEY, args).await.map(drop)
}

/// Forgets a customer's key; false if there is none.
pub(crate) async fn delete_key(tx: &mut Tx, tenant: &TenantId, customer: &str) -> Result<bool> {
    Ok(tx.execute(DELETE_KEY, args![tenant, customer]).await? > 0)
}

/// Forgets keys from before a time whose customers are not there.
pub(crate) async fn delete_lost_keys(tx: &mut Tx, tenant: &TenantId, before: Timestamp) -> Result<u64> {
    tx.execute(DELETE_LOST_KEYS, args![tenant, before]).await
}

/// Counts recordings that there was no room for.
pub(crate) async fn add_drops(
    tx: &mut Tx,
    tenant: &TenantId,
    plugin: &str,
    (count, at): (i64, Timestamp),
) -> Result<()> {
    tx.execute(ADD_DROPS, args![tenant, plugin, count, at]).await.map(drop)
}

/// How many there were, of a plugin or of all.
pub(crate) async fn drops(tx: &mut Tx, tenant: &TenantId, plugin: &str) -> Result<i64> {
    let (count,): (i64,) = tx.fetch_one(DROPS, args![tenant, plugin]).await?;
    Ok(count)
}
