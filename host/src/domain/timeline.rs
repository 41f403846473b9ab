//! The timeline of a customer: contacts, behaviour, and what plugins have noted. Entries never change.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::check::Faults;
use super::field::FIELD_NAME_BYTES_MAX;
use super::ids::{CustomerId, TimelineId, UserId};
use super::order::CODE_CHARS_MAX;
use crate::clock::Timestamp;
use crate::domain::code::FaultCode;

/// Bytes of a summary.
pub const SUMMARY_BYTES_MAX: usize = 500;
/// Characters of what was said.
pub const CONTENT_CHARS_MAX: usize = 20_000;
/// Seconds of a contact: a week.
pub const DURATION_S_MAX: i64 = 604_800;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// A contact with the customer.
    Interaction,
    /// Something that the customer did.
    Behaviour,
    /// What a plugin has noted.
    Plugin,
}

impl Category {
    /// The name in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interaction => "interaction",
            Self::Behaviour => "behaviour",
            Self::Plugin => "plugin",
        }
    }

    /// The category of a stored name.
    #[must_use]
    pub fn from_stored(text: &str) -> Self {
        match text {
            "interaction" => Self::Interaction,
            "plugin" => Self::Plugin,
            _ => Self::Behaviour,
        }
    }

    /// The event that an entry of this category is announced by. What a plugin
    /// notes is no contact, so it counts as behaviour.
    #[must_use]
    pub const fn event_name(self) -> &'static str {
        match self {
            Self::Interaction => "interaction.created",
            Self::Behaviour | Self::Plugin => "behaviour.created",
        }
    }
}

/// Who began a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The customer.
    Inbound,
    /// The tenant.
    Outbound,
}

impl Direction {
    /// The name in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }

    /// The direction of a stored name.
    #[must_use]
    pub fn from_stored(text: &str) -> Self {
        if text == "outbound" { Self::Outbound } else { Self::Inbound }
    }
}

/// One entry as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TimelineEntry {
    /// The entry's id.
    #[schema(value_type = String)]
    pub id: TimelineId,
    /// Whose timeline it is.
    #[schema(value_type = String)]
    pub customer_id: CustomerId,
    /// What it is.
    pub category: Category,
    /// `interaction`, the type of behaviour, or `plugin.kind`.
    pub kind: String,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub occurred_at: Timestamp,
    /// One line for a person.
    pub summary: String,
    /// The channel, such as `phone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Who began the contact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// What came of the contact, such as `resolved`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The user who had the contact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<UserId>,
    /// How long the contact took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_s: Option<i64>,
    /// What was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// What the behaviour was about, such as a sku or a page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The device that the customer used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Details for machines.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
    /// The system that the entry comes from; `plugin:<name>` for a plugin's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The entry's id there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// When the record was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// A contact to note.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInteraction {
    /// When it happened; now, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub occurred_at: Option<Timestamp>,
    /// The channel, such as `phone`.
    #[schema(min_length = 1, max_length = 100)]
    pub channel: String,
    /// Who began it.
    pub direction: Direction,
    /// One line for a person.
    #[schema(min_length = 1, max_length = 500)]
    pub summary: String,
    /// What came of it, such as `resolved`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 100)]
    pub outcome: Option<String>,
    /// The user who had it; whoever notes it, if they are a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<UserId>,
    /// How long it took, at most a week.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 604_800)]
    pub duration_s: Option<i64>,
    /// What was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 20_000)]
    pub content: Option<String>,
    /// Details for machines: at most 16 KiB, 8 levels deep.
    #[serde(default)]
    pub details: Map<String, Value>,
    /// The system that it comes from; needs `external_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 60)]
    pub source: Option<String>,
    /// Its id there. Stating it again changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200)]
    pub external_id: Option<String>,
}

/// Something that a customer did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBehaviour {
    /// What the customer did, `snake_case`, such as `browse`, `search`, `add_to_cart`.
    #[serde(rename = "type")]
    #[schema(min_length = 1, max_length = 50)]
    pub kind: String,
    /// When it happened; now, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub occurred_at: Option<Timestamp>,
    /// What it was about, such as a sku or a page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 500)]
    pub object: Option<String>,
    /// The device that the customer used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 100)]
    pub device: Option<String>,
    /// The channel, such as `app`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 100)]
    pub channel: Option<String>,
    /// One line for a person.
    #[serde(default)]
    #[schema(max_length = 500)]
    pub summary: String,
    /// Details for machines: at most 16 KiB, 8 levels deep.
    #[serde(default)]
    pub details: Map<String, Value>,
    /// The system that it comes from; needs `external_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 60)]
    pub source: Option<String>,
    /// Its id there. Stating it again changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200)]
    pub external_id: Option<String>,
}

/// What a plugin notes.
#[derive(Clone, Debug, PartialEq)]
pub struct NewPluginEntry {
    /// The plugin's name.
    pub plugin: String,
    /// What happened, `snake_case`, without the plugin's name.
    pub kind: String,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// One line for a person.
    pub summary: String,
    /// Details for machines.
    pub details: Map<String, Value>,
    /// Unique for the plugin: a second entry with the same one is dropped.
    pub external_id: Option<String>,
}

