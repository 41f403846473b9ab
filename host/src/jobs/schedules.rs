//! The runner of plugins' schedules: calls a due job chunk by chunk.
//!
//! A chunk's effects and the cursor behind it commit together. Runs of one job
//! never overlap, and however many were missed, one run makes up for them.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::backoff;
use super::dispatch::{new_token, public_message};
use crate::db::schedules::{self, JobKey, RunRow};
use crate::domain::code::Reason;
use crate::domain::schedule::next_due;
use crate::error::{Error, Result};
use crate::ops::Core;
use crate::ops::plugins::{Delivered, JobAck, JobChunk};

/// Jobs that one look at the database finds, and that run at the same time.
const JOBS_AT_ONCE_MAX: u32 = 8;
/// How often the database is asked for due jobs.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// How long a lease lasts without a heartbeat.
const LEASE_S: i64 = 30;
/// How often a lease is prolonged while a chunk runs.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Chunks of one run; a job that asks for more is given up until its next time.
const CHUNKS_MAX: i64 = 10_000;
/// How late a run may begin if its job leaves out what was slept through: a restart
/// or a busy minute is no sleep.
const SKIP_AFTER_S: i64 = 5 * 60;
/// Attempts of one chunk; then the run is given up until its next time.
const ATTEMPTS_MAX: i64 = 8;

/// What has been done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Runs that came to their end.
    pub finished: u32,
    /// Runs that wait for another attempt, or were given up.
    pub failed: u32,
    /// Times that were slept through and left out.
    pub skipped: u32,
}

/// Runs jobs; one a server, and several servers share the jobs.
pub struct Runner {
    core: Arc<Core>,
    shutdown: CancellationToken,
}

