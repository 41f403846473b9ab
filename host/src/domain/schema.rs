//! JSON Schemas: what an input must look like, whether the API or a plugin says so.
//!
//! All faults of an input are found at once, each with a JSON pointer and a code of ours.
//! A schema never fetches anything.

#![expect(clippy::wildcard_enum_match_arm, reason = "the validator's kinds of faults may grow")]

use std::fmt;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{JsonType, PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};

use super::check::escaped;
use super::code::{FaultCode, TypeName};
use crate::error::Fault;

/// Faults of one input that are told; the rest is not worth reading.
const FAULTS_MAX: usize = 100;

/// A compiled JSON Schema (2020-12).
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
    /// Compiles a plugin's schema. Its patterns run in linear time.
    ///
    /// # Errors
    /// Why it is no schema, for its author.
    pub fn compile(source: &Value) -> Result<Self, String> {
        let options = jsonschema::draft202012::options().with_pattern_options(PatternOptions::regex());
        let validator = options.build(source).map_err(|error| error.to_string())?;
        Ok(Self { validator, source: source.clone() })
    }

    /// Compiles a schema of our own, whose formats are checked too.
    ///
    /// # Errors
    /// Why it is no schema.
    pub fn compile_own(source: Value) -> Result<Self, String> {
        let options = jsonschema::draft202012::options().should_validate_formats(true);
        let validator = options.build(&source).map_err(|error| error.to_string())?;
        Ok(Self { validator, source })
    }

    /// Everything that is wrong with `value`, with pointers below `prefix`.
    #[must_use]
    pub fn faults(&self, prefix: &str, value: &Value) -> Vec<Fault> {
        if self.validator.is_valid(value) {
            return Vec::new();
        }
        let mut faults = Vec::new();
        for error in self.validator.iter_errors(value) {
            match members_of_none(&error, value) {
                Some(members) => faults.extend(members.map(|name| {
                    let pointer = format!("{prefix}{}/{}", error.instance_path(), escaped(name));
                    Fault::plain(pointer, FaultCode::UnknownField)
                })),
                None => collect(&error, prefix, &mut faults),
            }
            if faults.len() >= FAULTS_MAX {
                break;
            }
        }
        faults.dedup();
        faults
    }

    /// Fills in the defaults of properties that `value` leaves out.
    pub fn fill_defaults(&self, value: &mut Value) {
        fill_defaults(&self.source, value);
    }
}

/// What an object has that may have no members at all: the error names the object, and none of them.
fn members_of_none<'v>(
    error: &ValidationError<'_>,
    value: &'v Value,
) -> Option<impl Iterator<Item = &'v String>> {
    let is_none = matches!(error.kind(), ValidationErrorKind::FalseSchema);
    let members = value.pointer(error.instance_path().as_str()).filter(|_| is_none)?.as_object()?;
    Some(members.keys().take(FAULTS_MAX))
}

fn collect(error: &ValidationError<'_>, prefix: &str, faults: &mut Vec<Fault>) {
    let pointer = format!("{prefix}{}", error.instance_path());
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            faults.push(Fault::plain(format!("{pointer}/{}", escaped(name)), FaultCode::Required));
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let names = unexpected.iter().take(FAULTS_MAX);
            faults.extend(
                names.map(|name| {
                    Fault::plain(format!("{pointer}/{}", escaped(name)), FaultCode::UnknownField)
                }),
            );
        }
        ValidationErrorKind::PropertyNames { error: inner } => {
            // The name is at fault, not what stands under it.
            let name = inner.instance().as_str().unwrap_or_default().to_owned();
            faults.push(Fault::plain(format!("{pointer}/{}", escaped(&name)), code(inner.kind())));
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            alternatives(prefix, error.instance_path().as_str(), context, faults);
        }
        kind => faults.push(Fault::plain(pointer, code(kind))),
    }
}

