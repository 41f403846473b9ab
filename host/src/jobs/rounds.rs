//! Background work in rounds that the caller asks for, instead of loops of its own: for
//! tests and for rehearsals of plugins, whose clock stands still.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::backfill::{self, Backfiller};
use super::dispatch::{self, Dispatcher};
use super::schedules::{self, Runner};
use super::{consumers, imports, shadows};
use crate::error::{Error, Result};
use crate::ops::Core;

/// Rounds until the work is taken to be without end.
const ROUNDS_MAX: u32 = 1_000;

/// What the background work has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Deliveries of events.
    pub dispatch: dispatch::Report,
    /// Replays of history.
    pub backfill: backfill::Report,
    /// Schedules of plugins.
    pub schedules: schedules::Report,
}

/// The loops of one server, standing still.
pub struct Rounds {
    core: Arc<Core>,
    stop: CancellationToken,
    /// Delivers events.
    pub dispatcher: Arc<Dispatcher>,
    /// Replays history.
    pub backfiller: Arc<Backfiller>,
    /// Runs plugins' schedules.
    pub schedules: Arc<Runner>,
}

impl Rounds {
    /// The loops over `core`, which give up when `stop` is cancelled.
    #[must_use]
    pub fn new(core: Arc<Core>, stop: CancellationToken) -> Self {
        let dispatcher = Dispatcher::new(Arc::clone(&core), consumers(&core), stop.clone());
        let backfiller = Backfiller::new(Arc::clone(&core), stop.clone());
        let schedules = Runner::new(Arc::clone(&core), stop.clone());
        Self { core, stop, dispatcher, backfiller, schedules }
    }

    /// Imports, delivers, replays and runs schedules until nothing is left that is due now.
    ///
    /// # Errors
    /// Those of the loops; [`Error::Unavailable`] if the work does not end.
    pub async fn run(&self) -> Result<Report> {
        let mut sum = Report::default();
        for _ in 0..ROUNDS_MAX {
            let before = sum;
            while imports::run_once(&self.core, &self.stop).await? {}
            sum.add_backfill(self.backfiller.run_once().await?);
            sum.add_dispatch(self.dispatcher.run_once().await?);
            sum.add_schedules(self.schedules.run_once().await?);
            shadows::run_once(&self.core).await?;
            if sum.is_as_after(&before) {
                return Ok(sum);
            }
        }
        Err(Error::unavailable(format!("the background work does not end: {sum:?}")))
    }
}

impl Report {
    /// What this and `later` have done together.
    #[must_use]
    pub fn and(mut self, later: Self) -> Self {
        self.add_dispatch(later.dispatch);
        self.add_backfill(later.backfill);
        self.add_schedules(later.schedules);
        self
    }

    fn add_dispatch(&mut self, report: dispatch::Report) {
        let dispatch::Report { lanes, handled, failed, dead } = report;
        self.dispatch.lanes += lanes;
        self.dispatch.handled += handled;
        self.dispatch.failed += failed;
        self.dispatch.dead += dead;
    }

    fn add_backfill(&mut self, report: backfill::Report) {
        let backfill::Report { records, finished } = report;
        self.backfill.records += records;
        self.backfill.finished += finished;
    }

    fn add_schedules(&mut self, report: schedules::Report) {
        let schedules::Report { finished, failed, skipped } = report;
        self.schedules.finished += finished;
        self.schedules.failed += failed;
        self.schedules.skipped += skipped;
    }

    /// Whether nothing was done since `before`; to look at a lane in vain is nothing.
    fn is_as_after(&self, before: &Self) -> bool {
        let mut quiet = *self;
        quiet.dispatch.lanes = before.dispatch.lanes;
        quiet == *before
    }
}
