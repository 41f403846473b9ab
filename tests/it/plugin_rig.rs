//! A server with a plugin host, two tenants and a customer, and what tests of plugins ask of it.

use std::sync::Arc;

use hospes::clock::{Clock as _, ManualClock};
use hospes::domain::actor::Actor;
use hospes::domain::customer::{CustomerKind, NewCustomer};
use hospes::domain::event::Subject;
use hospes::domain::grant::Grant;
use hospes::domain::ids::{CustomerId, EventId};
use hospes::domain::parameters::GrantRequest;
use hospes::error::{Error, Result};
use hospes::ops::plugins::enablement::{self, NewEnablement};
use hospes::ops::plugins::{Ack, ActionOutcome, PluginEvent, actions, packages};
use hospes::ops::{Core, customers};
use hospes::plugin::PluginHost;
use hospes_tests::{Engine, Harness, TestApp, TestTenant};
use serde_json::Value;

/// Everything that a test of plugins needs.
pub(crate) struct Rig {
    pub(crate) app: TestApp,
    pub(crate) there: TestTenant,
    pub(crate) core: Arc<Core>,
    pub(crate) host: Arc<PluginHost>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) actor: Actor,
    pub(crate) neighbour: Actor,
    pub(crate) customer: CustomerId,
}

impl Harness for Rig {
    async fn start(engine: Engine) -> Option<Self> {
        Some(Self::of(TestApp::start(engine).await?).await)
    }
}

impl Rig {
    /// Everything on top of a server.
    pub(crate) async fn of(app: TestApp) -> Self {
        let there = app.tenant("there").await;
        let (core, host, clock) = (Arc::clone(&app.core), Arc::clone(&app.plugins), Arc::clone(&app.clock));
        let (actor, neighbour) = (app.acme.operator(), there.operator());
        let customer = app.acme.customer("Ada").await.id;
        Self { app, there, core, host, clock, actor, neighbour, customer }
    }

    /// Another server on the same database; it keeps what it knows to itself.
    pub(crate) fn second_server(&self) -> Arc<Core> {
        self.app.second_server().core
    }

    /// A new customer of somebody.
    pub(crate) async fn customer_of(&self, actor: &Actor) -> CustomerId {
        let new = NewCustomer::named(CustomerKind::Person, "Ada");
        customers::create(&self.core, actor, new).await.expect("a customer can be made").id
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
        let grants = grants.map(requests);
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

/// Grants on all the parameters that are asked for.
pub(crate) fn requests(grants: Vec<Grant>) -> Vec<GrantRequest> {
    grants.into_iter().map(GrantRequest::from).collect()
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
