//! What use cases ask of the plugin host. The trait is owned here, so that `ops` never names wasmtime;
//! `plugin/` implements it.

pub mod actions;
pub mod canary;
pub mod catalogue;
pub mod credentials;
pub mod data;
pub mod enablement;
pub mod export;
pub mod files;
pub mod freezes;
pub mod functions;
pub mod jobs;
pub mod moves;
pub mod packages;
pub mod rates;
pub mod recordings;
pub mod routes;
pub mod scoring;
pub mod shadow;
pub mod sheet;
mod sheet_text;
pub mod status;
pub mod steps;
pub mod trust;
pub mod uninstall;
pub mod upgrade;
pub mod usage;
pub mod usage_export;

use std::sync::Arc;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::db::Tx;
pub use crate::db::plugins::Denial;
use crate::db::plugins::Package;
use crate::domain::actor::Actor;
use crate::domain::customer::Customer;
use crate::domain::event::Subject;
use crate::domain::grant::Grants;
use crate::domain::ids::{EventId, TenantId};
use crate::domain::manifest::Manifest;
use crate::domain::point::Point;
use crate::domain::recording::RecordingRules;
use crate::error::Result;
use routes::{PluginRoutes, RouteRequest, RouteResponse};
use scoring::Score;
use steps::{StepAck, StepOutcome, StepRequest};

/// A record whose save a hook may see first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookedEntity {
    /// A customer.
    Customer,
    /// An order.
    Order,
}

/// A save that is about to happen, as hooks see it.
#[derive(Clone, Debug)]
pub struct Save {
    /// The kind of record.
    pub entity: HookedEntity,
    /// The record as the REST API shows it; absent when it is created.
    pub before: Option<Value>,
    /// The record as it would be saved.
    pub after: Value,
}

/// One plugin's panel on a record: its blocks, or why there are none.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Panel {
    /// The plugin's name.
    pub plugin: String,
    /// The panel's title in the actor's language.
    pub title: String,
    /// Typed blocks, each an object with a `type`.
    #[schema(value_type = Vec<Object>)]
    pub blocks: Vec<Value>,
    /// Why the panel is empty, if the plugin failed; the record is still shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// What an action answers.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ActionOutcome {
    /// One line for the person who pressed the button.
    pub message: String,
    /// The result for machines.
    #[schema(value_type = Object)]
    pub body: Value,
}

/// What its caller wants committed together with a plugin's effects, such as the
/// acknowledgement of the events that caused them. Runs in that transaction, once
/// for each run of it; an error rolls everything back and is passed on.
pub type Ack = Arc<dyn for<'a> Fn(&'a mut Tx) -> BoxFuture<'a, Result<()>> + Send + Sync>;

/// As [`Ack`], for a chunk of a job: receives the cursor of the next chunk, or
/// nothing when the job is done.
pub type JobAck = Arc<dyn for<'a> Fn(&'a mut Tx, Option<&'a str>) -> BoxFuture<'a, Result<()>> + Send + Sync>;

/// An event on its way to a plugin.
#[derive(Clone, Debug)]
pub struct PluginEvent {
    /// The same at every delivery.
    pub id: EventId,
    /// Such as `order.created`.
    pub name: String,
    /// What it is about.
    pub subject: Subject,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// How many reactions away from its first cause it stands.
    pub depth: u32,
    /// Whether history is replayed.
    pub backfill: bool,
    /// The record after the change.
    pub body: Value,
}

/// A chunk of a scheduled job.
#[derive(Clone, Debug)]
pub struct JobChunk {
    /// The job's name.
    pub job: String,
    /// When the run was due.
    pub due_at: Timestamp,
    /// Where the last chunk ended; nothing for the first.
    pub cursor: Option<String>,
    /// 1 for the first try of this chunk.
    pub attempt: u32,
}

/// How a delivery or a chunk went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// The plugin's effects and the acknowledgement are committed. For a job,
    /// the cursor of the next chunk.
    Committed(Option<String>),
    /// The tenant has not enabled the plugin; nothing ran and nothing is acknowledged.
    NotEnabled,
}

/// What a component's bytes say, once they are checked and compiled.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// SHA-256 of the bytes, in hexadecimal.
    pub digest: String,
    /// What the plugin says of itself.
    pub manifest: Manifest,
    /// The functions that it imports, `interface.function`.
    pub imports: Vec<String>,
    /// The extension points that it exports.
    pub exports: Vec<String>,
}

