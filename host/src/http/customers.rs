//! Customers, and everything about one in a single call.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{
    HttpState, IfMatch, MergePatch, Page, PageRequest, Path, Record, Result, ValidJson, ValidQuery,
    Versioned, field_filter,
};
use crate::clock::Timestamp;
use crate::domain::actor::Actor;
use crate::domain::check::Faults;
use crate::domain::customer::{Customer, CustomerKind, CustomerPatch, Identity, NewCustomer};
use crate::domain::field::{FieldEntity, Scalar};
use crate::domain::ids::{CustomerId, OrgUnitId, UserId};
use crate::domain::query::{Comparison, Condition, CoreField, CustomerFilter, CustomerSort, Operand};
use crate::ops::customers;
use crate::ops::overview::{self, Overview};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update, delete))
        .routes(routes!(show_overview))
        .routes(routes!(upsert))
}

impl Record for Customer {
    fn version(&self) -> i64 {
        self.version
    }

    fn path(&self) -> String {
        format!("/customers/{}", self.id)
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// The name begins with it, without regard to case.
    #[param(max_length = 200)]
    name_prefix: Option<String>,
    /// Has this tag.
    #[param(max_length = 50)]
    tag: Option<String>,
    /// Is of this kind.
    #[param(inline)]
    kind: Option<CustomerKind>,
    /// Is in this stage.
    #[param(max_length = 50)]
    lifecycle_stage: Option<String>,
    /// Has this owner.
    #[param(value_type = Option<String>, max_length = 40)]
    owner_id: Option<UserId>,
    /// Belongs to this very unit.
    #[param(value_type = Option<String>, max_length = 40)]
    org_unit_id: Option<OrgUnitId>,
    /// Can be reached at this address, number or account.
    #[param(max_length = 500)]
    contact: Option<String>,
    /// Is known to this system; needs `external_id`.
    #[param(max_length = 60)]
    source: Option<String>,
    /// Is known there by this id.
    #[param(max_length = 200)]
    external_id: Option<String>,
    /// Was changed at or after this time.
    #[param(value_type = Option<String>, format = DateTime)]
    updated_since: Option<Timestamp>,
    /// Was changed before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    updated_before: Option<Timestamp>,
    /// Has this value in a field: `fields[name]=value`, `fields[plugin.field]=value`, or
    /// compared as in `fields[plugin.field][gte]=3` (`eq`, `ne`, `lt`, `lte`, `gt`, `gte`). At most 8.
    #[serde(default)]
    fields: BTreeMap<String, String>,
    /// The order; backwards with a minus before it.
    #[param(inline)]
    sort: Option<CustomerSort>,
    /// Rows on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[param(max_length = 4000)]
    cursor: Option<String>,
}

impl ListQuery {
    async fn into_filter(
        self,
        state: &HttpState,
        actor: &Actor,
    ) -> Result<(CustomerFilter, CustomerSort, PageRequest)> {
        let Self {
            name_prefix,
            tag,
            kind,
            lifecycle_stage,
            owner_id,
            org_unit_id,
            contact,
            source,
            external_id,
            updated_since,
            updated_before,
            fields,
            sort,
            limit,
            cursor,
        } = self;
        let mut faults = Faults::default();
        faults.identity("", source.as_deref(), external_id.as_deref());
        let mut conditions = Vec::new();
        for (comparison, time) in
            [(Comparison::GreaterOrEqual, updated_since), (Comparison::Less, updated_before)]
        {
            conditions.extend(time.map(|time| Condition {
                operand: Operand::Core(CoreField::UpdatedAt),
                comparison,
                value: Scalar::Time(time),
            }));
        }
        faults.finish()?;
        let fields = field_filter::conditions(state, actor, FieldEntity::Customer, fields).await?;
        conditions.extend(fields.into_iter().map(Condition::from));
        let filter = CustomerFilter {
            name_prefix,
            tag,
            kind,
            lifecycle_stage,
            owner_id,
            org_unit_id,
            contact,
            identity: source.zip(external_id),
            conditions,
        };
        Ok((filter, sort.unwrap_or_default(), PageRequest::new(limit, cursor)))
    }
}

/// The customers that the actor may see and all filters hold for.
#[utoipa::path(get, path = "/customers", operation_id = "list_customers", tag = "customers", params(ListQuery),
    responses((status = 200, body = Page<Customer>)))]
