//! Hooks: every enabled plugin with one on this entity sees a save before it commits.

use std::sync::Arc;

use hospes_bindings::exports::hospes::plugin::hooks as contract;
use metrics::counter;
use serde_json::Value;

use super::PluginHost;
use super::call::{Answer, Call};
use super::registry::Enabled;
use super::run::{Effects, user_actor};
use crate::domain::actor::{Actor, Locale, Principal};
use crate::domain::code::FailureCode;
use crate::domain::grant::Grant;
use crate::domain::manifest::{EntityKind, OnFailure};
use crate::domain::point::Point;
use crate::domain::sight::{Closed, Sight};
use crate::error::{Error, Result};
use crate::metrics::{PLUGIN_PASSED_OVER, plugin_label};
use crate::ops::plugins::{HookedEntity, Save};
use crate::texts;

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
            let hook = enabled.facts.manifest.hooks.iter().find(|hook| hook.entity == kind);
            let Some(hook) = hook else { continue };
            if is_own_write(actor, enabled) {
                continue;
            }
            let user = user_actor(actor, enabled);
            let Some(sight) = enabled.sight(kind.hook_grant(), &user) else {
                let refused = (kind.hook_grant(), "hooks.before-save");
                self.write_denials(enabled, std::iter::once((refused, 1))).await;
                continue;
            };
            let shown = |body: &Value| {
                let mut body = body.clone();
                sight.hide(&mut body);
                body.to_string()
            };
            let call = Call::BeforeSave(contract::Save {
                entity: match kind {
                    EntityKind::Customer => contract::EntityKind::Customer,
                    EntityKind::Order => contract::EntityKind::Order,
                },
                before: save.before.as_ref().map(shown),
                after: shown(&after),
            });
            match self.run_hook(&user, enabled, (&sight, call)).await {
                Ok(None) => {}
                Ok(Some(patch)) => merge(&mut after, patch),
                Err(error) if is_veto(&error) => return Err(error),
                Err(error) => match enabled.on_failure.of(hook) {
                    OnFailure::Refuse => return Err(error),
                    OnFailure::Allow => self.pass_over(enabled, kind, &error),
                },
            }
        }
        Ok(after)
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

    async fn run_hook(
        &self,
        user: &Actor,
        enabled: &Arc<Enabled>,
        (sight, call): (&Sight<'_>, Call),
    ) -> Result<Option<Value>> {
        let beginning = self.begin(enabled, user.clone(), Point::Hooks)?;
        let Answer::Patch(patch) = self.run(beginning, call, Effects::None).await? else {
            return Err(Error::internal("a hook answered with something else than a patch"));
        };
        let Some(text) = patch else { return Ok(None) };
        let patch = super::host::parse_document(&text).and_then(|patch| {
            let is_acceptable = sets_own_fields(enabled, &patch);
            if is_acceptable { Ok(patch) } else { Err(FOREIGN.to_owned()) }
        });
        let patch = patch.map_err(|message| Error::PluginFailed {
            plugin: enabled.plugin.to_string(),
            code: FailureCode::Patch { reason: message.clone() },
            message: format!("its patch is not acceptable: {message}"),
        })?;
        match sight.closed_to_patch(&patch) {
            None => Ok(Some(patch)),
            Some(closed) => Err(self.refuse_patch(enabled, &closed).await),
        }
    }

    /// A hook may change only what it may see.
    async fn refuse_patch(&self, enabled: &Enabled, closed: &Closed) -> Error {
        let code = FailureCode::Denied { field: closed.path.clone(), class: closed.class.to_string() };
        let message = texts::say(Locale::En, &code);
        self.log_failure(enabled, Point::Hooks, (code.as_str(), &message)).await;
        Error::PluginFailed { plugin: enabled.plugin.to_string(), code, message }
    }
}

/// Why a patch is refused that sets fields.
const FOREIGN: &str = "of the plugins' fields, a hook may set its own, and only with the grant `fields:own`";

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
