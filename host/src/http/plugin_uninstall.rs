//! Uninstalling plugins, and what they keep as a file.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use futures::stream;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{HttpState, Path, Result, ValidJson, Versioned};
use crate::domain::actor::Actor;
use crate::error::Error;
use crate::ops::plugins::catalogue::EnablementView;
use crate::ops::plugins::export;
use crate::ops::plugins::uninstall::{self, Uninstallation};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(uninstall_plugin, keep)).routes(routes!(download))
}

/// Uninstalls a plugin: disables it at once and, after some days, purges everything that it keeps for the
/// tenant: documents, small values, fields and their values, files, schedules, credentials, log and
/// recordings. What it has written into the tenant's own records, such as the timeline, stays, and so does
/// what was used. Until then its data can be exported, and the decision taken back: by `keep_plugin`, or by
/// enabling it again. Said again, the days count from now.
#[utoipa::path(post, path = "/plugins/{name}/uninstall", operation_id = "uninstall_plugin", tag = "plugins",
    params(("name" = String, Path)),
    request_body = Uninstallation,
    responses((status = 200, body = EnablementView, headers(("ETag" = String)))))]
async fn uninstall_plugin(
    State(state): State<HttpState>,
    actor: Actor,
    Path(name): Path<String>,
    ValidJson(request): ValidJson<Uninstallation>,
) -> Result<Versioned<EnablementView>> {
    Ok(Versioned::found(uninstall::uninstall(&state.core, &actor, &name, request).await?.into()))
}

/// Keeps what an uninstalled plugin has; it stays disabled. Refused once the purge has begun.
#[utoipa::path(delete, path = "/plugins/{name}/uninstall", operation_id = "keep_plugin", tag = "plugins",
    params(("name" = String, Path)),
    responses((status = 200, body = EnablementView, headers(("ETag" = String)))))]
async fn keep(
    State(state): State<HttpState>,
    actor: Actor,
    Path(name): Path<String>,
) -> Result<Versioned<EnablementView>> {
    Ok(Versioned::found(uninstall::keep(&state.core, &actor, &name).await?.into()))
}

/// Everything that a plugin keeps for the tenant, enabled or not, as lines of JSON with a `kind` each:
/// `plugin` with its grants and settings, then `document`, `kv`, `field`, `file` followed by its content in
/// `file_piece`, `schedule`, and `end` with how many there were. A file without `end` is not all of it.
/// Values of `kv` and contents of files are in base64. Credentials are left out. The audit log tells of it.
#[utoipa::path(get, path = "/plugins/{name}/export", operation_id = "export_plugin", tag = "plugins",
    params(("name" = String, Path)),
    responses((status = 200, content_type = "application/x-ndjson", body = String)))]
async fn download(
    State(state): State<HttpState>,
    actor: Actor,
    Path(name): Path<String>,
) -> Result<Response> {
    let export = export::begin(&state.core, &actor, &name).await?;
    let disposition = format!("attachment; filename=\"{name}.ndjson\"");
    let disposition = HeaderValue::from_str(&disposition).map_err(Error::internal)?;
    let pages = stream::try_unfold(export, |mut export| async move {
        let next = export.next().await.inspect_err(|error| {
            tracing::error!(?error, "an export of a plugin's data broke off");
        })?;
        Ok::<_, Error>(next.map(|lines| (lines, export)))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson")),
        (header::CONTENT_DISPOSITION, disposition),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, Body::from_stream(pages)).into_response())
}
