//! Webhooks as consumers of events: each event is a request of its own, several at once.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::backoff;
use super::dispatch::{Consumer, Lane, Manner, Pace};
use crate::error::{Error, Result};
use crate::ops::Core;
use crate::ops::events::{Acknowledgement, DeliveredEvent};
use crate::ops::webhooks;

/// Requests to one webhook at once, as long as it answers soon.
const REQUESTS_AT_ONCE_MAX: u32 = 8;
/// Webhooks that one server tells at the same time.
const LANES_MAX: usize = 128;

/// The consumers named `webhook:<id>`.
pub struct WebhookConsumer(Arc<Core>);

impl WebhookConsumer {
    /// Tells the webhooks of `core`.
    #[must_use]
    pub fn new(core: Arc<Core>) -> Self {
        Self(core)
    }
}

impl Consumer for WebhookConsumer {
    fn manner(&self) -> Manner {
        Manner {
            pace: Pace::Singles { at_once_max: REQUESTS_AT_ONCE_MAX },
            retries: backoff::WEBHOOK,
            lanes_max: LANES_MAX,
        }
    }

    fn deliver<'a>(
        &'a self,
        lane: &'a Lane,
        batch: Vec<DeliveredEvent>,
        acknowledgement: Acknowledgement,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let [event] = batch.as_slice() else {
                return Err(Error::internal("a webhook is told of one event at a time"));
            };
            let id = lane.name().parse().map_err(Error::internal)?;
            webhooks::deliver(&self.0, &lane.tenant, &id, event, &acknowledgement).await
        })
    }
}
