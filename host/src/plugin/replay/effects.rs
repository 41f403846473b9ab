//! Effects of two runs, side by side.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::plugin::recorder::Recording;

/// Differences that are told of one effect.
const CHANGES_MAX: usize = 50;
/// Members by which one effect of a function is told from another.
const NAMES: &[&str] =
    &["collection", "key", "customer", "field", "external_id", "id", "name", "host", "path"];

/// A call that writes, or asks others to do something, and was not refused.
#[derive(Clone, Debug)]
pub(super) struct Effect {
    import: String,
    arguments: String,
}

impl Effect {
    pub(super) fn of(import: &str, arguments: &RawValue) -> Self {
        Self { import: import.to_owned(), arguments: arguments.get().to_owned() }
    }

    /// The effects of a recorded run.
    pub(super) fn recorded(recording: &Recording) -> Vec<Self> {
        let effects = recording.calls.iter().filter(|entry| entry.effect);
        effects.map(|entry| Self::of(&entry.import, &entry.arguments)).collect()
    }

    /// Whether two runs have had the same effects, in the same order.
    pub(super) fn are_same(recorded: &[Self], replayed: &[Self]) -> bool {
        let same =
            |(one, other): (&Self, &Self)| one.import == other.import && one.arguments == other.arguments;
        recorded.len() == replayed.len() && recorded.iter().zip(replayed).all(same)
    }
}

/// What one effect was, and is.
#[derive(Clone, Debug, Serialize)]
pub struct EffectChange {
    /// The function, such as `documents.put-many`.
    pub import: String,
    /// What it is about, such as the collection and key of a document.
    pub about: String,
    /// As it was recorded; absent if it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Value>,
    /// As it is now; absent if it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replayed: Option<Value>,
    /// Where they differ, as JSON pointers, with the old and the new value.
    pub changes: Vec<(String, Value, Value)>,
}

/// One thing that an effect does: a call with a list does as many as the list has.
struct Deed {
    about: String,
    what: Value,
}

/// The effects that are not the same, in the order in which they were recorded, new ones behind.
pub(super) fn differences(recorded: &[Effect], replayed: &[Effect]) -> Vec<EffectChange> {
    let mut new: BTreeMap<(String, String), Vec<Value>> = BTreeMap::new();
    let mut order = Vec::new();
    for (import, deed) in deeds(replayed) {
        let key = (import, deed.about);
        order.push(key.clone());
        new.entry(key).or_default().insert(0, deed.what);
    }
    let mut found = Vec::new();
    for (import, deed) in deeds(recorded) {
        let key = (import, deed.about);
        let now = new.get_mut(&key).and_then(Vec::pop);
        if now.as_ref() != Some(&deed.what) {
            found.push(change(key, Some(deed.what), now));
        }
    }
    for key in order {
        if let Some(now) = new.get_mut(&key).and_then(Vec::pop) {
            found.push(change(key, None, Some(now)));
        }
    }
    found
}

fn deeds(effects: &[Effect]) -> impl Iterator<Item = (String, Deed)> {
    effects.iter().flat_map(|effect| {
        let arguments: Value = serde_json::from_str(&effect.arguments).unwrap_or_default();
        let items = items_of(arguments);
        items.into_iter().map(|what| {
            let what = opened(what);
            (effect.import.clone(), Deed { about: about(&what), what })
        })
    })
}

/// What a call does: each item of the list, if a list is its only argument.
fn items_of(arguments: Value) -> Vec<Value> {
    let Value::Array(mut arguments) = arguments else { return vec![arguments] };
    if let [Value::Array(items)] = arguments.as_mut_slice() {
        return std::mem::take(items);
    }
    vec![Value::Array(arguments)]
}

/// JSON text within JSON, such as the body of a document, is opened, so that its members are compared.
fn opened(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(name, value)| (name, opened(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(opened).collect()),
        Value::String(ref text) if text.starts_with(['{', '[']) => {
            serde_json::from_str(text).unwrap_or(value)
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

fn about(what: &Value) -> String {
    if let Value::String(text) = what {
        return text.clone();
    }
    let parts = NAMES.iter().filter_map(|name| what.get(name)?.as_str());
    parts.collect::<Vec<_>>().join("/")
}

fn change(
    (import, about): (String, String),
    recorded: Option<Value>,
    replayed: Option<Value>,
) -> EffectChange {
    let mut changes = Vec::new();
    if let (Some(before), Some(after)) = (&recorded, &replayed) {
        compare("", before, after, &mut changes);
    }
    EffectChange { import, about, recorded, replayed, changes }
}

fn compare(pointer: &str, before: &Value, after: &Value, changes: &mut Vec<(String, Value, Value)>) {
    if before == after || changes.len() >= CHANGES_MAX {
        return;
    }
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
            for name in names {
                let member = |of: &serde_json::Map<String, Value>| of.get(name).cloned().unwrap_or_default();
                let pointer = format!("{pointer}/{}", crate::domain::check::escaped(name));
                compare(&pointer, &member(old), &member(new), changes);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (position, (old, new)) in old.iter().zip(new).enumerate() {
                compare(&format!("{pointer}/{position}"), old, new, changes);
            }
        }
        (before, after) => changes.push((pointer.to_owned(), before.clone(), after.clone())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn put(key: &str, body: &Value) -> Effect {
        let arguments = json!([[{ "collection": "cards", "key": key, "body": body.to_string() }]]);
        let import = "documents.put-many".to_owned();
        Effect { import, arguments: arguments.to_string() }
    }

    #[test]
    fn a_changed_document_is_told_member_by_member() {
        let (before, after) =
            (json!({ "points": 10, "tier": "gold" }), json!({ "points": 20, "tier": "gold" }));
        let found = differences(&[put("a", &before)], &[put("a", &after)]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].about, "cards/a");
        assert_eq!(found[0].changes, [("/body/points".to_owned(), json!(10), json!(20))]);
    }

    #[test]
    fn what_is_gone_and_what_is_new_stand_alone() {
        let body = json!({});
        let (a, b, c) = (put("a", &body), put("b", &body), put("c", &body));
        let found = differences(&[a.clone(), b.clone()], &[a, c]);
        let told: Vec<_> = found.iter().map(|one| (&*one.about, one.recorded.is_some())).collect();
        assert_eq!(told, [("cards/b", true), ("cards/c", false)]);
        assert!(!Effect::are_same(&[b], &[]));
    }

    #[test]
    fn the_same_write_twice_is_not_the_same_as_once() {
        let body = json!({});
        let found = differences(&[put("a", &body), put("a", &body)], &[put("a", &body)]);
        assert_eq!(found.len(), 1);
        assert!(found[0].replayed.is_none());
    }
}
