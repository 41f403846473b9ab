//! Refusals and failures as problem documents (RFC 9457), in the language of the caller.
//!
//! A handler's error becomes an empty response that carries a [`Problem`]; the
//! outermost layer writes its body, because only there the request's id and
//! language are known. The cause of a failure is logged there once and never shown.

use std::borrow::Cow;

use axum::Json;
use axum::http::header::{self, HeaderValue};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;

use super::context::RequestContext;
use crate::domain::actor::Locale;
use crate::error::{Cause, Error, Fault};
use crate::texts;

/// Faults that a document lists at most; an input with more is not worth more bytes.
const FAULTS_MAX: usize = 100;
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A problem document, as the API shows it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ProblemDocument {
    /// `/problems/<title's code>`: an address on this server that describes the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Stable snake_case code of exactly this problem.
    pub code: String,
    /// What is wrong here, for a person.
    pub detail: String,
    /// Everything that is wrong with the input, each with a JSON pointer into it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<Fault>,
    /// The plugin that refuses or fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// The plugin's own code of its reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin_code: Option<String>,
    /// What to tell the operator.
    pub request_id: String,
}

/// A refusal or failure on its way to the layer that writes it.
#[derive(Clone, Debug)]
pub struct Problem(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    status: StatusCode,
    /// The code of the title and of the type.
    kind: &'static str,
    code: Cow<'static, str>,
    /// English, for when there is no text under the code.
    message: String,
    params: Vec<(&'static str, String)>,
    faults: Vec<Fault>,
    plugin: Option<(String, Option<String>)>,
    retry_after_s: u32,
    cause: Option<Cause>,
}

impl Problem {
    /// A problem whose title and detail stand in the text files under `code`.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str) -> Self {
        Self::of_kind(status, code, code, String::new())
    }

    /// A problem of a kind with a code of its own.
    #[must_use]
    pub fn of_kind(
        status: StatusCode,
        kind: &'static str,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self(Box::new(Parts {
            status,
            kind,
            code: code.into(),
            message: message.into(),
            params: Vec::new(),
            faults: Vec::new(),
            plugin: None,
            retry_after_s: 0,
            cause: None,
        }))
    }

    /// The same with a value that its text names.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.0.params.push((name, value.to_string()));
        self
    }

    /// The same with the faults of the input.
    #[must_use]
    pub fn with_faults(mut self, faults: Vec<Fault>) -> Self {
        self.0.faults = faults;
        self
    }

    /// The same with the seconds after which trying again may help.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after_s = seconds;
        self
    }

    fn caused_by(mut self, cause: Cause) -> Self {
        self.0.cause = Some(cause);
        self
    }

    fn of_plugin(mut self, plugin: String, code: Option<String>) -> Self {
        self.0.plugin = Some((plugin, code));
        self
    }

    /// The code, for tests and logs.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// The document in a language.
    #[must_use]
    pub fn document(&self, locale: Locale, request_id: &str) -> ProblemDocument {
        let Parts { status, kind, code, message, params, faults, plugin, .. } = &*self.0;
        let title = texts::find(locale, &texts::key("title", kind), &[]).unwrap_or_default();
        let (plugin, plugin_code) = match plugin {
            Some((plugin, code)) => (Some(plugin.clone()), code.clone()),
            None => (None, None),
        };
        let detail = if locale == Locale::En && !message.is_empty() {
            message.clone()
        } else {
            let params = translate_kind(locale, params);
            texts::find(locale, &texts::key("detail", code), &params)
                .unwrap_or_else(|| if message.is_empty() { title.clone() } else { message.clone() })
        };
        let errors = faults.iter().take(FAULTS_MAX);
        let errors = if plugin.is_some() {
            // A plugin has already written its texts in the caller's language.
            errors.cloned().collect()
        } else {
            errors.map(|fault| translate(locale, fault)).collect()
        };
        ProblemDocument {
            kind: format!("/problems/{kind}"),
            title,
            status: status.as_u16(),
            code: code.to_string(),
            detail,
            errors,
            plugin,
            plugin_code,
            request_id: request_id.to_owned(),
        }
    }

    /// The response that a client sees. Logs the cause of a failure.
    pub(super) fn render(&self, context: &RequestContext) -> axum::response::Response {
        let locale = context.locale();
        if let Some(cause) = &self.0.cause {
            // The request's id stands in the span.
            tracing::error!(status = self.0.status.as_u16(), cause = %chain(&**cause), "a request failed");
        }
        let mut response = Json(self.document(locale, context.id())).into_response();
        *response.status_mut() = self.0.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, CONTENT_TYPE);
        headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(locale.as_str()));
        if self.0.retry_after_s > 0 {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(self.0.retry_after_s));
        }
        if self.0.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> axum::response::Response {
        let mut response = Response::new(axum::body::Body::empty());
        *response.status_mut() = self.0.status;
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> axum::response::Response {
        Problem::from(self).into_response()
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Invalid { faults } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid")
                .with("count", faults.len())
                .with_faults(faults),
            Error::NotFound { kind, id } => {
                Self::new(StatusCode::NOT_FOUND, "not_found").with("kind", kind).with("id", printable(&id))
            }
            Error::Gone { code, message } => Self::of_kind(StatusCode::GONE, "gone", code, message),
            Error::Conflict { code, message } => {
                Self::of_kind(StatusCode::CONFLICT, "conflict", code, message)
            }
            Error::VersionMismatch { kind, id, version } => {
                Self::new(StatusCode::PRECONDITION_FAILED, "version_mismatch")
                    .with("kind", kind)
                    .with("id", id)
                    .with("version", version)
            }
            Error::Unauthenticated(message) => {
                Self::of_kind(StatusCode::UNAUTHORIZED, "unauthenticated", "unauthenticated", message)
            }
            Error::Forbidden(permission) => {
                Self::new(StatusCode::FORBIDDEN, "forbidden").with("permission", permission)
            }
            Error::Refused { code, message } => {
                Self::of_kind(StatusCode::FORBIDDEN, "refused", code, message)
            }
            Error::Limit { code, message, retry_after_s } => {
                let status = if retry_after_s > 0 {
                    StatusCode::TOO_MANY_REQUESTS
                } else {
                    StatusCode::UNPROCESSABLE_ENTITY
                };
                Self::of_kind(status, "limit", code, message).retry_after(retry_after_s)
            }
            Error::PluginRejected { plugin, code, message: reason, faults } => {
                Self::of_kind(StatusCode::UNPROCESSABLE_ENTITY, "plugin_rejected", "plugin_rejected", message)
                    .with("plugin", &plugin)
                    .with("message", reason)
                    .with_faults(faults)
                    .of_plugin(plugin, Some(code))
            }
            Error::PluginFailed { plugin, code, message: what } => {
                Self::of_kind(StatusCode::BAD_GATEWAY, "plugin_failed", "plugin_failed", message)
                    .with("plugin", &plugin)
                    .with("message", what)
                    .of_plugin(plugin, Some(code.to_owned()))
            }
            Error::Unavailable(cause) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable").retry_after(1).caused_by(cause)
            }
            Error::Internal(cause) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal").caused_by(cause)
            }
        }
    }
}

