//! REST endpoints of plugins: who may call them, and what they are.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::actor::Actor;
use crate::domain::ids::TenantId;
use crate::domain::manifest::{Method, Route};
use crate::domain::permission::Permission;
use crate::error::Result;
use crate::ops::{self, Core};

/// A request to a plugin.
#[derive(Clone, Debug)]
pub struct RouteRequest {
    /// The method.
    pub method: Method,
    /// The segments below the plugin's prefix, decoded.
    pub path: Vec<String>,
    /// Its query parameters, decoded.
    pub query: Vec<(String, String)>,
    /// Its body, if it has one.
    pub body: Option<Value>,
}

/// What a plugin answers to a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RouteResponse {
    /// 200 to 299.
    pub status: u16,
    /// Its body, if it has one.
    pub body: Option<Value>,
}

/// The endpoints of a plugin that a tenant has enabled.
#[derive(Clone, Debug)]
pub struct PluginRoutes {
    /// The plugin's name.
    pub plugin: String,
    /// The version that is enabled.
    pub version: String,
    /// Its endpoints.
    pub routes: Vec<Route>,
}

/// Passes a request to a plugin. What the plugin writes commits before the answer, or nothing does;
/// a `GET` writes nothing.
///
/// # Errors
/// `Forbidden`; `NotFound` for a method and path that the plugin does not declare;
/// `Refused` with `role` if the route is not for the actor's roles; `Invalid` for a
/// query or body that the manifest refuses; `PluginRejected` and `PluginFailed`.
pub async fn handle(
    core: &Core,
    actor: &Actor,
    plugin: &str,
    request: RouteRequest,
) -> Result<RouteResponse> {
    ops::require(actor, Permission::PluginAct)?;
    core.plugins()?.route(actor, plugin, request).await
}

/// The endpoints of all plugins that a tenant has enabled, by plugin.
///
/// # Errors
/// Those of the database.
pub async fn list(core: &Core, tenant: &TenantId) -> Result<Vec<PluginRoutes>> {
    core.plugins()?.routes(tenant).await
}
