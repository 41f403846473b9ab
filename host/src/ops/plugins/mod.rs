//! What use cases ask of the plugin host. The trait is owned here, so that `ops` never names wasmtime;
//! `plugin/` implements it.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::db::Tx;
use crate::domain::actor::Actor;
use crate::domain::event::Subject;
use crate::domain::ids::{EventId, TenantId};
use crate::error::Result;

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
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
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

/// The plugin host, as use cases see it.
pub trait Plugins: Send + Sync + 'static {
    /// Lets every enabled plugin with a hook on this entity see a save, in the
    /// order of their names, and answers the record as they leave it.
    ///
    /// The plugin through which the actor acts does not see its own writes. Holds
    /// no transaction. The result is `save.after` itself if no hook changed it.
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
}
