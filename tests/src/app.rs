//! The whole server behind its router, without a socket: what a request says is what a client gets.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::http::Method;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use hospes::app::App;
use hospes::clock::{Clock as _, ManualClock, Timestamp};
use hospes::db::Sql;
use hospes::domain::tenant::NewTenant;
use hospes::domain::trust::TrustPolicy;
use hospes::http::{self, HttpState, RateLimit};
use hospes::ids::RandomIds;
use hospes::jobs::backfill::Backfiller;
pub use hospes::jobs::rounds::Report as JobsReport;
use hospes::jobs::rounds::Rounds;
use hospes::jobs::schedules::Runner;
use hospes::ops::Core;
use hospes::ops::plugins::packages;
use hospes::outbound::{self, Outbound, Reach};
use hospes::plugin::{Artifacts, PluginHost, Sandbox};
use hospes::vault::Vault;
use serde_json::{Value, json};

use crate::db::{Engine, Harness, TestDb};
use crate::people::{TestTenant, new_tenant};
use crate::request::{Client, TestRequest};

/// When every test begins.
pub const BEGINNING: &str = "2026-03-01T08:00:00Z";
/// The key of every server's secrets.
pub const SECRETS_KEY: [u8; 32] = [7; 32];
/// How often a backfill that waits is asked again, and how long in all.
const BACKFILL_WAIT: Duration = Duration::from_millis(20);
const BACKFILL_WAITS_MAX: u32 = 1_500;

/// A server with a tenant `acme`, whose clock the test moves and whose background work it runs.
pub struct TestApp {
    /// The clock; stands still until the test moves it.
    pub clock: Arc<ManualClock>,
    /// What use cases work with, for what has no route.
    pub core: Arc<Core>,
    /// The server.
    pub app: App,
    /// Runs plugins; no plugin is installed yet.
    pub plugins: Arc<PluginHost>,
    /// The database beneath.
    pub database: TestDb,
    /// A tenant.
    pub acme: TestTenant,
    /// Sends requests with every right in `acme`.
    pub owner: Client,
    /// Replays history.
    pub backfiller: Arc<Backfiller>,
    /// Runs plugins' schedules.
    pub schedules: Arc<Runner>,
    rounds: Rounds,
    router: Router,
}

/// Another server on the same database and with the same clock; it keeps what it knows to itself.
pub struct SecondServer {
    /// What its use cases work with.
    pub core: Arc<Core>,
    /// Runs plugins' schedules.
    pub schedules: Arc<Runner>,
    router: Router,
}

impl SecondServer {
    /// The same somebody before this server.
    #[must_use]
    pub fn client(&self, client: &Client) -> Client {
        client.clone().moved_to(self.router.clone())
    }
}

impl Harness for TestApp {
    async fn start(engine: Engine) -> Option<Self> {
        Some(Self::over(TestDb::start(engine).await?).await)
    }
}

impl TestApp {
    /// A server over `database`.
    ///
    /// # Panics
    /// Never: the beginning is a time.
    pub async fn over(database: TestDb) -> Self {
        let local = outbound::Options { reach: Reach::Private, ..outbound::Options::default() };
        Self::reaching(database, Outbound::new(local)).await
    }

