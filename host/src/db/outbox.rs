//! Rows of the outbox: events, and one delivery for each consumer that subscribes to them.

use super::{Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::actor::Actor;
use crate::domain::event::Event;
use crate::error::Result;

statements! {
    INSERT_EVENT = "
        INSERT INTO events (tenant, id, name, subject_kind, subject_id, occurred_at,
            actor_kind, actor_id, cause, depth, backfill_for, body)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, NULL, $11)";
    INSERT_DELIVERIES = "
        INSERT INTO deliveries (tenant, consumer, event, subject_kind, subject_id, state, attempts, due_at)
        SELECT s.tenant, s.consumer, $3, $4, $5, 'ready', 0, $6
        FROM subscriptions s
        WHERE s.tenant = $1
          AND s.event_name = $2";
}

/// Inserts an event and its deliveries.
///
/// The subscriptions are read in the transaction, so that an event either is
/// before a plugin's enablement, which backfills it, or is delivered to it.
pub(crate) async fn append(
    tx: &mut Tx,
    actor: &Actor,
    at: Timestamp,
    depth: u32,
    event: &Event,
) -> Result<()> {
    let Event { id, name, subject, body } = event;
    let inserted = args![
        &actor.tenant,
        id,
        *name,
        subject.kind(),
        subject.id(),
        at,
        actor.principal.kind(),
        actor.principal.id(),
        actor.cause.as_ref().map(|cause| &cause.event),
        depth,
        body,
    ];
    tx.execute(INSERT_EVENT, inserted).await?;
    let delivered = args![&actor.tenant, *name, id, subject.kind(), subject.id(), at];
    tx.execute(INSERT_DELIVERIES, delivered).await.map(drop)
}
