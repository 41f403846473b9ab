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
    /// Run a workflow step of the plugin.
    Step(StepOrder),
    /// Call a function of the plugin, as another plugin would.
    Call {
        /// Its name.
        function: String,
        /// Its input.
        input: Value,
    },
    /// Expect a request to somebody else's server, and answer it so.
    Expect(Box<Expectation>),
    /// Say which of the expected requests have not come.
    Outstanding,
}

/// A step that a workflow would run.
#[derive(Debug, Deserialize)]
pub(super) struct StepOrder {
    /// Its type.
    pub(super) step: String,
    /// `customers` or `orders`, as in addresses.
    pub(super) kind: String,
    /// The record's id.
    pub(super) id: String,
    /// The same whenever it is called again.
    pub(super) key: String,
    /// Its input.
    pub(super) input: Value,
}

/// A request that a test expects, and what it is answered.
#[derive(Debug, Deserialize)]
pub(super) struct Expectation {
    /// Such as `POST`.
    pub(super) method: String,
    /// The host, with the port if it is not 443.
    pub(super) host: String,
    /// Path and query.
    pub(super) path: String,
    /// Headers that it has, among others.
    #[serde(default)]
    pub(super) headers: Vec<(String, String)>,
    /// What its body is; anything, if absent.
    #[serde(default)]
    pub(super) body: Option<Body>,
    /// How often it comes.
    #[serde(default = "once")]
    pub(super) times: u32,
    /// What it is answered, each time.
    pub(super) answer: Scripted,
}

const fn once() -> u32 {
    1
}

/// What a body is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Body {
    /// This JSON, however it is written.
    Json(Value),
    /// JSON that has at least these members.
    JsonWith(Value),
    /// This text.
    Text(String),
}

/// What an expected request is answered.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Scripted {
    /// An answer.
    Respond {
        /// From 200 to 599.
        status: u16,
        /// Names and values.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// The body.
        #[serde(default)]
        body: String,
    },
    /// None, for this reason.
    Fail(Failing),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Failing {
    /// It does not come in time.
    Timeout,
    /// Nobody accepts the connection.
    Refused,
    /// The name has no public address.
    Unreachable,
    /// It breaks off.
    Broken,
    /// It is larger than the host reads.
    TooLarge,
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
    /// The request is expected.
    Expecting {
        /// How many are expected by now.
        scripts: usize,
    },
    /// The expected requests that have not come, in words.
    Outstanding(Vec<String>),
    /// It could not be done.
    Refused(String),
}

/// A line of the host.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    #[serde(flatten)]
    pub(super) reply: Reply,
    /// The requests to other people's servers since the line before that no script expects, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) unscripted: Vec<String>,
}
