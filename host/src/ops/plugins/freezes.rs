//! The tenant's calendar of times without upgrades of plugins.

use serde_json::json;

use crate::clock::Timestamp;
use crate::db::freezes as rows;
use crate::domain::actor::Actor;
use crate::domain::audit::Entry;
use crate::domain::check::Faults;
use crate::domain::code::Reason;
use crate::domain::freeze::{Freeze, check_freezes};
use crate::domain::permission::Permission;
use crate::error::{Error, Result};
use crate::ops::{self, Core, access};

/// The calendar, in the order of time.
///
/// # Errors
/// `Forbidden`.
pub async fn list(core: &Core, actor: &Actor) -> Result<Vec<Freeze>> {
    ops::require(actor, Permission::PluginRead)?;
    let mut reader = core.db.read(&actor.tenant).await?;
    rows::list(&mut reader, &actor.tenant).await
}

/// Puts a calendar in the place of the one that was there.
///
/// # Errors
/// `Forbidden`, `Invalid` with every fault.
pub async fn replace(core: &Core, actor: &Actor, mut freezes: Vec<Freeze>) -> Result<Vec<Freeze>> {
    ops::require(actor, Permission::PluginWrite)?;
    let mut faults = Faults::default();
    check_freezes(&freezes, "/freezes", &mut faults);
    faults.finish()?;
    freezes.sort_by_key(|freeze| freeze.starts_at);
    let now = core.now();
    let changes = json!({ "freezes": freezes });
    let entry =
        Entry::new(&*core.ids, now, "upgrade_freezes.replace", "upgrade_freezes", &actor.tenant, changes);
    let state = (actor.clone(), freezes, entry, now);
    core.db
        .write(&actor.tenant, state, |tx, (actor, freezes, entry, now)| {
            Box::pin(async move {
                access::recheck(tx, actor, Permission::PluginWrite, *now).await?;
                rows::replace(tx, &actor.tenant, freezes).await?;
                ops::audit::append(tx, actor, *now, entry).await?;
                Ok(freezes.clone())
            })
        })
        .await
}

/// Refuses an upgrade while a freeze holds.
///
/// # Errors
/// `Refused` with the reason and the end of the freeze.
pub(super) async fn check_open(core: &Core, actor: &Actor, now: Timestamp) -> Result<()> {
    let mut reader = core.db.read(&actor.tenant).await?;
    let freezes = rows::list(&mut reader, &actor.tenant).await?;
    match freezes.into_iter().find(|freeze| freeze.covers(now)) {
        Some(Freeze { ends_at, reason, .. }) => {
            Err(Error::refused(Reason::UpgradeFrozen { until: ends_at.to_string(), reason }))
        }
        None => Ok(()),
    }
}
