//! Queries over documents: a page from the database, with the invocation's own
//! writes laid over it.
//!
//! One condition or the order drives an index; the other conditions are checked
//! on what it yields. A query looks at no more than [`SCANNED_MAX`] documents: a
//! page may be short, or even empty, and still have a cursor.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hospes_bindings::hospes::plugin::documents::{Direction, Page, Search, Stored};
use hospes_bindings::hospes::plugin::types::{Comparison, Condition, Scalar};
use serde_json::Value;

use super::buffer::{Buffer, Document, SubjectKey};
use super::host::{Answered, invalid, stored, stored_json};
use super::index::{self, HIGHEST, LOWEST};
use crate::db::documents::{self, IndexRange, Owner, Scan, Scanned};
use crate::domain::manifest::{Collection, ScalarType};
use crate::ops::Core;

/// Documents that one query looks at.
const SCANNED_MAX: usize = 2_000;
const CONDITIONS_MAX: usize = 8;
/// Documents that one statement reads: what is too much is noticed in between.
const ROWS_AT_ONCE: usize = 100;
/// Bytes after which a page ends early.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// Where a document stands in an order: its value and key.
type Position = (String, String);

/// A query with its names resolved and its values encoded.
struct Plan<'a> {
    collection: &'a Collection,
    subject: Option<SubjectKey>,
    conditions: Vec<(&'a str, Comparison, String)>,
    /// The index that orders; by key, if absent.
    order: Option<&'a str>,
    descending: bool,
    /// The range of the order's values that the conditions leave.
    low: String,
    high: String,
}

/// One page of a query.
pub(super) async fn page(
    core: &Core,
    owner: Owner<'_>,
    buffer: &Buffer,
    (collection, search, subject): (&Collection, &Search, Option<SubjectKey>),
) -> Answered<Page> {
    let plan = plan(collection, search, subject)?;
    let limit = usize::try_from(search.limit).unwrap_or(usize::MAX);
    let mut after = search.cursor.as_deref().map(read_cursor).transpose()?;
    let mut own = plan.own(buffer, after.as_ref())?;
    own.reverse();
    let mut found: Vec<(Position, Stored)> = Vec::new();
    let mut scanned = 0;
    let mut bytes = 0;
    let mut reader = core.db.read(owner.tenant).await?;
    loop {
        let batch = ROWS_AT_ONCE.min(SCANNED_MAX - scanned);
        let rows = documents::scan(&mut reader, owner, &plan.scan(after.clone(), batch)).await?;
        let exhausted = rows.len() < batch;
        scanned += rows.len();
        for row in rows {
            let position = (row.value.clone(), row.key.clone());
            plan.take_before(&mut own, &position, &mut found);
            after = Some(position.clone());
            let known = buffer.documents.get(&(collection.name.clone(), row.key.clone()));
            if known.is_none_or(|entry| !entry.is_changed()) && plan.matches_row(&row)? {
                bytes += row.body.len();
                found.push((position, shown(row)));
            }
        }
        if exhausted {
            found.extend(own.into_iter().rev());
            return Ok(cut(found, limit, None));
        }
        if found.len() > limit || scanned >= SCANNED_MAX || bytes > PAGE_BYTES_MAX {
            return Ok(cut(found, limit, after));
        }
    }
}

/// The first `limit`; the cursor is the last one's place, or where the scan stopped.
fn cut(mut found: Vec<(Position, Stored)>, limit: usize, stopped: Option<Position>) -> Page {
    let more = found.len() > limit;
    found.truncate(limit);
    let cursor = if more { found.last().map(|(position, _)| position.clone()) } else { stopped };
    Page {
        documents: found.into_iter().map(|(_, document)| document).collect(),
        cursor: cursor.map(|position| write_cursor(&position)),
    }
}

fn plan<'a>(
    collection: &'a Collection,
    search: &'a Search,
    subject: Option<SubjectKey>,
) -> Answered<Plan<'a>> {
    if search.conditions.len() > CONDITIONS_MAX {
        let message = format!("a query has at most {CONDITIONS_MAX} conditions");
        return Err(invalid("/conditions", "too_many", message));
    }
    let mut conditions = Vec::with_capacity(search.conditions.len());
    for (position, condition) in search.conditions.iter().enumerate() {
        let kind = index_type(collection, &condition.field, &format!("/conditions/{position}/field"))?;
        let value = encode(kind, condition, position)?;
        conditions.push((condition.field.as_str(), condition.comparison, value));
    }
    let order = match &search.order_by {
        Some(name) => {
            index_type(collection, name, "/order-by")?;
            Some(name.as_str())
        }
        // Documents of one value of an index stand in the order of their keys.
        None => {
            conditions.iter().find(|(_, how, _)| matches!(how, Comparison::Equal)).map(|(name, ..)| *name)
        }
    };
    let (mut low, mut high) = (LOWEST.to_owned(), HIGHEST.to_owned());
    for (_, how, value) in conditions.iter().filter(|(name, ..)| Some(*name) == order) {
        if matches!(how, Comparison::Equal | Comparison::Greater | Comparison::GreaterOrEqual) {
            low = low.max(value.clone());
        }
        if matches!(how, Comparison::Equal | Comparison::Less | Comparison::LessOrEqual) {
            high = high.min(value.clone());
        }
    }
    let descending = matches!(search.direction, Direction::Descending);
    Ok(Plan { collection, subject, conditions, order, descending, low, high })
}

