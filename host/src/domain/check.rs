//! Collecting what is wrong with an input, every fault at once.

use serde_json::{Map, Value};

use super::patch::Patch;
use crate::domain::code::FaultCode;
use crate::error::{Error, Fault, Result};

/// How deep a free-form document may nest.
pub const DOCUMENT_DEPTH_MAX: usize = 8;
/// Bytes of a free-form document, as JSON.
pub const DOCUMENT_BYTES_MAX: usize = 16 * 1024;
/// Characters of a source system's name.
pub const SOURCE_CHARS_MAX: usize = 60;
/// Characters of a record's id in a source system.
pub const EXTERNAL_ID_CHARS_MAX: usize = 200;

/// The faults found so far.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Notes a fault.
    pub fn add(&mut self, pointer: impl Into<String>, code: FaultCode, message: impl Into<String>) {
        self.0.push(Fault::new(pointer, code, message));
    }

    /// Notes a fault of which the text of its code says all.
    pub fn plain(&mut self, pointer: impl Into<String>, code: FaultCode) {
        self.0.push(Fault::plain(pointer, code));
    }

    /// A text of 1 to `chars_max` characters, none of them a control character but line breaks and tabs.
    pub fn text(&mut self, pointer: &str, value: &str, chars_max: usize) {
        if value.trim().is_empty() {
            self.add(pointer, FaultCode::TooShort { min: "1".to_owned() }, "must not be blank");
        }
        self.optional_text(pointer, value, chars_max);
    }

    /// A text of at most `chars_max` characters.
    pub fn optional_text(&mut self, pointer: &str, value: &str, chars_max: usize) {
        if value.len() > chars_max && value.chars().count() > chars_max {
            self.plain(pointer, FaultCode::too_long(chars_max));
        }
        if value.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            self.plain(pointer, FaultCode::BadCharacter);
        }
    }

    /// A name in `snake_case`: a letter, then letters, digits and underscores.
    pub fn snake_case(&mut self, pointer: &str, value: &str, chars_max: usize) {
        let mut bytes = value.bytes();
        let good = bytes.next().is_some_and(|b| b.is_ascii_lowercase())
            && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !good {
            let code = FaultCode::wrong_format("^[a-z][a-z0-9_]*$");
            self.add(pointer, code, "must be snake_case and begin with a letter");
        }
        if value.len() > chars_max {
            self.plain(pointer, FaultCode::too_long(chars_max));
        }
    }

    /// A source system's name and the id there: both or neither.
    pub fn identity(&mut self, pointer: &str, source: Option<&str>, external_id: Option<&str>) {
        match (source, external_id) {
            (None, None) => {}
            (Some(source), Some(external_id)) => {
                self.text(&format!("{pointer}/source"), source, SOURCE_CHARS_MAX);
                self.text(&format!("{pointer}/external_id"), external_id, EXTERNAL_ID_CHARS_MAX);
            }
            (Some(_), None) => {
                self.add(
                    format!("{pointer}/external_id"),
                    FaultCode::Required,
                    "a source needs an external_id",
                );
            }
            (None, Some(_)) => {
                self.add(format!("{pointer}/source"), FaultCode::Required, "an external_id needs its source");
            }
        }
    }

    /// A list of at most `items_max`.
    pub fn count(&mut self, pointer: &str, items: usize, items_max: usize) {
        if items > items_max {
            self.plain(pointer, FaultCode::too_many(items_max));
        }
    }

    /// A number between two others.
    pub fn range(&mut self, pointer: &str, value: i64, low: i64, high: i64) {
        if !(low..=high).contains(&value) {
            self.plain(pointer, FaultCode::outside(value, low, high));
        }
    }

    /// A free-form document within [`DOCUMENT_BYTES_MAX`] and [`DOCUMENT_DEPTH_MAX`].
    pub fn document(&mut self, pointer: &str, document: &Map<String, Value>) {
        if document.is_empty() {
            return;
        }
        if document.values().any(|value| nests_deeper(value, DOCUMENT_DEPTH_MAX - 1)) {
            self.plain(pointer, FaultCode::TooDeep { max: DOCUMENT_DEPTH_MAX.to_string() });
        }
        let bytes = serde_json::to_string(document).map_or(usize::MAX, |text| text.len());
        if bytes > DOCUMENT_BYTES_MAX {
            self.plain(pointer, FaultCode::too_many_bytes(DOCUMENT_BYTES_MAX));
        }
    }

    /// Notes faults that were found elsewhere.
    pub fn extend(&mut self, faults: impl IntoIterator<Item = Fault>) {
        self.0.extend(faults);
    }

    /// Whether nothing is wrong so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The faults.
    #[must_use]
    pub fn into_vec(self) -> Vec<Fault> {
        self.0
    }

    /// Refuses the input if anything is wrong.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every fault.
    pub fn finish(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Invalid { faults: self.0 }) }
    }
}

/// A name as one step of a JSON pointer.
#[must_use]
pub fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn nests_deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|item| nests_deeper(item, levels - 1)),
        Value::Object(members) => levels == 0 || members.values().any(|item| nests_deeper(item, levels - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Applies a merge patch to a document: `null` removes a member, objects merge, all else replaces.
pub fn merge(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => {
                target.shift_remove(&name);
            }
            Value::Object(members) => {
                let entry = target.entry(name).or_insert_with(|| Value::Object(Map::new()));
                if !entry.is_object() {
                    *entry = Value::Object(Map::new());
                }
                merge(entry.as_object_mut().expect("made an object above"), members);
            }
            value @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                target.insert(name, value);
            }
        }
    }
}

/// Applies a member of a merge patch that is a document.
pub fn merge_patch(target: &mut Map<String, Value>, patch: Patch<Map<String, Value>>) {
    match patch {
        Patch::Absent => {}
        Patch::Null => target.clear(),
        Patch::Value(patch) => merge(target, patch),
    }
}

/// What differs between two records as JSON: each changed member with its old and new value.
#[must_use]
pub fn changes(before: &Value, after: &Value) -> Value {
    let (Some(before), Some(after)) = (before.as_object(), after.as_object()) else {
        return Value::Null;
    };
    let mut changes = Map::new();
    for name in before.keys().chain(after.keys().filter(|name| !before.contains_key(*name))) {
        let (old, new) = (before.get(name), after.get(name));
        if old != new && !matches!(name.as_str(), "version" | "updated_at") {
            let pair = [old, new].map(|value| value.cloned().unwrap_or(Value::Null));
            changes.insert(name.clone(), Value::Array(pair.to_vec()));
        }
    }
    Value::Object(changes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_merge_patch_keeps_removes_and_replaces() {
        let mut target = object(json!({"a": 1, "b": {"c": 2, "d": 3}, "e": [1]}));
        merge(&mut target, object(json!({"a": null, "b": {"c": null, "x": {"y": null}}, "e": [2]})));
        assert_eq!(Value::Object(target), json!({"b": {"d": 3, "x": {}}, "e": [2]}));
    }

    #[test]
    fn a_document_beyond_its_limits_is_refused() {
        let mut deep = json!(1);
        for _ in 0..DOCUMENT_DEPTH_MAX {
            deep = json!([deep]);
        }
        for bad in [json!({ "a": deep }), json!({"a": "x".repeat(DOCUMENT_BYTES_MAX)})] {
            let mut faults = Faults::default();
            faults.document("/preferences", &object(bad));
            assert!(!faults.is_empty());
        }
    }
}
