//! Orders and their refunds.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::query::same_as_address;
use super::{
    HttpState, IfMatch, MergePatch, Page, PageRequest, Path, Record, Result, ValidJson, ValidQuery,
    Versioned, field_filter,
};
use crate::clock::Timestamp;
use crate::domain::actor::Actor;
use crate::domain::check::Faults;
use crate::domain::field::FieldEntity;
use crate::domain::ids::{CustomerId, OrderId};
use crate::domain::order::{NewOrder, NewRefund, Order, OrderPatch, OrderStatus};
use crate::domain::query::{OrderFilter, OrderSort};
use crate::ops::change::{Outcome, Upserted};
use crate::ops::orders;

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update))
        .routes(routes!(refund))
        .routes(routes!(upsert))
}

impl Record for Order {
    fn version(&self) -> i64 {
        self.version
    }

    fn path(&self) -> String {
        format!("/orders/{}", self.id)
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Of this customer.
    #[param(value_type = Option<String>, max_length = 40)]
    customer_id: Option<CustomerId>,
    /// In this status.
    #[param(inline)]
    status: Option<OrderStatus>,
    /// By this channel.
    #[param(max_length = 100)]
    channel: Option<String>,
    /// In this store.
    #[param(max_length = 100)]
    store: Option<String>,
    /// From this system; needs `external_id`.
    #[param(max_length = 60)]
    source: Option<String>,
    /// Known there by this id.
    #[param(max_length = 200)]
    external_id: Option<String>,
    /// Ordered at or after this time.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Ordered before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// Changed at or after this time.
    #[param(value_type = Option<String>, format = DateTime)]
    updated_since: Option<Timestamp>,
    /// Has this value in a field: `fields[name]=value`, `fields[plugin.field]=value`, or
    /// compared as in `fields[plugin.field][gte]=3` (`eq`, `ne`, `lt`, `lte`, `gt`, `gte`). At most 8.
    #[serde(default)]
    fields: BTreeMap<String, String>,
    /// The order; backwards with a minus before it.
    #[param(inline)]
    sort: Option<OrderSort>,
    /// Rows on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[param(max_length = 4000)]
    cursor: Option<String>,
}

/// The orders whose customers the actor may see and all filters hold for.
#[utoipa::path(get, path = "/orders", operation_id = "list_orders", tag = "orders", params(ListQuery),
    responses((status = 200, body = Page<Order>)))]
async fn list(
    State(state): State<HttpState>,
    actor: Actor,
    ValidQuery(query): ValidQuery<ListQuery>,
) -> Result<axum::Json<Page<Order>>> {
    let ListQuery {
        customer_id,
        status,
        channel,
        store,
        source,
        external_id,
        since,
        until,
        updated_since,
        fields,
        sort,
        limit,
        cursor,
    } = query;
    let mut faults = Faults::default();
    faults.identity("", source.as_deref(), external_id.as_deref());
    faults.finish()?;
    let identity = source.zip(external_id);
    let fields = field_filter::conditions(&state, &actor, FieldEntity::Order, fields).await?;
    let filter =
        OrderFilter { customer_id, status, channel, store, identity, since, until, updated_since, fields };
    let page = PageRequest::new(limit, cursor);
    Ok(axum::Json(orders::list(&state.core, &actor, (&filter, sort.unwrap_or_default()), &page).await?))
}

/// Makes an order, and its customer if the body says so.
#[utoipa::path(post, path = "/orders", operation_id = "create_order", tag = "orders",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes the request take effect once.")),
    request_body = NewOrder,
    responses((status = 201, body = Order, headers(("ETag" = String), ("Location" = String)))))]
async fn create(
    State(state): State<HttpState>,
    actor: Actor,
    ValidJson(new): ValidJson<NewOrder>,
) -> Result<Versioned<Order>> {
    Ok(Versioned::created(orders::create(&state.core, &actor, new).await?))
}

/// One order.
#[utoipa::path(get, path = "/orders/{id}", operation_id = "get_order", tag = "orders",
    params(("id" = String, Path)),
    responses((status = 200, body = Order, headers(("ETag" = String)))))]
async fn show(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<OrderId>,
) -> Result<Versioned<Order>> {
    Ok(Versioned::found(orders::get(&state.core, &actor, &id).await?))
}

/// Changes an order: an open one may be completed or cancelled, and have other lines.
#[utoipa::path(patch, path = "/orders/{id}", operation_id = "update_order", tag = "orders",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` of the record.")),
    request_body(content = OrderPatch, content_type = "application/merge-patch+json"),
    responses((status = 200, body = Order, headers(("ETag" = String)))))]
async fn update(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<OrderId>,
    IfMatch(version): IfMatch,
    MergePatch(patch): MergePatch<OrderPatch>,
) -> Result<Versioned<Order>> {
    Ok(Versioned::found(orders::update(&state.core, &actor, (&id, version), patch).await?))
}

/// Gives money back, never more than the order's total. A refund whose source has stated it
/// before changes nothing and is answered with 200.
#[utoipa::path(post, path = "/orders/{id}/refunds", operation_id = "refund_order", tag = "orders",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` of the order."),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes the request take effect once.")),
    request_body = NewRefund,
    responses((status = 200, body = Order, headers(("ETag" = String))),
        (status = 201, body = Order, headers(("ETag" = String), ("Location" = String)))))]
async fn refund(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<OrderId>,
    IfMatch(version): IfMatch,
    ValidJson(new): ValidJson<NewRefund>,
) -> Result<Versioned<Order>> {
    let Upserted { record, outcome } = orders::refund(&state.core, &actor, (&id, version), new).await?;
    Ok(if outcome == Outcome::Unchanged { Versioned::found(record) } else { Versioned::created(record) })
}

/// Makes or changes the order that a source knows by its own id. What the body does not
/// name stays; the same body again changes nothing.
#[utoipa::path(put, path = "/sources/{source}/orders/{external_id}", operation_id = "upsert_order", tag = "orders",
    params(("source" = String, Path), ("external_id" = String, Path)),
    request_body = NewOrder,
    responses((status = 200, body = Order, headers(("ETag" = String))),
        (status = 201, body = Order, headers(("ETag" = String), ("Location" = String)))))]
async fn upsert(
    State(state): State<HttpState>,
    actor: Actor,
    Path((source, external_id)): Path<(String, String)>,
    ValidJson(new): ValidJson<NewOrder>,
) -> Result<Versioned<Order>> {
    let new = NewOrder {
        source: Some(same_as_address("/source", new.source, source)?),
        external_id: Some(same_as_address("/external_id", new.external_id, external_id)?),
        ..new
    };
    Ok(Versioned::upserted(orders::upsert(&state.core, &actor, new).await?))
}
