//! Rows of the audit log.

use super::filter::Insert;
use super::{Arg, Json, Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::actor::Actor;
use crate::domain::audit::{Entry, Line};
use crate::domain::ids::{AuditId, TenantId};
use crate::error::Result;

statements! {
    INSERT = "
        INSERT INTO audit (tenant, id, at, actor_kind, actor_id, via_plugin, action, entity, record, changes, request_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    LIST = "
        SELECT id, at, actor_kind, actor_id, via_plugin, action, entity, record, changes, request_id
        FROM audit
        WHERE tenant = $1
          AND id < $2
          AND ($3 = '' OR entity = $3)
          AND ($4 = '' OR record = $4)
          AND ($5 = '' OR actor_id = $5)
        ORDER BY id DESC
        LIMIT $6";
}

/// Which lines a list has; empty texts mean all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Filter<'a> {
    pub(crate) entity: &'a str,
    pub(crate) record: &'a str,
    pub(crate) actor: &'a str,
}

#[derive(sqlx::FromRow)]
struct LineRow {
    id: AuditId,
    at: Timestamp,
    actor_kind: String,
    actor_id: String,
    via_plugin: Option<String>,
    action: String,
    entity: String,
    record: String,
    changes: Json<serde_json::Value>,
    request_id: Option<String>,
}

impl From<LineRow> for Line {
    fn from(row: LineRow) -> Self {
        let LineRow { id, at, actor_kind, actor_id, via_plugin, action, entity, record, changes, request_id } =
            row;
        let Json(changes) = changes;
        Self { id, at, actor_kind, actor_id, via_plugin, action, entity, record, changes, request_id }
    }
}

/// The lines before the line `before`, the newest first.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &TenantId,
    filter: Filter<'_>,
    before: &str,
    limit: i64,
) -> Result<Vec<Line>> {
    let Filter { entity, record, actor } = filter;
    let rows: Vec<LineRow> = tx.fetch_all(LIST, args![tenant, before, entity, record, actor, limit]).await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

const INSERT_MANY: Insert = Insert {
    head:
        "INSERT INTO audit (tenant, id, at, actor_kind, actor_id, via_plugin, action, entity, record, changes,
        request_id) VALUES",
    columns: 11,
    tail: "",
};

/// Inserts a line.
pub(crate) async fn insert(tx: &mut Tx, actor: &Actor, at: Timestamp, entry: &Entry) -> Result<()> {
    tx.execute(INSERT, row(actor, at, entry)).await.map(drop)
}

/// Inserts the lines of several changes that one actor makes at one time.
pub(crate) async fn insert_many(tx: &mut Tx, actor: &Actor, at: Timestamp, entries: &[&Entry]) -> Result<()> {
    let rows = entries.iter().flat_map(|entry| row(actor, at, entry)).collect();
    INSERT_MANY.run(tx, rows).await.map(drop)
}

fn row(actor: &Actor, at: Timestamp, entry: &Entry) -> Vec<Arg> {
    let Entry { id, action, entity, record, changes } = entry;
    args![
        &actor.tenant,
        id,
        at,
        actor.principal.kind(),
        actor.principal.id(),
        actor.via_plugin.as_deref(),
        *action,
        *entity,
        record,
        changes,
        actor.request_id.as_deref(),
    ]
}
