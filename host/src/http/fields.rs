//! What a tenant's records are made of: lifecycle stages and fields.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{HttpState, Path, Result, ValidJson, ValidQuery};
use crate::domain::actor::Actor;
use crate::domain::field::{FieldDefinition, FieldEntity, Model, Stage};
use crate::ops::fields;

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(list, define))
        .routes(routes!(redefine, remove))
        .routes(routes!(show_stages, replace_stages))
}

/// All fields; there are at most 200, so there is one page.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Fields {
    /// The tenant's own fields and the plugins'.
    items: Vec<FieldDefinition>,
}

/// A lifecycle.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Lifecycle {
    /// The stages; the first is that of a new customer.
    #[schema(min_items = 1, max_items = 30)]
    stages: Vec<Stage>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Only those of such records.
    #[param(inline)]
    entity: Option<FieldEntity>,
}

/// The fields that customers, products and orders can have, but for those that the caller may not read.
#[utoipa::path(get, path = "/fields", operation_id = "list_fields", tag = "fields", params(ListQuery),
    responses((status = 200, body = Fields)))]
async fn list(
    State(state): State<HttpState>,
    actor: Actor,
    ValidQuery(ListQuery { entity }): ValidQuery<ListQuery>,
) -> Result<Json<Fields>> {
    let mut items = fields::get(&state.core, &actor).await?.fields;
    items.retain(|field| entity.is_none_or(|entity| field.entity == entity));
    Ok(Json(Fields { items }))
}

/// Defines a field of customers, products or orders.
#[utoipa::path(post, path = "/fields", operation_id = "create_field", tag = "fields",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes the request take effect once.")),
    request_body = FieldDefinition,
    responses((status = 201, body = FieldDefinition)))]
async fn define(
    State(state): State<HttpState>,
    actor: Actor,
    ValidJson(definition): ValidJson<FieldDefinition>,
) -> Result<(StatusCode, Json<FieldDefinition>)> {
    Ok((StatusCode::CREATED, Json(fields::define(&state.core, &actor, definition).await?)))
}

/// Replaces the definition of a field; its name and type stay.
#[utoipa::path(put, path = "/fields/{entity}/{name}", operation_id = "update_field", tag = "fields",
    params(("entity" = FieldEntity, Path), ("name" = String, Path)), request_body = FieldDefinition,
    responses((status = 200, body = FieldDefinition)))]
async fn redefine(
    State(state): State<HttpState>,
    actor: Actor,
    Path((entity, name)): Path<(FieldEntity, String)>,
    ValidJson(definition): ValidJson<FieldDefinition>,
) -> Result<Json<FieldDefinition>> {
    Ok(Json(fields::redefine(&state.core, &actor, (entity, &name), definition).await?))
}

/// Drops a field. Values stay in the records, and are no longer found.
#[utoipa::path(delete, path = "/fields/{entity}/{name}", operation_id = "delete_field", tag = "fields",
    params(("entity" = FieldEntity, Path), ("name" = String, Path)), responses((status = 204)))]
async fn remove(
    State(state): State<HttpState>,
    actor: Actor,
    Path((entity, name)): Path<(FieldEntity, String)>,
) -> Result<StatusCode> {
    fields::drop_field(&state.core, &actor, (entity, &name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The stages of a customer's life with the tenant.
#[utoipa::path(get, path = "/lifecycle", operation_id = "get_lifecycle", tag = "fields",
    responses((status = 200, body = Lifecycle)))]
async fn show_stages(State(state): State<HttpState>, actor: Actor) -> Result<Json<Lifecycle>> {
    Ok(Json(Lifecycle { stages: fields::get(&state.core, &actor).await?.stages }))
}

/// Replaces the lifecycle. Customers in a stage that is gone stay in it until they are moved.
#[utoipa::path(put, path = "/lifecycle", operation_id = "replace_lifecycle", tag = "fields",
    request_body = Lifecycle, responses((status = 200, body = Lifecycle)))]
async fn replace_stages(
    State(state): State<HttpState>,
    actor: Actor,
    ValidJson(Lifecycle { stages }): ValidJson<Lifecycle>,
) -> Result<Json<Lifecycle>> {
    let Model { stages, .. } = fields::set_stages(&state.core, &actor, None, stages).await?;
    Ok(Json(Lifecycle { stages }))
}
