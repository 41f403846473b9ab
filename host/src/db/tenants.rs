//! Rows of tenants.

use super::{OnConstraint as _, Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::actor::Locale;
use crate::domain::code::Reason;
use crate::domain::ids::TenantId;
use crate::domain::money::Currency;
use crate::domain::tenant::Tenant;
use crate::error::{Error, Result};

statements! {
    FIND = "
        SELECT id, slug, name, locale, time_zone, currency, version, created_at, updated_at
        FROM tenants
        WHERE tenant = $1";
    /// Through the directory: the tenant is what is asked for.
    FIND_BY_SLUG = "
        SELECT id, state, locale
        FROM tenants
        WHERE slug = $1";
    /// Through the directory.
    LIST_IDS = "
        SELECT id
        FROM tenants
        WHERE id > $1
        ORDER BY id
        LIMIT $2";
    INSERT = "
        INSERT INTO tenants (tenant, id, slug, name, locale, time_zone, currency, state, version, created_at, updated_at)
        VALUES ($1, $1, $2, $3, $4, $5, $6, 'active', $7, $8, $9)";
    UPDATE = "
        UPDATE tenants
        SET name = $2, locale = $3, time_zone = $4, currency = $5, version = $6, updated_at = $7
        WHERE tenant = $1
          AND version = $6 - 1";
    /// Changes nothing, but of two transactions that do it the second waits, and runs again.
    LOCK = "
        UPDATE tenants
        SET slug = slug
        WHERE tenant = $1";
}

#[derive(sqlx::FromRow)]
struct TenantRow {
    id: TenantId,
    slug: String,
    name: String,
    locale: String,
    time_zone: String,
    currency: String,
    version: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl TenantRow {
    fn into_tenant(self) -> Result<Tenant> {
        let Self { id, slug, name, locale, time_zone, currency, version, created_at, updated_at } = self;
        let currency =
            Currency::parse(&currency).ok_or_else(|| Error::internal("a stored currency is none"))?;
        let locale = Locale::from_tag(&locale);
        Ok(Tenant { id, version, slug, name, locale, time_zone, currency, created_at, updated_at })
    }
}

/// A tenant that somebody signs in to.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Directory {
    pub(crate) id: TenantId,
    pub(crate) state: String,
    pub(crate) locale: String,
}

/// A tenant.
pub(crate) async fn find(tx: &mut Tx, id: &TenantId) -> Result<Option<Tenant>> {
    let row: Option<TenantRow> = tx.fetch_optional(FIND, args![id]).await?;
    row.map(TenantRow::into_tenant).transpose()
}

/// The tenant with this slug.
pub(crate) async fn find_by_slug(directory: &mut Tx, slug: &str) -> Result<Option<Directory>> {
    directory.fetch_optional(FIND_BY_SLUG, args![slug]).await
}

/// The next `limit` ids of tenants after `after`.
pub(crate) async fn list_ids(directory: &mut Tx, after: &str, limit: i64) -> Result<Vec<TenantId>> {
    let rows: Vec<(TenantId,)> = directory.fetch_all(LIST_IDS, args![after, limit]).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Inserts a tenant; a conflict if its slug is taken.
pub(crate) async fn insert(tx: &mut Tx, tenant: &Tenant) -> Result<()> {
    let Tenant { id, version, slug, name, locale, time_zone, currency, created_at, updated_at } = tenant;
    let args = args![
        id,
        slug,
        name,
        locale.as_str(),
        time_zone,
        currency.as_str(),
        *version,
        *created_at,
        *updated_at
    ];
    let inserted = tx.execute(INSERT, args).await;
    inserted
        .map(drop)
        .on_unique(|| Error::conflict(Reason::AlreadyExists, format!("a tenant `{slug}` exists already")))
}

/// Writes a tenant whose version has grown by one; false if it was changed meanwhile.
pub(crate) async fn update(tx: &mut Tx, tenant: &Tenant) -> Result<bool> {
    let Tenant { id, version, slug: _, name, locale, time_zone, currency, created_at: _, updated_at } =
        tenant;
    let args = args![id, name, locale.as_str(), time_zone, currency.as_str(), *version, *updated_at];
    Ok(tx.execute(UPDATE, args).await? > 0)
}

/// Makes changes that must see one another come one after the other: those to the
/// tree of units and to the last owner.
pub(crate) async fn lock(tx: &mut Tx, tenant: &TenantId) -> Result<()> {
    tx.execute(LOCK, args![tenant]).await.map(drop)
}
