//! Rows that say who a credential belongs to.

use super::{Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::ids::{OrgUnitId, SessionId, TenantId, TokenId, UserId};
use crate::error::Result;

statements! {
    /// Through the directory: the tenant is what is asked for.
    FIND_SESSION = "
        SELECT s.tenant, s.id, s.user_id, s.secret_hash, s.last_used_at, s.expires_at,
            t.state AS tenant_state, t.locale AS tenant_locale
        FROM sessions s
        JOIN tenants t ON t.tenant = s.tenant
        WHERE s.id = $1";
    /// Through the directory: the tenant is what is asked for.
    FIND_TOKEN = "
        SELECT k.tenant, k.id, k.secret_hash, k.roles, k.permissions, k.org_unit_id,
            k.last_used_at, k.expires_at, k.revoked_at,
            t.state AS tenant_state, t.locale AS tenant_locale
        FROM tokens k
        JOIN tenants t ON t.tenant = k.tenant
        WHERE k.id = $1";
    FIND_USER = "
        SELECT u.state, u.locale, u.org_unit_id, o.path AS org_path,
            (SELECT STRING_AGG(r.role, ',') FROM user_roles r WHERE r.tenant = u.tenant AND r.user_id = u.id)
                AS roles
        FROM users u
        LEFT JOIN org_units o ON o.tenant = u.tenant AND o.id = u.org_unit_id
        WHERE u.tenant = $1
          AND u.id = $2";
    FIND_UNIT_PATH = "
        SELECT path
        FROM org_units
        WHERE tenant = $1
          AND id = $2";
    TOUCH_SESSION = "
        UPDATE sessions
        SET last_used_at = $3
        WHERE tenant = $1
          AND id = $2
          AND last_used_at < $3";
    TOUCH_TOKEN = "
        UPDATE tokens
        SET last_used_at = $3
        WHERE tenant = $1
          AND id = $2
          AND (last_used_at IS NULL OR last_used_at < $3)";
    TOKEN_IS_LIVE = "
        SELECT 1
        FROM tokens
        WHERE tenant = $1
          AND id = $2
          AND revoked_at IS NULL
          AND expires_at > $3";
}

/// A session as it is looked up.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct SessionRow {
    pub(crate) tenant: TenantId,
    pub(crate) id: SessionId,
    pub(crate) user_id: UserId,
    pub(crate) secret_hash: String,
    pub(crate) last_used_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) tenant_state: String,
    pub(crate) tenant_locale: String,
}

/// A token as it is looked up.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct TokenRow {
    pub(crate) tenant: TenantId,
    pub(crate) id: TokenId,
    pub(crate) secret_hash: String,
    pub(crate) roles: String,
    pub(crate) permissions: Option<String>,
    pub(crate) org_unit_id: Option<OrgUnitId>,
    pub(crate) last_used_at: Option<Timestamp>,
    pub(crate) expires_at: Timestamp,
    pub(crate) revoked_at: Option<Timestamp>,
    pub(crate) tenant_state: String,
    pub(crate) tenant_locale: String,
}

/// The rights of a user.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct UserRow {
    pub(crate) state: String,
    pub(crate) locale: Option<String>,
    pub(crate) org_unit_id: Option<OrgUnitId>,
    pub(crate) org_path: Option<String>,
    /// Separated by commas.
    pub(crate) roles: Option<String>,
}

/// The session with this id, of any tenant.
pub(crate) async fn find_session(directory: &mut Tx, id: &str) -> Result<Option<SessionRow>> {
    directory.fetch_optional(FIND_SESSION, args![id]).await
}

/// The token with this id, of any tenant.
pub(crate) async fn find_token(directory: &mut Tx, id: &str) -> Result<Option<TokenRow>> {
    directory.fetch_optional(FIND_TOKEN, args![id]).await
}

/// The rights of a user.
pub(crate) async fn find_user(tx: &mut Tx, tenant: &TenantId, id: &UserId) -> Result<Option<UserRow>> {
    tx.fetch_optional(FIND_USER, args![tenant, id]).await
}

/// The path of an org unit.
pub(crate) async fn find_unit_path(tx: &mut Tx, tenant: &TenantId, id: &OrgUnitId) -> Result<Option<String>> {
    let found: Option<(String,)> = tx.fetch_optional(FIND_UNIT_PATH, args![tenant, id]).await?;
    Ok(found.map(|(path,)| path))
}

/// Notes when a session was used.
pub(crate) async fn touch_session(
    tx: &mut Tx,
    tenant: &TenantId,
    id: &SessionId,
    at: Timestamp,
) -> Result<()> {
    tx.execute(TOUCH_SESSION, args![tenant, id, at]).await.map(drop)
}

/// Notes when a token was used.
pub(crate) async fn touch_token(tx: &mut Tx, tenant: &TenantId, id: &TokenId, at: Timestamp) -> Result<()> {
    tx.execute(TOUCH_TOKEN, args![tenant, id, at]).await.map(drop)
}

/// Whether a token is neither revoked nor expired.
pub(crate) async fn token_is_live(
    tx: &mut Tx,
    tenant: &TenantId,
    id: &TokenId,
    now: Timestamp,
) -> Result<bool> {
    let found: Option<(i32,)> = tx.fetch_optional(TOKEN_IS_LIVE, args![tenant, id, now]).await?;
    Ok(found.is_some())
}
