//! The audit log, written in the transaction of the change that it is about.

use super::{Core, require};
use crate::clock::Timestamp;
use crate::db::audit::Filter;
use crate::db::{self, Tx};
use crate::domain::actor::Actor;
use crate::domain::audit::{Entry, Line};
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

/// Lines of the log, the newest first.
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
    let rows = db::audit::list(&mut reader, &actor.tenant, filter, &before, page.fetch()).await?;
    Ok(Page::of(page, rows, |line| line.id.to_string()))
}

/// Appends the lines of several changes that one actor makes at one time.
///
/// # Errors
/// Those of the database.
pub async fn append_many(tx: &mut Tx, actor: &Actor, at: Timestamp, entries: &[&Entry]) -> Result<()> {
    db::audit::insert_many(tx, actor, at, entries).await
}
