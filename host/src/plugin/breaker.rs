//! Health of plugins, and the breaker that keeps a failing one from being called.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::invocation::Usage;
use crate::clock::Timestamp;
use crate::domain::ids::TenantId;
use crate::domain::point::Point;

/// Failures in a row after which the breaker opens.
pub(super) const FAILURES_MAX: u32 = 5;
/// How long it stays open; then one call may try.
pub(super) const OPEN_SECONDS: i64 = 30;
/// Counters that are kept; beyond, healthy ones are forgotten, and all if none is healthy.
const ENTRIES_MAX: usize = 50_000;

/// Runs of which the time is remembered, for each extension point.
const RECENT_MAX: usize = 128;

type Key = (TenantId, Arc<str>, Point);

/// How one extension point of one tenant's plugin has fared in this process.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    pub(super) runs: u64,
    pub(super) failures: u64,
    pub(super) fuel: u64,
    pub(super) last_fuel: u64,
    pub(super) fuel_budget: u64,
    pub(super) in_a_row: u32,
    pub(super) open_until: Option<Timestamp>,
    /// Saves that went on without it.
    pub(super) passed_over: u64,
    pub(super) recent: Recent,
}

/// How long the last runs took, in microseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    micros: Vec<u32>,
    next: usize,
}

impl Recent {
    fn add(&mut self, micros: u64) {
        let micros = u32::try_from(micros).unwrap_or(u32::MAX);
        match self.micros.get_mut(self.next) {
            Some(oldest) => *oldest = micros,
            None => self.micros.push(micros),
        }
        self.next = (self.next + 1) % RECENT_MAX;
    }

    /// The times that so many of 100 runs stayed within; 0 without a run.
    pub(super) fn percentiles<const N: usize>(&self, percents: [usize; N]) -> [u32; N] {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        percents.map(|percent| {
            let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
            sorted.get(rank).copied().unwrap_or_default()
        })
    }
}

/// All counters of this process.
#[derive(Default)]
pub(super) struct Breakers {
    entries: Mutex<HashMap<Key, Health>>,
}

impl Breakers {
    fn with<R>(&self, key: Key, change: impl FnOnce(&mut Health) -> R) -> R {
        let mut entries = self.entries.lock().expect("no code panics while it holds this lock");
        if entries.len() >= ENTRIES_MAX && !entries.contains_key(&key) {
            entries.retain(|_, health| health.in_a_row > 0);
            if entries.len() >= ENTRIES_MAX {
                entries.clear();
            }
        }
        change(entries.entry(key).or_default())
    }

