//! Org units.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{
    HttpState, MergePatch, Page, PageRequest, Path, Record, RequiredIfMatch, Result, ValidJson, ValidQuery,
    Versioned,
};
use crate::domain::actor::Actor;
use crate::domain::ids::OrgUnitId;
use crate::domain::org_unit::{NewOrgUnit, OrgUnitPatch, OrgUnitRecord};
use crate::ops::org_units;

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(show, update, delete))
}

impl Record for OrgUnitRecord {
    fn version(&self) -> i64 {
        self.version
    }

    fn path(&self) -> String {
        format!("/org-units/{}", self.id)
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Only the units directly below this one.
    #[param(value_type = Option<String>, max_length = 40)]
    parent_id: Option<OrgUnitId>,
    /// Rows on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[param(max_length = 1000)]
    cursor: Option<String>,
}

/// The units in the order of the tree.
#[utoipa::path(get, path = "/org-units", operation_id = "list_org_units", tag = "access", params(ListQuery),
    responses((status = 200, body = Page<OrgUnitRecord>)))]
async fn list(
    State(state): State<HttpState>,
    actor: Actor,
    ValidQuery(query): ValidQuery<ListQuery>,
) -> Result<axum::Json<Page<OrgUnitRecord>>> {
    let ListQuery { parent_id, limit, cursor } = query;
    let page = PageRequest::new(limit, cursor);
    Ok(axum::Json(org_units::list(&state.core, &actor, parent_id.as_ref(), &page).await?))
}

/// Makes a unit.
#[utoipa::path(post, path = "/org-units", operation_id = "create_org_unit", tag = "access",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes the request take effect once.")),
    request_body = NewOrgUnit,
    responses((status = 201, body = OrgUnitRecord, headers(("ETag" = String), ("Location" = String)))))]
async fn create(
    State(state): State<HttpState>,
    actor: Actor,
    ValidJson(new): ValidJson<NewOrgUnit>,
) -> Result<Versioned<OrgUnitRecord>> {
    Ok(Versioned::created(org_units::create(&state.core, &actor, new).await?))
}

/// One unit.
#[utoipa::path(get, path = "/org-units/{id}", operation_id = "get_org_unit", tag = "access",
    params(("id" = String, Path)),
    responses((status = 200, body = OrgUnitRecord, headers(("ETag" = String)))))]
async fn show(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<OrgUnitId>,
) -> Result<Versioned<OrgUnitRecord>> {
    Ok(Versioned::found(org_units::find(&state.core, &actor, &id).await?))
}

/// Changes a unit; another `parent_id` moves it with all that is below it.
#[utoipa::path(patch, path = "/org-units/{id}", operation_id = "update_org_unit", tag = "access",
    params(("id" = String, Path), ("If-Match" = String, Header, description = "The `ETag` of the record, or `*`.")),
    request_body(content = OrgUnitPatch, content_type = "application/merge-patch+json"),
    responses((status = 200, body = OrgUnitRecord, headers(("ETag" = String)))))]
async fn update(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<OrgUnitId>,
    RequiredIfMatch(version): RequiredIfMatch,
    MergePatch(patch): MergePatch<OrgUnitPatch>,
) -> Result<Versioned<OrgUnitRecord>> {
    Ok(Versioned::found(org_units::update(&state.core, &actor, &id, version, patch).await?))
}

/// Deletes a unit to which nothing belongs: no units, users, tokens or customers. What still does
/// is counted in the refusal, and is to be moved to another unit first.
#[utoipa::path(delete, path = "/org-units/{id}", operation_id = "delete_org_unit", tag = "access",
    params(("id" = String, Path), ("If-Match" = String, Header, description = "The `ETag` of the record, or `*`.")),
    responses((status = 204)))]
async fn delete(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<OrgUnitId>,
    RequiredIfMatch(version): RequiredIfMatch,
) -> Result<StatusCode> {
    org_units::delete(&state.core, &actor, &id, version).await?;
    Ok(StatusCode::NO_CONTENT)
}
