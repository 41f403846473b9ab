//! Moves of a plugin's data from one version to another, and the way back to the version before.
//!
//! `lifecycle.migrate` is called chunk by chunk. A chunk's effects and the cursor behind it commit
//! together, so that another server goes on where one has left it. Until the last chunk is done the
//! old version is the enabled one and does all its work: what it writes meanwhile is in its own form,
//! which the new one must read. So a move can wait at any chunk: when the tenant's calendar wants no upgrades,
//! none follows, since the last one would change the version in the midst of what the calendar protects.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::enablement;
use super::{Ack, packages, trust};
use crate::clock::Timestamp;
pub(crate) use crate::db::moves::Taken;
use crate::db::moves::{self, Chunk, MoveRow};
use crate::db::plugins::Enablement;
use crate::domain::actor::Actor;
use crate::domain::code::{Reason, RecordKind};
use crate::domain::grant::Grants;
use crate::domain::ids::TenantId;
use crate::domain::permission::Permission;
use crate::error::{Error, Result};
use crate::ops::{self, Core};

/// Seconds after which a move that shows no progress may be taken up by another server: as long as one
/// chunk may take with all its tries. If it takes longer all the same, its commit is refused.
const LEASE_S: i64 = 120;

/// Attempts without a chunk that is done; then the move has failed.
const ATTEMPTS_MAX: i64 = 8;
/// Seconds between attempts, the last for ever.
const PAUSES_S: [i64; 4] = [5, 15, 60, 300];
/// Seconds after which a move that waits for the calendar looks at it again.
const HELD_S: i64 = 300;
/// Moves that one look at the database finds.
const DUE_MAX: u32 = 8;

/// What a move is on the way to, kept so that any server can go on with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// The version of the enablement that it began from: whoever changes that ends the move.
    pub(crate) base: i64,
    pub(crate) grants: Grants,
    pub(crate) settings: Value,
    pub(crate) backfill: bool,
}

/// The last move of a plugin's data to another version.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct MoveView {
    /// From this version.
    pub from_version: String,
    /// To this one.
    pub to_version: String,
    /// `running`; `interrupted` if its server has gone, an attempt has failed or the calendar wants no
    /// upgrades: within a minute or a few, or once the calendar is open, a server goes on where it stands;
    /// `failed`: the old version goes on, and enabling the version begins
    /// again; or `done`.
    pub state: String,
    /// Attempts since a chunk was last done; after 8 the move has failed.
    pub attempts: i64,
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
    let MoveRow { from_version, to_version, state, attempts, chunks, writes, error, .. } = row;
    let MoveRow { leased_until, started_at, updated_at, .. } = row;
    // Whoever takes it up forgets why the one before did not go on.
    let is_left = state == "running" && (leased_until <= core.now() || error.is_some());
    let state = if is_left { "interrupted".to_owned() } else { state };
    Ok(MoveView { from_version, to_version, state, attempts, chunks, writes, error, started_at, updated_at })
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
    (from, to, wanted): (&str, &str, &Wanted),
) -> Result<Taken> {
    let now = core.now();
    let names = [plugin, from, to].map(str::to_owned);
    let state = (tenant.clone(), names, json!(wanted), (now, now.plus_seconds(LEASE_S)));
    let taken = core.db.write(tenant, state, |tx, (tenant, [plugin, from, to], wanted, times)| {
        Box::pin(moves::begin(tx, tenant, plugin, (from.as_str(), to.as_str(), wanted), *times))
    });
    let running = || {
        let message = format!("the data of `{plugin}` is being moved to another version");
        Error::conflict(Reason::MoveRunning, message)
    };
    taken.await?.ok_or_else(running)
}

fn pause_after(attempts: i64) -> i64 {
    let place = usize::try_from(attempts - 1).unwrap_or_default().min(PAUSES_S.len() - 1);
    PAUSES_S.get(place).copied().unwrap_or_default()
}

/// Goes on with moves that nobody is at, of all tenants; answers how many were taken up.
///
/// # Errors
/// Those of the database, when it cannot say which there are.
pub async fn go_on(core: &Core) -> Result<u64> {
    let due = {
        let mut directory = core.db.directory().await?;
        moves::due(&mut directory, core.now(), DUE_MAX).await?
    };
    let mut taken = 0;
    for (tenant, plugin) in due {
        match go_on_with(core, &tenant, &plugin).await {
            Ok(()) => taken += 1,
            // Another server was faster.
            Err(Error::Conflict { code: Reason::MoveRunning, .. }) => {}
            Err(error) => {
                taken += 1;
                tracing::warn!(?error, %tenant, plugin, "an attempt to move a plugin's data has failed");
            }
        }
    }
    Ok(taken)
}

