//! Which of two versions a record meets while a tenant tries a newer one on a part of them, and how both
//! fare.
//!
//! A record goes with its customer. A request to an endpoint that names neither customer nor order goes with
//! whoever sends it. What else is about no customer meets the enabled version.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::Value;

use super::PluginHost;
use super::call::{Call, Failure, invoke};
use super::invocation::{Invocation, clean};
use super::registry::Enabled;
use super::run::plugin_actor;
use super::shadow::{METERED_AS, Told, reason_of};
use crate::clock::Timestamp;
use crate::db::canaries;
use crate::domain::actor::Actor;
use crate::domain::canary::{Share, Tally};
use crate::domain::event::Subject;
use crate::domain::ids::{CustomerId, TenantId};
use crate::domain::point::Point;
use crate::error::{Error, Result};
use crate::ops::plugins::canary::{self, Counted};
use crate::ops::plugins::{HookedEntity, Save, Switch};

/// Canaries of which runs wait to be written at most; they are that many only if the database cannot be
/// written.
const COUNTS_MAX: usize = 10_000;
/// Bytes of a failure's reason that are kept.
const REASON_BYTES_MAX: usize = 2_000;

/// A newer version that a part of the records meets.
#[derive(Debug)]
pub(super) struct Canary {
    pub(super) enabled: Arc<Enabled>,
    pub(super) share: Share,
}

/// That a version takes part in a canary.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    /// In which: when it was started.
    pub(super) started_at: Timestamp,
    pub(super) side: Side,
}

/// One of the two versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Live,
    Canary,
}

impl Enabled {
    /// When the canary was started that this is the new version of, if it is that of one.
    pub(super) fn canary_since(&self) -> Option<Timestamp> {
        self.trial.filter(|trial| trial.side == Side::Canary).map(|trial| trial.started_at)
    }

    /// Under which name its health is known: a canary's failures are its own.
    pub(super) fn health_name(&self) -> Arc<str> {
        match self.canary_since() {
            Some(since) => format!("{}@{}", self.plugin, since.as_micros()).into(),
            None => Arc::clone(&self.plugin),
        }
    }
}

/// Runs that are not written down yet.
#[derive(Default)]
pub(super) struct Counts(Mutex<HashMap<(TenantId, String), Counted>>);

impl Counts {
    /// Counts a run of a version that takes part in a canary.
    pub(super) fn count(&self, invocation: &Invocation, failure: Option<&Failure>) {
        let Some(trial) = invocation.enabled.trial else { return };
        let mut tally = Tally::default();
        tally.count(is_failure(invocation.point, failure), invocation.usage.fuel, invocation.usage.micros);
        let nothing = Tally::default();
        let (live, canary) = match trial.side {
            Side::Live => (tally, nothing),
            Side::Canary => (nothing, tally),
        };
        let Enabled { tenant, plugin, .. } = &*invocation.enabled;
        let counted = Counted { started_at: trial.started_at, live, canary, last_error: None };
        self.add(tenant, plugin, &counted);
    }

    pub(super) fn add(&self, tenant: &TenantId, plugin: &str, more: &Counted) {
        let mut counts = self.0.lock().expect("no code panics while it holds this lock");
        let key = (tenant.clone(), plugin.to_owned());
        if counts.len() >= COUNTS_MAX && !counts.contains_key(&key) {
            tracing::error!(plugin, "how a canary fares is not counted: too much waits to be written");
            return;
        }
        let known = counts.entry(key).or_insert_with(|| more.empty());
        if known.started_at < more.started_at {
            // What is left of the one before counts no more.
            *known = more.empty();
        }
        if known.started_at == more.started_at {
            known.live.add(&more.live);
            known.canary.add(&more.canary);
        }
    }

    fn take_one(&self, tenant: &TenantId, plugin: &str) -> Option<Counted> {
        let mut counts = self.0.lock().expect("no code panics while it holds this lock");
        counts.remove(&(tenant.clone(), plugin.to_owned()))
    }

