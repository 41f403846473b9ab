//! Functions of other plugins.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{decode, encode};
use crate::{Result, host};

/// Calls a function that another plugin of the tenant declares. What it writes
/// commits together with this invocation's own writes.
pub fn call<I: Serialize, O: DeserializeOwned>(plugin: &str, function: &str, input: &I) -> Result<O> {
    let output = host::plugins::call(plugin, function, &encode("the function's input", input)?)?;
    decode("the function's output", &output)
}
