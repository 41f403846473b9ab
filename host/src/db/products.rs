//! Rows of products.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::filter::{Insert, Select};
use super::{Arg, Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::customer::search_key;
use crate::domain::ids::{ProductId, TenantId};
use crate::domain::money::{Currency, Money};
use crate::domain::page::{Page, PageRequest};
use crate::domain::product::Product;
use crate::domain::query::{Position, ProductFilter};
use crate::error::Result;

/// The columns of [`ProductRow`].
macro_rules! columns {
    () => {
        "id, version, sku, name, class, price_minor, price_currency, source, external_id, created_at, updated_at"
    };
}

statements! {
    FIND = concat!("
        SELECT ", columns!(), "
        FROM products
        WHERE tenant = $1
          AND id = $2");
    UPDATE = "
        UPDATE products
        SET version = $4, sku = $5, name = $6, search_key = $7, class = $8, price_minor = $9,
            price_currency = $10, updated_at = $11
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
        source, external_id, created_at, updated_at) VALUES",
    columns: 13,
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
    let mut by_source: BTreeMap<&str, Vec<Arg>> = BTreeMap::new();
    for (source, external_id) in identities {
        by_source.entry(source).or_default().push(Arg::from(*external_id));
    }
    let mut found = HashMap::new();
    for (source, external_ids) in by_source {
        let mut select = all(tenant);
        select.push(" AND source = ?", args![source]);
        select.push_list(" AND external_id IN", external_ids);
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
    let mut select = all(tenant);
    select.push_list(" AND sku IN", skus.iter().map(|sku| Arg::from(*sku)).collect());
    let rows: Vec<ProductRow> = select.fetch_all(tx).await?;
    Ok(rows.into_iter().map(Product::from).collect())
}

fn all(tenant: &TenantId) -> Select {
    Select::new(concat!("SELECT ", columns!(), " FROM products WHERE tenant = ?"), args![tenant])
}

/// Inserts products; false if the code or identity of one is taken.
pub(crate) async fn insert_many(tx: &mut Tx, tenant: &TenantId, products: &[&Product]) -> Result<bool> {
    let args = products.iter().flat_map(|product| {
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
            product.created_at,
            product.updated_at,
        ]
    });
    let inserted = INSERT.run(tx, args.collect()).await?;
    Ok(inserted == u64::try_from(products.len()).unwrap_or(u64::MAX))
}

/// Replaces a product that is still at version `before`; false if it is not, or its new code is taken.
pub(crate) async fn update(tx: &mut Tx, tenant: &TenantId, before: i64, after: &Product) -> Result<bool> {
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
        after.updated_at,
    ];
    Ok(tx.execute(UPDATE, args).await? > 0)
}

/// Removes a product that is still at version `before`; false if it is not.
pub(crate) async fn delete(tx: &mut Tx, tenant: &TenantId, id: &ProductId, before: i64) -> Result<bool> {
    Ok(tx.execute(DELETE, args![tenant, id, before]).await? > 0)
}

/// One page of the products that the filter holds for, in the order of their ids.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &TenantId,
    filter: &ProductFilter,
    page: &PageRequest,
) -> Result<Page<Product>> {
    const LIST: &str = "products:id";
    let ProductFilter { sku, class, name_prefix } = filter;
    let mut select = all(tenant);
    select.push_some(" AND sku = ?", sku.as_deref());
    select.push_some(" AND class = ?", class.as_deref());
    if let Some(prefix) = name_prefix {
        select.push_prefix(" AND search_key >= ? AND search_key < ?", &search_key(prefix));
    }
    let after = Position::of(page, LIST)?;
    select.push_some(" AND id > ?", after.map(|position| position.id));
    select.push(" ORDER BY id LIMIT ?", args![page.fetch()]);
    let rows: Vec<ProductRow> = select.fetch_all(tx).await?;
    Ok(Page::of(page, rows.into_iter().map(Product::from).collect(), |product: &Product| Position {
        list: LIST.to_owned(),
        text: None,
        number: None,
        id: product.id.to_string(),
    }))
}
