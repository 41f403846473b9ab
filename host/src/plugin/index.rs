//! Values of indexes, written so that their order as text is their order.

use serde_json::Value;

use crate::clock::Timestamp;
use crate::domain::code::FaultCode;
use crate::domain::manifest::{Collection, ScalarType};
use crate::error::Fault;

/// The longest text that an index or a field holds, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 1_024;

/// Less than every value of an index.
pub(super) const LOWEST: &str = "";
/// Greater than every value of an index.
pub(super) const HIGHEST: &str = "~";

pub(super) fn text(value: &str) -> String {
    format!("t{value}")
}

pub(super) fn boolean(value: bool) -> String {
    if value { "b1".into() } else { "b0".into() }
}

/// Two's complement with the sign turned, so that negative numbers come first.
pub(super) fn integer(value: i64) -> String {
    format!("i{:016x}", value.cast_unsigned() ^ (1 << 63))
}

/// The bits of a float sort like the number once those of negative ones are turned.
pub(super) fn number(value: f64) -> String {
    let bits = if value == 0.0 { 0 } else { value.to_bits() };
    let sortable = if bits >> 63 == 1 { !bits } else { bits | (1 << 63) };
    format!("n{sortable:016x}")
}

/// The index of a document: names and values of those that it has.
///
/// A missing or null value is in no index.
pub(super) fn of_document(
    collection: &Collection,
    body: &Value,
) -> Result<Vec<(String, String)>, Vec<Fault>> {
    let mut index = Vec::with_capacity(collection.indexes.len());
    let mut faults = Vec::new();
    for one in &collection.indexes {
        match body.pointer(&one.pointer) {
            None | Some(Value::Null) => {}
            Some(value) => match encode(one.kind, value) {
                Ok(value) => index.push((one.name.clone(), value)),
                Err(message) => faults.push(Fault::new(
                    one.pointer.clone(),
                    FaultCode::wrong_type(&[one.kind.type_name()]),
                    message,
                )),
            },
        }
    }
    if faults.is_empty() { Ok(index) } else { Err(faults) }
}

fn encode(kind: ScalarType, value: &Value) -> Result<String, String> {
    let encoded = match kind {
        ScalarType::Text => {
            value.as_str().filter(|t| t.len() <= TEXT_BYTES_MAX && !t.contains('\0')).map(text)
        }
        ScalarType::Integer => value.as_i64().map(integer),
        ScalarType::Number => value.as_f64().map(number),
        ScalarType::Boolean => value.as_bool().map(boolean),
        ScalarType::Time => value.as_str().and_then(Timestamp::parse).map(|time| integer(time.as_micros())),
    };
    encoded.ok_or_else(|| {
        let wanted = match kind {
            ScalarType::Text => "text of at most 1 KiB",
            ScalarType::Integer => "a whole number of 64 bits",
            ScalarType::Number => "a number",
            ScalarType::Boolean => "true or false",
            ScalarType::Time => "a time in RFC 3339",
        };
        format!("an index of this collection wants {wanted} here")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_sort_as_text_like_numbers() {
        let numbers = [f64::MIN, -2.5, -1.0, -0.0, 1e-9, 1.0, 2.5, f64::MAX].map(number);
        assert!(numbers.is_sorted());
        assert_eq!(number(0.0), number(-0.0));
        let integers = [i64::MIN, -1, 0, 1, i64::MAX].map(integer);
        assert!(integers.is_sorted());
        assert!(boolean(false) < boolean(true));
    }

    #[test]
    fn every_value_lies_between_the_ends() {
        for value in [text(""), text("\u{10FFFF}"), integer(0), number(0.0), boolean(true)] {
            assert!(value.as_str() > LOWEST && value.as_str() < HIGHEST);
        }
    }
}
