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

/// One line as it is read back.
#[derive(Clone, Debug, PartialEq, serde::Serialize, utoipa::ToSchema)]
pub struct Line {
    /// Its id; later lines have greater ones.
    #[schema(value_type = String)]
    pub id: AuditId,
    /// When it was done.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `user`, `token`, `plugin`, `operator` or `server`.
    pub actor_kind: String,
    /// Whose id or name.
    pub actor_id: String,
    /// The plugin through which they acted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via_plugin: Option<String>,
    /// What was done, such as `customer.update`.
    pub action: String,
    /// The kind of record.
    pub entity: String,
    /// The record's id.
    pub record: String,
    /// What changed: names of fields with old and new values, secrets left out.
    #[schema(value_type = Object)]
    pub changes: Value,
    /// The request that did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
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
