//! The plugin host: the only place that knows wasmtime.
//!
//! An invocation is a fresh instance with the rights that its tenant has granted,
//! under a budget of fuel, time and memory (`call.rs`). What it reads and writes
//! is buffered (`buffer.rs`, `host/`) and committed in one transaction together
//! with what caused it (`commit.rs`, `run.rs`). No connection is held and no lock
//! is taken while guest code runs. It may use `ops` and `db`, and nothing else
//! of the host.

mod acceptance;
mod actions;
mod artifact;
mod backtrace;
mod breaker;
mod budget;
mod buffer;
mod call;
mod canary;
mod commit;
mod engine;
mod events;
mod functions;
mod gate;
mod hooks;
mod host;
mod index;
mod inspect;
mod invocation;
mod lifecycle;
mod meter;
mod panels;
mod printed;
mod query;
mod recorder;
mod registry;
pub mod replay;
mod request;
mod routes;
mod run;
mod scoring;
mod series;
mod shadow;
mod steps;

use std::sync::{Arc, Weak};

use futures::future::BoxFuture;
use moka::future::Cache;
use serde_json::Value;
use tokio::sync::Mutex;

pub use artifact::Artifacts;
pub use engine::Sandbox;
pub use inspect::component_bytes_max;

use crate::domain::actor::Actor;
use crate::domain::customer::Customer;
use crate::domain::event::Subject;
use crate::domain::ids::TenantId;
use crate::domain::manifest::Manifest;
use crate::domain::point::Point;
use crate::error::{Error, Result};
use crate::ops::Core;
use crate::ops::plugins::canary::Counted;
use crate::ops::plugins::functions::FunctionRequest;
use crate::ops::plugins::recordings::Taken;
use crate::ops::plugins::routes::{PluginRoutes, RouteRequest, RouteResponse};
use crate::ops::plugins::scoring::Score;
use crate::ops::plugins::status::PointLimit;
use crate::ops::plugins::steps::{StepAck, StepOutcome, StepRequest};
use crate::ops::plugins::usage::UsageRow;
use crate::ops::plugins::{
    Ack, ActionOutcome, Delivered, Denial, Inspected, JobAck, JobChunk, Panel, PluginEvent, Plugins,
    PointHealth, Save, Switch,
};
use breaker::Breakers;
use budget::Budget;
use canary::Counts;
use gate::Gate;
use meter::Meter;
use recorder::Recorder;
use registry::Registry;
use series::Calls;
use shadow::Saves;

/// Records whose actions may queue.
const QUEUES_MAX: u64 = 10_000;

/// The plugins of a server.
pub struct PluginHost {
    /// Weak, because the core holds its plugin host.
    core: Weak<Core>,
    /// Itself, for the invocations that call other plugins.
    own: Weak<Self>,
    sandbox: Arc<Sandbox>,
    registry: Registry,
    breakers: Breakers,
    calls: Calls,
    meter: Meter,
    canary_counts: Counts,
    saves: Saves,
    recorder: Recorder,
    gate: Arc<Gate>,
    /// Where actions on one record queue once they have met a conflict.
    queues: Cache<String, Arc<Mutex<()>>>,
}

impl PluginHost {
    /// Builds the plugin host of `core` and connects the two.
    pub fn connect(core: &Arc<Core>, sandbox: Arc<Sandbox>, artifacts: Artifacts) -> Arc<Self> {
        let gate = Arc::new(Gate::default());
        let registry = Registry::new(core.db.clone(), Arc::clone(&sandbox), artifacts, Arc::clone(&gate));
        let host = Arc::new_cyclic(|own| Self {
            core: Arc::downgrade(core),
            own: Weak::clone(own),
            sandbox,
            registry,
            breakers: Breakers::default(),
            calls: Calls::default(),
            meter: Meter::default(),
            canary_counts: Counts::default(),
            saves: Saves::default(),
            recorder: Recorder::default(),
            gate,
            queues: Cache::new(QUEUES_MAX),
        });
        core.connect_plugins(Arc::clone(&host) as Arc<dyn Plugins>);
        host
    }

    fn core(&self) -> Result<Arc<Core>> {
        self.core.upgrade().ok_or_else(|| Error::unavailable("the server has stopped"))
    }

    /// Forgets what is known of a tenant's plugins, because the rights of one have changed.
    async fn forget(&self, tenant: &TenantId, plugin: &str) {
        self.gate.note_change(tenant, plugin);
        self.registry.forget(tenant).await;
    }
}

/// Reads and checks a component's bytes, without compiling or keeping them.
///
/// # Errors
/// [`Error::Invalid`] with every fault that its author must mend.
pub fn inspect(bytes: &[u8]) -> Result<Inspected> {
    let inspect::Inspected { manifest, imports, exports } = inspect::inspect(bytes)?;
    Ok(Inspected { digest: artifact::digest(bytes), manifest, imports, exports })
}

/// The SHA-256 of a component, in hexadecimal.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    artifact::digest(bytes)
}

impl Plugins for PluginHost {
    fn before_save<'a>(&'a self, actor: &'a Actor, save: Save) -> BoxFuture<'a, Result<Value>> {
        Box::pin(self.run_hooks(actor, save))
    }

