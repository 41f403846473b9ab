//! Events and jobs: what a plugin does of its own accord.

use std::sync::Arc;

use hospes_bindings::exports::hospes::plugin::events as contract;

use super::PluginHost;
use super::call::{Answer, Call};
use super::host::subject_of_event;
use super::registry::Enabled;
use super::run::{Effects, plugin_actor};
use crate::domain::actor::Cause;
use crate::domain::contract::event_grant;
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
        let seen: Vec<&PluginEvent> = events.iter().filter(|event| may_see(&enabled, event)).collect();
        let Some(deepest) = seen.iter().max_by_key(|event| event.depth) else {
            // Nothing that the grants let it see: acknowledged without a call.
            self.core()?.db.write(tenant, ack, |tx, ack| ack(tx)).await?;
            return Ok(Delivered::Committed(None));
        };
        let cause = Cause { event: deepest.id.clone(), depth: deepest.depth };
        let mut beginning = self.begin(&enabled, plugin_actor(&enabled, Some(cause)), Point::Events)?;
        beginning.items = u32::try_from(seen.len()).unwrap_or(u32::MAX);
        let call = Call::Handle(seen.into_iter().map(event).collect());
        self.run(beginning, call, Effects::with(ack)).await?;
        Ok(Delivered::Committed(None))
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

/// A grant may have been withdrawn since the plugin subscribed.
fn may_see(enabled: &Enabled, event: &PluginEvent) -> bool {
    event_grant(&event.name).is_some_and(|grant| enabled.grants.has(grant))
}

fn event(event: &PluginEvent) -> contract::Event {
    contract::Event {
        id: event.id.to_string(),
        name: event.name.clone(),
        subject: subject_of_event(&event.subject),
        occurred_at: event.occurred_at.as_micros(),
        backfill: event.backfill,
        body: event.body.to_string(),
    }
}
