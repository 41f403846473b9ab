//! Recordings of plugins' runs.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{HttpState, PageRequest, Path, Result, ValidJson, ValidQuery};
use crate::domain::actor::Actor;
use crate::domain::ids::RecordingId;
use crate::ops::plugins::recordings::{self, NewShare, RecordingFilter, RecordingPage, RecordingRow};

/// What a file of a recording is: a line of text and what follows it.
const FILE_TYPE: &str = "application/vnd.hospes.recording";

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show, delete))
        .routes(routes!(download))
        .routes(routes!(share))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Of this plugin.
    #[param(max_length = 64)]
    plugin: Option<String>,
    /// Of this extension point.
    #[param(max_length = 32)]
    point: Option<String>,
    /// With this outcome, such as `ok` or `trap`.
    #[param(max_length = 64)]
    outcome: Option<String>,
    /// Rows on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[param(max_length = 1000)]
    cursor: Option<String>,
}

/// Recordings of plugins' runs, the latest first; a run appears here after a few seconds. Of one plugin the
/// last thousand are kept, 256 MiB of them, for thirty days. What is recorded is decided with
/// `configure_plugin`.
#[utoipa::path(get, path = "/plugin-recordings", operation_id = "list_plugin_recordings", tag = "plugins",
    params(ListQuery), responses((status = 200, body = RecordingPage)))]
async fn list(
    State(state): State<HttpState>,
    actor: Actor,
    ValidQuery(query): ValidQuery<ListQuery>,
) -> Result<Json<RecordingPage>> {
    let ListQuery { plugin, point, outcome, limit, cursor } = query;
    let filter = RecordingFilter { plugin, point, outcome };
    let page = PageRequest::new(limit, cursor);
    Ok(Json(recordings::list(&state.core, &actor, &filter, &page).await?))
}

/// One recording, without what the plugin has seen.
#[utoipa::path(get, path = "/plugin-recordings/{id}", operation_id = "get_plugin_recording", tag = "plugins",
    params(("id" = String, Path)), responses((status = 200, body = RecordingRow)))]
async fn show(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<RecordingId>,
) -> Result<Json<RecordingRow>> {
    Ok(Json(recordings::find(&state.core, &actor, &id).await?))
}

/// The file of a recording, with everything that the plugin has seen, for `hospes plugin replay`. The
/// audit log tells of it.
#[utoipa::path(get, path = "/plugin-recordings/{id}/file", operation_id = "download_plugin_recording",
    tag = "plugins", params(("id" = String, Path)),
    responses((status = 200, content_type = "application/vnd.hospes.recording", body = Vec<u8>)))]
async fn download(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<RecordingId>,
) -> Result<Response> {
    let file = recordings::download(&state.core, &actor, &id).await?;
    Ok(attached(&id, file))
}

/// Shares a recording with somebody who is not of the tenant, such as the plugin's author: the file, sealed
/// with a key that the sender has chosen for it. The audit log tells of it.
#[utoipa::path(post, path = "/plugin-recordings/{id}/share", operation_id = "share_plugin_recording",
    tag = "plugins", params(("id" = String, Path)), request_body = NewShare,
    responses((status = 200, content_type = "application/vnd.hospes.recording", body = Vec<u8>)))]
async fn share(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<RecordingId>,
    ValidJson(new): ValidJson<NewShare>,
) -> Result<Response> {
    let file = recordings::share(&state.core, &actor, &id, &new).await?;
    Ok(attached(&id, file))
}

/// Removes a recording.
#[utoipa::path(delete, path = "/plugin-recordings/{id}", operation_id = "delete_plugin_recording",
    tag = "plugins", params(("id" = String, Path)), responses((status = 204)))]
async fn delete(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<RecordingId>,
) -> Result<StatusCode> {
    recordings::delete(&state.core, &actor, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn attached(id: &RecordingId, file: Vec<u8>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, FILE_TYPE.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{id}.recording\"")),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (headers, file).into_response()
}
