//! Rows of customers' timelines.

use serde_json::{Map, Value};

use super::filter::{Insert, Select};
use super::sort::{Key, Sort, sort};
use super::{Json, Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::ids::{CustomerId, TenantId, TimelineId, UserId};
use crate::domain::page::{Page, PageRequest};
use crate::domain::query::TimelineFilter;
use crate::domain::timeline::{Category, Direction, TimelineEntry};
use crate::error::Result;

/// The columns of [`EntryRow`].
macro_rules! columns {
    () => {
        "id, customer_id, category, kind, occurred_at, summary, channel, direction, outcome, agent_id, duration_s,
            content, object, device, details, source, external_id, created_at"
    };
}

statements! {
    FIND = concat!("
        SELECT ", columns!(), "
        FROM timeline
        WHERE tenant = $1
          AND customer_id = $2
          AND occurred_at = $3
          AND id = $4");
    FIND_BY_IDENTITY = concat!("
        SELECT ", columns!(), "
        FROM timeline
        WHERE tenant = $1
          AND source = $2
          AND external_id = $3");
    SUMMARY = "
        SELECT channel, COUNT(id) AS contacts, MAX(occurred_at) AS last_at
        FROM timeline
        WHERE tenant = $1
          AND customer_id = $2
          AND category = 'interaction'
        GROUP BY channel
        ORDER BY channel
        LIMIT 1000";
}

const INSERT: Insert = Insert {
    head: "INSERT INTO timeline (tenant, customer_id, occurred_at, id, category, kind, summary, channel, direction,
        outcome, agent_id, duration_s, content, object, device, details, source, external_id, created_at) VALUES",
    columns: 19,
    tail: " ON CONFLICT (tenant, source, external_id) DO NOTHING",
};

#[derive(sqlx::FromRow)]
struct EntryRow {
    id: TimelineId,
    customer_id: CustomerId,
    category: String,
    kind: String,
    occurred_at: Timestamp,
    summary: String,
    channel: Option<String>,
    direction: Option<String>,
    outcome: Option<String>,
    agent_id: Option<UserId>,
    duration_s: Option<i64>,
    content: Option<String>,
    object: Option<String>,
    device: Option<String>,
    details: Json<Map<String, Value>>,
    source: Option<String>,
    external_id: Option<String>,
    created_at: Timestamp,
}

impl From<EntryRow> for TimelineEntry {
    fn from(row: EntryRow) -> Self {
        Self {
            id: row.id,
            customer_id: row.customer_id,
            category: Category::from_stored(&row.category),
            kind: row.kind,
            occurred_at: row.occurred_at,
            summary: row.summary,
            channel: row.channel,
            direction: row.direction.as_deref().map(Direction::from_stored),
            outcome: row.outcome,
            agent_id: row.agent_id,
            duration_s: row.duration_s,
            content: row.content,
            object: row.object,
            device: row.device,
            details: row.details.0,
            source: row.source,
            external_id: row.external_id,
            created_at: row.created_at,
        }
    }
}

/// The entry that a source has stated so.
pub(crate) async fn find_by_identity(
    tx: &mut Tx,
    tenant: &TenantId,
    source: &str,
    external_id: &str,
) -> Result<Option<TimelineEntry>> {
    let row: Option<EntryRow> =
        tx.fetch_optional(FIND_BY_IDENTITY, args![tenant, source, external_id]).await?;
    Ok(row.map(TimelineEntry::from))
}

/// Those of the entries that exist, in no order; the caller bounds the number of ids.
pub(crate) async fn find_many(
    tx: &mut Tx,
    tenant: &TenantId,
    keys: &[(CustomerId, Timestamp, TimelineId)],
) -> Result<Vec<TimelineEntry>> {
    let mut entries = Vec::with_capacity(keys.len());
    for (customer, at, id) in keys {
        let row: Option<EntryRow> = tx.fetch_optional(FIND, args![tenant, customer, *at, id]).await?;
        entries.extend(row.map(TimelineEntry::from));
    }
    Ok(entries)
}

/// Inserts an entry; false if its source has stated it before.
pub(crate) async fn insert(tx: &mut Tx, tenant: &TenantId, entry: &TimelineEntry) -> Result<bool> {
    let args = args![
        tenant,
        &entry.customer_id,
        entry.occurred_at,
        &entry.id,
        entry.category.as_str(),
        &entry.kind,
        &entry.summary,
        entry.channel.as_deref(),
        entry.direction.map(Direction::as_str),
        entry.outcome.as_deref(),
        entry.agent_id.as_ref(),
        entry.duration_s,
        entry.content.as_deref(),
        entry.object.as_deref(),
        entry.device.as_deref(),
        serde_json::to_string(&entry.details).expect("details are plain data"),
        entry.source.as_deref(),
        entry.external_id.as_deref(),
        entry.created_at,
    ];
    Ok(INSERT.run(tx, args).await? > 0)
}

/// A customer's contacts by one channel.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct ContactSum {
    pub(crate) channel: Option<String>,
    pub(crate) contacts: i64,
    pub(crate) last_at: Timestamp,
}

/// How often and when a customer was in contact, per channel.
pub(crate) async fn summarise(
    tx: &mut Tx,
    tenant: &TenantId,
    customer: &CustomerId,
) -> Result<Vec<ContactSum>> {
    tx.fetch_all(SUMMARY, args![tenant, customer]).await
}

/// One page of a customer's timeline, the latest first. Visibility is that of the customer,
/// which the caller has found.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &TenantId,
    customer: &CustomerId,
    filter: &TimelineFilter,
    page: &PageRequest,
) -> Result<Page<TimelineEntry>> {
    const OCCURRED_AT: Key<TimelineEntry> = Key::Number(|entry| entry.occurred_at.as_micros());
    const LATEST_FIRST: Sort<TimelineEntry> = sort!("timeline", OCCURRED_AT, "occurred_at", "id" DESC);
    let TimelineFilter { category, kind, channel, since, until } = filter;
    let mut select = Select::new(
        concat!("SELECT ", columns!(), " FROM timeline WHERE tenant = ? AND customer_id = ?"),
        args![tenant, customer],
    );
    select.push_some(" AND category = ?", category.map(Category::as_str));
    select.push_some(" AND kind = ?", kind.as_deref());
    select.push_some(" AND channel = ?", channel.as_deref());
    select.push_some(" AND occurred_at >= ?", *since);
    select.push_some(" AND occurred_at < ?", *until);
    LATEST_FIRST.push(&mut select, page)?;
    let rows: Vec<EntryRow> = select.fetch_all(tx).await?;
    let rows = rows.into_iter().map(TimelineEntry::from).collect();
    Ok(LATEST_FIRST.page(page, rows, |entry| entry.id.to_string()))
}