/// A plugin as a tenant is about to have it.
#[derive(Clone, Debug)]
pub struct Switch {
    /// The package.
    pub package: Package,
    /// What the tenant lets it do.
    pub grants: Grants,
    /// Its settings, valid and with defaults.
    pub settings: Value,
    /// Which of its runs are recorded.
    pub recording: RecordingRules,
    /// The version whose data is there, if it is another one.
    pub from: Option<String>,
    /// The version of the enablement that is to be replaced.
    pub base: i64,
    /// Whether the plugin is told of what is there already.
    pub backfill: bool,
    /// Whether it is disabled, or was never enabled.
    pub was_off: bool,
    /// Whether a server goes on with it that nobody waits for.
    pub is_resumed: bool,
}

/// How an extension point of a plugin has fared in this process.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct PointHealth {
    /// The extension point.
    pub point: &'static str,
    /// Runs since the process started.
    pub runs: u64,
    /// Those that broke off.
    pub failures: u64,
    /// Failures since the last run that did not.
    pub failures_in_a_row: u32,
    /// Fuel that all runs have burnt.
    pub fuel: u64,
    /// Fuel that the last run has burnt.
    pub last_fuel: u64,
    /// Microseconds that half of the last runs took at most, waiting included.
    pub p50_us: u32,
    /// The same for 99 of 100.
    pub p99_us: u32,
    /// Fuel that the last run might have burnt.
    pub fuel_budget: u64,
    /// Saves that went on without it, because it had failed or was paused, and lets saves through then.
    pub passed_over: u64,
    /// Until when it is not called after repeated failures.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub paused_until: Option<Timestamp>,
}

