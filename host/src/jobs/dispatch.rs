//! The dispatcher: takes events out of the lanes and hands them to their consumers.
//!
//! A lane is one consumer of one tenant. Lanes are worked on side by side, each by
//! at most one dispatcher at a time, so that a consumer that fails delays nobody
//! else. A kind of consumer has lanes of its own that are worked on at once, so that slow
//! ones of another kind cannot take them all. It never changes a record: that is the consumer's, in the transaction
//! that also acknowledges.

mod lane;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::db::lanes::{self, Ready};
use crate::db::{Doorbell, Rung};
use crate::domain::event::Subject;
use crate::domain::ids::TenantId;
use crate::error::Result;
use crate::jobs::backoff::{self, Backoff};
use crate::metrics::{LANES_BUSY, plugin_label};
use crate::ops::Core;
use crate::ops::events::{Acknowledgement, DeliveredEvent};
pub(super) use lane::{new_token, public_message};

/// Lanes of plugins that one server works on at the same time.
const LANES_AT_ONCE_MAX: usize = 32;
/// Lanes that one look at the database finds.
const LANES_PER_POLL_MAX: u32 = 256;
/// How often all lanes are looked at: for retries, for what other servers have
/// written, and for a ring that was missed.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// One consumer of one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lane {
    /// The tenant.
    pub tenant: TenantId,
    /// The consumer, such as `plugin:retail-membership`.
    pub consumer: String,
}

impl Lane {
    /// What kind of consumer it is: the part before the colon.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.consumer.split_once(':').map_or(&*self.consumer, |(kind, _)| kind)
    }

    /// The consumer's name: the part behind the colon.
    #[must_use]
    pub fn name(&self) -> &str {
        self.consumer.split_once(':').map_or("", |(_, name)| name)
    }

    fn key(&self) -> (&TenantId, &str) {
        (&self.tenant, &self.consumer)
    }

    /// What metrics call it: a plugin by its name, of which they have so many; others by their kind.
    fn label(&self) -> String {
        if self.kind() == "plugin" {
            return format!("plugin:{}", plugin_label(self.name()));
        }
        self.kind().to_owned()
    }
}

/// How the lanes of a kind of consumer are worked on.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// In what pieces.
    pub pace: Pace,
    /// When an event is tried again.
    pub retries: Backoff,
    /// Lanes of this kind that one server works on at the same time.
    pub lanes_max: usize,
}

/// In what pieces events are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// In batches, in order within each subject.
    Batches,
    /// Each for itself, in any order, and so many at once as long as they are handled soon;
    /// one at a time otherwise. The consumer has subscribed without an order.
    Singles {
        /// Events at once.
        at_once_max: u32,
    },
}

impl Default for Manner {
    fn default() -> Self {
        Self { pace: Pace::Batches, retries: backoff::DELIVERY, lanes_max: LANES_AT_ONCE_MAX }
    }
}

/// Handles the events of all lanes of one kind.
pub trait Consumer: Send + Sync + 'static {
    /// How its lanes are worked on.
    fn manner(&self) -> Manner {
        Manner::default()
    }

    /// Which of a batch's subjects are delivered apart from the others, in batches of their own.
    ///
    /// # Errors
    /// Any: the lane waits.
    fn apart<'a>(&'a self, _lane: &'a Lane, subjects: Vec<Subject>) -> BoxFuture<'a, Result<Vec<bool>>> {
        Box::pin(async move { Ok(vec![false; subjects.len()]) })
    }

    /// Handles a batch in its order and calls `acknowledgement.apply` in the
    /// transaction that writes the effects, so that both are kept or neither.
    ///
    /// # Errors
    /// Any, with nothing kept: the batch comes again in halves, until what fails
    /// stands alone. `Unavailable` and a `Limit` that passes by itself stop the
    /// whole lane for a while and count against no event; so does a plugin that
    /// says it is not available, but not for ever.
    fn deliver<'a>(
        &'a self,
        lane: &'a Lane,
        batch: Vec<DeliveredEvent>,
        acknowledgement: Acknowledgement,
    ) -> BoxFuture<'a, Result<()>>;
}

/// The consumers by kind.
pub type Consumers = BTreeMap<&'static str, Arc<dyn Consumer>>;

/// What has been done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Lanes that were leased.
    pub lanes: u64,
    /// Events that were handled.
    pub handled: u64,
    /// Attempts that failed and will be repeated.
    pub failed: u64,
    /// Events that became dead letters.
    pub dead: u64,
}

impl Report {
    fn add(&mut self, other: Self) {
        let Self { lanes, handled, failed, dead } = other;
        self.lanes += lanes;
        self.handled += handled;
        self.failed += failed;
        self.dead += dead;
    }
}

/// Delivers events; one a server, and several servers share the lanes.
pub struct Dispatcher {
    core: Arc<Core>,
    consumers: Consumers,
    shutdown: CancellationToken,
}

impl Dispatcher {
    /// A dispatcher that stops between two batches once `shutdown` is cancelled.
    #[must_use]
    pub fn new(core: Arc<Core>, consumers: Consumers, shutdown: CancellationToken) -> Arc<Self> {
        Arc::new(Self { core, consumers, shutdown })
    }