async fn list(
    State(state): State<HttpState>,
    actor: Actor,
    ValidQuery(query): ValidQuery<ListQuery>,
) -> Result<axum::Json<Page<Customer>>> {
    let (filter, sort, page) = query.into_filter(&state, &actor).await?;
    Ok(axum::Json(customers::list(&state.core, &actor, (&filter, sort), &page).await?))
}

/// Makes a customer.
#[utoipa::path(post, path = "/customers", operation_id = "create_customer", tag = "customers",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes the request take effect once.")),
    request_body = NewCustomer,
    responses((status = 201, body = Customer, headers(("ETag" = String), ("Location" = String)))))]
async fn create(
    State(state): State<HttpState>,
    actor: Actor,
    ValidJson(new): ValidJson<NewCustomer>,
) -> Result<Versioned<Customer>> {
    Ok(Versioned::created(customers::create(&state.core, &actor, new).await?))
}

/// One customer.
#[utoipa::path(get, path = "/customers/{id}", operation_id = "get_customer", tag = "customers",
    params(("id" = String, Path)),
    responses((status = 200, body = Customer, headers(("ETag" = String)))))]
async fn show(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<CustomerId>,
) -> Result<Versioned<Customer>> {
    Ok(Versioned::found(customers::get(&state.core, &actor, &id).await?))
}

/// Changes a customer. Without `If-Match`, the patch is applied to whatever the record is by then.
#[utoipa::path(patch, path = "/customers/{id}", operation_id = "update_customer", tag = "customers",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` of the record.")),
    request_body(content = CustomerPatch, content_type = "application/merge-patch+json"),
    responses((status = 200, body = Customer, headers(("ETag" = String)))))]
async fn update(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<CustomerId>,
    IfMatch(version): IfMatch,
    MergePatch(patch): MergePatch<CustomerPatch>,
) -> Result<Versioned<Customer>> {
    Ok(Versioned::found(customers::update(&state.core, &actor, (&id, version), patch).await?))
}

/// Removes a customer: it is answered as missing from then on, and its identities are free. Its orders stay.
#[utoipa::path(delete, path = "/customers/{id}", operation_id = "delete_customer", tag = "customers",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` of the record.")),
    responses((status = 204)))]
async fn delete(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<CustomerId>,
    IfMatch(version): IfMatch,
) -> Result<StatusCode> {
    customers::delete(&state.core, &actor, (&id, version)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Everything about a customer: basics, orders, service, the latest of the timeline, and plugins' panels.
#[utoipa::path(get, path = "/customers/{id}/overview", operation_id = "get_customer_overview", tag = "customers",
    params(("id" = String, Path)),
    responses((status = 200, body = Overview)))]
async fn show_overview(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<CustomerId>,
) -> Result<axum::Json<Overview>> {
    Ok(axum::Json(overview::get(&state.core, &actor, &id).await?))
}

/// Makes or changes the customer that a source knows by its own id. What the body does not
/// name stays; the same body again changes nothing.
#[utoipa::path(put, path = "/sources/{source}/customers/{external_id}", operation_id = "upsert_customer",
    tag = "customers", params(("source" = String, Path), ("external_id" = String, Path)),
    request_body = CustomerPatch,
    responses((status = 200, body = Customer, headers(("ETag" = String))),
        (status = 201, body = Customer, headers(("ETag" = String), ("Location" = String)))))]
async fn upsert(
    State(state): State<HttpState>,
    actor: Actor,
    Path((source, external_id)): Path<(String, String)>,
    MergePatch(patch): MergePatch<CustomerPatch>,
) -> Result<Versioned<Customer>> {
    let identity = Identity { source, external_id };
    Ok(Versioned::upserted(customers::upsert(&state.core, &actor, identity, patch).await?))
}
