//! Webhooks: addresses of a tenant's other systems that are told what happens.

mod attempt;
mod signature;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use attempt::{ATTEMPT_DAYS_MAX, ATTEMPTS_KEPT_MAX, Attempt, Verdict, excerpt};
pub use signature::{mint, sign, signing_key};

use super::actor::Actor;
use super::check::Faults;
use super::ids::WebhookId;
use super::patch::Patch;
use super::permission::Role;
use crate::clock::Timestamp;

/// Webhooks of a tenant at most. Each may keep a request waiting until its time is over, so
/// there are fewer than a tenant may have requests under way.
pub const WEBHOOKS_MAX: i64 = 32;
/// Names of events that one asks for at most; one that asks for all names none.
pub const EVENTS_MAX: usize = 64;
/// Characters of a description.
pub const DESCRIPTION_CHARS_MAX: usize = 200;
/// Secrets that sign at the same time at most.
pub const SECRETS_MAX: usize = 4;
/// Hours that a secret signs beside its successor, unless the caller says otherwise, and at most.
pub const OVERLAP_HOURS_DEFAULT: u32 = 24;
/// As above, at most.
pub const OVERLAP_HOURS_MAX: u32 = 168;
/// After so long without a success, a webhook is disabled.
pub const FAILING_SECONDS_MAX: i64 = 5 * 24 * 60 * 60;
/// Bytes of a delivery's body must be fewer; of a larger event only the address is sent.
pub const BODY_BYTES_MAX: usize = 20_000;
/// The name of the event that a test sends.
pub const TEST_EVENT: &str = "webhook.test";

/// Whether a webhook is told what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WebhookState {
    /// It is.
    Enabled,
    /// It is not; what happens meanwhile is not kept for it.
    Disabled,
}

/// Why a webhook is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DisabledReason {
    /// Somebody has disabled it.
    Asked,
    /// It has answered 410: it does not want to be told any more.
    Gone,
    /// It has failed for days without one success.
    Failing,
}

/// An address that is told what happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Webhook {
    /// Its id.
    #[schema(value_type = String)]
    pub id: WebhookId,
    /// Grows with every change.
    pub version: i64,
    /// Where events are sent.
    pub url: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The names of the events that it is told of; empty for all that there were when it was
    /// last changed.
    pub events: Vec<String>,
    /// Whether it is told.
    pub state: WebhookState,
    /// Why it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_reason: Option<DisabledReason>,
    /// Since when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub disabled_at: Option<Timestamp>,
    /// Since when it has failed without one success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub failing_since: Option<Timestamp>,
    /// The roles of whoever last changed it. Of plugins' fields it is told what these may read.
    pub roles: Vec<Role>,
    /// Who has made it: a kind and an id, such as `user:usr_…`.
    pub created_by: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When somebody last changed it.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// A webhook to make.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// Where events are sent: an https address of a public host, written plainly.
    #[schema(min_length = 1, max_length = 2000)]
    pub url: String,
    /// What it is for.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 200)]
    pub description: Option<String>,
    /// The names of the events that it is told of, such as `order.created`; all without.
    #[serde(default)]
    #[schema(max_items = 64)]
    pub events: Vec<String>,
}

/// A merge patch (RFC 7396) over a webhook.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookPatch {
    /// Where events are sent; cannot be cleared.
    #[schema(value_type = String, required = false, min_length = 1, max_length = 2000)]
    pub url: Option<String>,
    /// What it is for.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200)]
    pub description: Patch<String>,
    /// The names of the events that it is told of; empty for all.
    #[schema(value_type = Vec<String>, required = false, max_items = 64)]
    pub events: Option<Vec<String>>,
    /// Whether it is told; what has waited is sent when it is enabled again.
    #[schema(value_type = WebhookState, required = false)]
    pub state: Option<WebhookState>,
}

impl NewWebhook {
    /// The record that this makes.
    #[must_use]
    pub fn into_webhook(self, id: WebhookId, actor: &Actor, now: Timestamp) -> Webhook {
        let Self { url, description, events } = self;
        Webhook {
            id,
            version: 1,
            url,
            description,
            events: sorted(events),
            state: WebhookState::Enabled,
            disabled_reason: None,
            disabled_at: None,
            failing_since: None,
            roles: actor.roles.clone(),
            created_by: format!("{}:{}", actor.principal.kind(), actor.principal.id()),
            created_at: now,
            updated_at: now,
        }
    }
}

impl WebhookPatch {
    /// Applies the patch.
    pub fn apply(self, webhook: &mut Webhook, now: Timestamp) {
        let Self { url, description, events, state } = self;
        if let Some(url) = url {
            webhook.url = url;
        }
        webhook.description = description.apply(webhook.description.take());
        if let Some(events) = events {
            webhook.events = sorted(events);
        }
        match state {
            Some(WebhookState::Enabled) if webhook.state == WebhookState::Disabled => webhook.enable(),
            Some(WebhookState::Disabled) if webhook.state == WebhookState::Enabled => {
                webhook.disable(DisabledReason::Asked, now);
            }
            Some(WebhookState::Enabled | WebhookState::Disabled) | None => {}
        }
    }
}

impl Webhook {
    /// Notes what is wrong with the record, apart from its address and its events.
    pub fn check(&self, faults: &mut Faults) {
        if let Some(description) = &self.description {
            faults.text("/description", description, DESCRIPTION_CHARS_MAX);
        }
        faults.count("/events", self.events.len(), EVENTS_MAX);
    }

    /// Stops telling it.
    pub fn disable(&mut self, reason: DisabledReason, now: Timestamp) {
        self.state = WebhookState::Disabled;
        self.disabled_reason = Some(reason);
        self.disabled_at = Some(now);
    }

    /// Tells it again, with as much time to succeed as a new one has.
    fn enable(&mut self) {
        self.state = WebhookState::Enabled;
        self.disabled_reason = None;
        self.disabled_at = None;
        self.failing_since = None;
    }

    /// The consumer that it is.
    #[must_use]
    pub fn consumer(&self) -> String {
        format!("{CONSUMER_KIND}:{}", self.id)
    }

    /// The record as the API shows it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("a webhook is plain data")
    }
}

/// What the names of webhooks as consumers of events begin with.
pub const CONSUMER_KIND: &str = "webhook";

fn sorted(mut events: Vec<String>) -> Vec<String> {
    events.sort();
    events.dedup();
    events
}