    fn panels<'a>(
        &'a self,
        actor: &'a Actor,
        slot: &'a str,
        target: Subject,
    ) -> BoxFuture<'a, Result<Vec<Panel>>> {
        Box::pin(self.render_panels(actor, slot, target))
    }

    fn run_action<'a>(
        &'a self,
        actor: &'a Actor,
        plugin: &'a str,
        action: &'a str,
        target: Subject,
        input: Value,
    ) -> BoxFuture<'a, Result<ActionOutcome>> {
        Box::pin(self.act(actor, (plugin, action), (target, input)))
    }

    fn score<'a>(
        &'a self,
        actor: &'a Actor,
        plugin: &'a str,
        scoring: &'a str,
        customers: Vec<Customer>,
    ) -> BoxFuture<'a, Result<Vec<Score>>> {
        Box::pin(self.score_customers(actor, (plugin, scoring), customers))
    }

    fn route<'a>(
        &'a self,
        actor: &'a Actor,
        plugin: &'a str,
        request: RouteRequest,
    ) -> BoxFuture<'a, Result<RouteResponse>> {
        Box::pin(self.answer_route(actor, plugin, request))
    }

    fn routes<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<PluginRoutes>>> {
        Box::pin(self.routes_of(tenant))
    }

    fn run_step<'a>(
        &'a self,
        actor: &'a Actor,
        request: StepRequest,
        keep: StepAck,
    ) -> BoxFuture<'a, Result<StepOutcome>> {
        Box::pin(self.step(actor, request, keep))
    }

    fn serve<'a>(&'a self, actor: &'a Actor, request: FunctionRequest) -> BoxFuture<'a, Result<Value>> {
        Box::pin(self.serve_function(actor, request))
    }

    fn deliver<'a>(
        &'a self,
        tenant: &'a TenantId,
        plugin: &'a str,
        events: &'a [PluginEvent],
        ack: Ack,
    ) -> BoxFuture<'a, Result<Delivered>> {
        Box::pin(self.handle_events(tenant, plugin, events, ack))
    }

    fn run_job<'a>(
        &'a self,
        tenant: &'a TenantId,
        plugin: &'a str,
        chunk: JobChunk,
        ack: JobAck,
    ) -> BoxFuture<'a, Result<Delivered>> {
        Box::pin(self.run_chunk(tenant, plugin, chunk, ack))
    }

    fn inspect(&self, bytes: Vec<u8>) -> BoxFuture<'_, Result<Inspected>> {
        Box::pin(self.inspect_component(bytes))
    }

    fn switch_on<'a>(&'a self, actor: &'a Actor, switch: Switch, ack: Ack) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.enable(actor, switch, ack))
    }

    fn migration_of<'a>(&'a self, actor: &'a Actor, switch: Switch) -> BoxFuture<'a, Result<Option<String>>> {
        Box::pin(self.try_migration(actor, switch))
    }

    fn canary_takes<'a>(
        &'a self,
        tenant: &'a TenantId,
        plugin: &'a str,
        subjects: &'a [Subject],
    ) -> BoxFuture<'a, Result<Vec<bool>>> {
        Box::pin(self.taken_by_canary(tenant, plugin, subjects))
    }

    fn take_canary_counts(&self) -> Vec<(TenantId, String, Counted)> {
        self.canary_counts.take()
    }

    fn give_back_canary_counts(&self, tenant: &TenantId, plugin: &str, counted: &Counted) {
        self.canary_counts.add(tenant, plugin, counted);
    }

    fn show_shadows(&self) -> BoxFuture<'_, u64> {
        Box::pin(self.show_saves())
    }

    fn switch_off<'a>(&'a self, actor: &'a Actor, plugin: &'a str, ack: Ack) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.disable(actor, plugin, ack))
    }

    fn changed<'a>(&'a self, tenant: &'a TenantId, plugin: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.breakers.reset(tenant, plugin);
            self.forget(tenant, plugin).await;
        })
    }

    fn model_changed<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, ()> {
        Box::pin(self.registry.forget(tenant))
    }

    fn versions_changed<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, ()> {
        Box::pin(self.registry.forget(tenant))
    }

    fn stops_changed(&self) {
        self.registry.forget_all();
    }

    fn denials(&self, tenant: &TenantId, plugin: &str) -> Vec<Denial> {
        self.gate.denials(tenant, plugin)
    }

    fn take_usage(&self) -> Vec<(TenantId, UsageRow)> {
        self.meter.take()
    }

    fn give_back_usage(&self, tenant: &TenantId, rows: &[UsageRow]) {
        self.meter.give_back(tenant, rows);
    }

    fn take_recordings(&self) -> Taken {
        self.recorder.take()
    }

    fn limits(&self, manifest: &Manifest, point: Point) -> Result<Vec<PointLimit>> {
        Ok(Budget::explain(manifest, point, &self.core()?.ceilings))
    }

    fn health(&self, tenant: &TenantId, plugin: &str) -> Vec<PointHealth> {
        self.points(tenant, plugin)
    }
}
