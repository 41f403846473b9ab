//! Which runs are recorded, and the queue in which recordings wait until they are kept.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use metrics::counter;

use super::Made;
use crate::domain::ids::TenantId;
use crate::domain::point::Point;
use crate::domain::recording;
use crate::metrics::{PLUGIN_RECORDINGS, plugin_label};
use crate::ops::plugins::recordings::Taken;
use crate::plugin::registry::Enabled;

/// Recordings that wait at most, and their bytes. They are kept every few seconds.
const WAITING_MAX: usize = 512;
const WAITING_BYTES_MAX: usize = 64 << 20;
/// Extension points of tenants whose runs are counted for a sample.
const COUNTS_MAX: usize = 10_000;

/// When a run that is recorded is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plugin) enum Keep {
    /// If it breaks off.
    Failures,
    /// Whatever comes of it.
    Always,
}

/// Tenant, plugin and extension point.
type Key = (TenantId, Arc<str>, Point);

/// See the head of this module.
#[derive(Default)]
pub(in crate::plugin) struct Recorder {
    waiting: Mutex<Waiting>,
    /// Runs since the server has started, for samples.
    counts: Mutex<HashMap<Key, u64>>,
}

#[derive(Default)]
struct Waiting {
    recordings: Vec<Made>,
    bytes: usize,
    dropped: BTreeMap<(TenantId, String), i64>,
}

impl Recorder {
    /// Whether the next run is recorded. A sample counts the runs of this server.
    pub(in crate::plugin) fn decide(&self, enabled: &Enabled, point: Point) -> Option<Keep> {
        let rule = enabled.recording.of(point);
        match rule {
            recording::Keep::Off => None,
            recording::Keep::Failures => Some(Keep::Failures),
            recording::Keep::All => Some(Keep::Always),
            recording::Keep::Every(_) | recording::Keep::PerCent(_) => {
                let run = self.count(enabled, point);
                rule.takes(run).then_some(Keep::Always)
            }
        }
    }

    fn count(&self, enabled: &Enabled, point: Point) -> u64 {
        let mut counts = lock(&self.counts);
        let key = (enabled.tenant.clone(), Arc::clone(&enabled.plugin), point);
        if counts.len() >= COUNTS_MAX && !counts.contains_key(&key) {
            // Samples begin anew, which makes them no less even.
            counts.clear();
        }
        let next = counts.entry(key).or_default();
        *next += 1;
        *next - 1
    }

    /// Lets a recording wait; false if there is no room.
    pub(super) fn push(&self, made: Made) -> bool {
        let mut waiting = lock(&self.waiting);
        let bytes = waiting.bytes.saturating_add(made.bytes);
        if waiting.recordings.len() >= WAITING_MAX || bytes > WAITING_BYTES_MAX {
            return false;
        }
        waiting.bytes = bytes;
        waiting.recordings.push(made);
        true
    }

    /// Counts a recording that is not kept for want of room.
    pub(super) fn drop_one(&self, enabled: &Enabled) {
        self.count_dropped(enabled.tenant.clone(), enabled.plugin.to_string());
    }

    fn count_dropped(&self, tenant: TenantId, plugin: String) {
        counter!(PLUGIN_RECORDINGS, "plugin" => plugin_label(&plugin), "outcome" => "dropped").increment(1);
        let mut waiting = lock(&self.waiting);
        let key = (tenant, plugin);
        if waiting.dropped.len() < COUNTS_MAX || waiting.dropped.contains_key(&key) {
            *waiting.dropped.entry(key).or_default() += 1;
        }
    }

    /// Everything that waits, written out; it is the caller's from now on.
    pub(in crate::plugin) fn take(&self) -> Taken {
        let Waiting { recordings: waiting, dropped, bytes: _ } = std::mem::take(&mut *lock(&self.waiting));
        let mut recordings = Vec::with_capacity(waiting.len());
        for made in waiting {
            let owner = (made.head.tenant.clone(), made.head.plugin.clone());
            match made.written() {
                Some(written) => recordings.push(written),
                None => self.count_dropped(owner.0, owner.1),
            }
        }
        Taken { recordings, dropped }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while it holds this lock")
}
