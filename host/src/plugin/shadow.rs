//! A version in the shadow of the enabled one: called with the same events from the same state, after
//! the enabled one has answered and before its effects are committed. What it would have written is
//! compared and discarded.
//!
//! It must never touch the enabled version: not its breaker, its rates, its log, its lane or its effects.
//! All that it costs the lane is its time, which its budget bounds. Where a person waits, it is called later
//! (`shadow/saves.rs`).

mod saves;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::PluginHost;
use super::buffer::{Buffer, Content, File};
use super::call::{Answer, Call, Failure, invoke};
use super::commit::is_stale;
use super::invocation::{Beginning, Invocation, clean};
use super::registry::{Enabled, Shadow};
use super::run::{ATTEMPTS_MAX, Effects, conflicts, plugin_actor};
use crate::db::shadows::{Delivery, Found};
use crate::error::Result;
use crate::ops::customers::CustomerChange;
use crate::ops::plugins::{PluginEvent, shadow};

pub(super) use saves::Saves;

/// Bytes of one effect that a report shows.
const EFFECT_BYTES_MAX: usize = 2_000;
/// Differences of one delivery that are kept.
const FOUND_MAX: usize = 500;
/// Under which effects are known that belong to no record.
const NO_RECORD: (&str, &str) = ("tenant", "");
/// The point under which a shadow's costs are metered.
pub(super) const METERED_AS: &str = "shadow";

/// A record, and what would be written of it.
type Place = ((String, String), String);

/// What an invocation wants to write, as far as it can be compared: what is there afterwards, by place.
/// Ids, versions and times that the host makes are left out.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeMap<Place, String>);

impl Told {
    /// What `buffer` would write.
    pub(super) fn of(buffer: &Buffer) -> Self {
        let mut told = Self::default();
        told.add_customers(&buffer.customer_changes);
        told.add_timeline(buffer);
        told.add_own(buffer, "");
        told
    }

