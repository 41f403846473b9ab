//! Rows of workflow steps that have come to their end.

use super::{Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::ids::TenantId;
use crate::error::Result;

statements! {
    FIND = "
        SELECT fingerprint, outcome
        FROM plugin_steps
        WHERE tenant = $1
          AND plugin = $2
          AND step = $3
          AND key = $4";
    INSERT = "
        INSERT INTO plugin_steps (tenant, plugin, step, key, fingerprint, outcome, at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (tenant, plugin, step, key) DO NOTHING";
    DELETE_BEFORE = "DELETE FROM plugin_steps WHERE tenant = $1 AND at < $2";
}

/// What a step of a plugin is called under.
#[derive(Clone, Debug)]
pub(crate) struct StepKey {
    pub(crate) tenant: TenantId,
    pub(crate) plugin: String,
    pub(crate) step: String,
    pub(crate) key: String,
}

/// How a step has ended.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Ended {
    pub(crate) fingerprint: String,
    /// JSON.
    pub(crate) outcome: String,
}

/// How the step with this key has ended, if it has.
pub(crate) async fn find(tx: &mut Tx, key: &StepKey) -> Result<Option<Ended>> {
    let StepKey { tenant, plugin, step, key } = key;
    tx.fetch_optional(FIND, args![tenant, plugin, step, key]).await
}

/// Keeps how a step has ended; false if it has ended before.
pub(crate) async fn insert(tx: &mut Tx, key: &StepKey, ended: &Ended, at: Timestamp) -> Result<bool> {
    let StepKey { tenant, plugin, step, key } = key;
    let args = args![tenant, plugin, step, key, &ended.fingerprint, &ended.outcome, at];
    tx.insert_if_absent(INSERT, args).await
}

/// Forgets steps that ended before a time; answers how many.
pub(crate) async fn delete_before(tx: &mut Tx, tenant: &TenantId, before: Timestamp) -> Result<u64> {
    tx.execute(DELETE_BEFORE, args![tenant, before]).await
}
