//! Rows of orders; lines and refunds are JSON in them.

use std::collections::{BTreeSet, HashMap};

use super::field_values::{self, has_field};
use super::filter::{Insert, Select, by_keys, by_source, keys, seen, visible, visible_args};
use super::sort::{Key, Sort, sort};
use super::{Arg, Json, Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::actor::Visibility;
use crate::domain::field::FieldEntity;
use crate::domain::field_value::{FieldChanges, KeptFields};
use crate::domain::ids::{CustomerId, OrderId, TenantId};
use crate::domain::money::{Currency, Money};
use crate::domain::order::{Line, Order, OrderStatus, Refund};
use crate::domain::page::{Page, PageRequest};
use crate::domain::query::{FieldCondition, OrderFilter, OrderSort};
use crate::error::Result;

/// The columns of [`OrderRow`].
macro_rules! columns {
    () => {
        "o.id, o.version, o.customer_id, o.status, o.channel, o.store, o.currency, o.total_minor, o.refunded_minor,
            o.ordered_at, o.source, o.external_id, o.lines, o.refunds, o.fields,
            o.created_at, o.updated_at"
    };
}

/// What `FACTS` sums up of orders.
macro_rules! facts {
    () => {
        "COUNT(o.id) AS orders,
            CAST(SUM(CASE WHEN o.currency = $3 THEN o.total_minor - o.refunded_minor ELSE 0 END) AS BIGINT)
                AS spend_minor,
            MIN(o.ordered_at) AS first_at, MAX(o.ordered_at) AS last_at"
    };
}

statements! {
    // An order is as visible as its customer, also after that was deleted.
    FIND = concat!("
        SELECT ", columns!(), "
        FROM orders o
        WHERE o.tenant = $1
          AND o.id = $2");
    FIND_VISIBLE = concat!("
        SELECT ", columns!(), "
        FROM orders o
        JOIN customers c ON c.tenant = o.tenant AND c.id = o.customer_id
        WHERE o.tenant = $1
          AND o.id = $2
          AND ", visible!("$3", "$4", "$5", "$6"));
    FIND_VERSION = "
        SELECT version
        FROM orders
        WHERE tenant = $1
          AND id = $2";
    UPDATE = "
        UPDATE orders
        SET version = $4, status = $5, channel = $6, store = $7, currency = $8, total_minor = $9,
            refunded_minor = $10, ordered_at = $11, lines = $12, refunds = $13, fields = $14, updated_at = $15
        WHERE tenant = $1
          AND id = $2
          AND version = $3";
    SUMMARY = "
        SELECT channel, currency, COUNT(id) AS orders, CAST(SUM(total_minor) AS BIGINT) AS total_minor,
            CAST(SUM(refunded_minor) AS BIGINT) AS refunded_minor, MIN(ordered_at) AS first_at,
            MAX(ordered_at) AS last_at
        FROM orders
        WHERE tenant = $1
          AND customer_id = $2
          AND status <> 'cancelled'
        GROUP BY channel, currency
        ORDER BY channel, currency
        LIMIT 1000";
    // A list is one JSON array, which each engine unfolds in its own way.
    // From the customers to their orders: the other way round reads all orders, which either planner
    // may prefer on tables that it knows nothing about.
    FACTS = split(
        concat!("
        SELECT c.id AS customer_id, ", facts!(), "
        FROM json_each($2) j
        CROSS JOIN customers c ON c.tenant = $1 AND c.id = j.value
        CROSS JOIN orders o ON o.tenant = $1 AND o.customer_id = c.id AND o.status <> 'cancelled'
        WHERE ", visible!("$4", "$5", "$6", "$7"), "
        GROUP BY c.id"),
        concat!("
        SELECT c.id AS customer_id, f.orders, f.spend_minor, f.first_at, f.last_at
        FROM json_array_elements_text(CAST($2 AS JSON)) AS j(value)
        JOIN customers c ON c.tenant = $1 AND c.id = j.value
        CROSS JOIN LATERAL (
            SELECT ", facts!(), "
            FROM orders o
            WHERE o.tenant = $1
              AND o.customer_id = c.id
              AND o.status <> 'cancelled') AS f
        WHERE f.orders > 0
          AND ", visible!("$4", "$5", "$6", "$7")),
    );
}

/// A customer's orders in sum.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct FactsRow {
    pub(crate) customer_id: CustomerId,
    pub(crate) orders: i64,
    /// Less refunds, in one currency.
    pub(crate) spend_minor: i64,
    pub(crate) first_at: Timestamp,
    pub(crate) last_at: Timestamp,
}

/// The sums of customers' visible orders; those without an order have no row.
pub(crate) async fn facts(
    tx: &mut Tx,
    tenant: &TenantId,
    visibility: &Visibility,
    (customers, currency): (&[&CustomerId], &str),
) -> Result<Vec<FactsRow>> {
    let customers: Vec<&str> = customers.iter().map(|id| id.as_str()).collect();
    let mut args = args![tenant, &serde_json::json!(customers), currency];
    args.extend(visible_args(visibility));
    tx.fetch_all(FACTS, args).await
}

const INSERT: Insert = Insert {
    head:
        "INSERT INTO orders (tenant, id, version, customer_id, status, channel, store, currency, total_minor,
        refunded_minor, ordered_at, source, external_id, lines, refunds, fields, created_at, updated_at) VALUES",
    columns: 18,
    tail: " ON CONFLICT (tenant, source, external_id) DO NOTHING",
};

#[derive(sqlx::FromRow)]
struct OrderRow {
    id: OrderId,
    version: i64,
    customer_id: CustomerId,
    status: String,
    channel: String,
    store: Option<String>,
    currency: String,
    total_minor: i64,
    refunded_minor: i64,
    ordered_at: Timestamp,
    source: Option<String>,
    external_id: Option<String>,
    lines: Json<Vec<Line>>,
    refunds: Json<Vec<Refund>>,
    fields: Option<Json<KeptFields>>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<OrderRow> for Order {
    fn from(row: OrderRow) -> Self {
        let currency = Currency::parse(&row.currency).unwrap_or(Currency::XXX);
        let KeptFields { custom_fields, fields } = row.fields.map(|kept| kept.0).unwrap_or_default();
        Self {
            id: row.id,
            version: row.version,
            source: row.source,
            external_id: row.external_id,
            customer_id: row.customer_id,
            status: OrderStatus::from_stored(&row.status),
            channel: row.channel,
            store: row.store,
            ordered_at: row.ordered_at,
            total: Money { amount_minor: row.total_minor, currency },
            refunded: Money { amount_minor: row.refunded_minor, currency },
            lines: row.lines.0,
            refunds: row.refunds.0,
            custom_fields,
            fields,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

fn row(tenant: &TenantId, order: &Order) -> Vec<Arg> {
    args![
        tenant,
        &order.id,
        order.version,
        &order.customer_id,
        order.status.as_str(),
        &order.channel,
        order.store.as_deref(),
        order.total.currency.as_str(),
        order.total.amount_minor,
        order.refunded.amount_minor,
        order.ordered_at,
        order.source.as_deref(),
        order.external_id.as_deref(),
        json(&order.lines),
        json(&order.refunds),
        field_values::kept(order.fields()),
        order.created_at,
        order.updated_at,
    ]
}

fn json<T: serde::Serialize>(rows: &[T]) -> String {
    serde_json::to_string(rows).expect("lines and refunds are plain data")
}

/// The order, if it exists and its customer is visible.
pub(crate) async fn find(
    tx: &mut Tx,
    tenant: &TenantId,
    visibility: &Visibility,
    id: &OrderId,
) -> Result<Option<Order>> {
    let (statement, args) = seen(visibility, (FIND, FIND_VISIBLE), args![tenant, id]);
    let row: Option<OrderRow> = tx.fetch_optional(statement, args).await?;
    Ok(row.map(Order::from))
}

/// Those of the orders that exist and are visible, in no order; the caller bounds the number of ids.
pub(crate) async fn find_many(
    tx: &mut Tx,
    tenant: &TenantId,
    visibility: &Visibility,
    ids: &[OrderId],
) -> Result<Vec<Order>> {
    let head = by_keys!("orders" as "o", "o.id", "o.tenant = ?", columns!());
    let args = vec![keys(ids.iter().map(OrderId::as_str)), Arg::from(tenant)];
    let mut select = Select::new_split(tx, head, args);
    push_visible(&mut select, visibility);
    let rows: Vec<OrderRow> = select.fetch_all(tx).await?;
    Ok(rows.into_iter().map(Order::from).collect())
}

/// Those of the orders that their sources know so, if they are visible; the caller bounds their number.
pub(crate) async fn find_identities(
    tx: &mut Tx,
    tenant: &TenantId,
    visibility: &Visibility,
    identities: &BTreeSet<(&str, &str)>,
) -> Result<HashMap<(String, String), Order>> {
    let mut found = HashMap::new();
    for (source, external_ids) in by_source(identities.iter().copied()) {
        let head = by_keys!("orders" as "o", "o.external_id", "o.tenant = ? AND o.source = ?", columns!());
        let args = vec![keys(external_ids), Arg::from(tenant), Arg::from(source)];
        let mut select = Select::new_split(tx, head, args);
        push_visible(&mut select, visibility);
        let rows: Vec<OrderRow> = select.fetch_all(tx).await?;
        found.extend(rows.into_iter().map(Order::from).map(|order| {
            let external_id = order.external_id.clone().unwrap_or_default();
            ((source.to_owned(), external_id), order)
        }));
    }
    Ok(found)
}

/// Adds the condition that the customer of the order `o` is visible.
fn push_visible(select: &mut Select, visibility: &Visibility) {
    if *visibility != Visibility::All {
        let exists =
            " AND EXISTS (SELECT 1 FROM customers c WHERE c.tenant = o.tenant AND c.id = o.customer_id";
        select.push(exists, Vec::new());
        select.push_visible(visibility);
        select.push(")", Vec::new());
    }
}

/// The version of an order.
pub(crate) async fn find_version(tx: &mut Tx, tenant: &TenantId, id: &OrderId) -> Result<Option<i64>> {
    let row: Option<(i64,)> = tx.fetch_optional(FIND_VERSION, args![tenant, id]).await?;
    Ok(row.map(|(version,)| version))
}

/// Inserts orders whose customers exist; false if the identity of one is taken.
pub(crate) async fn insert_many(
    tx: &mut Tx,
    tenant: &TenantId,
    orders: &[(&Order, Option<&FieldChanges>)],
) -> Result<bool> {
    let args = orders.iter().flat_map(|(order, _)| row(tenant, order)).collect();
    let inserted = INSERT.run(tx, args).await?;
    let values = orders.iter().map(|(order, fields)| (record(&order.id), *fields));
    field_values::insert_many(tx, tenant, values).await?;
    Ok(inserted == u64::try_from(orders.len()).unwrap_or(u64::MAX))
}

fn record(id: &OrderId) -> field_values::Record<'_> {
    (FieldEntity::Order, id.as_str())
}

/// Replaces an order that is still at version `before`; false if it is not.
pub(crate) async fn update(
    tx: &mut Tx,
    tenant: &TenantId,
    before: i64,
    after: &Order,
    fields: Option<&FieldChanges>,
) -> Result<bool> {
    let args = args![
        tenant,
        &after.id,
        before,
        after.version,
        after.status.as_str(),
        &after.channel,
        after.store.as_deref(),
        after.total.currency.as_str(),
        after.total.amount_minor,
        after.refunded.amount_minor,
        after.ordered_at,
        json(&after.lines),
        json(&after.refunds),
        field_values::kept(after.fields()),
        after.updated_at,
    ];
    let is_updated = tx.execute(UPDATE, args).await? > 0;
    if is_updated {
        field_values::change(tx, tenant, record(&after.id), fields).await?;
    }
    Ok(is_updated)
}

/// One customer's orders by one channel in one currency; cancelled ones do not count.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct ChannelSum {
    pub(crate) channel: String,
    pub(crate) currency: String,
    pub(crate) orders: i64,
    pub(crate) total_minor: i64,
    pub(crate) refunded_minor: i64,
    pub(crate) first_at: Timestamp,
    pub(crate) last_at: Timestamp,
}

/// The sums of a customer's orders, per channel and currency.
pub(crate) async fn summarise(
    tx: &mut Tx,
    tenant: &TenantId,
    customer: &CustomerId,
) -> Result<Vec<ChannelSum>> {
    tx.fetch_all(SUMMARY, args![tenant, customer]).await
}

/// One page of the visible orders that the filter holds for.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &TenantId,
    visibility: &Visibility,
    (filter, sort): (&OrderFilter, OrderSort),
    page: &PageRequest,
) -> Result<Page<Order>> {
    let OrderFilter { customer_id, status, channel, store, identity, since, until, updated_since, fields } =
        filter;
    let order = order(sort);
    let mut select =
        Select::new(concat!("SELECT ", columns!(), " FROM orders o WHERE o.tenant = ?"), args![tenant]);
    push_visible(&mut select, visibility);
    select.push_some(" AND o.customer_id = ?", customer_id.as_ref());
    select.push_some(" AND o.status = ?", status.map(OrderStatus::as_str));
    select.push_some(" AND o.channel = ?", channel.as_deref());
    select.push_some(" AND o.store = ?", store.as_deref());
    if let Some((source, external_id)) = identity {
        select.push(" AND o.source = ? AND o.external_id = ?", args![source, external_id]);
    }
    select.push_some(" AND o.ordered_at >= ?", *since);
    select.push_some(" AND o.ordered_at < ?", *until);
    select.push_some(" AND o.updated_at >= ?", *updated_since);
    for FieldCondition { namespace, name, comparison, value } in fields {
        let has = has_field!("o", "order");
        field_values::push_condition(&mut select, has, (namespace, name), *comparison, value);
    }
    order.push(&mut select, page)?;
    let rows: Vec<OrderRow> = select.fetch_all(tx).await?;
    Ok(order.page(page, rows.into_iter().map(Order::from).collect(), |order| order.id.to_string()))
}

const fn order(sort: OrderSort) -> Sort<Order> {
    const ORDERED_AT: Key<Order> = Key::Number(|order| order.ordered_at.as_micros());
    const UPDATED_AT: Key<Order> = Key::Number(|order| order.updated_at.as_micros());
    match sort {
        OrderSort::Id => sort!("orders:id", Key::Id, "o.id"),
        OrderSort::IdDescending => sort!("orders:-id", Key::Id, "o.id" DESC),
        OrderSort::OrderedAt => sort!("orders:ordered_at", ORDERED_AT, "o.ordered_at", "o.id"),
        OrderSort::OrderedAtDescending => {
            sort!("orders:-ordered_at", ORDERED_AT, "o.ordered_at", "o.id" DESC)
        }
        OrderSort::UpdatedAt => sort!("orders:updated_at", UPDATED_AT, "o.updated_at", "o.id"),
        OrderSort::UpdatedAtDescending => {
            sort!("orders:-updated_at", UPDATED_AT, "o.updated_at", "o.id" DESC)
        }
    }
}
