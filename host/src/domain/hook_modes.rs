//! What becomes of a save whose hook fails: the manifest's wish, and above it the tenant's decision.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::manifest::{EntityKind, Hook, OnFailure};

/// What a tenant has decided, by the record that is saved; where it has not, the manifest's wish stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HookModes(pub BTreeMap<EntityKind, OnFailure>);

impl HookModes {
    /// What becomes of a save whose hook fails.
    #[must_use]
    pub fn of(&self, hook: &Hook) -> OnFailure {
        self.0.get(&hook.entity).copied().unwrap_or(hook.on_failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_decision_stands_above_the_manifests_wish() {
        let hook = |entity| Hook { entity, on_failure: OnFailure::Refuse };
        let modes: HookModes = serde_json::from_str(r#"{"order":"allow"}"#).unwrap();
        assert_eq!(modes.of(&hook(EntityKind::Order)), OnFailure::Allow);
        assert_eq!(modes.of(&hook(EntityKind::Customer)), OnFailure::Refuse);
        assert!(serde_json::from_str::<HookModes>(r#"{"ticket":"allow"}"#).is_err());
        assert!(serde_json::from_str::<HookModes>(r#"{"order":"maybe"}"#).is_err());
    }
}
