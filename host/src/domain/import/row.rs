//! A row of a file as typed values, and how it is known again.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest as _, Sha256};

use super::RowFault;
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

/// A row, or why it is none.
pub type ReadRow = Result<Row, Refused>;

/// Why a record is no row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// How it would be known again, if that much can be read.
    pub identity: Option<RowIdentity>,
    /// Every fault.
    pub faults: Vec<RowFault>,
}

impl From<RowFault> for Refused {
    fn from(fault: RowFault) -> Self {
        Self { identity: None, faults: vec![fault] }
    }
}

/// An external id in 32 characters, to count and remember by.
#[must_use]
pub fn row_key(external_id: &str) -> String {
    hex(&Sha256::digest(external_id.as_bytes())).chars().take(32).collect()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
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

    /// The first target but those with a prefix of which another row says something else; that it says nothing is fine.
    #[must_use]
    pub fn differs<'r>(&self, other: &'r Self, prefix: &str) -> Option<&'r str> {
        let stated = other.values.iter().filter(|(target, _)| !target.starts_with(prefix));
        let mut stated = stated.filter(|(target, value)| self.values.get(*target) != Some(value));
        stated.next().map(|(target, _)| target.as_str())
    }

    /// The tenant's own fields of the row, by name.
    pub fn custom_fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().filter_map(|(name, value)| match value {
            Value::Text(text) => Some((name.strip_prefix(CUSTOM_FIELD_PREFIX)?, text.as_str())),
            Value::Money(_) | Value::Time(_) | Value::Integer(_) => None,
        })
    }
}
