//! Documents that guests hand over: JSON text, checked before anything uses it.

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{Answered, invalid};

/// The longest document, in bytes.
pub(in crate::plugin) const DOCUMENT_BYTES_MAX: usize = 256 * 1_024;
const DEPTH_MAX: u32 = 32;

/// Reads a document of at most `most` bytes.
pub(super) fn parse(pointer: &str, text: &str, most: usize) -> Answered<Value> {
    if text.len() > most {
        return Err(invalid(pointer, "too_long", format!("a document has at most {most} bytes here")));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = de::DeserializeSeed::deserialize(Strict { depth: 0 }, &mut reader);
    let value = value.and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| invalid(pointer, "not_json", error.to_string()))
}

/// Builds a value and refuses depth and names that occur twice, on which two
/// readers of the same text could differ.
#[derive(Clone, Copy)]
struct Strict {
    depth: u32,
}

impl<'de> de::DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Strict {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.depth >= DEPTH_MAX {
            return Err(E::custom(format_args!("nests deeper than {DEPTH_MAX} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(deeper)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(deeper)?;
            if object.insert(name.clone(), value).is_some() {
                return Err(de::Error::custom(format_args!("names `{name}` twice")));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_two_readers_could_read_differently_is_refused() {
        assert!(parse("", r#"{"a": [1, 2.5, "x", null, true]}"#, 1_000).is_ok());
        assert!(parse("", r#"{"a": 1, "a": 2}"#, 1_000).is_err());
        assert!(parse("", "{} trailing", 1_000).is_err());
        assert!(parse("", &"[".repeat(100_000), 1_000_000).is_err());
        assert!(parse("", &format!("{}{}", "[".repeat(32), "]".repeat(32)), 1_000).is_ok());
        assert!(parse("", &format!("{}{}", "[".repeat(33), "]".repeat(33)), 1_000).is_err());
        assert!(parse("", "12345", 4).is_err());
    }
}
