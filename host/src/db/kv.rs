//! Rows of plugins' small values.

use serde_json::json;

use super::documents::Owner;
use super::{Tx, args, statements};
use crate::clock::Timestamp;
use crate::error::Result;

/// The kind under which `subject_versions` keeps the versions of entries.
pub(crate) const SUBJECT_KIND: &str = "kv";

statements! {
    // A list is one JSON array, which each engine unfolds in its own way. The
    // version comes with a key that has no entry, too.
    GET_MANY = split(
        "SELECT j.value AS key, e.value, e.expires_at, COALESCE(v.version, 0) AS subject_version
        FROM json_each($3) j
        LEFT JOIN plugin_kv e ON e.tenant = $1 AND e.plugin = $2 AND e.key = j.value
        LEFT JOIN subject_versions v
          ON v.tenant = $1 AND v.plugin = $2 AND v.kind = 'kv' AND v.id = j.value",
        "SELECT j.value AS key, e.value, e.expires_at, COALESCE(v.version, 0) AS subject_version
        FROM json_array_elements_text(CAST($3 AS JSON)) AS j(value)
        LEFT JOIN plugin_kv e ON e.tenant = $1 AND e.plugin = $2 AND e.key = j.value
        LEFT JOIN subject_versions v
          ON v.tenant = $1 AND v.plugin = $2 AND v.kind = 'kv' AND v.id = j.value",
    );
    SET = "
        INSERT INTO plugin_kv (tenant, plugin, key, value, expires_at)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (tenant, plugin, key) DO UPDATE
        SET value = excluded.value, expires_at = excluded.expires_at";
    DELETE = "DELETE FROM plugin_kv WHERE tenant = $1 AND plugin = $2 AND key = $3";
    COUNT = "
        SELECT COUNT(*)
        FROM (SELECT 1 FROM plugin_kv WHERE tenant = $1 AND plugin = $2 LIMIT $3) AS entries";
    DELETE_EXPIRED = "
        DELETE FROM plugin_kv
        WHERE tenant = $1 AND plugin = $2 AND expires_at <= $3";
}

/// What is known of a key: perhaps an entry, and a version in any case.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Found {
    pub(crate) key: String,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) subject_version: i64,
}

/// What is known of each of `keys`, in no order.
pub(crate) async fn get_many(tx: &mut Tx, owner: Owner<'_>, keys: &[&str]) -> Result<Vec<Found>> {
    tx.fetch_all(GET_MANY, args![owner.tenant, owner.plugin, json!(keys)]).await
}

/// Writes an entry.
pub(crate) async fn set(
    tx: &mut Tx,
    owner: Owner<'_>,
    key: &str,
    value: &[u8],
    expires_at: Option<Timestamp>,
) -> Result<()> {
    tx.execute(SET, args![owner.tenant, owner.plugin, key, value, expires_at]).await.map(drop)
}

/// Removes an entry.
pub(crate) async fn delete(tx: &mut Tx, owner: Owner<'_>, key: &str) -> Result<()> {
    tx.execute(DELETE, args![owner.tenant, owner.plugin, key]).await.map(drop)
}

/// How many entries there are, counted up to `most`.
pub(crate) async fn count(tx: &mut Tx, owner: Owner<'_>, most: i64) -> Result<i64> {
    let (count,): (i64,) = tx.fetch_one(COUNT, args![owner.tenant, owner.plugin, most]).await?;
    Ok(count)
}

/// Removes entries whose time is over.
pub(crate) async fn delete_expired(tx: &mut Tx, owner: Owner<'_>, now: Timestamp) -> Result<()> {
    tx.execute(DELETE_EXPIRED, args![owner.tenant, owner.plugin, now]).await.map(drop)
}
