//! Rows of answers that were given under an `Idempotency-Key`.

use super::{Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::ids::TenantId;
use crate::error::Result;

statements! {
    FIND = "
        SELECT fingerprint, answer
        FROM idempotency_keys
        WHERE tenant = $1
          AND principal = $2
          AND key = $3";
    CLAIM = "
        INSERT INTO idempotency_keys (tenant, principal, key, fingerprint, answer, created_at)
        VALUES ($1, $2, $3, $4, '', $5)
        ON CONFLICT (tenant, principal, key) DO NOTHING";
    KEEP = "
        UPDATE idempotency_keys
        SET answer = $4
        WHERE tenant = $1
          AND principal = $2
          AND key = $3";
    DELETE_BEFORE = "
        DELETE FROM idempotency_keys
        WHERE tenant = $1
          AND created_at < $2";
}

/// An answer that was given.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Kept {
    pub(crate) fingerprint: String,
    /// JSON.
    pub(crate) answer: String,
}

/// A principal's key in a tenant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) principal: &'a str,
    pub(crate) key: &'a str,
}

/// What was answered under a key.
pub(crate) async fn find(tx: &mut Tx, key: Key<'_>) -> Result<Option<Kept>> {
    let Key { tenant, principal, key } = key;
    tx.fetch_optional(FIND, args![tenant, principal, key]).await
}

/// Takes a key that nobody has used; false if it is taken.
///
/// A concurrent transaction that takes the same key makes this one wait, and, on
/// PostgreSQL, run again when the other has committed.
pub(crate) async fn claim(tx: &mut Tx, key: Key<'_>, fingerprint: &str, at: Timestamp) -> Result<bool> {
    let Key { tenant, principal, key } = key;
    tx.insert_if_absent(CLAIM, args![tenant, principal, key, fingerprint, at]).await
}

/// Keeps the answer under a key that this transaction has taken.
pub(crate) async fn keep(tx: &mut Tx, key: Key<'_>, answer: &str) -> Result<()> {
    let Key { tenant, principal, key } = key;
    tx.execute(KEEP, args![tenant, principal, key, answer]).await.map(drop)
}

/// Forgets what is older than `before`, and answers how many keys that were.
pub(crate) async fn delete_before(tx: &mut Tx, tenant: &TenantId, before: Timestamp) -> Result<u64> {
    tx.execute(DELETE_BEFORE, args![tenant, before]).await
}
