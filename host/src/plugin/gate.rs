//! What all invocations share about rights: which were withdrawn while they ran, how much of a
//! rate is used up, and what was denied.
//!
//! All of it is memory of this process and bounded. The commit of an invocation checks the rights
//! again in the database; this is for what it would still read before.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::registry::Enabled;
use crate::clock::Timestamp;
use crate::domain::grant::Grant;
use crate::domain::ids::TenantId;
use crate::ops::plugins::Denial;
use crate::ops::plugins::rates::RateReached;

/// Plugins whose change of rights is remembered one by one.
const CHANGES_MAX: usize = 4_096;
/// Rates that are counted at a time.
const RATES_MAX: usize = 10_000;
/// Kinds of denials that are counted at a time.
const DENIALS_MAX: usize = 10_000;
/// How often somebody is told that one rate is used up: one of a second would be every second.
const TELL_SECONDS: i64 = 3_600;
/// How often one kind of denial is written down: a plugin that is denied a thousand times a second
/// must not write a row as often.
const WRITE_SECONDS: i64 = 5;

type PluginKey = (TenantId, Arc<str>);

/// What was refused: the grant, and the function, event or hook.
pub(super) type Refused = (Grant, &'static str);

/// See the head of this module.
#[derive(Default)]
pub(super) struct Gate {
    /// Grows with every change of what plugins may do.
    generation: AtomicU64,
    changes: Mutex<Changes>,
    rates: Mutex<HashMap<(PluginKey, Grant), Window>>,
    denials: Mutex<HashMap<(PluginKey, Refused), Count>>,
}

/// The generation since which a plugin's rights are other ones.
#[derive(Default)]
struct Changes {
    /// Everything from before it counts as changed.
    floor: u64,
    plugins: HashMap<PluginKey, u64>,
}

#[derive(Clone, Copy)]
struct Window {
    until: Timestamp,
    used: u32,
    /// When somebody was last told that it is used up.
    told_at: Option<Timestamp>,
}

/// A rate does not allow what was asked for.
#[derive(Debug)]
pub(super) struct Over {
    /// What somebody is to be told, if it is time to.
    pub(super) tell: Option<RateReached>,
}

/// Denials of one kind that are not written down yet.
#[derive(Clone, Copy)]
struct Count {
    waiting: u64,
    last_at: Timestamp,
    written_at: Timestamp,
}

impl Gate {
    /// The generation of what is read from now on.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Makes everything that is being read now out of date.
    pub(super) fn advance(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Notes that a plugin's rights are other ones: what runs with those from before ends at its
    /// next call of the host.
    pub(super) fn note_change(&self, tenant: &TenantId, plugin: &str) {
        let generation = self.advance();
        let mut changes = lock(&self.changes);
        if changes.plugins.len() >= CHANGES_MAX {
            *changes = Changes { floor: generation, plugins: HashMap::new() };
        }
        changes.plugins.insert((tenant.clone(), plugin.into()), generation);
    }

    /// Whether the rights are still those that `enabled` was read with.
    pub(super) fn is_current(&self, enabled: &Enabled) -> bool {
        if enabled.generation == self.generation() {
            return true;
        }
        let changes = lock(&self.changes);
        let changed = changes.plugins.get(&key(enabled)).copied().unwrap_or_default();
        enabled.generation >= changed.max(changes.floor)
    }

    /// Takes `items` of what a grant's rate allows.
    ///
    /// # Errors
    /// If there is not so much left.
    pub(super) fn take(
        &self,
        enabled: &Enabled,
        grant: Grant,
        items: u32,
        now: Timestamp,
    ) -> Result<(), Over> {
        let Some(rate) = enabled.grants.parameters(grant).and_then(|parameters| parameters.rate) else {
            return Ok(());
        };
        let mut rates = lock(&self.rates);
        let is_over = |window: &Window| window.until <= now;
        make_room(&mut rates, RATES_MAX, is_over);
        let fresh = Window { until: now.plus_seconds(rate.per.seconds()), used: 0, told_at: None };
        let window = rates.entry((key(enabled), grant)).or_insert(fresh);
        // A rate that the tenant has changed counts anew.
        if is_over(window) || window.until > fresh.until {
            *window = Window { told_at: window.told_at, ..fresh };
        }
        let used = window.used.saturating_add(items);
        if used <= rate.count {
            window.used = used;
            return Ok(());
        }
        let pause = TELL_SECONDS.max(rate.per.seconds());
        if window.told_at.is_some_and(|told_at| told_at.plus_seconds(pause) > now) {
            return Err(Over { tell: None });
        }
        window.told_at = Some(now);
        let tell = RateReached {
            plugin: enabled.plugin.to_string(),
            plugin_version: enabled.package_version.clone(),
            grant,
            rate,
            until: window.until,
        };
        Err(Over { tell: Some(tell) })
    }

    /// Nobody could be told: the next refusal is told of.
    pub(super) fn untell(&self, enabled: &Enabled, grant: Grant) {
        if let Some(window) = lock(&self.rates).get_mut(&(key(enabled), grant)) {
            window.told_at = None;
        }
    }

    /// Counts denials of one kind; answers how many are to be written down now.
    pub(super) fn count_denied(&self, enabled: &Enabled, what: Refused, times: u64, now: Timestamp) -> u64 {
        let mut denials = lock(&self.denials);
        let is_due = |count: &Count| count.written_at.plus_seconds(WRITE_SECONDS) <= now;
        make_room(&mut denials, DENIALS_MAX, |count| count.waiting == 0 && is_due(count));
        let fresh = Count { waiting: 0, last_at: now, written_at: Timestamp::default() };
        let count = denials.entry((key(enabled), what)).or_insert(fresh);
        count.waiting = count.waiting.saturating_add(times);
        count.last_at = now;
        if is_due(count) {
            count.written_at = now;
            return std::mem::take(&mut count.waiting);
        }
        0
    }

    /// The denials of a plugin that are not written down yet.
    pub(super) fn denials(&self, tenant: &TenantId, plugin: &str) -> Vec<Denial> {
        let denials = lock(&self.denials);
        let own = denials
            .iter()
            .filter(|(((of, name), _), count)| of == tenant && **name == *plugin && count.waiting > 0);
        let shown = own.map(|((_, (grant, function)), count)| Denial {
            grant: grant.to_string(),
            function: (*function).to_owned(),
            count: i64::try_from(count.waiting).unwrap_or(i64::MAX),
            last_at: count.last_at,
        });
        shown.collect()
    }
}

fn key(enabled: &Enabled) -> PluginKey {
    (enabled.tenant.clone(), Arc::clone(&enabled.plugin))
}

/// Keeps a map within its bound: first without what is of no use any more, then without anything.
fn make_room<K: Eq + Hash, V>(map: &mut HashMap<K, V>, most: usize, is_useless: impl Fn(&V) -> bool) {
    if map.len() >= most {
        map.retain(|_, value| !is_useless(value));
    }
    if map.len() >= most {
        map.clear();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while it holds this lock")
}
