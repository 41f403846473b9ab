//! Writes down, every few seconds, what plugins have used on this server, and how canaries fare.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::ops::Core;
use crate::ops::plugins::{canary, usage};

/// How much a server that is killed may forget.
const INTERVAL: Duration = Duration::from_secs(10);

/// Writes until `shutdown` is cancelled, and then once more.
pub async fn run(core: Arc<Core>, shutdown: CancellationToken) {
    loop {
        let goes_on = tokio::select! {
            () = shutdown.cancelled() => false,
            () = tokio::time::sleep(INTERVAL) => true,
        };
        if let Err(error) = usage::write_down(&core).await {
            tracing::warn!(?error, "what plugins have used was not written down; the next turn will");
        }
        if let Err(error) = canary::write_down(&core).await {
            tracing::warn!(?error, "how canaries fare was not written down; the next turn will");
        }
        if !goes_on {
            return;
        }
    }
}
