//! Rows of plugins' documents, their indexes, and the versions of their subjects.
//!
//! What one invocation changes is one JSON array a table, which each engine
//! unfolds in its own way: a handful of statements, however many documents.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::ids::TenantId;
use crate::error::Result;

/// Greater than every key, which has at most 256 bytes: 65 of the greatest character.
static AFTER_EVERY_KEY: LazyLock<String> = LazyLock::new(|| "\u{10FFFF}".repeat(65));

statements! {
    // A list is one JSON array, which each engine unfolds in its own way. The limits
    // keep PostgreSQL from walking all documents of a young table for each key.
    GET_MANY = split(
        "SELECT d.key, d.subject_kind, d.subject_id, d.version, d.body, COALESCE(v.version, 0) AS subject_version
        FROM documents d
        LEFT JOIN subject_versions v
          ON v.tenant = d.tenant AND v.plugin = d.plugin AND v.kind = d.subject_kind AND v.id = d.subject_id
        WHERE d.tenant = $1
          AND d.plugin = $2
          AND d.collection = $3
          AND d.key IN (SELECT value FROM json_each($4))",
        "SELECT d.key, d.subject_kind, d.subject_id, d.version, d.body, COALESCE(v.version, 0) AS subject_version
        FROM json_array_elements_text(CAST($4 AS JSON)) AS keys (value)
        CROSS JOIN LATERAL (
            SELECT key, subject_kind, subject_id, version, body
            FROM documents
            WHERE tenant = $1
              AND plugin = $2
              AND collection = $3
              AND key = keys.value
            LIMIT 1) d
        LEFT JOIN LATERAL (
            SELECT version
            FROM subject_versions
            WHERE tenant = $1
              AND plugin = $2
              AND kind = d.subject_kind
              AND id = d.subject_id
            LIMIT 1) v ON TRUE",
    );
    SUBJECT_VERSION = "
        SELECT version
        FROM subject_versions
        WHERE tenant = $1 AND plugin = $2 AND kind = $3 AND id = $4";
    // A written subject's version grows by one, if it is still the one that was read.
    BUMP_SUBJECTS = split(
        "INSERT INTO subject_versions (tenant, plugin, kind, id, version)
        SELECT $1, $2, j.value ->> 0, j.value ->> 1, (j.value ->> 2) + 1
        FROM json_each($3) j
        WHERE TRUE
        ON CONFLICT (tenant, plugin, kind, id) DO UPDATE SET version = excluded.version
        WHERE subject_versions.version = excluded.version - 1",
        "INSERT INTO subject_versions (tenant, plugin, kind, id, version)
        SELECT $1, $2, j.value ->> 0, j.value ->> 1, CAST(j.value ->> 2 AS BIGINT) + 1
        FROM json_array_elements(CAST($3 AS JSON)) AS j(value)
        ON CONFLICT (tenant, plugin, kind, id) DO UPDATE SET version = excluded.version
        WHERE subject_versions.version = excluded.version - 1",
    );
    // A subject that was only read is written too, with the version that it has:
    // on PostgreSQL this makes two units that each read what the other writes
    // collide. SQLite runs one unit after the other, so a look is enough.
    HOLD_SUBJECTS = split(
        "SELECT COUNT(*)
        FROM json_each($3) j
        LEFT JOIN subject_versions v
          ON v.tenant = $1 AND v.plugin = $2 AND v.kind = j.value ->> 0 AND v.id = j.value ->> 1
        WHERE COALESCE(v.version, 0) = j.value ->> 2",
        "WITH held AS (
            INSERT INTO subject_versions (tenant, plugin, kind, id, version)
            SELECT $1, $2, j.value ->> 0, j.value ->> 1, CAST(j.value ->> 2 AS BIGINT)
            FROM json_array_elements(CAST($3 AS JSON)) AS j(value)
            ON CONFLICT (tenant, plugin, kind, id) DO UPDATE SET version = excluded.version
            WHERE subject_versions.version = excluded.version
            RETURNING 1)
        SELECT COUNT(*) FROM held",
    );
    // A cross join keeps SQLite from walking all of a plugin's documents for each key.
    COUNT_KEYS = split(
        "SELECT COUNT(*)
        FROM json_each($3) j
        CROSS JOIN documents d
          ON d.tenant = $1 AND d.plugin = $2 AND d.collection = j.value ->> 0 AND d.key = j.value ->> 1",
        "SELECT COUNT(*)
        FROM json_array_elements(CAST($3 AS JSON)) AS j(value)
        JOIN documents d
          ON d.tenant = $1 AND d.plugin = $2 AND d.collection = j.value ->> 0 AND d.key = j.value ->> 1",
    );
    PUT = split(
        "INSERT INTO documents (tenant, plugin, collection, key, subject_kind, subject_id, version, body, updated_at)
        SELECT $1, $2, j.value ->> 0, j.value ->> 1, j.value ->> 2, j.value ->> 3, j.value ->> 4, j.value ->> 5, $4
        FROM json_each($3) j
        WHERE TRUE
        ON CONFLICT (tenant, plugin, collection, key) DO UPDATE
        SET version = excluded.version, body = excluded.body, updated_at = excluded.updated_at",
        "INSERT INTO documents (tenant, plugin, collection, key, subject_kind, subject_id, version, body, updated_at)
        SELECT $1, $2, j.value ->> 0, j.value ->> 1, j.value ->> 2, j.value ->> 3,
            CAST(j.value ->> 4 AS BIGINT), j.value ->> 5, $4
        FROM json_array_elements(CAST($3 AS JSON)) AS j(value)
        ON CONFLICT (tenant, plugin, collection, key) DO UPDATE
        SET version = excluded.version, body = excluded.body, updated_at = excluded.updated_at",
    );
    DELETE = split(
        "DELETE FROM documents
        WHERE tenant = $1
          AND plugin = $2
          AND (collection, key) IN (SELECT value ->> 0, value ->> 1 FROM json_each($3))",
        "DELETE FROM documents
        WHERE tenant = $1
          AND plugin = $2
          AND (collection, key) IN (
            SELECT j.value ->> 0, j.value ->> 1 FROM json_array_elements(CAST($3 AS JSON)) AS j(value))",
    );
    DELETE_INDEX = split(
        "DELETE FROM document_index
        WHERE tenant = $1
          AND plugin = $2
          AND (collection, key) IN (SELECT value ->> 0, value ->> 1 FROM json_each($3))",
        "DELETE FROM document_index
        WHERE tenant = $1
          AND plugin = $2
          AND (collection, key) IN (
            SELECT j.value ->> 0, j.value ->> 1 FROM json_array_elements(CAST($3 AS JSON)) AS j(value))",
    );
    PUT_INDEX = split(
        "INSERT INTO document_index (tenant, plugin, collection, key, subject_kind, subject_id, name, value)
        SELECT $1, $2, j.value ->> 0, j.value ->> 1, j.value ->> 2, j.value ->> 3, j.value ->> 4, j.value ->> 5
        FROM json_each($3) j",
        "INSERT INTO document_index (tenant, plugin, collection, key, subject_kind, subject_id, name, value)
        SELECT $1, $2, j.value ->> 0, j.value ->> 1, j.value ->> 2, j.value ->> 3, j.value ->> 4, j.value ->> 5
        FROM json_array_elements(CAST($3 AS JSON)) AS j(value)",
    );
    // PostgreSQL holds the record, so that a unit that changes it collides with
    // this one; SQLite has one writer.
    HOLD_CUSTOMER = split(
        "SELECT version FROM customers WHERE tenant = $1 AND id = $2",
        "SELECT version FROM customers WHERE tenant = $1 AND id = $2 FOR SHARE",
    );
    HOLD_ORDER = split(
        "SELECT version FROM orders WHERE tenant = $1 AND id = $2",
        "SELECT version FROM orders WHERE tenant = $1 AND id = $2 FOR SHARE",
    );
    SCAN_KEYS = "
        SELECT d.key, d.subject_kind, d.subject_id, d.version, d.body, '' AS value
        FROM documents d
        WHERE d.tenant = $1 AND d.plugin = $2 AND d.collection = $3 AND d.key > $4
        ORDER BY d.key
        LIMIT $5";
    SCAN_KEYS_DOWN = "
        SELECT d.key, d.subject_kind, d.subject_id, d.version, d.body, '' AS value
        FROM documents d
        WHERE d.tenant = $1 AND d.plugin = $2 AND d.collection = $3 AND d.key < $4
        ORDER BY d.key DESC
        LIMIT $5";
    SCAN_SUBJECT_KEYS = "
        SELECT d.key, d.subject_kind, d.subject_id, d.version, d.body, '' AS value
        FROM documents d
        WHERE d.tenant = $1 AND d.plugin = $2 AND d.collection = $3 AND d.key > $4
          AND d.subject_kind = $6 AND d.subject_id = $7
        ORDER BY d.key
        LIMIT $5";
    SCAN_SUBJECT_KEYS_DOWN = "
        SELECT d.key, d.subject_kind, d.subject_id, d.version, d.body, '' AS value
        FROM documents d
        WHERE d.tenant = $1 AND d.plugin = $2 AND d.collection = $3 AND d.key < $4
          AND d.subject_kind = $6 AND d.subject_id = $7
        ORDER BY d.key DESC
        LIMIT $5";
    SCAN_INDEX = "
        SELECT d.key, d.subject_kind, d.subject_id, d.version, d.body, i.value
        FROM document_index i
        JOIN documents d
          ON d.tenant = i.tenant AND d.plugin = i.plugin AND d.collection = i.collection AND d.key = i.key
        WHERE i.tenant = $1 AND i.plugin = $2 AND i.collection = $3 AND i.name = $6
          AND (i.value, i.key) > ($7, $4) AND i.value >= $8 AND i.value <= $9
        ORDER BY i.value, i.key
        LIMIT $5";
    SCAN_INDEX_DOWN = "
        SELECT d.key, d.subject_kind, d.subject_id, d.version, d.body, i.value
        FROM document_index i
        JOIN documents d
          ON d.tenant = i.tenant AND d.plugin = i.plugin AND d.collection = i.collection AND d.key = i.key
        WHERE i.tenant = $1 AND i.plugin = $2 AND i.collection = $3 AND i.name = $6
          AND (i.value, i.key) < ($7, $4) AND i.value >= $8 AND i.value <= $9
        ORDER BY i.value DESC, i.key DESC
        LIMIT $5";
    SCAN_SUBJECT_INDEX = "
        SELECT d.key, d.subject_kind, d.subject_id, d.version, d.body, i.value
        FROM document_index i
        JOIN documents d
          ON d.tenant = i.tenant AND d.plugin = i.plugin AND d.collection = i.collection AND d.key = i.key
        WHERE i.tenant = $1 AND i.plugin = $2 AND i.collection = $3 AND i.name = $6
          AND (i.value, i.key) > ($7, $4) AND i.value >= $8 AND i.value <= $9
          AND i.subject_kind = $10 AND i.subject_id = $11
        ORDER BY i.value, i.key
        LIMIT $5";
    SCAN_SUBJECT_INDEX_DOWN = "
        SELECT d.key, d.subject_kind, d.subject_id, d.version, d.body, i.value
        FROM document_index i
        JOIN documents d
          ON d.tenant = i.tenant AND d.plugin = i.plugin AND d.collection = i.collection AND d.key = i.key
        WHERE i.tenant = $1 AND i.plugin = $2 AND i.collection = $3 AND i.name = $6
          AND (i.value, i.key) < ($7, $4) AND i.value >= $8 AND i.value <= $9
          AND i.subject_kind = $10 AND i.subject_id = $11
        ORDER BY i.value DESC, i.key DESC
        LIMIT $5";
}