/// An entry to add.
#[derive(Clone, Debug, PartialEq)]
pub enum NewEntry {
    /// A contact.
    Interaction(NewInteraction),
    /// Something that the customer did.
    Behaviour(NewBehaviour),
    /// What a plugin notes.
    Plugin(NewPluginEntry),
}

impl NewEntry {
    /// The source and external id that make the entry idempotent.
    #[must_use]
    pub fn identity(&self) -> Option<(String, String)> {
        match self {
            Self::Interaction(new) => new.source.clone().zip(new.external_id.clone()),
            Self::Behaviour(new) => new.source.clone().zip(new.external_id.clone()),
            Self::Plugin(new) => Some((plugin_source(&new.plugin), new.external_id.clone()?)),
        }
    }

    /// The entry that this makes; `agent` is the acting user.
    #[must_use]
    pub fn into_entry(
        self,
        id: TimelineId,
        customer_id: CustomerId,
        agent: Option<&UserId>,
        now: Timestamp,
    ) -> TimelineEntry {
        let blank = TimelineEntry {
            id,
            customer_id,
            category: Category::Interaction,
            kind: "interaction".to_owned(),
            occurred_at: now,
            summary: String::new(),
            channel: None,
            direction: None,
            outcome: None,
            agent_id: None,
            duration_s: None,
            content: None,
            object: None,
            device: None,
            details: Map::new(),
            source: None,
            external_id: None,
            created_at: now,
        };
        match self {
            Self::Interaction(new) => new.fill(blank, agent),
            Self::Behaviour(new) => new.fill(blank),
            Self::Plugin(new) => new.fill(blank),
        }
    }
}

fn plugin_source(plugin: &str) -> String {
    format!("plugin:{plugin}")
}

impl NewInteraction {
    fn fill(self, blank: TimelineEntry, agent: Option<&UserId>) -> TimelineEntry {
        let Self {
            occurred_at,
            channel,
            direction,
            summary,
            outcome,
            agent_id,
            duration_s,
            content,
            details,
            source,
            external_id,
        } = self;
        TimelineEntry {
            occurred_at: occurred_at.unwrap_or(blank.occurred_at),
            channel: Some(channel),
            direction: Some(direction),
            summary,
            outcome,
            agent_id: agent_id.or_else(|| agent.cloned()),
            duration_s,
            content,
            details,
            source,
            external_id,
            ..blank
        }
    }
}

impl NewBehaviour {
    fn fill(self, blank: TimelineEntry) -> TimelineEntry {
        let Self { kind, occurred_at, object, device, channel, summary, details, source, external_id } = self;
        TimelineEntry {
            category: Category::Behaviour,
            kind,
            occurred_at: occurred_at.unwrap_or(blank.occurred_at),
            object,
            device,
            channel,
            summary,
            details,
            source,
            external_id,
            ..blank
        }
    }
}

impl NewPluginEntry {
    fn fill(self, blank: TimelineEntry) -> TimelineEntry {
        let Self { plugin, kind, occurred_at, summary, details, external_id } = self;
        TimelineEntry {
            category: Category::Plugin,
            kind: format!("{plugin}.{kind}"),
            occurred_at,
            summary,
            details,
            source: external_id.is_some().then(|| plugin_source(&plugin)),
            external_id,
            ..blank
        }
    }
}

impl TimelineEntry {
    /// Notes what is wrong with the entry.
    pub fn check(&self, faults: &mut Faults) {
        if self.category != Category::Behaviour {
            faults.text("/summary", &self.summary, SUMMARY_BYTES_MAX);
        }
        if self.summary.len() > SUMMARY_BYTES_MAX {
            faults.plain("/summary", FaultCode::too_many_bytes(SUMMARY_BYTES_MAX));
        }
        let kind = self.kind.rsplit_once('.').map_or(self.kind.as_str(), |(_, kind)| kind);
        let pointer = if self.category == Category::Behaviour { "/type" } else { "/kind" };
        faults.snake_case(pointer, kind, FIELD_NAME_BYTES_MAX);
        for (pointer, text, chars_max) in [
            ("/channel", &self.channel, CODE_CHARS_MAX),
            ("/outcome", &self.outcome, CODE_CHARS_MAX),
            ("/device", &self.device, CODE_CHARS_MAX),
            ("/object", &self.object, SUMMARY_BYTES_MAX),
        ] {
            if let Some(text) = text {
                faults.text(pointer, text, chars_max);
            }
        }
        if let Some(content) = &self.content {
            faults.optional_text("/content", content, CONTENT_CHARS_MAX);
        }
        if let Some(duration_s) = self.duration_s {
            faults.range("/duration_s", duration_s, 0, DURATION_S_MAX);
        }
        faults.document("/details", &self.details);
        faults.identity("", self.source.as_deref(), self.external_id.as_deref());
        if self.category != Category::Plugin
            && self.source.as_deref().is_some_and(|source| source.starts_with("plugin:"))
        {
            faults.add("/source", FaultCode::Reserved, "sources that begin with `plugin:` are the plugins'");
        }
    }

    /// The record as the API shows it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("a timeline entry is plain data")
    }
}
