//! The timeline of a customer.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{HttpState, Page, PageRequest, Path, Result, ValidJson, ValidQuery};
use crate::clock::Timestamp;
use crate::domain::actor::Actor;
use crate::domain::ids::CustomerId;
use crate::domain::query::TimelineFilter;
use crate::domain::timeline::{Category, NewBehaviour, NewEntry, NewInteraction, TimelineEntry};
use crate::ops::change::{Outcome, Upserted};
use crate::ops::timeline;

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(add_interaction)).routes(routes!(add_behaviour))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Contacts, behaviour, or what plugins have noted.
    #[param(inline)]
    category: Option<Category>,
    /// `interaction`, a type of behaviour, or `plugin.kind`.
    #[param(max_length = 100)]
    kind: Option<String>,
    /// By this channel.
    #[param(max_length = 100)]
    channel: Option<String>,
    /// At or after this time.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// Rows on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[param(max_length = 4000)]
    cursor: Option<String>,
}

/// What has happened with a customer, the latest first.
#[utoipa::path(get, path = "/customers/{id}/timeline", operation_id = "list_timeline", tag = "timeline",
    params(("id" = String, Path), ListQuery),
    responses((status = 200, body = Page<TimelineEntry>)))]
async fn list(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<CustomerId>,
    ValidQuery(query): ValidQuery<ListQuery>,
) -> Result<Json<Page<TimelineEntry>>> {
    let ListQuery { category, kind, channel, since, until, limit, cursor } = query;
    let filter = TimelineFilter { category, kind, channel, since, until };
    let page = PageRequest::new(limit, cursor);
    Ok(Json(timeline::list(&state.core, &actor, &id, &filter, &page).await?))
}

/// Notes a contact with a customer. One that its source has stated before changes nothing and is answered with 200.
#[utoipa::path(post, path = "/customers/{id}/interactions", operation_id = "create_interaction", tag = "timeline",
    params(("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes the request take effect once.")),
    request_body = NewInteraction,
    responses((status = 200, body = TimelineEntry), (status = 201, body = TimelineEntry)))]
async fn add_interaction(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<CustomerId>,
    ValidJson(new): ValidJson<NewInteraction>,
) -> Result<(StatusCode, Json<TimelineEntry>)> {
    Ok(answer(timeline::append(&state.core, &actor, &id, NewEntry::Interaction(new)).await?))
}

/// Notes what a customer did. What its source has stated before changes nothing and is answered with 200.
#[utoipa::path(post, path = "/customers/{id}/behaviours", operation_id = "create_behaviour", tag = "timeline",
    params(("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes the request take effect once.")),
    request_body = NewBehaviour,
    responses((status = 200, body = TimelineEntry), (status = 201, body = TimelineEntry)))]
async fn add_behaviour(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<CustomerId>,
    ValidJson(new): ValidJson<NewBehaviour>,
) -> Result<(StatusCode, Json<TimelineEntry>)> {
    Ok(answer(timeline::append(&state.core, &actor, &id, NewEntry::Behaviour(new)).await?))
}

fn answer(Upserted { record, outcome }: Upserted<TimelineEntry>) -> (StatusCode, Json<TimelineEntry>) {
    let status = if outcome == Outcome::Created { StatusCode::CREATED } else { StatusCode::OK };
    (status, Json(record))
}
