//! SQLite: one writer that commits in groups, and a pool of readers.
//!
//! A durable commit costs a disk flush. The writer takes what is queued, runs
//! each unit under a savepoint inside one transaction, commits once and only then
//! acknowledges them all, so that the flush is shared.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use super::pool::{Connect, Pool};
use super::tx::{Connection, Trouble, Tx};
use super::{Doorbell, Reader, Unit, unit_panicked};
use crate::error::{Error, Result};
use crate::metrics::{WRITER_GROUP, WRITER_QUEUE, WRITER_SECONDS};

/// Units that wait for the writer; more wait in their callers.
const WRITE_QUEUE_MAX: usize = 1_024;
/// Units that share one commit.
const GROUP_UNITS_MAX: usize = 128;
/// Connections that read beside the writer.
const READERS_MAX: u32 = 8;
/// How long a connection waits for a lock, which only a backup's or a tool's can be.
const BUSY_TIME_MAX: Duration = Duration::from_secs(5);
/// Prepared statements that a connection keeps: more than the product has.
const STATEMENTS_MAX: usize = 512;

/// The embedded engine.
#[derive(Clone)]
pub struct Sqlite {
    queue: mpsc::Sender<Queue>,
    readers: Pool<SqliteConnect>,
    pub(super) doorbell: Doorbell,
}

/// How the readers' pool connects.
pub(super) struct SqliteConnect(SqliteConnectOptions);

impl Connect for SqliteConnect {
    type Connection = SqliteConnection;

    async fn connect(&self) -> Result<SqliteConnection, sqlx::Error> {
        self.0.connect().await
    }
}

/// What waits for the writer.
enum Queue {
    Unit(Box<dyn QueuedUnit>),
    /// Nothing more is taken; the sender is dropped when the writer has closed.
    Close(oneshot::Sender<()>),
}

/// How every connection to the file is opened.
pub(super) fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIME_MAX)
        .statement_cache_capacity(STATEMENTS_MAX)
        .pragma("trusted_schema", "OFF")
        .pragma("temp_store", "MEMORY")
        .pragma("journal_size_limit", "67108864")
        .disable_statement_logging()
}

impl Sqlite {
    /// Opens the readers and starts the writer on `writer`, whose file is migrated.
    ///
    /// `lock` is kept until the writer has closed.
    pub(super) fn start(file: &Path, writer: SqliteConnection, lock: impl Send + 'static) -> Self {
        let readers = SqliteConnect(options(file).create_if_missing(false).pragma("query_only", "ON"));
        let (queue, units) = mpsc::channel(WRITE_QUEUE_MAX);
        let file = file.to_owned();
        #[expect(clippy::disallowed_methods, reason = "the writer ends when the last Db is dropped")]
        tokio::spawn(async move { run_writer(options(&file), writer, units, lock).await });
        Self { queue, readers: Pool::new(readers, READERS_MAX), doorbell: Doorbell::default() }
    }

    pub(super) async fn read(&self) -> Result<Reader> {
        let loan = self.readers.get("").await?;
        Ok(Reader::new(Tx::new(Connection::SqliteReader(loan))))
    }

    pub(super) async fn snapshot(&self) -> Result<Reader> {
        let mut loan = self.readers.get("").await?;
        loan.reserve();
        let mut reader = Reader::snapshot(Tx::new(Connection::SqliteReader(loan)));
        reader.control("BEGIN").await?;
        Ok(reader)
    }

    pub(super) async fn ping(&self) -> Result<()> {
        if self.queue.is_closed() {
            return Err(stopped());
        }
        let mut reader = self.read().await?;
        reader.control("SELECT 1").await
    }

    pub(super) async fn close(&self) {
        for connection in self.readers.close().await {
            if let Err(error) = connection.close().await {
                tracing::debug!(%error, "a reader's connection did not close cleanly");
            }
        }
        let (open, closed) = oneshot::channel();
        if self.queue.send(Queue::Close(open)).await.is_ok() {
            // An error is the message: the writer drops its end when it has closed.
            drop(closed.await);
        }
    }

