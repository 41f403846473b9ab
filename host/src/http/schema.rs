//! Validation against the schemas that the API publishes, so that a limit is written once.
//!
//! A type's schema is compiled at its first use and kept. All faults of an input
//! are found at once, each with a JSON pointer and a stable code.

#![expect(clippy::wildcard_enum_match_arm, reason = "the validator's kinds of faults may grow")]

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, RwLock};

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::strict::escape;
use crate::error::{Error, Fault, Result};

/// Faults that are collected at most; an input with more gains nothing from the rest.
const FAULTS_MAX: usize = 100;

static VALIDATORS: LazyLock<RwLock<HashMap<TypeId, Arc<Validator>>>> = LazyLock::new(RwLock::default);

/// Checks `value` against the schema of `T` and turns it into one.
///
/// # Errors
/// [`Error::Invalid`] with every fault, [`Error::Internal`] for a schema that is none.
pub(super) fn read<T: ToSchema + DeserializeOwned + 'static>(value: &Value) -> Result<T> {
    let validator = validator_of::<T>(schema_of::<T>)?;
    check(&validator, value)?;
    deserialize(value)
}

/// The compiled schema of `T`, from the cache or from `make`.
pub(super) fn validator_of<T: 'static>(make: fn() -> Result<Value>) -> Result<Arc<Validator>> {
    let id = TypeId::of::<T>();
    if let Some(found) = VALIDATORS.read().expect("no code panics while it holds this lock").get(&id) {
        return Ok(Arc::clone(found));
    }
    let schema = make()?;
    let validator = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&schema)
        .map_err(|error| Error::internal(format!("schema of {}: {error}", std::any::type_name::<T>())))?;
    let validator = Arc::new(validator);
    let mut validators = VALIDATORS.write().expect("no code panics while it holds this lock");
    Ok(Arc::clone(validators.entry(id).or_insert(validator)))
}

/// All that the schema finds wrong with `value`.
pub(super) fn check(validator: &Validator, value: &Value) -> Result<()> {
    if validator.is_valid(value) {
        return Ok(());
    }
    let mut faults = Vec::new();
    for error in validator.iter_errors(value) {
        collect(&error, &mut faults);
        if faults.len() >= FAULTS_MAX {
            break;
        }
    }
    faults.dedup();
    Err(Error::Invalid { faults })
}

/// Turns a valid value into `T`; what a schema cannot say, such as the form of an id, is checked here.
pub(super) fn deserialize<T: DeserializeOwned>(value: &Value) -> Result<T> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let pointer = error.path().iter().fold(String::new(), |pointer, segment| {
            let segment = segment.to_string();
            format!("{pointer}/{}", escape(segment.trim_start_matches('[').trim_end_matches(']')))
        });
        let message = error.inner().to_string();
        Error::Invalid {
            faults: vec![Fault::new(pointer, "wrong_format", &message).with("format", &message)],
        }
    })
}

/// The schema of `T` with everything that it refers to.
fn schema_of<T: ToSchema>() -> Result<Value> {
    let mut definitions = Vec::new();
    T::schemas(&mut definitions);
    document(T::schema(), definitions)
}

fn document(schema: RefOr<Schema>, definitions: Vec<(String, RefOr<Schema>)>) -> Result<Value> {
    let schema = serde_json::to_value(schema).map_err(Error::internal)?;
    let mut schemas = serde_json::Map::new();
    for (name, definition) in definitions {
        schemas.insert(name, serde_json::to_value(definition).map_err(Error::internal)?);
    }
    Ok(json!({ "allOf": [schema], "components": { "schemas": schemas } }))
}

