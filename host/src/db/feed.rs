//! Rows of the change feed: events in the order of their positions, up to where every transaction has ended.

use serde_json::Value;

use super::{Json, Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::ids::{EventId, TenantId};
use crate::error::Result;

statements! {
    // Below the horizon nothing new will appear. SQLite commits in the order of
    // positions; on PostgreSQL a position is the number of a transaction, and all
    // below `xmin` have ended.
    HORIZON = split(
        "SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0) + 1 AS position",
        "SELECT c.generation * 1099511627776
            + CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT) AS position
        FROM event_clusters c"
    );
    PURGED = "SELECT position, event FROM event_purges WHERE tenant = $1";
    PAGE = "
        SELECT position, id, name, subject_kind, subject_id, occurred_at, actor_kind, actor_id, cause, depth, body
        FROM events
        WHERE tenant = $1
          AND (position, id) > ($2, $3)
          AND position < $4
          AND backfill_for IS NULL
        ORDER BY position, id
        LIMIT $5";
    // A list is one JSON array, which each engine unfolds in its own way.
    PAGE_OF_NAMES = split(
        "SELECT position, id, name, subject_kind, subject_id, occurred_at, actor_kind, actor_id, cause, depth, body
        FROM events
        WHERE tenant = $1
          AND (position, id) > ($2, $3)
          AND position < $4
          AND backfill_for IS NULL
          AND name IN (SELECT value FROM json_each($6))
        ORDER BY position, id
        LIMIT $5",
        "SELECT position, id, name, subject_kind, subject_id, occurred_at, actor_kind, actor_id, cause, depth, body
        FROM events
        WHERE tenant = $1
          AND (position, id) > ($2, $3)
          AND position < $4
          AND backfill_for IS NULL
          AND name IN (SELECT json_array_elements_text(CAST($6 AS JSON)))
        ORDER BY position, id
        LIMIT $5"
    );
    FIND = "
        SELECT position, id, name, subject_kind, subject_id, occurred_at, actor_kind, actor_id, cause, depth, body
        FROM events
        WHERE tenant = $1
          AND id = $2
          AND backfill_for IS NULL";
    OLD = "
        SELECT position, id, occurred_at
        FROM events
        WHERE tenant = $1
          AND (position, id) > ($2, $3)
          AND position < $4
        ORDER BY position, id
        LIMIT $5";
    SET_PURGED = "
        INSERT INTO event_purges (tenant, position, event)
        VALUES ($1, $2, $3)
        ON CONFLICT (tenant) DO UPDATE SET position = excluded.position, event = excluded.event";
    // Events that somebody has still to handle stay, but the feed no longer shows them.
    DELETE_PURGED = "
        DELETE FROM events
        WHERE tenant = $1
          AND (position, id) <= ($2, $3)
          AND NOT EXISTS (
            SELECT 1
            FROM lanes l
            CROSS JOIN deliveries d
            WHERE l.tenant = events.tenant
              AND d.tenant = l.tenant
              AND d.consumer = l.consumer
              AND d.state IN ('ready', 'dead')
              AND d.position IN (0, events.position)
              AND d.event = events.id)";
    TENANTS = "SELECT tenant FROM tenants WHERE tenant > $1 ORDER BY tenant LIMIT $2";
    // SQLite's positions are rows of the file itself, wherever it is copied.
    THIS_CLUSTER = split(
        "SELECT '' AS cluster",
        "SELECT CAST(system_identifier AS TEXT) AS cluster FROM pg_control_system()"
    );
    SET_CLUSTER = "UPDATE event_clusters SET cluster = $1, generation = generation + 1 WHERE cluster <> $1";
    // Old snapshots exist on PostgreSQL alone: SQLite has one writer. `age` counts
    // back from the next transaction, so that the wrap of its 32 bits does not matter.
    OLDER_SNAPSHOTS = split(
        "SELECT 0 AS count WHERE $1 IS NOT NULL",
        "SELECT COUNT(*) AS count
        FROM pg_stat_activity
        WHERE backend_xmin IS NOT NULL
          AND pid <> pg_backend_pid()
          AND datname = current_database()
          AND usesysid = (SELECT s.usesysid FROM pg_stat_activity s WHERE s.pid = pg_backend_pid())
          AND age(backend_xmin) > age(CAST(CAST(MOD(CAST($1 AS BIGINT), 4294967296) AS TEXT) AS XID))"
    );
    // The number that the next transaction will have.
    NEXT_TRANSACTION = split(
        "SELECT 0 AS position",
        "SELECT CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS TEXT) AS BIGINT) AS position"
    );
}