    pub(super) async fn write<S, T, F>(&self, state: Arc<S>, unit: F) -> Result<T>
    where
        S: Send + Sync + 'static,
        T: Send + 'static,
        F: Unit<S, T>,
    {
        let (answer, answered) = oneshot::channel();
        let queued = Queued { state, unit, outcome: None, answer: Some(answer) };
        self.queue.send(Queue::Unit(Box::new(queued))).await.map_err(|_closed| stopped())?;
        answered.await.map_err(|_dropped| stopped())?
    }
}

fn stopped() -> Error {
    Error::unavailable("the writer has stopped")
}

/// A unit in the writer's queue, its types hidden.
trait QueuedUnit: Send {
    /// Runs the unit and keeps its outcome; true if its changes should be kept.
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, bool>;
    /// Tells the caller the outcome, once what it says is durable.
    fn acknowledge(&mut self);
    /// Tells the caller that nothing was kept: its own error if it has one.
    fn fail(&mut self, error: Error);
}

struct Queued<S, T, F> {
    state: Arc<S>,
    unit: F,
    outcome: Option<Result<T>>,
    answer: Option<oneshot::Sender<Result<T>>>,
}

impl<S, T, F> Queued<S, T, F> {
    fn answer(&mut self, outcome: Result<T>) {
        if let Some(answer) = self.answer.take() {
            // The caller may have gone away; the work stands all the same.
            drop(answer.send(outcome));
        }
    }
}

impl<S, T, F> QueuedUnit for Queued<S, T, F>
where
    S: Send + Sync + 'static,
    T: Send + 'static,
    F: Unit<S, T>,
{
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let outcome = AssertUnwindSafe((self.unit)(tx, &self.state)).catch_unwind().await;
            let outcome = outcome.unwrap_or_else(|_panic| Err(unit_panicked()));
            let outcome = outcome.and_then(|answer| tx.may_go_on().map(|()| answer));
            let keep = outcome.is_ok();
            self.outcome = Some(outcome);
            keep
        })
    }

    fn acknowledge(&mut self) {
        if let Some(outcome) = self.outcome.take() {
            self.answer(outcome);
        }
    }

    fn fail(&mut self, error: Error) {
        match self.outcome.take() {
            Some(Err(own)) => self.answer(Err(own)),
            Some(Ok(_)) | None => self.answer(Err(error)),
        }
    }
}

/// Why a group was not committed.
enum GroupFailure {
    /// The unit at this place took the whole transaction with it; the others may run again.
    Unit(usize),
    /// The transaction could not begin.
    Begin(Error),
    /// It could not be committed: one of the units may be to blame.
    Commit(Error),
    /// The disk has failed: what the file holds is only known after a fresh start.
    Disk(Error),
}

async fn run_writer(
    options: SqliteConnectOptions,
    writer: SqliteConnection,
    mut queue: mpsc::Receiver<Queue>,
    lock: impl Send,
) {
    let mut tx = Tx::new(Connection::SqliteWriter(writer));
    let mut received = Vec::with_capacity(GROUP_UNITS_MAX);
    let mut closing = Vec::new();
    while closing.is_empty() && queue.recv_many(&mut received, GROUP_UNITS_MAX).await > 0 {
        let mut group = Vec::with_capacity(received.len());
        for item in received.drain(..) {
            match item {
                Queue::Unit(unit) => group.push(unit),
                Queue::Close(done) => closing.push(done),
            }
        }
        let (units, began) = (group.len(), Instant::now());
        let settled = settle_group(&options, &mut tx, group).await;
        measure_group(queue.len(), units, began.elapsed());
        if let Err(error) = settled {
            tracing::error!(?error, "the disk refused a commit: nothing more is written until a restart");
            break;
        }
    }
    queue.close();
    if let Connection::SqliteWriter(writer) = tx.connection
        && let Err(error) = writer.close().await
    {
        tracing::warn!(%error, "the writer's connection did not close cleanly");
    }
    // Before whoever closes goes on: they may open the file again at once.
    drop(lock);
    drop(closing);
}

