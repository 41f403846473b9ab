//! Actions: buttons on a record. Input, role and target are checked before the guest runs.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::OwnedMutexGuard;

use super::PluginHost;
use super::call::{Answer, Call};
use super::commit::{Commit, is_stale, stale};
use super::host::subject_of_event;
use super::invocation::{Beginning, clean};
use super::registry::Enabled;
use super::run::{ATTEMPTS_MAX, Effects, conflicts, user_actor};
use crate::domain::actor::Actor;
use crate::domain::audit::Entry;
use crate::domain::code::{FailureCode, Reason, RecordKind};
use crate::domain::event::Subject;
use crate::domain::manifest::Action;
use crate::domain::permission::Permission;
use crate::domain::point::Point;
use crate::error::{Error, Result};
use crate::ops::plugins::{Ack, ActionOutcome};
use crate::ops::{self, Core};

impl PluginHost {
    pub(super) async fn act(
        &self,
        actor: &Actor,
        plugin: &str,
        action: &str,
        (target, input): (Subject, Value),
    ) -> Result<ActionOutcome> {
        ops::require(actor, Permission::PluginAct)?;
        let unknown = || Error::not_found(RecordKind::Action, format!("{plugin}/{action}"));
        let enabled = self.registry.find(&actor.tenant, plugin).await?.ok_or_else(unknown)?;
        let declared = enabled.facts.manifest.action(action).ok_or_else(unknown)?;
        if declared.entity.as_str() != target.kind() {
            return Err(unknown());
        }
        check_role(actor, declared)?;
        let schema = enabled.facts.actions.get(action).ok_or_else(unknown)?;
        let mut input = input;
        schema.fill_defaults(&mut input);
        let faults = schema.faults("", &input);
        if !faults.is_empty() {
            return Err(Error::Invalid { faults });
        }
        let beginning = self.begin(&enabled, user_actor(actor, &enabled), Point::Actions)?;
        let ack = audit(&beginning.core, &beginning.actor, plugin, action, &target);
        let call = Call::Act {
            action: action.to_owned(),
            target: subject_of_event(&target),
            input: input.to_string(),
        };
        let effects = Effects::with(ack);
        let mut turn = None;
        for attempt in 1..=ATTEMPTS_MAX {
            let prepared = Box::pin(self.prepare_outcome(&beginning, &call, (attempt, &effects)));
            let written = beginning.core.write_once(actor, prepared, |tx, (commit, outcome)| {
                Box::pin(async move {
                    if let Some(commit) = commit {
                        Commit::apply(commit, tx).await?;
                    }
                    Ok(ActionOutcome::clone(outcome))
                })
            });
            match written.await {
                Err(error) if is_stale(&error) => self.note_rerun(&enabled).await?,
                answered => return answered,
            }
            if turn.is_none() {
                turn = Some(self.turn(&enabled, &target).await);
            }
        }
        Err(conflicts(&enabled))
    }

    /// Waits for a turn among the actions on one record that have met a conflict:
    /// the first attempt is free, and the second does not meet the same crowd again.
    async fn turn(&self, enabled: &Enabled, target: &Subject) -> OwnedMutexGuard<()> {
        let name = format!("{}/{}/{}", enabled.tenant, enabled.plugin, target.id());
        let queue = self.queues.get_with(name, async { Arc::default() }).await;
        queue.lock_owned().await
    }

    /// The guest's answer, and what is committed with it. A repeated request does
    /// not come here: it gets the answer of the first.
    async fn prepare_outcome(
        &self,
        beginning: &Beginning,
        call: &Call,
        (attempt, effects): (u32, &Effects),
    ) -> Result<(Option<Commit>, ActionOutcome)> {
        let prepared = self.prepare(beginning, call, attempt, effects).await?;
        let (answer, commit) = prepared.ok_or_else(|| stale("a record"))?;
        let Answer::Outcome(outcome) = answer else {
            return Err(Error::internal("an action answered with something else than an outcome"));
        };
        let body = super::host::parse_document(&outcome.body).map_err(|message| Error::PluginFailed {
            plugin: beginning.enabled.plugin.to_string(),
            code: FailureCode::Outcome { reason: message.clone() },
            message: format!("what it answers is not acceptable: {message}"),
        })?;
        Ok((commit, ActionOutcome { message: clean(&outcome.message, 1_024), body }))
    }
}

fn check_role(actor: &Actor, action: &Action) -> Result<()> {
    if actor.roles.iter().any(|role| action.roles.contains(role)) {
        return Ok(());
    }
    let roles: Vec<_> = action.roles.iter().map(|role| role.as_str()).collect();
    let roles = roles.join(", ");
    let message = format!("the action `{}` is for the roles {roles}", action.name);
    Err(Error::Refused { code: Reason::Role { roles }, message })
}

/// The audit line that commits with what the action writes.
fn audit(core: &Core, actor: &Actor, plugin: &str, action: &str, target: &Subject) -> Ack {
    let now = core.now();
    let changes = json!({ "plugin": plugin, "action": action });
    let kind = match target {
        Subject::Customer(_) => "customer",
        Subject::Order(_) => "order",
        Subject::Tenant => "tenant",
    };
    let entry = Entry::new(&*core.ids, now, "plugin.action", kind, target.id(), changes);
    let state = Arc::new((actor.clone(), entry));
    Arc::new(move |tx| {
        let state = Arc::clone(&state);
        Box::pin(async move { ops::audit::append(tx, &state.0, now, &state.1).await })
    })
}
