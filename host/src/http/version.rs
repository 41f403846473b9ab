//! Versions of records as entity tags: `ETag` out, `If-Match` and `If-None-Match` in.

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::ProblemKind;
use super::{API_PREFIX, HttpState, Problem};
use crate::domain::code::Reason;
use crate::ops::change::{Outcome, Upserted};

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

/// A record that the API shows with its version and at an address of its own.
pub trait Record: Serialize {
    /// Grows with every change.
    fn version(&self) -> i64;

    /// The address below the API's prefix, such as `/customers/cus_…`.
    fn path(&self) -> String;
}

/// A record as JSON with its version as `ETag` and, if it is new, its address.
#[derive(Debug)]
pub struct Versioned<T> {
    record: T,
    is_new: bool,
}

impl<T: Record> Versioned<T> {
    /// 200 with the record.
    pub fn found(record: T) -> Self {
        Self { record, is_new: false }
    }

    /// 201 with the record and its address.
    pub fn created(record: T) -> Self {
        Self { record, is_new: true }
    }

    /// One or the other.
    pub fn upserted(Upserted { record, outcome }: Upserted<T>) -> Self {
        Self { record, is_new: outcome == Outcome::Created }
    }
}

impl<T: Record> IntoResponse for Versioned<T> {
    fn into_response(self) -> Response {
        let Self { record, is_new } = self;
        let tag = format!("\"{}\"", record.version());
        let location = is_new.then(|| format!("{API_PREFIX}{}", record.path()));
        let mut response = Json(record).into_response();
        let headers = response.headers_mut();
        // Versions are digits, and ids are letters and digits.
        headers.extend(HeaderValue::from_str(&tag).ok().map(|tag| (header::ETAG, tag)));
        let location = location.and_then(|location| HeaderValue::from_str(&location).ok());
        headers.extend(location.map(|location| (header::LOCATION, location)));
        if is_new {
            *response.status_mut() = StatusCode::CREATED;
        }
        response
    }
}

/// The tags of what a reader has already (`If-None-Match`).
pub(super) fn known(request: &Request) -> Option<HeaderValue> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if is_read { request.headers().get(header::IF_NONE_MATCH).cloned() } else { None }
}

/// Leaves of an answer that the reader has already a 304 without a body.
pub(super) fn spare(known: Option<HeaderValue>, mut response: Response) -> Response {
    let tag = response.headers().get(header::ETAG);
    let is_known = match (known.as_ref().and_then(|known| known.to_str().ok()), tag) {
        (Some(known), Some(tag)) if response.status() == StatusCode::OK => names(known, tag.as_bytes()),
        _ => false,
    };
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
        for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
            response.headers_mut().remove(name);
        }
    }
    response
}

/// Whether a list of entity tags has `tag`; whether they are weak does not matter to a reader.
fn names(list: &str, tag: &[u8]) -> bool {
    let mut tags = list.split(',').map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known).as_bytes() == tag)
}
