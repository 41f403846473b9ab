//! Slots: how much goes on at once, for all tenants together and for each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::ids::TenantId;

/// Tenants that are remembered at least; of more, those with nothing under way are forgotten.
const TENANTS_KEPT: usize = 1_000;

/// Two limits, of which a tenant's own is taken first: it cannot wait in the others' queue with
/// more than it may have.
pub(super) struct Slots {
    all: Arc<Semaphore>,
    each_max: usize,
    of_tenant: Mutex<HashMap<TenantId, Arc<Semaphore>>>,
}

/// The right to go on; ends with this value.
pub(super) struct Slot {
    _of_tenant: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Slots {
    pub(super) fn new(all_max: usize, each_max: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all_max)), each_max, of_tenant: Mutex::default() }
    }

    /// A slot, or `None` if there is none within `wait`.
    pub(super) async fn take(&self, tenant: &TenantId, wait: Duration) -> Option<Slot> {
        let own = self.own(tenant);
        let taken = async {
            let of_tenant = own.acquire_owned().await.ok()?;
            let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some(Slot { _of_tenant: of_tenant, _of_all: of_all })
        };
        tokio::time::timeout(wait, taken).await.ok().flatten()
    }

    fn own(&self, tenant: &TenantId) -> Arc<Semaphore> {
        let mut known = self.of_tenant.lock().expect("no code panics while it holds this lock");
        if known.len() >= TENANTS_KEPT && !known.contains_key(tenant) {
            known.retain(|_, own| Arc::strong_count(own) > 1);
        }
        Arc::clone(known.entry(tenant.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.each_max))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::ids::SequentialIds;

    const AT_ONCE: Duration = Duration::ZERO;

    #[tokio::test]
    async fn one_tenant_cannot_take_all() {
        let ids = SequentialIds::default();
        let mut tenants = (0..).map(|_| TenantId::new(&ids, Timestamp::default()));
        let (greedy, modest, late) =
            (tenants.next().unwrap(), tenants.next().unwrap(), tenants.next().unwrap());
        let slots = Slots::new(4, 3);
        let mut held = Vec::new();
        while let Some(slot) = slots.take(&greedy, AT_ONCE).await {
            held.push(slot);
        }
        assert_eq!(held.len(), 3);
        let other = slots.take(&modest, AT_ONCE).await;
        assert!(other.is_some());
        assert!(slots.take(&late, AT_ONCE).await.is_none());
        drop(held);
        assert!(slots.take(&late, AT_ONCE).await.is_some());
    }

    #[tokio::test]
    async fn tenants_with_nothing_under_way_are_forgotten() {
        let ids = SequentialIds::default();
        let slots = Slots::new(TENANTS_KEPT * 2, 1);
        let first = TenantId::new(&ids, Timestamp::default());
        let held = slots.take(&first, AT_ONCE).await;
        for _ in 0..TENANTS_KEPT * 2 {
            drop(slots.take(&TenantId::new(&ids, Timestamp::default()), AT_ONCE).await);
        }
        assert!(slots.of_tenant.lock().unwrap().len() <= TENANTS_KEPT);
        assert!(slots.take(&first, AT_ONCE).await.is_none(), "what is under way is still counted");
        drop(held);
    }
}