/// A document, and the version that its subject had in the same snapshot.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Found {
    pub(crate) key: String,
    pub(crate) subject_kind: String,
    pub(crate) subject_id: String,
    pub(crate) version: i64,
    pub(crate) body: String,
    pub(crate) subject_version: i64,
}

/// A document and the value by which a scan is ordered; empty if by key.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Scanned {
    pub(crate) key: String,
    pub(crate) subject_kind: String,
    pub(crate) subject_id: String,
    pub(crate) version: i64,
    pub(crate) body: String,
    pub(crate) value: String,
}

/// Whose documents: every statement begins with these.
#[derive(Clone, Copy)]
pub(crate) struct Owner<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) plugin: &'a str,
}

/// A range of an index.
#[derive(Clone, Debug)]
pub(crate) struct IndexRange {
    pub(crate) name: String,
    pub(crate) low: String,
    pub(crate) high: String,
}

/// A part of a collection in an order.
#[derive(Clone, Debug)]
pub(crate) struct Scan {
    pub(crate) collection: String,
    /// Kind and id.
    pub(crate) subject: Option<(String, String)>,
    /// By key, if absent.
    pub(crate) index: Option<IndexRange>,
    pub(crate) descending: bool,
    /// The value and key after which to go on.
    pub(crate) after: Option<(String, String)>,
    pub(crate) limit: i64,
}

