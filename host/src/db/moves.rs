//! Rows of moves of plugins' data from one version to another.

use serde_json::Value;

use super::{Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::ids::TenantId;
use crate::error::Result;

statements! {
    // One that another server has left goes on where it stands; one that failed begins again, because
    // the version before has gone on writing since. With an error nobody is at it: it waits for another try or
    // for the calendar, and whoever asks need not wait as long.
    BEGIN = "
        INSERT INTO plugin_moves (tenant, plugin, from_version, to_version, state, epoch, cursor, chunks, writes,
            leased_until, attempts, error, started_at, updated_at)
        VALUES ($1, $2, $3, $4, 'running', 1, NULL, 0, 0, $5, 1, NULL, $6, $6)
        ON CONFLICT (tenant, plugin) DO UPDATE
        SET from_version = excluded.from_version, to_version = excluded.to_version, state = 'running',
            epoch = plugin_moves.epoch + 1, leased_until = excluded.leased_until, error = NULL,
            updated_at = excluded.updated_at,
            cursor = CASE WHEN plugin_moves.state = 'running' AND plugin_moves.from_version = excluded.from_version
                AND plugin_moves.to_version = excluded.to_version THEN plugin_moves.cursor END,
            attempts = CASE WHEN plugin_moves.state = 'running' AND plugin_moves.from_version = excluded.from_version
                AND plugin_moves.to_version = excluded.to_version THEN plugin_moves.attempts + 1 ELSE 1 END,
            chunks = CASE WHEN plugin_moves.state = 'running' AND plugin_moves.from_version = excluded.from_version
                AND plugin_moves.to_version = excluded.to_version THEN plugin_moves.chunks ELSE 0 END,
            writes = CASE WHEN plugin_moves.from_version = excluded.from_version
                AND plugin_moves.to_version = excluded.to_version THEN plugin_moves.writes ELSE 0 END,
            started_at = CASE WHEN plugin_moves.state = 'running'
                AND plugin_moves.from_version = excluded.from_version
                AND plugin_moves.to_version = excluded.to_version
                THEN plugin_moves.started_at ELSE excluded.started_at END
        WHERE plugin_moves.state <> 'running' OR plugin_moves.leased_until <= $6 OR plugin_moves.error IS NOT NULL
        RETURNING epoch, cursor, chunks, attempts";
    WANT = "
        UPDATE plugin_enablements
        SET moving_to = $3
        WHERE tenant = $1 AND plugin = $2";
    WANTED = "
        SELECT moving_to
        FROM plugin_enablements
        WHERE tenant = $1 AND plugin = $2 AND moving_to IS NOT NULL";
    // Those whose server has gone, and those that failed a while ago.
    DUE = "
        SELECT tenant, plugin
        FROM plugin_moves
        WHERE state = 'running' AND leased_until <= $1
        ORDER BY leased_until, tenant, plugin
        LIMIT $2";
    RETRY = "
        UPDATE plugin_moves
        SET leased_until = $4, error = $5, updated_at = $6
        WHERE tenant = $1 AND plugin = $2 AND epoch = $3 AND state = 'running'";
    // To wait is no attempt.
    HOLD = "
        UPDATE plugin_moves
        SET attempts = 0, leased_until = $4, error = $5, updated_at = $6
        WHERE tenant = $1 AND plugin = $2 AND epoch = $3 AND state = 'running'";
    GIVE_UP = "
        UPDATE plugin_moves
        SET state = 'failed', error = COALESCE($3, error), updated_at = $4
        WHERE tenant = $1 AND plugin = $2 AND state = 'running' AND leased_until <= $4";
    KEEP = "
        UPDATE plugin_moves
        SET attempts = 0, cursor = $4, chunks = chunks + 1, writes = writes + $5, state = $6, leased_until = $7, updated_at = $8
        WHERE tenant = $1 AND plugin = $2 AND epoch = $3 AND state = 'running'";
    FAIL = "
        UPDATE plugin_moves
        SET state = 'failed', error = $4, updated_at = $5
        WHERE tenant = $1 AND plugin = $2 AND epoch = $3 AND state = 'running'";
    FIND = "
        SELECT from_version, to_version, state, chunks, writes, leased_until, attempts, error, started_at, updated_at
        FROM plugin_moves
        WHERE tenant = $1 AND plugin = $2";
}

/// A move that this server has taken up.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Taken {
    /// Which taking of it this is; a later one ends this.
    pub(crate) epoch: i64,
    /// Where the last chunk ended; nothing at the beginning.
    pub(crate) cursor: Option<String>,
    /// Chunks that are done.
    pub(crate) chunks: i64,
    /// Takings since a chunk was last done, this one included.
    pub(crate) attempts: i64,
}

