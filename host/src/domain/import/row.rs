//! A row of a file as typed values, and how it is known again.

use std::collections::BTreeMap;

use super::targets::CUSTOM_FIELD_PREFIX;
use crate::clock::Timestamp;
use crate::domain::money::Money;

/// A row's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The line on which its record begins.
    pub line: u64,
    /// How the row is known again.
    pub identity: Option<RowIdentity>,
    pub(super) values: BTreeMap<String, Value>,
}

/// How a row is known again: an external id, or what one is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowIdentity {
    /// The external id itself.
    Given(String),
    /// Equal rows are numbered.
    Numbered {
        /// What the rows have in common.
        base: String,
        /// The same in 32 characters, to count by.
        key: String,
    },
}

impl RowIdentity {
    /// The external id of the `occurrence`-th row (from 1) that looks like this.
    #[must_use]
    pub fn external_id(&self, occurrence: u64) -> String {
        match self {
            Self::Given(id) => id.clone(),
            Self::Numbered { base, .. } => format!("{base}#{occurrence}"),
        }
    }
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text, also a choice, a custom field or tags.
    Text(String),
    /// An amount.
    Money(Money),
    /// A time.
    Time(Timestamp),
    /// A whole number.
    Integer(i64),
}

impl Row {
    /// The text of a target, if the row has one.
    #[must_use]
    pub fn text(&self, target: &str) -> Option<&str> {
        match self.values.get(target) {
            Some(Value::Text(text)) => Some(text),
            Some(Value::Money(_) | Value::Time(_) | Value::Integer(_)) | None => None,
        }
    }

    /// The amount of a target, if the row has one.
    #[must_use]
    pub fn money(&self, target: &str) -> Option<Money> {
        match self.values.get(target) {
            Some(Value::Money(money)) => Some(*money),
            Some(Value::Text(_) | Value::Time(_) | Value::Integer(_)) | None => None,
        }
    }

    /// The time of a target, if the row has one.
    #[must_use]
    pub fn time(&self, target: &str) -> Option<Timestamp> {
        match self.values.get(target) {
            Some(Value::Time(time)) => Some(*time),
            Some(Value::Text(_) | Value::Money(_) | Value::Integer(_)) | None => None,
        }
    }

    /// The number of a target, if the row has one.
    #[must_use]
    pub fn integer(&self, target: &str) -> Option<i64> {
        match self.values.get(target) {
            Some(Value::Integer(number)) => Some(*number),
            Some(Value::Text(_) | Value::Money(_) | Value::Time(_)) | None => None,
        }
    }

    /// The tenant's own fields of the row, by name.
    pub fn custom_fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().filter_map(|(name, value)| match value {
            Value::Text(text) => Some((name.strip_prefix(CUSTOM_FIELD_PREFIX)?, text.as_str())),
            Value::Money(_) | Value::Time(_) | Value::Integer(_) => None,
        })
    }
}
