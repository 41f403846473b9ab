//! One turn on one lane: lease it, deliver batch after batch, find what fails, give it back.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::{Consumer, Dispatcher, Lane, Manner, Pace, Report};
use crate::db::deliveries::{self, Failure, Queued};
use crate::db::lanes::{self, Ready, Standing};
use crate::domain::code::{FailureCode, Reason};
use crate::domain::event::Subject;
use crate::error::{Error, KeptError, Result};
use crate::jobs::backoff;
use crate::metrics::{DELIVERIES, DELIVERY_LAG};
use crate::ops::events::{Acknowledgement, DELIVERY_BATCH_MAX, DeliveredEvent};

/// How long a lease lasts without a heartbeat: a dead dispatcher's lane is taken over after it.
const LEASE_S: i64 = 30;
/// How often a lease is prolonged while a consumer works.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long one batch may take.
const DELIVERY_TIME_MAX: Duration = Duration::from_secs(120);
/// Batches of one turn; then others have theirs.
const BATCHES_PER_TURN_MAX: u32 = 16;
/// Bytes of the bodies of one batch, if it has more than one event.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Turns in a row that a plugin may say it is not available, while the whole lane
/// waits for it; from then on that counts against the events.
const UNAVAILABLE_TURNS_MAX: i64 = 4;
/// Events that fail alone in one turn until the whole lane is taken for broken.
const POISON_PER_TURN_MAX: u32 = 8;
/// A consumer of single events that takes longer for one is slow: it gets no more than one at
/// a time, and rests as long as it has taken, so that slow lanes do not hold all places.
const SLOW: Duration = Duration::from_secs(2);
/// Characters of an error that a delivery keeps.
const ERROR_CHARS_MAX: usize = 1_000;

/// How a turn went.
#[derive(Default)]
pub(super) struct TurnReport {
    pub(super) report: Report,
    /// It ended before the lane was empty, and may go on at once.
    pub(super) is_cut_short: bool,
}

/// A leased lane.
struct Turn<'d> {
    dispatcher: &'d Dispatcher,
    consumer: &'d Arc<dyn Consumer>,
    manner: Manner,
    lane: Lane,
    token: String,
    /// How often the whole lane has failed in a row before.
    failures: i64,
    /// Subjects whose earlier event waits for its next attempt.
    blocked: HashSet<(String, String)>,
    /// Events that have failed alone; of single ones, in a row.
    poisoned: u32,
    report: Report,
}

/// Why a turn must end.
enum Stop {
    /// Another dispatcher has the lane.
    LeaseLost,
    /// The consumer cannot work now; nothing is wrong with the events.
    Later(Error, Option<u32>),
    /// The consumer takes its time, so that others have their turn.
    Slow(Duration),
    /// The server shuts down.
    Shutdown,
    /// Too much has failed for it to be the events' fault.
    Broken(Error),
}

impl Dispatcher {
    /// Works on one lane until it is empty, its turn is over, or something stops it.
    pub(super) async fn take_turn(&self, ready: Ready) -> TurnReport {
        let Ready { tenant, consumer, failures } = ready;
        let lane = Lane { tenant, consumer };
        let Some(consumer) = self.consumers.get(lane.kind()) else {
            tracing::error!(
                consumer = lane.consumer,
                "no part of this server handles such a consumer's events"
            );
            return TurnReport::default();
        };
        let token = new_token(&*self.core.ids);
        match self.lease(&lane, &token).await {
            Ok(true) => {}
            Ok(false) => return TurnReport::default(),
            Err(error) => {
                tracing::warn!(?error, consumer = lane.consumer, "a lane could not be leased");
                return TurnReport::default();
            }
        }
        let report = Report { lanes: 1, ..Report::default() };
        let (manner, blocked) = (consumer.manner(), HashSet::new());
        let mut turn =
            Turn { dispatcher: self, consumer, manner, lane, token, failures, blocked, poisoned: 0, report };
        let outcome = turn.work().await;
        turn.end(outcome).await
    }

    async fn lease(&self, lane: &Lane, token: &str) -> Result<bool> {
        let now = self.core.now();
        let state = (lane.clone(), token.to_owned(), now, now.plus_seconds(LEASE_S));
        self.core
            .db
            .write(&lane.tenant, state, |tx, (lane, token, now, until)| {
                Box::pin(lanes::lease(tx, lane.key(), token, *now, *until))
            })
            .await
    }
}

/// A new lease's token.
pub(in crate::jobs) fn new_token(ids: &dyn crate::ids::Ids) -> String {
    let mut token = [0; 16];
    ids.fill_secret(&mut token);
    format!("{:032x}", u128::from_le_bytes(token))
}

