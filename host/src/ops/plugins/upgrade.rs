//! Upgrades: what a newer version would change for a tenant, and the operator's roll-out.
//!
//! Whoever gets less moves by itself; whoever would give more is asked, and keeps the old version
//! running until its administrator enables the new one.

use serde::Serialize;

use super::enablement::{self, NewEnablement};
use super::{packages, trust};
use crate::db::plugins::{self, Package};
use crate::domain::actor::Actor;
use crate::domain::permission::Permission;
use crate::domain::rights::{Rights, RightsDiff};
use crate::error::Result;
use crate::ops::{self, Core};

/// A newer version than the one that a tenant runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Upgrade {
    /// The newest version that is installed and not stopped.
    pub version: String,
    /// What it asks for more and less, by its bytes and manifest.
    pub rights: RightsDiff,
    /// Whether it waits for the tenant's administrator, because it asks for more.
    pub waits: bool,
}

/// What a roll-out has done for a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The tenant does not run the plugin, or runs the newest version.
    Nothing,
    /// The tenant runs another version now.
    Moved {
        /// The version before.
        from: String,
        /// The version now.
        to: String,
    },
    /// The old version goes on until the tenant's administrator decides.
    Waits(Upgrade),
}

/// The upgrade that there is from the version `running`, if any.
pub(super) async fn of(core: &Core, versions: &[Package], running: &str) -> Result<Option<Upgrade>> {
    let Some(old) = versions.iter().find(|package| package.version == running) else { return Ok(None) };
    let stops = trust::stops(core, &old.name).await?;
    let is_stopped = |package: &Package| stops.iter().any(|stop| stop.version == package.version);
    let order = |package: &Package| packages::order(&package.version);
    let newest = versions.iter().filter(|package| !is_stopped(package)).max_by_key(|package| order(package));
    Ok(newest.filter(|new| order(new) > order(old)).map(|new| {
        let rights = rights(old).diff(&rights(new));
        let waits = !rights.is_narrowing();
        Upgrade { version: new.version.clone(), rights, waits }
    }))
}

pub(super) fn rights(package: &Package) -> Rights {
    Rights::of(&package.manifest.0, &package.imports.0, &package.exports.0)
}

/// Moves the actor's tenant to the newest version of a plugin that it runs, if that asks for nothing
/// more than the version before. Grants and settings stay.
///
/// # Errors
/// `Forbidden`, and those of [`enablement::enable`], which leave the old version running.
pub async fn roll_out(core: &Core, actor: &Actor, plugin: &str) -> Result<Step> {
    ops::require(actor, Permission::PluginWrite)?;
    let mut reader = core.db.read(&actor.tenant).await?;
    let row = plugins::find_enablement(&mut reader, &actor.tenant, plugin).await?;
    drop(reader);
    let Some(row) = row.filter(|row| row.state == "enabled") else { return Ok(Step::Nothing) };
    let mut reader = core.db.read_host().await?;
    let versions = plugins::versions_of(&mut reader, plugin).await?;
    drop(reader);
    match of(core, &versions, &row.package_version).await? {
        None => Ok(Step::Nothing),
        Some(upgrade) if upgrade.waits => Ok(Step::Waits(upgrade)),
        Some(Upgrade { version, .. }) => {
            let version = Some(version);
            let new = NewEnablement { version, grants: None, settings: None, backfill: false };
            let now = enablement::enable(core, actor, plugin, new).await?;
            Ok(Step::Moved { from: row.package_version, to: now.package_version })
        }
    }
}
