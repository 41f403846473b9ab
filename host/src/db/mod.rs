//! The database: the only place that knows sqlx.
//!
//! [`Db`] hands out readers and runs units of work. It owns the two engines,
//! their durability and the tenant that PostgreSQL's row-level security sees.
//! It never calls a plugin and never opens a network connection but its own.

pub(crate) mod access;
pub(crate) mod audit;
pub(crate) mod backfills;
pub mod backup;
pub(crate) mod canaries;
pub mod catalogue;
mod codec;
pub(crate) mod credentials;
pub(crate) mod customers;
pub(crate) mod deliveries;
pub(crate) mod documents;
mod doorbell;
mod error;
pub(crate) mod feed;
mod field_values;
pub(crate) mod files;
mod filter;
pub(crate) mod freezes;
pub(crate) mod history;
pub(crate) mod idempotency;
pub(crate) mod imports;
pub(crate) mod kv;
pub(crate) mod lanes;
mod migrate;
pub(crate) mod models;
pub(crate) mod moves;
mod open;
pub(crate) mod orders;
pub(crate) mod org_units;
pub(crate) mod outbox;
pub mod plugin_data;
pub mod plugins;
mod pool;
mod postgres;
pub(crate) mod products;
pub mod recordings;
pub(crate) mod schedules;
pub(crate) mod sessions;
pub(crate) mod shadows;
mod sort;
pub(crate) mod sql;
mod sqlite;
pub(crate) mod steps;
pub(crate) mod tenants;
pub(crate) mod timeline;
pub(crate) mod tokens;
pub(crate) mod trail;
pub mod trust;
mod tx;
pub(crate) mod usage;
pub(crate) mod users;
pub(crate) mod webhooks;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::BoxFuture;

pub use codec::Json;
pub use doorbell::{Doorbell, Listener, Rung};
pub(crate) use error::OnConstraint;
pub use open::{Config, OpenError, PostgresConfig};
pub use sql::{Arg, Sql};
pub(crate) use sql::{args, statements};
pub use tx::{Row, Tx};

use crate::domain::ids::TenantId;
use crate::error::{Error, Result};
use postgres::Postgres;
use sqlite::Sqlite;

/// How often a unit of work is run again after a conflict with a concurrent transaction.
pub const UNIT_RERUNS_MAX: u32 = 16;

/// The database of a server; cheap to clone.
#[derive(Clone)]
pub enum Db {
    /// The embedded engine: one file, one server.
    Sqlite(Sqlite),
    /// PostgreSQL, or an engine that speaks its protocol: several servers.
    Postgres(Postgres),
}

/// A connection for reading; gives it back when dropped.
///
/// A write through it is refused by the engine. Hold it no longer than you read:
/// there are few.
pub struct Reader {
    /// Always there, but while the reader is dropped.
    tx: Option<Tx>,
    /// Whether a transaction must be ended before the connection is used again.
    is_snapshot: bool,
}

impl Reader {
    fn new(tx: Tx) -> Self {
        Self { tx: Some(tx), is_snapshot: false }
    }

    fn snapshot(tx: Tx) -> Self {
        Self { tx: Some(tx), is_snapshot: true }
    }
}

impl Deref for Reader {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        self.tx.as_ref().expect("a reader has its connection until it is dropped")
    }
}

impl DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut Tx {
        self.tx.as_mut().expect("a reader has its connection until it is dropped")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Some(tx) = self.tx.take() else { return };
        // Outside a runtime the connection is closed, which ends its transaction too.
        if self.is_snapshot
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(tx.roll_back());
        }
    }
}

/// The body of a unit of work: from a transaction and its own state to an answer.
///
/// It may run more than once, so it changes nothing but the database, and it
/// calls neither a plugin nor the network.
pub trait Unit<S, T>:
    for<'a> Fn(&'a mut Tx, &'a S) -> BoxFuture<'a, Result<T>> + Send + Sync + 'static
{
}

impl<S, T, F> Unit<S, T> for F where
    F: for<'a> Fn(&'a mut Tx, &'a S) -> BoxFuture<'a, Result<T>> + Send + Sync + 'static
{
}

fn unit_panicked() -> Error {
    Error::internal("a unit of work panicked")
}

/// A unit and whether its last run had something for the doorbell.
struct Watched<S, F> {
    state: S,
    unit: F,
    has_news: AtomicBool,
}