impl Turn<'_> {
    /// True if the lane is empty.
    async fn work(&mut self) -> Result<bool, Stop> {
        let (pace, mut at_once) = (self.manner.pace, 1);
        for _ in 0..BATCHES_PER_TURN_MAX {
            let limit = if pace == Pace::Batches { DELIVERY_BATCH_MAX } else { at_once };
            let batch = self.next_batch(limit).await.map_err(|error| Stop::Later(error, None))?;
            if batch.is_empty() {
                return Ok(true);
            }
            match pace {
                Pace::Batches => self.deliver_all(batch).await?,
                Pace::Singles { at_once_max } => {
                    self.deliver_each(batch).await?;
                    at_once = if self.poisoned == 0 { at_once_max } else { 1 };
                }
            }
        }
        Ok(false)
    }

    async fn next_batch(&self, limit: u32) -> Result<Vec<Queued>> {
        let core = &self.dispatcher.core;
        let mut reader = core.db.read(&self.lane.tenant).await?;
        let mut batch = deliveries::batch(&mut reader, self.lane.key(), core.now(), limit).await?;
        let mut bytes = 0;
        let fits = |queued: &Queued| {
            bytes += queued.body.len();
            bytes <= BATCH_BYTES_MAX
        };
        let keep = batch.iter().map(fits).take_while(|fits| *fits).count();
        batch.truncate(keep.max(1));
        Ok(batch)
    }

    /// Delivers a batch, in halves where it fails, always in order.
    async fn deliver_all(&mut self, batch: Vec<Queued>) -> Result<(), Stop> {
        let mut pieces = self.told_apart(batch).await.map_err(|error| Stop::Later(error, None))?;
        while let Some(mut piece) = pieces.pop() {
            piece.retain(|queued| !self.blocked.contains(&subject_key(queued)));
            if piece.is_empty() {
                continue;
            }
            if self.dispatcher.shutdown.is_cancelled() {
                return Err(Stop::Shutdown);
            }
            match self.deliver(&piece).await {
                Ok(()) => self.count(&piece),
                Err(error) => {
                    let error = self.unless_patient(error, &piece).and_then(unless_stopped)?;
                    if let [poison] = piece.as_slice() {
                        self.fail(poison, error).await?;
                    } else {
                        let second = piece.split_off(piece.len() / 2);
                        pieces.push(second);
                        pieces.push(piece);
                    }
                }
            }
        }
        Ok(())
    }

    /// A batch in pieces that are delivered apart; each subject's events stay in one, and in order.
    async fn told_apart(&self, batch: Vec<Queued>) -> Result<Vec<Vec<Queued>>> {
        let subjects =
            batch.iter().map(|queued| Subject::from_stored(&queued.subject_kind, &queued.subject_id));
        let subjects = subjects.collect::<Result<Vec<_>>>()?;
        let apart = self.consumer.apart(&self.lane, subjects).await?;
        let (mut others, mut rest) = (Vec::new(), Vec::new());
        for (queued, is_apart) in batch.into_iter().zip(apart) {
            if is_apart { others.push(queued) } else { rest.push(queued) }
        }
        Ok([others, rest].into_iter().filter(|piece| !piece.is_empty()).collect())
    }

    /// The error, unless the lane waits for a plugin that says it is not available.
    /// Not once one of the events has been found to be the cause.
    fn unless_patient(&self, error: Error, piece: &[Queued]) -> Result<Error, Stop> {
        let is_unavailable =
            matches!(&error, Error::PluginFailed { code: FailureCode::Unavailable { .. }, .. });
        let is_suspected = piece.iter().any(|queued| queued.attempts > 0);
        if is_unavailable && !is_suspected && self.failures < UNAVAILABLE_TURNS_MAX {
            return Err(Stop::Later(error, None));
        }
        Ok(error)
    }

    /// Delivers every event of a batch for itself, all at the same time.
    async fn deliver_each(&mut self, batch: Vec<Queued>) -> Result<(), Stop> {
        if self.dispatcher.shutdown.is_cancelled() {
            return Err(Stop::Shutdown);
        }
        let begun = Instant::now();
        let pieces = batch.iter().map(|queued| self.deliver(std::slice::from_ref(queued)));
        let outcomes = join_all(pieces).await;
        let (mut stopped, mut last_error) = (Ok(()), None);
        for (queued, outcome) in batch.iter().zip(outcomes) {
            let kept = match outcome {
                Ok(()) => {
                    self.poisoned = 0;
                    self.count(std::slice::from_ref(queued));
                    Ok(())
                }
                Err(error) => match unless_stopped(error) {
                    Ok(error) => {
                        last_error = Some(error.clone());
                        self.fail(queued, error).await
                    }
                    Err(stop) => Err(stop),
                },
            };
            stopped = stopped.and(kept);
        }
        stopped?;
        match last_error {
            _ if begun.elapsed() < SLOW => Ok(()),
            // Not one success, and every failure takes its time: the next is not worth trying soon.
            Some(error) if self.report.handled == 0 => Err(Stop::Broken(error)),
            Some(_) | None => Err(Stop::Slow(begun.elapsed())),
        }
    }

    async fn deliver(&self, piece: &[Queued]) -> Result<()> {
        let events = piece.iter().map(event_of).collect::<Result<Vec<_>>>()?;
        let keys: Arc<[_]> = piece.iter().map(|queued| (queued.position, queued.event.clone())).collect();
        let Lane { tenant, consumer } = self.lane.clone();
        let acknowledgement = Acknowledgement::new(tenant, consumer, self.token.clone(), keys);
        let delivery = self.consumer.deliver(&self.lane, events, acknowledgement.clone());
        self.guarded(delivery).await?;
        if !acknowledgement.is_applied() {
            // A second delivery would be the consumer's bug seen twice, so the lane waits instead.
            return Err(Error::unavailable("the consumer has not acknowledged what it says it has handled"));
        }
        Ok(())
    }

    /// Waits for a delivery, and keeps the lease meanwhile.
    async fn guarded(&self, delivery: impl Future<Output = Result<()>>) -> Result<()> {
        let mut delivery = std::pin::pin!(delivery);
        let mut deadline = std::pin::pin!(tokio::time::sleep(DELIVERY_TIME_MAX));
        loop {
            tokio::select! {
                outcome = &mut delivery => return outcome,
                () = &mut deadline => return Err(Error::conflict(
                    Reason::TooSlow { seconds: DELIVERY_TIME_MAX.as_secs().to_string() },
                    format!("the batch was not handled within {} s", DELIVERY_TIME_MAX.as_secs()),
                )),
                () = tokio::time::sleep(HEARTBEAT) => self.extend().await?,
            }
        }
    }

    async fn extend(&self) -> Result<()> {
        let core = &self.dispatcher.core;
        let state = (self.lane.clone(), self.token.clone(), core.now().plus_seconds(LEASE_S));
        let kept = core
            .db
            .write(&self.lane.tenant, state, |tx, (lane, token, until)| {
                Box::pin(lanes::extend(tx, lane.key(), token, *until))
            })
            .await?;
        if kept { Ok(()) } else { Err(Error::conflict(Reason::LeaseLost, "the lease has expired")) }
    }

    fn count(&mut self, piece: &[Queued]) {
        let handled = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        self.report.handled += handled;
        self.counted("handled", handled);
        let live = piece.iter().find(|queued| queued.backfill_for.is_none());
        if let Some(first) = live {
            let lag = self.dispatcher.core.now().as_micros() - first.occurred_at.as_micros();
            let lag = Duration::from_micros(u64::try_from(lag).unwrap_or(0));
            metrics::histogram!(DELIVERY_LAG, "consumer" => self.lane.label()).record(lag.as_secs_f64());
        }
    }

    fn counted(&self, outcome: &'static str, count: u64) {
        metrics::counter!(DELIVERIES, "consumer" => self.lane.label(), "outcome" => outcome).increment(count);
    }

    /// Keeps the failed attempt of an event that stood alone.
    async fn fail(&mut self, poison: &Queued, error: Error) -> Result<(), Stop> {
        let core = &self.dispatcher.core;
        let now = core.now();
        let attempts = poison.attempts + 1;
        let retry_at =
            if is_final(&error) { None } else { self.manner.retries.next(&*core.ids, now, attempts) };
        let message = public_message(&error);
        tracing::warn!(
            ?error, tenant = %self.lane.tenant, consumer = self.lane.consumer, event = %poison.event, attempts,
            is_dead = retry_at.is_none(), "an event was not handled"
        );
        let failure = Failure {
            position: poison.position,
            event: poison.event.clone(),
            attempts,
            retry_at,
            error: message,
            at: now,
        };
        self.keep(failure).await.map_err(|error| match unless_stopped(error) {
            Ok(error) => Stop::Later(error, None),
            Err(stop) => stop,
        })?;
        if retry_at.is_some() {
            self.blocked.insert(subject_key(poison));
            self.report.failed += 1;
            self.counted("failed", 1);
        } else {
            self.report.dead += 1;
            self.counted("dead", 1);
        }
        self.poisoned += 1;
        if self.poisoned >= POISON_PER_TURN_MAX { Err(Stop::Broken(error)) } else { Ok(()) }
    }

    async fn keep(&self, failure: Failure) -> Result<()> {
        let state = (self.lane.clone(), self.token.clone(), failure);
        self.dispatcher
            .core
            .db
            .write(&self.lane.tenant, state, |tx, (lane, token, failure)| {
                Box::pin(async move {
                    let holder = lanes::lease_token(tx, &lane.tenant, &lane.consumer).await?;
                    if holder.as_ref() != Some(token) {
                        return Err(Error::conflict(Reason::LeaseLost, "the lease has expired"));
                    }
                    deliveries::fail(tx, lane.key(), failure).await
                })
            })
            .await
    }

    /// Gives the lane back, to be tried at once or later.
    async fn end(self, outcome: Result<bool, Stop>) -> TurnReport {
        let core = &self.dispatcher.core;
        let later = |error: &Error, wait_s: Option<u32>| {
            let now = core.now();
            let failures = self.failures + 1;
            let wait = backoff::BACKGROUND.next_or_last(&*core.ids, now, failures);
            let retry_at = wait.max(now.plus_seconds(i64::from(wait_s.unwrap_or(0))));
            Standing { failures, retry_at, last_error: Some(public_message(error)) }
        };
        let (standing, is_cut_short) = match outcome {
            Ok(is_empty) => (Standing::default(), !is_empty),
            Err(Stop::Shutdown) => (Standing::default(), false),
            Err(Stop::LeaseLost) => {
                tracing::warn!(consumer = self.lane.consumer, "another dispatcher has taken a lane over");
                return TurnReport { report: self.report, is_cut_short: false };
            }
            Err(Stop::Later(error, wait_s)) => {
                tracing::warn!(?error, tenant = %self.lane.tenant, consumer = self.lane.consumer, "a lane waits");
                (later(&error, wait_s), false)
            }
            Err(Stop::Broken(error)) => (later(&error, None), false),
            Err(Stop::Slow(took)) => {
                let rest = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
                (Standing { retry_at: core.now().plus_millis(rest), ..Standing::default() }, false)
            }
        };
        let state = (self.lane.clone(), self.token.clone(), standing);
        let released = core
            .db
            .write(&self.lane.tenant, state, |tx, (lane, token, standing)| {
                Box::pin(lanes::release(tx, lane.key(), token, standing))
            })
            .await;
        if let Err(error) = released {
            tracing::warn!(
                ?error,
                consumer = self.lane.consumer,
                "a lane was not given back; its lease will expire"
            );
        }
        TurnReport { report: self.report, is_cut_short }
    }
}