fn collect(error: &ValidationError<'_>, faults: &mut Vec<Fault>) {
    let pointer = error.instance_path().as_str();
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            faults.push(Fault::new(format!("{pointer}/{}", escape(name)), "required", "is required"));
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            faults.extend(unexpected.iter().take(FAULTS_MAX).map(|name| {
                Fault::new(format!("{pointer}/{}", escape(name)), "unknown_field", "is not a known field")
            }));
        }
        ValidationErrorKind::PropertyNames { error: inner } => {
            // The name is at fault, not what stands under it.
            let name = inner.instance().as_str().unwrap_or_default().to_owned();
            let (code, name_of, limit) = simple(inner.kind());
            let fault = Fault::new(format!("{pointer}/{}", escape(&name)), code, String::new());
            faults.push(with_text(if name_of.is_empty() { fault } else { fault.with(name_of, limit) }));
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            alternatives(pointer, context, faults)
        }
        kind => {
            let (code, name, value) = simple(kind);
            let fault = Fault::new(pointer, code, String::new());
            faults.push(with_text(if name.is_empty() { fault } else { fault.with(name, value) }));
        }
    }
}

/// The faults of the alternative that was most likely meant: the one that fits the
/// value's type and, for a tagged object, its tag.
fn alternatives(pointer: &str, context: &[Vec<ValidationError<'static>>], faults: &mut Vec<Fault>) {
    let wrong_here = |error: &ValidationError<'static>| {
        let path = error.instance_path().as_str();
        let depth_of_tag = path.strip_prefix(pointer).is_some_and(|rest| rest.matches('/').count() <= 1);
        match error.kind() {
            ValidationErrorKind::Type { .. } => path == pointer,
            ValidationErrorKind::Enum { .. } | ValidationErrorKind::Constant { .. } => depth_of_tag,
            _ => false,
        }
    };
    let mut meant = context.iter().filter(|errors| !errors.iter().any(wrong_here));
    match (meant.next(), meant.next()) {
        (Some(errors), None) => errors.iter().for_each(|error| collect(error, faults)),
        (None, _) if context.len() == 2 => {
            // `null` or a type: what the type says is of use.
            let other = context.iter().find(|errors| !errors.iter().any(is_null_wanted));
            other.into_iter().flatten().for_each(|error| collect(error, faults));
        }
        _ => faults.push(with_text(Fault::new(pointer, "not_a_choice", String::new()))),
    }
}

fn is_null_wanted(error: &ValidationError<'static>) -> bool {
    matches!(error.kind(), ValidationErrorKind::Type { kind: TypeKind::Single(jsonschema::JsonType::Null) })
}

/// Code, name of the parameter and its value.
fn simple(kind: &ValidationErrorKind) -> (&'static str, &'static str, String) {
    use ValidationErrorKind as K;
    match kind {
        K::Type { kind: TypeKind::Single(kind) } => ("wrong_type", "expected", kind.to_string()),
        K::Type { kind: TypeKind::Multiple(kinds) } => {
            let kinds: Vec<_> = kinds.iter().map(|kind| kind.to_string()).collect();
            ("wrong_type", "expected", kinds.join(" | "))
        }
        K::MaxLength { limit } => ("too_long", "max", limit.to_string()),
        K::MinLength { limit } => ("too_short", "min", limit.to_string()),
        K::Maximum { limit } | K::ExclusiveMaximum { limit } => ("too_large", "max", limit.to_string()),
        K::Minimum { limit } | K::ExclusiveMinimum { limit } => ("too_small", "min", limit.to_string()),
        K::MaxItems { limit } | K::MaxProperties { limit } => ("too_many", "max", limit.to_string()),
        K::MinItems { limit } | K::MinProperties { limit } => ("too_few", "min", limit.to_string()),
        K::UniqueItems => ("not_unique", "", String::new()),
        K::Enum { options } => {
            let options: Vec<_> = options.as_array().into_iter().flatten().map(plain).collect();
            ("not_allowed", "options", options.join(", "))
        }
        K::Constant { expected_value } => ("not_allowed", "options", plain(expected_value)),
        K::Pattern { pattern } => ("wrong_format", "format", pattern.clone()),
        K::Format { format } => ("wrong_format", "format", format.clone()),
        K::MultipleOf { multiple_of } => ("wrong_multiple", "step", multiple_of.to_string()),
        _ => ("not_a_choice", "", String::new()),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The fault with its English text.
pub(super) fn with_text(mut fault: Fault) -> Fault {
    let key = crate::texts::key("fault", &fault.code);
    let text = crate::texts::find(crate::domain::actor::Locale::En, &key, &fault.params);
    fault.message = text.unwrap_or_else(|| fault.code.replace('_', " "));
    fault
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
