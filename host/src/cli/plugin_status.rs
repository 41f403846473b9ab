//! `hospes plugin status`: how a plugin stands with a tenant.
//!
//! What runs is counted by the servers, each for itself; their API and metrics tell it.

use super::output::{Outcome, say};
use super::plugin_log;
use crate::domain::actor::Actor;
use crate::ops::Core;
use crate::ops::plugins::catalogue::{self, PluginDetails};
use crate::ops::plugins::status::{EventsStatus, HookStatus, PointLimit, PointLimits};

/// Says state, limits, hooks, events and the last failures.
pub(super) async fn tell(core: &Core, actor: &Actor, name: &str) -> Outcome {
    let details = catalogue::find(core, actor, name).await?;
    let PluginDetails { summary, limits, hooks, events_status, last_failures, .. } = &details;
    match &summary.enablement {
        Some(enablement) => {
            say(format_args!("{name} {} is {}", enablement.plugin_version, enablement.state))?
        }
        None => say(format_args!("{name} {} is installed and not enabled", summary.version))?,
    }
    hooks.iter().try_for_each(hook)?;
    events_status.iter().try_for_each(events)?;
    say("limits of a run:")?;
    limits.iter().try_for_each(limits_of)?;
    if last_failures.is_empty() {
        return say("no failure is in its log");
    }
    say("last failures:")?;
    last_failures.iter().try_for_each(plugin_log::line)
}

/// Says what becomes of saves whose hook fails, and who has decided it.
pub(super) fn hook(hook: &HookStatus) -> Outcome {
    let HookStatus { entity, on_failure, declared } = hook;
    let by = if on_failure == declared { "its manifest" } else { "the tenant" };
    let entity = entity.as_str();
    say(format_args!("hook on {entity}: if it fails, {} the save, says {by}", on_failure.as_str()))
}

fn events(status: &EventsStatus) -> Outcome {
    let EventsStatus { lane, quarantined } = status;
    say(format_args!(
        "events: {}, {} wait, {} are put aside as dead letters",
        lane.state, lane.waiting, lane.dead
    ))?;
    for letter in quarantined {
        let why = letter.last_error.as_deref().unwrap_or_default();
        let (kind, id) = (&letter.subject_kind, &letter.subject_id);
        say(format_args!("  {} {} of {kind} {id}: {why}", letter.event, letter.name))?;
    }
    Ok(())
}

fn limits_of(of: &PointLimits) -> Outcome {
    say(format_args!("  {}", of.point))?;
    of.limits.iter().map(limit).try_for_each(say)
}

fn limit(limit: &PointLimit) -> String {
    let PointLimit { limit, effective, default, wish, ceiling } = limit;
    let mut text = format!("    {limit:<18}{effective}");
    if effective != default {
        text += &format!(" (default {default})");
    }
    if let Some(wish) = wish {
        text += &format!(", wished for {wish}");
    }
    if let Some(ceiling) = ceiling {
        text += &format!(", ceiling {ceiling}");
    }
    text
}
