//! What plugins have used.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{HttpState, Page, PageRequest, Result, ValidQuery};
use crate::domain::actor::Actor;
use crate::ops::plugins::usage::{self, Days, UsageRow};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(export))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// The first day in UTC, such as `2026-11-01`.
    #[param(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    from: Option<String>,
    /// The last day.
    #[param(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    to: Option<String>,
    /// Rows on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[param(max_length = 1000)]
    cursor: Option<String>,
}

/// What plugins have used: a row for each day in UTC, plugin, version and extension point, in that
/// order. The last seconds may be missing.
#[utoipa::path(get, path = "/plugin-usage", operation_id = "list_plugin_usage", tag = "plugins", params(ListQuery),
    responses((status = 200, body = Page<UsageRow>)))]
async fn list(
    State(state): State<HttpState>,
    actor: Actor,
    ValidQuery(query): ValidQuery<ListQuery>,
) -> Result<Json<Page<UsageRow>>> {
    let ListQuery { from, to, limit, cursor } = query;
    let page = PageRequest::new(limit, cursor);
    Ok(Json(usage::list(&state.core, &actor, &Days { from, to }, &page).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ExportQuery {
    /// The first day in UTC, such as `2026-11-01`.
    #[param(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    from: Option<String>,
    /// The last day.
    #[param(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    to: Option<String>,
}

/// The same as CSV, for billing; at most 100,000 rows.
#[utoipa::path(get, path = "/plugin-usage/export", operation_id = "export_plugin_usage", tag = "plugins",
    params(ExportQuery),
    responses((status = 200, content_type = "text/csv", body = String)))]
async fn export(
    State(state): State<HttpState>,
    actor: Actor,
    ValidQuery(query): ValidQuery<ExportQuery>,
) -> Result<Response> {
    let ExportQuery { from, to } = query;
    let text = usage::export(&state.core, &actor, &Days { from, to }).await?;
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"plugin-usage.csv\""),
    ];
    Ok((headers, text).into_response())
}
