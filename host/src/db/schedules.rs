//! Rows of schedules, as their runner sees them; who makes them is `plugins`.

use super::{Json, Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::ids::TenantId;
use crate::domain::manifest::{CatchUp, Schedule};
use crate::error::Result;

statements! {
    DUE = "
        SELECT tenant, plugin, job
        FROM schedules
        WHERE due_at <= $1
          AND (leased_until IS NULL OR leased_until <= $1)
        ORDER BY due_at, tenant, plugin, job
        LIMIT $2";
    LEASE = "
        UPDATE schedules
        SET leased_by = $4, leased_until = $5, run_due_at = COALESCE(run_due_at, due_at)
        WHERE tenant = $1
          AND plugin = $2
          AND job = $3
          AND due_at <= $6
          AND (leased_until IS NULL OR leased_until <= $6)";
    FIND = "
        SELECT s.schedule, s.catch_up, s.run_due_at, s.cursor, s.chunks, s.attempts, s.leased_by, t.time_zone
        FROM schedules s
        JOIN tenants t ON t.tenant = s.tenant
        WHERE s.tenant = $1
          AND s.plugin = $2
          AND s.job = $3";
    EXTEND = "
        UPDATE schedules
        SET leased_until = $5
        WHERE tenant = $1
          AND plugin = $2
          AND job = $3
          AND leased_by = $4";
    ADVANCE = "
        UPDATE schedules
        SET cursor = $5, chunks = chunks + 1, attempts = 0, last_error = NULL
        WHERE tenant = $1
          AND plugin = $2
          AND job = $3
          AND leased_by = $4
          AND chunks = $6";
    FINISH = "
        UPDATE schedules
        SET due_at = $5, run_due_at = NULL, cursor = NULL, chunks = 0, attempts = 0, leased_by = NULL,
            leased_until = NULL, last_error = $6
        WHERE tenant = $1
          AND plugin = $2
          AND job = $3
          AND leased_by = $4";
    /// Those that no run has begun of.
    WAITING = "
        SELECT plugin, job, schedule
        FROM schedules
        WHERE tenant = $1
          AND run_due_at IS NULL
        ORDER BY plugin, job";
    REPLAN = "
        UPDATE schedules
        SET due_at = $4
        WHERE tenant = $1
          AND plugin = $2
          AND job = $3
          AND run_due_at IS NULL";
    /// A run that goes on is left alone; one that waits for another try has it now.
    HASTEN = "
        UPDATE schedules
        SET due_at = $4
        WHERE tenant = $1
          AND plugin = $2
          AND job = $3
          AND due_at > $4
          AND (leased_until IS NULL OR leased_until <= $4)";
    OF_PLUGIN = "
        SELECT job, due_at, last_error
        FROM schedules
        WHERE tenant = $1
          AND plugin = $2
        ORDER BY job";
    RETRY = "
        UPDATE schedules
        SET due_at = $5, attempts = $6, leased_by = NULL, leased_until = NULL, last_error = $7
        WHERE tenant = $1
          AND plugin = $2
          AND job = $3
          AND leased_by = $4";
}

/// A job of a plugin of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, sqlx::FromRow)]
pub(crate) struct JobKey {
    pub(crate) tenant: TenantId,
    pub(crate) plugin: String,
    pub(crate) job: String,
}

/// Jobs that are due and that nobody runs. Through the directory.
pub(crate) async fn due(tx: &mut Tx, now: Timestamp, limit: u32) -> Result<Vec<JobKey>> {
    tx.fetch_all(DUE, args![now, limit]).await
}

/// Leases a job that is due; false if somebody else has.
pub(crate) async fn lease(
    tx: &mut Tx,
    key: &JobKey,
    token: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool> {
    let args = args![&key.tenant, &key.plugin, &key.job, token, until, now];
    Ok(tx.execute(LEASE, args).await? == 1)
}

/// A run of a job.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct RunRow {
    pub(crate) schedule: Json<Schedule>,
    pub(crate) catch_up: String,
    pub(crate) run_due_at: Option<Timestamp>,
    pub(crate) cursor: Option<String>,
    pub(crate) chunks: i64,
    pub(crate) attempts: i64,
    pub(crate) leased_by: Option<String>,
    pub(crate) time_zone: String,
}

impl RunRow {
    /// Whether nothing of this run has been done or tried.
    pub(crate) fn is_fresh(&self) -> bool {
        self.chunks == 0 && self.attempts == 0
    }

    /// Whether a time that was slept through is left out.
    pub(crate) fn skips_missed(&self) -> bool {
        self.catch_up == CatchUp::Skip.as_str()
    }
}

/// When a job is due next, and how its last run ended.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct DueRow {
    pub(crate) job: String,
    pub(crate) due_at: Timestamp,
    pub(crate) last_error: Option<String>,
}

