//! Working on an import: taking it, and committing its rows batch by batch.
//!
//! A batch is one transaction: the records, the faults of the rows that are none, the
//! counters of equal rows and the place of the next row. Whoever takes over after a
//! crash therefore goes on exactly behind the last row that counts. The lease's token
//! is checked in the same transaction, so that two nodes never work on one file.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::batch::{self, Prepared, Refusals};
use super::find_row;
use super::ready::{Importer, Ready};
use super::rows::{self, Named};
use crate::clock::Timestamp;
use crate::db;
use crate::db::imports::{Advance, Claim, JobRow};
use crate::domain::actor::{Actor, Locale};
use crate::domain::code::{ImportCode, Reason, RowCode};
use crate::domain::import::bound::Bound;
use crate::domain::import::encoding::Encoding;
use crate::domain::import::plan::Plan;
use crate::domain::import::reader::{Dialect, Position};
use crate::domain::import::{FAILED_ROWS_MAX, ImportEntity, KEPT_FAULTS_MAX, RowFault};
use crate::domain::permission::Permission;
use crate::error::{Error, Result};
use crate::ops::change::{self, Outcome};
use crate::ops::{Core, access};
use crate::texts;

/// How long a node may be silent before another takes its job.
pub const LEASE_SECONDS: i64 = 60;
/// How often a batch is tried again as a whole before its rows are tried one by one.
const BATCH_TRIES_MAX: u32 = 3;
/// Faults of one row that are kept.
const ROW_FAULTS_MAX: usize = 10;

/// A leased job.
pub struct Work {
    importer: Arc<Importer>,
    plan: Plan,
    encoding: Encoding,
    header: Option<Vec<String>>,
    next: Position,
    tally: Tally,
}

/// What became of the rows so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) created: i64,
    pub(super) updated: i64,
    pub(super) unchanged: i64,
    pub(super) failed: i64,
    faults_kept: i64,
    faults_dropped: i64,
}

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There are more rows.
    More,
    /// The job has ended, one way or the other.
    Ended,
}

/// Takes a job that nobody works on, of any tenant.
///
/// # Errors
/// Those of the database.
pub async fn lease(core: &Core) -> Result<Option<Work>> {
    let now = core.now();
    let due = {
        let mut reader = core.db.directory().await?;
        db::imports::find_due(&mut reader, now).await?
    };
    let Some((tenant, import)) = due else {
        return Ok(None);
    };
    let claim = Claim { tenant, import, token: format!("{:032x}", core.ids.next(now)) };
    let state = (claim.clone(), now);
    let leased = core
        .db
        .write(&claim.tenant, state, |tx, (claim, now)| {
            Box::pin(db::imports::lease(tx, claim, now.plus_seconds(LEASE_SECONDS), *now))
        })
        .await?;
    if !leased {
        return Ok(None);
    }
    let row = find_row(core, &claim.tenant, &claim.import).await?;
    Work::new(claim, row).map(Some)
}

impl Work {
    fn new(claim: Claim, row: JobRow) -> Result<Self> {
        let wrong = |what: &str| {
            Error::internal(format!("import `{}` has a stored {what} that is none", claim.import))
        };
        let entity = ImportEntity::from_name(&row.entity).ok_or_else(|| wrong("entity"))?;
        let encoding = row.encoding.as_deref().and_then(Encoding::from_name);
        let stored: super::StoredActor = serde_json::from_str(&row.actor).map_err(Error::internal)?;
        Ok(Self {
            // The zone was written down when the job was made.
            plan: Plan::new(entity, row.mapping.0, "UTC").map_err(|_faults| wrong("mapping"))?,
            encoding: encoding.ok_or_else(|| wrong("encoding"))?,
            header: row.header.map(|header| header.0),
            next: Position {
                offset: u64::try_from(row.next_offset).map_err(Error::internal)?,
                line: u64::try_from(row.next_line).map_err(Error::internal)?,
            },
            tally: Tally {
                created: row.rows_created,
                updated: row.rows_updated,
                unchanged: row.rows_unchanged,
                failed: row.rows_failed,
                faults_kept: row.faults_kept,
                faults_dropped: row.faults_dropped,
            },
            importer: Arc::new(Importer {
                actor: stored.into_actor(claim.tenant.clone()),
                entity,
                source: row.source,
                claim,
            }),
        })
    }

