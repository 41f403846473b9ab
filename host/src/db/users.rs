//! Rows of users and their roles.

use super::{OnConstraint as _, Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::actor::Locale;
use crate::domain::code::Reason;
use crate::domain::ids::{OrgUnitId, TenantId, UserId};
use crate::domain::permission::Role;
use crate::domain::user::{User, UserState};
use crate::error::{Error, Result};

statements! {
    FIND = "
        SELECT u.id, u.login, u.name, u.state, u.org_unit_id, u.locale, u.version, u.created_at, u.updated_at,
            (SELECT STRING_AGG(r.role, ',') FROM user_roles r WHERE r.tenant = u.tenant AND r.user_id = u.id)
                AS roles
        FROM users u
        WHERE u.tenant = $1
          AND u.id = $2";
    FIND_PASSWORD = "
        SELECT id, password_hash, state
        FROM users
        WHERE tenant = $1
          AND login = $2";
    FIND_PASSWORD_BY_ID = "
        SELECT id, password_hash, state
        FROM users
        WHERE tenant = $1
          AND id = $2";
    LIST = "
        SELECT u.id, u.login, u.name, u.state, u.org_unit_id, u.locale, u.version, u.created_at, u.updated_at,
            (SELECT STRING_AGG(r.role, ',') FROM user_roles r WHERE r.tenant = u.tenant AND r.user_id = u.id)
                AS roles
        FROM users u
        WHERE u.tenant = $1
          AND u.id > $2
          AND ($3 = '' OR u.state = $3)
          AND ($4 = '' OR u.org_unit_id = $4)
          AND ($5 = '' OR u.login = $5)
        ORDER BY u.id
        LIMIT $6";
    INSERT = "
        INSERT INTO users (tenant, id, login, name, password_hash, state, org_unit_id, locale, version,
            created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    UPDATE = "
        UPDATE users
        SET name = $3, state = $4, org_unit_id = $5, locale = $6, version = $7, updated_at = $8
        WHERE tenant = $1
          AND id = $2
          AND version = $7 - 1";
    SET_PASSWORD = "
        UPDATE users
        SET password_hash = $3, version = version + 1, updated_at = $4
        WHERE tenant = $1
          AND id = $2";
    REHASH_PASSWORD = "
        UPDATE users
        SET password_hash = $4
        WHERE tenant = $1
          AND id = $2
          AND password_hash = $3";
    DELETE_ROLES = "
        DELETE FROM user_roles
        WHERE tenant = $1
          AND user_id = $2";
    INSERT_ROLE = "
        INSERT INTO user_roles (tenant, user_id, role)
        VALUES ($1, $2, $3)";
    HAS_ACTIVE_OWNER = "
        SELECT 1
        FROM user_roles r
        JOIN users u ON u.tenant = r.tenant AND u.id = r.user_id
        WHERE r.tenant = $1
          AND r.role = 'owner'
          AND u.state = 'active'
        LIMIT 1";
}

#[derive(sqlx::FromRow)]
struct UserRow {
    id: UserId,
    login: String,
    name: String,
    state: String,
    org_unit_id: Option<OrgUnitId>,
    locale: Option<String>,
    version: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// Separated by commas.
    roles: Option<String>,
}

impl UserRow {
    fn into_user(self) -> Result<User> {
        let Self { id, login, name, state, org_unit_id, locale, version, created_at, updated_at, roles } =
            self;
        let names = roles.as_deref().unwrap_or_default().split(',').filter(|name| !name.is_empty());
        let mut roles = names.map(str::parse).collect::<Result<Vec<Role>, _>>().map_err(Error::internal)?;
        roles.sort();
        Ok(User {
            id,
            version,
            login,
            name,
            state: UserState::from_stored(&state),
            roles,
            org_unit_id,
            locale: locale.as_deref().map(Locale::from_tag),
            created_at,
            updated_at,
        })
    }
}

/// What signing in compares with.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct PasswordRow {
    pub(crate) id: UserId,
    pub(crate) password_hash: String,
    pub(crate) state: String,
}

/// Which users a list has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter<'a> {
    pub(crate) state: &'a str,
    pub(crate) org_unit: &'a str,
    pub(crate) login: &'a str,
}