/// The error, if it is the events' fault.
fn unless_stopped(error: Error) -> Result<Error, Stop> {
    match error {
        Error::Conflict { code: Reason::LeaseLost, .. } => Err(Stop::LeaseLost),
        Error::Limit { retry_after_s, .. } if retry_after_s > 0 => {
            Err(Stop::Later(error, Some(retry_after_s)))
        }
        Error::Unavailable(_) => Err(Stop::Later(error, None)),
        Error::Conflict { .. }
        | Error::Invalid { .. }
        | Error::NotFound { .. }
        | Error::VersionMismatch { .. }
        | Error::Unauthenticated(_)
        | Error::Forbidden(_)
        | Error::Refused { .. }
        | Error::Gone { .. }
        | Error::Limit { .. }
        | Error::PluginRejected { .. }
        | Error::PluginFailed { .. }
        | Error::Internal(_) => Ok(error),
    }
}

/// Whether no further attempt can help: the chain of causes does not get shorter.
fn is_final(error: &Error) -> bool {
    matches!(error, Error::Limit { code: Reason::CauseDepth { .. }, .. })
}

/// What a tenant's administrator may read of an error, as it is kept.
pub(in crate::jobs) fn public_message(error: &Error) -> String {
    KeptError::new(error, ERROR_CHARS_MAX).to_stored()
}