    /// Who makes batches ready.
    #[must_use]
    pub fn importer(&self) -> Arc<Importer> {
        Arc::clone(&self.importer)
    }

    /// How the file is written.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        let mapping = self.plan.mapping();
        Dialect {
            format: mapping.format,
            encoding: self.encoding,
            delimiter: mapping.csv.delimiter.as_byte(),
        }
    }

    /// What is made of the file.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The columns of the file, if its first row was read before.
    #[must_use]
    pub fn header(&self) -> Option<&[String]> {
        self.header.as_deref()
    }

    /// Takes note of the columns of the file; they are committed with the next batch.
    pub fn set_header(&mut self, header: Vec<String>) {
        self.header = Some(header);
    }

    /// Where the next row begins.
    #[must_use]
    pub fn next(&self) -> Position {
        self.next
    }

    /// Commits a batch and keeps the job.
    ///
    /// Records that others change at the same time are prepared again. A row that still
    /// cannot be written, because it names a record that its importer does not see, is
    /// found by halving the batch, and becomes a fault.
    ///
    /// # Errors
    /// Those of the database; the job can be taken again once its lease has run out.
    /// Whatever else stops the import is written to it as its failure.
    pub async fn commit(&mut self, core: &Core, bound: &Bound, mut ready: Ready) -> Result<Step> {
        let mut refused = BTreeMap::new();
        let mut tries = 0;
        loop {
            match self.commit_once(core, bound, (&mut ready, &refused)).await {
                Ok(step) => return Ok(step),
                Err(error @ Error::Unavailable(_)) => return Err(error),
                Err(error) if !is_race(&error) => return self.stop(core, &error).await,
                Err(_) if tries < BATCH_TRIES_MAX => tries += 1,
                Err(_) => {
                    tries = 0;
                    let job = self.importer.job(core, bound);
                    if let Some((place, faults)) = find_culprit(&job, &ready.named.rows, &refused).await? {
                        refused.insert(place, faults);
                    }
                }
            }
        }
    }

    async fn commit_once(
        &mut self,
        core: &Core,
        bound: &Bound,
        (ready, refused): (&mut Ready, &Refusals),
    ) -> Result<Step> {
        let prepared = ready.prepared.take().filter(|_| refused.is_empty());
        let mut prepared = match prepared {
            Some(prepared) => prepared,
            None => batch::prepare(&self.importer.job(core, bound), &ready.named.rows, refused).await?,
        };
        let Ready { named, next, is_last, .. } = ready;
        let mut faults = std::mem::take(&mut prepared.faults);
        faults.extend(named.refused.iter().cloned());
        let (kept, tally) = self.count(&prepared, faults);
        let gives_up = tally.failed.unsigned_abs() > FAILED_ROWS_MAX;
        let state = match (gives_up, *is_last) {
            (true, _) => "failed",
            (false, true) => "succeeded",
            (false, false) => "running",
        };
        let failure = gives_up.then(ImportCode::too_many_failed_rows);
        let unit = CommitUnit {
            claim: self.importer.claim.clone(),
            actor: self.importer.actor.clone(),
            permission: self.importer.entity.permission(),
            first_fault: self.tally.faults_kept,
            advance: self.advance(core.now(), *next, tally, (state, failure)),
            seen: named.seen.clone(),
            prepared,
            kept,
        };
        let held =
            core.db.write(&self.importer.claim.tenant, unit, |tx, unit| Box::pin(unit.run(tx))).await?;
        if !held {
            return Ok(Step::Ended);
        }
        self.tally = tally;
        self.next = *next;
        Ok(if state == "running" { Step::More } else { Step::Ended })
    }

    fn advance(
        &self,
        at: Timestamp,
        next: Position,
        tally: Tally,
        (state, failure): (&'static str, Option<ImportCode>),
    ) -> Advance {
        let Tally { created, updated, unchanged, failed, faults_kept, faults_dropped } = tally;
        Advance {
            header: self.header.clone(),
            next,
            created,
            updated,
            unchanged,
            failed,
            faults_kept,
            faults_dropped,
            state,
            failure: failure.map(|code| (code.to_string(), texts::say(Locale::En, &code))),
            leased_until: at.plus_seconds(LEASE_SECONDS),
            at,
        }
    }

    /// The faults that are kept, and the tally after the batch.
    fn count(&self, prepared: &Prepared, faults: Vec<Vec<RowFault>>) -> (Vec<RowFault>, Tally) {
        let mut tally = self.tally;
        for outcome in prepared.outcomes() {
            match outcome {
                Outcome::Created => tally.created += 1,
                Outcome::Updated => tally.updated += 1,
                Outcome::Unchanged => tally.unchanged += 1,
            }
        }
        let mut faults = faults;
        faults.sort_by_key(|faults| faults.first().map(|fault| fault.line));
        let mut kept = Vec::new();
        for row in faults {
            tally.failed += 1;
            for (index, fault) in row.into_iter().enumerate() {
                if index < ROW_FAULTS_MAX && tally.faults_kept.unsigned_abs() < KEPT_FAULTS_MAX {
                    tally.faults_kept += 1;
                    kept.push(fault);
                } else {
                    tally.faults_dropped += 1;
                }
            }
        }
        (kept, tally)
    }

    /// Ends the job because the file as a whole is wrong.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn refuse(&mut self, core: &Core, why: ImportCode, faults: Vec<RowFault>) -> Result<Step> {
        let mut tally = self.tally;
        tally.faults_kept += i64::try_from(faults.len()).map_err(Error::internal)?;
        let advance = self.advance(core.now(), self.next, tally, ("failed", Some(why)));
        let unit = CommitUnit {
            claim: self.importer.claim.clone(),
            actor: self.importer.actor.clone(),
            permission: self.importer.entity.permission(),
            first_fault: self.tally.faults_kept,
            prepared: Prepared::default(),
            kept: faults,
            seen: None,
            advance,
        };
        core.db
            .write(&self.importer.claim.tenant, unit, |tx, unit| Box::pin(unit.write_progress(tx)))
            .await?;
        Ok(Step::Ended)
    }

    /// Ends the job because of an error that trying again does not mend.
    async fn stop(&mut self, core: &Core, error: &Error) -> Result<Step> {
        let why = if let Error::Internal(cause) = error {
            tracing::error!(import = %self.importer.claim.import, error = ?cause, "an import failed");
            ImportCode::Internal
        } else if matches!(error, Error::Unauthenticated(_) | Error::Forbidden(_)) {
            ImportCode::RightsLost
        } else {
            ImportCode::Refused { reason: error.to_string() }
        };
        self.refuse(core, why, Vec::new()).await
    }

    /// What keeps the job while a batch takes long.
    #[must_use]
    pub fn keeper(&self) -> Keeper {
        Keeper(self.importer.claim.clone())
    }

    /// Gives the job back before its lease has run out: this node stops.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn release(self, core: &Core) -> Result<()> {
        let state = (self.importer.claim.clone(), core.now());
        core.db
            .write(&self.importer.claim.tenant, state, |tx, (claim, now)| {
                Box::pin(db::imports::renew(tx, claim, *now))
            })
            .await
            .map(drop)
    }
}

