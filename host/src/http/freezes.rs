//! Times in which the tenant wants no upgrades of plugins.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{HttpState, Result, ValidJson};
use crate::domain::actor::Actor;
use crate::domain::freeze::Freeze;
use crate::ops::plugins::freezes;

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(show, replace))
}

/// A calendar of times without upgrades.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct FreezeCalendar {
    /// The times, which may overlap.
    #[schema(max_items = 50)]
    freezes: Vec<Freeze>,
}

/// The times in which no plugin is moved to a newer version.
#[utoipa::path(get, path = "/upgrade-freezes", operation_id = "get_upgrade_freezes", tag = "plugins",
    responses((status = 200, body = FreezeCalendar)))]
async fn show(State(state): State<HttpState>, actor: Actor) -> Result<Json<FreezeCalendar>> {
    Ok(Json(FreezeCalendar { freezes: freezes::list(&state.core, &actor).await? }))
}

/// Replaces the calendar. While one of its times holds, a newer version of a plugin is refused; an
/// older one is not, nor is one in the place of a version that the operator has stopped.
#[utoipa::path(put, path = "/upgrade-freezes", operation_id = "replace_upgrade_freezes", tag = "plugins",
    request_body = FreezeCalendar, responses((status = 200, body = FreezeCalendar)))]
async fn replace(
    State(state): State<HttpState>,
    actor: Actor,
    ValidJson(calendar): ValidJson<FreezeCalendar>,
) -> Result<Json<FreezeCalendar>> {
    let freezes = freezes::replace(&state.core, &actor, calendar.freezes).await?;
    Ok(Json(FreezeCalendar { freezes }))
}