/// The jobs of a plugin, by name.
pub(crate) async fn of_plugin(tx: &mut Tx, tenant: &TenantId, plugin: &str) -> Result<Vec<DueRow>> {
    tx.fetch_all(OF_PLUGIN, args![tenant, plugin]).await
}

/// A job that waits for its next time.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct WaitingRow {
    pub(crate) plugin: String,
    pub(crate) job: String,
    pub(crate) schedule: Json<Schedule>,
}

/// The jobs of a tenant that wait for their next time.
pub(crate) async fn waiting(tx: &mut Tx, tenant: &TenantId) -> Result<Vec<WaitingRow>> {
    tx.fetch_all(WAITING, args![tenant]).await
}

/// Moves the next time of a job that waits for it.
pub(crate) async fn replan(
    tx: &mut Tx,
    tenant: &TenantId,
    (plugin, job): (&str, &str),
    due_at: Timestamp,
) -> Result<()> {
    tx.execute(REPLAN, args![tenant, plugin, job, due_at]).await.map(drop)
}

/// Makes a job due; false if it is, or runs, or does not exist.
pub(crate) async fn hasten(
    tx: &mut Tx,
    tenant: &TenantId,
    (plugin, job): (&str, &str),
    now: Timestamp,
) -> Result<bool> {
    Ok(tx.execute(HASTEN, args![tenant, plugin, job, now]).await? == 1)
}

/// Where a job stands.
pub(crate) async fn find(tx: &mut Tx, key: &JobKey) -> Result<Option<RunRow>> {
    tx.fetch_optional(FIND, args![&key.tenant, &key.plugin, &key.job]).await
}

/// Keeps a job longer; false if somebody else has it now.
pub(crate) async fn extend(tx: &mut Tx, key: &JobKey, token: &str, until: Timestamp) -> Result<bool> {
    Ok(tx.execute(EXTEND, args![&key.tenant, &key.plugin, &key.job, token, until]).await? == 1)
}

/// Keeps the cursor behind the chunk number `chunk`; false if it is not this one's turn.
pub(crate) async fn advance(
    tx: &mut Tx,
    key: &JobKey,
    token: &str,
    cursor: Option<&str>,
    chunk: i64,
) -> Result<bool> {
    let args = args![&key.tenant, &key.plugin, &key.job, token, cursor, chunk];
    Ok(tx.execute(ADVANCE, args).await? == 1)
}

/// Ends a run, with an error if it was given up; the next is due at `due_at`.
pub(crate) async fn finish(
    tx: &mut Tx,
    key: &JobKey,
    token: &str,
    due_at: Timestamp,
    error: Option<&str>,
) -> Result<bool> {
    let args = args![&key.tenant, &key.plugin, &key.job, token, due_at, error];
    Ok(tx.execute(FINISH, args).await? == 1)
}

/// Gives a job back, to go on at `due_at` where it stands.
pub(crate) async fn retry(
    tx: &mut Tx,
    key: &JobKey,
    token: &str,
    due_at: Timestamp,
    (attempts, error): (i64, Option<&str>),
) -> Result<()> {
    let args = args![&key.tenant, &key.plugin, &key.job, token, due_at, attempts, error];
    tx.execute(RETRY, args).await.map(drop)
}