impl Runner {
    /// A runner that stops between two chunks once `shutdown` is cancelled.
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
                tracing::warn!(?error, "the schedules cannot be read; the runner tries again");
            }
        }
    }

    /// Runs every job that is due to its end or to its next failure.
    ///
    /// # Errors
    /// Those of the database, when it cannot say what is due.
    pub async fn run_once(self: &Arc<Self>) -> Result<Report> {
        let mut report = Report::default();
        loop {
            let due = {
                let mut directory = self.core.db.directory().await?;
                schedules::due(&mut directory, self.core.now(), JOBS_AT_ONCE_MAX).await?
            };
            let mut runs = JoinSet::new();
            for key in due {
                let this = Arc::clone(self);
                runs.spawn(async move { this.run_job(key).await });
            }
            let mut leased = 0;
            while let Some(ended) = runs.join_next().await {
                match ended {
                    Ok(Outcome::Elsewhere) => {}
                    Ok(Outcome::Finished) => (leased, report.finished) = (leased + 1, report.finished + 1),
                    Ok(Outcome::Failed) => (leased, report.failed) = (leased + 1, report.failed + 1),
                    Ok(Outcome::Skipped) => (leased, report.skipped) = (leased + 1, report.skipped + 1),
                    Err(error) => {
                        tracing::error!(%error, "a job's run ended abnormally; its lease will expire")
                    }
                }
            }
            if leased == 0 || self.shutdown.is_cancelled() {
                return Ok(report);
            }
        }
    }

    async fn run_job(&self, key: JobKey) -> Outcome {
        let token = new_token(&*self.core.ids);
        match self.lease(&key, &token).await {
            Ok(true) => {}
            Ok(false) => return Outcome::Elsewhere,
            Err(error) => {
                tracing::warn!(?error, plugin = key.plugin, job = key.job, "a job could not be leased");
                return Outcome::Elsewhere;
            }
        }
        let outcome = match self.skip_missed(&key, &token).await {
            Ok(true) => return Outcome::Skipped,
            Ok(false) => self.run_chunks(&key, &token).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => Outcome::Finished,
            Err(error) if is_lost(&error) => Outcome::Failed,
            Err(error) => {
                tracing::warn!(?error, tenant = %key.tenant, plugin = key.plugin, job = key.job, "a job failed");
                if let Err(error) = self.give_back(&key, &token, &error).await {
                    tracing::warn!(
                        ?error,
                        plugin = key.plugin,
                        "a job was not given back; its lease will expire"
                    );
                }
                Outcome::Failed
            }
        }
    }

    async fn lease(&self, key: &JobKey, token: &str) -> Result<bool> {
        let now = self.core.now();
        let state = (key.clone(), token.to_owned(), now, now.plus_seconds(LEASE_S));
        self.core
            .db
            .write(&key.tenant, state, |tx, (key, token, now, until)| {
                Box::pin(schedules::lease(tx, key, token, *now, *until))
            })
            .await
    }

    /// Leaves a run out that should have begun long ago, if its job wants that.
    async fn skip_missed(&self, key: &JobKey, token: &str) -> Result<bool> {
        let row = self.row(key, token).await?;
        let latest = self.core.now().plus_seconds(-SKIP_AFTER_S);
        let is_missed = row.is_fresh() && row.run_due_at.is_some_and(|due_at| due_at < latest);
        if !is_missed || !row.skips_missed() {
            return Ok(false);
        }
        self.finish(key, token, &row, None).await?;
        Ok(true)
    }

    /// Runs chunk after chunk to the end of the run.
    async fn run_chunks(&self, key: &JobKey, token: &str) -> Result<()> {
        loop {
            let row = self.row(key, token).await?;
            if row.chunks >= CHUNKS_MAX {
                let message = format!("the job has not ended after {CHUNKS_MAX} chunks");
                return self.finish(key, token, &row, Some(message)).await;
            }
            if self.shutdown.is_cancelled() {
                return Err(Error::unavailable("the server shuts down"));
            }
            let next = self.guarded(key, token, self.run_chunk(key, token, &row)).await?;
            if next.is_none() {
                return self.finish(key, token, &row, None).await;
            }
        }
    }

    /// The cursor of the next chunk; `None` at the end of the run.
    async fn run_chunk(&self, key: &JobKey, token: &str, row: &RunRow) -> Result<Option<String>> {
        let chunk = JobChunk {
            job: key.job.clone(),
            due_at: row.run_due_at.unwrap_or_default(),
            cursor: row.cursor.clone(),
            attempt: u32::try_from(row.attempts + 1).unwrap_or(u32::MAX),
        };
        let ack = ack_of(key.clone(), token.to_owned(), row.chunks);
        match self.core.plugins()?.run_job(&key.tenant, &key.plugin, chunk, ack).await? {
            Delivered::Committed(next) => Ok(next),
            Delivered::NotEnabled => Err(lost()),
        }
    }

    async fn row(&self, key: &JobKey, token: &str) -> Result<RunRow> {
        let mut reader = self.core.db.read(&key.tenant).await?;
        let row = schedules::find(&mut reader, key).await?;
        row.filter(|row| row.leased_by.as_deref() == Some(token)).ok_or_else(lost)
    }

    /// Waits for a chunk, and keeps the lease meanwhile. The plugin host bounds its time.
    async fn guarded<T>(
        &self,
        key: &JobKey,
        token: &str,
        chunk: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let mut chunk = std::pin::pin!(chunk);
        loop {
            tokio::select! {
                outcome = &mut chunk => {
                    self.extend(key, token).await?;
                    return outcome;
                }
                () = tokio::time::sleep(HEARTBEAT) => self.extend(key, token).await?,
            }
        }
    }

    async fn extend(&self, key: &JobKey, token: &str) -> Result<()> {
        let state = (key.clone(), token.to_owned(), self.core.now().plus_seconds(LEASE_S));
        let kept = self
            .core
            .db
            .write(&key.tenant, state, |tx, (key, token, until)| {
                Box::pin(schedules::extend(tx, key, token, *until))
            })
            .await?;
        if kept { Ok(()) } else { Err(lost()) }
    }

    async fn finish(&self, key: &JobKey, token: &str, row: &RunRow, error: Option<String>) -> Result<()> {
        let due_at = next_due(&row.schedule.0, &row.time_zone, self.core.now())?;
        let state = (key.clone(), token.to_owned(), due_at, error);
        let kept = self
            .core
            .db
            .write(&key.tenant, state, |tx, (key, token, due_at, error)| {
                Box::pin(schedules::finish(tx, key, token, *due_at, error.as_deref()))
            })
            .await?;
        if kept { Ok(()) } else { Err(lost()) }
    }

    /// Lets the chunk be tried again later, or gives the run up.
    async fn give_back(&self, key: &JobKey, token: &str, error: &Error) -> Result<()> {
        let row = self.row(key, token).await?;
        let core = &self.core;
        // What is the server's own trouble does not count against the job.
        let attempts = row.attempts + i64::from(!matches!(error, Error::Unavailable(_)));
        let message = public_message(error);
        if attempts >= ATTEMPTS_MAX {
            return self.finish(key, token, &row, Some(message)).await;
        }
        let retry_at = backoff::BACKGROUND.next_or_last(&*core.ids, core.now(), attempts);
        let state = (key.clone(), token.to_owned(), retry_at, attempts, message);
        core.db
            .write(&key.tenant, state, |tx, (key, token, retry_at, attempts, message)| {
                Box::pin(schedules::retry(tx, key, token, *retry_at, (*attempts, Some(message))))
            })
            .await
    }
}

/// How a look at one job went.
enum Outcome {
    /// Another server has it.
    Elsewhere,
    Finished,
    Failed,
    /// It was slept through.
    Skipped,
}

/// Keeps the next cursor in the transaction of the chunk's effects.
fn ack_of(key: JobKey, token: String, chunk: i64) -> JobAck {
    let keeps = Arc::new((key, token, chunk));
    Arc::new(move |tx, cursor| {
        let keeps = Arc::clone(&keeps);
        Box::pin(async move {
            let (key, token, chunk) = &*keeps;
            if schedules::advance(tx, key, token, cursor, *chunk).await? { Ok(()) } else { Err(lost()) }
        })
    })
}

fn lost() -> Error {
    Error::conflict(Reason::LeaseLost, "the job was taken over or removed")
}

fn is_lost(error: &Error) -> bool {
    matches!(error, Error::Conflict { code: Reason::LeaseLost, .. })
}
