//! Actions: buttons on a record. Input, role and target are checked before the guest runs.

use hospes_bindings::exports::hospes::plugin::actions as contract;
use serde_json::{Value, json};

use super::PluginHost;
use super::acceptance;
use super::call::{Answer, Call};
use super::host::subject_of_event;
use super::invocation::clean;
use super::request::{audit, check_roles};
use super::run::{Effects, Overtaken, user_actor};
use crate::domain::actor::Actor;
use crate::domain::code::{FailureCode, RecordKind};
use crate::domain::event::Subject;
use crate::domain::permission::Permission;
use crate::domain::point::Point;
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::plugins::ActionOutcome;

impl PluginHost {
    /// Runs an action; once more if another server has changed the plugin's rights, which shows here
    /// only when it commits.
    pub(super) async fn act(
        &self,
        actor: &Actor,
        (plugin, action): (&str, &str),
        (target, input): (Subject, Value),
    ) -> Result<ActionOutcome> {
        let known = self.act_as_known(actor, (plugin, action), (target.clone(), input.clone())).await;
        match known {
            Err(error) if Overtaken::is(&error) => {
                self.act_as_known(actor, (plugin, action), (target, input)).await
            }
            answered => answered,
        }
    }

    async fn act_as_known(
        &self,
        actor: &Actor,
        (plugin, action): (&str, &str),
        (target, input): (Subject, Value),
    ) -> Result<ActionOutcome> {
        ops::require(actor, Permission::PluginAct)?;
        let unknown = || Error::not_found(RecordKind::Action, format!("{plugin}/{action}"));
        let enabled = self.registry.find(&actor.tenant, plugin).await?.ok_or_else(unknown)?;
        let enabled = Box::pin(self.version_for(&enabled, &target)).await?;
        let declared = enabled.facts.manifest.action(action).ok_or_else(unknown)?;
        if declared.entity.as_str() != target.kind() {
            return Err(unknown());
        }
        check_roles(actor, &format!("the action `{action}`"), &declared.roles)?;
        let schema = enabled.facts.actions.get(action).ok_or_else(unknown)?;
        let mut input = input;
        schema.fill_defaults(&mut input);
        let faults = schema.faults("", &input);
        if !faults.is_empty() {
            return Err(Error::Invalid { faults });
        }
        let beginning = self.begin(&enabled, user_actor(actor, &enabled), Point::Actions)?.of_user(actor);
        let changes = json!({ "plugin": plugin, "action": action });
        let effects =
            Effects::with(audit(&beginning, "plugin.action", (target.kind(), target.id()), changes));
        let call = Call::Act {
            action: action.to_owned(),
            target: subject_of_event(&target),
            input: input.to_string(),
        };
        let name = enabled.plugin.to_string();
        let read = Box::new(move |answer| read(&name, answer));
        self.run_request(actor, &beginning, (&call, &effects), target.id(), read).await
    }
}

fn read(plugin: &str, answer: Answer) -> Result<ActionOutcome> {
    let Answer::Outcome(outcome) = answer else {
        return Err(Error::internal("an action answered with something else than an outcome"));
    };
    let body = read_body(&outcome).map_err(|code| acceptance::error(plugin, code))?;
    Ok(ActionOutcome { message: clean(&outcome.message, 1_024), body })
}

/// What an action answers for whoever has asked, or why that is not taken.
pub(super) fn read_body(outcome: &contract::Outcome) -> Result<Value, FailureCode> {
    super::host::parse_document(&outcome.body).map_err(|reason| FailureCode::Outcome { reason })
}
