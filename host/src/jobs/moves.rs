//! Goes on with moves of plugins' data that a server has left, or of which an attempt has failed.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::ops::Core;
use crate::ops::plugins::moves;

/// How often moves are looked for that nobody is at.
const INTERVAL: Duration = Duration::from_secs(10);

/// Looks until `shutdown` is cancelled. A move that is under way then is left, and another server, or this
/// one when it is back, goes on with it.
pub async fn run(core: Arc<Core>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let worked = tokio::select! {
            () = shutdown.cancelled() => return,
            worked = moves::go_on(&core) => worked,
        };
        if let Err(error) = worked {
            tracing::warn!(?error, "moves of plugins' data cannot be looked for; the next turn will");
        }
    }
}