/// The plugin host, as use cases see it.
pub trait Plugins: Send + Sync + 'static {
    /// Lets every enabled plugin with a hook on this entity see a save, in the
    /// order of their names, and answers the record as they leave it.
    ///
    /// The plugin through which the actor acts does not see its own writes. Holds
    /// no transaction. The result is `save.after` itself if no hook changed it; of the
    /// plugins' fields, each plugin has set its own alone.
    ///
    /// # Errors
    /// `PluginRejected` for a veto, `PluginFailed` for a failing hook that must not be passed over.
    fn before_save<'a>(&'a self, actor: &'a Actor, save: Save) -> BoxFuture<'a, Result<Value>>;

    /// Renders `slot` of every enabled plugin that fills it; a plugin that fails
    /// has a panel that says so.
    fn panels<'a>(
        &'a self,
        actor: &'a Actor,
        slot: &'a str,
        target: Subject,
    ) -> BoxFuture<'a, Result<Vec<Panel>>>;

    /// Runs an action of a plugin on a record that the actor sees, and commits
    /// what it wrote in one transaction.
    ///
    /// # Errors
    /// `NotFound` for an unknown action, `Invalid` for an input that the
    /// manifest's schema refuses, `PluginRejected`, `PluginFailed`.
    fn run_action<'a>(
        &'a self,
        actor: &'a Actor,
        plugin: &'a str,
        action: &'a str,
        target: Subject,
        input: Value,
    ) -> BoxFuture<'a, Result<ActionOutcome>>;

    /// Scores customers, at most a slice of them, by a plugin's scoring; as many
    /// scores as customers, in their order. Writes nothing.
    ///
    /// # Errors
    /// `NotFound` for an unknown scoring, `Forbidden` for a column that the actor
    /// may not read, `PluginRejected`, `PluginFailed`.
    fn score<'a>(
        &'a self,
        actor: &'a Actor,
        plugin: &'a str,
        scoring: &'a str,
        customers: Vec<Customer>,
    ) -> BoxFuture<'a, Result<Vec<Score>>>;

    /// Passes a request to a plugin's route and commits what it wrote in one transaction.
    ///
    /// # Errors
    /// Those of [`routes::handle`].
    fn route<'a>(
        &'a self,
        actor: &'a Actor,
        plugin: &'a str,
        request: RouteRequest,
    ) -> BoxFuture<'a, Result<RouteResponse>>;

    /// The endpoints of the plugins that a tenant has enabled, by plugin.
    ///
    /// # Errors
    /// Those of the database.
    fn routes<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<PluginRoutes>>>;

    /// Runs a workflow step and commits its effects together with `keep`, which is
    /// told the outcome.
    ///
    /// # Errors
    /// Those of [`steps::run`], and those of `keep`.
    fn run_step<'a>(
        &'a self,
        actor: &'a Actor,
        request: StepRequest,
        keep: StepAck,
    ) -> BoxFuture<'a, Result<StepOutcome>>;

    /// Calls a function as another plugin would, and commits its effects.
    ///
    /// # Errors
    /// Those of [`functions::call`].
    fn serve<'a>(
        &'a self,
        actor: &'a Actor,
        request: functions::FunctionRequest,
    ) -> BoxFuture<'a, Result<Value>>;

    /// Delivers a batch of events, in order, and commits the plugin's effects
    /// together with `ack`. All belong to one tenant; at most 200.
    ///
    /// # Errors
    /// `PluginFailed` for a trap or a limit, `PluginRejected` and others for what
    /// the plugin answered, `Unavailable` while its breaker is open: nothing was
    /// committed, and the caller tries again, in smaller batches.
    fn deliver<'a>(
        &'a self,
        tenant: &'a TenantId,
        plugin: &'a str,
        events: &'a [PluginEvent],
        ack: Ack,
    ) -> BoxFuture<'a, Result<Delivered>>;

    /// Runs one chunk of a job and commits its effects together with `ack`.
    ///
    /// # Errors
    /// As for [`Plugins::deliver`].
    fn run_job<'a>(
        &'a self,
        tenant: &'a TenantId,
        plugin: &'a str,
        chunk: JobChunk,
        ack: JobAck,
    ) -> BoxFuture<'a, Result<Delivered>>;

    /// Reads, checks, compiles and links a component; keeps nothing of it but its code.
    ///
    /// # Errors
    /// `Invalid` with every fault that its author must mend.
    fn inspect(&self, bytes: Vec<u8>) -> BoxFuture<'_, Result<Inspected>>;

    /// Lets a plugin do what it does when it is enabled, or moved to another
    /// version, and commits that together with `ack`, which writes the enablement.
    ///
    /// # Errors
    /// The plugin's own, which keep it as it was, and those of `ack`.
    fn switch_on<'a>(&'a self, actor: &'a Actor, switch: Switch, ack: Ack) -> BoxFuture<'a, Result<()>>;

    /// Why a version cannot work on the data of the enabled one as it is, in English: its migration
    /// would change something, or fails. Its effects are discarded.
    ///
    /// # Errors
    /// Those of the database.
    fn migration_of<'a>(&'a self, actor: &'a Actor, switch: Switch) -> BoxFuture<'a, Result<Option<String>>>;

    /// Which of these subjects meet the plugin's canary instead of its enabled version.
    ///
    /// # Errors
    /// Those of the database.
    fn canary_takes<'a>(
        &'a self,
        tenant: &'a TenantId,
        plugin: &'a str,
        subjects: &'a [Subject],
    ) -> BoxFuture<'a, Result<Vec<bool>>>;

    /// How the versions of canaries have fared on this server, as far as it is not written down yet; whoever
    /// takes it must write it.
    fn take_canary_counts(&self) -> Vec<(TenantId, String, canary::Counted)>;

    /// Takes back what could not be written.
    fn give_back_canary_counts(&self, tenant: &TenantId, plugin: &str, counted: &canary::Counted);

    /// Calls shadows with the saves that wait for them on this server, and writes down what they show; how
    /// many saves there were. What cannot be written is logged.
    fn show_shadows(&self) -> BoxFuture<'_, u64>;

    /// Lets a plugin do what it does when it is disabled, and commits that together
    /// with `ack`, which writes the enablement. Its errors do not keep it enabled.
    ///
    /// # Errors
    /// Those of `ack`.
    fn switch_off<'a>(&'a self, actor: &'a Actor, plugin: &'a str, ack: Ack) -> BoxFuture<'a, Result<()>>;

    /// Tells that a tenant has changed grants or settings of a plugin.
    fn changed<'a>(&'a self, tenant: &'a TenantId, plugin: &'a str) -> BoxFuture<'a, ()>;

    /// Tells that a tenant has changed its fields, whose classes say who may see them.
    fn model_changed<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, ()>;

    /// Tells that a tenant has started or ended a shadow or a canary, or changed whom one is for.
    fn versions_changed<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, ()>;

    /// Tells that the operator has stopped a version of a plugin, or lets one run again.
    fn stops_changed(&self);

    /// What a plugin was denied, as far as this process has not written it down yet.
    fn denials(&self, tenant: &TenantId, plugin: &str) -> Vec<Denial>;

    /// What was used on this server and is not written down yet; whoever takes it must write it.
    fn take_usage(&self) -> Vec<(TenantId, usage::UsageRow)>;

    /// Takes back what could not be written.
    fn give_back_usage(&self, tenant: &TenantId, rows: &[usage::UsageRow]);

    /// What was recorded on this server and is not kept yet; whoever takes it must keep it.
    fn take_recordings(&self) -> recordings::Taken;

    /// What limits a plugin of this manifest at an extension point.
    ///
    /// # Errors
    /// `Unavailable` while the server stops.
    fn limits(&self, manifest: &Manifest, point: Point) -> Result<Vec<status::PointLimit>>;

    /// How the extension points of a plugin have fared in this process.
    fn health(&self, tenant: &TenantId, plugin: &str) -> Vec<PointHealth>;
}
