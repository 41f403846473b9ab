//! Bodies: strict JSON that fits the schema of its type.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use super::problem::{self, ProblemKind};
use super::{HttpState, Problem, schema, strict};
use crate::domain::code::Reason;

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
    let value = strict::parse(&bytes).map_err(Problem::malformed_json)?;
    Ok(schema::read(&value)?)
}

/// Reads a body of at most `bytes_max` bytes.
pub(super) async fn collect(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        let reason = Reason::BodyTooLarge { max: bytes_max.to_string() };
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, ProblemKind::BodyTooLarge, reason)
    };
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: u64| length > u64::try_from(bytes_max).unwrap_or(u64::MAX)) {
        return Err(too_large());
    }
    match Limited::new(body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        // The client went away or broke the framing; nobody reads this answer.
        Err(_broken) => Err(problem::of_status(StatusCode::BAD_REQUEST, bytes_max)),
    }
}

/// Refuses a body that says to be something else than JSON.
pub(super) fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
    check_content_type(headers, &[JSON])
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
    Err(Problem::unsupported_media_type(wanted.first().copied().unwrap_or(JSON)))
}