/// A document to write.
#[derive(Clone, Debug)]
pub(crate) struct Put {
    pub(crate) collection: String,
    pub(crate) key: String,
    pub(crate) subject_kind: String,
    pub(crate) subject_id: String,
    pub(crate) version: i64,
    pub(crate) body: String,
    /// Index names and values.
    pub(crate) index: Vec<(String, String)>,
}

/// Kind, id and version of a subject.
pub(crate) type SubjectVersion = (String, String, i64);

/// The documents that exist among `keys`, which differ from each other, in no order.
pub(crate) async fn get_many(
    tx: &mut Tx,
    owner: Owner<'_>,
    collection: &str,
    keys: &[&str],
) -> Result<Vec<Found>> {
    tx.fetch_all(GET_MANY, args![owner.tenant, owner.plugin, collection, json!(keys)]).await
}

/// The version of a subject; 0 if it has never had a document.
pub(crate) async fn subject_version(tx: &mut Tx, owner: Owner<'_>, kind: &str, id: &str) -> Result<i64> {
    let row: Option<(i64,)> =
        tx.fetch_optional(SUBJECT_VERSION, args![owner.tenant, owner.plugin, kind, id]).await?;
    Ok(row.map_or(0, |(version,)| version))
}

/// A page of a collection.
pub(crate) async fn scan(tx: &mut Tx, owner: Owner<'_>, scan: &Scan) -> Result<Vec<Scanned>> {
    let (value, key) = match (&scan.after, scan.descending) {
        (Some((value, key)), _) => (value.as_str(), key.as_str()),
        (None, false) => ("", ""),
        (None, true) => (AFTER_EVERY_KEY.as_str(), AFTER_EVERY_KEY.as_str()),
    };
    let mut args = args![owner.tenant, owner.plugin, &scan.collection, key, scan.limit];
    if let Some(range) = &scan.index {
        args.extend(args![&range.name, value, &range.low, &range.high]);
    }
    if let Some((kind, id)) = &scan.subject {
        args.extend(args![kind, id]);
    }
    let statement = match (scan.index.is_some(), scan.subject.is_some(), scan.descending) {
        (false, false, false) => SCAN_KEYS,
        (false, false, true) => SCAN_KEYS_DOWN,
        (false, true, false) => SCAN_SUBJECT_KEYS,
        (false, true, true) => SCAN_SUBJECT_KEYS_DOWN,
        (true, false, false) => SCAN_INDEX,
        (true, false, true) => SCAN_INDEX_DOWN,
        (true, true, false) => SCAN_SUBJECT_INDEX,
        (true, true, true) => SCAN_SUBJECT_INDEX_DOWN,
    };
    tx.fetch_all(statement, args).await
}

