//! Imports: how a file's rows become records. Pure: bytes in, rows and faults out.
//!
//! A [`mapping::Mapping`] says which column feeds which target field; checked
//! against the entity's `targets` it becomes a [`plan::Plan`], and with the columns of
//! the file a [`bound::Bound`]. [`reader`] cuts the bytes into records and knows the
//! place of each, and the bound plan turns a record into a typed [`row::Row`] or into
//! the faults that a person mends.
//! Nothing here keeps more than one record at a time, so that the size of a file
//! does not matter.

pub mod bound;
pub mod encoding;
mod fault;
pub mod lines;
pub mod mapping;
mod object;
pub mod plan;
pub mod reader;
pub mod row;
mod targets;
#[cfg(test)]
mod tests;
mod values;

use serde::{Deserialize, Serialize};

pub(crate) use fault::{Particular, Phrase};
pub use fault::{RAW_VALUE_CHARS_MAX, RowFault, WORDS_CHARS_MAX, Wording};
pub use targets::target_names;

use super::permission::Permission;

/// The largest file that an import takes.
pub const CONTENT_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// The longest record, from its first byte to the end of its line.
pub const RECORD_BYTES_MAX: usize = 256 * 1024;
/// Columns of a file.
pub const COLUMNS_MAX: usize = 1_000;
/// Rows that may fail before an import gives up: the mapping is probably wrong.
pub const FAILED_ROWS_MAX: u64 = 10_000;
/// Faults of rows that are kept for the error file; further ones are only counted.
pub const KEPT_FAULTS_MAX: u64 = 10_000;

/// What an import's rows are.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ImportEntity {
    /// People and companies.
    Customers,
    /// What is sold.
    Products,
    /// Purchases; a row is one of them, or one line of it.
    Orders,
    /// Contacts with customers, on any channel.
    Interactions,
    /// What customers did.
    Behaviour,
}

impl ImportEntity {
    /// Every one, in the order of its declaration.
    pub const ALL: &'static [Self] =
        &[Self::Customers, Self::Products, Self::Orders, Self::Interactions, Self::Behaviour];

    /// The name in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customers => "customers",
            Self::Products => "products",
            Self::Orders => "orders",
            Self::Interactions => "interactions",
            Self::Behaviour => "behaviour",
        }
    }

    /// The entity of a stored name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.as_str() == name)
    }

    /// What an actor needs beside the permission to import, to write such rows.
    #[must_use]
    pub const fn permission(self) -> Permission {
        match self {
            Self::Customers => Permission::CustomerWrite,
            Self::Products => Permission::ProductWrite,
            Self::Orders => Permission::OrderWrite,
            Self::Interactions | Self::Behaviour => Permission::TimelineWrite,
        }
    }
}
