//! Rows of publishers' keys, of signatures over packages, and of versions that the operator has stopped.

use serde::Serialize;

use super::{Tx, args, statements};
use crate::clock::Timestamp;
use crate::error::Result;

statements! {
    INSERT_KEY = "
        INSERT INTO publisher_keys (id, publisher, body, standing, added_at)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (id) DO NOTHING";
    FIND_KEY = "
        SELECT id, publisher, body, standing, added_at, revoked_at
        FROM publisher_keys
        WHERE id = $1";
    LIST_KEYS = "
        SELECT id, publisher, body, standing, added_at, revoked_at
        FROM publisher_keys
        ORDER BY publisher, id
        LIMIT 1000";
    HAS_KEYS = "SELECT COUNT(*) FROM (SELECT 1 FROM publisher_keys WHERE publisher = $1 LIMIT 1) AS keys";
    MAKE_KNOWN = "
        UPDATE publisher_keys
        SET standing = 'known'
        WHERE id = $1 AND standing = 'first_use'";
    REVOKE_KEY = "
        UPDATE publisher_keys
        SET standing = 'revoked', revoked_at = $2
        WHERE id = $1 AND standing <> 'revoked'";
    INSERT_SIGNATURE = "
        INSERT INTO plugin_signatures (name, version, key_id, body)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (name, version, key_id) DO NOTHING";
    LIST_SIGNERS = "
        SELECT s.key_id, k.standing
        FROM plugin_signatures s
        LEFT JOIN publisher_keys k ON k.id = s.key_id
        WHERE s.name = $1 AND s.version = $2
        ORDER BY s.key_id
        LIMIT 100";
    PUT_STOP = "
        INSERT INTO plugin_stops (name, version, reason, stopped_at)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (name, version) DO UPDATE SET reason = excluded.reason";
    DELETE_STOP = "DELETE FROM plugin_stops WHERE name = $1 AND version = $2";
    LIST_STOPS = "
        SELECT version, reason, stopped_at
        FROM plugin_stops
        WHERE name = $1
        ORDER BY version
        LIMIT 1000";
}

/// A publisher's key, as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct PublisherKey {
    /// How people name it: half of the SHA-256 of the key.
    pub id: String,
    /// Whose it is.
    pub publisher: String,
    /// Its public half, in base64.
    pub body: String,
    /// `known`, `first_use` or `revoked`.
    pub standing: String,
    /// When the host first knew it.
    pub added_at: Timestamp,
    /// Since when it counts no more.
    pub revoked_at: Option<Timestamp>,
}

/// A key that has signed a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Signer {
    /// The key's id.
    #[sqlx(rename = "key_id")]
    pub key: String,
    /// `known`, `first_use` or `revoked`; absent if the operator does not know the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing: Option<String>,
}

/// A version that the operator has stopped: it runs for nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct StoppedVersion {
    /// The version.
    pub version: String,
    /// Why.
    pub reason: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub stopped_at: Timestamp,
}

/// Inserts a key; false if it is there already.
pub(crate) async fn insert_key(tx: &mut Tx, key: &PublisherKey) -> Result<bool> {
    let PublisherKey { id, publisher, body, standing, added_at, revoked_at: _ } = key;
    tx.insert_if_absent(INSERT_KEY, args![id, publisher, body, standing, *added_at]).await
}

/// The key with this id.
pub(crate) async fn find_key(tx: &mut Tx, id: &str) -> Result<Option<PublisherKey>> {
    tx.fetch_optional(FIND_KEY, args![id]).await
}

/// All keys, by publisher.
pub(crate) async fn list_keys(tx: &mut Tx) -> Result<Vec<PublisherKey>> {
    tx.fetch_all(LIST_KEYS, args![]).await
}

/// Whether a publisher has any key, and be it a revoked one.
pub(crate) async fn has_keys(tx: &mut Tx, publisher: &str) -> Result<bool> {
    let row: Option<(i64,)> = tx.fetch_optional(HAS_KEYS, args![publisher]).await?;
    Ok(row.is_some_and(|(count,)| count > 0))
}

/// Lets a key of a first use count as one that the operator has added.
pub(crate) async fn make_known(tx: &mut Tx, id: &str) -> Result<()> {
    tx.execute(MAKE_KNOWN, args![id]).await.map(drop)
}

/// Lets a key count no more.
pub(crate) async fn revoke_key(tx: &mut Tx, id: &str, at: Timestamp) -> Result<()> {
    tx.execute(REVOKE_KEY, args![id, at]).await.map(drop)
}

/// Keeps a signature over a version.
pub(crate) async fn insert_signature(
    tx: &mut Tx,
    (name, version): (&str, &str),
    (key, body): (&str, &str),
) -> Result<()> {
    tx.execute(INSERT_SIGNATURE, args![name, version, key, body]).await.map(drop)
}

/// Who has signed a version.
pub(crate) async fn list_signers(tx: &mut Tx, name: &str, version: &str) -> Result<Vec<Signer>> {
    tx.fetch_all(LIST_SIGNERS, args![name, version]).await
}

/// Stops a version, or gives its stop another reason.
pub(crate) async fn put_stop(tx: &mut Tx, name: &str, stop: &StoppedVersion) -> Result<()> {
    let StoppedVersion { version, reason, stopped_at } = stop;
    tx.execute(PUT_STOP, args![name, version, reason, *stopped_at]).await.map(drop)
}

/// Lets a version run again.
pub(crate) async fn delete_stop(tx: &mut Tx, name: &str, version: &str) -> Result<()> {
    tx.execute(DELETE_STOP, args![name, version]).await.map(drop)
}

/// The versions of a plugin that are stopped.
pub(crate) async fn list_stops(tx: &mut Tx, name: &str) -> Result<Vec<StoppedVersion>> {
    tx.fetch_all(LIST_STOPS, args![name]).await
}