/// A move as it is kept.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct MoveRow {
    pub(crate) from_version: String,
    pub(crate) to_version: String,
    pub(crate) state: String,
    pub(crate) chunks: i64,
    pub(crate) writes: i64,
    pub(crate) leased_until: Timestamp,
    pub(crate) attempts: i64,
    pub(crate) error: Option<String>,
    pub(crate) started_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// A chunk that is done.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) epoch: i64,
    /// Where the next one begins; nothing after the last.
    pub(crate) cursor: Option<String>,
    /// Whether it has changed anything.
    pub(crate) wrote: bool,
    pub(crate) at: Timestamp,
    pub(crate) leased_until: Timestamp,
}

/// Takes up a move between two versions; nothing if another server is at one of this plugin.
pub(crate) async fn begin(
    tx: &mut Tx,
    tenant: &TenantId,
    plugin: &str,
    (from, to, wanted): (&str, &str, &Value),
    (now, leased_until): (Timestamp, Timestamp),
) -> Result<Option<Taken>> {
    let args = args![tenant, plugin, from, to, leased_until, now];
    let Some(taken) = tx.fetch_optional(BEGIN, args).await? else { return Ok(None) };
    tx.execute(WANT, args![tenant, plugin, wanted]).await?;
    Ok(Some(taken))
}

/// What a move is on the way to, as JSON.
pub(crate) async fn wanted(tx: &mut Tx, tenant: &TenantId, plugin: &str) -> Result<Option<String>> {
    let row: Option<(String,)> = tx.fetch_optional(WANTED, args![tenant, plugin]).await?;
    Ok(row.map(|(wanted,)| wanted))
}

/// Moves that nobody is at, of all tenants.
pub(crate) async fn due(tx: &mut Tx, now: Timestamp, limit: u32) -> Result<Vec<(TenantId, String)>> {
    tx.fetch_all(DUE, args![now, limit]).await
}

/// Lets a move be taken up again at `retry_at`, unless somebody else has taken it up.
pub(crate) async fn retry(
    tx: &mut Tx,
    tenant: &TenantId,
    plugin: &str,
    (epoch, retry_at, error, at): (i64, Timestamp, &str, Timestamp),
) -> Result<()> {
    tx.execute(RETRY, args![tenant, plugin, epoch, retry_at, error, at]).await.map(drop)
}

/// Lets a move wait until it is looked at again, unless somebody else has taken it up.
pub(crate) async fn hold(
    tx: &mut Tx,
    tenant: &TenantId,
    plugin: &str,
    (epoch, until, reason, at): (i64, Timestamp, &str, Timestamp),
) -> Result<()> {
    tx.execute(HOLD, args![tenant, plugin, epoch, until, reason, at]).await.map(drop)
}

/// Gives up a move that nobody is at, for this reason or that of the last attempt.
pub(crate) async fn give_up(
    tx: &mut Tx,
    tenant: &TenantId,
    plugin: &str,
    (error, at): (Option<&str>, Timestamp),
) -> Result<()> {
    tx.execute(GIVE_UP, args![tenant, plugin, error, at]).await.map(drop)
}

/// Notes a chunk; false if somebody else has taken the move up meanwhile.
pub(crate) async fn keep(tx: &mut Tx, tenant: &TenantId, plugin: &str, chunk: &Chunk) -> Result<bool> {
    let Chunk { epoch, cursor, wrote, at, leased_until } = chunk;
    let state = if cursor.is_some() { "running" } else { "done" };
    let args = args![tenant, plugin, *epoch, cursor.as_deref(), i64::from(*wrote), state, *leased_until, *at];
    Ok(tx.execute(KEEP, args).await? == 1)
}

/// Notes why a move has failed, unless somebody else has taken it up.
pub(crate) async fn fail(
    tx: &mut Tx,
    tenant: &TenantId,
    plugin: &str,
    (epoch, error, at): (i64, &str, Timestamp),
) -> Result<()> {
    tx.execute(FAIL, args![tenant, plugin, epoch, error, at]).await.map(drop)
}

/// The last move of a plugin's data.
pub(crate) async fn find(tx: &mut Tx, tenant: &TenantId, plugin: &str) -> Result<Option<MoveRow>> {
    tx.fetch_optional(FIND, args![tenant, plugin]).await
}