/// Whether writing a batch has met other writers, and preparing it again may help.
fn is_race(error: &Error) -> bool {
    change::is_race(error) || matches!(error, Error::Conflict { .. } | Error::NotFound { .. })
}

/// The first row that cannot be written after those before it; none if all can by now.
async fn find_culprit(
    job: &batch::Job<'_>,
    named: &[Named],
    refused: &Refusals,
) -> Result<Option<(usize, Vec<Vec<RowFault>>)>> {
    let prepared = Arc::new(batch::prepare(job, named, refused).await?);
    let Some(mut error) = try_out(job, &prepared, prepared.len()).await? else {
        return Ok(None);
    };
    // The first `low` changes can be written, the first `high` cannot.
    let (mut low, mut high) = (0, prepared.len());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match try_out(job, &prepared, middle).await? {
            Some(found) => (high, error) = (middle, found),
            None => low = middle,
        }
    }
    let Some((place, row)) = prepared.place(low).and_then(|place| Some((place, named.get(place)?))) else {
        return Err(error);
    };
    let busy = || row.refuse(vec![RowFault::new(row.row.line, &RowCode::Busy)]);
    let faults = rows::refusal(&error, row, job.bound).unwrap_or_else(busy);
    Ok(Some((place, faults)))
}

/// Writes the first `count` changes and takes them back: why they cannot be written, if they cannot.
async fn try_out(job: &batch::Job<'_>, prepared: &Arc<Prepared>, count: usize) -> Result<Option<Error>> {
    let state = (Arc::clone(prepared), count);
    let taken_back = job
        .core
        .db
        .write(&job.actor.tenant, state, |tx, (prepared, count)| {
            Box::pin(async move {
                prepared.apply(tx, *count).await?;
                // An error is what takes a transaction back.
                Err::<(), _>(Error::Refused { code: Reason::TriedOut, message: String::new() })
            })
        })
        .await;
    match taken_back {
        Err(Error::Refused { code: Reason::TriedOut, .. }) | Ok(()) => Ok(None),
        Err(error) if is_race(&error) => Ok(Some(error)),
        Err(error) => Err(error),
    }
}

