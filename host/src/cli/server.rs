//! Serving: opens what the settings name, listens, and stops in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::logs;
use super::output::{Failure, Outcome, say};
use crate::app::App;
use crate::clock::SystemClock;
use crate::config::{Ceilings, Config, DatabaseUrl, Outside, PluginTrust, Secret};
use crate::db::{self, Db};
use crate::domain::manifest::BudgetWish;
use crate::domain::trust::TrustPolicy;
use crate::files::{self, ARTEFACT_KEY_BYTES, DataFolder};
use crate::http;
use crate::ids::RandomIds;
use crate::jobs::retention;
use crate::metrics::Metrics;
use crate::ops::Core;
use crate::outbound::{self, Outbound, Reach, read_authorities};
use crate::plugin::{Artifacts, PluginHost, Sandbox};
use crate::vault::{self, Vault};

/// Connections at once to the listener of metrics.
const METRICS_CONNECTIONS_MAX: u32 = 16;

/// `hospes serve`.
pub(super) async fn serve(config: Config) -> Outcome {
    logs::start(&config);
    let stop = stop_signal()?;
    let server = Server::open(&config).await?;
    let listening = server.listen().await?;
    say(format_args!("listening on {}", listening.address()))?;
    listening.run(stop).await
}

/// An opened server that does not listen yet.
pub(super) struct Server {
    pub(super) app: App,
    config: Config,
    metrics: Metrics,
}

impl Server {
    /// Opens the data folder and the database, and starts the background loops.
    pub(super) async fn open(config: &Config) -> Outcome<Self> {
        let metrics = Metrics::start();
        let core = open_server_core(config).await?;
        connect_plugins(&core, config)?;
        let app = App::new(core);
        app.start(retention::Policy { event_days: config.event_days }).await?;
        Ok(Self { app, config: config.clone(), metrics })
    }

    /// Takes the addresses, so that a client may connect from now on.
    pub(super) async fn listen(self) -> Outcome<Listening> {
        let main = bind(self.config.listen, "listen").await?;
        let metrics = match self.config.metrics_listen {
            Some(address) => Some(bind(address, "metrics.listen").await?),
            None => None,
        };
        Ok(Listening { server: self, main, metrics })
    }
}

/// A server that listens.
pub(super) struct Listening {
    server: Server,
    main: TcpListener,
    metrics: Option<TcpListener>,
}

impl Listening {
    /// The address for a browser or a client on this machine.
    pub(super) fn address(&self) -> String {
        match self.main.local_addr() {
            Ok(address) => format!("http://{}", reachable(address)),
            Err(_) => format!("http://{}", self.server.config.listen),
        }
    }

    /// Answers requests until `stop`, then lets them finish, ends the loops and closes the database.
    pub(super) async fn run(self, stop: CancellationToken) -> Outcome {
        let Self { server: Server { app, config, metrics }, main, metrics: metrics_listener } = self;
        let grace = Duration::from_secs(u64::from(config.shutdown_grace_s));
        let state = http::HttpState::new(Arc::clone(&app.core), options(&config), app.shutdown_token());
        let mut router = http::router(state);
        if let Some(token) = &config.metrics_token {
            router = router.merge(http::metrics_with_token(metrics.clone(), token.expose()));
        }
        if let Some(listener) = metrics_listener {
            let stop = app.shutdown_token();
            let router = http::metrics_router(metrics.clone());
            let bounds = connections(&config, METRICS_CONNECTIONS_MAX);
            app.spawn(async move {
                http::serve(listener, router, bounds, stop, Duration::ZERO).await;
            });
        }
        app.spawn(tidy_metrics(metrics, app.shutdown_token()));
        // Streams end themselves when the app stops, which is as soon as the signal comes.
        let stopping = app.shutdown_token();
        let ends = stop.clone();
        app.spawn(async move {
            tokio::select! {
                () = ends.cancelled() => stopping.cancel(),
                () = stopping.cancelled() => {}
            }
        });
        let bounds = connections(&config, config.limits.connections_max);
        match http::serve(main, router, bounds, stop, grace).await {
            http::Stopped::Cleanly => tracing::info!("every request was answered"),
            http::Stopped::CutOff => {
                tracing::warn!(
                    grace_s = config.shutdown_grace_s,
                    "requests were cut off after the grace time"
                );
            }
        }
        app.shutdown().await;
        app.core.db.close().await;
        tracing::info!("stopped");
        Ok(())
    }
}

async fn tidy_metrics(metrics: Metrics, stop: CancellationToken) {
    while tokio::time::timeout(Metrics::TIDY_EVERY, stop.cancelled()).await.is_err() {
        metrics.tidy();
    }
}

fn connections(config: &Config, max: u32) -> http::Connections {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    http::Connections { max, head_time_max: Duration::from_secs(u64::from(config.limits.head_s)) }
}

