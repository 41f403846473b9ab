//! A field of a merge patch (RFC 7396): left alone, cleared or set.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A field of a merge patch that can be cleared.
///
/// In the transfer object: `#[serde(default, skip_serializing_if = "Patch::is_absent")]`
/// and `#[schema(value_type = Option<T>, …)]`. A field that cannot be cleared is an
/// `Option<T>` with `#[serde(default)]` and `#[schema(value_type = T, required = false)]`,
/// so that its schema refuses null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// The patch does not name the field: it stays.
    #[default]
    Absent,
    /// The patch says null: the field is cleared.
    Null,
    /// The patch says what the field becomes.
    Value(T),
}

impl<T> Patch<T> {
    /// Whether the patch leaves the field alone.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// What the field becomes, if it was `before`.
    #[must_use]
    pub fn apply(self, before: Option<T>) -> Option<T> {
        match self {
            Self::Absent => before,
            Self::Null => None,
            Self::Value(value) => Some(value),
        }
    }

    /// The same with its value turned into something else.
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Patch<U> {
        match self {
            Self::Absent => Patch::Absent,
            Self::Null => Patch::Null,
            Self::Value(value) => Patch::Value(convert(value)),
        }
    }

    /// The value, if the patch sets one.
    #[must_use]
    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Absent | Self::Null => None,
            Self::Value(value) => Some(value),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Option::<T>::deserialize(deserializer)? {
            None => Self::Null,
            Some(value) => Self::Value(value),
        })
    }
}

impl<T: Serialize> Serialize for Patch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent | Self::Null => serializer.serialize_none(),
            Self::Value(value) => value.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Body {
        #[serde(default)]
        name: Patch<String>,
    }

    fn read(text: &str) -> Patch<String> {
        serde_json::from_str::<Body>(text).unwrap().name
    }

    #[test]
    fn absent_null_and_value_differ() {
        assert_eq!(read("{}").apply(Some("old".to_owned())), Some("old".to_owned()));
        assert_eq!(read(r#"{"name":null}"#).apply(Some("old".to_owned())), None);
        assert_eq!(read(r#"{"name":"new"}"#).apply(Some("old".to_owned())), Some("new".to_owned()));
    }
}
