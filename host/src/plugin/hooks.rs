//! Hooks: every enabled plugin with one on this entity sees a save before it commits.

use std::sync::Arc;

use hospes_bindings::exports::hospes::plugin::hooks as contract;
use metrics::counter;
use serde_json::Value;

use super::PluginHost;
use super::acceptance;
use super::call::{Answer, Call};
use super::invocation::Beginning;
use super::registry::Enabled;
use super::run::{Effects, user_actor};
use crate::domain::actor::{Actor, Principal};
use crate::domain::code::FailureCode;
use crate::domain::grant::Grant;
use crate::domain::manifest::{EntityKind, Hook, OnFailure};
use crate::domain::point::Point;
use crate::domain::sight::{Closed, Sight};
use crate::error::{Error, Result};
use crate::metrics::{PLUGIN_PASSED_OVER, plugin_label};
use crate::ops::plugins::{HookedEntity, Save};

impl PluginHost {
    pub(super) async fn run_hooks(&self, actor: &Actor, save: Save) -> Result<Value> {
        let kind = match save.entity {
            HookedEntity::Customer => EntityKind::Customer,
            HookedEntity::Order => EntityKind::Order,
        };
        let all = self.registry.of_tenant(&actor.tenant).await?;
        let mut after = save.after.clone();
        for live in all.iter() {
            let enabled = &Box::pin(self.version_for_save(live, &save)).await?;
            if is_own_write(actor, enabled) {
                continue;
            }
            match self.ask(actor, enabled, (kind, save.before.as_ref(), &after)).await {
                Ok(None) => {}
                Ok(Some(patch)) => merge(&mut after, patch),
                Err(error) if is_veto(&error) => return Err(error),
                Err(error) => match hook_of(enabled, kind).map(|hook| enabled.on_failure.of(hook)) {
                    Some(OnFailure::Allow) => self.pass_over(enabled, kind, &error),
                    Some(OnFailure::Refuse) | None => return Err(error),
                },
            }
        }
        Ok(after)
    }

    /// What a plugin's hook answers to a save, which its shadow sees later; nothing, if it has no hook on
    /// this kind of record or may not see it.
    async fn ask(
        &self,
        actor: &Actor,
        enabled: &Arc<Enabled>,
        (kind, before, after): (EntityKind, Option<&Value>, &Value),
    ) -> Result<Option<Value>> {
        let shadow = self.shadow_of(enabled)?;
        let has_hook = hook_of(enabled, kind).is_some();
        if !has_hook && shadow.as_ref().is_none_or(|shadow| hook_of(&shadow.enabled, kind).is_none()) {
            return Ok(None);
        }
        let user = user_actor(actor, enabled);
        let beginning = self.begin(enabled, user.clone(), Point::Hooks)?;
        let answered = match enabled.sight(kind.hook_grant(), &user) {
            Some(sight) if has_hook => {
                let call = call_of(kind, &sight, (before, after));
                self.run_hook(beginning.clone(), kind, call).await
            }
            Some(_) => Ok(None),
            None => {
                let refused = (kind.hook_grant(), "hooks.before-save");
                self.write_denials(enabled, has_hook.then_some((refused, 1)).into_iter()).await;
                Ok(None)
            }
        };
        if let Some(shadow) = shadow {
            let live = Beginning { actor: actor.clone(), ..beginning };
            self.show_later((&live, &shadow), (kind, before, after), &answered);
        }
        answered
    }

    /// Lets a save through without the opinion of a hook that has failed, and leaves traces of it. The
    /// failure itself is in the plugin's log.
    fn pass_over(&self, enabled: &Enabled, kind: EntityKind, error: &Error) {
        let Enabled { tenant, plugin, .. } = enabled;
        let entity = kind.as_str();
        counter!(PLUGIN_PASSED_OVER, "plugin" => plugin_label(plugin), "entity" => entity).increment(1);
        self.breakers.passed_over((tenant.clone(), Arc::clone(plugin), Point::Hooks));
        if matches!(error, Error::PluginFailed { code: FailureCode::Paused, .. }) {
            // Its pause was told once; every save meanwhile is counted.
            tracing::debug!(%tenant, %plugin, entity, "a save goes on without a hook that is paused");
        } else {
            tracing::warn!(%tenant, %plugin, entity, %error, "a save goes on without a hook that has failed");
        }
    }

