//! Records and data that a manifest speaks of: core entities, collections, fields.

use serde::{Deserialize, Serialize};

use super::package::Texts;
use crate::domain::code::TypeName;
use crate::domain::field_class::FieldClass;
use crate::domain::grant::Grant;
use crate::domain::permission::Role;

/// A core record that plugins work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntityKind {
    /// A customer.
    Customer,
    /// An order.
    Order,
}

impl EntityKind {
    /// The name in manifests and paths.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Order => "order",
        }
    }

    /// The grant without which a plugin's hook on it is not called.
    #[must_use]
    pub const fn hook_grant(self) -> Grant {
        match self {
            Self::Customer => Grant::HooksCustomer,
            Self::Order => Grant::HooksOrder,
        }
    }
}

/// The type of an indexed value or a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScalarType {
    /// Text, at most 1 KiB.
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// A finite floating-point number.
    Number,
    /// True or false.
    Boolean,
    /// A time.
    Time,
}

impl ScalarType {
    /// As texts call it.
    #[must_use]
    pub const fn type_name(self) -> TypeName {
        match self {
            Self::Text => TypeName::Text,
            Self::Integer => TypeName::Integer,
            Self::Number => TypeName::Number,
            Self::Boolean => TypeName::Boolean,
            Self::Time => TypeName::Time,
        }
    }
}

/// What the documents of a collection belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    /// A customer.
    Customer,
    /// An order.
    Order,
    /// The tenant.
    Tenant,
}

impl SubjectKind {
    /// The name in manifests and rows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Order => "order",
            Self::Tenant => "tenant",
        }
    }
}

/// An index of a collection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Where its value stands in a document.
    pub pointer: String,
    /// The value's type.
    #[serde(rename = "type")]
    pub kind: ScalarType,
}

/// A collection of documents.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Collection {
    /// Its name.
    pub name: String,
    /// What its documents belong to.
    pub subject: SubjectKind,
    /// What queries may ask by.
    #[serde(default)]
    pub indexes: Vec<Index>,
}

/// A field on a core record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Field {
    /// On which record.
    pub entity: EntityKind,
    /// Its name, without the plugin's.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ScalarType,
    /// What people read.
    pub label: Texts,
    /// Who may read it beside owners and admins; whoever may read the record, if empty.
    #[serde(default)]
    pub roles: Vec<Role>,
    /// How close it is to a person.
    #[serde(default)]
    pub class: FieldClass,
}
