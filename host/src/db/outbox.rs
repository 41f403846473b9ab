//! Rows of the outbox: events, and one delivery for each consumer that subscribes to them.
//!
//! Writers of one tenant share no row here that any of them changes, so that
//! concurrent transactions never conflict because of their events.

use serde_json::{Value, json};

use super::{Arg, Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::actor::Actor;
use crate::domain::event::Event;
use crate::domain::ids::TenantId;
use crate::error::Result;

statements! {
    // The engines count positions differently: SQLite's single writer numbers
    // the rows, on PostgreSQL the transaction's own number is the only one that
    // is known to be settled when every older transaction has ended.
    INSERT_EVENT = split(
        "INSERT INTO events (tenant, id, name, subject_kind, subject_id, occurred_at,
            actor_kind, actor_id, cause, depth, backfill_for, body)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, NULL, $11)",
        "INSERT INTO events (position, tenant, id, name, subject_kind, subject_id, occurred_at,
            actor_kind, actor_id, cause, depth, backfill_for, body)
        SELECT c.generation * 1099511627776 + CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT),
            $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, NULL, $11
        FROM event_clusters c"
    );
    INSERT_DELIVERIES = "
        INSERT INTO deliveries (tenant, consumer, state, position, event, subject_kind, subject_id, attempts, due_at)
        SELECT s.tenant, s.consumer, 'ready', e.position, e.id, e.subject_kind, e.subject_id, 0, e.occurred_at
        FROM events e
        JOIN subscriptions s ON s.tenant = e.tenant AND s.event_name = e.name
        WHERE e.tenant = $1
          AND e.id = $2
          AND s.consumer <> $3";
    // Rows come as one JSON array, which each engine unfolds in its own way; the
    // order of the array is the order of the positions. PostgreSQL would read the
    // text of a row once for each column, were it not JSONB.
    INSERT_EVENTS = split(
        "INSERT INTO events (tenant, id, name, subject_kind, subject_id, occurred_at,
            actor_kind, actor_id, cause, depth, backfill_for, body)
        SELECT $1, value ->> 0, value ->> 1, value ->> 2, value ->> 3, $3, $4, $5, $6, $7, $8, value ->> 4
        FROM json_each($2)
        ORDER BY key",
        "INSERT INTO events (position, tenant, id, name, subject_kind, subject_id, occurred_at,
            actor_kind, actor_id, cause, depth, backfill_for, body)
        SELECT c.generation * 1099511627776 + CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT),
            $1, r.value ->> 0, r.value ->> 1, r.value ->> 2, r.value ->> 3, $3, $4, $5, $6, $7, $8, r.value ->> 4
        FROM jsonb_array_elements(CAST($2 AS JSONB)) AS r(value)
        CROSS JOIN event_clusters c"
    );
    // The list of ids is one JSON array, as above. SQLite reads tables in the order
    // of a CROSS JOIN; left to itself it would walk all events of the tenant.
    INSERT_MANY_DELIVERIES = split(
        "INSERT INTO deliveries (tenant, consumer, state, position, event, subject_kind, subject_id, attempts, due_at)
        SELECT s.tenant, s.consumer, 'ready', e.position, e.id, e.subject_kind, e.subject_id, 0, e.occurred_at
        FROM json_each($2) r
        CROSS JOIN events e ON e.tenant = $1 AND e.id = r.value
        JOIN subscriptions s ON s.tenant = e.tenant AND s.event_name = e.name AND s.consumer <> $3",
        "INSERT INTO deliveries (tenant, consumer, state, position, event, subject_kind, subject_id, attempts, due_at)
        SELECT s.tenant, s.consumer, 'ready', e.position, e.id, e.subject_kind, e.subject_id, 0, e.occurred_at
        FROM json_array_elements_text(CAST($2 AS JSON)) AS r(value)
        JOIN events e ON e.tenant = $1 AND e.id = r.value
        JOIN subscriptions s ON s.tenant = e.tenant AND s.event_name = e.name AND s.consumer <> $3"
    );
    // As above, for the one consumer whose history is replayed.
    INSERT_BACKFILL_DELIVERIES = split(
        "INSERT INTO deliveries (tenant, consumer, state, position, event, subject_kind, subject_id, attempts, due_at)
        SELECT e.tenant, e.backfill_for, 'ready', 0, e.id, e.subject_kind, e.subject_id, 0, e.occurred_at
        FROM json_each($2) r
        CROSS JOIN events e ON e.tenant = $1 AND e.id = r.value",
        "INSERT INTO deliveries (tenant, consumer, state, position, event, subject_kind, subject_id, attempts, due_at)
        SELECT e.tenant, e.backfill_for, 'ready', 0, e.id, e.subject_kind, e.subject_id, 0, e.occurred_at
        FROM json_array_elements_text(CAST($2 AS JSON)) AS r(value)
        JOIN events e ON e.tenant = $1 AND e.id = r.value"
    );
}

