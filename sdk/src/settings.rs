//! The tenant's settings of this plugin.

use serde::de::DeserializeOwned;

use crate::error::decode;
use crate::{Result, host};

/// The settings, valid by the manifest's schema. The host fills in the schema's
/// defaults; give nested values theirs with `#[serde(default)]`.
pub fn get<T: DeserializeOwned>() -> Result<T> {
    decode("the settings", &host::settings::get()?)
}
