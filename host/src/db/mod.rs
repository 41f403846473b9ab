//! The database: the only place that knows sqlx.
//!
//! [`Db`] hands out readers and runs units of work. It owns the two engines,
//! their durability and the tenant that PostgreSQL's row-level security sees.
//! It never calls a plugin and never opens a network connection but its own.

pub(crate) mod audit;
mod codec;
pub(crate) mod deliveries;
mod error;
pub(crate) mod outbox;
mod postgres;
pub(crate) mod sql;
mod sqlite;
mod tx;

use std::ops::{Deref, DerefMut};

use futures::future::BoxFuture;

pub use codec::Json;
pub use sql::{Arg, Sql};
pub(crate) use sql::{args, statements};
pub use tx::{Row, Tx};

use crate::domain::ids::TenantId;
use crate::error::Result;
use postgres::Postgres;
use sqlite::Sqlite;

/// How often a unit of work is run again after a conflict with a concurrent transaction.
pub const UNIT_RERUNS_MAX: u32 = 8;

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
/// A write through it is refused by the engine.
pub struct Reader(Tx);

impl Deref for Reader {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        &self.0
    }
}

impl DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut Tx {
        &mut self.0
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
        let state = std::sync::Arc::new(state);
        match self {
            Self::Sqlite(sqlite) => sqlite.write(state, unit).await,
            Self::Postgres(postgres) => postgres.write(tenant.to_string(), state, unit).await,
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
        let state = std::sync::Arc::new(state);
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
}
