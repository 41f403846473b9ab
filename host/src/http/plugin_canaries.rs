//! Newer versions of plugins for a part of the tenant's records.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{HttpState, MergePatch, Path, Result, ValidJson};
use crate::domain::actor::Actor;
use crate::ops::plugins::canary::{self, CanaryPatch, CanaryView, NewCanary};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(start, show, change, abort)).routes(routes!(promote))
}

/// Lets a part of the records meet a newer version of an enabled plugin: so many of 100 customers, or those
/// whom some org units look after, with their orders, events, hooks, buttons, panels and workflow steps.
/// Everybody else meets the enabled version, and so does what is about no customer: routes, schedules,
/// scores and calls from other plugins. The new version has what the enabled one is granted; one that asks
/// for more, declares other collections or fields, or has data to migrate is refused. It ends by itself
/// when it fails five times in a row, or more than a tenth of at least 20 runs. Refused while the calendar
/// wants no upgrades.
#[utoipa::path(post, path = "/plugins/{name}/canary", operation_id = "start_plugin_canary", tag = "plugins",
    params(("name" = String, Path)),
    request_body = NewCanary,
    responses((status = 201, body = CanaryView)))]
async fn start(
    State(state): State<HttpState>,
    actor: Actor,
    Path(name): Path<String>,
    ValidJson(new): ValidJson<NewCanary>,
) -> Result<(StatusCode, Json<CanaryView>)> {
    Ok((StatusCode::CREATED, Json(canary::start(&state.core, &actor, &name, new).await?)))
}

/// The last canary of a plugin: whom it is for, and how both versions have fared since it was started.
#[utoipa::path(get, path = "/plugins/{name}/canary", operation_id = "get_plugin_canary", tag = "plugins",
    params(("name" = String, Path)),
    responses((status = 200, body = CanaryView)))]
async fn show(
    State(state): State<HttpState>,
    actor: Actor,
    Path(name): Path<String>,
) -> Result<Json<CanaryView>> {
    Ok(Json(canary::find(&state.core, &actor, &name).await?))
}

/// Changes whom a canary is for. While a percentage only rises, whoever has met the new version goes on to.
/// Refused while the calendar wants no upgrades.
#[utoipa::path(patch, path = "/plugins/{name}/canary", operation_id = "change_plugin_canary", tag = "plugins",
    params(("name" = String, Path)),
    request_body(content = CanaryPatch, content_type = "application/merge-patch+json"),
    responses((status = 200, body = CanaryView)))]
async fn change(
    State(state): State<HttpState>,
    actor: Actor,
    Path(name): Path<String>,
    MergePatch(patch): MergePatch<CanaryPatch>,
) -> Result<Json<CanaryView>> {
    Ok(Json(canary::change(&state.core, &actor, &name, patch).await?))
}

/// Ends a canary: every record meets the enabled version again, at once and at any time. What the new
/// version has written stays.
#[utoipa::path(delete, path = "/plugins/{name}/canary", operation_id = "abort_plugin_canary", tag = "plugins",
    params(("name" = String, Path)),
    responses((status = 200, body = CanaryView)))]
async fn abort(
    State(state): State<HttpState>,
    actor: Actor,
    Path(name): Path<String>,
) -> Result<Json<CanaryView>> {
    Ok(Json(canary::abort(&state.core, &actor, &name).await?))
}

/// Gives the version of a canary to everybody, as an upgrade that calls nothing of the plugin. The version
/// before stays the way back. Refused while the calendar wants no upgrades.
#[utoipa::path(post, path = "/plugins/{name}/canary/promote", operation_id = "promote_plugin_canary",
    tag = "plugins",
    params(("name" = String, Path)),
    responses((status = 200, body = CanaryView)))]
async fn promote(
    State(state): State<HttpState>,
    actor: Actor,
    Path(name): Path<String>,
) -> Result<Json<CanaryView>> {
    canary::promote(&state.core, &actor, &name).await?;
    Ok(Json(canary::find(&state.core, &actor, &name).await?))
}
