//! Uninstalling a plugin from a tenant: it is disabled at once, and what it keeps is purged after a while,
//! in which it can be exported and the decision taken back.
//!
//! A purge deletes in bounded units and counts in the enablement's row what it has deleted, so that any
//! server goes on where one has stopped. The row goes last. What the plugin has written into the tenant's
//! own records, such as the timeline, stays: it is their history; so does what was used, which is billed.

use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::enablement;
use crate::clock::Timestamp;
use crate::db::documents::Owner;
use crate::db::plugin_data::{self, CHUNKED_TABLES, Counts, Fielded, RecordRow};
use crate::db::plugins::Enablement;
use crate::db::{self, Tx};
use crate::domain::actor::Actor;
use crate::domain::audit::Entry;
use crate::domain::code::FaultCode;
use crate::domain::ids::{BlobId, TenantId};
use crate::domain::permission::Permission;
use crate::error::{Error, Result};
use crate::ops::{self, Core};

/// Days between uninstalling and purging, if nobody says otherwise.
pub const KEEP_DAYS_DEFAULT: u32 = 30;
/// The most days between uninstalling and purging.
pub const KEEP_DAYS_MAX: u32 = 365;

const DAY_SECONDS: i64 = 24 * 60 * 60;
/// Plugins of a tenant that one look purges.
const PLUGINS_MAX: u32 = 20;
/// Rows that one unit deletes.
const ROWS_MAX: u32 = 500;
/// Recordings that one unit deletes: each has up to some MiB.
const RECORDINGS_MAX: u32 = 20;
/// Records that one unit takes a plugin's fields from.
const RECORDS_MAX: u32 = 200;
/// Units of one plugin in one look; the next look goes on.
const UNITS_MAX: u32 = 500;

/// How a plugin is uninstalled.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Uninstallation {
    /// Days until everything that it keeps is purged; 0 for as soon as can be.
    #[serde(default = "keep_days_default")]
    #[schema(minimum = 0, maximum = 365, default = 30)]
    pub keep_days: u32,
}

const fn keep_days_default() -> u32 {
    KEEP_DAYS_DEFAULT
}

/// Disables a plugin and has what it keeps purged after some days; said again, it counts from now.
///
/// # Errors
/// `Forbidden`; `NotFound` if it was never enabled; `Invalid` for more than [`KEEP_DAYS_MAX`]; `Refused`
/// if its purge has begun.
pub async fn uninstall(
    core: &Core,
    actor: &Actor,
    plugin: &str,
    request: Uninstallation,
) -> Result<Enablement> {
    ops::require(actor, Permission::PluginWrite)?;
    let Uninstallation { keep_days } = request;
    if keep_days > KEEP_DAYS_MAX {
        return Err(Error::plain("/keep_days", FaultCode::TooLarge { max: KEEP_DAYS_MAX.to_string() }));
    }
    let before = enablement::find(core, actor, plugin).await?;
    let purge_at = core.now().plus_seconds(i64::from(keep_days) * DAY_SECONDS);
    enablement::switch_off(core, actor, before, ("plugin.uninstall", Some(purge_at))).await?;
    enablement::find(core, actor, plugin).await
}

/// Keeps what an uninstalled plugin has; it stays disabled. Does nothing for one that is not uninstalled.
///
/// # Errors
/// `Forbidden`; `NotFound` if it was never enabled; `Refused` if its purge has begun.
pub async fn keep(core: &Core, actor: &Actor, plugin: &str) -> Result<Enablement> {
    ops::require(actor, Permission::PluginWrite)?;
    let before = enablement::find(core, actor, plugin).await?;
    if before.purge_at.is_none() {
        return Ok(before);
    }
    enablement::switch_off(core, actor, before, ("plugin.keep", None)).await?;
    enablement::find(core, actor, plugin).await
}

/// Purges what the tenant's uninstalled plugins keep, if their time is over; answers how many plugins are
/// gone.
///
/// # Errors
/// Those of the database; the next look goes on.
pub async fn purge(core: &Core, tenant: &TenantId) -> Result<u64> {
    let due = {
        let mut reader = core.db.read(tenant).await?;
        plugin_data::due(&mut reader, tenant, core.now(), PLUGINS_MAX).await?
    };
    let mut gone = 0;
    for plugin in due {
        let mut purge = Purge { core, tenant, plugin, units_left: UNITS_MAX };
        gone += u64::from(purge.run().await?.is_some());
    }
    Ok(gone)
}

/// A purge under way. Its steps answer nothing when this look is over for the plugin: another server has
/// ended it, or the next look goes on.
struct Purge<'a> {
    core: &'a Core,
    tenant: &'a TenantId,
    plugin: String,
    units_left: u32,
}

