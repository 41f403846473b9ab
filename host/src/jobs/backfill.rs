//! Backfills: replays the current records as events to one consumer, chunk by chunk.
//!
//! A chunk's events and the cursor behind them commit together, so that a server
//! that dies loses nothing and repeats nothing. It begins when every transaction
//! that had not seen the subscription has ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::backoff;
use super::dispatch::{new_token, public_message};
use crate::clock::Timestamp;
use crate::db::backfills::{self, BackfillRow, Cursor};
use crate::db::history::{self, Kind};
use crate::db::{Tx, customers, deliveries, feed, lanes, orders, outbox, timeline};
use crate::domain::actor::Visibility;
use crate::domain::code::Reason;
use crate::domain::event::{Event, Subject};
use crate::domain::ids::{CustomerId, OrderId, TenantId, TimelineId};
use crate::error::{Error, Result};
use crate::ops::Core;

/// Records of one chunk at most.
const CHUNK_MAX: u32 = 200;
/// Events that wait for the consumer at most, before more are made.
const AHEAD_MAX: i64 = 1_000;
/// Chunks of one turn; then other backfills have theirs.
const CHUNKS_PER_TURN_MAX: u32 = 50;
/// Backfills that one look at the database finds.
const FOUND_MAX: u32 = 200;
/// How long a lease lasts; a chunk takes a fraction of it.
const LEASE_S: i64 = 30;
/// How often the database is asked for open backfills.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// What has been done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Records replayed.
    pub records: u64,
    /// Backfills that came to their end.
    pub finished: u32,
}

/// Replays history; one a server, and several servers share the backfills.
pub struct Backfiller {
    core: Arc<Core>,
    shutdown: CancellationToken,
}

/// How a step ended.
enum Step {
    /// So many records were replayed; there may be more.
    Replayed(u64),
    /// Something must come to pass first.
    Wait,
    Finished,
}

impl Backfiller {
    /// One that stops between two chunks once `shutdown` is cancelled.
    #[must_use]
    pub fn new(core: Arc<Core>, shutdown: CancellationToken) -> Arc<Self> {
        Arc::new(Self { core, shutdown })
    }

    /// Runs until the shutdown.
    pub async fn run(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
            if let Err(error) = self.run_once().await {
                tracing::warn!(?error, "the backfills cannot be seen; the next look will");
            }
        }
    }

    /// Gives every open backfill one turn.
    ///
    /// # Errors
    /// Those of the database, when it cannot say which there are.
    pub async fn run_once(&self) -> Result<Report> {
        let mut report = Report::default();
        let mut after = (String::new(), String::new());
        loop {
            let open = {
                let mut directory = self.core.db.directory().await?;
                backfills::open(&mut directory, (&after.0, &after.1), FOUND_MAX).await?
            };
            let Some(last) = open.last() else { return Ok(report) };
            after = (last.tenant.to_string(), last.consumer.clone());
            for found in &open {
                self.take_turn(&found.tenant, &found.consumer, &mut report).await;
            }
        }
    }

    async fn take_turn(&self, tenant: &TenantId, consumer: &str, report: &mut Report) {
        let turn = Turn {
            core: &self.core,
            tenant: tenant.clone(),
            consumer: consumer.to_owned(),
            token: new_token(&*self.core.ids),
        };
        match turn.lease().await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return tracing::warn!(?error, consumer, "a backfill could not be leased"),
        }
        for _ in 0..CHUNKS_PER_TURN_MAX {
            if self.shutdown.is_cancelled() {
                break;
            }
            match turn.step().await {
                Ok(Step::Replayed(records)) => report.records += records,
                Ok(Step::Wait) => break,
                Ok(Step::Finished) => {
                    report.finished += 1;
                    return;
                }
                Err(error) => return turn.give_back_failed(&error).await,
            }
        }
        turn.give_back(self.core.now(), None).await;
    }
}

/// A leased backfill.
struct Turn<'b> {
    core: &'b Core,
    tenant: TenantId,
    consumer: String,
    token: String,
}

