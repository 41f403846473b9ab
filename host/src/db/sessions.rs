//! Rows of sessions.

use super::{Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::ids::{SessionId, TenantId, UserId};
use crate::domain::user::Session;
use crate::error::Result;

statements! {
    INSERT = "
        INSERT INTO sessions (tenant, id, user_id, secret_hash, user_agent, address, created_at, last_used_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    LIST = "
        SELECT id, user_agent, address, created_at, last_used_at, expires_at
        FROM sessions
        WHERE tenant = $1
          AND user_id = $2
          AND expires_at > $3
          AND last_used_at > $4
          AND id > $5
        ORDER BY id
        LIMIT $6";
    DELETE = "
        DELETE FROM sessions
        WHERE tenant = $1
          AND user_id = $2
          AND id = $3";
    DELETE_OTHERS = "
        DELETE FROM sessions
        WHERE tenant = $1
          AND user_id = $2
          AND id <> $3";
    DELETE_OVER = "
        DELETE FROM sessions
        WHERE tenant = $1
          AND user_id = $2
          AND (expires_at <= $3 OR last_used_at <= $4
            OR id NOT IN (
                SELECT s.id
                FROM sessions s
                WHERE s.tenant = $1
                  AND s.user_id = $2
                ORDER BY s.id DESC
                LIMIT $5))";
}

/// A session with whose it is and the hash of its secret.
#[derive(Clone, Debug)]
pub(crate) struct NewSession {
    pub(crate) user: UserId,
    pub(crate) secret_hash: String,
    pub(crate) session: Session,
}

#[derive(sqlx::FromRow)]
struct SessionRow {
    id: SessionId,
    user_agent: Option<String>,
    address: Option<String>,
    created_at: Timestamp,
    last_used_at: Timestamp,
    expires_at: Timestamp,
}

impl From<SessionRow> for Session {
    fn from(row: SessionRow) -> Self {
        let SessionRow { id, user_agent, address, created_at, last_used_at, expires_at } = row;
        Self { id, user_agent, address, created_at, last_used_at, expires_at }
    }
}

/// Inserts a session.
pub(crate) async fn insert(tx: &mut Tx, tenant: &TenantId, new: &NewSession) -> Result<()> {
    let NewSession { user, secret_hash, session } = new;
    let Session { id, user_agent, address, created_at, last_used_at, expires_at } = session;
    let args = args![
        tenant,
        id,
        user,
        secret_hash,
        user_agent.as_deref(),
        address.as_deref(),
        *created_at,
        *last_used_at,
        *expires_at
    ];
    tx.execute(INSERT, args).await.map(drop)
}

/// Which sessions are still good, and where the page begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live<'a> {
    pub(crate) now: Timestamp,
    /// Those that were not used since are over.
    pub(crate) idle_since: Timestamp,
    pub(crate) after: &'a str,
    pub(crate) limit: i64,
}

/// The next sessions of a user that are not over, by id.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &TenantId,
    user: &UserId,
    live: Live<'_>,
) -> Result<Vec<Session>> {
    let Live { now, idle_since, after, limit } = live;
    let rows: Vec<SessionRow> =
        tx.fetch_all(LIST, args![tenant, user, now, idle_since, after, limit]).await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Ends a session of a user; false if there is none.
pub(crate) async fn delete(tx: &mut Tx, tenant: &TenantId, user: &UserId, id: &SessionId) -> Result<bool> {
    Ok(tx.execute(DELETE, args![tenant, user, id]).await? > 0)
}

/// Ends all sessions of a user but one.
pub(crate) async fn delete_others(
    tx: &mut Tx,
    tenant: &TenantId,
    user: &UserId,
    kept: Option<&SessionId>,
) -> Result<()> {
    let kept = kept.map_or("", SessionId::as_str);
    tx.execute(DELETE_OTHERS, args![tenant, user, kept]).await.map(drop)
}

/// Ends the sessions of a user that are over, and the oldest beyond `kept`.
pub(crate) async fn delete_over(tx: &mut Tx, tenant: &TenantId, user: &UserId, live: Live<'_>) -> Result<()> {
    let Live { now, idle_since, after: _, limit } = live;
    tx.execute(DELETE_OVER, args![tenant, user, now, idle_since, limit]).await.map(drop)
}
