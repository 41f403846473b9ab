//! Rows of products.

use std::collections::{BTreeSet, HashMap};

use super::field_values::{self, has_field};
use super::filter::{Insert, Select, by_keys, by_source, keys};
use super::sort::{Key, Sort, sort};
use super::{Arg, Json, Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::customer::search_key;
use crate::domain::field::FieldEntity;
use crate::domain::field_value::{FieldChanges, KeptFields};
use crate::domain::ids::{ProductId, TenantId};
use crate::domain::money::{Currency, Money};
use crate::domain::page::{Page, PageRequest};
use crate::domain::product::Product;
use crate::domain::query::{FieldCondition, ProductFilter, ProductSort};
use crate::error::Result;

/// The columns of [`ProductRow`].
macro_rules! columns {
    () => {
        "p.id, p.version, p.sku, p.name, p.class, p.price_minor, p.price_currency, p.source, p.external_id, p.fields,
            p.created_at, p.updated_at"
    };
}

statements! {
    FIND = concat!("
        SELECT ", columns!(), "
        FROM products p
        WHERE p.tenant = $1
          AND p.id = $2");
    UPDATE = "
        UPDATE products
        SET version = $4, sku = $5, name = $6, search_key = $7, class = $8, price_minor = $9,
            price_currency = $10, fields = $11, updated_at = $12
        WHERE tenant = $1
          AND id = $2
          AND version = $3
          AND NOT EXISTS (
              SELECT 1
              FROM products p
              WHERE p.tenant = $1
                AND p.sku = $5
                AND p.id <> $2)";
    DELETE = "
        DELETE FROM products
        WHERE tenant = $1
          AND id = $2
          AND version = $3";
}

const INSERT: Insert = Insert {
    head:
        "INSERT INTO products (tenant, id, version, sku, name, search_key, class, price_minor, price_currency,
        source, external_id, fields, created_at, updated_at) VALUES",
    columns: 14,
    // Either of two keys may be taken.
    tail: " ON CONFLICT DO NOTHING",
};

#[derive(sqlx::FromRow)]
struct ProductRow {
    id: ProductId,
    version: i64,
    sku: String,
    name: String,
    class: Option<String>,
    price_minor: Option<i64>,
    price_currency: Option<String>,
    source: Option<String>,
    external_id: Option<String>,
    fields: Option<Json<KeptFields>>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<ProductRow> for Product {
    fn from(row: ProductRow) -> Self {
        let currency = row.price_currency.as_deref().and_then(Currency::parse);
        Self {
            id: row.id,
            version: row.version,
            sku: row.sku,
            name: row.name,
            class: row.class,
            price: row
                .price_minor
                .zip(currency)
                .map(|(amount_minor, currency)| Money { amount_minor, currency }),
            source: row.source,
            external_id: row.external_id,
            custom_fields: row.fields.map(|fields| fields.0.custom_fields).unwrap_or_default(),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// The product, if it exists.
pub(crate) async fn find(tx: &mut Tx, tenant: &TenantId, id: &ProductId) -> Result<Option<Product>> {
    let row: Option<ProductRow> = tx.fetch_optional(FIND, args![tenant, id]).await?;
    Ok(row.map(Product::from))
}

/// Those of the products that their sources know so; the caller bounds their number.
pub(crate) async fn find_identities(
    tx: &mut Tx,
    tenant: &TenantId,
    identities: &BTreeSet<(&str, &str)>,
) -> Result<HashMap<(String, String), Product>> {
    let mut found = HashMap::new();
    for (source, external_ids) in by_source(identities.iter().copied()) {
        let head = by_keys!("products" as "p", "p.external_id", "p.tenant = ? AND p.source = ?", columns!());
        let args = vec![keys(external_ids), Arg::from(tenant), Arg::from(source)];
        let select = Select::new_split(tx, head, args);
        let rows: Vec<ProductRow> = select.fetch_all(tx).await?;
        found.extend(rows.into_iter().map(Product::from).map(|product| {
            let external_id = product.external_id.clone().unwrap_or_default();
            ((source.to_owned(), external_id), product)
        }));
    }
    Ok(found)
}

/// Those of the products that have these codes; the caller bounds their number.
pub(crate) async fn find_skus(tx: &mut Tx, tenant: &TenantId, skus: &BTreeSet<&str>) -> Result<Vec<Product>> {
    let head = by_keys!("products" as "p", "p.sku", "p.tenant = ?", columns!());
    let select = Select::new_split(tx, head, vec![keys(skus.iter().copied()), Arg::from(tenant)]);
    let rows: Vec<ProductRow> = select.fetch_all(tx).await?;
    Ok(rows.into_iter().map(Product::from).collect())
}

fn all(tenant: &TenantId) -> Select {
    Select::new(concat!("SELECT ", columns!(), " FROM products p WHERE p.tenant = ?"), args![tenant])
}

/// Inserts products; false if the code or identity of one is taken.
pub(crate) async fn insert_many(
    tx: &mut Tx,
    tenant: &TenantId,
    products: &[(&Product, Option<&FieldChanges>)],
) -> Result<bool> {
    let args = products.iter().flat_map(|(product, _)| {
        args![
            tenant,
            &product.id,
            product.version,
            &product.sku,
            &product.name,
            search_key(&product.name),
            product.class.as_deref(),
            product.price.map(|price| price.amount_minor),
            product.price.as_ref().map(|price| price.currency.as_str()),
            product.source.as_deref(),
            product.external_id.as_deref(),
            field_values::kept(product.fields()),
            product.created_at,
            product.updated_at,
        ]
    });
    let inserted = INSERT.run(tx, args.collect()).await?;
    let values = products.iter().map(|(product, fields)| (record(&product.id), *fields));
    field_values::insert_many(tx, tenant, values).await?;
    Ok(inserted == u64::try_from(products.len()).unwrap_or(u64::MAX))
}

/// Replaces a product that is still at version `before`; false if it is not, or its new code is taken.
pub(crate) async fn update(
    tx: &mut Tx,
    tenant: &TenantId,
    before: i64,
    after: &Product,
    fields: Option<&FieldChanges>,
) -> Result<bool> {
    let args = args![
        tenant,
        &after.id,
        before,
        after.version,
        &after.sku,
        &after.name,
        search_key(&after.name),
        after.class.as_deref(),
        after.price.map(|price| price.amount_minor),
        after.price.as_ref().map(|price| price.currency.as_str()),
        field_values::kept(after.fields()),
        after.updated_at,
    ];
    let is_updated = tx.execute(UPDATE, args).await? > 0;
    if is_updated {
        field_values::change(tx, tenant, record(&after.id), fields).await?;
    }
    Ok(is_updated)
}

/// Removes a product that is still at version `before`; false if it is not.
pub(crate) async fn delete(tx: &mut Tx, tenant: &TenantId, id: &ProductId, before: i64) -> Result<bool> {
    if tx.execute(DELETE, args![tenant, id, before]).await? == 0 {
        return Ok(false);
    }
    field_values::delete_all(tx, tenant, record(id)).await?;
    Ok(true)
}

fn record(id: &ProductId) -> field_values::Record<'_> {
    (FieldEntity::Product, id.as_str())
}

/// One page of the products that the filter holds for.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &TenantId,
    (filter, sort): (&ProductFilter, ProductSort),
    page: &PageRequest,
) -> Result<Page<Product>> {
    let ProductFilter { sku, class, name_prefix, fields } = filter;
    let order = order(sort);
    let mut select = all(tenant);
    select.push_some(" AND p.sku = ?", sku.as_deref());
    select.push_some(" AND p.class = ?", class.as_deref());
    if let Some(prefix) = name_prefix {
        select.push_prefix(" AND p.search_key >= ? AND p.search_key < ?", &search_key(prefix));
    }
    for FieldCondition { namespace, name, comparison, value } in fields {
        let has = has_field!("p", "product");
        field_values::push_condition(&mut select, has, (namespace, name), *comparison, value);
    }
    order.push(&mut select, page)?;
    let rows: Vec<ProductRow> = select.fetch_all(tx).await?;
    Ok(order.page(page, rows.into_iter().map(Product::from).collect(), |product| product.id.to_string()))
}

const fn order(sort: ProductSort) -> Sort<Product> {
    const SKU: Key<Product> = Key::Text(|product| product.sku.clone());
    const NAME: Key<Product> = Key::Text(|product| search_key(&product.name));
    const UPDATED_AT: Key<Product> = Key::Number(|product| product.updated_at.as_micros());
    match sort {
        ProductSort::Id => sort!("products:id", Key::Id, "p.id"),
        ProductSort::IdDescending => sort!("products:-id", Key::Id, "p.id" DESC),
        ProductSort::Sku => sort!("products:sku", SKU, "p.sku", "p.id"),
        ProductSort::SkuDescending => sort!("products:-sku", SKU, "p.sku", "p.id" DESC),
        ProductSort::Name => sort!("products:name", NAME, "p.search_key", "p.id"),
        ProductSort::NameDescending => sort!("products:-name", NAME, "p.search_key", "p.id" DESC),
        ProductSort::UpdatedAt => sort!("products:updated_at", UPDATED_AT, "p.updated_at", "p.id"),
        ProductSort::UpdatedAtDescending => {
            sort!("products:-updated_at", UPDATED_AT, "p.updated_at", "p.id" DESC)
        }
    }
}
