//! How a plugin stands, beyond what has run: its limits before the first run, what becomes of a save whose
//! hook fails, and the events that it could not handle while its lane went on.

use serde::Serialize;

use crate::domain::actor::Actor;
use crate::domain::hook_modes::HookModes;
use crate::domain::manifest::{EntityKind, Hook, Manifest, OnFailure};
use crate::domain::permission::Permission;
use crate::domain::point::Point;
use crate::error::Result;
use crate::ops::dead_letters::{self, DeadLetterHead, LaneStatus};
use crate::ops::{Core, events};

/// Events in quarantine that a plugin's status names.
const QUARANTINED_SHOWN: i64 = 5;

/// One limit of an extension point, and who says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PointLimit {
    /// What is limited: `fuel`, `memory_bytes`, `calls`, `rows`, `bytes`, `outbound_requests`, `log_lines`,
    /// `rows_read`, `rows_written`, `cpu_ms` or `wall_ms`.
    pub limit: &'static str,
    /// What a run may use.
    pub effective: u64,
    /// What it might use if nobody had said anything.
    pub default: u64,
    /// What the manifest wishes for instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wish: Option<u64>,
    /// Beyond what the operator lets nobody go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<u64>,
}

/// What a run of an extension point may use; for `events`, that of a batch of one.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct PointLimits {
    /// The extension point.
    pub point: &'static str,
    /// Its limits.
    pub limits: Vec<PointLimit>,
}

/// A hook, and what becomes of a save if it fails or is paused.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct HookStatus {
    /// The record whose save it sees.
    #[schema(value_type = String)]
    pub entity: EntityKind,
    /// `refuse` or `allow`: what the tenant has decided, else what the manifest says.
    #[schema(value_type = String)]
    pub on_failure: OnFailure,
    /// What the manifest says.
    #[schema(value_type = String)]
    pub declared: OnFailure,
}

/// How a plugin keeps up with its events. What it cannot handle is tried again later and later, alone, and
/// put aside at last; the others go on.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct EventsStatus {
    /// Its lane, with how many events wait and how many are put aside.
    pub lane: LaneStatus,
    /// The latest events that are put aside, at most five: its dead letters, which can be replayed.
    pub quarantined: Vec<DeadLetterHead>,
}

/// The limits of the extension points that a plugin exports, whether they have ever run or not.
///
/// # Errors
/// `Unavailable` while the server stops.
pub(super) fn limits(core: &Core, manifest: &Manifest, exports: &[String]) -> Result<Vec<PointLimits>> {
    let plugins = core.plugins()?;
    let exported = Point::ALL.iter().filter(|point| exports.iter().any(|export| export == point.as_str()));
    let limits = exported.map(|point| {
        let limits = plugins.limits(manifest, *point)?;
        Ok(PointLimits { point: point.as_str(), limits })
    });
    limits.collect()
}

/// The hooks of a plugin.
pub(super) fn hooks(manifest: &Manifest, decided: Option<&HookModes>) -> Vec<HookStatus> {
    let status = |hook: &Hook| HookStatus {
        entity: hook.entity,
        on_failure: decided.map_or(hook.on_failure, |modes| modes.of(hook)),
        declared: hook.on_failure,
    };
    manifest.hooks.iter().map(status).collect()
}

/// The lane of a plugin; nothing if it has none, or if the actor may not see the lanes.
///
/// # Errors
/// Those of the database.
pub(super) async fn events(core: &Core, actor: &Actor, plugin: &str) -> Result<Option<EventsStatus>> {
    if actor.reach(Permission::EventRead).is_none() {
        return Ok(None);
    }
    let consumer = events::consumer_of_plugin(plugin);
    let Some(lane) = dead_letters::lane_status(core, actor, &consumer).await? else { return Ok(None) };
    let quarantined = dead_letters::latest(core, actor, &consumer, QUARANTINED_SHOWN).await?;
    Ok(Some(EventsStatus { lane, quarantined }))
}