    /// Whether it would write nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, subject: (&str, &str), what: String, effect: String) {
        self.0.insert(((subject.0.to_owned(), subject.1.to_owned()), what), effect);
    }

    /// What an invocation leaves of each customer, as far as it is not as it was before.
    fn add_customers(&mut self, changes: &[CustomerChange]) {
        let mut seen: BTreeMap<&str, (Value, &CustomerChange)> = BTreeMap::new();
        for change in changes {
            let first = || (change.before().map_or(Value::Null, |before| before.to_json()), change);
            seen.entry(change.id().as_str()).or_insert_with(first).1 = change;
        }
        for (id, (before, last)) in seen {
            if last.is_deleted() {
                self.add(("customer", id), "deleted".to_owned(), "true".to_owned());
                continue;
            }
            self.add_members(("customer", id), "", &before, last.record());
        }
    }

    fn add_members(&mut self, subject: (&str, &str), path: &str, before: &Value, after: &Value) {
        for (name, after) in after.as_object().into_iter().flatten() {
            let is_of_host =
                path.is_empty() && matches!(name.as_str(), "id" | "version" | "updated_at" | "created_at");
            if is_of_host || before.get(name) == Some(after) {
                continue;
            }
            if path.is_empty() && name == "fields" {
                self.add_members(subject, "fields/", &before["fields"], after);
            } else {
                self.add(subject, format!("{path}{name}"), after.to_string());
            }
        }
        for (name, _) in before.as_object().into_iter().flatten() {
            if after.get(name).is_none() {
                self.add(subject, format!("{path}{name}"), Value::Null.to_string());
            }
        }
    }

    fn add_timeline(&mut self, buffer: &Buffer) {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for change in &buffer.timeline_changes {
            let customer = change.entry().customer_id.to_string();
            let count = counts.entry(customer.clone()).or_default();
            *count += 1;
            let mut entry = change.record().clone();
            if let Some(members) = entry.as_object_mut() {
                members.retain(|name, _| !matches!(name.as_str(), "id" | "recorded_at" | "created_at"));
            }
            self.add(("customer", &customer), format!("timeline/{count}"), entry.to_string());
        }
    }

    /// Documents, values and files of the plugin and of those that it has called.
    fn add_own(&mut self, buffer: &Buffer, prefix: &str) {
        for ((collection, key), entry) in buffer.documents.iter().filter(|(_, entry)| entry.is_changed()) {
            let Some(of) = entry.now.as_ref().or(entry.base.as_ref()) else { continue };
            let (kind, id) = (of.subject.0.as_str(), of.subject.1.as_str());
            let effect = entry.now.as_ref().map_or_else(|| "null".to_owned(), |now| now.body.clone());
            self.add((kind, id), format!("{prefix}documents/{collection}/{key}"), effect);
        }
        for (key, entry) in buffer.kv.iter().filter(|(_, entry)| entry.changed) {
            let effect = entry.now.as_ref().map_or_else(|| "null".to_owned(), |(value, _)| text_of(value));
            self.add(NO_RECORD, format!("{prefix}kv/{key}"), effect);
        }
        for (name, entry) in buffer.files.iter().filter(|(_, entry)| entry.is_changed()) {
            let effect = entry.now.as_ref().map_or_else(|| "null".to_owned(), digest_of);
            self.add(NO_RECORD, format!("{prefix}files/{name}"), effect);
        }
        for (plugin, callee) in &buffer.callees {
            self.add_own(&callee.buffer, &format!("{prefix}{plugin}/"));
        }
    }

    /// In what the two differ.
    fn differences(&self, shadow: &Self) -> Vec<Found> {
        let places = self.0.keys().chain(shadow.0.keys().filter(|place| !self.0.contains_key(*place)));
        let found = places.filter_map(|place| {
            let (live, shadow) = (self.0.get(place), shadow.0.get(place));
            let shown = |effect: Option<&String>| effect.map(|effect| clean(effect, EFFECT_BYTES_MAX));
            let (subject, what) = place.clone();
            (live != shadow).then(|| Found { subject, what, live: shown(live), shadow: shown(shadow) })
        });
        found.take(FOUND_MAX).collect()
    }
}

/// Text as it is, and bytes by their digest.
fn text_of(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_not_text) => hex(value),
    }
}

fn digest_of(file: &File) -> String {
    match &file.content {
        Content::Kept(blob) => format!("{} bytes, blob {blob}", file.size),
        Content::New(content) => format!("{} bytes, SHA-256 {}", file.size, hex(content)),
    }
}

/// The SHA-256 of `bytes`.
fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every text");
        text
    })
}

/// What a shadow has answered to a delivery.
struct Shown {
    outcome: std::result::Result<Told, String>,
    fuel: u64,
}

impl PluginHost {
    /// The shadow of a plugin, if one runs and its time is not over.
    pub(super) fn shadow_of(&self, enabled: &Arc<Enabled>) -> Result<Option<Arc<Shadow>>> {
        let now = self.core()?.now();
        Ok(enabled.shadow.clone().filter(|shadow| now < shadow.ends_at))
    }

    /// As [`PluginHost::run`], for events: the shadow is called before each try to commit, and what
    /// it showed is kept once the enabled version's effects are.
    pub(super) async fn run_shadowed(
        &self,
        beginning: Beginning,
        call: Call,
        effects: Effects,
        (shadow, events): (&Shadow, &[PluginEvent]),
    ) -> Result<Answer> {
        let enabled = Arc::clone(&beginning.enabled);
        for attempt in 1..=ATTEMPTS_MAX {
            let Some((answer, commit)) = self.prepare(&beginning, &call, attempt, &effects).await? else {
                continue;
            };
            let Some(mut commit) = commit else { return Ok(answer) };
            let live = commit.told.take().unwrap_or_default();
            let shown = self.call_shadow(&beginning, &shadow.enabled, events).await;
            let core = &beginning.core;
            match core.db.write(&enabled.tenant, commit, |tx, commit| Box::pin(commit.apply(tx))).await {
                Ok(()) => {
                    self.keep_shown(&beginning, shadow, events, (live, shown)).await;
                    return Ok(answer);
                }
                Err(error) if is_stale(&error) => self.note_rerun(&enabled).await?,
                Err(error) => return Err(error),
            }
        }
        Err(conflicts(&enabled))
    }

