//! Validation against the schemas that the API publishes, so that a limit is written once.
//!
//! A type's schema is compiled at its first use and kept.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, RwLock};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;

use crate::domain::check::escaped;
use crate::domain::code::FaultCode;
use crate::domain::schema::Schema;
use crate::error::{Error, Result};

static SCHEMAS: LazyLock<RwLock<HashMap<TypeId, Arc<Schema>>>> = LazyLock::new(RwLock::default);

/// Checks `value` against the schema of `T` and turns it into one.
///
/// # Errors
/// [`Error::Invalid`] with every fault, [`Error::Internal`] for a schema that is none.
pub(super) fn read<T: ToSchema + DeserializeOwned + 'static>(value: &Value) -> Result<T> {
    read_as::<T, T>(schema_of::<T>, value)
}

/// As [`read`], against the schema that `make` gives for `K`.
pub(super) fn read_as<K: 'static, T: DeserializeOwned>(
    make: fn() -> Result<Value>,
    value: &Value,
) -> Result<T> {
    let faults = compiled::<K>(make)?.faults("", value);
    if faults.is_empty() { deserialize(value) } else { Err(Error::Invalid { faults }) }
}

/// The compiled schema of `K`, from the cache or from `make`.
fn compiled<K: 'static>(make: fn() -> Result<Value>) -> Result<Arc<Schema>> {
    let id = TypeId::of::<K>();
    if let Some(found) = SCHEMAS.read().expect("no code panics while it holds this lock").get(&id) {
        return Ok(Arc::clone(found));
    }
    let schema = Schema::compile_own(make()?)
        .map_err(|error| Error::internal(format!("schema of {}: {error}", std::any::type_name::<K>())))?;
    let mut schemas = SCHEMAS.write().expect("no code panics while it holds this lock");
    Ok(Arc::clone(schemas.entry(id).or_insert(Arc::new(schema))))
}

/// Turns a valid value into `T`; what a schema cannot say, such as the form of an id, is checked here.
fn deserialize<T: DeserializeOwned>(value: &Value) -> Result<T> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let pointer = error.path().iter().fold(String::new(), |pointer, segment| {
            let segment = segment.to_string();
            format!("{pointer}/{}", escaped(segment.trim_start_matches('[').trim_end_matches(']')))
        });
        Error::plain(pointer, FaultCode::wrong_format(error.inner().to_string()))
    })
}

/// The schema of `T` with everything that it refers to.
fn schema_of<T: ToSchema>() -> Result<Value> {
    let mut definitions = Vec::new();
    T::schemas(&mut definitions);
    document(T::schema(), definitions)
}

fn document(
    schema: RefOr<utoipa::openapi::Schema>,
    definitions: Vec<(String, RefOr<utoipa::openapi::Schema>)>,
) -> Result<Value> {
    let schema = serde_json::to_value(schema).map_err(Error::internal)?;
    let mut schemas = serde_json::Map::new();
    for (name, definition) in definitions {
        schemas.insert(name, serde_json::to_value(definition).map_err(Error::internal)?);
    }
    Ok(json!({ "allOf": [schema], "components": { "schemas": schemas } }))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::domain::patch::Patch;

    #[derive(Debug, Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its schema matters")]
    struct Outer {
        #[schema(min_length = 1, max_length = 3)]
        name: String,
        #[schema(minimum = 0, maximum = 9)]
        count: Option<i32>,
        #[schema(max_items = 1)]
        inner: Vec<Inner>,
        choice: Option<Choice>,
        #[serde(default)]
        #[schema(value_type = Option<String>, max_length = 3)]
        cleared: Patch<String>,
        #[serde(default)]
        #[schema(value_type = String, required = false)]
        kept: Option<String>,
    }

    #[derive(Debug, Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its schema matters")]
    struct Inner {
        code: u8,
    }

    #[derive(Debug, Deserialize, ToSchema)]
    #[serde(rename_all = "snake_case")]
    enum Choice {
        One,
        Two,
    }

    fn faults(value: Value) -> Vec<(String, String)> {
        match read::<Outer>(&value) {
            Err(Error::Invalid { faults }) => {
                faults.into_iter().map(|fault| (fault.pointer, fault.code.into_owned())).collect()
            }
            other => panic!("expected faults, got {other:?}"),
        }
    }

    fn fault(pointer: &str, code: &str) -> (String, String) {
        (pointer.to_owned(), code.to_owned())
    }

    #[test]
    fn every_fault_is_found_at_once() {
        let mut found = faults(json!({
            "name": "four", "count": -1, "inner": [{"code": "x"}, {"code": 1, "more": 1}],
            "choice": "three", "cleared": "four", "kept": null, "else": 1,
        }));
        found.sort();
        assert_eq!(
            found,
            [
                fault("/choice", "not_allowed"),
                fault("/cleared", "too_long"),
                fault("/count", "too_small"),
                fault("/else", "unknown_field"),
                fault("/inner", "too_many"),
                fault("/inner/0/code", "wrong_type"),
                fault("/inner/1/more", "unknown_field"),
                fault("/kept", "wrong_type"),
                fault("/name", "too_long"),
            ]
        );
    }

    #[test]
    fn a_missing_field_and_a_body_of_another_type_are_named() {
        assert_eq!(faults(json!({"inner": []})), [fault("/name", "required")]);
        assert_eq!(faults(json!([])), [fault("", "wrong_type")]);
    }

    #[test]
    fn what_only_reading_finds_has_a_pointer_too() {
        let found = faults(json!({"name": "a", "inner": [{"code": 1.0}]}));
        assert_eq!(found, [fault("/inner/0/code", "wrong_format")]);
    }

    #[test]
    fn null_clears_and_absence_leaves() {
        let read = |value| read::<Outer>(&value).unwrap().cleared;
        assert_eq!(read(json!({"name": "a", "inner": []})), Patch::Absent);
        assert_eq!(read(json!({"name": "a", "inner": [], "cleared": null})), Patch::Null);
    }
}
