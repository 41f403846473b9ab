//! The audit log.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{HttpState, Page, PageRequest, Result, ValidQuery};
use crate::domain::actor::Actor;
use crate::domain::audit::Line;
use crate::ops::audit::{self, AuditFilter};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(list))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Of this kind of record, such as `customer`.
    #[param(max_length = 60)]
    entity: Option<String>,
    /// Of the record with this id.
    #[param(max_length = 200)]
    record: Option<String>,
    /// Of the user, token or plugin with this id or name.
    #[param(max_length = 200)]
    actor: Option<String>,
    /// Rows on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[param(max_length = 1000)]
    cursor: Option<String>,
}

/// Who did what to which record, the newest first.
#[utoipa::path(get, path = "/audit", operation_id = "list_audit", tag = "access", params(ListQuery),
    responses((status = 200, body = Page<Line>)))]
async fn list(
    State(state): State<HttpState>,
    actor: Actor,
    ValidQuery(query): ValidQuery<ListQuery>,
) -> Result<Json<Page<Line>>> {
    let ListQuery { entity, record, actor: by, limit, cursor } = query;
    let filter = AuditFilter { entity, record, actor: by };
    let page = PageRequest::new(limit, cursor);
    Ok(Json(audit::list(&state.core, &actor, &filter, &page).await?))
}
