//! Field classes: how close a field is to a person, and which class each member of a core record has.
//!
//! This is the one table. What stands in no table is shown to no plugin, so that a member that a
//! record gains is hidden until somebody has classed it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::code::{Code, Params};

/// How close a field is to a person. Grants open classes; what is not opened is masked.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum FieldClass {
    /// Ids, times, states, labels: every grant over a record opens these.
    Basic,
    /// How a person can be reached.
    Contact,
    /// What is told of a person, and free text. The class of a field whose definition names none.
    #[default]
    Personal,
    /// Amounts of money.
    Financial,
}

impl FieldClass {
    /// Every one, in the order of its declaration.
    pub const ALL: &'static [Self] = &[Self::Basic, Self::Contact, Self::Personal, Self::Financial];

    /// The name in manifests, the API and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Contact => "contact",
            Self::Personal => "personal",
            Self::Financial => "financial",
        }
    }
}

impl Code for FieldClass {
    const FAMILY: &'static str = "class";

    fn as_str(&self) -> &'static str {
        Self::as_str(*self)
    }

    fn params(&self) -> Params {
        Params::new()
    }
}

impl fmt::Display for FieldClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no field class.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown field class `{0}`; there are basic, contact, personal and financial")]
pub struct UnknownClass(pub String);

impl FromStr for FieldClass {
    type Err = UnknownClass;

    fn from_str(text: &str) -> Result<Self, UnknownClass> {
        let found = Self::ALL.iter().copied().find(|class| class.as_str() == text);
        found.ok_or_else(|| UnknownClass(text.to_owned()))
    }
}

/// A kind of record that plugins see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// A customer.
    Customer,
    /// An order.
    Order,
    /// An entry of a customer's timeline.
    TimelineEntry,
}

impl RecordKind {
    /// Its members as the API shows them.
    #[must_use]
    pub(crate) const fn members(self) -> &'static [Member] {
        match self {
            Self::Customer => CUSTOMER,
            Self::Order => ORDER,
            Self::TimelineEntry => TIMELINE_ENTRY,
        }
    }

    /// The class of a member by its path, such as `name` or `lines.amount`; nothing for a member
    /// that is not there, and for fields, whose definitions have the class.
    #[must_use]
    pub fn class_of(self, path: &str) -> Option<FieldClass> {
        class_of(self.members(), path)
    }

    /// Whether a path names a member, or may name a field.
    #[must_use]
    pub fn has(self, path: &str) -> bool {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        let found = self.members().iter().find(|member| member.name == first);
        found.is_some_and(|member| match member.content {
            Content::CustomFields => is_name(rest),
            Content::PluginFields => {
                rest.split_once('.').is_some_and(|(plugin, name)| is_name(plugin) && is_name(name))
            }
            Content::Basic | Content::Masked(..) | Content::Each(_) => self.class_of(path).is_some(),
        })
    }
}

fn class_of(members: &[Member], path: &str) -> Option<FieldClass> {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    match (members.iter().find(|member| member.name == first)?.content, rest) {
        (Content::Basic | Content::Each(_), "") => Some(FieldClass::Basic),
        (Content::Masked(class, _), "") => Some(class),
        (Content::Each(inner), rest) => class_of(inner, rest),
        (Content::Basic | Content::Masked(..) | Content::CustomFields | Content::PluginFields, _) => None,
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
}

/// A member of a record as the API shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) content: Content,
}

/// What a member holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    /// Something basic, which is always shown.
    Basic,
    /// Something of another class, and what stands there when it is hidden.
    Masked(FieldClass, Mask),
    /// A list of objects whose members have classes of their own.
    Each(&'static [Member]),
    /// The tenant's own fields; each definition has its class.
    CustomFields,
    /// The plugins' fields; each declaration has its class.
    PluginFields,
}

/// What stands in the place of a hidden value: of the same type, so that every reader still can read it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mask {
    /// The text `***`.
    Text,
    /// No money of no currency: `{"amount_minor": 0, "currency": "XXX"}`.
    Money,
    /// An empty list.
    List,
    /// An empty object.
    Object,
    /// Nothing: the member may be missing anyway.
    Absent,
}

