//! REST endpoints under the plugin's prefix.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use crate::bindings::routes::exports::hospes::plugin::routes::Method;
use crate::{Error, Result};

/// A request that the host has let through.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub method: Method,
    /// As the manifest declares it, such as `/cards/{number}`.
    pub path: String,
    /// The path's parameters by name.
    pub params: BTreeMap<String, String>,
    /// The query parameters that the caller gave.
    pub query: BTreeMap<String, String>,
    /// Valid by the manifest's schema; absent if it declares none.
    pub body: Option<Value>,
}

impl Request {
    /// A parameter of the path; empty if the path has none of this name.
    pub fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }

    /// A query parameter, if the caller gave it.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// The body, typed.
    pub fn body<T: DeserializeOwned>(&self) -> Result<T> {
        let body = self.body.clone().unwrap_or_default();
        serde_json::from_value(body)
            .map_err(|error| Error::invalid("", "undecodable", format!("the body: {error}")))
    }
}

/// What a route answers; a failure is an [`Error`].
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// 200 to 299.
    pub status: u16,
    pub body: Option<Value>,
}

impl Response {
    /// 200 with a body.
    pub fn ok(body: Value) -> Self {
        Self { status: 200, body: Some(body) }
    }

    /// 201 with what was made.
    pub fn created(body: Value) -> Self {
        Self { status: 201, body: Some(body) }
    }

    /// 204 without a body.
    pub fn done() -> Self {
        Self { status: 204, body: None }
    }
}
