//! The values of a record's fields: what is kept of them with the record, and the rows in which they are searched.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::field::{FieldEntity, Model, Scalar};

/// The fields of one record, by name and by `plugin.name`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Fields<'a> {
    /// The tenant's own.
    pub custom_fields: &'a Map<String, Value>,
    /// The plugins', if they can have any on such a record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fields: Option<&'a Map<String, Value>>,
}

/// The same as they are kept with a record.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct KeptFields {
    /// The tenant's own.
    pub custom_fields: Map<String, Value>,
    /// The plugins'.
    pub fields: Map<String, Value>,
}

/// A value of a field and where it belongs.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldValue {
    /// Empty for the tenant's own fields, else the plugin's name.
    pub namespace: String,
    /// The name in it.
    pub name: String,
    /// The value.
    pub value: Scalar,
}

/// How the rows of field values change: those that go, replaced ones among them, and those that come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldChanges {
    /// Namespace and name of each row that goes.
    pub gone: Vec<(String, String)>,
    /// The rows that come.
    pub set: Vec<FieldValue>,
}

impl FieldChanges {
    /// Which rows go and come between two states of a record; nothing if none does.
    #[must_use]
    pub fn between(
        model: &Model,
        entity: FieldEntity,
        before: Option<Fields<'_>>,
        after: Fields<'_>,
    ) -> Option<Self> {
        let mut changed = Self::default();
        changed.add(model, entity, before.map(|before| before.custom_fields), after.custom_fields);
        if let Some(fields) = after.fields {
            changed.add(model, entity, before.and_then(|before| before.fields), fields);
        }
        (changed != Self::default()).then_some(changed)
    }

    fn add(
        &mut self,
        model: &Model,
        entity: FieldEntity,
        old: Option<&Map<String, Value>>,
        new: &Map<String, Value>,
    ) {
        for (full_name, _) in old.into_iter().flatten().filter(|(name, value)| new.get(*name) != Some(value))
        {
            let (namespace, name) = full_name.split_once('.').unwrap_or(("", full_name));
            self.gone.push((namespace.to_owned(), name.to_owned()));
        }
        for (full_name, value) in new {
            if old.and_then(|old| old.get(full_name)) == Some(value) {
                continue;
            }
            // A value whose definition is gone is shown as it was, and no longer found.
            if let Some(definition) = model.field_named(entity, full_name)
                && let Ok(value) = definition.read(value)
            {
                let (namespace, name) = (definition.namespace.clone(), definition.name.clone());
                self.set.push(FieldValue { namespace, name, value });
            }
        }
    }
}
