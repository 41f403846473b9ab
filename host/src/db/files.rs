//! Rows of plugins' files, what they add up to, and blobs that no file names: not yet, or no more.

use serde_json::json;

use super::documents::Owner;
use super::{Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::ids::{BlobId, TenantId};
use crate::error::Result;

/// The kind under which `subject_versions` keeps the versions of files.
pub(crate) const SUBJECT_KIND: &str = "file";

/// Sorts after every name that begins with the same characters: greater than all that a name may have.
const AFTER_EVERY_NAME: char = '~';

statements! {
    // A list is one JSON array, which each engine unfolds in its own way. The
    // version comes with a name that has no file, too.
    GET_MANY = split(
        "SELECT j.value AS name, f.blob, f.size, f.modified_at, COALESCE(v.version, 0) AS subject_version
        FROM json_each($3) j
        LEFT JOIN plugin_files f ON f.tenant = $1 AND f.plugin = $2 AND f.name = j.value
        LEFT JOIN subject_versions v
          ON v.tenant = $1 AND v.plugin = $2 AND v.kind = 'file' AND v.id = j.value",
        "SELECT j.value AS name, f.blob, f.size, f.modified_at, COALESCE(v.version, 0) AS subject_version
        FROM json_array_elements_text(CAST($3 AS JSON)) AS j(value)
        LEFT JOIN plugin_files f ON f.tenant = $1 AND f.plugin = $2 AND f.name = j.value
        LEFT JOIN subject_versions v
          ON v.tenant = $1 AND v.plugin = $2 AND v.kind = 'file' AND v.id = j.value",
    );
    SCAN = "
        SELECT name, size, modified_at
        FROM plugin_files
        WHERE tenant = $1
          AND plugin = $2
          AND name > $3
          AND name >= $4
          AND name < $5
        ORDER BY name
        LIMIT $6";
    PUT = "
        INSERT INTO plugin_files (tenant, plugin, name, blob, size, modified_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (tenant, plugin, name) DO UPDATE
        SET blob = excluded.blob, size = excluded.size, modified_at = excluded.modified_at";
    DELETE = "DELETE FROM plugin_files WHERE tenant = $1 AND plugin = $2 AND name = $3";
    FIND_USAGE = "SELECT files, bytes FROM plugin_file_usage WHERE tenant = $1 AND plugin = $2";
    // One row for all of a plugin's files, so that two units that each keep the quota do not break
    // it together.
    ADD_USAGE = "
        INSERT INTO plugin_file_usage (tenant, plugin, files, bytes)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (tenant, plugin) DO UPDATE
        SET files = plugin_file_usage.files + excluded.files, bytes = plugin_file_usage.bytes + excluded.bytes
        RETURNING files, bytes";
    INSERT_LOOSE = split(
        "INSERT INTO loose_blobs (tenant, plugin, blob, since, doomed)
        SELECT $1, $2, j.value, $4, FALSE
        FROM json_each($3) j",
        "INSERT INTO loose_blobs (tenant, plugin, blob, since, doomed)
        SELECT $1, $2, j.value, $4, FALSE
        FROM json_array_elements_text(CAST($3 AS JSON)) AS j(value)",
    );
    TAKE_LOOSE = split(
        "DELETE FROM loose_blobs
        WHERE tenant = $1
          AND plugin = $2
          AND doomed = FALSE
          AND blob IN (SELECT value FROM json_each($3))",
        "DELETE FROM loose_blobs
        WHERE tenant = $1
          AND plugin = $2
          AND doomed = FALSE
          AND blob IN (SELECT j.value FROM json_array_elements_text(CAST($3 AS JSON)) AS j(value))",
    );
    // Those that an earlier look has doomed but not removed are among them.
    OLD_LOOSE = "
        SELECT plugin, blob
        FROM loose_blobs
        WHERE tenant = $1
          AND since < $2
        ORDER BY since, plugin, blob
        LIMIT $3";
    DOOM = "
        UPDATE loose_blobs
        SET doomed = TRUE
        WHERE tenant = $1
          AND plugin = $2
          AND blob = $3";
    DELETE_LOOSE = "
        DELETE FROM loose_blobs
        WHERE tenant = $1
          AND plugin = $2
          AND blob = $3";
}

/// What is known of a name: perhaps a file, and a version in any case.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) blob: Option<BlobId>,
    pub(crate) size: Option<i64>,
    pub(crate) modified_at: Option<Timestamp>,
    pub(crate) subject_version: i64,
}

/// What is known of each of `names`, in no order.
pub(crate) async fn get_many(tx: &mut Tx, owner: Owner<'_>, names: &[&str]) -> Result<Vec<Found>> {
    tx.fetch_all(GET_MANY, args![owner.tenant, owner.plugin, json!(names)]).await
}

/// A file without its content.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Listed {
    pub(crate) name: String,
    /// In bytes.
    pub(crate) size: i64,
    pub(crate) modified_at: Timestamp,
}

