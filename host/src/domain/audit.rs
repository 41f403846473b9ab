//! Audit lines: who did what to which record.

use serde_json::Value;

use super::ids::AuditId;
use crate::clock::Timestamp;
use crate::ids::Ids;

/// One line: an action on a record.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The line's id, made in `prepare` so that a rerun writes the same.
    pub id: AuditId,
    /// What was done, such as `customer.update`.
    pub action: &'static str,
    /// The kind of record, such as `customer`.
    pub entity: &'static str,
    /// The record's id.
    pub record: String,
    /// What changed: field names with old and new values, secrets left out.
    pub changes: Value,
}

impl Entry {
    /// A line with a new id.
    pub fn new(
        ids: &dyn Ids,
        now: Timestamp,
        action: &'static str,
        entity: &'static str,
        record: impl ToString,
        changes: Value,
    ) -> Self {
        Self { id: AuditId::new(ids, now), action, entity, record: record.to_string(), changes }
    }
}
