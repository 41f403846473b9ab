//! Rows of org units.

use super::{OnConstraint as _, Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::code::Reason;
use crate::domain::ids::{OrgUnitId, TenantId};
use crate::domain::org_unit::{OrgUnitKind, OrgUnitRecord};
use crate::error::{Error, Result};

statements! {
    FIND = "
        SELECT id, parent_id, kind, name, code, path, version, created_at, updated_at
        FROM org_units
        WHERE tenant = $1
          AND id = $2";
    LIST = "
        SELECT id, parent_id, kind, name, code, path, version, created_at, updated_at
        FROM org_units
        WHERE tenant = $1
          AND path > $2
          AND ($3 = '' OR parent_id = $3)
        ORDER BY path
        LIMIT $4";
    INSERT = "
        INSERT INTO org_units (tenant, id, parent_id, kind, name, code, path, version, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    UPDATE = "
        UPDATE org_units
        SET parent_id = $3, kind = $4, name = $5, code = $6, version = $7, updated_at = $8
        WHERE tenant = $1
          AND id = $2
          AND version = $7 - 1";
    /// The unit and all below it.
    MOVE = "
        UPDATE org_units
        SET path = $3 || SUBSTR(path, LENGTH($2) + 1)
        WHERE tenant = $1
          AND SUBSTR(path, 1, LENGTH($2)) = $2";
    DEEPEST = "
        SELECT CAST(MAX(LENGTH(path)) AS BIGINT)
        FROM org_units
        WHERE tenant = $1
          AND SUBSTR(path, 1, LENGTH($2)) = $2";
    // A unit may look after a million customers, whom nobody wants counted to the end.
    COUNT_USES = "
        SELECT
            (SELECT COUNT(*) FROM org_units WHERE tenant = $1 AND parent_id = $2) AS units,
            (SELECT COUNT(*) FROM users WHERE tenant = $1 AND org_unit_id = $2) AS users,
            (SELECT COUNT(*) FROM tokens WHERE tenant = $1 AND org_unit_id = $2) AS tokens,
            (SELECT COUNT(*) FROM (
                SELECT 1 FROM customers WHERE tenant = $1 AND org_unit_id = $2 LIMIT $3) AS counted) AS customers";
    HAND_OVER_CUSTOMERS = "
        UPDATE customers
        SET org_unit_id = $3
        WHERE tenant = $1
          AND org_unit_id = $2
          AND deleted_at IS NOT NULL";
    FORGET_TOKENS = "
        UPDATE tokens
        SET org_unit_id = NULL
        WHERE tenant = $1
          AND org_unit_id = $2
          AND (revoked_at IS NOT NULL OR expires_at <= $3)";
    DELETE = "
        DELETE FROM org_units
        WHERE tenant = $1
          AND id = $2";
}

#[derive(sqlx::FromRow)]
struct OrgUnitRow {
    id: OrgUnitId,
    parent_id: Option<OrgUnitId>,
    kind: String,
    name: String,
    code: Option<String>,
    path: String,
    version: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<OrgUnitRow> for OrgUnitRecord {
    fn from(row: OrgUnitRow) -> Self {
        let OrgUnitRow { id, parent_id, kind, name, code, path, version, created_at, updated_at } = row;
        let kind = OrgUnitKind::from_stored(&kind);
        Self { id, version, parent_id, kind, name, code, path, created_at, updated_at }
    }
}

/// A unit.
pub(crate) async fn find(tx: &mut Tx, tenant: &TenantId, id: &OrgUnitId) -> Result<Option<OrgUnitRecord>> {
    let row: Option<OrgUnitRow> = tx.fetch_optional(FIND, args![tenant, id]).await?;
    Ok(row.map(Into::into))
}

/// The next units in the order of the tree; of one parent, if it is given.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &TenantId,
    parent: Option<&OrgUnitId>,
    after: &str,
    limit: i64,
) -> Result<Vec<OrgUnitRecord>> {
    let parent = parent.map_or("", OrgUnitId::as_str);
    let rows: Vec<OrgUnitRow> = tx.fetch_all(LIST, args![tenant, after, parent, limit]).await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Inserts a unit; a conflict if its code is taken.
pub(crate) async fn insert(tx: &mut Tx, tenant: &TenantId, unit: &OrgUnitRecord) -> Result<()> {
    let OrgUnitRecord { id, version, parent_id, kind, name, code, path, created_at, updated_at } = unit;
    let args = args![
        tenant,
        id,
        parent_id.as_ref(),
        kind.as_str(),
        name,
        code.as_deref(),
        path,
        *version,
        *created_at,
        *updated_at
    ];
    tx.execute(INSERT, args).await.map(drop).on_unique(|| code_taken(code.as_deref()))
}

/// Writes a unit whose version has grown by one, but not its path; false if it was changed meanwhile.
pub(crate) async fn update(tx: &mut Tx, tenant: &TenantId, unit: &OrgUnitRecord) -> Result<bool> {
    let OrgUnitRecord { id, version, parent_id, kind, name, code, path: _, created_at: _, updated_at } = unit;
    let args =
        args![tenant, id, parent_id.as_ref(), kind.as_str(), name, code.as_deref(), *version, *updated_at];
    let updated = tx.execute(UPDATE, args).await.on_unique(|| code_taken(code.as_deref()))?;
    Ok(updated > 0)
}

/// Gives the unit at `from` and all below it a place below another.
pub(crate) async fn move_below(tx: &mut Tx, tenant: &TenantId, from: &str, to: &str) -> Result<()> {
    tx.execute(MOVE, args![tenant, from, to]).await.map(drop)
}

/// Characters of the longest path at or below `path`.
pub(crate) async fn deepest(tx: &mut Tx, tenant: &TenantId, path: &str) -> Result<i64> {
    let (longest,): (Option<i64>,) = tx.fetch_one(DEEPEST, args![tenant, path]).await?;
    Ok(longest.unwrap_or_default())
}

/// What belongs to a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Uses {
    pub(crate) units: i64,
    pub(crate) users: i64,
    pub(crate) tokens: i64,
    /// Counted to [`CUSTOMERS_COUNTED_MAX`] and no further.
    pub(crate) customers: i64,
}

/// Customers of a unit that are counted.
pub(crate) const CUSTOMERS_COUNTED_MAX: i64 = 1_000;

/// How much belongs to a unit.
pub(crate) async fn count_uses(tx: &mut Tx, tenant: &TenantId, id: &OrgUnitId) -> Result<Uses> {
    tx.fetch_one(COUNT_USES, args![tenant, id, CUSTOMERS_COUNTED_MAX]).await
}

/// Takes from a unit what nobody can move any more: deleted customers, whose orders are seen by
/// their unit, go to `parent`; tokens that are no longer good lose it.
pub(crate) async fn clear(
    tx: &mut Tx,
    tenant: &TenantId,
    id: &OrgUnitId,
    parent: Option<&OrgUnitId>,
    now: Timestamp,
) -> Result<()> {
    tx.execute(HAND_OVER_CUSTOMERS, args![tenant, id, parent]).await?;
    tx.execute(FORGET_TOKENS, args![tenant, id, now]).await.map(drop)
}

/// Deletes a unit to which nothing belongs; `Unavailable` if something comes at this very moment.
pub(crate) async fn delete(tx: &mut Tx, tenant: &TenantId, id: &OrgUnitId) -> Result<()> {
    let deleted = tx.execute(DELETE, args![tenant, id]).await.map(drop);
    deleted.on_reference(|| Error::unavailable("a record of this unit is being made"))
}

fn code_taken(code: Option<&str>) -> Error {
    Error::conflict(
        Reason::AlreadyExists,
        format!("a unit with the code `{}` exists already", code.unwrap_or_default()),
    )
}
