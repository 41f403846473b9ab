//! Rows of bearer tokens.

use super::{Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::ids::{OrgUnitId, TenantId, TokenId};
use crate::domain::token::Token;
use crate::error::{Error, Result};

statements! {
    FIND = "
        SELECT id, name, roles, permissions, org_unit_id, created_by, created_at, last_used_at, expires_at, revoked_at
        FROM tokens
        WHERE tenant = $1
          AND id = $2";
    LIST = "
        SELECT id, name, roles, permissions, org_unit_id, created_by, created_at, last_used_at, expires_at, revoked_at
        FROM tokens
        WHERE tenant = $1
          AND id > $2
        ORDER BY id
        LIMIT $3";
    COUNT_LIVE = "
        SELECT COUNT(*)
        FROM tokens
        WHERE tenant = $1
          AND revoked_at IS NULL
          AND expires_at > $2";
    INSERT = "
        INSERT INTO tokens (tenant, id, name, secret_hash, roles, permissions, org_unit_id, created_by, created_at,
            last_used_at, expires_at, revoked_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, NULL, $10, NULL)";
    REVOKE = "
        UPDATE tokens
        SET revoked_at = $3
        WHERE tenant = $1
          AND id = $2
          AND revoked_at IS NULL";
}

#[derive(sqlx::FromRow)]
struct TokenRow {
    id: TokenId,
    name: String,
    roles: String,
    permissions: Option<String>,
    org_unit_id: Option<OrgUnitId>,
    created_by: String,
    created_at: Timestamp,
    last_used_at: Option<Timestamp>,
    expires_at: Timestamp,
    revoked_at: Option<Timestamp>,
}

impl TokenRow {
    fn into_token(self) -> Result<Token> {
        let permissions = self.permissions.as_deref().map(serde_json::from_str).transpose();
        Ok(Token {
            id: self.id,
            name: self.name,
            roles: serde_json::from_str(&self.roles).map_err(Error::internal)?,
            permissions: permissions.map_err(Error::internal)?,
            org_unit_id: self.org_unit_id,
            created_by: self.created_by,
            created_at: self.created_at,
            last_used_at: self.last_used_at,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
        })
    }
}

/// A token.
pub(crate) async fn find(tx: &mut Tx, tenant: &TenantId, id: &TokenId) -> Result<Option<Token>> {
    let row: Option<TokenRow> = tx.fetch_optional(FIND, args![tenant, id]).await?;
    row.map(TokenRow::into_token).transpose()
}

/// The next tokens by id.
pub(crate) async fn list(tx: &mut Tx, tenant: &TenantId, after: &str, limit: i64) -> Result<Vec<Token>> {
    let rows: Vec<TokenRow> = tx.fetch_all(LIST, args![tenant, after, limit]).await?;
    rows.into_iter().map(TokenRow::into_token).collect()
}

/// How many tokens are neither revoked nor expired.
pub(crate) async fn count_live(tx: &mut Tx, tenant: &TenantId, now: Timestamp) -> Result<i64> {
    let (count,): (i64,) = tx.fetch_one(COUNT_LIVE, args![tenant, now]).await?;
    Ok(count)
}

/// Inserts a token with the hash of its secret.
pub(crate) async fn insert(tx: &mut Tx, tenant: &TenantId, token: &Token, secret_hash: &str) -> Result<()> {
    let Token { id, name, roles, permissions, org_unit_id, created_by, created_at, expires_at, .. } = token;
    let permissions = permissions.as_ref().map(serde_json::to_string).transpose().map_err(Error::internal)?;
    let args = args![
        tenant,
        id,
        name,
        secret_hash,
        serde_json::to_string(roles).map_err(Error::internal)?,
        permissions,
        org_unit_id.as_ref(),
        created_by,
        *created_at,
        *expires_at
    ];
    tx.execute(INSERT, args).await.map(drop)
}

/// Revokes a token; false if it is revoked already or there is none.
pub(crate) async fn revoke(tx: &mut Tx, tenant: &TenantId, id: &TokenId, at: Timestamp) -> Result<bool> {
    Ok(tx.execute(REVOKE, args![tenant, id, at]).await? > 0)
}