/// A chunk on its way into the database.
struct Chunk {
    tenant: TenantId,
    consumer: String,
    token: String,
    cursor: Cursor,
    events: Vec<Event>,
    records: u32,
    now: Timestamp,
}

impl Turn<'_> {
    fn key(&self) -> (&TenantId, &str) {
        (&self.tenant, &self.consumer)
    }

    async fn lease(&self) -> Result<bool> {
        let now = self.core.now();
        let state = (self.tenant.clone(), self.consumer.clone(), self.token.clone(), now);
        self.core
            .db
            .write(&self.tenant, state, |tx, (tenant, consumer, token, now)| {
                Box::pin(backfills::lease(tx, (tenant, consumer), token, *now, now.plus_seconds(LEASE_S)))
            })
            .await
    }

    async fn step(&self) -> Result<Step> {
        let mut reader = self.core.db.read(&self.tenant).await?;
        let row = backfills::find(&mut reader, &self.tenant, &self.consumer).await?.ok_or_else(lost)?;
        let Some(horizon) = row.horizon else {
            let horizon = feed::next_transaction(&mut reader).await?;
            drop(reader);
            return self.keep_horizon(horizon).await.map(|()| Step::Replayed(0));
        };
        if feed::has_older_snapshots(&mut reader, horizon).await?
            || deliveries::count_history(&mut reader, self.key(), AHEAD_MAX).await? >= AHEAD_MAX
        {
            return Ok(Step::Wait);
        }
        drop(reader);
        let records = self.next_records(&row).await?;
        let Some((last, _)) = records.last() else { return self.finish().await };
        let cursor = last.clone();
        let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
        let events = self.events_of(records).await?;
        self.replay(cursor, events, count).await
    }

    async fn keep_horizon(&self, horizon: i64) -> Result<()> {
        let state = (self.tenant.clone(), self.consumer.clone(), self.token.clone(), horizon);
        self.core
            .db
            .write(&self.tenant, state, |tx, (tenant, consumer, token, horizon)| {
                Box::pin(backfills::set_horizon(tx, (tenant, consumer), token, *horizon))
            })
            .await
    }

    /// The next records of all wanted kinds, in their common order.
    async fn next_records(&self, row: &BackfillRow) -> Result<Vec<(Cursor, Kind)>> {
        let mut reader = self.core.db.read(&self.tenant).await?;
        let mut records = Vec::new();
        for kind in row.event_names.0.iter().filter_map(|name| Kind::of_event(name)) {
            let next = history::next(&mut reader, &self.tenant, kind, &row.cursor, CHUNK_MAX).await?;
            records.extend(next.into_iter().map(|cursor| (cursor, kind)));
        }
        records.sort_by(|a, b| a.0.cmp(&b.0));
        records.truncate(CHUNK_MAX as usize);
        Ok(records)
    }

    /// The records as events; one that was deleted a moment ago is left out.
    async fn events_of(&self, records: Vec<(Cursor, Kind)>) -> Result<Vec<Event>> {
        let mut reader = self.core.db.read(&self.tenant).await?;
        let mut bodies = bodies(&mut reader, &self.tenant, &records).await?;
        let now = self.core.now();
        let events = records.into_iter().filter_map(|(cursor, _)| {
            let (name, body) = bodies.remove(&cursor.id)?;
            let subject = Subject::Customer(CustomerId::from_stored(cursor.customer));
            Some(Event::new(&*self.core.ids, now, name, subject, body))
        });
        Ok(events.collect())
    }

    async fn replay(&self, cursor: Cursor, events: Vec<Event>, records: u32) -> Result<Step> {
        let chunk = Chunk {
            tenant: self.tenant.clone(),
            consumer: self.consumer.clone(),
            token: self.token.clone(),
            cursor,
            events,
            records,
            now: self.core.now(),
        };
        self.core
            .db
            .write(&self.tenant, chunk, |tx, chunk: &Chunk| Box::pin(async move { chunk.apply(tx).await }))
            .await?;
        Ok(Step::Replayed(u64::from(records)))
    }

    async fn finish(&self) -> Result<Step> {
        let state = (self.tenant.clone(), self.consumer.clone(), self.token.clone(), self.core.now());
        self.core
            .db
            .write(&self.tenant, state, |tx, (tenant, consumer, token, now)| {
                Box::pin(async move {
                    if !backfills::finish(tx, (tenant, consumer), token, *now).await? {
                        return Err(lost());
                    }
                    tx.announce();
                    lanes::set_gate(tx, tenant, consumer, None).await
                })
            })
            .await?;
        Ok(Step::Finished)
    }

    async fn give_back_failed(&self, error: &Error) {
        tracing::warn!(?error, tenant = %self.tenant, consumer = self.consumer, "a backfill failed; it goes on later");
        let attempts = match self.core.db.read(&self.tenant).await {
            Ok(mut reader) => match backfills::find(&mut reader, &self.tenant, &self.consumer).await {
                Ok(row) => row.map_or(1, |row| row.attempts + 1),
                Err(_unknown) => 1,
            },
            Err(_unknown) => 1,
        };
        let retry_at = backoff::BACKGROUND.next_or_last(&*self.core.ids, self.core.now(), attempts);
        self.give_back(retry_at, Some((attempts, public_message(error)))).await;
    }

    async fn give_back(&self, retry_at: Timestamp, failed: Option<(i64, String)>) {
        let state = (self.tenant.clone(), self.consumer.clone(), self.token.clone(), retry_at, failed);
        let released = self
            .core
            .db
            .write(&self.tenant, state, |tx, (tenant, consumer, token, retry_at, failed)| {
                let failed = failed.as_ref().map(|(attempts, error)| (*attempts, error.as_str()));
                Box::pin(backfills::release(tx, (tenant, consumer), token, *retry_at, failed))
            })
            .await;
        if let Err(error) = released {
            tracing::warn!(
                ?error,
                consumer = self.consumer,
                "a backfill was not given back; its lease will expire"
            );
        }
    }
}