fn subject_key(queued: &Queued) -> (String, String) {
    (queued.subject_kind.clone(), queued.subject_id.clone())
}

fn event_of(queued: &Queued) -> Result<DeliveredEvent> {
    Ok(DeliveredEvent {
        id: queued.event.clone(),
        name: queued.name.clone(),
        subject: Subject::from_stored(&queued.subject_kind, &queued.subject_id)?,
        occurred_at: queued.occurred_at,
        depth: u32::try_from(queued.depth).unwrap_or(u32::MAX),
        attempts: queued.attempts,
        backfill: queued.backfill_for.is_some(),
        body: serde_json::from_str(&queued.body).map_err(Error::internal)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_chain_without_end_is_final() {
        let limit = |code, retry_after_s| Error::Limit { code, message: String::new(), retry_after_s };
        let depth = || Reason::CauseDepth { max: "8".to_owned() };
        assert!(is_final(&limit(depth(), 0)));
        assert!(!is_final(&limit(Reason::ImportTooLarge, 0)));
        assert!(matches!(unless_stopped(limit(Reason::TooManyLogins, 7)), Err(Stop::Later(_, Some(7)))));
        assert!(unless_stopped(limit(depth(), 0)).is_ok());
        assert!(matches!(unless_stopped(Error::unavailable("down")), Err(Stop::Later(_, None))));
    }
}