fn options(config: &Config) -> http::Options {
    http::Options {
        body_bytes_max: config.limits.body_bytes_max,
        principal_limit: http::RateLimit::new(config.limits.token_requests_per_minute, 60),
        tenant_limit: http::RateLimit::new(config.limits.tenant_requests_per_minute, 60),
        secure: config.secure_cookies,
        trust_forwarded_for: config.trust_forwarded_for,
        ..http::Options::default()
    }
}

async fn bind(address: SocketAddr, setting: &str) -> Outcome<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::failed(format!(
            "cannot listen on {address}: {error}; choose another with --{}",
            setting.replace('.', "-")
        ))
    })
}

/// An address that a client can connect to: "every interface" is not one.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// The core of a server: its database opened, and no other server's.
async fn open_server_core(config: &Config) -> Outcome<Arc<Core>> {
    make_folder(config)?;
    core(config, Db::open(&database(config)).await?)
}

/// The core of one command, which may run beside a server.
pub(super) async fn open_command_core(config: &Config) -> Outcome<Arc<Core>> {
    make_folder(config)?;
    core(config, Db::open_beside(&database(config)).await?)
}

fn make_folder(config: &Config) -> Outcome {
    if matches!(config.database, DatabaseUrl::Sqlite(_)) {
        DataFolder::open(&config.data)?;
    }
    Ok(())
}

fn ceilings(config: &Ceilings) -> BudgetWish {
    let Ceilings { fuel, memory_bytes, calls, rows, bytes, outbound_requests, log_lines } = *config;
    BudgetWish { fuel, memory_bytes, calls, rows, bytes, outbound_requests, log_lines }
}

fn core(config: &Config, db: Db) -> Outcome<Arc<Core>> {
    let mut core = Core::new(db, Arc::new(SystemClock), Arc::new(RandomIds::default()));
    core.outbound = outbound(&config.outside)?;
    core.vault = vault(&config.outside);
    core.ceilings = ceilings(&config.ceilings);
    core.public_url.clone_from(&config.public_url);
    core.trust = match config.plugins_trust {
        PluginTrust::KnownPublishers => TrustPolicy::KnownPublishers,
        PluginTrust::SignedOnly => TrustPolicy::SignedOnly,
        PluginTrust::UnsignedAllowed => TrustPolicy::UnsignedAllowed,
    };
    Ok(Arc::new(core))
}

fn outbound(outside: &Outside) -> Outcome<Outbound> {
    let authorities = match &outside.ca_file {
        Some(path) => {
            let read = read_authorities(&files::read(path, files::CONFIG_BYTES_MAX)?);
            read.map_err(|error| {
                Failure::failed(format!("`outbound.ca_file`, `{}`: {error}", path.display()))
            })?
        }
        None => Vec::new(),
    };
    let reach = if outside.allow_private { Reach::Private } else { Reach::Public };
    Ok(Outbound::new(outbound::Options { reach, authorities, ..outbound::Options::default() }))
}

fn vault(outside: &Outside) -> Vault {
    let key = |secret: &Secret| vault::parse_key(secret.expose());
    match outside.secrets_key.as_ref().and_then(key) {
        Some(current) => Vault::new(current, outside.previous_secrets_key.as_ref().and_then(key)),
        None => Vault::default(),
    }
}

/// Gives a core its plugins, which are compiled into the data folder's cache, and their files.
pub(super) fn connect_plugins(core: &Arc<Core>, config: &Config) -> Outcome {
    let folder = DataFolder::open(&config.data)?;
    core.blobs.keep_in(files::plugin_files(&config.files)?);
    let mut fresh = [0; ARTEFACT_KEY_BYTES];
    core.ids.fill_secret(&mut fresh);
    let artifacts = Artifacts::new(Some(folder.artefacts()?), folder.artefact_key(fresh)?);
    PluginHost::connect(core, Arc::new(Sandbox::new()?), artifacts);
    Ok(())
}

/// The server's database as `db` wants it named.
pub(super) fn database(config: &Config) -> db::Config {
    match &config.database {
        DatabaseUrl::Sqlite(file) => db::Config::Sqlite { file: file.clone() },
        DatabaseUrl::Postgres(url) => {
            let mut postgres = db::PostgresConfig::new(url.expose());
            postgres.allow_unsafe_durability = config.allow_unsafe_durability;
            db::Config::Postgres(postgres)
        }
    }
}

/// Cancelled when the process is told to stop, by SIGTERM or ctrl-c.
pub(super) fn stop_signal() -> Outcome<CancellationToken> {
    let stop = CancellationToken::new();
    let told = stop.clone();
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    #[expect(clippy::disallowed_methods, reason = "there is no app yet that could wait for it")]
    tokio::spawn(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        #[cfg(not(unix))]
        drop(tokio::signal::ctrl_c().await);
        told.cancel();
    });
    Ok(stop)
}
