//! Extension points that a manifest declares: what the host may call, when, and with what.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::package::Texts;
use super::records::EntityKind;
use crate::domain::permission::Role;

/// What a failing hook does to the save.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It stops the save. So it is if a manifest does not say: a rule that nobody has checked is not kept.
    #[default]
    Refuse,
    /// It lets the save through.
    Allow,
}

impl OnFailure {
    /// The name in manifests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Allow => "allow",
        }
    }
}

/// A hook before a save.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Hook {
    /// Whose save.
    pub entity: EntityKind,
    /// What happens if it fails, or is paused after failures.
    #[serde(default)]
    pub on_failure: OnFailure,
}

/// A button on a record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Action {
    /// Its name.
    pub name: String,
    /// On which record.
    pub entity: EntityKind,
    /// What people read.
    pub title: Texts,
    /// Who may press it.
    pub roles: Vec<Role>,
    /// JSON Schema of its input.
    pub input: Value,
}

/// A slot that a plugin fills.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PanelSlot {
    /// The slot.
    pub slot: EntityKind,
    /// What people read above it.
    pub title: Texts,
}

/// When a job runs, in the tenant's time zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Once a day at `HH:MM`.
    Daily(String),
    /// Every so many minutes.
    EveryMinutes(u32),
    /// At the times of a cron expression of five fields.
    Cron(String),
}

/// What a job does about a time that the server has slept through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// It waits for the next one.
    Skip,
    /// It runs once, however many there were.
    #[default]
    Once,
}

impl CatchUp {
    /// The name in manifests and rows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Once => "once",
        }
    }
}

/// Work on a schedule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// When it runs.
    pub schedule: Schedule,
    /// What it does about missed times.
    #[serde(default)]
    pub catch_up: CatchUp,
}

/// A method of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Reads; may not write.
    Get,
    /// Makes something or does something.
    Post,
    /// Sets something as a whole.
    Put,
    /// Changes something.
    Patch,
    /// Removes something.
    Delete,
}

impl Method {
    /// Its name in manifests and requests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Whether a request has a body that a schema describes.
    #[must_use]
    pub const fn has_body(self) -> bool {
        matches!(self, Self::Post | Self::Put | Self::Patch)
    }
}

/// A REST endpoint under the plugin's prefix.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// Below the prefix, such as `/cards/{number}`.
    pub path: String,
    /// Who may call it.
    pub roles: Vec<Role>,
    /// What people read about it.
    pub summary: Texts,
    /// Names of its query parameters.
    #[serde(default)]
    pub query: Vec<String>,
    /// JSON Schema of the request's body; it has none, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// JSON Schema of the answer; anything, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
}

impl Route {
    /// The names of the path's parameters, in their order.
    pub fn params(&self) -> impl Iterator<Item = &str> {
        self.path.split('/').filter_map(param_of)
    }

    /// The path without the names of its parameters: two routes of one shape
    /// would take each other's requests.
    pub(super) fn shape(&self) -> String {
        let segments = self.path.split('/').map(|part| if param_of(part).is_some() { "{}" } else { part });
        segments.collect::<Vec<_>>().join("/")
    }
}

/// The name of the parameter that a segment of a path stands for, if it does.
#[must_use]
pub fn param_of(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// What is known of a record's orders, as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderFact {
    /// How many there are; cancelled ones do not count.
    Count,
    /// Their total in the tenant's currency, less refunds, in minor units.
    SpendMinor,
    /// When the first was placed, in seconds since 1970.
    FirstAt,
    /// When the last was placed, in seconds since 1970.
    LastAt,
}

impl OrderFact {
    /// The name in manifests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::SpendMinor => "spend_minor",
            Self::FirstAt => "first_at",
            Self::LastAt => "last_at",
        }
    }
}

/// Where the numbers of a column come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnSource {
    /// A JSON pointer into the record as the REST API shows it.
    Pointer(String),
    /// A field by its name, a plugin's as `plugin.field`.
    Field(String),
    /// Its orders.
    Orders(OrderFact),
}

/// A column of numbers that a scoring receives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Where its numbers come from.
    #[serde(flatten)]
    pub source: ColumnSource,
}

/// Why a score is what it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reason {
    /// Its name.
    pub name: String,
    /// What people read.
    pub title: Texts,
}

/// Scores of records.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scoring {
    /// Its name.
    pub name: String,
    /// Whose scores.
    pub entity: EntityKind,
    /// What people read.
    pub title: Texts,
    /// What it is computed from.
    pub columns: Vec<Column>,
    /// What it gives as reasons.
    #[serde(default)]
    pub reasons: Vec<Reason>,
}

/// A type of workflow step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// What people read.
    pub title: Texts,
    /// JSON Schema of its input.
    pub input: Value,
    /// JSON Schema of its output.
    pub output: Value,
}

/// A function that other plugins may call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// What people read.
    pub title: Texts,
    /// JSON Schema of its input.
    pub input: Value,
    /// JSON Schema of its output.
    pub output: Value,
}

/// Events that a plugin handles.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Events {
    /// Their names.
    pub subscribe: Vec<String>,
}
