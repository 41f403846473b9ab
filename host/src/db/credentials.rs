//! Rows of the credentials that a tenant keeps for the requests of its plugins; what is secret stands
//! in them sealed.

use super::{Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::ids::TenantId;
use crate::error::Result;

statements! {
    LIST = "
        SELECT name, host, header, sealed, created_at, updated_at
        FROM plugin_credentials
        WHERE tenant = $1
          AND plugin = $2
        ORDER BY name
        LIMIT $3";
    FIND = "
        SELECT name, host, header, sealed, created_at, updated_at
        FROM plugin_credentials
        WHERE tenant = $1
          AND plugin = $2
          AND name = $3";
    COUNT = "
        SELECT COUNT(*)
        FROM plugin_credentials
        WHERE tenant = $1
          AND plugin = $2
          AND name <> $3";
    PUT = "
        INSERT INTO plugin_credentials (tenant, plugin, name, host, header, sealed, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
        ON CONFLICT (tenant, plugin, name) DO UPDATE
        SET host = excluded.host, header = excluded.header, sealed = excluded.sealed,
            updated_at = excluded.updated_at";
    DELETE = "DELETE FROM plugin_credentials WHERE tenant = $1 AND plugin = $2 AND name = $3";
}

/// A credential, sealed.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct CredentialRow {
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) header: String,
    pub(crate) sealed: Vec<u8>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// The credentials of a plugin by name; at most `limit`.
pub(crate) async fn list(
    tx: &mut Tx,
    (tenant, plugin): (&TenantId, &str),
    limit: i64,
) -> Result<Vec<CredentialRow>> {
    tx.fetch_all(LIST, args![tenant, plugin, limit]).await
}

/// One of them.
pub(crate) async fn find(
    tx: &mut Tx,
    (tenant, plugin): (&TenantId, &str),
    name: &str,
) -> Result<Option<CredentialRow>> {
    tx.fetch_optional(FIND, args![tenant, plugin, name]).await
}

/// How many there are beside the one of this name.
pub(crate) async fn count_others(
    tx: &mut Tx,
    (tenant, plugin): (&TenantId, &str),
    name: &str,
) -> Result<i64> {
    let (count,): (i64,) = tx.fetch_one(COUNT, args![tenant, plugin, name]).await?;
    Ok(count)
}

/// Writes a credential in the place of the one of its name, whose beginning it keeps.
pub(crate) async fn put(tx: &mut Tx, (tenant, plugin): (&TenantId, &str), row: &CredentialRow) -> Result<()> {
    let CredentialRow { name, host, header, sealed, created_at: _, updated_at } = row;
    let args = args![tenant, plugin, name, host, header, sealed.as_slice(), *updated_at];
    tx.execute(PUT, args).await.map(drop)
}

/// Removes a credential; false if there is none.
pub(crate) async fn delete(tx: &mut Tx, (tenant, plugin): (&TenantId, &str), name: &str) -> Result<bool> {
    Ok(tx.execute(DELETE, args![tenant, plugin, name]).await? > 0)
}