async fn go_on_with(core: &Core, tenant: &TenantId, plugin: &str) -> Result<()> {
    let mut reader = core.db.read(tenant).await?;
    let row = moves::find(&mut reader, tenant, plugin).await?;
    let wanted = moves::wanted(&mut reader, tenant, plugin).await?;
    drop(reader);
    let Some(row) = row.filter(|row| row.state == "running") else { return Ok(()) };
    if row.attempts >= ATTEMPTS_MAX {
        let gone = "every server that took it up has gone";
        return give_up(core, (tenant, plugin), row.error.is_none().then_some(gone)).await;
    }
    let Some(wanted) = wanted else {
        let changed = "the enabled version, its grants or its settings have changed meanwhile";
        return give_up(core, (tenant, plugin), Some(changed)).await;
    };
    let wanted: Wanted = serde_json::from_str(&wanted).map_err(Error::internal)?;
    tracing::info!(%tenant, plugin, to = row.to_version, "goes on with the move of a plugin's data");
    match enablement::resume(core, tenant, (plugin, &row.to_version), wanted).await {
        // It waits for the calendar.
        Err(Error::Refused { code: Reason::UpgradeFrozen { .. }, .. }) => Ok(()),
        Err(Error::VersionMismatch { .. } | Error::Refused { .. } | Error::NotFound { .. }) => {
            let changed = "the version may not run, or what is enabled has changed meanwhile";
            give_up(core, (tenant, plugin), Some(changed)).await
        }
        outcome => outcome,
    }
}

async fn give_up(
    core: &Core,
    (tenant, plugin): (&TenantId, &str),
    error: Option<&'static str>,
) -> Result<()> {
    let state = (tenant.clone(), plugin.to_owned(), error, core.now());
    core.db
        .write(tenant, state, |tx, (tenant, plugin, error, now)| {
            Box::pin(moves::give_up(tx, tenant, plugin, (*error, *now)))
        })
        .await
}

/// Whether the data is moved already, and only the enabling of the version has failed since: a plugin that is
/// disabled has done nothing meanwhile.
pub(crate) async fn is_done(
    core: &Core,
    (tenant, plugin): (&TenantId, &str),
    (from, to, base): (&str, &str, i64),
) -> Result<bool> {
    let mut reader = core.db.read(tenant).await?;
    let row = moves::find(&mut reader, tenant, plugin).await?;
    let wanted = moves::wanted(&mut reader, tenant, plugin).await?;
    let is_this = |row: &MoveRow| row.state == "done" && row.from_version == from && row.to_version == to;
    let Some(wanted) = wanted.filter(|_| row.as_ref().is_some_and(is_this)) else { return Ok(false) };
    let wanted: Wanted = serde_json::from_str(&wanted).map_err(Error::internal)?;
    Ok(wanted.base == base)
}

/// Whether the next chunk of a move may follow; one to an older version may at any time, as may one from a
/// version that the operator has stopped.
///
/// # Errors
/// `Refused` with `upgrade_frozen` while the tenant's calendar wants no upgrades.
pub(crate) async fn check_calendar(
    core: &Core,
    (tenant, plugin): (&TenantId, &str),
    versions: (&str, &str),
) -> Result<()> {
    enablement::check_upgrade(core, &Actor::server(tenant.clone()), plugin, versions).await
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

/// Notes why an attempt has failed. The old version goes on. One that somebody waits for has failed with
/// that; one that a server has taken up is tried again later, a few times. One that waits for the calendar
/// has not failed: it goes on where it stands, however long that takes.
pub(crate) async fn fail(
    core: &Core,
    (tenant, plugin): (&TenantId, &str),
    (epoch, attempts): (i64, Option<i64>),
    error: &Error,
) {
    let now = core.now();
    if matches!(error, Error::Refused { code: Reason::UpgradeFrozen { .. }, .. }) {
        return hold(core, (tenant, plugin), (epoch, error.to_string())).await;
    }
    let again = attempts.filter(|attempts| *attempts < ATTEMPTS_MAX);
    let retry_at = again.map(|attempts| now.plus_seconds(pause_after(attempts)));
    let state = (tenant.clone(), plugin.to_owned(), (epoch, error.to_string(), retry_at), now);
    let noted = core.db.write(tenant, state, |tx, (tenant, plugin, (epoch, error, retry_at), now)| {
        Box::pin(async move {
            match retry_at {
                Some(at) => moves::retry(tx, tenant, plugin, (*epoch, *at, error, *now)).await,
                None => moves::fail(tx, tenant, plugin, (*epoch, error, *now)).await,
            }
        })
    });
    if let Err(error) = noted.await {
        tracing::warn!(%error, plugin, "why a plugin's data was not moved is not kept; its lease will expire");
    }
}

async fn hold(core: &Core, (tenant, plugin): (&TenantId, &str), (epoch, reason): (i64, String)) {
    let now = core.now();
    let state = (tenant.clone(), plugin.to_owned(), (epoch, reason), now);
    let held = core.db.write(tenant, state, |tx, (tenant, plugin, (epoch, reason), now)| {
        Box::pin(moves::hold(tx, tenant, plugin, (*epoch, now.plus_seconds(HELD_S), reason, *now)))
    });
    if let Err(error) = held.await {
        tracing::warn!(%error, plugin, "that a move waits for the calendar is not kept; its lease will expire");
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
