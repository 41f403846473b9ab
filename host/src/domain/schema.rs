//! JSON Schemas of plugins: settings and inputs of actions are checked by them.

use std::fmt;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};

use crate::error::Fault;

/// Faults of one input that are told; the rest is not worth reading.
const FAULTS_MAX: usize = 50;

/// A compiled JSON Schema (2020-12). It never fetches anything, and its patterns
/// run in linear time.
pub struct Schema {
    validator: Validator,
    source: Value,
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schema").field(&self.source).finish()
    }
}

impl Schema {
    /// Compiles `source`.
    ///
    /// # Errors
    /// Why it is no schema, for its author.
    pub fn compile(source: &Value) -> Result<Self, String> {
        let validator = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .with_pattern_options(PatternOptions::regex())
            .build(source)
            .map_err(|error| error.to_string())?;
        Ok(Self { validator, source: source.clone() })
    }

    /// Everything that is wrong with `value`, with pointers below `prefix`.
    #[must_use]
    pub fn faults(&self, prefix: &str, value: &Value) -> Vec<Fault> {
        self.validator.iter_errors(value).take(FAULTS_MAX).map(|error| fault(prefix, &error)).collect()
    }

    /// Fills in the defaults of properties that `value` leaves out.
    pub fn fill_defaults(&self, value: &mut Value) {
        fill_defaults(&self.source, value);
    }
}

fn fault(prefix: &str, error: &ValidationError<'_>) -> Fault {
    let mut pointer = format!("{prefix}{}", error.instance_path());
    if let ValidationErrorKind::Required { property } = error.kind()
        && let Some(name) = property.as_str()
    {
        pointer.push('/');
        pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
    }
    Fault::new(pointer, code(error.kind().keyword()), error.to_string())
}

/// The schema's keyword as a stable code.
fn code(keyword: &str) -> String {
    let mut code = String::with_capacity(keyword.len() + 4);
    for letter in keyword.trim_start_matches('$').chars() {
        if letter.is_ascii_uppercase() {
            code.push('_');
        }
        code.push(letter.to_ascii_lowercase());
    }
    code
}

fn fill_defaults(schema: &Value, value: &mut Value) {
    let (Some(properties), Value::Object(members)) =
        (schema.get("properties").and_then(Value::as_object), value)
    else {
        return;
    };
    for (name, schema) in properties {
        match (members.get_mut(name), schema.get("default")) {
            (Some(member), _) => fill_defaults(schema, member),
            (None, Some(default)) => {
                members.insert(name.clone(), default.clone());
            }
            (None, None) => fill_nested(name, schema, members),
        }
    }
}

/// An object that is left out appears if any of its own properties has a default
/// and none of them is required.
fn fill_nested(name: &str, schema: &Value, members: &mut Map<String, Value>) {
    let required = schema.get("required").and_then(Value::as_array).is_some_and(|names| !names.is_empty());
    if required || schema.get("type").and_then(Value::as_str) != Some("object") {
        return;
    }
    let mut nested = Value::Object(Map::new());
    fill_defaults(schema, &mut nested);
    if nested.as_object().is_some_and(|object| !object.is_empty()) {
        members.insert(name.to_owned(), nested);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_fault_of_an_input_is_told_with_its_place() {
        let schema = Schema::compile(&json!({
            "type": "object",
            "required": ["points"],
            "additionalProperties": false,
            "properties": {
                "points": { "type": "integer", "minimum": 1 },
                "reason": { "type": "string", "maxLength": 3 },
            },
        }))
        .unwrap();
        let faults = schema.faults("/input", &json!({ "reason": "long", "other": 1 }));
        let mut told: Vec<_> = faults.iter().map(|f| (f.pointer.as_str(), f.code.as_ref())).collect();
        told.sort_unstable();
        assert_eq!(
            told,
            [
                ("/input", "additional_properties"),
                ("/input/points", "required"),
                ("/input/reason", "max_length")
            ]
        );
    }

    #[test]
    fn defaults_are_filled_in_at_every_depth() {
        let schema = Schema::compile(&json!({
            "type": "object",
            "properties": {
                "rate": { "type": "integer", "default": 2 },
                "expiry": { "type": "object", "properties": { "months": { "default": 12 } } },
            },
        }))
        .unwrap();
        let mut value = json!({ "rate": 5 });
        schema.fill_defaults(&mut value);
        assert_eq!(value, json!({ "rate": 5, "expiry": { "months": 12 } }));
    }

    #[test]
    fn a_schema_that_points_to_the_network_is_refused() {
        assert!(Schema::compile(&json!({ "$ref": "https://example.com/schema.json" })).is_err());
    }
}