    /// Everything that is not written down yet; it is the caller's from now on.
    pub(super) fn take(&self) -> Vec<(TenantId, String, Counted)> {
        let counts = std::mem::take(&mut *self.0.lock().expect("no code panics while it holds this lock"));
        counts.into_iter().map(|((tenant, plugin), counted)| (tenant, plugin, counted)).collect()
    }
}

/// Who refuses a person has answered; who refuses events has not handled them.
pub(super) fn is_failure(point: Point, failure: Option<&Failure>) -> bool {
    match failure {
        Some(Failure::Stopped { .. }) => true,
        Some(Failure::Refused(_)) => point == Point::Events,
        Some(Failure::Rejected(_) | Failure::Host(_) | Failure::Stale) | None => false,
    }
}

impl PluginHost {
    /// The version of a plugin that a record meets.
    pub(super) async fn version_for(&self, live: &Arc<Enabled>, record: &Subject) -> Result<Arc<Enabled>> {
        let Some(canary) = &live.canary else { return Ok(Arc::clone(live)) };
        let customer = match record {
            Subject::Customer(id) => Some(id.clone()),
            Subject::Order(id) => {
                let mut reader = self.core()?.db.read(&live.tenant).await?;
                canaries::customer_of(&mut reader, &live.tenant, id).await?
            }
            Subject::Tenant => None,
        };
        let takes = match customer {
            Some(id) => self.takes(live, canary, &[Subject::Customer(id)]).await?,
            None => vec![false],
        };
        Ok(Arc::clone(if takes == [true] { &canary.enabled } else { live }))
    }

    /// The version whose hook sees a save. A customer that is new is where it will be.
    pub(super) async fn version_for_save(&self, live: &Arc<Enabled>, save: &Save) -> Result<Arc<Enabled>> {
        let Some(canary) = &live.canary else { return Ok(Arc::clone(live)) };
        let text = |record: &Value, name: &str| record[name].as_str().map(str::to_owned);
        let (customer, is_new) = match save.entity {
            HookedEntity::Customer => (text(&save.after, "id"), save.before.is_none()),
            HookedEntity::Order => (text(&save.after, "customer_id"), false),
        };
        let Some(customer) = customer else { return Ok(Arc::clone(live)) };
        let takes = if is_new {
            let path = match text(&save.after, "org_unit_id") {
                Some(unit) => {
                    let mut reader = self.core()?.db.read(&live.tenant).await?;
                    canaries::unit_path(&mut reader, &live.tenant, &unit).await?
                }
                None => None,
            };
            canary.share.takes(&live.plugin, &customer, path.as_deref())
        } else {
            let subject = Subject::Customer(CustomerId::from_stored(customer));
            self.takes(live, canary, &[subject]).await? == [true]
        };
        Ok(Arc::clone(if takes { &canary.enabled } else { live }))
    }

    /// The version that answers a request to one of the plugin's endpoints: that of the customer or order
    /// which the path names, or else of the person or token that asks.
    pub(super) async fn version_for_request(
        &self,
        live: &Arc<Enabled>,
        actor: &Actor,
        path: &[String],
    ) -> Result<Arc<Enabled>> {
        let Some(canary) = &live.canary else { return Ok(Arc::clone(live)) };
        if let Some(record) = path.iter().find_map(|segment| record_of(segment)) {
            return self.version_for(live, &record).await;
        }
        let unit = actor.org_unit.as_ref().map(|unit| unit.path.as_str());
        let takes = canary.share.takes(&live.plugin, actor.principal.id(), unit);
        Ok(Arc::clone(if takes { &canary.enabled } else { live }))
    }

