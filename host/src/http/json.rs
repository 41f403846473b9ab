//! Bodies: strict JSON that fits the schema of its type.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use super::{HttpState, Problem, schema, strict};
use crate::error::Fault;

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// A body of JSON that fits the schema of `T`.
///
/// Answers 415 for another content type, 413 for a body beyond the limit, 400 for
/// what is not one plain JSON value, and 422 with every fault for what does not fit.
#[derive(Clone, Debug)]
pub struct ValidJson<T>(pub T);

/// A merge patch (RFC 7396) that fits the schema of `T`, whose clearable fields are
/// [`crate::domain::patch::Patch`]. Sent as `application/merge-patch+json` or plain JSON.
#[derive(Clone, Debug)]
pub struct MergePatch<T>(pub T);

impl<T: ToSchema + DeserializeOwned + 'static> FromRequest<HttpState> for ValidJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &HttpState) -> Result<Self, Problem> {
        read(request, state, &[JSON]).await.map(Self)
    }
}

impl<T: ToSchema + DeserializeOwned + 'static> FromRequest<HttpState> for MergePatch<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &HttpState) -> Result<Self, Problem> {
        read(request, state, &[MERGE_PATCH, JSON]).await.map(Self)
    }
}

async fn read<T: ToSchema + DeserializeOwned + 'static>(
    request: Request,
    state: &HttpState,
    wanted: &[&'static str],
) -> Result<T, Problem> {
    check_content_type(request.headers(), wanted)?;
    let (parts, body) = request.into_parts();
    let bytes = collect(&parts.headers, body, state.options.body_bytes_max).await?;
    let value = strict::parse(&bytes).map_err(malformed)?;
    Ok(schema::read(&value)?)
}

/// The problem of a text that is not one plain JSON value.
pub(super) fn malformed(fault: Fault) -> Problem {
    let message = fault.message.clone();
    Problem::of_kind(StatusCode::BAD_REQUEST, "malformed_json", fault.code.clone(), message)
        .with_faults(vec![fault])
}

/// Reads a body of at most `bytes_max` bytes.
pub(super) async fn collect(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large").with("max", bytes_max);
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: u64| length > u64::try_from(bytes_max).unwrap_or(u64::MAX)) {
        return Err(too_large());
    }
    match Limited::new(body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        // The client went away or broke the framing; nobody reads this answer.
        Err(_broken) => Err(Problem::new(StatusCode::BAD_REQUEST, "malformed_request")),
    }
}

fn check_content_type(headers: &HeaderMap, wanted: &[&'static str]) -> Result<(), Problem> {
    let sent = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let mut parts = sent.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let utf8 = parts.all(|part| {
        let part = part.to_ascii_lowercase();
        !part.starts_with("charset=") || matches!(part.trim_matches('"'), "charset=utf-8" | "charset=\"utf-8")
    });
    if utf8 && wanted.contains(&essence.as_str()) {
        return Ok(());
    }
    let wanted = wanted.first().copied().unwrap_or(JSON);
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type").with("wanted", wanted))
}
