//! From a name to addresses.

use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::slots::Slots;
use crate::domain::ids::TenantId;

/// Lookups at once, for all tenants and for each. A lookup holds a thread until the system gives
/// it up, long after whoever asked has, so that names with a server that never answers could
/// otherwise take every thread.
const LOOKUPS_MAX: usize = 64;
const LOOKUPS_OF_TENANT_MAX: usize = 16;
/// How long a lookup waits for its turn.
const TURN_WAIT: Duration = Duration::from_secs(5);

/// Looks names up; tests have their own.
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of `host`, the preferred ones first. They are checked by whoever asks.
    fn resolve<'a>(&'a self, tenant: &'a TenantId, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// The operating system's resolver.
pub struct SystemResolver(Slots);

impl Default for SystemResolver {
    fn default() -> Self {
        Self(Slots::new(LOOKUPS_MAX, LOOKUPS_OF_TENANT_MAX))
    }
}

impl SystemResolver {
    /// As the only one of a server.
    #[must_use]
    pub fn shared() -> Arc<dyn Resolver> {
        Arc::new(Self::default())
    }
}

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, tenant: &'a TenantId, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let slot = self.0.take(tenant, TURN_WAIT).await;
            let slot = slot.ok_or_else(|| io::Error::new(io::ErrorKind::WouldBlock, "too many lookups"))?;
            let host = host.to_owned();
            let lookup = tokio::task::spawn_blocking(move || {
                // Held by the thread, not by whoever waits for it.
                let _slot = slot;
                (host.as_str(), 0).to_socket_addrs().map(|found| found.map(|address| address.ip()).collect())
            });
            lookup.await.map_err(io::Error::other)?
        })
    }
}