impl Chunk {
    async fn apply(&self, tx: &mut Tx) -> Result<()> {
        let Self { tenant, consumer, token, cursor, events, records, now } = self;
        let until = now.plus_seconds(LEASE_S);
        if !backfills::advance(tx, (tenant, consumer), token, (cursor, *records), until).await? {
            return Err(lost());
        }
        outbox::append_backfill(tx, tenant, consumer, *now, events).await?;
        // Whoever is below the last record's customer has had everything.
        lanes::set_gate(tx, tenant, consumer, Some(&cursor.customer)).await
    }
}

/// The records' bodies with the names of their events, by their ids.
async fn bodies(
    tx: &mut Tx,
    tenant: &TenantId,
    records: &[(Cursor, Kind)],
) -> Result<HashMap<String, (&'static str, Value)>> {
    let mut bodies = HashMap::new();
    let (mut wanted_customers, mut wanted_orders, mut wanted_entries) = (Vec::new(), Vec::new(), Vec::new());
    for (Cursor { customer, at, id }, kind) in records {
        let customer = CustomerId::from_stored(customer.clone());
        match kind {
            Kind::Customer => wanted_customers.push(customer),
            Kind::Order => wanted_orders.push(OrderId::from_stored(id.clone())),
            Kind::Interaction | Kind::Behaviour => {
                wanted_entries.push((customer, *at, TimelineId::from_stored(id.clone())));
            }
        }
    }
    let all = &Visibility::All;
    if !wanted_customers.is_empty() {
        let found = customers::find_many(tx, tenant, all, &wanted_customers).await?;
        bodies.extend(found.iter().map(|one| (one.id.to_string(), ("customer.created", one.to_json()))));
    }
    if !wanted_orders.is_empty() {
        let found = orders::find_many(tx, tenant, all, &wanted_orders).await?;
        bodies.extend(found.iter().map(|one| (one.id.to_string(), ("order.created", one.to_json()))));
    }
    let found = timeline::find_many(tx, tenant, &wanted_entries).await?;
    bodies.extend(found.iter().map(|one| (one.id.to_string(), (one.category.event_name(), one.to_json()))));
    Ok(bodies)
}

fn lost() -> Error {
    Error::conflict(Reason::LeaseLost, "the backfill was taken over or ended")
}
