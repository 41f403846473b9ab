//! Products.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::query::same_as_address;
use super::{
    HttpState, IfMatch, MergePatch, Page, PageRequest, Path, Record, Result, ValidJson, ValidQuery,
    Versioned, field_filter,
};
use crate::domain::actor::Actor;
use crate::domain::field::FieldEntity;
use crate::domain::ids::ProductId;
use crate::domain::product::{NewProduct, Product, ProductPatch};
use crate::domain::query::{ProductFilter, ProductSort};
use crate::ops::products;

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update, delete))
        .routes(routes!(upsert))
}

impl Record for Product {
    fn version(&self) -> i64 {
        self.version
    }

    fn path(&self) -> String {
        format!("/products/{}", self.id)
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// With this code.
    #[param(max_length = 100)]
    sku: Option<String>,
    /// Of this class.
    #[param(max_length = 100)]
    class: Option<String>,
    /// The name begins with it, without regard to case.
    #[param(max_length = 200)]
    name_prefix: Option<String>,
    /// Has this value in a field: `fields[name]=value`, or compared as in `fields[name][gte]=3`
    /// (`eq`, `ne`, `lt`, `lte`, `gt`, `gte`). At most 8.
    #[serde(default)]
    fields: BTreeMap<String, String>,
    /// The order; backwards with a minus before it.
    #[param(inline)]
    sort: Option<ProductSort>,
    /// Rows on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[param(max_length = 4000)]
    cursor: Option<String>,
}

/// The products that all filters hold for.
#[utoipa::path(get, path = "/products", operation_id = "list_products", tag = "products", params(ListQuery),
    responses((status = 200, body = Page<Product>)))]
async fn list(
    State(state): State<HttpState>,
    actor: Actor,
    ValidQuery(query): ValidQuery<ListQuery>,
) -> Result<axum::Json<Page<Product>>> {
    let ListQuery { sku, class, name_prefix, fields, sort, limit, cursor } = query;
    let fields = field_filter::conditions(&state, &actor, FieldEntity::Product, fields).await?;
    let filter = ProductFilter { sku, class, name_prefix, fields };
    let page = PageRequest::new(limit, cursor);
    Ok(axum::Json(products::list(&state.core, &actor, (&filter, sort.unwrap_or_default()), &page).await?))
}

/// Makes a product.
#[utoipa::path(post, path = "/products", operation_id = "create_product", tag = "products",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes the request take effect once.")),
    request_body = NewProduct,
    responses((status = 201, body = Product, headers(("ETag" = String), ("Location" = String)))))]
async fn create(
    State(state): State<HttpState>,
    actor: Actor,
    ValidJson(new): ValidJson<NewProduct>,
) -> Result<Versioned<Product>> {
    Ok(Versioned::created(products::create(&state.core, &actor, new).await?))
}

/// One product.
#[utoipa::path(get, path = "/products/{id}", operation_id = "get_product", tag = "products",
    params(("id" = String, Path)),
    responses((status = 200, body = Product, headers(("ETag" = String)))))]
async fn show(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<ProductId>,
) -> Result<Versioned<Product>> {
    Ok(Versioned::found(products::get(&state.core, &actor, &id).await?))
}

/// Changes a product; orders keep what they say of it.
#[utoipa::path(patch, path = "/products/{id}", operation_id = "update_product", tag = "products",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` of the record.")),
    request_body(content = ProductPatch, content_type = "application/merge-patch+json"),
    responses((status = 200, body = Product, headers(("ETag" = String)))))]
async fn update(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<ProductId>,
    IfMatch(version): IfMatch,
    MergePatch(patch): MergePatch<ProductPatch>,
) -> Result<Versioned<Product>> {
    Ok(Versioned::found(products::update(&state.core, &actor, (&id, version), patch).await?))
}

/// Removes a product; orders keep what they say of it.
#[utoipa::path(delete, path = "/products/{id}", operation_id = "delete_product", tag = "products",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` of the record.")),
    responses((status = 204)))]
async fn delete(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<ProductId>,
    IfMatch(version): IfMatch,
) -> Result<StatusCode> {
    products::delete(&state.core, &actor, (&id, version)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes or changes the product that a source knows by its own id. What the body does not
/// name stays; the same body again changes nothing.
#[utoipa::path(put, path = "/sources/{source}/products/{external_id}", operation_id = "upsert_product",
    tag = "products", params(("source" = String, Path), ("external_id" = String, Path)),
    request_body = NewProduct,
    responses((status = 200, body = Product, headers(("ETag" = String))),
        (status = 201, body = Product, headers(("ETag" = String), ("Location" = String)))))]
async fn upsert(
    State(state): State<HttpState>,
    actor: Actor,
    Path((source, external_id)): Path<(String, String)>,
    ValidJson(new): ValidJson<NewProduct>,
) -> Result<Versioned<Product>> {
    let new = NewProduct {
        source: Some(same_as_address("/source", new.source, source)?),
        external_id: Some(same_as_address("/external_id", new.external_id, external_id)?),
        ..new
    };
    Ok(Versioned::upserted(products::upsert(&state.core, &actor, new).await?))
}
