//! What plugins have used, for billing and for the share of those who wrote them: by tenant, UTC
//! day, plugin, its version and extension point.
//!
//! A server counts in memory and writes every few seconds. One that is killed loses what it has
//! counted since, which is at most that long; one that is stopped loses nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::db::usage;
pub use crate::db::usage::UsageRow;
use crate::domain::actor::Actor;
use crate::domain::ids::TenantId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::permission::Permission;
use crate::error::Result;
use crate::ops::{Core, require};

/// Days that the rows are kept: a year, and a month to bill it.
pub const DAYS_KEPT: i64 = 400;
/// Rows of one export.
const EXPORT_ROWS_MAX: usize = 100_000;
const EXPORT_PAGE: i64 = 1_000;
/// The first line of an export.
const HEAD: &str = "day,plugin,plugin_version,point,calls,failures,fuel,duration_us,rows_read,rows_written,bytes,requests,log_lines";

/// Days, such as `2026-11-01`; without one, the first or last that there is.
#[derive(Clone, Debug, Default)]
pub struct Days {
    /// The first.
    pub from: Option<String>,
    /// The last.
    pub to: Option<String>,
}

impl Days {
    /// Text that no day comes before or after stands for a missing bound.
    pub(super) fn bounds(&self) -> (&str, &str) {
        (self.from.as_deref().unwrap_or("0"), self.to.as_deref().unwrap_or("9999-12-31"))
    }
}

/// The place of a row, from which the next page goes on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Place(String, String, String, String);

impl Place {
    pub(super) fn of(row: &UsageRow) -> Self {
        Self(row.day.clone(), row.plugin.clone(), row.plugin_version.clone(), row.point.clone())
    }

    pub(super) fn parts(&self) -> (&str, &str, &str, &str) {
        (&self.0, &self.1, &self.2, &self.3)
    }
}

/// What the actor's tenant has used, by day, plugin, version and extension point.
///
/// # Errors
/// `Forbidden`, and `Invalid` for a bad cursor.
pub async fn list(core: &Core, actor: &Actor, days: &Days, page: &PageRequest) -> Result<Page<UsageRow>> {
    require(actor, Permission::PluginRead)?;
    let after: Place = page.after()?.unwrap_or_default();
    let mut reader = core.db.read(&actor.tenant).await?;
    let rows = usage::list(&mut reader, &actor.tenant, days.bounds(), after.parts(), page.fetch()).await?;
    Ok(Page::of(page, rows, Place::of))
}

/// The same as CSV (RFC 4180) with a head; at most 100,000 rows.
///
/// # Errors
/// `Forbidden`.
pub async fn export(core: &Core, actor: &Actor, days: &Days) -> Result<String> {
    require(actor, Permission::PluginRead)?;
    let (mut text, mut after, mut count) = (format!("{HEAD}\r\n"), Place::default(), 0);
    let mut reader = core.db.read(&actor.tenant).await?;
    while count < EXPORT_ROWS_MAX {
        let rows = usage::list(&mut reader, &actor.tenant, days.bounds(), after.parts(), EXPORT_PAGE).await?;
        let Some(last) = rows.last() else { break };
        after = Place::of(last);
        count += rows.len();
        for row in &rows {
            text.push_str(&line(row));
        }
    }
    Ok(text)
}

/// Names of plugins and points, and versions, have no character that CSV would quote.
fn line(row: &UsageRow) -> String {
    let UsageRow {
        day,
        plugin,
        plugin_version,
        point,
        calls,
        failures,
        fuel,
        duration_us,
        rows_read,
        rows_written,
        bytes,
        requests,
        log_lines,
    } = row;
    format!(
        "{day},{plugin},{plugin_version},{point},{calls},{failures},{fuel},{duration_us},{rows_read},{rows_written},\
         {bytes},{requests},{log_lines}\r\n"
    )
}

/// Writes down what this server has counted; answers how many rows. What cannot be written is
/// counted on.
///
/// # Errors
/// Those of the database, of the last tenant that had one.
pub async fn write_down(core: &Core) -> Result<u64> {
    let plugins = core.plugins()?;
    let mut by_tenant: BTreeMap<TenantId, Vec<UsageRow>> = BTreeMap::new();
    for (tenant, row) in plugins.take_usage() {
        by_tenant.entry(tenant).or_default().push(row);
    }
    let (mut count, mut failed) = (0, None);
    for (tenant, rows) in by_tenant {
        let state = (tenant.clone(), rows.clone());
        let written = core.db.write(&tenant, state, |tx, (tenant, rows)| {
            Box::pin(async move {
                for row in rows.iter() {
                    usage::add(tx, tenant, row).await?;
                }
                Ok(())
            })
        });
        match written.await {
            Ok(()) => count += u64::try_from(rows.len()).unwrap_or(u64::MAX),
            Err(error) => {
                plugins.give_back_usage(&tenant, &rows);
                failed = Some(error);
            }
        }
    }
    failed.map_or(Ok(count), Err)
}

/// Deletes what has been kept long enough; answers how many rows.
///
/// # Errors
/// Those of the database.
pub async fn purge(core: &Core, tenant: &TenantId) -> Result<u64> {
    let before: Timestamp = core.now().plus_seconds(-DAYS_KEPT * 24 * 60 * 60);
    let day: String = before.to_string().chars().take(10).collect();
    let state = (tenant.clone(), day);
    core.db.write(tenant, state, |tx, (tenant, day)| Box::pin(usage::purge(tx, tenant, day))).await
}