    async fn call_shadow(&self, live: &Beginning, candidate: &Arc<Enabled>, events: &[PluginEvent]) -> Shown {
        let actor = plugin_actor(candidate, live.actor.cause.clone());
        let subscribed = &candidate.facts.manifest.events.subscribe;
        let seen = events.iter().filter(|event| subscribed.contains(&event.name));
        let told = super::events::as_seen_by(candidate, &actor, seen);
        if told.is_empty() {
            return Shown { outcome: Ok(Told::default()), fuel: 0 };
        }
        // The same time and seed, so that what differs is the version's own doing.
        let mut beginning = Beginning { enabled: Arc::clone(candidate), actor, ..live.clone() };
        beginning.items = u32::try_from(told.len()).unwrap_or(u32::MAX);
        beginning.is_shadow = true;
        beginning.keep = None;
        match self.invoke_shadow(&beginning, Call::Handle(told)).await {
            Ok(shown) => shown,
            Err(error) => Shown { outcome: Err(error.to_string()), fuel: 0 },
        }
    }

    async fn invoke_shadow(&self, beginning: &Beginning, call: Call) -> Result<Shown> {
        let enabled = &beginning.enabled;
        let loaded = self.registry.loaded(enabled).await?;
        let slot = self.sandbox.slot(enabled).await?;
        let started = Instant::now();
        let invocation = Invocation::new(beginning, 1);
        let (mut invocation, outcome) = Box::pin(invoke(&loaded, invocation, &call)).await;
        drop(slot);
        invocation.took(started.elapsed());
        self.meter.count_as(METERED_AS, &invocation, outcome.is_err());
        let outcome = outcome.map(|_| Told::of(&invocation.buffer)).map_err(|failure| reason_of(&failure));
        Ok(Shown { outcome, fuel: invocation.usage.fuel })
    }

    /// A report that cannot be written must not undo what is committed.
    async fn keep_shown(
        &self,
        beginning: &Beginning,
        shadow: &Shadow,
        events: &[PluginEvent],
        (live, shown): (Told, Shown),
    ) {
        let Some(last) = events.last() else { return };
        let (found, failure) = match shown.outcome {
            Ok(told) => (live.differences(&told), None),
            Err(reason) => (Vec::new(), Some(clean(&reason, EFFECT_BYTES_MAX))),
        };
        let delivery = Delivery {
            started_at: shadow.started_at,
            at: beginning.now,
            event: Some(last.id.to_string()),
            events: i64::try_from(events.len()).unwrap_or(i64::MAX),
            saves: 0,
            left_out: 0,
            failures: i64::from(failure.is_some()),
            fuel: i64::try_from(shown.fuel).unwrap_or(i64::MAX),
            last_error: failure,
            found,
        };
        let Enabled { tenant, plugin, .. } = &*beginning.enabled;
        match shadow::keep(&beginning.core, tenant, plugin, delivery).await {
            Ok(true) => {}
            Ok(false) => self.registry.forget(tenant).await,
            Err(error) => tracing::warn!(%error, %plugin, "what a shadow showed is not kept"),
        }
    }
}

/// Why a shadow failed, for those who may read its report.
pub(super) fn reason_of(failure: &Failure) -> String {
    match failure {
        Failure::Stopped { code, message, .. } => format!("{code}: {message}"),
        Failure::Refused(told) => format!("refused: {told:?}"),
        Failure::Rejected(told) => format!("rejected: {}: {}", told.code, told.message),
        Failure::Host(error) => error.to_string(),
        Failure::Stale => "what it read had changed meanwhile".to_owned(),
    }
}
