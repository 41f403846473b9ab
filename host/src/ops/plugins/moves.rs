//! Moves of a plugin's data from one version to another, and the way back to the version before.
//!
//! `lifecycle.migrate` is called chunk by chunk. A chunk's effects and the cursor behind it commit
//! together, so that another server goes on where one has left it. Until the last chunk is done the
//! old version is the enabled one and does all its work: what it writes meanwhile is in its own form,
//! which the new one must read.

use std::sync::Arc;

use serde::Serialize;

use super::enablement;
use super::{Ack, packages, trust};
use crate::clock::Timestamp;
pub(crate) use crate::db::moves::Taken;
use crate::db::moves::{self, Chunk, MoveRow};
use crate::db::plugins::Enablement;
use crate::domain::actor::Actor;
use crate::domain::code::{Reason, RecordKind};
use crate::domain::ids::TenantId;
use crate::domain::permission::Permission;
use crate::error::{Error, Result};
use crate::ops::{self, Core};

/// Seconds after which a move that shows no progress may be taken up by another server: as long as one
/// chunk may take with all its tries. If it takes longer all the same, its commit is refused.
const LEASE_S: i64 = 120;

/// The last move of a plugin's data to another version.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct MoveView {
    /// From this version.
    pub from_version: String,
    /// To this one.
    pub to_version: String,
    /// `running`; `interrupted` if its server has gone: enabling the version again goes on where it
    /// stands; `failed`: the old version goes on, and enabling begins again; or `done`.
    pub state: String,
    /// Chunks that are committed.
    pub chunks: i64,
    /// Those of them that have changed anything.
    pub writes: i64,
    /// Why it has failed.
    pub error: Option<String>,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When it last got on.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// The last move of a plugin's data.
///
/// # Errors
/// `Forbidden`; `NotFound` if there never was one.
pub async fn find(core: &Core, actor: &Actor, plugin: &str) -> Result<MoveView> {
    ops::require(actor, Permission::PluginRead)?;
    let row = find_row(core, &actor.tenant, plugin).await?;
    let row = row.ok_or_else(|| Error::not_found(RecordKind::Move, plugin))?;
    let MoveRow { from_version, to_version, state, chunks, writes, error, started_at, updated_at, .. } = row;
    let is_left = state == "running" && row.leased_until <= core.now();
    let state = if is_left { "interrupted".to_owned() } else { state };
    Ok(MoveView { from_version, to_version, state, chunks, writes, error, started_at, updated_at })
}

async fn find_row(core: &Core, tenant: &TenantId, plugin: &str) -> Result<Option<MoveRow>> {
    let mut reader = core.db.read(tenant).await?;
    moves::find(&mut reader, tenant, plugin).await
}

/// Takes up a move, from its beginning or from where another server has left it.
///
/// # Errors
/// `move_running` while another is under way.
pub(crate) async fn begin(
    core: &Core,
    tenant: &TenantId,
    plugin: &str,
    (from, to): (&str, &str),
) -> Result<Taken> {
    let now = core.now();
    let state = (tenant.clone(), [plugin, from, to].map(str::to_owned), (now, now.plus_seconds(LEASE_S)));
    let taken = core.db.write(tenant, state, |tx, (tenant, [plugin, from, to], times)| {
        Box::pin(moves::begin(tx, tenant, plugin, (from.as_str(), to.as_str()), *times))
    });
    let running = || {
        let message = format!("the data of `{plugin}` is being moved to another version");
        Error::conflict(Reason::MoveRunning, message)
    };
    taken.await?.ok_or_else(running)
}

/// What commits with a chunk: the cursor behind it, and after the last one `done`.
pub(crate) fn chunk_ack(
    core: &Core,
    (tenant, plugin): (&TenantId, &str),
    (epoch, cursor, wrote): (i64, Option<&str>, bool),
    done: &Ack,
) -> Ack {
    let at = core.now();
    let leased_until = at.plus_seconds(LEASE_S);
    let done = cursor.is_none().then(|| Ack::clone(done));
    let chunk = Chunk { epoch, cursor: cursor.map(str::to_owned), wrote, at, leased_until };
    let kept = Arc::new((tenant.clone(), plugin.to_owned(), chunk, done));
    Arc::new(move |tx| {
        let kept = Arc::clone(&kept);
        Box::pin(async move {
            let (tenant, plugin, chunk, done) = &*kept;
            if !moves::keep(tx, tenant, plugin, chunk).await? {
                let message = format!("another server moves the data of `{plugin}`");
                return Err(Error::conflict(Reason::LeaseLost, message));
            }
            match done {
                Some(done) => done(tx).await,
                None => Ok(()),
            }
        })
    })
}

/// Notes why a move has failed. The old version goes on.
pub(crate) async fn fail(core: &Core, (tenant, plugin): (&TenantId, &str), epoch: i64, error: &Error) {
    let state = (tenant.clone(), plugin.to_owned(), (epoch, error.to_string(), core.now()));
    let noted = core.db.write(tenant, state, |tx, (tenant, plugin, (epoch, error, now))| {
        Box::pin(moves::fail(tx, tenant, plugin, (*epoch, error, *now)))
    });
    if let Err(error) = noted.await {
        tracing::warn!(%error, plugin, "why a plugin's data was not moved is not kept; its lease will expire");
    }
}

/// Puts the version before, with the grants and settings that it had, in the place of the enabled one,
/// at once. Nothing of the plugin is called, and a calendar of times without upgrades does not count.
/// It is the way back of one move: the version that is left is not kept.
///
/// # Errors
/// `Forbidden`; `NotFound` if the plugin was never enabled; `not_running` if it is not enabled;
/// `nothing_before` if it has not been moved since, or back; `data_moved` if the data was changed on the
/// way to the enabled version; `Refused` for a version that the operator has stopped.
pub async fn roll_back(core: &Core, actor: &Actor, plugin: &str) -> Result<Enablement> {
    ops::require(actor, Permission::PluginWrite)?;
    let now = enablement::find(core, actor, plugin).await?;
    if now.state != "enabled" {
        return Err(Error::conflict(Reason::NotRunning, format!("`{plugin}` is not enabled")));
    }
    let nothing = || {
        let message = format!("there is no version of `{plugin}` to go back to");
        Error::conflict(Reason::NothingBefore, message)
    };
    let before = enablement::previous(core, &actor.tenant, plugin).await?.ok_or_else(nothing)?;
    let package = packages::find(core, plugin, Some(&before.version)).await?;
    trust::check_runs(core, &package).await?;
    let last = find_row(core, &actor.tenant, plugin).await?;
    let is_on_the_way =
        |row: &MoveRow| row.from_version == before.version && row.to_version == now.package_version;
    if last.is_some_and(|row| is_on_the_way(&row) && row.writes > 0) {
        let message = format!(
            "the data of `{plugin}` was changed on the way from {} to {}",
            before.version, now.package_version
        );
        return Err(Error::conflict(Reason::DataMoved, message));
    }
    let manifest = (package.manifest.0, enablement::ROLL_BACK);
    enablement::point_to(core, actor, (now, before), manifest).await?;
    enablement::find(core, actor, plugin).await
}
