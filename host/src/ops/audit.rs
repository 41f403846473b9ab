//! The audit log, written in the transaction of the change that it is about.

use serde_json::Value;

use super::{Core, fields, require};
use crate::clock::Timestamp;
use crate::db::audit::Filter;
use crate::db::{self, Tx};
use crate::domain::actor::Actor;
use crate::domain::audit::{Entry, Line};
use crate::domain::field::FieldEntity;
use crate::domain::page::{Page, PageRequest};
use crate::domain::permission::Permission;
use crate::error::Result;

/// Appends a line in the transaction of the change that it is about.
///
/// # Errors
/// Those of the database.
pub async fn append(tx: &mut Tx, actor: &Actor, at: Timestamp, entry: &Entry) -> Result<()> {
    db::audit::insert(tx, actor, at, entry).await
}

/// Which lines to list.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Of this kind of record.
    pub entity: Option<String>,
    /// Of the record with this id.
    pub record: Option<String>,
    /// Of the actor with this id or name.
    pub actor: Option<String>,
}

/// Lines of the log, the newest first, without the values of plugins' fields that the actor may not read.
///
/// # Errors
/// [`crate::error::Error::Forbidden`], [`crate::error::Error::Invalid`] for a bad cursor.
pub async fn list(
    core: &Core,
    actor: &Actor,
    filter: &AuditFilter,
    page: &PageRequest,
) -> Result<Page<Line>> {
    require(actor, Permission::AuditRead)?;
    // No id is greater than this text.
    let before: String = page.after()?.unwrap_or_else(|| "~".to_owned());
    let filter = Filter {
        entity: filter.entity.as_deref().unwrap_or_default(),
        record: filter.record.as_deref().unwrap_or_default(),
        actor: filter.actor.as_deref().unwrap_or_default(),
    };
    let mut reader = core.db.read(&actor.tenant).await?;
    let mut rows = db::audit::list(&mut reader, &actor.tenant, filter, &before, page.fetch()).await?;
    fields::show(&mut reader, actor, rows.iter_mut().flat_map(plugin_fields).collect()).await?;
    rows.iter_mut().for_each(forget_hidden);
    Ok(Page::of(page, rows, |line| line.id.to_string()))
}

/// The member of a record, and so of its changes, that holds plugins' fields.
const FIELDS: &str = "fields";

/// The plugins' fields that a line tells of: those before the change, and those after it.
fn plugin_fields(line: &mut Line) -> Vec<fields::PluginFields<'_>> {
    let entity = match line.entity.as_str() {
        "customer" => FieldEntity::Customer,
        "order" => FieldEntity::Order,
        _ => return Vec::new(),
    };
    let sides = line.changes.get_mut(FIELDS).and_then(Value::as_array_mut);
    sides.into_iter().flatten().filter_map(|side| Some((entity, side.as_object_mut()?))).collect()
}

/// A change of hidden fields alone is not told as one that changed nothing.
fn forget_hidden(line: &mut Line) {
    let is_same =
        |sides: &Value| matches!(sides.as_array().map(Vec::as_slice), Some([one, other]) if one == other);
    if let Some(changes) = line.changes.as_object_mut()
        && changes.get(FIELDS).is_some_and(is_same)
    {
        changes.shift_remove(FIELDS);
    }
}

/// Appends the lines of several changes that one actor makes at one time.
///
/// # Errors
/// Those of the database.
pub async fn append_many(tx: &mut Tx, actor: &Actor, at: Timestamp, entries: &[&Entry]) -> Result<()> {
    db::audit::insert_many(tx, actor, at, entries).await
}
