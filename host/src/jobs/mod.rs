//! Background work: loops around a public `run_once()`, which tests call themselves.
//!
//! A loop holds no state that matters: whatever it was doing when the server
//! ended is found again in the database.

pub mod backfill;
pub mod backoff;
pub mod dispatch;
pub mod imports;
pub mod moves;
pub mod plugins;
pub mod recordings;
pub mod retention;
pub mod rounds;
pub mod schedules;
pub mod shadows;
pub mod usage;
pub mod webhooks;

use std::sync::Arc;

use crate::app::App;
use crate::db::feed;
use crate::domain::webhook::CONSUMER_KIND;
use crate::error::Result;
use crate::ops::Core;

/// Prepares the database for this server's events and starts every loop; they end with the app.
///
/// # Errors
/// Those of the database.
pub async fn start(app: &App, policy: retention::Policy) -> Result<()> {
    adopt_cluster(&app.core).await?;
    let shutdown = app.shutdown_token();
    let consumers = consumers(&app.core);
    app.spawn(dispatch::Dispatcher::new(Arc::clone(&app.core), consumers, shutdown.clone()).run());
    app.spawn(backfill::Backfiller::new(Arc::clone(&app.core), shutdown.clone()).run());
    app.spawn(schedules::Runner::new(Arc::clone(&app.core), shutdown.clone()).run());
    for _ in 0..imports::LOOPS {
        app.spawn(imports::run(Arc::clone(&app.core), shutdown.clone()));
    }
    app.spawn(recordings::run(Arc::clone(&app.core), shutdown.clone()));
    app.spawn(shadows::run(Arc::clone(&app.core), shutdown.clone()));
    app.spawn(moves::run(Arc::clone(&app.core), shutdown.clone()));
    app.spawn(usage::run(Arc::clone(&app.core), shutdown.clone()));
    app.spawn(retention::Retention::new(Arc::clone(&app.core), policy, shutdown).run());
    Ok(())
}

/// Everybody whom a server delivers events to.
fn consumers(core: &Arc<Core>) -> dispatch::Consumers {
    let plugins: Arc<dyn dispatch::Consumer> = Arc::new(plugins::PluginConsumer::new(Arc::clone(core)));
    let webhooks: Arc<dyn dispatch::Consumer> = Arc::new(webhooks::WebhookConsumer::new(Arc::clone(core)));
    dispatch::Consumers::from([("plugin", plugins), (CONSUMER_KIND, webhooks)])
}

/// Puts new positions of the feed above the old ones if the database was restored
/// into another PostgreSQL cluster.
///
/// # Errors
/// Those of the database.
pub async fn adopt_cluster(core: &Core) -> Result<()> {
    if core.db.write_host((), |tx, ()| Box::pin(feed::adopt_cluster(tx))).await? {
        tracing::info!("the database has moved to another cluster; the change feed goes on");
    }
    Ok(())
}