/// The faults of the alternative that was most likely meant: the one that fits the
/// value's type and, for a tagged object, its tag.
fn alternatives(
    prefix: &str,
    place: &str,
    context: &[Vec<ValidationError<'static>>],
    faults: &mut Vec<Fault>,
) {
    let wrong_here = |error: &ValidationError<'static>| {
        let path = error.instance_path().as_str();
        let depth_of_tag = path.strip_prefix(place).is_some_and(|rest| rest.matches('/').count() <= 1);
        match error.kind() {
            ValidationErrorKind::Type { .. } => path == place,
            ValidationErrorKind::Enum { .. } | ValidationErrorKind::Constant { .. } => depth_of_tag,
            _ => false,
        }
    };
    let mut meant = context.iter().filter(|errors| !errors.iter().any(wrong_here));
    match (meant.next(), meant.next()) {
        (Some(errors), None) => errors.iter().for_each(|error| collect(error, prefix, faults)),
        (None, _) if context.len() == 2 => {
            // `null` or a type: what the type says is of use.
            let other = context.iter().find(|errors| !errors.iter().any(is_null_wanted));
            other.into_iter().flatten().for_each(|error| collect(error, prefix, faults));
        }
        _ => faults.push(Fault::plain(format!("{prefix}{place}"), FaultCode::NotAChoice)),
    }
}

fn is_null_wanted(error: &ValidationError<'static>) -> bool {
    matches!(error.kind(), ValidationErrorKind::Type { kind: TypeKind::Single(JsonType::Null) })
}

fn code(kind: &ValidationErrorKind) -> FaultCode {
    use ValidationErrorKind as K;
    match kind {
        K::Type { kind: TypeKind::Single(kind) } => FaultCode::wrong_type(&[type_name(*kind)]),
        K::Type { kind: TypeKind::Multiple(kinds) } => {
            FaultCode::wrong_type(&kinds.iter().map(type_name).collect::<Vec<_>>())
        }
        K::MaxLength { limit } => FaultCode::too_long(limit),
        K::MinLength { limit } => FaultCode::TooShort { min: limit.to_string() },
        K::Maximum { limit } | K::ExclusiveMaximum { limit } => {
            FaultCode::TooLarge { max: limit.to_string() }
        }
        K::Minimum { limit } | K::ExclusiveMinimum { limit } => {
            FaultCode::TooSmall { min: limit.to_string() }
        }
        K::MaxItems { limit } | K::MaxProperties { limit } => FaultCode::too_many(limit),
        K::MinItems { limit } | K::MinProperties { limit } => FaultCode::TooFew { min: limit.to_string() },
        K::UniqueItems => FaultCode::NotUnique,
        K::Enum { options } => FaultCode::not_allowed(options.as_array().into_iter().flatten().map(plain)),
        K::Constant { expected_value } => FaultCode::not_allowed([plain(expected_value)]),
        K::Pattern { pattern } => FaultCode::wrong_format(pattern),
        K::Format { format } => FaultCode::wrong_format(format),
        K::MultipleOf { multiple_of } => FaultCode::WrongMultiple { step: multiple_of.to_string() },
        _ => FaultCode::NotAChoice,
    }
}

fn type_name(kind: JsonType) -> TypeName {
    match kind {
        JsonType::Array => TypeName::Array,
        JsonType::Boolean => TypeName::Boolean,
        JsonType::Integer => TypeName::Integer,
        JsonType::Null => TypeName::Null,
        JsonType::Number => TypeName::Number,
        JsonType::Object => TypeName::Object,
        JsonType::String => TypeName::Text,
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
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
            [("/input/other", "unknown_field"), ("/input/points", "required"), ("/input/reason", "too_long")]
        );
    }

    #[test]
    fn what_an_object_without_properties_has_is_unknown() {
        let schema = Schema::compile(&json!({ "type": "object", "additionalProperties": false })).unwrap();
        let faults = schema.faults("/settings", &json!({ "colour": "red", "size": 7 }));
        let told: Vec<_> = faults.iter().map(|f| (f.pointer.as_str(), f.code.as_ref())).collect();
        assert_eq!(told, [("/settings/colour", "unknown_field"), ("/settings/size", "unknown_field")]);
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