/// The problem of a response that no handler of ours made: axum's own refusals.
pub(super) fn of_status(status: StatusCode) -> Problem {
    match status {
        StatusCode::NOT_FOUND => Problem::of_kind(status, "not_found", "unknown_address", ""),
        StatusCode::METHOD_NOT_ALLOWED => Problem::new(status, "method_not_allowed"),
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(status, "body_too_large"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::new(status, "unsupported_media_type"),
        _ if status.is_server_error() => Problem::new(status, "internal"),
        _ => Problem::new(status, "malformed_request"),
    }
}

fn translate(locale: Locale, fault: &Fault) -> Fault {
    let mut fault = fault.clone();
    if locale != Locale::En || fault.message.is_empty() {
        let key = texts::key("fault", &fault.code);
        if let Some(text) = texts::find(locale, &key, &fault.params) {
            fault.message = text;
        }
    }
    fault
}

/// The parameters with the kind of record in the caller's language.
fn translate_kind(locale: Locale, params: &[(&'static str, String)]) -> Vec<(&'static str, String)> {
    let translated = params.iter().map(|(name, value)| match *name {
        "kind" => {
            (*name, texts::find(locale, &texts::key("kind", value), &[]).unwrap_or_else(|| value.clone()))
        }
        _ => (*name, value.clone()),
    });
    translated.collect()
}

/// The beginning of an id that a client has sent: it may be anything.
fn printable(id: &str) -> String {
    id.chars().filter(|c| !c.is_control()).take(64).collect()
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
