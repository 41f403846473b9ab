//! Wiring: builds the parts of a server and owns its background tasks.

use std::future::Future;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::Result;
use crate::jobs::{self, retention};
use crate::ops::Core;
use crate::ops::plugins::packages;

/// A server without its listener; tests build the same one.
#[derive(Clone)]
pub struct App {
    /// What every use case works with.
    pub core: Arc<Core>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl App {
    /// Wires a server around `core`.
    #[must_use]
    pub fn new(core: Arc<Core>) -> Self {
        Self { core, tasks: TaskTracker::new(), shutdown: CancellationToken::new() }
    }

    /// Installs the plugins that come with the server, and starts the background work.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn start(&self, retention: retention::Policy) -> Result<()> {
        packages::install_bundled(&self.core).await?;
        jobs::start(self, retention).await
    }

    /// Starts a background task that a shutdown waits for; it ends itself when
    /// [`App::shutdown_token`] is cancelled.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(task);
    }

    /// Cancelled when the server stops.
    #[must_use]
    pub fn shutdown_token(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Tells every background task to end and waits until all have.
    pub async fn shutdown(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
