//! SQLite: one writer that commits in groups, and a pool of readers.
//!
//! A durable commit costs a disk flush. The writer takes what is queued, runs
//! each unit under a savepoint inside one transaction, commits once and only then
//! acknowledges them all, so that the flush is shared.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, SqlitePool};
use tokio::sync::{mpsc, oneshot};

use super::tx::{Connection, Tx};
use super::{Reader, Unit};
use crate::error::{Error, Result};

/// Units that wait for the writer; more wait in their callers.
const WRITE_QUEUE_MAX: usize = 1_024;
/// Units that share one commit.
const GROUP_UNITS_MAX: usize = 128;
/// Connections that read beside the writer.
const READERS_MAX: u32 = 8;

/// The embedded engine.
#[derive(Clone)]
pub struct Sqlite {
    queue: mpsc::Sender<Box<dyn QueuedUnit>>,
    readers: SqlitePool,
}

impl Sqlite {
    /// Opens the writer and the readers with `options`, which must lead to a migrated file.
    pub(super) async fn open(options: SqliteConnectOptions) -> Result<Self> {
        let writer = options.connect().await.map_err(super::error::translate)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .connect_with(options.pragma("query_only", "ON"))
            .await
            .map_err(super::error::translate)?;
        let (queue, units) = mpsc::channel(WRITE_QUEUE_MAX);
        #[expect(clippy::disallowed_methods, reason = "the writer ends when the last Db is dropped")]
        tokio::spawn(run_writer(writer, units));
        Ok(Self { queue, readers })
    }

    pub(super) async fn read(&self) -> Result<Reader> {
        let connection = self.readers.acquire().await.map_err(super::error::translate)?;
        Ok(Reader(Tx::new(Connection::SqliteReader(connection))))
    }

    pub(super) async fn write<S, T, F>(&self, state: Arc<S>, unit: F) -> Result<T>
    where
        S: Send + Sync + 'static,
        T: Send + 'static,
        F: Unit<S, T>,
    {
        let (answer, answered) = oneshot::channel();
        let queued = Queued { state, unit, outcome: None, answer: Some(answer) };
        self.queue
            .send(Box::new(queued))
            .await
            .map_err(|_closed| Error::unavailable("the writer has stopped"))?;
        answered.await.map_err(|_dropped| Error::unavailable("the writer has stopped"))?
    }
}

/// A unit in the writer's queue, its types hidden.
trait QueuedUnit: Send {
    /// Runs the unit and keeps its outcome; true if its changes should be kept.
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, bool>;
    /// Tells the caller the outcome, once what it says is durable.
    fn acknowledge(&mut self);
    /// Tells the caller that nothing of the group was kept.
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
            let outcome = outcome.unwrap_or_else(|panic| Err(Error::internal(panic_message(&*panic))));
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
        self.answer(Err(error));
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("a unit of work panicked: {}", text.unwrap_or_default())
}

async fn run_writer(writer: SqliteConnection, mut units: mpsc::Receiver<Box<dyn QueuedUnit>>) {
    let mut tx = Tx::new(Connection::SqliteWriter(writer));
    let mut group = Vec::with_capacity(GROUP_UNITS_MAX);
    while units.recv_many(&mut group, GROUP_UNITS_MAX).await > 0 {
        match commit_group(&mut tx, &mut group).await {
            Ok(()) => group.iter_mut().for_each(|unit| unit.acknowledge()),
            Err(error) => {
                tracing::error!(error = ?error, units = group.len(), "a group commit failed");
                if let Err(rollback) = raw(&mut tx, "ROLLBACK").await {
                    tracing::debug!(error = ?rollback, "nothing was left to roll back");
                }
                group.iter_mut().for_each(|unit| unit.fail(error.clone()));
            }
        }
        group.clear();
    }
    if let Connection::SqliteWriter(writer) = tx.connection
        && let Err(error) = writer.close().await
    {
        tracing::warn!(%error, "the writer's connection did not close cleanly");
    }
}

async fn commit_group(tx: &mut Tx, group: &mut [Box<dyn QueuedUnit>]) -> Result<()> {
    raw(tx, "BEGIN IMMEDIATE").await?;
    for unit in group {
        raw(tx, "SAVEPOINT unit").await?;
        if !unit.run(tx).await {
            raw(tx, "ROLLBACK TO unit").await?;
        }
        raw(tx, "RELEASE unit").await?;
    }
    raw(tx, "COMMIT").await
}

async fn raw(tx: &mut Tx, statement: &'static str) -> Result<()> {
    tx.execute(super::Sql::new(statement), Vec::new()).await.map(drop)
}
