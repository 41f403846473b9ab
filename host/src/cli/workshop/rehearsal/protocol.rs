//! The lines of JSON between a test and its host: one order, one reply.
//!
//! A testkit is written into partners' crates and outlives the program that wrote it, so
//! orders and replies only ever gain members.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::http::{Ask, Told};

/// What a test wants.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// A REST request of the tenant's owner, unless its headers say otherwise.
    Ask(Ask),
    /// Enable the plugin for the tenant.
    Enable(Enable),
    /// Move the clock to a time.
    SetTime(Timestamp),
    /// Move the clock forward by so many seconds.
    Advance(u32),
    /// Do all background work that is due: deliver events, run schedules, replay history.
    Work,
}

/// How the plugin is enabled.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Enable {
    /// Names of grants; all that it asks for, if absent.
    #[serde(default)]
    pub(super) grants: Option<Vec<String>>,
    /// Its settings; the schema's defaults, if absent.
    #[serde(default)]
    pub(super) settings: Option<Value>,
    /// Whether it is told of what is there already.
    #[serde(default)]
    pub(super) backfill: bool,
}

/// What has come of an order.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    /// The host is there.
    Ready {
        /// The plugin's name.
        plugin: String,
        /// Its version.
        version: String,
        /// The host's version.
        host: &'static str,
    },
    /// A request was answered.
    Told(Told),
    /// What the clock shows now.
    Now(Timestamp),
    /// Background work was done.
    Worked {
        /// Events that were handled.
        handled: u64,
        /// Deliveries that failed and are tried again later.
        failed: u64,
        /// Deliveries that were given up.
        dead: u64,
        /// Runs of schedules that have ended well.
        jobs: u64,
        /// Chunks of schedules that have failed.
        jobs_failed: u64,
    },
    /// It could not be done.
    Refused(String),
}
