//! PostgreSQL: a pool whose connections remember the tenant that row-level security sees.
//!
//! sqlx 0.9 loses acknowledged writes when a `begin` is cancelled half-way, so a
//! transaction lives wholly inside a spawned task, and a connection that was
//! given back in the middle of one is closed, not used again.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use deadpool::managed::{Manager, Metrics, Object, Pool, RecycleError, RecycleResult};
use futures::FutureExt as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Executor as _, PgConnection};

use super::sql::{Sql, args};
use super::tx::{Connection, Tx};
use super::{Reader, UNIT_RERUNS_MAX, Unit};
use crate::error::{Error, Result};

/// Connections of one server.
const CONNECTIONS_MAX: usize = 16;

const SET_TENANT: Sql = Sql::new("SELECT set_config('hospes.tenant', $1, false)");

/// A PostgreSQL database.
#[derive(Clone)]
pub struct Postgres {
    pool: Pool<PgManager>,
    directory: Pool<PgManager>,
}

/// Makes and checks the pool's connections.
pub(super) struct PgManager {
    options: PgConnectOptions,
    /// The role to become after connecting, if not the login role.
    role: Option<&'static str>,
}

/// A connection and what the pool must know of it.
pub(super) struct PgSlot {
    connection: PgConnection,
    tenant: Option<String>,
    /// A transaction is open: whoever drops the slot now leaves it unusable.
    in_transaction: bool,
}

/// A connection on loan from the pool.
pub(super) struct PgObject(Object<PgManager>);

impl PgObject {
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.0.connection
    }
}

impl Manager for PgManager {
    type Type = PgSlot;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<PgSlot, sqlx::Error> {
        let mut connection = self.options.connect().await?;
        if let Some(role) = self.role {
            connection.execute(role).await?;
        }
        Ok(PgSlot { connection, tenant: None, in_transaction: false })
    }

    async fn recycle(&self, slot: &mut PgSlot, _metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if slot.in_transaction {
            return Err(RecycleError::message("given back inside a transaction"));
        }
        Ok(())
    }
}

impl Postgres {
    /// Opens the two pools: the tenants' and the directory's.
    pub(super) async fn open(options: PgConnectOptions) -> Result<Self> {
        let pool = pool(PgManager { options: options.clone(), role: None })?;
        let directory = pool_of_directory(options)?;
        let postgres = Self { pool, directory };
        drop(postgres.acquire(&postgres.pool, "").await?);
        Ok(postgres)
    }

    async fn acquire(&self, pool: &Pool<PgManager>, tenant: &str) -> Result<Tx> {
        let mut object = pool.get().await.map_err(Error::unavailable)?;
        let known = object.tenant.as_deref() == Some(tenant);
        object.tenant = None;
        let mut tx = Tx::new(Connection::Postgres(PgObject(object)));
        if !known {
            tx.execute(SET_TENANT, args![tenant]).await?;
        }
        slot(&mut tx).tenant = Some(tenant.to_owned());
        Ok(tx)
    }

    pub(super) async fn read(&self, tenant: &str) -> Result<Reader> {
        self.acquire(&self.pool, tenant).await.map(Reader)
    }

    pub(super) async fn directory(&self) -> Result<Reader> {
        self.acquire(&self.directory, "").await.map(Reader)
    }

    pub(super) async fn write<S, T, F>(&self, tenant: String, state: Arc<S>, unit: F) -> Result<T>
    where
        S: Send + Sync + 'static,
        T: Send + 'static,
        F: Unit<S, T>,
    {
        let this = self.clone();
        // In a task of its own, so that the caller's cancellation cannot cut `BEGIN` in two.
        #[expect(clippy::disallowed_methods, reason = "awaited right below unless the caller goes away")]
        let task = tokio::spawn(async move { this.run_unit(&tenant, &*state, &unit).await });
        task.await.map_err(Error::internal)?
    }

    async fn run_unit<S, T, F>(&self, tenant: &str, state: &S, unit: &F) -> Result<T>
    where
        S: Send + Sync + 'static,
        T: Send + 'static,
        F: Unit<S, T>,
    {
        let mut runs = 0;
        loop {
            runs += 1;
            let mut tx = self.acquire(&self.pool, tenant).await?;
            slot(&mut tx).in_transaction = true;
            raw(&mut tx, "BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
            let outcome = AssertUnwindSafe(unit(&mut tx, state)).catch_unwind().await;
            let outcome = outcome.unwrap_or_else(|_panic| Err(Error::internal("a unit of work panicked")));
            let outcome = match outcome {
                Ok(answer) => raw(&mut tx, "COMMIT").await.map(|()| answer),
                Err(error) => {
                    raw(&mut tx, "ROLLBACK").await?;
                    Err(error)
                }
            };
            let again = tx.conflicted && runs <= UNIT_RERUNS_MAX;
            // After a failed COMMIT the server has already ended the transaction.
            slot(&mut tx).in_transaction = outcome.is_err() && !tx.conflicted && is_unavailable(&outcome);
            if !again {
                return outcome;
            }
        }
    }
}

fn pool(manager: PgManager) -> Result<Pool<PgManager>> {
    Pool::builder(manager).max_size(CONNECTIONS_MAX).build().map_err(Error::internal)
}

fn pool_of_directory(options: PgConnectOptions) -> Result<Pool<PgManager>> {
    pool(PgManager { options, role: Some("SET ROLE hospes_directory") })
}

fn is_unavailable<T>(outcome: &Result<T>) -> bool {
    matches!(outcome, Err(Error::Unavailable(_)))
}

fn slot(tx: &mut Tx) -> &mut PgSlot {
    match &mut tx.connection {
        Connection::Postgres(object) => &mut object.0,
        Connection::SqliteWriter(_) | Connection::SqliteReader(_) => {
            unreachable!("a PostgreSQL database hands out PostgreSQL connections")
        }
    }
}

async fn raw(tx: &mut Tx, statement: &'static str) -> Result<()> {
    tx.execute(Sql::new(statement), Vec::new()).await.map(drop)
}
