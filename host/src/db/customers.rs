//! Rows of customers, and of the tables in which they are searched.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::filter::{Insert, Select, by_keys, keys, seen, visible};
use super::{Arg, Json, OnConstraint as _, Tx, args, field_values, statements};
use crate::clock::Timestamp;
use crate::domain::actor::Visibility;
use crate::domain::code::FaultCode;
use crate::domain::customer::{ContactPoint, Customer, CustomerKind, Identity, Provenance, search_key};
use crate::domain::field::FieldEntity;
use crate::domain::field_value::FieldChanges;
use crate::domain::ids::{CustomerId, OrgUnitId, TenantId, UserId};
use crate::error::{Error, Result};

/// The columns of [`CustomerRow`].
macro_rules! columns {
    () => {
        "c.id, c.version, c.kind, c.name, c.lifecycle_stage, c.owner_id, c.org_unit_id, c.details,
            c.created_at, c.updated_at"
    };
}

// Below the macro, which they use.
mod identities;
mod list;

pub(crate) use identities::{find_by_identities, find_identities};
pub(crate) use list::list;

statements! {
    FIND = concat!("
        SELECT ", columns!(), "
        FROM customers c
        WHERE c.tenant = $1
          AND c.id = $2
          AND c.deleted_at IS NULL");
    FIND_VISIBLE = concat!("
        SELECT ", columns!(), "
        FROM customers c
        WHERE c.tenant = $1
          AND c.id = $2
          AND c.deleted_at IS NULL
          AND ", visible!("$3", "$4", "$5", "$6"));
    FIND_VERSION = "
        SELECT version
        FROM customers
        WHERE tenant = $1
          AND id = $2
          AND deleted_at IS NULL";
    UPDATE = "
        UPDATE customers
        SET version = $4, kind = $5, name = $6, search_key = $7, lifecycle_stage = $8, owner_id = $9,
            org_unit_id = $10, details = $11, updated_at = $12
        WHERE tenant = $1
          AND id = $2
          AND version = $3
          AND deleted_at IS NULL";
    DELETE = "
        UPDATE customers
        SET version = $4, updated_at = $5, deleted_at = $5
        WHERE tenant = $1
          AND id = $2
          AND version = $3
          AND deleted_at IS NULL";
    DELETE_TAGS = "DELETE FROM customer_tags WHERE tenant = $1 AND customer_id = $2";
    DELETE_CONTACT_POINTS = "DELETE FROM contact_points WHERE tenant = $1 AND customer_id = $2";
    DELETE_IDENTITIES = "DELETE FROM identities WHERE tenant = $1 AND customer_id = $2";
}

const INSERT: Insert = Insert {
    head: "INSERT INTO customers (tenant, id, version, kind, name, search_key, lifecycle_stage, owner_id,
        org_unit_id, details, created_at, updated_at) VALUES",
    columns: 12,
    tail: "",
};
const INSERT_TAGS: Insert =
    Insert { head: "INSERT INTO customer_tags (tenant, tag, customer_id) VALUES", columns: 3, tail: "" };
const INSERT_CONTACT_POINTS: Insert = Insert {
    head: "INSERT INTO contact_points (tenant, customer_id, position, kind, search_value) VALUES",
    columns: 5,
    tail: "",
};
const INSERT_IDENTITIES: Insert = Insert {
    head: "INSERT INTO identities (tenant, source, external_id, customer_id) VALUES",
    columns: 4,
    tail: " ON CONFLICT (tenant, source, external_id) DO NOTHING",
};
/// What a row keeps as one JSON text.
#[derive(Serialize, Deserialize)]
struct Details {
    tags: Vec<String>,
    contact_points: Vec<ContactPoint>,
    identities: Vec<Identity>,
    preferences: Map<String, Value>,
    custom_fields: Map<String, Value>,
    fields: Map<String, Value>,
    provenance: Option<Provenance>,
}

/// The same for writing, without a copy.
#[derive(Serialize)]
struct DetailsRef<'a> {
    tags: &'a [String],
    contact_points: &'a [ContactPoint],
    identities: &'a [Identity],
    preferences: &'a Map<String, Value>,
    custom_fields: &'a Map<String, Value>,
    fields: &'a Map<String, Value>,
    provenance: Option<&'a Provenance>,
}

