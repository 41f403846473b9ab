//! The tenant's own record.

use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{HttpState, MergePatch, Record, RequiredIfMatch, Result, Versioned};
use crate::domain::actor::Actor;
use crate::domain::tenant::{Tenant, TenantPatch};
use crate::ops::tenants;

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(show, update))
}

impl Record for Tenant {
    fn version(&self) -> i64 {
        self.version
    }

    fn path(&self) -> String {
        "/tenant".to_owned()
    }
}

/// The tenant of the one who asks.
#[utoipa::path(get, path = "/tenant", operation_id = "get_tenant", tag = "access",
    responses((status = 200, body = Tenant, headers(("ETag" = String)))))]
async fn show(State(state): State<HttpState>, actor: Actor) -> Result<Versioned<Tenant>> {
    Ok(Versioned::found(tenants::find(&state.core, &actor).await?))
}

/// Changes the tenant's name, language, time zone or currency.
#[utoipa::path(patch, path = "/tenant", operation_id = "update_tenant", tag = "access",
    params(("If-Match" = String, Header, description = "The `ETag` of the record, or `*`.")),
    request_body(content = TenantPatch, content_type = "application/merge-patch+json"),
    responses((status = 200, body = Tenant, headers(("ETag" = String)))))]
async fn update(
    State(state): State<HttpState>,
    actor: Actor,
    RequiredIfMatch(version): RequiredIfMatch,
    MergePatch(patch): MergePatch<TenantPatch>,
) -> Result<Versioned<Tenant>> {
    Ok(Versioned::found(tenants::update(&state.core, &actor, version, patch).await?))
}
