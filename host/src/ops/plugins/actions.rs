//! Buttons of plugins on records that the actor sees.

use serde_json::Value;

use super::ActionOutcome;
use crate::domain::actor::Actor;
use crate::domain::event::Subject;
use crate::domain::permission::Permission;
use crate::error::Result;
use crate::ops::{self, Core};

/// Runs an action of a plugin on a record; what the plugin writes commits together, or nothing does.
///
/// # Errors
/// `Forbidden`; `NotFound` for a record that the actor does not see and for an
/// unknown action; `Refused` with `role` if the action is not for the actor's roles;
/// `Invalid` for an input that the manifest's schema refuses; `PluginRejected` and `PluginFailed`.
pub async fn run(
    core: &Core,
    actor: &Actor,
    (plugin, action): (&str, &str),
    target: Subject,
    input: Value,
) -> Result<ActionOutcome> {
    ops::require(actor, Permission::PluginAct)?;
    // Whoever may read more records than act on sees the button on those alone.
    for permission in [Permission::PluginAct, reading(&target)] {
        match &target {
            Subject::Customer(id) => ops::customers::check_reach(core, actor, permission, id).await?,
            Subject::Order(id) => ops::orders::check_reach(core, actor, permission, id).await?,
            Subject::Tenant => {}
        }
    }
    core.plugins()?.run_action(actor, plugin, action, target, input).await
}

fn reading(target: &Subject) -> Permission {
    match target {
        Subject::Customer(_) => Permission::CustomerRead,
        Subject::Order(_) => Permission::OrderRead,
        Subject::Tenant => Permission::PluginAct,
    }
}