    /// Gives every lane that has something to deliver one turn, and answers when all have had it.
    ///
    /// # Errors
    /// Those of the database, when it cannot say which lanes there are.
    pub async fn run_once(self: &Arc<Self>) -> Result<Report> {
        let mut report = Report::default();
        let mut turns = JoinSet::new();
        let mut last = (String::new(), String::new());
        loop {
            let found = self.poll((&last.0, &last.1)).await?;
            let Some(end) = found.last() else { break };
            last = (end.tenant.to_string(), end.consumer.clone());
            for ready in found {
                if turns.len() >= LANES_AT_ONCE_MAX {
                    report.add(joined(turns.join_next().await));
                }
                let this = Arc::clone(self);
                turns.spawn(async move { this.take_turn(ready).await.report });
            }
        }
        while !turns.is_empty() {
            report.add(joined(turns.join_next().await));
        }
        Ok(report)
    }

    /// Delivers until the shutdown, and then ends what is under way.
    pub async fn run(self: Arc<Self>) {
        let doorbell = self.core.db.doorbell().clone();
        let mut poll = tokio::time::interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut floor = Floor::default();
        while let Some(wake) = self.wake(&doorbell, &mut poll, &mut floor).await {
            if let Err(error) = self.start_turns(wake, &mut floor).await {
                tracing::warn!(?error, "the dispatcher cannot see its lanes; it tries again");
            }
        }
        while floor.turns.join_next().await.is_some() {}
    }

    async fn wake(
        &self,
        doorbell: &Doorbell,
        poll: &mut tokio::time::Interval,
        floor: &mut Floor,
    ) -> Option<Wake> {
        tokio::select! {
            () = self.shutdown.cancelled() => None,
            Some(ended) = floor.turns.join_next_with_id() => Some(floor.leave(ended)),
            rung = doorbell.rung() => Some(match rung {
                Rung::All => Wake::All,
                Rung::Tenants(tenants) => Wake::Tenants(tenants),
            }),
            _ = poll.tick() => Some(Wake::All),
        }
    }

    async fn start_turns(self: &Arc<Self>, wake: Wake, floor: &mut Floor) -> Result<()> {
        let found = match wake {
            Wake::Nobody => return Ok(()),
            Wake::All => {
                let after = std::mem::take(&mut floor.after);
                let found = self.poll((&after.0, &after.1)).await?;
                if found.len() >= LANES_PER_POLL_MAX as usize
                    && let Some(last) = found.last()
                {
                    floor.after = (last.tenant.to_string(), last.consumer.clone());
                }
                found
            }
            Wake::Tenants(tenants) => {
                let mut directory = self.core.db.directory().await?;
                let mut found = Vec::new();
                for tenant in &tenants {
                    let now = self.core.now();
                    found.extend(
                        lanes::ready_of_tenant(&mut directory, now, tenant, LANES_PER_POLL_MAX).await?,
                    );
                }
                floor
                    .again
                    .extend(floor.busy.values().filter(|lane| tenants.contains(&lane.tenant)).cloned());
                found
            }
        };
        for ready in found {
            let lane = Lane { tenant: ready.tenant.clone(), consumer: ready.consumer.clone() };
            if floor.busy_of(lane.kind()) >= self.manner_of(&lane).lanes_max {
                floor.again.insert(lane);
                continue;
            }
            let this = Arc::clone(self);
            let task = floor.turns.spawn(async move { this.take_turn(ready).await.is_cut_short });
            floor.busy.insert(task.id(), lane);
        }
        metrics::gauge!(LANES_BUSY).set(f64::from(u32::try_from(floor.busy.len()).unwrap_or(u32::MAX)));
        Ok(())
    }

    fn manner_of(&self, lane: &Lane) -> Manner {
        self.consumers.get(lane.kind()).map(|consumer| consumer.manner()).unwrap_or_default()
    }

    async fn poll(&self, after: (&str, &str)) -> Result<Vec<Ready>> {
        let mut directory = self.core.db.directory().await?;
        lanes::ready(&mut directory, self.core.now(), after, LANES_PER_POLL_MAX).await
    }
}

/// What there is to look at.
enum Wake {
    Nobody,
    All,
    Tenants(Vec<TenantId>),
}

/// The lanes that are being worked on.
#[derive(Default)]
struct Floor {
    /// True for a turn that ended before its lane was empty.
    turns: JoinSet<bool>,
    busy: HashMap<Id, Lane>,
    /// Lanes that must be looked at again when there is a place for them.
    again: HashSet<Lane>,
    /// Where the last look at all lanes stopped.
    after: (String, String),
}

impl Floor {
    /// How many lanes of a kind are being worked on.
    fn busy_of(&self, kind: &str) -> usize {
        self.busy.values().filter(|lane| lane.kind() == kind).count()
    }

    fn leave(&mut self, ended: Result<(Id, bool), tokio::task::JoinError>) -> Wake {
        let (id, cut_short) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!(%error, "a dispatcher's turn ended abnormally; its lease will expire");
                (error.id(), false)
            }
        };
        let Some(lane) = self.busy.remove(&id) else { return Wake::Nobody };
        if self.again.remove(&lane) || cut_short {
            self.again.insert(lane);
        }
        let tenants: HashSet<TenantId> = self.again.drain().map(|lane| lane.tenant).collect();
        if tenants.is_empty() { Wake::Nobody } else { Wake::Tenants(tenants.into_iter().collect()) }
    }
}

fn joined(ended: Option<Result<Report, tokio::task::JoinError>>) -> Report {
    match ended {
        Some(Ok(report)) => report,
        Some(Err(error)) => {
            tracing::error!(%error, "a dispatcher's turn ended abnormally; its lease will expire");
            Report::default()
        }
        None => Report::default(),
    }
}
