//! Core records as the host serves them. They grow: unknown JSON fields are
//! ignored, and what a record may lack has a default.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Money, Timestamp};

/// A person or a company. Before it is first saved it has no id and no times.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Customer {
    pub id: String,
    pub version: i64,
    /// `person` or `company`.
    pub kind: String,
    pub name: String,
    pub lifecycle_stage: String,
    pub owner_id: Option<String>,
    pub org_unit_id: Option<String>,
    pub tags: Vec<String>,
    pub contact_points: Vec<ContactPoint>,
    pub identities: Vec<Identity>,
    pub preferences: Map<String, Value>,
    pub custom_fields: Map<String, Value>,
    /// Fields of plugins by `plugin.field`.
    pub fields: BTreeMap<String, Value>,
    pub created_at: Option<Timestamp>,
    pub updated_at: Option<Timestamp>,
}

/// A way to reach a customer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContactPoint {
    /// `email`, `phone`, `wechat`, `address` or `other`.
    pub kind: String,
    pub value: String,
    pub primary: bool,
}

/// What another system calls the customer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Identity {
    pub source: String,
    pub external_id: String,
}

/// How far an order is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    #[default]
    Open,
    Completed,
    Cancelled,
    /// One that this SDK does not know.
    #[serde(other)]
    Other,
}

/// An order with its lines and refunds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub version: i64,
    #[serde(default)]
    pub external_id: Option<String>,
    #[serde(default)]
    pub source: Option<String>,
    pub customer_id: String,
    #[serde(default)]
    pub status: OrderStatus,
    #[serde(default)]
    pub channel: String,
    #[serde(default)]
    pub store: Option<String>,
    pub ordered_at: Timestamp,
    /// May be zero or, for a return, negative.
    pub total: Money,
    /// The sum of the refunds; nothing if absent.
    #[serde(default)]
    pub refunded: Option<Money>,
    #[serde(default)]
    pub lines: Vec<Line>,
    #[serde(default)]
    pub refunds: Vec<Refund>,
    #[serde(default)]
    pub custom_fields: Map<String, Value>,
    /// Fields of plugins by `plugin.field`.
    #[serde(default)]
    pub fields: BTreeMap<String, Value>,
    #[serde(default)]
    pub created_at: Option<Timestamp>,
    #[serde(default)]
    pub updated_at: Option<Timestamp>,
}

impl Order {
    /// What the customer paid in the end: the total less the refunds.
    pub fn net_minor(&self) -> i64 {
        let refunded = self.refunded.as_ref().map_or(0, |sum| sum.amount_minor);
        self.total.amount_minor.saturating_sub(refunded)
    }
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    #[serde(default)]
    pub sku: String,
    #[serde(default)]
    pub name: String,
    /// The product's class.
    #[serde(default)]
    pub class: Option<String>,
    /// A number, or a decimal number as text.
    #[serde(default)]
    pub quantity: Value,
    #[serde(default)]
    pub unit_price: Option<Money>,
    pub amount: Money,
}

/// Money given back for an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refund {
    pub id: String,
    pub refunded_at: Timestamp,
    pub amount: Money,
    #[serde(default)]
    pub reason: Option<String>,
}

/// A contact with a customer, on any channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interaction {
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub customer_id: String,
    #[serde(default)]
    pub kind: String,
    #[serde(default)]
    pub channel: Option<String>,
    #[serde(default)]
    pub summary: String,
    #[serde(default)]
    pub occurred_at: Option<Timestamp>,
    #[serde(default)]
    pub details: Value,
}

/// Something that a customer did, such as a page view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Behaviour {
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub customer_id: String,
    #[serde(default)]
    pub kind: String,
    #[serde(default)]
    pub occurred_at: Option<Timestamp>,
    #[serde(default)]
    pub details: Value,
}
