//! What has happened with a customer.

use serde_json::Value;

use crate::bindings::imports::hospes::plugin::timeline as wit;
use crate::error::decode;
use crate::{Result, Timestamp, host};

/// An entry to add.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub customer: String,
    /// What happened, `snake_case`; the host puts the plugin's name before it.
    pub kind: String,
    pub occurred_at: Timestamp,
    /// One line for a person, at most 500 bytes.
    pub summary: String,
    /// Details for machines, at most 16 KiB.
    pub details: Value,
    /// Unique for this plugin: a second entry with the same key is dropped.
    pub external_id: Option<String>,
}

/// Adds at most 200 entries; all or none.
pub fn append(entries: Vec<Entry>) -> Result<()> {
    let entries: Vec<wit::Entry> = entries
        .into_iter()
        .map(|entry| wit::Entry {
            customer: entry.customer,
            kind: entry.kind,
            occurred_at: entry.occurred_at.micros(),
            summary: entry.summary,
            details: entry.details.to_string(),
            external_id: entry.external_id,
        })
        .collect();
    host::timeline::append_many(&entries)
}

/// One page of a customer's timeline as JSON, the latest first, with the cursor
/// of the next. `kind` has the plugin's name before it if a plugin wrote it.
pub fn query(
    customer: &str,
    kind: Option<&str>,
    limit: u32,
    cursor: Option<String>,
) -> Result<(Vec<Value>, Option<String>)> {
    let page = host::timeline::query(&wit::Search {
        customer: customer.to_owned(),
        kind: kind.map(str::to_owned),
        limit,
        cursor,
    })?;
    let entries = page
        .entities
        .into_iter()
        .map(|entity| decode("a timeline entry", &entity.body))
        .collect::<Result<_>>()?;
    Ok((entries, page.cursor))
}
