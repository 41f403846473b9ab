//! Small values of the plugin that belong to the tenant, as JSON. What is about
//! a person belongs in [`documents`](crate::documents), under that person.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::imports::hospes::plugin::kv::Entry;
use crate::error::encode;
use crate::{Error, Result, Timestamp, host};

/// The value of a key.
pub fn get<T: DeserializeOwned>(key: &str) -> Result<Option<T>> {
    let mut entries = host::kv::get_many(&[key.to_owned()])?;
    let Some(entry) = entries.pop().flatten() else {
        return Ok(None);
    };
    serde_json::from_slice(&entry.value)
        .map(Some)
        .map_err(|error| Error::invalid("", "undecodable", format!("value `{key}`: {error}")))
}

/// Sets a value of at most 64 KiB that stays.
pub fn set<T: Serialize>(key: &str, value: &T) -> Result<()> {
    write(key, value, None)
}

/// Sets a value that the host forgets at a time.
pub fn set_until<T: Serialize>(key: &str, value: &T, expires_at: Timestamp) -> Result<()> {
    write(key, value, Some(expires_at.micros()))
}

/// Removes a value; a missing one is no error.
pub fn delete(key: &str) -> Result<()> {
    host::kv::delete_many(&[key.to_owned()])
}

fn write<T: Serialize>(key: &str, value: &T, expires_at: Option<i64>) -> Result<()> {
    host::kv::set_many(&[Entry {
        key: key.to_owned(),
        value: encode("a kv value", value)?.into_bytes(),
        expires_at,
    }])
}
