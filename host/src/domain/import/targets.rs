//! The fields that rows of each entity may feed: one table, from which mappings are checked and rows are read.

use super::ImportEntity;
use crate::domain::check::{EXTERNAL_ID_CHARS_MAX as EXTERNAL_ID_CHARS, SOURCE_CHARS_MAX};
use crate::domain::customer::{CONTACT_CHARS_MAX, NAME_CHARS_MAX};
use crate::domain::order::{CODE_CHARS_MAX, PRODUCT_NAME_CHARS_MAX, QUANTITY_MAX};
use crate::domain::timeline::{CONTENT_CHARS_MAX, DURATION_S_MAX};

/// Directions of an interaction.
const TIMELINE_DIRECTIONS: &[&str] = &["inbound", "outbound"];

/// The field by which a row is known again.
pub(super) const EXTERNAL_ID: &str = "external_id";
/// Characters of an external id.
pub(super) const EXTERNAL_ID_CHARS_MAX: usize = EXTERNAL_ID_CHARS;

/// What the text of a target must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text of at most so many characters.
    Text(usize),
    /// One of these.
    Choice(&'static [&'static str]),
    /// An ISO 4217 code.
    Currency,
    /// An amount in the row's currency.
    Money,
    /// A time.
    Time,
    /// A whole number between two others.
    Integer(i64, i64),
}

/// A field that a column may feed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// Its name in a mapping.
    pub(super) name: &'static str,
    /// What its text must be.
    pub(super) kind: Kind,
    /// Whether a mapping must feed it and every row must have it.
    pub(super) required: bool,
}

const fn required(name: &'static str, kind: Kind) -> Target {
    Target { name, kind, required: true }
}

const fn optional(name: &'static str, kind: Kind) -> Target {
    Target { name, kind, required: false }
}

const CUSTOMER_KINDS: &[&str] = &["person", "company"];
const ORDER_STATES: &[&str] = &["open", "completed", "cancelled"];

const CUSTOMERS: &[Target] = &[
    required(EXTERNAL_ID, Kind::Text(EXTERNAL_ID_CHARS_MAX)),
    required("name", Kind::Text(NAME_CHARS_MAX)),
    optional("kind", Kind::Choice(CUSTOMER_KINDS)),
    optional("lifecycle_stage", Kind::Text(50)),
    optional("tags", Kind::Text(4_000)),
    optional("email", Kind::Text(CONTACT_CHARS_MAX)),
    optional("phone", Kind::Text(CONTACT_CHARS_MAX)),
    optional("wechat", Kind::Text(CONTACT_CHARS_MAX)),
    optional("address", Kind::Text(CONTACT_CHARS_MAX)),
];

const PRODUCTS: &[Target] = &[
    required(EXTERNAL_ID, Kind::Text(EXTERNAL_ID_CHARS_MAX)),
    required("sku", Kind::Text(CODE_CHARS_MAX)),
    required("name", Kind::Text(PRODUCT_NAME_CHARS_MAX)),
    optional("class", Kind::Text(CODE_CHARS_MAX)),
    optional("currency", Kind::Currency),
    optional("price", Kind::Money),
];

const ORDERS: &[Target] = &[
    required(EXTERNAL_ID, Kind::Text(EXTERNAL_ID_CHARS_MAX)),
    required("customer.external_id", Kind::Text(EXTERNAL_ID_CHARS_MAX)),
    optional("customer.source", Kind::Text(SOURCE_CHARS_MAX)),
    optional("customer.kind", Kind::Choice(CUSTOMER_KINDS)),
    optional("customer.name", Kind::Text(NAME_CHARS_MAX)),
    required("ordered_at", Kind::Time),
    required("currency", Kind::Currency),
    required("total", Kind::Money),
    optional("status", Kind::Choice(ORDER_STATES)),
    required("channel", Kind::Text(CODE_CHARS_MAX)),
    optional("store", Kind::Text(CODE_CHARS_MAX)),
    optional("line.sku", Kind::Text(CODE_CHARS_MAX)),
    optional("line.name", Kind::Text(PRODUCT_NAME_CHARS_MAX)),
    optional("line.class", Kind::Text(CODE_CHARS_MAX)),
    optional("line.quantity", Kind::Integer(1, QUANTITY_MAX)),
    optional("line.unit_price", Kind::Money),
    optional("line.amount", Kind::Money),
];

const INTERACTIONS: &[Target] = &[
    required(EXTERNAL_ID, Kind::Text(EXTERNAL_ID_CHARS_MAX)),
    required("customer.external_id", Kind::Text(EXTERNAL_ID_CHARS_MAX)),
    optional("customer.source", Kind::Text(SOURCE_CHARS_MAX)),
    required("occurred_at", Kind::Time),
    required("channel", Kind::Text(CODE_CHARS_MAX)),
    required("direction", Kind::Choice(TIMELINE_DIRECTIONS)),
    required("summary", Kind::Text(500)),
    optional("outcome", Kind::Text(CODE_CHARS_MAX)),
    optional("content", Kind::Text(CONTENT_CHARS_MAX)),
    optional("duration_s", Kind::Integer(0, DURATION_S_MAX)),
];

const BEHAVIOUR: &[Target] = &[
    required(EXTERNAL_ID, Kind::Text(EXTERNAL_ID_CHARS_MAX)),
    required("customer.external_id", Kind::Text(EXTERNAL_ID_CHARS_MAX)),
    optional("customer.source", Kind::Text(SOURCE_CHARS_MAX)),
    required("occurred_at", Kind::Time),
    required("type", Kind::Text(50)),
    optional("object", Kind::Text(500)),
    optional("device", Kind::Text(CODE_CHARS_MAX)),
    optional("channel", Kind::Text(CODE_CHARS_MAX)),
    optional("summary", Kind::Text(500)),
];

/// Begins the names of the targets that a tenant's own definitions make.
pub(super) const CUSTOM_FIELD_PREFIX: &str = "custom_fields.";

pub(super) const fn targets(entity: ImportEntity) -> &'static [Target] {
    match entity {
        ImportEntity::Customers => CUSTOMERS,
        ImportEntity::Products => PRODUCTS,
        ImportEntity::Orders => ORDERS,
        ImportEntity::Interactions => INTERACTIONS,
        ImportEntity::Behaviour => BEHAVIOUR,
    }
}

/// The names of the fields that rows of `entity` may feed.
#[must_use]
pub fn target_names(entity: ImportEntity) -> Vec<&'static str> {
    targets(entity).iter().map(|target| target.name).collect()
}
