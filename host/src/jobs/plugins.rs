//! Plugins as consumers of events: hands a lane's batches to the plugin host.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::dispatch::{Consumer, Lane};
use crate::domain::event::Subject;
use crate::error::{Error, Result};
use crate::ops::Core;
use crate::ops::events::{Acknowledgement, DeliveredEvent};
use crate::ops::plugins::{Ack, Delivered, PluginEvent};

/// The consumers named `plugin:<name>`.
pub struct PluginConsumer(Arc<Core>);

impl PluginConsumer {
    /// Delivers to the plugins of `core`.
    #[must_use]
    pub fn new(core: Arc<Core>) -> Self {
        Self(core)
    }
}

impl Consumer for PluginConsumer {
    fn apart<'a>(&'a self, lane: &'a Lane, subjects: Vec<Subject>) -> BoxFuture<'a, Result<Vec<bool>>> {
        Box::pin(async move { self.0.plugins()?.canary_takes(&lane.tenant, lane.name(), &subjects).await })
    }

    fn deliver<'a>(
        &'a self,
        lane: &'a Lane,
        batch: Vec<DeliveredEvent>,
        acknowledgement: Acknowledgement,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let events: Vec<PluginEvent> = batch.into_iter().map(plugin_event).collect();
            let plugins = self.0.plugins()?;
            match plugins.deliver(&lane.tenant, lane.name(), &events, ack_of(acknowledgement)).await? {
                Delivered::Committed(_) => Ok(()),
                // The lane goes away in the transaction that disables the plugin; this one has seen it before.
                Delivered::NotEnabled => Err(Error::unavailable("the plugin is not enabled")),
            }
        })
    }
}

fn plugin_event(event: DeliveredEvent) -> PluginEvent {
    let DeliveredEvent { id, name, subject, occurred_at, depth, attempts: _, backfill, body } = event;
    PluginEvent { id, name, subject, occurred_at, depth, backfill, body }
}

fn ack_of(acknowledgement: Acknowledgement) -> Ack {
    Arc::new(move |tx| {
        let acknowledgement = acknowledgement.clone();
        Box::pin(async move { acknowledgement.apply(tx).await })
    })
}