/// Tells the others that this node still works on a job.
pub struct Keeper(Claim);

impl Keeper {
    /// Renews the lease; false if the job is no longer this node's.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn renew(&self, core: &Core) -> Result<bool> {
        let state = (self.0.clone(), core.now().plus_seconds(LEASE_SECONDS));
        core.db
            .write(&self.0.tenant, state, |tx, (claim, until)| {
                Box::pin(db::imports::renew(tx, claim, *until))
            })
            .await
    }
}

/// What one transaction of an import writes.
struct CommitUnit {
    claim: Claim,
    actor: Actor,
    permission: Permission,
    first_fault: i64,
    prepared: Prepared,
    kept: Vec<RowFault>,
    seen: Option<serde_json::Value>,
    advance: Advance,
}

impl CommitUnit {
    /// Writes everything; false, and nothing is written, if the job is no longer this node's.
    async fn run(&self, tx: &mut db::Tx) -> Result<bool> {
        access::recheck(tx, &self.actor, Permission::ImportWrite, self.advance.at).await?;
        access::recheck(tx, &self.actor, self.permission, self.advance.at).await?;
        if !self.write_progress(tx).await? {
            return Ok(false);
        }
        let Claim { tenant, import, .. } = &self.claim;
        if let Some(seen) = &self.seen {
            db::imports::set_seen(tx, tenant, import, seen).await?;
        }
        self.prepared.apply(tx, self.prepared.len()).await?;
        Ok(true)
    }

    async fn write_progress(&self, tx: &mut db::Tx) -> Result<bool> {
        if !db::imports::advance(tx, &self.claim, &self.advance).await? {
            return Ok(false);
        }
        let Claim { tenant, import, .. } = &self.claim;
        db::imports::insert_faults(tx, tenant, import, self.first_fault, &self.kept).await?;
        Ok(true)
    }
}

/// Deletes some of what no import needs any more: the files of those that ended more than
/// a day ago, and of those that were given up a week ago. False when nothing is left to do.
///
/// # Errors
/// Those of the database.
pub async fn purge(core: &Core) -> Result<bool> {
    let now = core.now();
    let outdated = {
        let mut reader = core.db.directory().await?;
        let (finished, abandoned) =
            (now.plus_seconds(-CONTENT_KEPT_SECONDS), now.plus_seconds(-ABANDONED_SECONDS));
        db::imports::find_outdated(&mut reader, finished, abandoned).await?
    };
    let Some((tenant, import)) = outdated else {
        return Ok(false);
    };
    let state = (tenant.clone(), import, now);
    core.db
        .write(&tenant, state, |tx, (tenant, import, now)| {
            Box::pin(async move { db::imports::delete_some_content(tx, (tenant, import), *now).await })
        })
        .await?;
    Ok(true)
}

/// How long the file of an import that has ended is kept.
pub const CONTENT_KEPT_SECONDS: i64 = 24 * 60 * 60;
/// How long a job waits for its file.
pub const ABANDONED_SECONDS: i64 = 7 * 24 * 60 * 60;
