//! Functions that plugins offer to one another, called without another plugin: by a rehearsal, in which there
//! is none.

use serde_json::Value;

use crate::domain::actor::Actor;
use crate::error::Result;
use crate::ops::Core;

/// A call of a function.
#[derive(Clone, Debug)]
pub struct FunctionRequest {
    /// The plugin.
    pub plugin: String,
    /// The function, as the manifest declares it.
    pub function: String,
    /// The name that the plugin is told its caller has.
    pub caller: String,
    /// Its input.
    pub input: Value,
}

/// Calls a function on behalf of the actor. What the plugin writes commits before the answer, or nothing does.
///
/// # Errors
/// `NotFound` for an unknown function; `Invalid` for an input that the manifest refuses; `PluginRejected`,
/// also without the grant to serve others; `PluginFailed`.
pub async fn call(core: &Core, actor: &Actor, request: FunctionRequest) -> Result<Value> {
    core.plugins()?.serve(actor, request).await
}
