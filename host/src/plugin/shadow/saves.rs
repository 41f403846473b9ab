//! Saves that a shadow sees as well: what it would have answered to a person is compared with what the
//! enabled version has, and discarded.
//!
//! Nobody waits for it. A save is put into a bounded queue once the enabled version has answered, and the
//! shadow is called later, one save after another; what there is no room for is counted.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::Value;

use super::{EFFECT_BYTES_MAX, FOUND_MAX, METERED_AS, Told, reason_of};
use crate::clock::Timestamp;
use crate::db::shadows::Delivery;
use crate::domain::actor::{Actor, Locale};
use crate::domain::ids::TenantId;
use crate::domain::manifest::EntityKind;
use crate::domain::point::Point;
use crate::error::{Error, Result};
use crate::ops::plugins::shadow;
use crate::plugin::PluginHost;
use crate::plugin::call::{Answer, Call, Failure, invoke};
use crate::plugin::hooks::{call_of, hook_of, read_patch};
use crate::plugin::invocation::{Beginning, Invocation, clean};
use crate::plugin::registry::{Enabled, Shadow};
use crate::plugin::run::{told_by_guest, user_actor};
use crate::texts;

/// Saves that wait at most on this server, of one tenant, and their bytes.
const WAITING_MAX: usize = 512;
const OF_TENANT_MAX: usize = 128;
const WAITING_BYTES_MAX: usize = 16 << 20;
/// Saves of one shadow that are written down together at most.
const WRITTEN_MAX: usize = 50;
/// Shadows of which what was left out is counted.
const COUNTS_MAX: usize = 10_000;

/// The tenant, the plugin and when the shadow was started.
type Whose = (TenantId, Arc<str>, Timestamp);
/// What a hook answers: nothing, a patch, or code and message of a rejection.
type Verdict = std::result::Result<Option<Value>, (String, String)>;

/// A save that the enabled version has answered.
struct Seen {
    whose: Whose,
    actor: Actor,
    kind: EntityKind,
    /// As JSON, before what sees them hides anything.
    before: Option<String>,
    after: String,
    record: String,
    /// The time and the seed of the enabled version's run.
    began: (Timestamp, u64),
    live: Verdict,
}

impl Seen {
    fn bytes(&self) -> usize {
        self.after.len().saturating_add(self.before.as_ref().map_or(0, String::len))
    }
}

/// Saves that wait for shadows.
#[derive(Default)]
pub(in crate::plugin) struct Saves(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    saves: VecDeque<Seen>,
    bytes: usize,
    left_out: HashMap<Whose, i64>,
}

impl Saves {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().expect("no code panics while it holds this lock")
    }

    /// Lets a save wait, or counts that there was no room.
    fn push(&self, seen: Seen) {
        let mut waiting = self.lock();
        let bytes = waiting.bytes.saturating_add(seen.bytes());
        let of_tenant = waiting.saves.iter().filter(|other| other.whose.0 == seen.whose.0).count();
        if waiting.saves.len() >= WAITING_MAX || of_tenant >= OF_TENANT_MAX || bytes > WAITING_BYTES_MAX {
            if waiting.left_out.len() < COUNTS_MAX || waiting.left_out.contains_key(&seen.whose) {
                *waiting.left_out.entry(seen.whose).or_default() += 1;
            }
            return;
        }
        waiting.bytes = bytes;
        waiting.saves.push_back(seen);
    }

    /// The next saves of one shadow, and how many of it were left out; nothing if none waits.
    fn take(&self) -> Option<(Whose, Vec<Seen>, i64)> {
        let mut waiting = self.lock();
        let first = waiting.saves.front().map(|seen| &seen.whose);
        let whose = first.or_else(|| waiting.left_out.keys().next())?.clone();
        let left_out = waiting.left_out.remove(&whose).unwrap_or_default();
        let mut taken = Vec::new();
        let mut others = VecDeque::with_capacity(waiting.saves.len());
        for seen in std::mem::take(&mut waiting.saves) {
            if seen.whose == whose && taken.len() < WRITTEN_MAX {
                taken.push(seen);
            } else {
                others.push_back(seen);
            }
        }
        waiting.bytes -= taken.iter().map(Seen::bytes).sum::<usize>();
        waiting.saves = others;
        Some((whose, taken, left_out))
    }
}

