//! `timeline`: what has happened with a customer, and what the plugin adds to it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hospes_bindings::hospes::plugin::timeline::{Entry, Search};
use hospes_bindings::hospes::plugin::types;
use serde_json::Value;

use super::customers::{below, customer_id};
use super::{Access, Answered, Invocation, invalid, json, shown};
use crate::clock::Timestamp;
use crate::domain::grant::Grant;
use crate::domain::ids::CustomerId;
use crate::domain::page::PageRequest;
use crate::domain::query::TimelineFilter;
use crate::domain::timeline::{NewEntry, NewPluginEntry, TimelineEntry};
use crate::ops::timeline;
use crate::plugin::registry::Enabled;

const ENTRIES_MAX: usize = 200;
const DETAILS_BYTES_MAX: usize = 16 * 1_024;

/// Where an entry stands: the latest first, ties by id.
type Position = (i64, String);

impl Invocation {
    pub(super) async fn timeline_append(&mut self, entries: Vec<Entry>) -> Answered<()> {
        self.enter(Grant::TimelineWrite, "timeline.append-many", Access::Write(entries.len()), ENTRIES_MAX)?;
        let mut changes = Vec::with_capacity(entries.len());
        for (position, entry) in entries.into_iter().enumerate() {
            let customer = customer_id(&entry.customer)?;
            let pointer = format!("/{position}/details");
            let Value::Object(details) = json::parse(&pointer, &entry.details, DETAILS_BYTES_MAX)? else {
                return Err(invalid(pointer, "not_an_object", "details are a JSON object"));
            };
            let new = NewEntry::Plugin(NewPluginEntry {
                plugin: self.enabled.plugin.to_string(),
                kind: entry.kind,
                occurred_at: Timestamp::from_micros(entry.occurred_at),
                summary: entry.summary,
                details,
                external_id: entry.external_id,
            });
            let pending = &self.buffer.pending;
            let change = timeline::prepare_append(&self.core, &self.actor, &customer, new, pending).await;
            changes.push(change.map_err(|error| below(position, error))?);
        }
        self.buffer.timeline_changes.extend(changes);
        Ok(())
    }

    pub(super) async fn timeline_query(&mut self, search: Search) -> Answered<types::EntityPage> {
        let limit = usize::try_from(search.limit).unwrap_or(usize::MAX);
        self.enter(Grant::TimelineRead, "timeline.query", Access::Read(limit), ENTRIES_MAX)?;
        if search.limit == 0 {
            return Err(invalid("/limit", "limit", format!("a page has 1 to {ENTRIES_MAX} entries")));
        }
        let customer = customer_id(&search.customer)?;
        let (cursor, after) = match search.cursor.as_deref().map(read_cursor).transpose()? {
            Some((cursor, after)) => (Some(cursor), Some(after)),
            None => (None, None),
        };
        let filter = TimelineFilter { kind: search.kind, ..TimelineFilter::default() };
        let own = self.own_entries(&customer, &filter, after.as_ref());
        let rows = search.limit.saturating_sub(u32::try_from(own.len()).unwrap_or(u32::MAX)).max(1);
        let page = PageRequest::new(Some(rows), cursor);
        let page = timeline::list(&self.core, &self.actor, &customer, &filter, &page).await?;
        let last = page.items.last().map(position);
        let is_last = page.next_cursor.is_none();
        let own = own.into_iter().filter(|entry| is_last || Some(position(entry)) >= last);
        let mut found: Vec<TimelineEntry> = page.items.into_iter().chain(own).collect();
        found.sort_by_cached_key(|entry| std::cmp::Reverse(position(entry)));
        let cursor = page.next_cursor.zip(last).map(|(cursor, last)| write_cursor(&cursor, &last));
        let seen = found.iter().filter(|entry| sees(&self.enabled, entry));
        let entities = seen.map(|entry| entity(self, entry)).collect();
        Ok(types::EntityPage { entities, cursor })
    }

    /// Entries that this invocation has added, behind `after`.
    fn own_entries(
        &self,
        customer: &CustomerId,
        filter: &TimelineFilter,
        after: Option<&Position>,
    ) -> Vec<TimelineEntry> {
        let own = self.buffer.timeline_changes.iter().map(timeline::TimelineChange::entry);
        let own = own.filter(|entry| {
            entry.customer_id == *customer
                && filter.kind.as_ref().is_none_or(|kind| *kind == entry.kind)
                && after.is_none_or(|after| position(entry) < *after)
        });
        own.cloned().collect()
    }
}

fn position(entry: &TimelineEntry) -> Position {
    (entry.occurred_at.as_micros(), entry.id.to_string())
}

/// Whether the grant opens entries of this category; a plugin sees its own ones always.
fn sees(enabled: &Enabled, entry: &TimelineEntry) -> bool {
    let by = entry.source.as_deref().and_then(|source| source.strip_prefix("plugin:"));
    by == Some(&*enabled.plugin) || enabled.opens_entity(Grant::TimelineRead, entry.category.as_str())
}

/// An entry never changes, so its version is 1.
fn entity(invocation: &Invocation, entry: &TimelineEntry) -> types::Entity {
    let body = shown(invocation, Grant::TimelineRead, &entry.to_json());
    types::Entity { id: entry.id.to_string(), version: 1, body }
}

/// The database's cursor and the last entry that it is behind.
fn write_cursor(cursor: &str, last: &Position) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::json!([cursor, last]).to_string())
}

fn read_cursor(text: &str) -> Answered<(String, Position)> {
    let read = || serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok();
    read().ok_or_else(|| invalid("/cursor", "cursor", "this is no cursor of a query"))
}
