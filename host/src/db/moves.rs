//! Rows of moves of plugins' data from one version to another.

use super::{Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::ids::TenantId;
use crate::error::Result;

statements! {
    // One that another server has left goes on where it stands; one that failed begins again, because
    // the version before has gone on writing since.
    BEGIN = "
        INSERT INTO plugin_moves (tenant, plugin, from_version, to_version, state, epoch, cursor, chunks, writes,
            leased_until, error, started_at, updated_at)
        VALUES ($1, $2, $3, $4, 'running', 1, NULL, 0, 0, $5, NULL, $6, $6)
        ON CONFLICT (tenant, plugin) DO UPDATE
        SET from_version = excluded.from_version, to_version = excluded.to_version, state = 'running',
            epoch = plugin_moves.epoch + 1, leased_until = excluded.leased_until, error = NULL,
            updated_at = excluded.updated_at,
            cursor = CASE WHEN plugin_moves.state = 'running' AND plugin_moves.from_version = excluded.from_version
                AND plugin_moves.to_version = excluded.to_version THEN plugin_moves.cursor END,
            chunks = CASE WHEN plugin_moves.state = 'running' AND plugin_moves.from_version = excluded.from_version
                AND plugin_moves.to_version = excluded.to_version THEN plugin_moves.chunks ELSE 0 END,
            writes = CASE WHEN plugin_moves.from_version = excluded.from_version
                AND plugin_moves.to_version = excluded.to_version THEN plugin_moves.writes ELSE 0 END,
            started_at = CASE WHEN plugin_moves.state = 'running'
                AND plugin_moves.from_version = excluded.from_version
                AND plugin_moves.to_version = excluded.to_version
                THEN plugin_moves.started_at ELSE excluded.started_at END
        WHERE plugin_moves.state <> 'running' OR plugin_moves.leased_until <= $6
        RETURNING epoch, cursor, chunks";
    KEEP = "
        UPDATE plugin_moves
        SET cursor = $4, chunks = chunks + 1, writes = writes + $5, state = $6, leased_until = $7, updated_at = $8
        WHERE tenant = $1 AND plugin = $2 AND epoch = $3 AND state = 'running'";
    FAIL = "
        UPDATE plugin_moves
        SET state = 'failed', error = $4, updated_at = $5
        WHERE tenant = $1 AND plugin = $2 AND epoch = $3 AND state = 'running'";
    FIND = "
        SELECT from_version, to_version, state, chunks, writes, leased_until, error, started_at, updated_at
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
    (from, to): (&str, &str),
    (now, leased_until): (Timestamp, Timestamp),
) -> Result<Option<Taken>> {
    tx.fetch_optional(BEGIN, args![tenant, plugin, from, to, leased_until, now]).await
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
