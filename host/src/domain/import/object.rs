//! A line of NDJSON, whose values are kept as they were written.

use std::fmt;

use serde_json::value::RawValue;

/// A value as it stands in a record, before it is looked at.
pub(super) enum Raw {
    Missing,
    Text(String),
    Undecodable,
    /// A list or an object where one value belongs.
    Compound,
}

/// A JSON object whose values are kept as they were written: an amount is never a float.
pub(super) struct Object(Vec<(String, Box<RawValue>)>);

impl Object {
    pub(super) fn find(&self, column: &str) -> Raw {
        match column.strip_prefix('/') {
            None => self.get(column).map_or(Raw::Missing, scalar),
            Some(path) => {
                let mut segments = path.split('/').map(|one| one.replace("~1", "/").replace("~0", "~"));
                let first = segments.next().unwrap_or_default();
                let mut found = self.get(&first).map(|value| value.get().to_owned());
                for segment in segments {
                    let object = found.and_then(|text| serde_json::from_str::<Self>(&text).ok());
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
            Err(_lone_surrogate) => Raw::Undecodable,
        },
        Some(b'[' | b'{') => Raw::Compound,
        Some(_) => Raw::Text(text.to_owned()),
    }
}

impl<'de> serde::Deserialize<'de> for Object {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> serde::de::Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if members.len() == super::COLUMNS_MAX {
                        return Err(serde::de::Error::custom("too many members"));
                    }
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(serde::de::Error::custom(format_args!("`{name}` stands twice")));
                    }
                    members.push((name, value));
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// What is wrong with a line of JSON, without the place, which has a column of its own.
pub(super) fn json_message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}