impl Purge<'_> {
    async fn run(&mut self) -> Result<Option<()>> {
        self.begin().await?;
        for table in 0..CHUNKED_TABLES {
            let Some(()) = self.delete_table(table).await? else { return Ok(None) };
        }
        for kind in [Fielded::Customer, Fielded::Order] {
            let Some(()) = self.drop_values(kind).await? else { return Ok(None) };
        }
        let Some(()) = self.delete_files().await? else { return Ok(None) };
        let Some(()) = self.delete_recordings().await? else { return Ok(None) };
        self.end().await
    }

    /// From here on nobody sets its fields or tells it of events, and there is no way back.
    async fn begin(&mut self) -> Result<()> {
        let now = self.core.now();
        let state = (self.tenant.clone(), self.plugin.clone(), now);
        let begun = self.core.db.write(self.tenant, state, |tx, (tenant, plugin, now)| {
            Box::pin(async move {
                if !plugin_data::begin(tx, Owner { tenant, plugin }, *now).await? {
                    return Ok::<_, Error>(false);
                }
                ops::events::unsubscribe(tx, tenant, &ops::events::consumer_of_plugin(plugin)).await?;
                ops::fields::declare(tx, tenant, plugin, &[], *now).await?;
                Ok(true)
            })
        });
        if begun.await? {
            let plugins = self.core.plugins()?;
            plugins.changed(self.tenant, &self.plugin).await;
            plugins.model_changed(self.tenant).await;
        }
        Ok(())
    }

    /// Takes one of this look's units; nothing if there is none left.
    fn take_unit(&mut self) -> Option<()> {
        self.units_left = self.units_left.checked_sub(1)?;
        Some(())
    }

    async fn delete_table(&mut self, table: usize) -> Result<Option<()>> {
        self.repeat(ROWS_MAX, table, |tx, owner, table| {
            Box::pin(plugin_data::delete_chunk(tx, owner, table, ROWS_MAX))
        })
        .await
    }

    async fn delete_recordings(&mut self) -> Result<Option<()>> {
        self.repeat(RECORDINGS_MAX, (), |tx, owner, ()| {
            Box::pin(async move {
                let deleted = plugin_data::delete_recordings(tx, owner, RECORDINGS_MAX).await?;
                Ok::<_, Error>(("recordings", deleted))
            })
        })
        .await
    }

    /// Names go; their contents are loose from now on, and are removed with whatever else is.
    async fn delete_files(&mut self) -> Result<Option<()>> {
        self.repeat(ROWS_MAX, self.core.now(), |tx, owner, now| {
            Box::pin(async move {
                let files = plugin_data::files(tx, owner, "", ROWS_MAX).await?;
                let blobs: Vec<&BlobId> = files.iter().map(|file| &file.blob).collect();
                if !blobs.is_empty() {
                    db::files::insert_loose(tx, owner, &blobs, now).await?;
                }
                for file in &files {
                    db::files::delete(tx, owner, &file.name).await?;
                }
                Ok::<_, Error>(("plugin_files", files.len() as u64))
            })
        })
        .await
    }

    /// Deletes rows in units until one has found fewer than `limit`. A unit looks first whether the purge
    /// still goes on: when another server has ended it, the plugin may have been enabled again.
    async fn repeat<S: Copy + Send + Sync + 'static>(
        &mut self,
        limit: u32,
        what: S,
        delete: Delete<S>,
    ) -> Result<Option<()>> {
        loop {
            let Some(()) = self.take_unit() else { return Ok(None) };
            let state = (self.tenant.clone(), self.plugin.clone(), (what, delete));
            let deleted = self.core.db.write(self.tenant, state, |tx, (tenant, plugin, (what, delete))| {
                Box::pin(async move {
                    let owner = Owner { tenant, plugin };
                    let Some(counts) = plugin_data::progress(tx, owner).await? else {
                        return Ok::<_, Error>(None);
                    };
                    let (table, deleted) = delete(tx, owner, *what).await?;
                    plugin_data::count(tx, owner, counts, (table, deleted)).await?;
                    Ok(Some(deleted))
                })
            });
            match deleted.await? {
                None => return Ok(None),
                Some(deleted) if deleted < u64::from(limit) => return Ok(Some(())),
                Some(_more) => {}
            }
        }
    }

    /// Takes the plugin's fields from all records of a kind. Each gets a new version, so that nobody saves
    /// over it what was read before; that they are gone is told once, by the audit line of the purge.
    async fn drop_values(&mut self, kind: Fielded) -> Result<Option<()>> {
        let mut after = String::new();
        loop {
            let rows = {
                let mut reader = self.core.db.read(self.tenant).await?;
                plugin_data::records(&mut reader, self.tenant, (kind, &after), RECORDS_MAX).await?
            };
            let Some(last) = rows.last() else { return Ok(Some(())) };
            let last = last.id.clone();
            let mut left = Vec::new();
            for row in rows {
                left.extend(without_fields(row, &self.plugin)?);
            }
            if left.is_empty() {
                after = last;
                continue;
            }
            let Some(()) = self.take_unit() else { return Ok(None) };
            let state = (self.tenant.clone(), self.plugin.clone(), (kind, left, self.core.now()));
            let dropped =
                self.core.db.write(self.tenant, state, |tx, (tenant, plugin, (kind, left, now))| {
                    Box::pin(drop_page(tx, Owner { tenant, plugin }, (*kind, left), *now))
                });
            match dropped.await? {
                None => return Ok(None),
                Some(true) => after = last,
                // One of them was changed meanwhile: the page is read again.
                Some(false) => {}
            }
        }
    }

    async fn end(&mut self) -> Result<Option<()>> {
        let now = self.core.now();
        let entry = Entry::new(&*self.core.ids, now, "plugin.purge", "plugin", &self.plugin, json!({}));
        let state = (Actor::server(self.tenant.clone()), self.plugin.clone(), (now, entry));
        let ended = self.core.db.write(self.tenant, state, |tx, (actor, plugin, (now, entry))| {
            Box::pin(async move {
                let owner = Owner { tenant: &actor.tenant, plugin };
                let Some(counts) = plugin_data::end(tx, owner).await? else { return Ok::<_, Error>(None) };
                let entry = Entry { changes: told(&counts), ..entry.clone() };
                ops::audit::append(tx, actor, *now, &entry).await?;
                Ok(Some(()))
            })
        });
        let ended = ended.await?;
        self.core.plugins()?.changed(self.tenant, &self.plugin).await;
        Ok(ended)
    }
}