#[derive(sqlx::FromRow)]
struct CustomerRow {
    id: CustomerId,
    version: i64,
    kind: String,
    name: String,
    lifecycle_stage: String,
    owner_id: Option<UserId>,
    org_unit_id: Option<OrgUnitId>,
    details: Json<Details>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<CustomerRow> for Customer {
    fn from(row: CustomerRow) -> Self {
        let Details { tags, contact_points, identities, preferences, custom_fields, fields, provenance } =
            row.details.0;
        Self {
            id: row.id,
            version: row.version,
            kind: CustomerKind::from_stored(&row.kind),
            name: row.name,
            lifecycle_stage: row.lifecycle_stage,
            owner_id: row.owner_id,
            org_unit_id: row.org_unit_id,
            tags,
            contact_points,
            identities,
            preferences,
            custom_fields,
            fields,
            provenance,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

fn details(customer: &Customer) -> String {
    let details = DetailsRef {
        tags: &customer.tags,
        contact_points: &customer.contact_points,
        identities: &customer.identities,
        preferences: &customer.preferences,
        custom_fields: &customer.custom_fields,
        fields: &customer.fields,
        provenance: customer.provenance.as_ref(),
    };
    serde_json::to_string(&details).expect("details are plain data")
}

/// The customer, if it exists and is visible.
pub(crate) async fn find(
    tx: &mut Tx,
    tenant: &TenantId,
    visibility: &Visibility,
    id: &CustomerId,
) -> Result<Option<Customer>> {
    let (statement, args) = seen(visibility, (FIND, FIND_VISIBLE), args![tenant, id]);
    let row: Option<CustomerRow> = tx.fetch_optional(statement, args).await?;
    Ok(row.map(Customer::from))
}

/// Those of the customers that exist and are visible, in no order; the caller bounds the number of ids.
pub(crate) async fn find_many(
    tx: &mut Tx,
    tenant: &TenantId,
    visibility: &Visibility,
    ids: &[CustomerId],
) -> Result<Vec<Customer>> {
    let head = by_keys!("customers" as "c", "c.id", "c.tenant = ? AND c.deleted_at IS NULL", columns!());
    let args = vec![keys(ids.iter().map(CustomerId::as_str)), Arg::from(tenant)];
    let mut select = Select::new_split(tx, head, args);
    select.push_visible(visibility);
    let rows: Vec<CustomerRow> = select.fetch_all(tx).await?;
    Ok(rows.into_iter().map(Customer::from).collect())
}

/// Those of these customers that exist, are visible and are not deleted.
pub(crate) async fn find_ids(
    tx: &mut Tx,
    tenant: &TenantId,
    visibility: &Visibility,
    ids: &BTreeSet<&CustomerId>,
) -> Result<Vec<CustomerId>> {
    let head = by_keys!("customers" as "c", "c.id", "c.tenant = ? AND c.deleted_at IS NULL", "c.id");
    let args = vec![keys(ids.iter().map(|id| id.as_str())), Arg::from(tenant)];
    let mut select = Select::new_split(tx, head, args);
    select.push_visible(visibility);
    let rows: Vec<(CustomerId,)> = select.fetch_all(tx).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Whether all of these customers exist, are visible and are not deleted.
pub(crate) async fn exist(
    tx: &mut Tx,
    tenant: &TenantId,
    visibility: &Visibility,
    ids: &BTreeSet<&CustomerId>,
) -> Result<bool> {
    Ok(find_ids(tx, tenant, visibility, ids).await?.len() == ids.len())
}

/// The version of a customer that is not deleted.
pub(crate) async fn find_version(tx: &mut Tx, tenant: &TenantId, id: &CustomerId) -> Result<Option<i64>> {
    let row: Option<(i64,)> = tx.fetch_optional(FIND_VERSION, args![tenant, id]).await?;
    Ok(row.map(|(version,)| version))
}

/// Inserts new customers with all that they are searched by; false if one of their identities is taken.
pub(crate) async fn insert_many(
    tx: &mut Tx,
    tenant: &TenantId,
    customers: &[(&Customer, Option<&FieldChanges>)],
) -> Result<bool> {
    let mut rows = Vec::with_capacity(customers.len() * INSERT.columns);
    let (mut tags, mut points, mut identities) = (vec![], vec![], vec![]);
    for (customer, _) in customers {
        rows.extend(args![
            tenant,
            &customer.id,
            customer.version,
            customer.kind.as_str(),
            &customer.name,
            search_key(&customer.name),
            &customer.lifecycle_stage,
            customer.owner_id.as_ref(),
            customer.org_unit_id.as_ref(),
            details(customer),
            customer.created_at,
            customer.updated_at,
        ]);
        tags.extend(tag_rows(tenant, customer));
        points.extend(contact_point_rows(tenant, customer));
        identities.extend(identity_rows(tenant, customer));
    }
    let identities_max = u64::try_from(identities.len() / INSERT_IDENTITIES.columns).unwrap_or(u64::MAX);
    if INSERT_IDENTITIES.run(tx, identities).await? < identities_max {
        return Ok(false);
    }
    INSERT.run(tx, rows).await.on_reference(unit_gone)?;
    INSERT_TAGS.run(tx, tags).await?;
    INSERT_CONTACT_POINTS.run(tx, points).await?;
    let values = customers.iter().map(|(customer, fields)| (record(&customer.id), *fields));
    field_values::insert_many(tx, tenant, values).await?;
    Ok(true)
}

/// What an update has met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Updated {
    /// The row is changed.
    Done,
    /// The row is gone or at another version.
    Stale,
    /// Another customer has one of the identities.
    IdentityTaken,
}

/// Replaces a customer that is still at `before.version`; `fields` are the values of all its fields
/// if any of them changes.
pub(crate) async fn update(
    tx: &mut Tx,
    tenant: &TenantId,
    before: &Customer,
    after: &Customer,
    fields: Option<&FieldChanges>,
) -> Result<Updated> {
    let id = &after.id;
    let changed = args![
        tenant,
        id,
        before.version,
        after.version,
        after.kind.as_str(),
        &after.name,
        search_key(&after.name),
        &after.lifecycle_stage,
        after.owner_id.as_ref(),
        after.org_unit_id.as_ref(),
        details(after),
        after.updated_at,
    ];
    if tx.execute(UPDATE, changed).await.on_reference(unit_gone)? == 0 {
        return Ok(Updated::Stale);
    }
    if before.identities != after.identities {
        tx.execute(DELETE_IDENTITIES, args![tenant, id]).await?;
        let wanted = u64::try_from(after.identities.len()).unwrap_or(u64::MAX);
        if INSERT_IDENTITIES.run(tx, identity_rows(tenant, after).collect()).await? < wanted {
            return Ok(Updated::IdentityTaken);
        }
    }
    if before.tags != after.tags {
        tx.execute(DELETE_TAGS, args![tenant, id]).await?;
        INSERT_TAGS.run(tx, tag_rows(tenant, after).collect()).await?;
    }
    if before.contact_points != after.contact_points {
        tx.execute(DELETE_CONTACT_POINTS, args![tenant, id]).await?;
        INSERT_CONTACT_POINTS.run(tx, contact_point_rows(tenant, after).collect()).await?;
    }
    field_values::change(tx, tenant, record(id), fields).await?;
    Ok(Updated::Done)
}

/// Hides a customer that is still at `before.version`, and frees its identities; false if it is not.
pub(crate) async fn delete(
    tx: &mut Tx,
    tenant: &TenantId,
    before: &Customer,
    version: i64,
    now: Timestamp,
) -> Result<bool> {
    let id = &before.id;
    if tx.execute(DELETE, args![tenant, id, before.version, version, now]).await? == 0 {
        return Ok(false);
    }
    for statement in [DELETE_IDENTITIES, DELETE_TAGS, DELETE_CONTACT_POINTS] {
        tx.execute(statement, args![tenant, id]).await?;
    }
    field_values::delete_all(tx, tenant, record(id)).await?;
    Ok(true)
}

fn tag_rows(tenant: &TenantId, customer: &Customer) -> impl Iterator<Item = Arg> {
    customer.tags.iter().flat_map(move |tag| args![tenant, tag, &customer.id])
}

fn contact_point_rows(tenant: &TenantId, customer: &Customer) -> impl Iterator<Item = Arg> {
    (0_u32..).zip(&customer.contact_points).flat_map(move |(position, point)| {
        args![tenant, &customer.id, position, point.kind.as_str(), point.search_value()]
    })
}

fn identity_rows(tenant: &TenantId, customer: &Customer) -> impl Iterator<Item = Arg> {
    customer
        .identities
        .iter()
        .flat_map(move |identity| args![tenant, &identity.source, &identity.external_id, &customer.id])
}

fn record(id: &CustomerId) -> field_values::Record<'_> {
    (FieldEntity::Customer, id.as_str())
}

/// The unit was there when the change was prepared.
fn unit_gone() -> Error {
    Error::invalid("/org_unit_id", FaultCode::UnknownReference, "there is no such unit")
}
