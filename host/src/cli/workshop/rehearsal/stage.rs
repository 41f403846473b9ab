//! A host without a socket: production's core, plugin host, router and loops on an embedded
//! database that goes away, with a clock that stands still, and nobody beyond it but a script.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::protocol::{Enable, Order, Reply, StepOrder};
use super::script::Script;
use crate::app::App;
use crate::cli::output::Outcome;
use crate::cli::workshop::{make_tenant, make_token};
use crate::clock::{Clock as _, ManualClock, Timestamp};
use crate::db::plugins::Package;
use crate::db::{self, Db};
use crate::domain::actor::Actor;
use crate::domain::event::Subject;
use crate::domain::ids::{CustomerId, OrderId};
use crate::error::{Error, Result};
use crate::files::{ARTEFACT_KEY_BYTES, DataFolder, TemporaryFolder, plugin_files};
use crate::http::{Ask, Door, HttpState, Options, RateLimit, Told};
use crate::ids::{Ids as _, RandomIds};
use crate::jobs::rounds::{Report, Rounds};
use crate::ops::Core;
use crate::ops::plugins::functions::{self, FunctionRequest};
use crate::ops::plugins::packages;
use crate::ops::plugins::steps::{self, StepRequest};
use crate::outbound::Outbound;
use crate::plugin::{Artifacts, PluginHost, Sandbox};
use crate::vault::{KEY_BYTES, Vault};

/// When every test begins.
const BEGINNING: &str = "2026-03-01T08:00:00Z";
/// Requests of a test in a minute: its clock stands still, so the minute never ends.
const REQUESTS_MAX: u32 = 1_000_000;

/// The host of one test.
pub(super) struct Stage {
    clock: Arc<ManualClock>,
    core: Arc<Core>,
    app: App,
    rounds: Rounds,
    door: Door,
    token: String,
    /// Who does what no request does.
    owner: Actor,
    /// How often each step was called, by its type and key.
    attempts: Mutex<HashMap<(String, String), u32>>,
    package: Package,
    script: Arc<Script>,
    _folder: TemporaryFolder,
}

impl Stage {
    /// Opens a host with one tenant and installs the component.
    pub(super) async fn open(component: Vec<u8>, cache: Option<&Path>) -> Outcome<Self> {
        let ids = RandomIds::default();
        let folder = TemporaryFolder::create(ids.next(Timestamp::default()))?;
        let file = folder.folder().database_path();
        let db = Db::open(&db::Config::Sqlite { file }).await?;
        let beginning = Timestamp::parse(BEGINNING).expect("the beginning is a time");
        let clock = Arc::new(ManualClock::new(beginning));
        let script = Arc::new(Script::default());
        let mut core = Core::new(db, Arc::clone(&clock) as _, Arc::new(ids));
        core.outbound = Outbound::rehearsing(Arc::clone(&script) as _);
        // A test may keep credentials; they go away with everything else.
        let mut key = [0; KEY_BYTES];
        core.ids.fill_secret(&mut key);
        core.vault = Vault::new(key, None);
        let core = Arc::new(core);
        let artifacts = match cache {
            Some(cache) => artifacts(&DataFolder::open(cache)?, &core)?,
            None => artifacts(folder.folder(), &core)?,
        };
        core.blobs.keep_in(plugin_files(&folder.folder().path().join("files"))?);
        PluginHost::connect(&core, Arc::new(Sandbox::new()?), artifacts);
        let package = packages::install(&core, component).await?;
        let owner = make_tenant(&core, ("test", "Test")).await?;
        let token = make_token(&core, &owner, "test").await?;
        let app = App::new(Arc::clone(&core));
        let options = Options {
            principal_limit: RateLimit::new(REQUESTS_MAX, 60),
            tenant_limit: RateLimit::new(REQUESTS_MAX, 60),
            ..Options::default()
        };
        let door = Door::new(HttpState::new(Arc::clone(&core), options, app.shutdown_token()));
        let rounds = Rounds::new(Arc::clone(&core), app.shutdown_token());
        let attempts = Mutex::default();
        Ok(Self { clock, core, app, rounds, door, token, owner, attempts, package, script, _folder: folder })
    }