fn run_watched<'a, S, T, F>(tx: &'a mut Tx, watched: &'a Watched<S, F>) -> BoxFuture<'a, Result<T>>
where
    S: Send + Sync + 'static,
    T: Send + 'static,
    F: Unit<S, T>,
{
    Box::pin(async move {
        tx.has_news = false;
        let outcome = (watched.unit)(tx, &watched.state).await;
        watched.has_news.store(tx.has_news, Ordering::Release);
        outcome
    })
}

impl Db {
    /// A connection that sees `tenant` and nothing else; each statement is a snapshot of its own.
    ///
    /// # Errors
    /// [`crate::error::Error::Unavailable`] if no connection can be had.
    pub async fn read(&self, tenant: &TenantId) -> Result<Reader> {
        match self {
            Self::Sqlite(sqlite) => sqlite.read().await,
            Self::Postgres(postgres) => postgres.read(tenant.as_str()).await,
        }
    }

    /// A connection for what is looked up before the tenant is known: sessions,
    /// tokens, the lanes of the dispatcher. On PostgreSQL its role sees nothing else.
    ///
    /// # Errors
    /// As for [`Db::read`].
    pub async fn directory(&self) -> Result<Reader> {
        match self {
            Self::Sqlite(sqlite) => sqlite.read().await,
            Self::Postgres(postgres) => postgres.directory().await,
        }
    }

    /// Runs `unit` in one transaction that sees `tenant`, and answers when it is durable.
    ///
    /// The unit owns what it needs through `state`, may run several times, and
    /// goes on if the caller is cancelled. An error rolls everything back.
    ///
    /// # Errors
    /// The unit's own, and [`crate::error::Error::Unavailable`] if the commit
    /// fails or still conflicts after [`UNIT_RERUNS_MAX`] reruns.
    pub async fn write<S, T, F>(&self, tenant: &TenantId, state: S, unit: F) -> Result<T>
    where
        S: Send + Sync + 'static,
        T: Send + 'static,
        F: Unit<S, T>,
    {
        let watched = Arc::new(Watched { state, unit, has_news: AtomicBool::new(false) });
        let state = Arc::clone(&watched);
        let outcome = match self {
            Self::Sqlite(sqlite) => sqlite.write(state, run_watched).await,
            Self::Postgres(postgres) => postgres.write(tenant.to_string(), state, run_watched).await,
        };
        if outcome.is_ok() && watched.has_news.load(Ordering::Acquire) {
            self.doorbell().ring(tenant);
        }
        outcome
    }

    /// Rings after every commit of events, for this process.
    #[must_use]
    pub fn doorbell(&self) -> &Doorbell {
        match self {
            Self::Sqlite(sqlite) => &sqlite.doorbell,
            Self::Postgres(postgres) => &postgres.doorbell,
        }
    }

    /// Runs `unit` in one transaction over what belongs to no tenant: packages.
    ///
    /// # Errors
    /// As for [`Db::write`].
    pub async fn write_host<S, T, F>(&self, state: S, unit: F) -> Result<T>
    where
        S: Send + Sync + 'static,
        T: Send + 'static,
        F: Unit<S, T>,
    {
        let state = Arc::new(state);
        match self {
            Self::Sqlite(sqlite) => sqlite.write(state, unit).await,
            Self::Postgres(postgres) => postgres.write(String::new(), state, unit).await,
        }
    }

    /// A connection over what belongs to no tenant: packages.
    ///
    /// # Errors
    /// As for [`Db::read`].
    pub async fn read_host(&self) -> Result<Reader> {
        match self {
            Self::Sqlite(sqlite) => sqlite.read().await,
            Self::Postgres(postgres) => postgres.read("").await,
        }
    }

    /// A connection whose statements all see one state of `tenant`, that of the first.
    ///
    /// # Errors
    /// As for [`Db::read`].
    pub async fn snapshot(&self, tenant: &TenantId) -> Result<Reader> {
        match self {
            Self::Sqlite(sqlite) => sqlite.snapshot().await,
            Self::Postgres(postgres) => postgres.snapshot(tenant.as_str()).await,
        }
    }

    /// Whether the database answers now: for a server's readiness.
    ///
    /// # Errors
    /// As for [`Db::read`].
    pub async fn ping(&self) -> Result<()> {
        match self {
            Self::Sqlite(sqlite) => sqlite.ping().await,
            Self::Postgres(postgres) => postgres.ping().await,
        }
    }

    /// Waits for what is under way, then closes every connection; later calls are refused.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(sqlite) => sqlite.close().await,
            Self::Postgres(postgres) => postgres.close().await,
        }
    }
}
