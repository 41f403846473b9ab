//! Versions of records as entity tags: `ETag` out, `If-Match` in.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::ProblemKind;
use super::{HttpState, Problem};
use crate::domain::code::Reason;

/// The version that `If-Match` names; `None` without the header and for `*`.
///
/// For changes where the last write may win. Answers 400 for a malformed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IfMatch(pub Option<i64>);

/// As [`IfMatch`], but a request without the header is refused with 428: for records
/// that several people edit as a whole. `*` says that any version may be overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequiredIfMatch(pub Option<i64>);

impl FromRequestParts<HttpState> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &HttpState) -> Result<Self, Problem> {
        Ok(Self(read(parts)?.flatten()))
    }
}

impl FromRequestParts<HttpState> for RequiredIfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &HttpState) -> Result<Self, Problem> {
        let required = || {
            let status = StatusCode::PRECONDITION_REQUIRED;
            Problem::new(status, ProblemKind::VersionRequired, Reason::VersionRequired)
        };
        read(parts)?.ok_or_else(required).map(Self)
    }
}

fn read(parts: &Parts) -> Result<Option<Option<i64>>, Problem> {
    let mut sent = parts.headers.get_all(header::IF_MATCH).iter();
    let Some(value) = sent.next() else {
        return Ok(None);
    };
    let malformed =
        || Problem::new(StatusCode::BAD_REQUEST, ProblemKind::MalformedRequest, Reason::BadIfMatch);
    let text = value.to_str().ok().filter(|_| sent.next().is_none()).ok_or_else(malformed)?.trim();
    if text == "*" {
        return Ok(Some(None));
    }
    // Compression makes an entity tag weak, but the version behind it is the same.
    let text = text.strip_prefix("W/").unwrap_or(text);
    let version = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let version = version.and_then(|text| text.parse().ok()).filter(|version| *version > 0);
    version.map(|version| Some(Some(version))).ok_or_else(malformed)
}

/// A record as JSON with its version as `ETag`, and for a new one its address.
#[derive(Debug)]
pub struct Versioned<T> {
    body: T,
    version: i64,
    location: Option<String>,
}

impl<T> Versioned<T> {
    /// 200 with the record.
    pub fn new(body: T, version: i64) -> Self {
        Self { body, version, location: None }
    }

    /// 201 with the record and its address.
    pub fn created(body: T, version: i64, location: String) -> Self {
        Self { body, version, location: Some(location) }
    }
}

impl<T: Serialize> IntoResponse for Versioned<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.body).into_response();
        if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", self.version)) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        if let Some(location) = self.location {
            *response.status_mut() = StatusCode::CREATED;
            if let Ok(location) = HeaderValue::from_str(&location) {
                response.headers_mut().insert(header::LOCATION, location);
            }
        }
        response
    }
}
