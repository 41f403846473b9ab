//! A plugin's log and documents, for the tenant's administrators to read.

use serde::Serialize;
use serde_json::Value;

use crate::db::documents::{self, Owner, Scan};
use crate::db::plugins;
pub use crate::db::plugins::LogLine;
use crate::domain::actor::Actor;
use crate::domain::code::RecordKind;
use crate::domain::page::{Page, PageRequest};
use crate::domain::permission::Permission;
use crate::error::{Error, Result};
use crate::ops::{self, Core};

/// Greater than every id.
const AFTER_EVERY_ID: &str = "~";

/// A plugin's document.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct DocumentView {
    /// Its key in the collection.
    pub key: String,
    /// `customer`, `order` or `tenant`.
    pub subject_kind: String,
    /// The id of the record that it belongs to; empty for the tenant.
    pub subject_id: String,
    /// Grows with every change.
    pub version: i64,
    /// What the plugin keeps.
    #[schema(value_type = Object)]
    pub body: Value,
}

/// A page of a plugin's log, the latest first.
///
/// # Errors
/// `Forbidden`; `NotFound` for a plugin that the tenant has never enabled.
pub async fn log(core: &Core, actor: &Actor, plugin: &str, page: &PageRequest) -> Result<Page<LogLine>> {
    super::enablement::find(core, actor, plugin).await?;
    let before = page.after::<String>()?.unwrap_or_else(|| AFTER_EVERY_ID.to_owned());
    let mut reader = core.db.read(&actor.tenant).await?;
    let rows = plugins::list_log(&mut reader, &actor.tenant, plugin, &before, page.fetch()).await?;
    Ok(Page::of(page, rows, |line| line.id.to_string()))
}

/// A page of one of a plugin's collections, by key.
///
/// # Errors
/// `Forbidden`; `NotFound` for a plugin that was never enabled, or a collection
/// that it does not declare.
pub async fn collection(
    core: &Core,
    actor: &Actor,
    (plugin, collection): (&str, &str),
    page: &PageRequest,
) -> Result<Page<DocumentView>> {
    // Plugins keep what they have seen with rights over all records.
    ops::require(actor, Permission::PluginWrite)?;
    let enablement = super::enablement::find(core, actor, plugin).await?;
    let package = super::packages::find(core, plugin, Some(&enablement.package_version)).await?;
    if package.manifest.0.collection(collection).is_none() {
        return Err(Error::not_found(RecordKind::Collection, format!("{plugin}/{collection}")));
    }
    let scan = Scan {
        collection: collection.to_owned(),
        subject: None,
        index: None,
        descending: false,
        after: page.after::<String>()?.map(|key| (String::new(), key)),
        limit: page.fetch(),
    };
    let owner = Owner { tenant: &actor.tenant, plugin };
    let mut reader = core.db.read(&actor.tenant).await?;
    let rows = documents::scan(&mut reader, owner, &scan).await?;
    drop(reader);
    let mut documents = Vec::with_capacity(rows.len());
    for row in rows {
        documents.push(DocumentView {
            key: row.key,
            subject_kind: row.subject_kind,
            subject_id: row.subject_id,
            version: row.version,
            body: serde_json::from_str(&row.body).map_err(Error::internal)?,
        });
    }
    Ok(Page::of(page, documents, |document| document.key.clone()))
}