    /// What the test is told first.
    pub(super) fn ready(&self) -> Reply {
        let Package { name, version, .. } = &self.package;
        Reply::Ready { plugin: name.clone(), version: version.clone(), host: env!("CARGO_PKG_VERSION") }
    }

    /// Does what a test wants.
    pub(super) async fn obey(&self, order: Order) -> Outcome<Reply> {
        match order {
            Order::Ask(ask) => Ok(Reply::Told(self.ask(ask).await?)),
            Order::Enable(enable) => Ok(Reply::Told(self.enable(enable).await?)),
            Order::SetTime(time) => {
                self.clock.set(time);
                Ok(Reply::Now(self.clock.now()))
            }
            Order::Advance(seconds) => {
                self.clock.advance_seconds(i64::from(seconds));
                Ok(Reply::Now(self.clock.now()))
            }
            Order::Work => {
                let Report { dispatch, schedules, .. } = self.rounds.run().await?;
                Ok(Reply::Worked {
                    handled: dispatch.handled,
                    failed: dispatch.failed,
                    dead: dispatch.dead,
                    jobs: u64::from(schedules.finished),
                    jobs_failed: u64::from(schedules.failed),
                })
            }
            Order::Step(order) => Ok(Reply::Told(Told::of(self.step(order).await))),
            Order::Call { function, input } => Ok(Reply::Told(Told::of(self.call(function, input).await))),
            Order::Expect(expectation) => Ok(Reply::Expecting { scripts: self.script.expect(*expectation)? }),
            Order::Outstanding => Ok(Reply::Outstanding(self.script.outstanding())),
        }
    }

    /// What the plugin has sent since the last order that no script expects.
    pub(super) fn take_unscripted(&self) -> Vec<String> {
        self.script.take_unscripted()
    }

    /// Closes the database; its folder goes away with the stage.
    pub(super) async fn close(self) {
        self.app.shutdown().await;
        self.core.db.close().await;
    }

    async fn enable(&self, enable: Enable) -> Outcome<Told> {
        let Enable { grants, settings, backfill } = enable;
        let mut body = json!({ "version": self.package.version, "backfill": backfill });
        let request = |name: String| json!({ "name": name });
        let grants = grants.map(|names| names.into_iter().map(request).collect::<Value>());
        let given = [("grants", grants), ("settings", settings)];
        for (name, value) in given {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        let path = format!("/api/v1/plugins/{}/enablement", self.package.name);
        self.ask(Ask { method: "POST".to_owned(), path, headers: Vec::new(), body: Some(body) }).await
    }

    async fn step(&self, order: StepOrder) -> Result<Value> {
        let StepOrder { step, kind, id, key, input } = order;
        let target = match kind.as_str() {
            "customers" => Subject::Customer(CustomerId::from_stored(id)),
            _ => Subject::Order(OrderId::from_stored(id)),
        };
        let attempt = {
            let mut attempts = self.attempts.lock().expect("no code panics while it holds this lock");
            let attempt = attempts.entry((step.clone(), key.clone())).or_default();
            *attempt += 1;
            *attempt
        };
        let request = StepRequest { plugin: self.package.name.clone(), step, target, key, input, attempt };
        let outcome = steps::run(&self.core, &self.owner, request).await?;
        serde_json::to_value(outcome).map_err(Error::internal)
    }

    async fn call(&self, function: String, input: Value) -> Result<Value> {
        let (plugin, caller) = (self.package.name.clone(), "test".to_owned());
        functions::call(&self.core, &self.owner, FunctionRequest { plugin, function, caller, input }).await
    }

    async fn ask(&self, mut ask: Ask) -> Outcome<Told> {
        if !ask.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            ask.headers.push(("authorization".to_owned(), format!("Bearer {}", self.token)));
        }
        let path = ask.path.clone();
        let told = self.door.ask(ask).await;
        Ok(told.map_err(|reason| Error::unavailable(format!("`{path}` cannot be asked: {reason}")))?)
    }
}

fn artifacts(folder: &DataFolder, core: &Core) -> Outcome<Artifacts> {
    let mut fresh = [0; ARTEFACT_KEY_BYTES];
    core.ids.fill_secret(&mut fresh);
    Ok(Artifacts::new(Some(folder.artefacts()?), folder.artefact_key(fresh)?))
}
