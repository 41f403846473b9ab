//! Events and jobs: what a plugin does of its own accord.

use std::sync::Arc;

use hospes_bindings::exports::hospes::plugin::events as contract;

use super::PluginHost;
use super::call::{Answer, Call};
use super::commit::stale;
use super::gate::Refused;
use super::host::subject_of_event;
use super::registry::Enabled;
use super::run::{Effects, plugin_actor};
use crate::domain::actor::{Actor, Cause};
use crate::domain::contract::event_grant;
use crate::domain::event::Subject;
use crate::domain::ids::TenantId;
use crate::domain::point::Point;
use crate::error::{Error, Result};
use crate::ops::plugins::{Ack, Delivered, JobAck, JobChunk, PluginEvent};

impl PluginHost {
    pub(super) async fn handle_events(
        &self,
        tenant: &TenantId,
        plugin: &str,
        events: &[PluginEvent],
        ack: Ack,
    ) -> Result<Delivered> {
        let Some(enabled) = self.registry.find(tenant, plugin).await? else {
            return Ok(Delivered::NotEnabled);
        };
        let enabled = Box::pin(self.version_of_all(enabled, events)).await?;
        let (seen, unseen): (Vec<_>, Vec<_>) =
            events.iter().partition(|event| listens(&enabled, event) && may_see(&enabled, event));
        self.write_denials(&enabled, unseen.into_iter().filter_map(|event| denied(&enabled, event))).await;
        let Some(deepest) = seen.iter().max_by_key(|event| event.depth) else {
            // Nothing that the grants let it see: acknowledged without a call.
            self.core()?.db.write(tenant, ack, |tx, ack| ack(tx)).await?;
            return Ok(Delivered::Committed(None));
        };
        let cause = Cause { event: deepest.id.clone(), depth: deepest.depth };
        let actor = plugin_actor(&enabled, Some(cause));
        let mut beginning = self.begin(&enabled, actor.clone(), Point::Events)?;
        beginning.items = u32::try_from(seen.len()).unwrap_or(u32::MAX);
        let call = Call::Handle(seen.into_iter().map(|seen| event(&enabled, &actor, seen)).collect());
        match self.shadow_of(&enabled)? {
            Some(shadow) => {
                let run = self.run_shadowed(beginning, call, Effects::with(ack), (&shadow, events));
                Box::pin(run).await?;
            }
            None => {
                self.run(beginning, call, Effects::with(ack)).await?;
            }
        }
        Ok(Delivered::Committed(None))
    }

    /// The version that all of these meet.
    async fn version_of_all(&self, live: Arc<Enabled>, events: &[PluginEvent]) -> Result<Arc<Enabled>> {
        let Some(canary) = &live.canary else { return Ok(live) };
        let subjects: Vec<Subject> = events.iter().map(|event| event.subject.clone()).collect();
        let takes = self.takes(&live, canary, &subjects).await?;
        if takes.iter().all(|takes| *takes) {
            return Ok(Arc::clone(&canary.enabled));
        }
        if takes.contains(&true) {
            // Whom it is for has changed since they were told apart: halves of them will be of one kind.
            return Err(stale("the share of the canary"));
        }
        Ok(live)
    }

    pub(super) async fn run_chunk(
        &self,
        tenant: &TenantId,
        plugin: &str,
        chunk: JobChunk,
        ack: JobAck,
    ) -> Result<Delivered> {
        let Some(enabled) = self.registry.find(tenant, plugin).await? else {
            return Ok(Delivered::NotEnabled);
        };
        let mut beginning = self.begin(&enabled, plugin_actor(&enabled, None), Point::Jobs)?;
        beginning.attempt = chunk.attempt.saturating_sub(1);
        let call = Call::Job { job: chunk.job, due_at: chunk.due_at.as_micros(), cursor: chunk.cursor };
        let effects = Effects::Commit(Arc::new(move |answer| Some(acknowledge(&ack, answer))));
        let answer = self.run(beginning, call, effects).await?.into_cursor();
        let cursor =
            answer.ok_or_else(|| Error::internal("a job answered with something else than a cursor"))?;
        Ok(Delivered::Committed(cursor))
    }
}

fn acknowledge(ack: &JobAck, answer: &Answer) -> Ack {
    let cursor: Option<Arc<str>> = answer.next_cursor().map(Arc::from);
    let ack = Arc::clone(ack);
    Arc::new(move |tx| {
        let (ack, cursor) = (Arc::clone(&ack), cursor.clone());
        Box::pin(async move { ack(tx, cursor.as_deref()).await })
    })
}

/// The lane has the events of the enabled version; a newer one may listen to fewer.
fn listens(enabled: &Enabled, event: &PluginEvent) -> bool {
    enabled.canary_since().is_none() || enabled.facts.manifest.events.subscribe.contains(&event.name)
}

/// A grant may have been withdrawn or narrowed since the plugin subscribed.
fn may_see(enabled: &Enabled, event: &PluginEvent) -> bool {
    let Some(grant) = event_grant(&event.name) else { return false };
    if grant.entities().is_empty() {
        return enabled.grants.has(grant);
    }
    event.body["category"].as_str().is_some_and(|category| enabled.opens_entity(grant, category))
}

/// The refusal of an event for want of its grant. That one was narrowed to other kinds is no refusal.
fn denied(enabled: &Enabled, event: &PluginEvent) -> Option<(Refused, u64)> {
    let grant = event_grant(&event.name).filter(|grant| !enabled.grants.has(*grant))?;
    Some(((grant, "events.handle"), 1))
}

/// Those of the events that the grants let a plugin see, as they show them.
pub(super) fn as_seen_by<'a>(
    enabled: &Enabled,
    actor: &Actor,
    events: impl Iterator<Item = &'a PluginEvent>,
) -> Vec<contract::Event> {
    events.filter(|event| may_see(enabled, event)).map(|seen| event(enabled, actor, seen)).collect()
}

fn event(enabled: &Enabled, actor: &Actor, event: &PluginEvent) -> contract::Event {
    let sight = event_grant(&event.name).and_then(|grant| enabled.sight(grant, actor));
    contract::Event {
        id: event.id.to_string(),
        name: event.name.clone(),
        subject: subject_of_event(&event.subject),
        occurred_at: event.occurred_at.as_micros(),
        backfill: event.backfill,
        body: super::host::as_seen(sight, &event.body),
    }
}