#[expect(clippy::cast_precision_loss, reason = "a queue and a group have small maxima")]
fn measure_group(waiting: usize, units: usize, taken: Duration) {
    metrics::gauge!(WRITER_QUEUE).set(waiting as f64);
    metrics::histogram!(WRITER_GROUP).record(units as f64);
    metrics::histogram!(WRITER_SECONDS).record(taken.as_secs_f64());
}

/// Commits and acknowledges a group; an error means that the writer must stop.
async fn settle_group(
    options: &SqliteConnectOptions,
    tx: &mut Tx,
    mut group: Vec<Box<dyn QueuedUnit>>,
) -> Result<()> {
    while !group.is_empty() {
        match commit_group(tx, &mut group).await {
            Ok(()) => {
                group.iter_mut().for_each(|unit| unit.acknowledge());
                return Ok(());
            }
            Err(GroupFailure::Unit(culprit)) => {
                reopen(options, tx).await?;
                let mut culprit = group.remove(culprit);
                culprit
                    .fail(Error::internal("a unit of work went on after the database refused a statement"));
            }
            Err(GroupFailure::Commit(error)) if group.len() > 1 => {
                tracing::warn!(?error, units = group.len(), "a group commit failed: each unit runs alone");
                reopen(options, tx).await?;
                for unit in group {
                    Box::pin(settle_group(options, tx, vec![unit])).await?;
                }
                return Ok(());
            }
            Err(GroupFailure::Begin(error) | GroupFailure::Commit(error)) => {
                tracing::warn!(?error, units = group.len(), "a commit failed");
                reopen(options, tx).await?;
                group.iter_mut().for_each(|unit| unit.fail(error.clone()));
                return Ok(());
            }
            Err(GroupFailure::Disk(error)) => {
                group.iter_mut().for_each(|unit| unit.fail(error.clone()));
                return Err(error);
            }
        }
    }
    Ok(())
}

async fn commit_group(tx: &mut Tx, group: &mut [Box<dyn QueuedUnit>]) -> Result<(), GroupFailure> {
    // The writer's thread is asked as seldom as can be: each time costs two changes of threads.
    control(tx, "BEGIN IMMEDIATE; SAVEPOINT unit", GroupFailure::Begin).await?;
    let last = group.len().saturating_sub(1);
    for (place, unit) in group.iter_mut().enumerate() {
        tx.in_unit = true;
        let keep = unit.run(tx).await;
        tx.in_unit = false;
        tx.trouble = Trouble::default();
        // A full disk, say, ends the whole transaction, and the savepoint with it.
        let end = match (keep, place == last) {
            (true, true) => "RELEASE unit",
            (true, false) => "RELEASE unit; SAVEPOINT unit",
            // What was rolled back to stays open, for the next.
            (false, false) => "ROLLBACK TO unit",
            (false, true) => "ROLLBACK TO unit; RELEASE unit",
        };
        if tx.control(end).await.is_err() {
            return Err(GroupFailure::Unit(place));
        }
    }
    control(tx, "COMMIT", GroupFailure::Commit).await
}

async fn control(
    tx: &mut Tx,
    statement: &'static str,
    failure: fn(Error) -> GroupFailure,
) -> Result<(), GroupFailure> {
    tx.control(statement)
        .await
        .map_err(|error| if tx.trouble.disk { GroupFailure::Disk(error) } else { failure(error) })
}

/// A fresh connection in place of one whose transaction is in doubt; closing the old
/// one rolls back what it holds.
async fn reopen(options: &SqliteConnectOptions, tx: &mut Tx) -> Result<()> {
    let fresh = options.connect().await.map_err(super::error::translate)?;
    let old = std::mem::replace(tx, Tx::new(Connection::SqliteWriter(fresh)));
    if let Connection::SqliteWriter(old) = old.connection
        && let Err(error) = old.close().await
    {
        tracing::debug!(%error, "the writer's connection did not close cleanly");
    }
    Ok(())
}