/// A user.
pub(crate) async fn find(tx: &mut Tx, tenant: &TenantId, id: &UserId) -> Result<Option<User>> {
    let row: Option<UserRow> = tx.fetch_optional(FIND, args![tenant, id]).await?;
    row.map(UserRow::into_user).transpose()
}

/// The password of the user who signs in as `login`.
pub(crate) async fn find_password(
    tx: &mut Tx,
    tenant: &TenantId,
    login: &str,
) -> Result<Option<PasswordRow>> {
    tx.fetch_optional(FIND_PASSWORD, args![tenant, login]).await
}

/// The password of a user.
pub(crate) async fn find_password_by_id(
    tx: &mut Tx,
    tenant: &TenantId,
    id: &UserId,
) -> Result<Option<PasswordRow>> {
    tx.fetch_optional(FIND_PASSWORD_BY_ID, args![tenant, id]).await
}

/// The next users by id; empty texts of the filter mean all.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &TenantId,
    filter: Filter<'_>,
    after: &str,
    limit: i64,
) -> Result<Vec<User>> {
    let Filter { state, org_unit, login } = filter;
    let rows: Vec<UserRow> = tx.fetch_all(LIST, args![tenant, after, state, org_unit, login, limit]).await?;
    rows.into_iter().map(UserRow::into_user).collect()
}

/// Inserts a user with their roles; a conflict if the login is taken.
pub(crate) async fn insert(tx: &mut Tx, tenant: &TenantId, user: &User, password_hash: &str) -> Result<()> {
    let User { id, version, login, name, state, roles, org_unit_id, locale, created_at, updated_at } = user;
    let args = args![
        tenant,
        id,
        login,
        name,
        password_hash,
        state.as_str(),
        org_unit_id.as_ref(),
        locale.map(Locale::as_str),
        *version,
        *created_at,
        *updated_at
    ];
    tx.execute(INSERT, args)
        .await
        .on_unique(|| Error::conflict(Reason::AlreadyExists, format!("a user `{login}` exists already")))?;
    insert_roles(tx, tenant, id, roles).await
}

/// Writes a user whose version has grown by one; false if they were changed meanwhile.
pub(crate) async fn update(tx: &mut Tx, tenant: &TenantId, user: &User) -> Result<bool> {
    let User { id, version, login: _, name, state, roles, org_unit_id, locale, created_at: _, updated_at } =
        user;
    let args = args![
        tenant,
        id,
        name,
        state.as_str(),
        org_unit_id.as_ref(),
        locale.map(Locale::as_str),
        *version,
        *updated_at
    ];
    if tx.execute(UPDATE, args).await? == 0 {
        return Ok(false);
    }
    tx.execute(DELETE_ROLES, args![tenant, id]).await?;
    insert_roles(tx, tenant, id, roles).await?;
    Ok(true)
}

/// Keeps a user's password in another form; nothing happens if it is no longer kept as `before`.
pub(crate) async fn rehash_password(
    tx: &mut Tx,
    tenant: &TenantId,
    id: &UserId,
    (before, after): (&str, &str),
) -> Result<()> {
    tx.execute(REHASH_PASSWORD, args![tenant, id, before, after]).await.map(drop)
}

/// Gives a user another password.
pub(crate) async fn set_password(
    tx: &mut Tx,
    tenant: &TenantId,
    id: &UserId,
    hash: &str,
    at: Timestamp,
) -> Result<()> {
    tx.execute(SET_PASSWORD, args![tenant, id, hash, at]).await.map(drop)
}

/// Whether an owner of the tenant may sign in.
pub(crate) async fn has_active_owner(tx: &mut Tx, tenant: &TenantId) -> Result<bool> {
    let found: Option<(i32,)> = tx.fetch_optional(HAS_ACTIVE_OWNER, args![tenant]).await?;
    Ok(found.is_some())
}

async fn insert_roles(tx: &mut Tx, tenant: &TenantId, id: &UserId, roles: &[Role]) -> Result<()> {
    for role in roles {
        tx.execute(INSERT_ROLE, args![tenant, id, role.as_str()]).await?;
    }
    Ok(())
}