    /// A server over `database` that sends to others' servers with `outbound`; elsewhere it reaches loopback.
    ///
    /// # Panics
    /// Never: the beginning is a time.
    pub async fn reaching(database: TestDb, outbound: Outbound) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::parse(BEGINNING).expect("the beginning is a time")));
        let (core, plugins) = connect(&database, &clock, (outbound, TrustPolicy::UnsignedAllowed));
        let app = App::new(Arc::clone(&core));
        let router = http::router(HttpState::new(Arc::clone(&core), unlimited(), app.shutdown_token()));
        let acme = TestTenant::new(&core, &router, new_tenant("acme")).await;
        let owner = acme.owner.clone();
        let rounds = Rounds::new(Arc::clone(&core), app.shutdown_token());
        let (backfiller, schedules) = (Arc::clone(&rounds.backfiller), Arc::clone(&rounds.schedules));
        Self { clock, core, app, plugins, database, acme, owner, router, backfiller, schedules, rounds }
    }

    /// The same server with other options of HTTP, such as a limit that the test reaches.
    #[must_use]
    pub fn with_options(mut self, options: http::Options) -> Self {
        let state = HttpState::new(Arc::clone(&self.core), options, self.app.shutdown_token());
        self.router = http::router(state);
        self.acme = self.acme.moved_to(&self.router);
        self.owner = self.acme.owner.clone();
        self
    }

    /// The server's router, for tests that give it a socket.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// What installs packages by another policy than the tests', which lets everything in.
    #[must_use]
    pub fn installer(&self, trust: TrustPolicy) -> Arc<Core> {
        connect(&self.database, &self.clock, (self.core.outbound.clone(), trust)).0
    }

    /// Another server beside this one.
    #[must_use]
    pub fn second_server(&self) -> SecondServer {
        let ways = (self.core.outbound.clone(), self.core.trust);
        let (core, _plugins) = connect(&self.database, &self.clock, ways);
        let stop = self.app.shutdown_token();
        let router = http::router(HttpState::new(Arc::clone(&core), unlimited(), stop.clone()));
        let schedules = Runner::new(Arc::clone(&core), stop);
        SecondServer { core, schedules, router }
    }

    /// Installs a plugin and lets `acme` enable it through the API, with all that it asks for.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn enable(&self, component: &[u8]) -> String {
        let package = packages::install(&self.core, component.to_vec()).await.expect("the plugin installs");
        let address = format!("/api/v1/plugins/{}/enablement", package.name);
        self.owner.post(&address, json!({})).await.expect(201);
        package.name
    }

    /// The lines of a plugin's log in `acme`, the oldest first.
    pub async fn log(&self, plugin: &str) -> Vec<String> {
        let lines = self.owner.all(&format!("/api/v1/plugins/{plugin}/log")).await;
        let text = |line: &Value| line["message"].as_str().unwrap_or_default().to_owned();
        lines.iter().rev().map(text).collect()
    }

    /// Another tenant.
    pub async fn tenant(&self, slug: &str) -> TestTenant {
        self.tenant_with(new_tenant(slug)).await
    }

    /// Another tenant, as the test wants it.
    pub async fn tenant_with(&self, new: NewTenant) -> TestTenant {
        TestTenant::new(&self.core, &self.router, new).await
    }

    /// A client without a credential.
    #[must_use]
    pub fn anonymous(&self) -> Client {
        Client::nobody(self.router.clone())
    }

    /// A client with a bearer token.
    #[must_use]
    pub fn bearer(&self, secret: &str) -> Client {
        Client::bearer(self.router.clone(), secret)
    }

    /// A `GET` request of nobody.
    pub fn get(&self, path: &str) -> TestRequest {
        self.request(Method::GET, path)
    }

    /// A `POST` request of nobody.
    pub fn post(&self, path: &str) -> TestRequest {
        self.request(Method::POST, path)
    }

    /// A `PUT` request of nobody.
    pub fn put(&self, path: &str) -> TestRequest {
        self.request(Method::PUT, path)
    }

    /// A `PATCH` request of nobody.
    pub fn patch(&self, path: &str) -> TestRequest {
        self.request(Method::PATCH, path)
    }

    /// A `DELETE` request of nobody.
    pub fn delete(&self, path: &str) -> TestRequest {
        self.request(Method::DELETE, path)
    }

    /// A request of nobody; `path` may have a query.
    pub fn request(&self, method: Method, path: &str) -> TestRequest {
        self.anonymous().request(method, path)
    }

    /// The time on the server's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Moves the clock to `time`.
    ///
    /// # Panics
    /// If it is none.
    pub fn set_time(&self, time: &str) {
        self.clock.set(Timestamp::parse(time).expect("the test writes a time"));
    }

    /// Imports, delivers, replays and runs schedules until nothing is left that is due now.
    ///
    /// # Panics
    /// If a loop fails, or the work does not end.
    pub async fn run_jobs(&self) -> JobsReport {
        let mut sum = JobsReport::default();
        for _ in 0..BACKFILL_WAITS_MAX {
            sum = sum.and(self.rounds.run().await.expect("the background work can be done"));
            if self.open_backfills().await == 0 {
                return sum;
            }
            // Transactions of other tests of the same cluster have to end first.
            tokio::time::sleep(BACKFILL_WAIT).await;
        }
        panic!("a backfill does not end: {sum:?}");
    }

    async fn open_backfills(&self) -> i64 {
        const OPEN: Sql = Sql::new("SELECT COUNT(*) FROM lanes WHERE gate IS NOT NULL AND state = 'active'");
        let mut directory = self.core.db.directory().await.expect("the directory can be read");
        let (open,): (i64,) = directory.fetch_one(OPEN, Vec::new()).await.expect("the lanes can be counted");
        open
    }
}

/// A core with plugins.
fn connect(
    database: &TestDb,
    clock: &Arc<ManualClock>,
    (outbound, trust): (Outbound, TrustPolicy),
) -> (Arc<Core>, Arc<PluginHost>) {
    let clock = Arc::clone(clock);
    let mut core = Core::new(database.db.clone(), clock, Arc::new(RandomIds::default()));
    core.outbound = outbound;
    core.vault = Vault::new(SECRETS_KEY, None);
    core.trust = trust;
    let core = Arc::new(core);
    core.blobs.keep_in(database.files());
    let plugins = PluginHost::connect(&core, sandbox(), artifacts());
    (core, plugins)
}

/// Tests of the limits set their own.
fn unlimited() -> http::Options {
    http::Options {
        principal_limit: RateLimit::new(1_000_000, 60),
        tenant_limit: RateLimit::new(1_000_000, 60),
        ..http::Options::default()
    }
}

/// One engine for all tests of a process, as a server has one.
fn sandbox() -> Arc<Sandbox> {
    static SANDBOX: OnceLock<Arc<Sandbox>> = OnceLock::new();
    Arc::clone(SANDBOX.get_or_init(|| Arc::new(Sandbox::new().expect("this machine runs WebAssembly"))))
}

/// One cache of compiled plugins for all tests of a process.
fn artifacts() -> Artifacts {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().expect("there is room for temporary files"));
    let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).expect("the folder is there");
    Artifacts::new(Some(dir), [1; 32])
}
