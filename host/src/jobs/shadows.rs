//! Calls shadows of plugins with the saves that wait for them on this server.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::ops::Core;

/// How long a save waits at most while the shadows keep up.
const INTERVAL: Duration = Duration::from_millis(500);

/// Calls until `shutdown` is cancelled; what waits then is forgotten, as a save itself never depends on it.
pub async fn run(core: Arc<Core>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let called = tokio::select! {
            () = shutdown.cancelled() => return,
            called = run_once(&core) => called,
        };
        if let Err(error) = called {
            tracing::warn!(?error, "shadows of plugins were not called with saves");
        }
    }
}

/// Calls them with all that waits; how many saves there were.
///
/// # Errors
/// `Unavailable` while the server stops.
pub async fn run_once(core: &Core) -> Result<u64> {
    Ok(core.plugins()?.show_shadows().await)
}
