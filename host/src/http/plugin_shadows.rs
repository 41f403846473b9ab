//! Versions of plugins in the shadow of the enabled ones, and what would differ.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{HttpState, Page, PageQuery, Path, Result, ValidJson, ValidQuery};
use crate::domain::actor::Actor;
use crate::ops::plugins::shadow::{self, Difference, NewShadow, ShadowView};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(start, show, stop)).routes(routes!(differences))
}

/// Runs a version of an enabled plugin, or other settings, in its shadow: it is handed the events that
/// the enabled version is, from the same state, and what it would write is compared and discarded. Its
/// hooks see the saves that those of the enabled version do, shortly after these have answered. It sends
/// no requests to other servers. The report of the last shadow is forgotten.
#[utoipa::path(post, path = "/plugins/{name}/shadow", operation_id = "start_plugin_shadow", tag = "plugins",
    params(("name" = String, Path)),
    request_body = NewShadow,
    responses((status = 201, body = ShadowView)))]
async fn start(
    State(state): State<HttpState>,
    actor: Actor,
    Path(name): Path<String>,
    ValidJson(new): ValidJson<NewShadow>,
) -> Result<(StatusCode, Json<ShadowView>)> {
    Ok((StatusCode::CREATED, Json(shadow::start(&state.core, &actor, &name, new).await?)))
}

/// The last shadow of a plugin: what it runs, how far it is and how much has differed.
#[utoipa::path(get, path = "/plugins/{name}/shadow", operation_id = "get_plugin_shadow", tag = "plugins",
    params(("name" = String, Path)),
    responses((status = 200, body = ShadowView)))]
async fn show(
    State(state): State<HttpState>,
    actor: Actor,
    Path(name): Path<String>,
) -> Result<Json<ShadowView>> {
    Ok(Json(shadow::find(&state.core, &actor, &name).await?))
}

/// Ends a shadow; its report stays until the next one starts.
#[utoipa::path(delete, path = "/plugins/{name}/shadow", operation_id = "stop_plugin_shadow", tag = "plugins",
    params(("name" = String, Path)),
    responses((status = 200, body = ShadowView)))]
async fn stop(
    State(state): State<HttpState>,
    actor: Actor,
    Path(name): Path<String>,
) -> Result<Json<ShadowView>> {
    Ok(Json(shadow::stop(&state.core, &actor, &name).await?))
}

/// The effects in which the two versions have differed, in the order in which that was found: the first
/// 10,000, and of one delivery the first 500.
#[utoipa::path(get, path = "/plugins/{name}/shadow/differences", operation_id = "list_plugin_shadow_differences",
    tag = "plugins",
    params(("name" = String, Path), PageQuery),
    responses((status = 200, body = Page<Difference>)))]
async fn differences(
    State(state): State<HttpState>,
    actor: Actor,
    Path(name): Path<String>,
    ValidQuery(page): ValidQuery<PageQuery>,
) -> Result<Json<Page<Difference>>> {
    Ok(Json(shadow::differences(&state.core, &actor, &name, &page.into()).await?))
}
