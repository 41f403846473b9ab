//! Whether the process lives, whether it can serve, and what kinds of problems there are.

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::problem::ProblemKind;
use super::{HttpState, Path, Problem, RequestContext, Result};
use crate::domain::code::Reason;
use crate::error::Error;
use crate::texts;

pub(super) fn routes() -> Router<HttpState> {
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/problems/{kind}", get(describe_problem))
}

async fn alive() -> Response {
    Json(json!({"status": "ok"})).into_response()
}

/// Ready when the database answers and the server is not stopping.
async fn ready(State(state): State<HttpState>) -> Result<Response> {
    if state.shutdown.is_cancelled() {
        return Err(Error::unavailable("the server is stopping").into());
    }
    state.core.db.ping().await?;
    Ok(Json(json!({"status": "ok"})).into_response())
}

/// What the `type` of a problem document leads to.
async fn describe_problem(
    Extension(context): Extension<RequestContext>,
    Path(kind): Path<String>,
) -> Result<String> {
    let title = texts::find(context.locale(), &texts::key("title", &kind), &[]);
    title.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, ProblemKind::NotFound, Reason::UnknownAddress))
}
