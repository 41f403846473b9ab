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
use crate::domain::code::{Reason, codes};
use crate::error::{Error, Fault};
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

codes! {
    /// A kind of problem: what its `type` leads to and its title says.
    ProblemKind in "title" {
        Invalid = "invalid",
        MalformedJson = "malformed_json",
        MalformedRequest = "malformed_request",
        NotFound = "not_found",
        MethodNotAllowed = "method_not_allowed",
        Conflict = "conflict",
        VersionMismatch = "version_mismatch",
        VersionRequired = "version_required",
        Unauthenticated = "unauthenticated",
        Forbidden = "forbidden",
        Refused = "refused",
        CrossSite = "cross_site",
        Limit = "limit",
        TooManyRequests = "too_many_requests",
        PluginRejected = "plugin_rejected",
        PluginFailed = "plugin_failed",
        BodyTooLarge = "body_too_large",
        UnsupportedMediaType = "unsupported_media_type",
        UploadBroken = "upload_broken",
        Unavailable = "unavailable",
        Timeout = "timeout",
        Gone = "gone",
        Internal = "internal",
    }
}

/// A refusal or failure on its way to the layer that writes it.
#[derive(Clone, Debug)]
pub struct Problem(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    status: StatusCode,
    kind: ProblemKind,
    what: What,
    faults: Vec<Fault>,
    retry_after_s: u32,
}

/// What there is to say.
#[derive(Clone, Debug)]
enum What {
    /// A use case has refused or failed.
    UseCase(Error),
    /// The request itself is refused.
    Request(Reason),
    /// The body cannot be read, for this fault alone.
    Unreadable(Fault),
}

impl Problem {
    /// The refusal of a request.
    #[must_use]
    pub fn new(status: StatusCode, kind: ProblemKind, reason: Reason) -> Self {
        Self::of(status, kind, What::Request(reason))
    }

    /// The problem of a text that is not one plain JSON value.
    #[must_use]
    pub fn malformed_json(fault: Fault) -> Self {
        let what = What::Unreadable(fault.clone());
        Self::of(StatusCode::BAD_REQUEST, ProblemKind::MalformedJson, what).with_faults(vec![fault])
    }

    /// A header that cannot be read.
    #[must_use]
    pub fn bad_header(header: &'static str) -> Self {
        let reason = Reason::BadHeader { header: header.to_owned() };
        Self::new(StatusCode::BAD_REQUEST, ProblemKind::MalformedRequest, reason)
    }