/// A place in the feed: after the event `event` at `position`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, sqlx::FromRow)]
pub(crate) struct Place {
    pub(crate) position: i64,
    pub(crate) event: String,
}

#[derive(sqlx::FromRow)]
struct PositionRow {
    position: i64,
}

/// The position below which nothing new will appear.
pub(crate) async fn horizon(tx: &mut Tx) -> Result<i64> {
    let row: PositionRow = tx.fetch_one(HORIZON, args![]).await?;
    Ok(row.position)
}

/// Up to where a tenant's feed has been purged; `None` if it never was.
pub(crate) async fn purged(tx: &mut Tx, tenant: &TenantId) -> Result<Option<Place>> {
    tx.fetch_optional(PURGED, args![tenant]).await
}

/// An event of the feed.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct FeedRow {
    pub(crate) position: i64,
    pub(crate) id: EventId,
    pub(crate) name: String,
    pub(crate) subject_kind: String,
    pub(crate) subject_id: String,
    pub(crate) occurred_at: Timestamp,
    pub(crate) actor_kind: String,
    pub(crate) actor_id: String,
    pub(crate) cause: Option<String>,
    pub(crate) depth: i64,
    pub(crate) body: Json<Value>,
}

/// The events after `after` and below `horizon`, of some names or of all.
///
/// `horizon` must have been read before, and outside a transaction that would
/// still see the state of then.
pub(crate) async fn page(
    tx: &mut Tx,
    tenant: &TenantId,
    (after, horizon): (&Place, i64),
    limit: u32,
    names: Option<&[&str]>,
) -> Result<Vec<FeedRow>> {
    let Place { position, event } = after;
    let mut args = args![tenant, *position, event, horizon, limit];
    match names {
        None => tx.fetch_all(PAGE, args).await,
        Some(names) => {
            args.push(Value::from(names.to_vec()).into());
            tx.fetch_all(PAGE_OF_NAMES, args).await
        }
    }
}

/// One event, if it is still kept.
pub(crate) async fn find(tx: &mut Tx, tenant: &TenantId, id: &EventId) -> Result<Option<FeedRow>> {
    tx.fetch_optional(FIND, args![tenant, id]).await
}

/// An event as the purge sees it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct OldRow {
    pub(crate) position: i64,
    pub(crate) id: EventId,
    pub(crate) occurred_at: Timestamp,
}

/// The first events after `after` and below `horizon`.
pub(crate) async fn oldest(
    tx: &mut Tx,
    tenant: &TenantId,
    after: &Place,
    horizon: i64,
    limit: u32,
) -> Result<Vec<OldRow>> {
    tx.fetch_all(OLD, args![tenant, after.position, &after.event, horizon, limit]).await
}

/// Moves the beginning of a tenant's feed behind `through`, and deletes what is before and nobody waits for.
pub(crate) async fn purge(tx: &mut Tx, tenant: &TenantId, through: &Place) -> Result<u64> {
    let args = args![tenant, through.position, &through.event];
    tx.execute(SET_PURGED, args.clone()).await?;
    tx.execute(DELETE_PURGED, args).await
}

#[derive(sqlx::FromRow)]
struct ClusterRow {
    cluster: String,
}

#[derive(sqlx::FromRow)]
struct TenantRow {
    tenant: TenantId,
}

/// The tenants after `after`. Through the directory.
pub(crate) async fn tenants(tx: &mut Tx, after: &str, limit: u32) -> Result<Vec<TenantId>> {
    let rows: Vec<TenantRow> = tx.fetch_all(TENANTS, args![after, limit]).await?;
    Ok(rows.into_iter().map(|row| row.tenant).collect())
}

/// Begins a new generation of positions if the database has moved to another cluster; true if it has.
pub(crate) async fn adopt_cluster(tx: &mut Tx) -> Result<bool> {
    let ClusterRow { cluster } = tx.fetch_one(THIS_CLUSTER, args![]).await?;
    Ok(tx.execute(SET_CLUSTER, args![cluster]).await? > 0)
}

/// The number of the next transaction: one that has committed before this has a lower one.
pub(crate) async fn next_transaction(tx: &mut Tx) -> Result<i64> {
    let row: PositionRow = tx.fetch_one(NEXT_TRANSACTION, args![]).await?;
    Ok(row.position)
}

#[derive(sqlx::FromRow)]
struct CountRow {
    count: i64,
}

/// Whether a transaction is under way that does not see what `transaction` was the next after.
pub(crate) async fn has_older_snapshots(tx: &mut Tx, transaction: i64) -> Result<bool> {
    let row: CountRow = tx.fetch_one(OLDER_SNAPSHOTS, args![transaction]).await?;
    Ok(row.count > 0)
}
