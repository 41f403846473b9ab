//! Conditions on fields in a query string: `fields[name]=value`, `fields[plugin.field][gte]=3`.

use std::collections::BTreeMap;

use super::{HttpState, Result};
use crate::domain::actor::Actor;
use crate::domain::check::{Faults, escaped};
use crate::domain::field::FieldEntity;
use crate::domain::query::FieldCondition;
use crate::ops::fields;

/// The conditions that a query string states on the fields of a kind of record.
pub(super) async fn conditions(
    state: &HttpState,
    actor: &Actor,
    entity: FieldEntity,
    stated: BTreeMap<String, String>,
) -> Result<Vec<FieldCondition>> {
    // Only fields need the model, and most lists name none.
    if stated.is_empty() {
        return Ok(Vec::new());
    }
    let model = fields::readable(&state.core, actor).await?;
    let mut faults = Faults::default();
    let mut conditions = Vec::with_capacity(stated.len());
    for (key, text) in stated {
        match FieldCondition::read(&model, entity, &key, &text) {
            Ok(condition) => conditions.push(condition),
            Err((code, message)) => faults.add(format!("/fields[{}]", escaped(&key)), code, message),
        }
    }
    faults.finish()?;
    Ok(conditions)
}
