//! The header `Idempotency-Key`: says which requests are the same one sent again.

use std::collections::HashSet;
use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use sha2::{Digest as _, Sha256};
use utoipa::openapi::RefOr;
use utoipa::openapi::path::Operation;

use super::problem::ProblemKind;
use super::{API_PREFIX, HttpState, Problem, json, plugin_routes};
use crate::domain::code::Reason;

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// Characters of a key at most.
const KEY_CHARS_MAX: usize = 255;

/// A key and the hash of the request that it was sent with; `auth` hands it to the actor.
#[derive(Clone, Debug)]
pub(super) struct Fingerprint {
    pub(super) key: String,
    pub(super) fingerprint: String,
}

/// The operations that the API's description gives the header, and those of plugins.
static SUPPORTED: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let takes_key = |operation: &Operation| {
        let mut parameters = operation.parameters.iter().flatten();
        parameters.any(|parameter| match parameter {
            RefOr::T(parameter) => parameter.name.eq_ignore_ascii_case(HEADER.as_str()),
            RefOr::Ref(_) => false,
        })
    };
    let paths = super::openapi().paths.paths;
    let posts = paths.into_iter().filter(|(_, item)| item.post.as_ref().is_some_and(takes_key));
    let of_plugins = format!("{API_PREFIX}{}", plugin_routes::PATH);
    posts.map(|(path, _)| path).chain([of_plugins]).collect()
});

/// Refuses a key that would be passed over: its sender believes that repeating is safe.
pub(super) fn admit(request: &Request) -> Result<(), Problem> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if is_read || !request.headers().contains_key(HEADER) {
        return Ok(());
    }
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let is_supported = request.method() == Method::POST && path.is_some_and(|path| SUPPORTED.contains(path));
    if is_supported {
        return Ok(());
    }
    let (status, kind) = (StatusCode::BAD_REQUEST, ProblemKind::MalformedRequest);
    Err(Problem::new(status, kind, Reason::IdempotencyUnsupported))
}

/// Takes the fingerprint of a POST with a key, which needs the whole body: not for streaming routes.
pub(super) async fn fingerprint(state: &HttpState, request: Request) -> Result<Request, Problem> {
    if request.method() == Method::POST && request.headers().contains_key(HEADER) {
        return read(state, request).await;
    }
    Ok(request)
}

async fn read(state: &HttpState, request: Request) -> Result<Request, Problem> {
    let (mut parts, body) = request.into_parts();
    let key = key(&parts.headers)?;
    let bytes = json::collect(&parts.headers, body, state.options.body_bytes_max).await?;
    let mut hash = Sha256::new();
    let target = parts.uri.path_and_query().map(|target| target.as_str()).unwrap_or_default();
    for part in [parts.method.as_str().as_bytes(), target.as_bytes(), &bytes] {
        // With its length, so that no two requests give the same bytes.
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(part);
    }
    let fingerprint = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    parts.extensions.insert(Fingerprint { key, fingerprint });
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

fn key(headers: &HeaderMap) -> Result<String, Problem> {
    let mut sent = headers.get_all(HEADER).iter();
    let key = sent.next().and_then(|key| key.to_str().ok()).filter(|_| sent.next().is_none());
    let key = key.filter(|key| (1..=KEY_CHARS_MAX).contains(&key.len()));
    key.map(str::to_owned).ok_or_else(|| Problem::bad_header("Idempotency-Key"))
}