/// Files whose names begin with `prefix` and come after `after`, by name; at most `limit`.
pub(crate) async fn scan(
    tx: &mut Tx,
    owner: Owner<'_>,
    (prefix, after): (&str, &str),
    limit: u32,
) -> Result<Vec<Listed>> {
    let end = format!("{prefix}{AFTER_EVERY_NAME}");
    tx.fetch_all(SCAN, args![owner.tenant, owner.plugin, after, prefix, end, limit]).await
}

/// A file as it shall be.
#[derive(Clone, Debug)]
pub(crate) struct FileRow {
    pub(crate) name: String,
    pub(crate) blob: BlobId,
    /// In bytes.
    pub(crate) size: i64,
}

/// Makes or replaces a file.
pub(crate) async fn put(tx: &mut Tx, owner: Owner<'_>, file: &FileRow, at: Timestamp) -> Result<()> {
    let FileRow { name, blob, size } = file;
    tx.execute(PUT, args![owner.tenant, owner.plugin, name, blob, *size, at]).await.map(drop)
}

/// Removes a file.
pub(crate) async fn delete(tx: &mut Tx, owner: Owner<'_>, name: &str) -> Result<()> {
    tx.execute(DELETE, args![owner.tenant, owner.plugin, name]).await.map(drop)
}

/// What a plugin's files of a tenant add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Usage {
    pub(crate) files: i64,
    pub(crate) bytes: i64,
}

/// What the files add up to.
pub(crate) async fn usage(tx: &mut Tx, owner: Owner<'_>) -> Result<Usage> {
    let usage = tx.fetch_optional(FIND_USAGE, args![owner.tenant, owner.plugin]).await?;
    Ok(usage.unwrap_or_default())
}

/// Adds to what the files add up to, and answers the sum.
pub(crate) async fn add_usage(tx: &mut Tx, owner: Owner<'_>, more: Usage) -> Result<Usage> {
    tx.fetch_one(ADD_USAGE, args![owner.tenant, owner.plugin, more.files, more.bytes]).await
}

/// Notes blobs that no file names.
pub(crate) async fn insert_loose(
    tx: &mut Tx,
    owner: Owner<'_>,
    blobs: &[&BlobId],
    since: Timestamp,
) -> Result<()> {
    tx.execute(INSERT_LOOSE, args![owner.tenant, owner.plugin, json!(blobs), since]).await.map(drop)
}

/// Forgets that no file names these blobs, because one is about to; answers how many of them there
/// were, without those that are about to be removed.
pub(crate) async fn take_loose(tx: &mut Tx, owner: Owner<'_>, blobs: &[&BlobId]) -> Result<u64> {
    tx.execute(TAKE_LOOSE, args![owner.tenant, owner.plugin, json!(blobs)]).await
}

/// A blob that no file names.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Loose {
    pub(crate) plugin: String,
    pub(crate) blob: BlobId,
}

/// Dooms blobs that no file has named since before `before`, the oldest first; at most `limit`.
pub(crate) async fn doom(
    tx: &mut Tx,
    tenant: &TenantId,
    before: Timestamp,
    limit: u32,
) -> Result<Vec<Loose>> {
    let old: Vec<Loose> = tx.fetch_all(OLD_LOOSE, args![tenant, before, limit]).await?;
    for Loose { plugin, blob } in &old {
        tx.execute(DOOM, args![tenant, plugin, blob]).await?;
    }
    Ok(old)
}

/// Forgets blobs that have been removed.
pub(crate) async fn delete_loose(tx: &mut Tx, tenant: &TenantId, gone: &[Loose]) -> Result<()> {
    for Loose { plugin, blob } in gone {
        tx.execute(DELETE_LOOSE, args![tenant, plugin, blob]).await?;
    }
    Ok(())
}