fn index_type(collection: &Collection, name: &str, pointer: &str) -> Answered<ScalarType> {
    let found = collection.indexes.iter().find(|index| index.name == name).map(|index| index.kind);
    found.ok_or_else(|| {
        let message = format!("`{}` declares no index `{name}`", collection.name);
        invalid(pointer, "unknown_index", message)
    })
}

fn encode(kind: ScalarType, condition: &Condition, position: usize) -> Answered<String> {
    match (kind, &condition.value) {
        (ScalarType::Text, Scalar::Text(value)) => Ok(index::text(value)),
        (ScalarType::Integer, Scalar::Integer(value)) | (ScalarType::Time, Scalar::Time(value)) => {
            Ok(index::integer(*value))
        }
        (ScalarType::Number, Scalar::Number(value)) if value.is_finite() => Ok(index::number(*value)),
        (ScalarType::Boolean, Scalar::Boolean(value)) => Ok(index::boolean(*value)),
        _ => {
            let message = format!("the index `{}` has another type", condition.field);
            Err(invalid(format!("/conditions/{position}/value"), "type", message))
        }
    }
}

impl Plan<'_> {
    fn scan(&self, after: Option<Position>, limit: usize) -> Scan {
        Scan {
            collection: self.collection.name.clone(),
            subject: self.subject.clone(),
            index: self.order.map(|name| IndexRange {
                name: name.to_owned(),
                low: self.low.clone(),
                high: self.high.clone(),
            }),
            descending: self.descending,
            after,
            limit: i64::try_from(limit).unwrap_or(i64::MAX),
        }
    }

    /// Whether `one` comes before `other`.
    fn before(&self, one: &Position, other: &Position) -> bool {
        if self.descending { one > other } else { one < other }
    }

    /// The invocation's own documents that match, in order, after the cursor.
    fn own(&self, buffer: &Buffer, after: Option<&Position>) -> Answered<Vec<(Position, Stored)>> {
        let mut own = Vec::new();
        for (key, entry) in buffer.changed_in(&self.collection.name) {
            let Some(document) = &entry.now else { continue };
            let Some(position) = self.place(key, document) else { continue };
            if after.is_none_or(|after| self.before(after, &position)) {
                own.push((position, stored(key, document)));
            }
        }
        own.sort_by(|(one, _), (other, _)| if self.descending { other.cmp(one) } else { one.cmp(other) });
        Ok(own)
    }

    /// Where an own document stands; `None` if it does not belong to the query.
    fn place(&self, key: &str, document: &Document) -> Option<Position> {
        if self.subject.as_ref().is_some_and(|subject| *subject != document.subject)
            || !self.matches(&document.index)
        {
            return None;
        }
        let value = match self.order {
            None => String::new(),
            Some(order) => document.index.iter().find(|(name, _)| name == order)?.1.clone(),
        };
        Some((value, key.to_owned()))
    }

    /// Moves own documents that stand before `position` to what is found. `own` is in reverse.
    fn take_before(
        &self,
        own: &mut Vec<(Position, Stored)>,
        position: &Position,
        found: &mut Vec<(Position, Stored)>,
    ) {
        while own.last().is_some_and(|(next, _)| self.before(next, position)) {
            found.extend(own.pop());
        }
    }

    fn matches_row(&self, row: &Scanned) -> Answered<bool> {
        if self.conditions.is_empty() {
            return Ok(true);
        }
        let body: Value = stored_json(&row.body)?;
        let index = index::of_document(self.collection, &body).unwrap_or_default();
        Ok(self.matches(&index))
    }

    fn matches(&self, index: &[(String, String)]) -> bool {
        self.conditions.iter().all(|(name, how, wanted)| {
            let value = index.iter().find(|(one, _)| one == name).map(|(_, value)| value);
            value.is_some_and(|value| match how {
                Comparison::Equal => value == wanted,
                Comparison::NotEqual => value != wanted,
                Comparison::Less => value < wanted,
                Comparison::LessOrEqual => value <= wanted,
                Comparison::Greater => value > wanted,
                Comparison::GreaterOrEqual => value >= wanted,
            })
        })
    }
}

fn shown(row: Scanned) -> Stored {
    let subject = (row.subject_kind, row.subject_id);
    stored(&row.key, &Document { subject, version: row.version, body: row.body, index: Vec::new() })
}

fn write_cursor(position: &Position) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::json!(position).to_string())
}

fn read_cursor(text: &str) -> Answered<Position> {
    let read = || serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok();
    let position: Option<Position> = read();
    position
        .filter(|(value, key)| !value.contains('\0') && !key.contains('\0'))
        .ok_or_else(|| invalid("/cursor", "cursor", "this is no cursor of a query"))
}
