//! The doorbell: tells this process that a transaction with deliveries or events has committed.
//!
//! It carries no truth, only haste. Who misses a ring finds the rows by polling.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, watch};

use crate::domain::ids::TenantId;

/// Tenants that are remembered one by one; with more, all are looked at.
const TENANTS_MAX: usize = 1_000;

/// Rings for the dispatcher and for those who follow a tenant's feed; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Doorbell(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    dispatcher: Notify,
}

#[derive(Debug, Default)]
struct State {
    rung: BTreeSet<TenantId>,
    too_many: bool,
    listeners: BTreeMap<TenantId, (u32, watch::Sender<()>)>,
}

/// For whom the doorbell has rung.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rung {
    /// For these tenants.
    Tenants(Vec<TenantId>),
    /// For more than are worth remembering.
    All,
}

impl Doorbell {
    /// Rings for `tenant`.
    pub fn ring(&self, tenant: &TenantId) {
        let mut state = self.state();
        if let Some((_, listeners)) = state.listeners.get(tenant) {
            listeners.send_replace(());
        }
        if state.rung.len() < TENANTS_MAX {
            if state.rung.contains(tenant) {
                return;
            }
            state.rung.insert(tenant.clone());
        } else {
            state.too_many = true;
        }
        drop(state);
        self.0.dispatcher.notify_one();
    }

    /// Waits until it has rung since the last time; for the one dispatcher.
    pub async fn rung(&self) -> Rung {
        loop {
            self.0.dispatcher.notified().await;
            let mut state = self.state();
            let tenants = std::mem::take(&mut state.rung);
            if std::mem::take(&mut state.too_many) {
                return Rung::All;
            }
            if !tenants.is_empty() {
                return Rung::Tenants(tenants.into_iter().collect());
            }
        }
    }

    /// Listens for one tenant; `None` if `listeners_max` do already.
    #[must_use]
    pub fn listen(&self, tenant: &TenantId, listeners_max: u32) -> Option<Listener> {
        let mut state = self.state();
        let (count, sender) =
            state.listeners.entry(tenant.clone()).or_insert_with(|| (0, watch::Sender::new(())));
        if *count >= listeners_max {
            return None;
        }
        *count += 1;
        let rings = sender.subscribe();
        Some(Listener { doorbell: self.clone(), tenant: tenant.clone(), rings })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no code panics while it holds this lock")
    }
}

/// Somebody who follows one tenant's feed.
#[derive(Debug)]
pub struct Listener {
    doorbell: Doorbell,
    tenant: TenantId,
    rings: watch::Receiver<()>,
}

impl Listener {
    /// Waits until it has rung since the last time.
    pub async fn rung(&mut self) {
        // The sender lives in the doorbell that this listener holds.
        drop(self.rings.changed().await);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut state = self.doorbell.state();
        if let Some((count, _)) = state.listeners.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                state.listeners.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::from_stored(name.to_owned())
    }

    #[tokio::test]
    async fn a_ring_before_the_wait_is_not_lost() {
        let bell = Doorbell::default();
        bell.ring(&tenant("a"));
        bell.ring(&tenant("a"));
        bell.ring(&tenant("b"));
        assert_eq!(bell.rung().await, Rung::Tenants(vec![tenant("a"), tenant("b")]));
    }

    #[tokio::test]
    async fn a_listener_hears_its_own_tenant_and_gives_its_place_back() {
        let bell = Doorbell::default();
        let mut first = bell.listen(&tenant("a"), 1).unwrap();
        assert!(bell.listen(&tenant("a"), 1).is_none());
        bell.ring(&tenant("a"));
        first.rung().await;
        drop(first);
        assert!(bell.listen(&tenant("a"), 1).is_some());
    }
}