impl Told {
    /// What a hook answers to the save of a record.
    fn of_verdict(subject: (&str, &str), verdict: &Verdict) -> Self {
        let mut told = Self::default();
        match verdict {
            Ok(patch) => {
                told.add(subject, "hook/decision".to_owned(), "accepted".to_owned());
                let members = patch.as_ref().and_then(Value::as_object);
                for (name, value) in members.into_iter().flatten() {
                    match value.as_object().filter(|_| name == "fields") {
                        Some(fields) => fields.iter().for_each(|(field, value)| {
                            told.add(subject, format!("hook/patch/fields/{field}"), value.to_string());
                        }),
                        None => told.add(subject, format!("hook/patch/{name}"), value.to_string()),
                    }
                }
            }
            Err((code, message)) => {
                told.add(subject, "hook/decision".to_owned(), format!("rejected: {code}: {message}"));
            }
        }
        told
    }
}

/// The answer to a person as far as it can be compared; nothing of a run that has broken off.
fn verdict_of(answered: &Result<Option<Value>>) -> Option<Verdict> {
    match answered {
        Ok(patch) => Some(Ok(patch.clone())),
        Err(Error::PluginRejected { code, message, .. }) => Some(Err((code.clone(), message.clone()))),
        Err(_broken) => None,
    }
}

impl PluginHost {
    /// Lets the shadow see a save that the enabled version has answered. It never waits and never fails.
    pub(in crate::plugin) fn show_later(
        &self,
        (live, shadow): (&Beginning, &Shadow),
        (kind, before, after): (EntityKind, Option<&Value>, &Value),
        answered: &Result<Option<Value>>,
    ) {
        let Some(verdict) = verdict_of(answered) else { return };
        let Enabled { tenant, plugin, .. } = &*live.enabled;
        self.saves.push(Seen {
            whose: (tenant.clone(), Arc::clone(plugin), shadow.started_at),
            actor: Actor { once: None, ..live.actor.clone() },
            kind,
            before: before.map(Value::to_string),
            after: after.to_string(),
            record: after["id"].as_str().unwrap_or_default().to_owned(),
            began: (live.now, live.seed),
            live: verdict,
        });
    }

    /// Calls shadows with all saves that wait, and writes down what they show; how many there were.
    pub(in crate::plugin) async fn show_saves(&self) -> u64 {
        let mut shown = 0;
        while let Some((whose, seen, left_out)) = self.saves.take() {
            shown += u64::try_from(seen.len()).unwrap_or(u64::MAX);
            if let Err(error) = self.show_all(&whose, &seen, left_out).await {
                tracing::warn!(%error, plugin = %whose.1, "what a shadow showed of saves is not kept");
            }
        }
        shown
    }

    async fn show_all(&self, whose: &Whose, seen: &[Seen], left_out: i64) -> Result<()> {
        let (tenant, plugin, started_at) = whose;
        let core = self.core()?;
        let mut delivery = Delivery {
            started_at: *started_at,
            at: core.now(),
            event: None,
            events: 0,
            saves: 0,
            left_out,
            failures: 0,
            fuel: 0,
            last_error: None,
            found: Vec::new(),
        };
        // It may have ended while they waited, or the operator may have stopped its version.
        let live = self.registry.find(tenant, plugin).await?;
        let shadow = live.as_ref().and_then(|live| live.shadow.clone());
        let Some(shadow) = shadow.filter(|shadow| shadow.started_at == *started_at) else { return Ok(()) };
        for one in seen {
            let (verdict, fuel) = self.show_save(&shadow.enabled, one).await;
            delivery.saves += 1;
            delivery.fuel = delivery.fuel.saturating_add(i64::try_from(fuel).unwrap_or(i64::MAX));
            match verdict {
                Ok(verdict) => {
                    let subject = (one.kind.as_str(), one.record.as_str());
                    let live = Told::of_verdict(subject, &one.live);
                    let found = live.differences(&Told::of_verdict(subject, &verdict));
                    delivery.found.extend(found);
                }
                Err(reason) => {
                    delivery.failures += 1;
                    delivery.last_error = Some(clean(&reason, EFFECT_BYTES_MAX));
                }
            }
        }
        delivery.found.truncate(FOUND_MAX);
        if !shadow::keep(&core, tenant, plugin, delivery).await? {
            self.registry.forget(tenant).await;
        }
        Ok(())
    }

