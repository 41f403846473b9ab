//! Requests from within the process: the whole router without a socket.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{HttpState, Problem, router};
use crate::domain::actor::Locale;

/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// The name that requests say the server has.
const SERVER_NAME: &str = "localhost";

/// A request in words.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Such as `POST`.
    pub method: String,
    /// From the root, with the query.
    pub path: String,
    /// Names and values.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// JSON; a merge patch if the method is `PATCH`.
    #[serde(default)]
    pub body: Option<Value>,
}

/// What was answered.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    /// The status.
    pub status: u16,
    /// Names and values; those that are not text are left out.
    pub headers: Vec<(String, String)>,
    /// JSON, or the body's text.
    pub body: Value,
}

impl Told {
    /// What a use case without a route has answered, as the API would say it in English.
    #[must_use]
    pub fn of(answered: crate::error::Result<Value>) -> Self {
        let (status, body) = match answered {
            Ok(body) => (200, body),
            Err(error) => {
                let document = Problem::from(error).document(Locale::En, "");
                (document.status, json!(document))
            }
        };
        Self { status, headers: Vec::new(), body }
    }
}

/// A server that is asked without a socket.
#[derive(Clone)]
pub struct Door(Router);

impl Door {
    /// The door of this server.
    #[must_use]
    pub fn new(state: HttpState) -> Self {
        Self(router(state))
    }

    /// Answers one request, read whole.
    ///
    /// # Errors
    /// Why it is no request, or that its answer is larger than 16 MiB.
    pub async fn ask(&self, ask: Ask) -> Result<Told, String> {
        let request = request(ask)?;
        let Ok(response) = self.0.clone().oneshot(request).await;
        let (head, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, ANSWER_BYTES_MAX).await.map_err(|error| error.to_string())?;
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_not_json| Value::from(String::from_utf8_lossy(&bytes)));
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        };
        let headers = head.headers.iter().filter_map(text).collect();
        Ok(Told { status: head.status.as_u16(), headers, body })
    }
}

fn request(ask: Ask) -> Result<Request<Body>, String> {
    let Ask { method, path, headers, body } = ask;
    let method = Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?;
    let kind = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, SERVER_NAME);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let body = match body {
        Some(body) => {
            request = request.header(header::CONTENT_TYPE, kind);
            Body::from(body.to_string())
        }
        None => Body::empty(),
    };
    request.body(body).map_err(|error| error.to_string())
}