    /// A body of another type than `wanted`.
    #[must_use]
    pub fn unsupported_media_type(wanted: &'static str) -> Self {
        let reason = Reason::UnsupportedMediaType { wanted: wanted.to_owned() };
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, ProblemKind::UnsupportedMediaType, reason)
    }

    /// The same, if it is a wrong input, of a request whose only input is its query.
    #[must_use]
    pub(super) fn of_query(mut self) -> Self {
        if let What::UseCase(Error::Invalid { faults }) = &self.0.what {
            let reason = Reason::BadQuery { count: faults.len().to_string() };
            self.0.status = StatusCode::BAD_REQUEST;
            self.0.kind = ProblemKind::MalformedRequest;
            self.0.what = What::Request(reason);
        }
        self
    }

    fn of(status: StatusCode, kind: ProblemKind, what: What) -> Self {
        Self(Box::new(Parts { status, kind, what, faults: Vec::new(), retry_after_s: 0 }))
    }

    fn with_faults(mut self, faults: Vec<Fault>) -> Self {
        self.0.faults = faults;
        self
    }

    /// The same with the seconds after which trying again may help.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after_s = seconds;
        self
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Cow<'static, str> {
        match &self.0.what {
            What::UseCase(error) => error.reason().as_str().into(),
            What::Request(reason) => reason.as_str().into(),
            What::Unreadable(fault) => fault.code.clone(),
        }
    }

    /// The document in a language.
    #[must_use]
    pub fn document(&self, locale: Locale, request_id: &str) -> ProblemDocument {
        let Parts { status, kind, what, faults, .. } = &*self.0;
        let detail = match what {
            What::UseCase(error) => error.text(locale),
            What::Request(reason) => texts::say(locale, reason),
            What::Unreadable(fault) => fault.clone().translated(locale).message,
        };
        let (plugin, plugin_code) = match what {
            What::UseCase(Error::PluginRejected { plugin, code, .. }) => {
                (Some(plugin.clone()), Some(code.clone()))
            }
            What::UseCase(Error::PluginFailed { plugin, code, .. }) => {
                (Some(plugin.clone()), Some(code.to_string()))
            }
            What::UseCase(_) | What::Request(_) | What::Unreadable(_) => (None, None),
        };
        let errors = faults.iter().take(FAULTS_MAX);
        let errors = errors.map(|fault| fault.clone().translated(locale)).collect();
        ProblemDocument {
            kind: format!("/problems/{kind}"),
            title: texts::say(locale, kind),
            status: status.as_u16(),
            code: self.code().into_owned(),
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
        if let What::UseCase(Error::Unavailable(cause) | Error::Internal(cause)) = &self.0.what {
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
        use ProblemKind as Kind;
        let (status, kind) = match &error {
            Error::Invalid { .. } => (StatusCode::UNPROCESSABLE_ENTITY, Kind::Invalid),
            Error::NotFound { .. } => (StatusCode::NOT_FOUND, Kind::NotFound),
            Error::Gone { .. } => (StatusCode::GONE, Kind::Gone),
            Error::Conflict { .. } => (StatusCode::CONFLICT, Kind::Conflict),
            Error::VersionMismatch { .. } => (StatusCode::PRECONDITION_FAILED, Kind::VersionMismatch),
            Error::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, Kind::Unauthenticated),
            Error::Forbidden(_) => (StatusCode::FORBIDDEN, Kind::Forbidden),
            Error::Refused { .. } => (StatusCode::FORBIDDEN, Kind::Refused),
            Error::Limit { retry_after_s: 0, .. } => (StatusCode::UNPROCESSABLE_ENTITY, Kind::Limit),
            Error::Limit { .. } => (StatusCode::TOO_MANY_REQUESTS, Kind::Limit),
            Error::PluginRejected { .. } => (StatusCode::UNPROCESSABLE_ENTITY, Kind::PluginRejected),
            Error::PluginFailed { .. } => (StatusCode::BAD_GATEWAY, Kind::PluginFailed),
            Error::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, Kind::Unavailable),
            Error::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, Kind::Internal),
        };
        let (faults, retry_after_s) = match &error {
            Error::Invalid { faults } | Error::PluginRejected { faults, .. } => (faults.clone(), 0),
            Error::Limit { retry_after_s, .. } => (Vec::new(), *retry_after_s),
            Error::Unavailable(_) => (Vec::new(), 1),
            Error::NotFound { .. }
            | Error::Gone { .. }
            | Error::Conflict { .. }
            | Error::VersionMismatch { .. }
            | Error::Unauthenticated(_)
            | Error::Forbidden(_)
            | Error::Refused { .. }
            | Error::PluginFailed { .. }
            | Error::Internal(_) => (Vec::new(), 0),
        };
        Self::of(status, kind, What::UseCase(error)).with_faults(faults).retry_after(retry_after_s)
    }
}

/// The problem of a response that no handler of ours made: axum's own refusals.
pub(super) fn of_status(status: StatusCode, body_bytes_max: usize) -> Problem {
    use ProblemKind as Kind;
    let (kind, reason) = match status {
        StatusCode::NOT_FOUND => (Kind::NotFound, Reason::UnknownAddress),
        StatusCode::METHOD_NOT_ALLOWED => (Kind::MethodNotAllowed, Reason::MethodNotAllowed),
        StatusCode::PAYLOAD_TOO_LARGE => {
            (Kind::BodyTooLarge, Reason::BodyTooLarge { max: body_bytes_max.to_string() })
        }
        _ if status.is_server_error() => (Kind::Internal, Reason::Internal),
        _ => (Kind::MalformedRequest, Reason::MalformedRequest),
    };
    Problem::new(status, kind, reason)
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
