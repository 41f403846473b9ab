//! A line of NDJSON, whose values are kept as they were written.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::COLUMNS_MAX;
use crate::domain::code::JsonCode;

/// A value as it stands in a record, before it is looked at.
pub(super) enum Raw {
    Missing,
    Text(String),
    /// What is no text in an encoding.
    Undecodable(&'static str),
    /// A list or an object where one value belongs.
    Compound,
}

/// A JSON object whose values are kept as they were written: an amount is never a float.
pub(super) struct Object(Vec<(String, Box<RawValue>)>);

impl Object {
    /// Reads a line.
    pub(super) fn read(text: &str) -> Result<Self, NotRead> {
        let mut found = None;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let object = Members(&mut found).deserialize(&mut deserializer);
        let object = object.and_then(|object| deserializer.end().map(|()| object));
        object.map_err(|error| NotRead::new(&error, found))
    }

    pub(super) fn find(&self, column: &str) -> Raw {
        match column.strip_prefix('/') {
            None => self.get(column).map_or(Raw::Missing, scalar),
            Some(path) => {
                let mut segments = path.split('/').map(|one| one.replace("~1", "/").replace("~0", "~"));
                let first = segments.next().unwrap_or_default();
                let mut found = self.get(&first).map(|value| value.get().to_owned());
                for segment in segments {
                    let object = found.and_then(|text| Self::read(&text).ok());
                    found = object.and_then(|object| object.get(&segment).map(|v| v.get().to_owned()));
                }
                found.and_then(|text| RawValue::from_string(text).ok()).map_or(Raw::Missing, |v| scalar(&v))
            }
        }
    }

    fn get(&self, key: &str) -> Option<&RawValue> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| &**value)
    }
}

fn scalar(value: &RawValue) -> Raw {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'n') | None => Raw::Missing,
        Some(b'"') => match serde_json::from_str::<String>(text) {
            Ok(text) => Raw::Text(text.trim().to_owned()),
            // Escapes are halves of characters of UTF-16, whatever the file's encoding is.
            Err(_lone_surrogate) => Raw::Undecodable("UTF-16"),
        },
        Some(b'[' | b'{') => Raw::Compound,
        Some(_) => Raw::Text(text.to_owned()),
    }
}

/// Why a line is no object.
pub(super) struct NotRead {
    pub(super) code: JsonCode,
    /// The same in English, with what the parser knows.
    pub(super) reason: String,
    /// The byte, from 1.
    pub(super) column: usize,
}

impl NotRead {
    fn new(error: &serde_json::Error, found: Option<JsonCode>) -> Self {
        let code = found.unwrap_or_else(|| match error.classify() {
            Category::Eof | Category::Io => JsonCode::Incomplete,
            Category::Syntax => JsonCode::Syntax,
            Category::Data => JsonCode::NotAnObject,
        });
        // The place has a column of its own.
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default().to_owned();
        Self { code, reason, column: error.column() }
    }
}

/// Reads the members of an object, and notes what is wrong with them as such.
struct Members<'a>(&'a mut Option<JsonCode>);

impl Members<'_> {
    fn refuse<E: de::Error>(self, code: JsonCode, reason: impl fmt::Display) -> E {
        *self.0 = Some(code);
        E::custom(reason)
    }
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = Object;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Object, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
            if members.len() == COLUMNS_MAX {
                let code = JsonCode::TooManyMembers { max: COLUMNS_MAX.to_string() };
                return Err(self.refuse(code, format_args!("more than {COLUMNS_MAX} members")));
            }
            if members.iter().any(|(known, _)| *known == name) {
                let reason = format!("`{name}` stands twice");
                return Err(self.refuse(JsonCode::Repeated { name }, reason));
            }
            members.push((name, value));
        }
        Ok(Object(members))
    }
}