    async fn run_hook(&self, beginning: Beginning, kind: EntityKind, call: Call) -> Result<Option<Value>> {
        let (enabled, user) = (&Arc::clone(&beginning.enabled), beginning.actor.clone());
        let Answer::Patch(patch) = self.run(beginning, call, Effects::None).await? else {
            return Err(Error::internal("a hook answered with something else than a patch"));
        };
        let Some(text) = patch else { return Ok(None) };
        let patch = read_patch(enabled, (kind, &user), &text);
        patch.map(Some).map_err(|code| acceptance::error(&enabled.plugin, code))
    }
}

/// Why a patch is refused that sets fields.
const FOREIGN: &str = "of the plugins' fields, a hook may set its own, and only with the grant `fields:own`";

/// The hook of a version on a kind of record, if it has one.
pub(super) fn hook_of(enabled: &Enabled, kind: EntityKind) -> Option<&Hook> {
    enabled.facts.manifest.hooks.iter().find(|hook| hook.entity == kind)
}

/// The call of a hook with what its sight leaves of a record.
pub(super) fn call_of(
    kind: EntityKind,
    sight: &Sight<'_>,
    (before, after): (Option<&Value>, &Value),
) -> Call {
    Call::BeforeSave(contract::Save {
        entity: match kind {
            EntityKind::Customer => contract::EntityKind::Customer,
            EntityKind::Order => contract::EntityKind::Order,
        },
        before: before.map(|body| sight.show(body)),
        after: sight.show(after),
    })
}

/// The kind of record whose save a hook was shown; nothing for kinds that have no hooks yet.
pub(super) const fn kind_of(save: &contract::Save) -> Option<EntityKind> {
    match save.entity {
        contract::EntityKind::Customer => Some(EntityKind::Customer),
        contract::EntityKind::Order => Some(EntityKind::Order),
        contract::EntityKind::Ticket => None,
    }
}

/// A hook's patch, or why it is not taken. A hook may change only what it may see.
pub(super) fn read_patch(
    enabled: &Enabled,
    (kind, user): (EntityKind, &Actor),
    text: &str,
) -> Result<Value, FailureCode> {
    let wrong = |reason: String| FailureCode::Patch { reason };
    let patch = super::host::parse_document(text).map_err(wrong)?;
    if !sets_own_fields(enabled, &patch) {
        return Err(wrong(FOREIGN.to_owned()));
    }
    match enabled.sight(kind.hook_grant(), user).and_then(|sight| sight.closed_to_patch(&patch)) {
        None => Ok(patch),
        Some(Closed { path, class }) => Err(FailureCode::Denied { field: path, class: class.to_string() }),
    }
}

/// Whether a patch sets no plugin's fields but those of this one, which has the grant for them.
fn sets_own_fields(enabled: &Enabled, patch: &Value) -> bool {
    let is_own = |name: &String| name.split_once('.').is_some_and(|(plugin, _)| *plugin == *enabled.plugin);
    match patch.get("fields") {
        None => true,
        Some(Value::Object(fields)) => enabled.grants.has(Grant::FieldsOwn) && fields.keys().all(is_own),
        Some(_) => false,
    }
}

fn is_own_write(actor: &Actor, enabled: &Enabled) -> bool {
    let own = |name: &Arc<str>| **name == *enabled.plugin;
    actor.via_plugin.as_ref().is_some_and(own)
        || matches!(&actor.principal, Principal::Plugin(name) if own(name))
}

fn is_veto(error: &Error) -> bool {
    matches!(error, Error::PluginRejected { .. })
}

/// JSON Merge Patch (RFC 7396).
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(members) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            members.shift_remove(&name);
        } else {
            merge(members.entry(name).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_patch_changes_adds_and_removes() {
        let mut target = json!({ "a": { "b": 1, "c": 2 }, "d": [1, 2] });
        merge(&mut target, json!({ "a": { "b": null, "e": { "f": null, "g": 1 } }, "d": [3] }));
        assert_eq!(target, json!({ "a": { "c": 2, "e": { "g": 1 } }, "d": [3] }));
    }
}
