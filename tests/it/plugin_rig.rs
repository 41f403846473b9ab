//! A core with a plugin host on a database of its own, and two tenants.

use std::sync::{Arc, OnceLock};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use hospes::clock::{Clock as _, ManualClock, Timestamp};
use hospes::domain::actor::{Actor, Locale};
use hospes::domain::customer::{CustomerKind, NewCustomer};
use hospes::domain::event::Subject;
use hospes::domain::grant::Grant;
use hospes::domain::ids::{CustomerId, EventId};
use hospes::domain::money::Currency;
use hospes::domain::tenant::NewTenant;
use hospes::domain::user::Password;
use hospes::error::{Error, Result};
use hospes::ids::RandomIds;
use hospes::ops::plugins::enablement::{self, NewEnablement};
use hospes::ops::plugins::{Ack, ActionOutcome, PluginEvent, actions, packages};
use hospes::ops::{Core, customers, tenants};
use hospes::plugin::{Artifacts, PluginHost, Sandbox};
use hospes_tests::{Engine, Harness, TestDb};
use serde_json::Value;

/// Everything that a test of plugins needs.
pub(crate) struct Rig {
    pub(crate) core: Arc<Core>,
    pub(crate) host: Arc<PluginHost>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) actor: Actor,
    pub(crate) neighbour: Actor,
    pub(crate) customer: CustomerId,
    _database: TestDb,
}

/// One engine for all tests of this process, as a server has one.
pub(crate) fn sandbox() -> Arc<Sandbox> {
    static SANDBOX: OnceLock<Arc<Sandbox>> = OnceLock::new();
    Arc::clone(SANDBOX.get_or_init(|| Arc::new(Sandbox::new().expect("this machine runs WebAssembly"))))
}

/// One cache of compiled guests for all tests of this process.
pub(crate) fn artifacts() -> Artifacts {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().expect("there is room for temporary files"));
    let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).expect("the folder is there");
    Artifacts::new(Some(dir), [1; 32])
}

impl Harness for Rig {
    async fn start(engine: Engine) -> Option<Self> {
        let database = TestDb::start(engine).await?;
        let now = Timestamp::parse("2026-03-01T08:00:00Z").expect("a time");
        let clock = Arc::new(ManualClock::new(now));
        let core = Arc::new(Core::new(database.db.clone(), clock.clone(), Arc::new(RandomIds::default())));
        let host = PluginHost::connect(&core, sandbox(), artifacts());
        let actor = tenant(&core, "here").await;
        let neighbour = tenant(&core, "there").await;
        let customer = customer(&core, &actor).await;
        Some(Self { core, host, clock, actor, neighbour, customer, _database: database })
    }
}

async fn tenant(core: &Core, slug: &str) -> Actor {
    let new = NewTenant {
        slug: slug.to_owned(),
        name: slug.to_owned(),
        locale: Locale::En,
        time_zone: "Asia/Shanghai".to_owned(),
        currency: Currency::parse("CNY").expect("a currency"),
        owner_login: format!("owner@{slug}.example"),
        owner_name: "Owner".to_owned(),
        owner_password: Password::new("correct horse battery staple"),
    };
    let (tenant, _owner) = tenants::create(core, new).await.expect("a tenant can be made");
    Actor::operator(tenant.id)
}

async fn customer(core: &Core, actor: &Actor) -> CustomerId {
    let new = NewCustomer::named(CustomerKind::Person, "Ada");
    customers::create(core, actor, new).await.expect("a customer can be made").id
}

impl Rig {
    /// Another server on the same database; it keeps what it knows to itself.
    pub(crate) fn second_server(&self) -> Arc<Core> {
        let core = Core::new(self.core.db.clone(), self.clock.clone(), Arc::new(RandomIds::default()));
        let core = Arc::new(core);
        PluginHost::connect(&core, sandbox(), artifacts());
        core
    }

    /// A new customer of somebody.
    pub(crate) async fn customer_of(&self, actor: &Actor) -> CustomerId {
        customer(&self.core, actor).await
    }

    /// Installs a guest and enables it with all that it asks for.
    pub(crate) async fn enable(&self, component: &[u8]) -> String {
        self.enable_for(&self.actor, component).await
    }

    /// As [`Rig::enable`], for somebody else.
    pub(crate) async fn enable_for(&self, actor: &Actor, component: &[u8]) -> String {
        let package = packages::install(&self.core, component.to_vec()).await.expect("the guest installs");
        let new = NewEnablement { version: None, grants: None, settings: None, backfill: false };
        enablement::enable(&self.core, actor, &package.name, new).await.expect("the guest can be enabled");
        package.name
    }

    /// Enables an installed plugin.
    pub(crate) async fn enable_with(
        &self,
        plugin: &str,
        grants: Option<Vec<Grant>>,
        settings: Value,
    ) -> Result<()> {
        let new = NewEnablement { version: None, grants, settings: Some(settings), backfill: false };
        enablement::enable(&self.core, &self.actor, plugin, new).await.map(drop)
    }

    /// Presses a button on the customer.
    pub(crate) async fn act(&self, plugin: &str, action: &str, input: Value) -> Result<ActionOutcome> {
        let target = Subject::Customer(self.customer.clone());
        actions::run(&self.core, &self.actor, (plugin, action), target, input).await
    }

    /// An event about the customer.
    pub(crate) fn event(&self, name: &str, body: Value) -> PluginEvent {
        PluginEvent {
            id: EventId::new(&*self.core.ids, self.clock.now()),
            name: name.to_owned(),
            subject: Subject::Customer(self.customer.clone()),
            occurred_at: self.clock.now(),
            depth: 0,
            backfill: false,
            body,
        }
    }

    /// The plugin's log, the latest line first.
    pub(crate) async fn log(&self, plugin: &str) -> Vec<String> {
        let page = hospes::domain::page::PageRequest::new(Some(200), None);
        let page = hospes::ops::plugins::data::log(&self.core, &self.actor, plugin, &page).await;
        let lines = page.expect("the log can be read").items.into_iter();
        lines
            .map(|line| format!("{} {}: {}", line.level, line.code.unwrap_or_default(), line.message))
            .collect()
    }
}

/// An acknowledgement that has nothing to write.
pub(crate) fn nothing() -> Ack {
    Arc::new(|_tx| Box::pin(async { Ok(()) }))
}

/// The plugin's code of a failure or refusal.
pub(crate) fn code(error: &Error) -> String {
    if let Error::PluginFailed { code, .. } = error {
        return format!("failed: {code}");
    }
    if let Error::PluginRejected { code, .. } = error {
        return format!("rejected: {code}");
    }
    format!("{error:?}")
}