/// Lets the versions of written subjects grow; false if one is not at its
/// version any more. `subjects` is sorted, so that two units never wait for each other.
pub(crate) async fn bump_subjects(
    tx: &mut Tx,
    owner: Owner<'_>,
    subjects: &[SubjectVersion],
) -> Result<bool> {
    let changed = tx.execute(BUMP_SUBJECTS, args![owner.tenant, owner.plugin, json!(subjects)]).await?;
    Ok(usize::try_from(changed) == Ok(subjects.len()))
}

/// Holds the versions of subjects that were read until the unit ends; false if
/// one is not at its version any more.
pub(crate) async fn hold_subjects(
    tx: &mut Tx,
    owner: Owner<'_>,
    subjects: &[SubjectVersion],
) -> Result<bool> {
    let (held,): (i64,) =
        tx.fetch_one(HOLD_SUBJECTS, args![owner.tenant, owner.plugin, json!(subjects)]).await?;
    Ok(usize::try_from(held) == Ok(subjects.len()))
}

/// Whether none of `keys`, collection and key, exists.
pub(crate) async fn all_absent(tx: &mut Tx, owner: Owner<'_>, keys: &[(String, String)]) -> Result<bool> {
    let (count,): (i64,) = tx.fetch_one(COUNT_KEYS, args![owner.tenant, owner.plugin, json!(keys)]).await?;
    Ok(count == 0)
}

