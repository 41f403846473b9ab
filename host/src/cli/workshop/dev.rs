//! `hospes plugin dev`: a local host that takes every edit of a plugin.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hospes_plugin_build::Speed;
use tokio_util::sync::CancellationToken;

use super::super::logs;
use super::super::output::{Failure, Outcome, say};
use super::super::server::{Server, stop_signal};
use super::build::Crate;
use super::{make_tenant, make_token};
use crate::clock::Timestamp;
use crate::config::{self, Config, Sources};
use crate::domain::actor::Actor;
use crate::domain::customer::{CustomerKind, NewCustomer};
use crate::domain::order::NewOrder;
use crate::domain::parameters::GrantRequest;
use crate::error::Error;
use crate::files::{self, DataFolder, TemporaryFolder};
use crate::ids::{Ids as _, RandomIds};
use crate::ops::plugins::enablement::{self, NewEnablement};
use crate::ops::plugins::packages;
use crate::ops::{Core, customers, orders, tenants};

const SLUG: &str = "dev";
/// How often the crate is looked at for an edit.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const CUSTOMERS: [&str; 3] = ["Ada Lovelace", "Lin Xiaoman", "Grace Hopper"];

/// Serves until the signal to stop.
pub(super) async fn run(folder: &Path, data: Option<PathBuf>, listen: SocketAddr) -> Outcome {
    let stop = stop_signal()?;
    let source = Arc::new(Crate::find(folder)?);
    let temporary = match data {
        Some(_) => None,
        None => Some(TemporaryFolder::create(RandomIds::default().next(Timestamp::default()))?),
    };
    let folder = data.as_deref().or_else(|| temporary.as_ref().map(|one| one.folder().path()));
    let folder = folder.ok_or_else(|| Failure::failed("the host has no folder"))?;
    let config = settings(folder, listen)?;
    logs::start(&config);
    DataFolder::open(folder)?;
    let server = Server::open(&config).await?;
    let core = Arc::clone(&server.app.core);
    let local = Local::prepare(Arc::clone(&core), source).await?;
    let listening = server.listen().await?;
    local.tell(&listening.address()).await?;
    let (ends, edits) = (stop.clone(), listening.run(stop));
    // The host ends when it is told to; the watcher has nothing to finish.
    tokio::select! {
        ended = edits => ended,
        failed = local.watch(&ends) => failed,
    }
}

/// The settings of a local host: nothing of the machine's own server.
fn settings(folder: &Path, listen: SocketAddr) -> Outcome<Config> {
    let flags = BTreeMap::from([
        ("listen".to_owned(), listen.to_string()),
        ("data".to_owned(), folder.display().to_string()),
        ("log.filter".to_owned(), "warn".to_owned()),
        // An edit is signed by nobody.
        ("plugins.trust".to_owned(), "unsigned_allowed".to_owned()),
        ("shutdown_grace_s".to_owned(), "5".to_owned()),
    ]);
    Ok(config::load(&Sources { flags, ..Sources::default() })?)
}

/// A plugin's crate and the tenant that has it.
struct Local {
    core: Arc<Core>,
    source: Arc<Crate>,
    actor: Actor,
    token: String,
}

impl Local {
    async fn prepare(core: Arc<Core>, source: Arc<Crate>) -> Outcome<Self> {
        let actor = match tenants::operator_of(&core, SLUG).await {
            Ok(actor) => actor,
            Err(Error::NotFound { .. }) => fill(&core).await?,
            Err(error) => return Err(error.into()),
        };
        let token = make_token(&core, &actor, SLUG).await?;
        Ok(Self { core, source, actor, token })
    }

    /// Says where the host is, and puts the plugin into it for the first time.
    async fn tell(&self, address: &str) -> Outcome {
        let token = &self.token;
        say(format_args!("serving {address} (the API's pages: {address}/docs), tenant {SLUG}"))?;
        say(format_args!("  token     {token}"))?;
        say(format_args!("  curl -H 'Authorization: Bearer {token}' {address}/api/v1/customers"))?;
        say("ctrl-c stops it")?;
        self.swap().await
    }

    /// Takes every edit until `stop`.
    async fn watch(&self, stop: &CancellationToken) -> Outcome {
        let mut seen = self.last_edit();
        while tokio::time::timeout(LOOK_EVERY, stop.cancelled()).await.is_err() {
            let now = self.last_edit();
            if now != seen {
                seen = now;
                self.swap().await?;
            }
        }
        std::future::pending().await
    }

    fn last_edit(&self) -> Option<SystemTime> {
        let parts = ["src", "plugin.toml", "Cargo.toml"];
        parts.iter().filter_map(|part| files::last_change(&self.source.folder.join(part))).max()
    }

    /// Compiles the crate and puts it in the place of what runs. A plugin that does not compile, or that
    /// the host refuses, is told of, and the last good one goes on.
    async fn swap(&self) -> Outcome {
        let started = Instant::now();
        let source = Arc::clone(&self.source);
        let compiled = tokio::task::spawn_blocking(move || source.compile(Speed::Quick)).await;
        let compiled = compiled.map_err(Failure::failed)?;
        let built = started.elapsed();
        let swapped = match compiled {
            Ok(component) => self.install(component).await,
            Err(failure) => Err(failure),
        };
        match swapped {
            Ok(version) => say(format_args!(
                "{} {version} is enabled with every grant, after {:.2} s ({:.2} s of it compiling)",
                self.source.name,
                started.elapsed().as_secs_f64(),
                built.as_secs_f64()
            )),
            Err(failure) => {
                failure.report();
                say("nothing is changed; waiting for the next edit")
            }
        }
    }

    async fn install(&self, component: Vec<u8>) -> Outcome<String> {
        let package = packages::install_edit(&self.core, component).await?;
        // All that this edit asks for; without a word the rights would stay those of the last one.
        let wanted = package.manifest.0.grants.iter().map(|wanted| GrantRequest::from(wanted.name));
        let (version, grants) = (Some(package.version), Some(wanted.collect()));
        let new = NewEnablement { version, grants, settings: None, backfill: false };
        let enabled = enablement::enable(&self.core, &self.actor, &package.name, new).await?;
        Ok(enabled.package_version)
    }
}

/// A tenant with a few customers, each with an order.
async fn fill(core: &Core) -> Outcome<Actor> {
    let actor = make_tenant(core, (SLUG, "Development")).await?;
    for name in CUSTOMERS {
        let customer =
            customers::create(core, &actor, NewCustomer::named(CustomerKind::Person, name)).await?;
        let order = serde_json::json!({
            "customer_id": customer.id, "status": "completed", "channel": "store", "ordered_at": core.now(),
            "lines": [{ "sku": "LAT", "name": "Latte", "class": "coffee", "quantity": 1,
                        "amount": { "amount_minor": 350, "currency": "USD" } }],
        });
        let order: NewOrder = serde_json::from_value(order).expect("it is written as the API takes it");
        orders::create(core, &actor, order).await?;
    }
    Ok(actor)
}