/// Deletes a chunk of a plugin's rows; answers of which table, and how many.
type Delete<S> = for<'a> fn(&'a mut Tx, Owner<'a>, S) -> BoxFuture<'a, Result<(&'static str, u64)>>;

/// Writes records without the plugin's fields; false if one of them was changed since it was read, nothing
/// if the purge has ended elsewhere.
async fn drop_page(
    tx: &mut Tx,
    owner: Owner<'_>,
    (kind, left): (Fielded, &[RecordRow]),
    now: Timestamp,
) -> Result<Option<bool>> {
    let Some(counts) = plugin_data::progress(tx, owner).await? else { return Ok(None) };
    let mut dropped = 0;
    for row in left {
        dropped += u64::from(plugin_data::drop_values(tx, owner, (kind, row), now).await?);
    }
    let records = match kind {
        Fielded::Customer => "customers_with_fields",
        Fielded::Order => "orders_with_fields",
    };
    plugin_data::count(tx, owner, counts, (records, dropped)).await?;
    Ok(Some(dropped == left.len() as u64))
}

fn told(counts: &Counts) -> Value {
    json!({ "deleted": counts })
}

/// What is left of a record without the plugin's fields; nothing if it has none of them.
fn without_fields(row: RecordRow, plugin: &str) -> Result<Option<RecordRow>> {
    let Some(kept) = &row.kept else { return Ok(None) };
    let mut kept: Map<String, Value> = serde_json::from_str(kept).map_err(Error::internal)?;
    let Some(fields) = kept.get_mut("fields").and_then(Value::as_object_mut) else { return Ok(None) };
    let before = fields.len();
    fields.retain(|name, _value| field_of(name, plugin).is_none());
    if fields.len() == before {
        return Ok(None);
    }
    let kept = serde_json::to_string(&kept).map_err(Error::internal)?;
    Ok(Some(RecordRow { kept: Some(kept), ..row }))
}

/// The name of a field within its plugin, if it is this plugin's.
pub(super) fn field_of<'n>(name: &'n str, plugin: &str) -> Option<&'n str> {
    name.strip_prefix(plugin)?.strip_prefix('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kept: Value) -> RecordRow {
        RecordRow { id: "one".to_owned(), version: 1, kept: Some(kept.to_string()) }
    }

    #[test]
    fn only_the_plugins_own_fields_leave_a_record() {
        let fields = json!({ "club.tier": "gold", "club-house.tier": "silver", "clu.b": 1 });
        let kept = json!({ "tags": ["a"], "custom_fields": { "club.tier": 1 }, "fields": fields });
        let left = without_fields(row(kept), "club").unwrap().unwrap();
        let left: Value = serde_json::from_str(left.kept.as_deref().unwrap()).unwrap();
        let fields = json!({ "club-house.tier": "silver", "clu.b": 1 });
        assert_eq!(left, json!({ "tags": ["a"], "custom_fields": { "club.tier": 1 }, "fields": fields }));
        assert!(without_fields(row(left), "club").unwrap().is_none(), "nothing to write");
    }
}