    /// What the version in the shadow would have answered, and the fuel for it.
    async fn show_save(
        &self,
        candidate: &Arc<Enabled>,
        seen: &Seen,
    ) -> (std::result::Result<Verdict, String>, u64) {
        // Who has no hook, or may not see the record, has nothing to say, as the enabled version would not.
        let user = user_actor(&seen.actor, candidate);
        let sight = candidate.sight(seen.kind.hook_grant(), &user);
        let (Some(_), Some(sight)) = (hook_of(candidate, seen.kind), sight) else {
            return (Ok(Ok(None)), 0);
        };
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
        let before = seen.before.as_deref().map(read);
        let call = call_of(seen.kind, &sight, (before.as_ref(), &read(&seen.after)));
        let (outcome, fuel) =
            match self.call_hook_in_shadow(candidate, (user.clone(), seen.began), call).await {
                Ok(called) => called,
                Err(error) => return (Err(error.to_string()), 0),
            };
        let verdict = match outcome {
            Ok(Answer::Patch(None)) => Ok(Ok(None)),
            Ok(Answer::Patch(Some(text))) => match read_patch(candidate, (seen.kind, &user), &text) {
                Ok(patch) => Ok(Ok(Some(patch))),
                Err(code) => Err(texts::say(Locale::En, &code)),
            },
            Ok(_other) => Err("a hook answered with something else than a patch".to_owned()),
            Err(Failure::Rejected(told)) => {
                let (code, message, _faults) = told_by_guest(told);
                Ok(Err((code, message)))
            }
            Err(failure) => Err(reason_of(&failure)),
        };
        (verdict, fuel)
    }

    async fn call_hook_in_shadow(
        &self,
        candidate: &Arc<Enabled>,
        (user, (now, seed)): (Actor, (Timestamp, u64)),
        call: Call,
    ) -> Result<(std::result::Result<Answer, Failure>, u64)> {
        let beginning = self.begin(candidate, user, Point::Hooks)?;
        // The same time and seed, so that what differs is the version's own doing.
        let beginning = Beginning { now, seed, is_shadow: true, keep: None, ..beginning };
        let loaded = self.registry.loaded(candidate).await?;
        let slot = self.sandbox.slot(candidate).await?;
        let started = std::time::Instant::now();
        let (mut invocation, outcome) =
            Box::pin(invoke(&loaded, Invocation::new(&beginning, 1), &call)).await;
        drop(slot);
        invocation.took(started.elapsed());
        let is_broken = matches!(outcome, Err(Failure::Stopped { .. }));
        self.meter.count_as(METERED_AS, &invocation, is_broken);
        Ok((outcome, invocation.usage.fuel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn save(tenant: &str, bytes: usize) -> Seen {
        let tenant = TenantId::from_stored(tenant.to_owned());
        Seen {
            whose: (tenant.clone(), "probe".into(), Timestamp::default()),
            actor: Actor::server(tenant),
            kind: EntityKind::Customer,
            before: None,
            after: "x".repeat(bytes),
            record: "cus_1".to_owned(),
            began: (Timestamp::default(), 0),
            live: Ok(None),
        }
    }

    #[test]
    fn what_there_is_no_room_for_is_counted_and_the_room_is_everybodys() {
        let saves = Saves::default();
        (0..OF_TENANT_MAX + 7).for_each(|_| saves.push(save("ten_a", 10)));
        saves.push(save("ten_b", WAITING_BYTES_MAX));
        saves.push(save("ten_b", 10));
        let (mut seen, mut left_out) = (HashMap::new(), HashMap::new());
        while let Some((whose, taken, out)) = saves.take() {
            assert!(taken.len() <= WRITTEN_MAX);
            *seen.entry(whose.0.to_string()).or_default() += taken.len();
            *left_out.entry(whose.0.to_string()).or_default() += out;
        }
        assert_eq!(seen, HashMap::from([("ten_a".to_owned(), OF_TENANT_MAX), ("ten_b".to_owned(), 1)]));
        assert_eq!(left_out, HashMap::from([("ten_a".to_owned(), 7), ("ten_b".to_owned(), 1)]));
        assert_eq!(saves.lock().bytes, 0);
    }
}
