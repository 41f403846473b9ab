//! Events: what has happened in a tenant's data.

use serde_json::Value;

use super::ids::{CustomerId, EventId, OrderId};
use super::permission::Permission;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::ids::Ids;

/// What an event is about; events of one subject are delivered in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A customer.
    Customer(CustomerId),
    /// An order.
    Order(OrderId),
    /// The tenant as a whole.
    Tenant,
}

impl Subject {
    /// The kind: `customer`, `order` or `tenant`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Customer(_) => "customer",
            Self::Order(_) => "order",
            Self::Tenant => "tenant",
        }
    }

    /// The subject that a row names.
    ///
    /// # Errors
    /// [`Error::Internal`] for a kind that there is not.
    pub fn from_stored(kind: &str, id: &str) -> Result<Self> {
        match kind {
            "customer" => Ok(Self::Customer(CustomerId::from_stored(id.to_owned()))),
            "order" => Ok(Self::Order(OrderId::from_stored(id.to_owned()))),
            "tenant" => Ok(Self::Tenant),
            _ => Err(Error::internal(format!("a stored event is about a `{kind}`"))),
        }
    }

    /// The id; empty for the tenant.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Customer(id) => id.as_str(),
            Self::Order(id) => id.as_str(),
            Self::Tenant => "",
        }
    }
}

/// Every event of the host, and what one must be allowed to read in the whole tenant to see its body.
pub const NAMES: &[(&str, Permission)] = &[
    ("behaviour.created", Permission::TimelineRead),
    ("customer.created", Permission::CustomerRead),
    ("customer.deleted", Permission::CustomerRead),
    ("customer.updated", Permission::CustomerRead),
    ("interaction.created", Permission::TimelineRead),
    ("order.created", Permission::OrderRead),
    ("order.refunded", Permission::OrderRead),
    ("order.updated", Permission::OrderRead),
    ("plugin.rate_reached", Permission::PluginRead),
    ("webhook.disabled", Permission::WebhookRead),
];

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// The event's id, made in `prepare` so that a rerun appends the same.
    pub id: EventId,
    /// The name, such as `order.created`.
    pub name: &'static str,
    /// What it is about. An order's events are about its customer, so that one
    /// customer's purchases reach a plugin in their order.
    pub subject: Subject,
    /// The record after the change, as the REST API shows it to one who may see all of it.
    pub body: Value,
}

impl Event {
    /// An event with a new id.
    pub fn new(ids: &dyn Ids, now: Timestamp, name: &'static str, subject: Subject, body: Value) -> Self {
        Self { id: EventId::new(ids, now), name, subject, body }
    }
}
