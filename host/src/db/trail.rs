//! What one change of a record leaves behind: its audit line, its event and the deliveries.
//!
//! Most requests change one record. PostgreSQL is asked once for all three, since each
//! question costs a way to the server and back; SQLite has no such statement, and no such way.

use super::{Tx, args, audit, outbox, statements};
use crate::clock::Timestamp;
use crate::domain::actor::Actor;
use crate::domain::audit::Entry;
use crate::domain::event::Event;
use crate::error::Result;

statements! {
    // The same rows as `audit::INSERT`, `outbox::INSERT_EVENT` and `outbox::INSERT_DELIVERIES`.
    INSERT = postgres(
        "WITH line AS (
            INSERT INTO audit (tenant, id, at, actor_kind, actor_id, via_plugin, action, entity, record, changes,
                request_id)
            VALUES ($1, $13, $6, $7, $8, $14, $15, $16, $17, $18, $19)),
        told AS (
            INSERT INTO events (position, tenant, id, name, subject_kind, subject_id, occurred_at,
                actor_kind, actor_id, cause, depth, backfill_for, body)
            SELECT c.generation * 1099511627776 + CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT),
                $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, NULL, $11
            FROM event_clusters c
            RETURNING position)
        INSERT INTO deliveries (tenant, consumer, state, position, event, subject_kind, subject_id, attempts, due_at)
        SELECT s.tenant, s.consumer, 'ready', told.position, $2, $4, $5, 0, $6
        FROM told
        JOIN subscriptions s ON s.tenant = $1 AND s.event_name = $3
        WHERE s.consumer <> $12"
    );
}

/// Inserts an audit line, an event, and a delivery for each consumer that subscribes to it.
///
/// What holds for the subscriptions is said at [`outbox::append`].
pub(crate) async fn insert(
    tx: &mut Tx,
    actor: &Actor,
    (at, depth): (Timestamp, u32),
    entry: &Entry,
    event: &Event,
) -> Result<()> {
    if !tx.is_postgres() {
        audit::insert(tx, actor, at, entry).await?;
        return outbox::append(tx, actor, at, depth, event).await;
    }
    let mut args = outbox::row(actor, at, depth, event);
    args.extend(args![
        outbox::own_consumer(actor),
        &entry.id,
        actor.via_plugin.as_deref(),
        entry.action,
        entry.entity,
        &entry.record,
        &entry.changes,
        actor.request_id.as_deref(),
    ]);
    tx.announce();
    tx.execute(INSERT, args).await.map(drop)
}