    /// Whether a call may be made now. After the open time one caller may try;
    /// the others wait for what comes of it.
    pub(super) fn allows(&self, tenant: &TenantId, plugin: &Arc<str>, point: Point, now: Timestamp) -> bool {
        self.with((tenant.clone(), Arc::clone(plugin), point), |health| match health.open_until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                health.open_until = Some(now.plus_seconds(OPEN_SECONDS));
                true
            }
        })
    }

    /// Counts a run that the guest finished, with whatever answer.
    pub(super) fn finished(&self, key: Key, usage: Usage) {
        self.with(key, |health| {
            health.runs += 1;
            health.recent.add(usage.micros);
            health.fuel += usage.fuel;
            health.last_fuel = usage.fuel;
            health.fuel_budget = usage.fuel_budget;
            health.in_a_row = 0;
            health.open_until = None;
        });
    }

    /// Counts a run that broke off; true if the breaker has opened by it.
    pub(super) fn failed(&self, key: Key, usage: Usage, now: Timestamp) -> bool {
        self.with(key, |health| {
            health.runs += 1;
            health.failures += 1;
            health.recent.add(usage.micros);
            health.fuel += usage.fuel;
            health.last_fuel = usage.fuel;
            health.fuel_budget = usage.fuel_budget;
            health.in_a_row += 1;
            let opens = health.in_a_row >= FAILURES_MAX;
            if opens {
                health.open_until = Some(now.plus_seconds(OPEN_SECONDS));
            }
            opens
        })
    }

    /// Counts a save that went on although the hook had failed or was paused.
    pub(super) fn passed_over(&self, key: Key) {
        self.with(key, |health| health.passed_over += 1);
    }

    /// The counters of one extension point.
    pub(super) fn health(&self, tenant: &TenantId, plugin: &str, point: Point) -> Health {
        let entries = self.entries.lock().expect("no code panics while it holds this lock");
        entries.get(&(tenant.clone(), plugin.into(), point)).cloned().unwrap_or_default()
    }

    /// Forgets a plugin's failures: it has been enabled anew or its settings have changed.
    pub(super) fn reset(&self, tenant: &TenantId, plugin: &str) {
        let mut entries = self.entries.lock().expect("no code panics while it holds this lock");
        for point in Point::ALL.iter().copied() {
            if let Some(health) = entries.get_mut(&(tenant.clone(), plugin.into(), point)) {
                health.in_a_row = 0;
                health.open_until = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_last_runs_alone() {
        let mut recent = Recent::default();
        assert_eq!(recent.percentiles([50, 99]), [0, 0]);
        recent.add(7);
        assert_eq!(recent.percentiles([50, 99]), [7, 7]);
        (0..1_000).for_each(|_| recent.add(1_000_000));
        (1..=100).for_each(|micros| recent.add(micros));
        assert_eq!(recent.micros.len(), RECENT_MAX);
        assert_eq!(recent.percentiles([50, 78, 99, 100]), [64, 100, 1_000_000, 1_000_000]);
        recent.add(u64::MAX);
        assert_eq!(recent.percentiles([100]), [u32::MAX]);
    }

    #[test]
    fn no_more_counters_are_kept_than_there_may_be() {
        let breakers = Breakers::default();
        let tenant = TenantId::from_stored("t".into());
        for number in 0..ENTRIES_MAX + 10 {
            let key = (tenant.clone(), format!("p{number}").into(), Point::Events);
            breakers.failed(key, Usage::default(), Timestamp::from_micros(0));
        }
        assert_eq!(breakers.entries.lock().unwrap().len(), 10, "all of them had failed");
        for number in 0..ENTRIES_MAX {
            breakers.finished((tenant.clone(), format!("q{number}").into(), Point::Events), Usage::default());
        }
        assert!(breakers.entries.lock().unwrap().len() <= ENTRIES_MAX);
        let failing = breakers.health(&tenant, "p50009", Point::Events);
        assert_eq!(failing.failures, 1, "what fails is remembered longer than what is healthy");
    }

    #[test]
    fn a_breaker_opens_after_failures_in_a_row_and_lets_one_try_again() {
        let breakers = Breakers::default();
        let tenant = TenantId::from_stored("t".into());
        let plugin: Arc<str> = "p".into();
        let key = || (tenant.clone(), Arc::clone(&plugin), Point::Hooks);
        let at = Timestamp::from_micros(0);
        for _ in 1..FAILURES_MAX {
            assert!(!breakers.failed(key(), Usage::default(), at));
        }
        assert!(breakers.allows(&tenant, &plugin, Point::Hooks, at));
        assert!(breakers.failed(key(), Usage::default(), at));
        assert!(!breakers.allows(&tenant, &plugin, Point::Hooks, at));
        assert!(breakers.allows(&tenant, &plugin, Point::Events, at));
        let later = at.plus_seconds(OPEN_SECONDS);
        assert!(breakers.allows(&tenant, &plugin, Point::Hooks, later));
        assert!(!breakers.allows(&tenant, &plugin, Point::Hooks, later));
        breakers.finished(key(), Usage::default());
        assert!(breakers.allows(&tenant, &plugin, Point::Hooks, later));
    }
}
