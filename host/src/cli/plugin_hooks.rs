//! `hospes plugin hooks`: what becomes of saves whose hook fails.

use std::str::FromStr;

use super::output::{Outcome, say};
use super::plugin_status;
use crate::domain::actor::Actor;
use crate::domain::manifest::{EntityKind, OnFailure};
use crate::ops::Core;
use crate::ops::plugins::catalogue;
use crate::ops::plugins::enablement::{self, EnablementPatch};

/// `RECORD=WHAT`; without a mode, what the manifest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HookRule(EntityKind, Option<OnFailure>);

const RECORDS: [EntityKind; 2] = [EntityKind::Customer, EntityKind::Order];
const MODES: [OnFailure; 2] = [OnFailure::Refuse, OnFailure::Allow];
/// Takes a decision of the tenant back.
const DECLARED: &str = "declared";

impl FromStr for HookRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (record, mode) = text.split_once('=').ok_or("a rule is RECORD=WHAT, such as order=allow")?;
        let known = RECORDS.into_iter().find(|one| one.as_str() == record);
        let record = known.ok_or_else(|| format!("`{record}` has no hooks; customer and order have"))?;
        if mode == DECLARED {
            return Ok(Self(record, None));
        }
        let known = MODES.into_iter().find(|one| one.as_str() == mode);
        let mode = known.ok_or_else(|| format!("`{mode}` is none of refuse, allow and {DECLARED}"))?;
        Ok(Self(record, Some(mode)))
    }
}

/// Changes what the rules name, and says what is so then.
pub(super) async fn run(core: &Core, actor: &Actor, name: &str, rules: &[HookRule]) -> Outcome {
    let now = enablement::find(core, actor, name).await?;
    if !rules.is_empty() {
        let mut modes = now.on_failure.0;
        for HookRule(record, mode) in rules {
            match mode {
                Some(mode) => modes.0.insert(*record, *mode),
                None => modes.0.remove(record),
            };
        }
        let patch = EnablementPatch { on_failure: Some(modes), ..EnablementPatch::default() };
        enablement::change(core, actor, name, patch, Some(now.version)).await?;
    }
    let hooks = catalogue::find(core, actor, name).await?.hooks;
    if hooks.is_empty() {
        return say(format_args!("{name} has no hooks"));
    }
    hooks.iter().try_for_each(plugin_status::hook)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_names_a_record_and_what_becomes_of_its_saves() {
        let rule = |text: &str| text.parse::<HookRule>();
        assert_eq!(rule("order=allow"), Ok(HookRule(EntityKind::Order, Some(OnFailure::Allow))));
        assert_eq!(rule("customer=declared"), Ok(HookRule(EntityKind::Customer, None)));
        for (text, told) in [
            ("order", "RECORD=WHAT"),
            ("ticket=allow", "`ticket` has no hooks"),
            ("order=maybe", "`maybe` is none of"),
        ] {
            let why = rule(text).unwrap_err();
            assert!(why.contains(told), "{why}");
        }
    }
}