const fn basic(name: &'static str) -> Member {
    Member { name, content: Content::Basic }
}

const fn masked(name: &'static str, class: FieldClass, mask: Mask) -> Member {
    Member { name, content: Content::Masked(class, mask) }
}

const fn each(name: &'static str, members: &'static [Member]) -> Member {
    Member { name, content: Content::Each(members) }
}

const CUSTOMER: &[Member] = &[
    basic("id"),
    basic("version"),
    basic("kind"),
    masked("name", FieldClass::Personal, Mask::Text),
    basic("lifecycle_stage"),
    basic("owner_id"),
    basic("org_unit_id"),
    basic("tags"),
    masked("contact_points", FieldClass::Contact, Mask::List),
    masked("identities", FieldClass::Personal, Mask::List),
    masked("preferences", FieldClass::Personal, Mask::Object),
    Member { name: "custom_fields", content: Content::CustomFields },
    Member { name: "fields", content: Content::PluginFields },
    basic("provenance"),
    basic("created_at"),
    basic("updated_at"),
];

const ORDER: &[Member] = &[
    basic("id"),
    basic("version"),
    basic("source"),
    basic("external_id"),
    basic("customer_id"),
    basic("status"),
    basic("channel"),
    basic("store"),
    basic("ordered_at"),
    masked("total", FieldClass::Financial, Mask::Money),
    masked("refunded", FieldClass::Financial, Mask::Money),
    each("lines", LINE),
    each("refunds", REFUND),
    Member { name: "custom_fields", content: Content::CustomFields },
    Member { name: "fields", content: Content::PluginFields },
    basic("created_at"),
    basic("updated_at"),
];

const LINE: &[Member] = &[
    basic("sku"),
    basic("name"),
    basic("class"),
    basic("quantity"),
    masked("unit_price", FieldClass::Financial, Mask::Absent),
    masked("amount", FieldClass::Financial, Mask::Money),
];

const REFUND: &[Member] = &[
    basic("id"),
    basic("refunded_at"),
    masked("amount", FieldClass::Financial, Mask::Money),
    masked("reason", FieldClass::Personal, Mask::Absent),
    basic("source"),
    basic("external_id"),
];

const TIMELINE_ENTRY: &[Member] = &[
    basic("id"),
    basic("customer_id"),
    basic("category"),
    basic("kind"),
    basic("occurred_at"),
    masked("summary", FieldClass::Personal, Mask::Text),
    basic("channel"),
    basic("direction"),
    basic("outcome"),
    basic("agent_id"),
    basic("duration_s"),
    masked("content", FieldClass::Personal, Mask::Absent),
    masked("object", FieldClass::Personal, Mask::Absent),
    basic("device"),
    masked("details", FieldClass::Personal, Mask::Absent),
    basic("source"),
    basic("external_id"),
    basic("created_at"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_found_by_path() {
        assert_eq!(RecordKind::Customer.class_of("name"), Some(FieldClass::Personal));
        assert_eq!(RecordKind::Order.class_of("lines"), Some(FieldClass::Basic));
        assert_eq!(RecordKind::Order.class_of("lines.amount"), Some(FieldClass::Financial));
        assert_eq!(RecordKind::Order.class_of("lines.nothing"), None);
        assert_eq!(RecordKind::Order.class_of("total.amount_minor"), None);
        assert_eq!(RecordKind::Customer.class_of("custom_fields.birthday"), None);
    }

    #[test]
    fn a_path_names_a_member_or_a_field() {
        for path in ["name", "custom_fields.birthday", "fields.coffee-club.stamps"] {
            assert!(RecordKind::Customer.has(path), "{path}");
        }
        for path in ["", "nothing", "custom_fields", "custom_fields.", "fields.coffee-club", "name.first"] {
            assert!(!RecordKind::Customer.has(path), "{path}");
        }
    }

    #[test]
    fn every_class_reads_itself_back() {
        for class in FieldClass::ALL {
            assert_eq!(class.as_str().parse(), Ok(*class));
            assert_eq!(serde_json::to_value(class).unwrap(), class.as_str());
        }
    }
}
