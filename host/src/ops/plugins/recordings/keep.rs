//! Keeps recordings, within bounds of number, bytes and days.

use std::collections::BTreeSet;

use metrics::counter;

use super::keys::{forget_lost, make_lock};
use super::{NewRecording, Taken};
use crate::clock::Timestamp;
use crate::db::recordings::{self, RecordingRow};
use crate::db::{Json, Tx};
use crate::domain::ids::{RecordingId, TenantId};
use crate::error::{Error, Result};
use crate::metrics::{PLUGIN_RECORDINGS, plugin_label};
use crate::ops::Core;

/// Recordings of one plugin of a tenant; the oldest make room.
pub const COUNT_MAX: usize = 1_000;
/// Bytes that they add up to.
pub const TOTAL_BYTES_MAX: i64 = 256 << 20;
/// Days that a recording is kept.
pub const DAYS_KEPT: i64 = 30;
/// Recordings that one unit of work removes.
const REMOVED_AT_ONCE: i64 = 200;

/// Keeps what this server has recorded; answers how many recordings. What cannot be kept is counted
/// with those that there was no room for: a recording is worth no second try.
///
/// # Errors
/// Those of the database, of the last recording that had one.
pub async fn write_down(core: &Core) -> Result<u64> {
    let Taken { recordings, mut dropped } = core.plugins()?.take_recordings();
    let (mut kept, mut failed) = (0, None);
    let mut plugins = BTreeSet::new();
    for made in recordings {
        let key = (made.tenant.clone(), made.plugin.clone());
        match keep(core, made).await {
            Ok(()) => {
                kept += 1;
                counter!(PLUGIN_RECORDINGS, "plugin" => plugin_label(&key.1), "outcome" => "kept")
                    .increment(1);
                plugins.insert(key);
            }
            Err(error) => {
                counter!(PLUGIN_RECORDINGS, "plugin" => plugin_label(&key.1), "outcome" => "dropped")
                    .increment(1);
                *dropped.entry(key).or_default() += 1;
                failed = Some(error);
            }
        }
    }
    let now = core.now();
    for ((tenant, plugin), count) in dropped {
        let state = (tenant.clone(), plugin, (count, now));
        let written = core.db.write(&tenant, state, |tx, (tenant, plugin, drops)| {
            Box::pin(recordings::add_drops(tx, tenant, plugin, *drops))
        });
        written.await?;
    }
    for (tenant, plugin) in plugins {
        trim(core, &tenant, &plugin).await?;
    }
    failed.map_or(Ok(kept), Err)
}

async fn keep(core: &Core, made: NewRecording) -> Result<()> {
    let NewRecording { id, tenant, plugin, plugin_version, digest, point, at, .. } = made;
    let customers: Vec<String> = made.customers.iter().map(ToString::to_string).collect();
    let lock = make_lock(core, &tenant, &customers).await?;
    let lock = lock.ok_or_else(|| Error::unavailable("a customer of a recording was just erased"))?;
    let sealed = lock.seal(&*core.ids, id.as_str(), &made.body)?;
    let row = RecordingRow {
        id,
        plugin,
        plugin_version,
        digest,
        point: point.to_owned(),
        outcome: made.outcome,
        at,
        attempt: made.attempt,
        fuel: made.fuel,
        calls: made.calls,
        size: i64::try_from(sealed.len()).unwrap_or(i64::MAX),
        truncated: made.truncated,
        customers: Json(customers),
    };
    let state = (tenant.clone(), row, sealed);
    let written = core.db.write(&tenant, state, |tx, (tenant, row, sealed)| {
        Box::pin(recordings::insert(tx, tenant, row, sealed))
    });
    written.await
}

/// Removes the oldest recordings of a plugin that are beyond its bounds.
async fn trim(core: &Core, tenant: &TenantId, plugin: &str) -> Result<()> {
    let state = (tenant.clone(), plugin.to_owned());
    let written = core.db.write(tenant, state, |tx, (tenant, plugin)| {
        Box::pin(async move {
            let limit = i64::try_from(COUNT_MAX).unwrap_or(i64::MAX).saturating_add(REMOVED_AT_ONCE);
            let mut bytes: i64 = 0;
            let mut beyond = Vec::new();
            let rows = recordings::sizes(tx, tenant, plugin, limit).await?;
            for (position, (id, size)) in rows.into_iter().enumerate() {
                bytes = bytes.saturating_add(size);
                if position >= COUNT_MAX || bytes > TOTAL_BYTES_MAX {
                    beyond.push(id);
                }
            }
            remove(tx, tenant, &beyond).await
        })
    });
    written.await.map(drop)
}

async fn remove(tx: &mut Tx, tenant: &TenantId, ids: &[RecordingId]) -> Result<u64> {
    for id in ids {
        recordings::delete(tx, tenant, id).await?;
    }
    Ok(u64::try_from(ids.len()).unwrap_or(u64::MAX))
}

/// Removes what has been kept long enough, and the keys of customers who are not there; answers how many
/// recordings.
///
/// # Errors
/// Those of the database.
pub async fn purge(core: &Core, tenant: &TenantId) -> Result<u64> {
    let now = core.now();
    let mut removed = 0;
    loop {
        let state = (tenant.clone(), now);
        let some = core.db.write(tenant, state, |tx, (tenant, now)| Box::pin(purge_some(tx, tenant, *now)));
        let some = some.await?;
        removed += some;
        if some < u64::try_from(REMOVED_AT_ONCE).unwrap_or(u64::MAX) {
            return Ok(removed);
        }
    }
}

async fn purge_some(tx: &mut Tx, tenant: &TenantId, now: Timestamp) -> Result<u64> {
    let before = now.plus_seconds(-DAYS_KEPT * 24 * 60 * 60);
    let old = recordings::old(tx, tenant, before, REMOVED_AT_ONCE).await?;
    forget_lost(tx, tenant, now).await?;
    remove(tx, tenant, &old.into_iter().map(|(id, _)| id).collect::<Vec<_>>()).await
}
