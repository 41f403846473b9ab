//! Strict reading of JSON: no duplicate keys, no deep nesting, nothing after the value.
//!
//! Two parsers that read one document differently are a way in for attackers, so
//! what is ambiguous is refused before anything looks at the values.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::domain::check::escaped;
use crate::domain::code::FaultCode;
use crate::error::Fault;

/// Arrays and objects inside one another at most.
pub(super) const DEPTH_MAX: usize = 32;

/// Reads one JSON value, or answers the first thing that is wrong with the text.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let position = error.valid_up_to();
        Fault::new("", FaultCode::BadUtf8, format!("the body is not UTF-8 after byte {position}"))
    })?;
    let found = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let strict = Strict { depth: 0, pointer: String::new(), found: &found };
    let parsed = strict.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    parsed.map_err(|error| found.take().unwrap_or_else(|| not_json(&error)))
}

fn not_json(error: &serde_json::Error) -> Fault {
    Fault::plain("", FaultCode::BadJson { reason: error.to_string() })
}

#[derive(Clone)]
struct Strict<'f> {
    depth: usize,
    pointer: String,
    found: &'f RefCell<Option<Fault>>,
}

impl Strict<'_> {
    fn below(&self, segment: &str) -> Self {
        Self {
            depth: self.depth + 1,
            pointer: format!("{}/{}", self.pointer, escaped(segment)),
            found: self.found,
        }
    }

    fn refuse<E: serde::de::Error>(&self, fault: Fault) -> E {
        *self.found.borrow_mut() = Some(fault);
        E::custom("refused")
    }

    fn check_depth<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.depth < DEPTH_MAX {
            return Ok(());
        }
        // The pointer would be as long as the nesting is deep.
        Err(self.refuse(Fault::plain("", FaultCode::TooDeep { max: DEPTH_MAX.to_string() })))
    }

    fn check_text<E: serde::de::Error>(&self, text: &str) -> Result<(), E> {
        // PostgreSQL has no text with a NUL.
        if !text.contains('\0') {
            return Ok(());
        }
        Err(self.refuse(Fault::plain(&self.pointer, FaultCode::NulCharacter)))
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.check_text(text)?;
        Ok(Value::from(text))
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Value, E> {
        self.check_text(&text)?;
        Ok(Value::from(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        self.check_depth()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self.below(&items.len().to_string()))? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        self.check_depth()?;
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let below = self.below(&key);
            below.check_text(&key)?;
            if object.contains_key(&key) {
                return Err(self.refuse(Fault::plain(below.pointer, FaultCode::DuplicateKey)));
            }
            let value = map.next_value_seed(below)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (String, String) {
        let fault = parse(text.as_bytes()).unwrap_err();
        (fault.code.into_owned(), fault.pointer)
    }

    #[test]
    fn plain_json_is_read_as_it_stands() {
        let text = r#"{"a":[1,-2,0.5,"x",null,true],"b":{"c":{}}}"#;
        assert_eq!(parse(text.as_bytes()).unwrap().to_string(), text);
    }

    #[test]
    fn a_key_that_appears_twice_is_refused_where_it_does() {
        assert_eq!(refused(r#"{"a":[{"b/c":1,"b/c":1}]}"#), ("duplicate_key".into(), "/a/0/b~1c".into()));
    }

    #[test]
    fn thirty_two_levels_are_read_and_thirty_three_refused() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(parse(nested(32).as_bytes()).is_ok());
        assert_eq!(refused(&nested(33)).0, "too_deep");
        assert_eq!(refused(&"[".repeat(100_000)).0, "too_deep");
    }

    #[test]
    fn what_is_not_one_json_value_is_refused() {
        for text in ["", "{", "1 2", "{} x", "NaN", "1e999", "'a'", "\"\\ud800\""] {
            assert_eq!(refused(text).0, "bad_json", "{text}");
        }
        assert_eq!(parse(b"\"\xff\"").unwrap_err().code, "bad_utf8");
        assert_eq!(refused(r#"{"a":"\u0000"}"#), ("nul_character".into(), "/a".into()));
    }
}