    /// Which of these subjects a canary takes.
    pub(super) async fn takes(
        &self,
        live: &Enabled,
        canary: &Canary,
        subjects: &[Subject],
    ) -> Result<Vec<bool>> {
        let mut paths = HashMap::new();
        if matches!(canary.share, Share::OrgUnits(_)) {
            let customers: Vec<&str> = subjects.iter().filter_map(customer_of).collect();
            let mut reader = self.core()?.db.read(&live.tenant).await?;
            let found = canaries::unit_paths(&mut reader, &live.tenant, &customers).await?;
            paths.extend(found.into_iter().map(|(customer, path)| (customer.to_string(), path)));
        }
        let takes = |subject| {
            customer_of(subject).is_some_and(|customer| {
                let path = paths.get(customer).map(String::as_str);
                canary.share.takes(&live.plugin, customer, path)
            })
        };
        Ok(subjects.iter().map(takes).collect())
    }

    /// Which subjects of a plugin's events meet its canary.
    pub(super) async fn taken_by_canary(
        &self,
        tenant: &TenantId,
        plugin: &str,
        subjects: &[Subject],
    ) -> Result<Vec<bool>> {
        let live = self.registry.find(tenant, plugin).await?;
        match live.as_ref().and_then(|live| Some((live, live.canary.as_ref()?))) {
            Some((live, canary)) => self.takes(live, canary, subjects).await,
            None => Ok(vec![false; subjects.len()]),
        }
    }

    /// Writes down at once what is known of a canary that has failed. If it cannot be written, it is counted
    /// on.
    pub(super) async fn report_failure(&self, canary: &Enabled, reason: &str, is_broken: bool) {
        let Ok(core) = self.core() else { return };
        let Enabled { tenant, plugin, .. } = canary;
        let Some(mut counted) = self.canary_counts.take_one(tenant, plugin) else { return };
        counted.last_error = Some(clean(reason, REASON_BYTES_MAX));
        match canary::count(&core, (tenant, plugin), counted.clone(), is_broken).await {
            Ok(true) => {}
            Ok(false) => self.registry.forget(tenant).await,
            Err(error) => {
                tracing::warn!(%error, %plugin, "how a canary fares is not written down; the next turn will");
                self.canary_counts.add(tenant, plugin, &counted);
            }
        }
    }

    /// Why a version cannot work on the data of the enabled one as it is. Its migration is called once, and
    /// what it would write is discarded.
    pub(super) async fn try_migration(&self, actor: &Actor, switch: Switch) -> Result<Option<String>> {
        let Some(from) = switch.from.clone() else { return Ok(None) };
        let enabled = Arc::new(self.as_switched(actor, switch).await?);
        let loaded = self.registry.loaded(&enabled).await?;
        if loaded.lifecycle.is_none() {
            return Ok(None);
        }
        let mut beginning = self.begin(&enabled, plugin_actor(&enabled, None), Point::Lifecycle)?;
        beginning.is_shadow = true;
        beginning.keep = None;
        let slot = self.sandbox.slot(&enabled).await?;
        let started = Instant::now();
        let call = Call::Migrate { from, cursor: None };
        let (mut invocation, outcome) =
            Box::pin(invoke(&loaded, Invocation::new(&beginning, 1), &call)).await;
        drop(slot);
        invocation.took(started.elapsed());
        self.meter.count_as(METERED_AS, &invocation, outcome.is_err());
        let version = &enabled.package_version;
        match outcome {
            Ok(answer) => {
                let is_done = answer.into_cursor().flatten().is_none();
                let is_idle = is_done && Told::of(&invocation.buffer).is_empty();
                Ok((!is_idle).then(|| format!("{version} migrates what is there")))
            }
            Err(Failure::Host(error)) => Err(error),
            Err(Failure::Stale) => Err(Error::unavailable("the plugin's data is changing")),
            Err(failure) => Ok(Some(format!("the migration of {version} fails: {}", reason_of(&failure)))),
        }
    }
}

/// The customer or order whose id this is.
fn record_of(segment: &str) -> Option<Subject> {
    let customer = segment.parse().ok().map(Subject::Customer);
    customer.or_else(|| segment.parse().ok().map(Subject::Order))
}

fn customer_of(subject: &Subject) -> Option<&str> {
    match subject {
        Subject::Customer(id) => Some(id.as_str()),
        Subject::Order(_) | Subject::Tenant => None,
    }
}