/// Writes documents and their index.
pub(crate) async fn put_many(tx: &mut Tx, owner: Owner<'_>, at: Timestamp, puts: &[Put]) -> Result<()> {
    let rows: Vec<Value> = puts
        .iter()
        .map(|p| json!([p.collection, p.key, p.subject_kind, p.subject_id, p.version, p.body]))
        .collect();
    tx.execute(PUT, args![owner.tenant, owner.plugin, Value::Array(rows), at]).await?;
    // A document that is new has nothing in the index.
    let changed: Vec<_> =
        puts.iter().filter(|p| p.version > 1).map(|p| json!([p.collection, p.key])).collect();
    if !changed.is_empty() {
        tx.execute(DELETE_INDEX, args![owner.tenant, owner.plugin, Value::Array(changed)]).await?;
    }
    let index: Vec<Value> = puts
        .iter()
        .flat_map(|p| {
            p.index.iter().map(move |(name, value)| {
                json!([p.collection, p.key, p.subject_kind, p.subject_id, name, value])
            })
        })
        .collect();
    if !index.is_empty() {
        tx.execute(PUT_INDEX, args![owner.tenant, owner.plugin, Value::Array(index)]).await?;
    }
    Ok(())
}

/// Removes documents, collection and key, and their index.
pub(crate) async fn delete_many(tx: &mut Tx, owner: Owner<'_>, keys: &[(String, String)]) -> Result<()> {
    tx.execute(DELETE, args![owner.tenant, owner.plugin, json!(keys)]).await?;
    tx.execute(DELETE_INDEX, args![owner.tenant, owner.plugin, json!(keys)]).await.map(drop)
}

/// The version of a core record that was read, held until the unit ends.
pub(crate) async fn hold_record(tx: &mut Tx, tenant: &TenantId, kind: &str, id: &str) -> Result<Option<i64>> {
    let statement = if kind == "order" { HOLD_ORDER } else { HOLD_CUSTOMER };
    let row: Option<(i64,)> = tx.fetch_optional(statement, args![tenant, id]).await?;
    Ok(row.map(|(version,)| version))
}
