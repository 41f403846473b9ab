//! Keeps, every few seconds, what was recorded of plugins' runs on this server.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::ops::Core;
use crate::ops::plugins::recordings;

/// How long a recording waits at most, and so how much a server that is killed may lose.
const INTERVAL: Duration = Duration::from_secs(2);

/// Keeps until `shutdown` is cancelled, and then once more.
pub async fn run(core: Arc<Core>, shutdown: CancellationToken) {
    loop {
        let goes_on = tokio::select! {
            () = shutdown.cancelled() => false,
            () = tokio::time::sleep(INTERVAL) => true,
        };
        if let Err(error) = recordings::write_down(&core).await {
            tracing::warn!(?error, "recordings of plugins' runs were not kept");
        }
        if !goes_on {
            return;
        }
    }
}