/// Inserts an event and its deliveries: two statements, however many subscribe.
///
/// The subscriptions are read in the transaction. What a transaction that began
/// before a subscription has not delivered to it, the backfill finds: it waits
/// until every such transaction has ended.
pub(crate) async fn append(
    tx: &mut Tx,
    actor: &Actor,
    at: Timestamp,
    depth: u32,
    event: &Event,
) -> Result<()> {
    tx.announce();
    tx.execute(INSERT_EVENT, row(actor, at, depth, event)).await?;
    tx.execute(INSERT_DELIVERIES, args![&actor.tenant, &event.id, own_consumer(actor)]).await.map(drop)
}

/// The arguments of [`INSERT_EVENT`].
pub(super) fn row(actor: &Actor, at: Timestamp, depth: u32, event: &Event) -> Vec<Arg> {
    let Event { id, name, subject, body } = event;
    args![
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
    ]
}

/// Inserts several events of one actor and their deliveries, also with two statements.
pub(crate) async fn append_many(
    tx: &mut Tx,
    actor: &Actor,
    at: Timestamp,
    depth: u32,
    events: &[&Event],
) -> Result<()> {
    let cause = actor.cause.as_ref().map(|cause| &cause.event);
    let inserted = args![
        &actor.tenant,
        rows(events.iter().copied()),
        at,
        actor.principal.kind(),
        actor.principal.id(),
        cause,
        depth,
        None::<&str>,
    ];
    tx.announce();
    tx.execute(INSERT_EVENTS, inserted).await?;
    tx.execute(INSERT_MANY_DELIVERIES, args![&actor.tenant, ids(events.iter().copied()), own_consumer(actor)])
        .await
        .map(drop)
}

/// A plugin is not told of what it does itself: it knows, and would never end.
pub(super) fn own_consumer(actor: &Actor) -> String {
    actor.via_plugin.as_ref().map(|plugin| format!("plugin:{plugin}")).unwrap_or_default()
}

/// Inserts events made from the current records, and a delivery of each for `consumer` alone.
pub(crate) async fn append_backfill(
    tx: &mut Tx,
    tenant: &TenantId,
    consumer: &str,
    at: Timestamp,
    events: &[Event],
) -> Result<()> {
    let inserted = args![tenant, rows(events), at, "backfill", consumer, None::<&str>, 0_u32, Some(consumer)];
    tx.announce();
    tx.execute(INSERT_EVENTS, inserted).await?;
    tx.execute(INSERT_BACKFILL_DELIVERIES, args![tenant, ids(events)]).await.map(drop)
}

/// One array for each event. The body is a string in it, so that the engine stores its text as it is.
fn rows<'a>(events: impl IntoIterator<Item = &'a Event>) -> Value {
    let row = |event: &Event| {
        let Event { id, name, subject, body } = event;
        json!([id, name, subject.kind(), subject.id(), body.to_string()])
    };
    events.into_iter().map(row).collect()
}

fn ids<'a>(events: impl IntoIterator<Item = &'a Event>) -> Value {
    events.into_iter().map(|event| json!(event.id)).collect()
}
