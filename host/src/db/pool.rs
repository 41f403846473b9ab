//! Connections on loan: owns how many there are and which may be used again.
//!
//! A loan prefers a connection that last served the same tenant. A connection that
//! comes back inside a transaction, or after its server went away, is closed.
//! Taking one from the pool costs no round trip.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};

/// How long a caller waits for a connection.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// How long connecting may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Connections older than this are replaced, which bounds what the server keeps for each.
const AGE_MAX: Duration = Duration::from_secs(3_600);

/// Makes a pool's connections.
pub(super) trait Connect: Send + Sync + 'static {
    /// What it makes.
    type Connection: Send + 'static;

    /// Opens one.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, sqlx::Error>> + Send;
}

/// A pool; cheap to clone.
pub(super) struct Pool<C: Connect>(Arc<Shared<C>>);

impl<C: Connect> Clone for Pool<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Shared<C: Connect> {
    connect: C,
    connections_max: u32,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Slot<C::Connection>>>,
    /// Grows when the server went away: what was opened before is closed, not used again.
    epoch: AtomicU64,
}

struct Slot<T> {
    connection: T,
    /// The tenant that the session is set to; `None` if that is not known.
    tenant: Option<String>,
    made_at: Instant,
    epoch: u64,
}

/// A connection on loan.
pub(super) struct Loan<C: Connect> {
    /// Always there, but while the loan is dropped.
    slot: Option<Slot<C::Connection>>,
    /// Whether somebody else may use the connection after this loan.
    reusable: bool,
    pool: Pool<C>,
    _permit: OwnedSemaphorePermit,
}

impl<C: Connect> Pool<C> {
    /// A pool of at most `connections_max`.
    pub(super) fn new(connect: C, connections_max: u32) -> Self {
        let permits = usize::try_from(connections_max).expect("a pool fits into memory");
        Self(Arc::new(Shared {
            connect,
            connections_max,
            permits: Arc::new(Semaphore::new(permits)),
            idle: Mutex::new(Vec::with_capacity(permits)),
            epoch: AtomicU64::new(0),
        }))
    }

    /// Lends a connection, one that last served `tenant` if there is one.
    pub(super) async fn get(&self, tenant: &str) -> Result<Loan<C>> {
        let permit = tokio::time::timeout(WAIT_MAX, Arc::clone(&self.0.permits).acquire_owned())
            .await
            .map_err(|_elapsed| Error::unavailable("no connection to the database became free in time"))?
            .map_err(|_closed| Error::unavailable("the database is closed"))?;
        let idle = self.take_idle(tenant);
        let slot = match idle {
            Some(slot) => slot,
            None => self.open().await?,
        };
        Ok(Loan { slot: Some(slot), reusable: true, pool: self.clone(), _permit: permit })
    }

    /// Refuses new loans, waits for those that are out, and closes every connection.
    pub(super) async fn close(&self) -> Vec<C::Connection> {
        let all = self.0.permits.acquire_many(self.0.connections_max);
        if tokio::time::timeout(WAIT_MAX, all).await.is_err() {
            tracing::warn!("a connection is still in use while the database closes");
        }
        self.0.permits.close();
        self.idle().drain(..).map(|slot| slot.connection).collect()
    }

    fn take_idle(&self, tenant: &str) -> Option<Slot<C::Connection>> {
        let mut idle = self.idle();
        match idle.iter().rposition(|slot| slot.tenant.as_deref() == Some(tenant)) {
            Some(position) => Some(idle.remove(position)),
            // The one that has rested longest: the others' tenants are more likely to come back.
            None if idle.is_empty() => None,
            None => Some(idle.remove(0)),
        }
    }

    async fn open(&self) -> Result<Slot<C::Connection>> {
        let epoch = self.0.epoch.load(Ordering::Acquire);
        let connection = tokio::time::timeout(CONNECT_TIME_MAX, self.0.connect.connect())
            .await
            .map_err(|_elapsed| Error::unavailable("the database did not accept a connection in time"))?
            .map_err(Error::unavailable)?;
        Ok(Slot { connection, tenant: None, made_at: Instant::now(), epoch })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Slot<C::Connection>>> {
        // The list is whole after every statement that changes it.
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Connect> Loan<C> {
    /// The connection.
    pub(super) fn connection(&mut self) -> &mut C::Connection {
        &mut self.slot_mut().connection
    }

    /// Whether the session is set to `tenant`.
    pub(super) fn serves(&self, tenant: &str) -> bool {
        self.slot.as_ref().is_some_and(|slot| slot.tenant.as_deref() == Some(tenant))
    }

    /// Notes the tenant that the session is set to; `None` before it is changed.
    pub(super) fn set_tenant(&mut self, tenant: Option<String>) {
        self.slot_mut().tenant = tenant;
    }

    /// A transaction begins: whoever drops the loan now closes the connection.
    pub(super) fn reserve(&mut self) {
        self.reusable = false;
    }

    /// The transaction has ended: the connection may be used again.
    pub(super) fn release(&mut self) {
        self.reusable = true;
    }

    /// The server went away: neither this connection nor any opened before now is used again.
    pub(super) fn lost(&mut self) {
        self.reusable = false;
        self.pool.0.epoch.fetch_add(1, Ordering::AcqRel);
        let stale = std::mem::take(&mut *self.pool.idle());
        drop(stale);
    }

    /// Replaces a lost connection by a new one.
    pub(super) async fn renew(&mut self) -> Result<()> {
        let slot = self.pool.open().await?;
        self.slot = Some(slot);
        self.reusable = true;
        Ok(())
    }

    fn slot_mut(&mut self) -> &mut Slot<C::Connection> {
        self.slot.as_mut().expect("a loan has its connection until it is dropped")
    }
}

impl<C: Connect> Drop for Loan<C> {
    fn drop(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        let current = self.pool.0.epoch.load(Ordering::Acquire) == slot.epoch;
        if self.reusable && current && slot.made_at.elapsed() < AGE_MAX {
            self.pool.idle().push(slot);
        }
    }
}
