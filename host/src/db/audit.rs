//! Rows of the audit log.

use super::{Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::actor::Actor;
use crate::domain::audit::Entry;
use crate::error::Result;

statements! {
    INSERT = "
        INSERT INTO audit (tenant, id, at, actor_kind, actor_id, via_plugin, action, entity, record, changes, request_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
}

/// Inserts a line.
pub(crate) async fn insert(tx: &mut Tx, actor: &Actor, at: Timestamp, entry: &Entry) -> Result<()> {
    let Entry { id, action, entity, record, changes } = entry;
    let args = args![
        &actor.tenant,
        id,
        at,
        actor.principal.kind(),
        actor.principal.id(),
        actor.via_plugin.as_deref(),
        *action,
        *entity,
        record,
        changes,
        actor.request_id.as_deref(),
    ];
    tx.execute(INSERT, args).await.map(drop)
}
