//! PostgreSQL: pools whose connections remember the tenant that row-level security sees.
//!
//! A reader's statement stands alone; a unit of work is one transaction. sqlx 0.9
//! loses acknowledged writes when a `begin` is cancelled half-way, so a transaction
//! lives wholly inside a spawned task, and a connection that comes back in the
//! middle of one is closed, not used again.

use std::panic::AssertUnwindSafe;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::sync::Mutex;

use super::open::{OpenError, PostgresConfig};
use super::pool::{Connect, Loan, Pool};
use super::sql::Sql;
use super::tx::{Connection, Tx};
use super::{Doorbell, Reader, UNIT_RERUNS_MAX, Unit, unit_panicked};
use crate::error::{Error, Result};
use crate::metrics::UNIT_RERUNS;

/// The role that serves tenants; row-level security shows it one at a time.
pub(super) const SERVER_ROLE: &str = "hospes_server";
/// The role that looks up what is needed before the tenant is known.
pub(super) const DIRECTORY_ROLE: &str = "hospes_directory";

/// Connections that look things up before the tenant is known.
const DIRECTORY_CONNECTIONS_MAX: u32 = 4;
/// Prepared statements that a connection keeps: more than the product has.
const STATEMENTS_MAX: usize = 512;
/// Tenants are spread over so many queues of units that run again.
const RERUN_LANES: usize = 32;

/// What a reader's connection is set to.
const READ_ONLY: (&str, &str) = ("default_transaction_read_only", "on");

const SET_TENANT: Sql = Sql::new("SELECT set_config('hospes.tenant', $1, false)");
const PING: Sql = Sql::new("SELECT CAST(1 AS BIGINT)");

/// A PostgreSQL database.
#[derive(Clone)]
pub struct Postgres {
    /// Two pools, so that who holds a reader and waits for a write cannot wait for itself.
    readers: Pool<PgConnect>,
    writers: Pool<PgConnect>,
    directory: Pool<PgConnect>,
    /// Units that lost against a concurrent one run again one by one, so that many
    /// that want the same row cannot starve each other.
    reruns: Arc<[Mutex<()>]>,
    pub(super) doorbell: Doorbell,
}

/// How a pool connects: with the role already taken.
pub(super) struct PgConnect(PgConnectOptions);

impl Connect for PgConnect {
    type Connection = PgConnection;

    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        self.0.connect().await
    }
}

/// A connection on loan, and the tenant that it is for.
pub(super) struct PgLoan {
    loan: Loan<PgConnect>,
    tenant: String,
    /// Whether a lost connection may be replaced: a lone statement that reads can
    /// simply be asked again.
    renewable: bool,
}

impl PgLoan {
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        self.loan.connection()
    }

    pub(super) fn lost(&mut self) {
        self.loan.lost();
    }

    pub(super) fn release(&mut self) {
        self.loan.release();
    }

    pub(super) fn may_renew(&self, error: &sqlx::Error) -> bool {
        self.renewable && super::error::is_lost(error)
    }

    pub(super) async fn renew(&mut self) -> Result<()> {
        self.renewable = false;
        self.loan.lost();
        self.loan.renew().await?;
        self.set_tenant().await.map_err(super::error::translate)
    }

    async fn set_tenant(&mut self) -> Result<(), sqlx::Error> {
        // Unknown until the server has answered: a cancelled caller leaves it so.
        self.loan.set_tenant(None);
        sqlx::query(SET_TENANT.postgres()).bind(&self.tenant).execute(self.loan.connection()).await?;
        self.loan.set_tenant(Some(self.tenant.clone()));
        Ok(())
    }
}

/// What came of one run of a unit.
enum Run<T> {
    Done(Result<T>),
    /// Nothing of it was kept, and another run may do better.
    Again(Error),
}

impl Postgres {
    /// Opens the pools; the checks of `open.rs` have passed.
    pub(super) fn new(config: &PostgresConfig) -> Result<Self, OpenError> {
        let half = config.connections_max.div_ceil(2);
        let server = options(config, SERVER_ROLE)?;
        let reader = server.clone().options([READ_ONLY]);
        let directory = options(config, DIRECTORY_ROLE)?.options([READ_ONLY]);
        Ok(Self {
            readers: Pool::new(PgConnect(reader), half),
            writers: Pool::new(PgConnect(server), half),
            directory: Pool::new(PgConnect(directory), DIRECTORY_CONNECTIONS_MAX),
            reruns: (0..RERUN_LANES).map(|_| Mutex::new(())).collect(),
            doorbell: Doorbell::default(),
        })
    }

    async fn acquire(&self, pool: &Pool<PgConnect>, tenant: &str) -> Result<PgLoan> {
        let loan = pool.get(tenant).await?;
        let mut loan = PgLoan { loan, tenant: tenant.to_owned(), renewable: true };
        if !loan.loan.serves(tenant) {
            match loan.set_tenant().await {
                Err(error) if loan.may_renew(&error) => loan.renew().await?,
                answer => answer.map_err(super::error::translate)?,
            }
        }
        Ok(loan)
    }

    pub(super) async fn read(&self, tenant: &str) -> Result<Reader> {
        let loan = self.acquire(&self.readers, tenant).await?;
        Ok(Reader::new(Tx::new(Connection::Postgres(loan))))
    }

    pub(super) async fn directory(&self) -> Result<Reader> {
        let loan = self.acquire(&self.directory, "").await?;
        Ok(Reader::new(Tx::new(Connection::Postgres(loan))))
    }

    pub(super) async fn snapshot(&self, tenant: &str) -> Result<Reader> {
        let mut loan = self.acquire(&self.readers, tenant).await?;
        loan.renewable = false;
        loan.loan.reserve();
        let mut reader = Reader::snapshot(Tx::new(Connection::Postgres(loan)));
        reader.control("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        Ok(reader)
    }

    pub(super) async fn ping(&self) -> Result<()> {
        let mut reader = self.read("").await?;
        reader.fetch_one::<(i64,)>(PING, Vec::new()).await.map(drop)
    }

    pub(super) async fn close(&self) {
        for pool in [&self.writers, &self.readers, &self.directory] {
            for connection in pool.close().await {
                if let Err(error) = connection.close().await {
                    tracing::debug!(%error, "a connection did not close cleanly");
                }
            }
        }
    }

    pub(super) async fn write<S, T, F>(&self, tenant: String, state: Arc<S>, unit: F) -> Result<T>
    where
        S: Send + Sync + 'static,
        T: Send + 'static,
        F: Unit<S, T>,
    {
        let this = self.clone();
        // In a task of its own, so that the caller's cancellation cannot cut the unit in two.
        #[expect(clippy::disallowed_methods, reason = "awaited right below unless the caller goes away")]
        let task = tokio::spawn(async move { this.run_unit(&tenant, &*state, &unit).await });
        task.await.map_err(Error::unavailable)?
    }

    async fn run_unit<S, T, F>(&self, tenant: &str, state: &S, unit: &F) -> Result<T>
    where
        S: Send + Sync + 'static,
        T: Send + 'static,
        F: Unit<S, T>,
    {
        let mut runs = 1;
        let mut last = self.run_once(tenant, state, unit).await;
        while let Run::Again(error) = last {
            if runs > UNIT_RERUNS_MAX {
                return Err(error);
            }
            tracing::debug!(?error, runs, "a unit of work runs again");
            metrics::counter!(UNIT_RERUNS).increment(1);
            let _turn = self.reruns[lane(tenant)].lock().await;
            tokio::time::sleep(pause_before_rerun(runs)).await;
            last = self.run_once(tenant, state, unit).await;
            runs += 1;
        }
        match last {
            Run::Done(outcome) => outcome,
            Run::Again(error) => Err(error),
        }
    }

    async fn run_once<S, T, F>(&self, tenant: &str, state: &S, unit: &F) -> Run<T>
    where
        S: Send + Sync + 'static,
        T: Send + 'static,
        F: Unit<S, T>,
    {
        let mut tx = match self.acquire(&self.writers, tenant).await {
            Ok(loan) => Tx::new(Connection::Postgres(loan)),
            Err(error) => return Run::Done(Err(error)),
        };
        let loan = pg(&mut tx);
        loan.renewable = false;
        loan.loan.reserve();
        if let Err(error) = tx.control("BEGIN ISOLATION LEVEL REPEATABLE READ").await {
            return if tx.trouble.lost { Run::Again(error) } else { Run::Done(Err(error)) };
        }
        tx.in_unit = true;
        let outcome = AssertUnwindSafe(unit(&mut tx, state)).catch_unwind().await;
        let Ok(outcome) = outcome else {
            // Whatever a panic has left in the driver goes away with the connection.
            return Run::Done(Err(unit_panicked()));
        };
        let outcome = outcome.and_then(|answer| tx.may_go_on().map(|()| answer));
        match outcome {
            Ok(answer) => commit(tx, answer).await,
            Err(error) => {
                let again = tx.trouble.lost || tx.trouble.conflicted;
                tx.roll_back().await;
                if again { Run::Again(unavailable(error)) } else { Run::Done(Err(error)) }
            }
        }
    }
}

async fn commit<T>(mut tx: Tx, answer: T) -> Run<T> {
    let Err(error) = tx.control("COMMIT").await else {
        pg(&mut tx).release();
        return Run::Done(Ok(answer));
    };
    // A connection that breaks now leaves it open whether the server has committed,
    // so that this may not run again: the caller has to ask.
    let again = tx.trouble.conflicted;
    tx.roll_back().await;
    if again { Run::Again(error) } else { Run::Done(Err(unavailable(error))) }
}

fn unavailable(error: Error) -> Error {
    if matches!(error, Error::Unavailable(_)) { error } else { Error::unavailable(error) }
}

fn lane(tenant: &str) -> usize {
    // Tenants' ids end in random letters; any spread will do.
    tenant.bytes().fold(0, |sum: usize, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)))
        % RERUN_LANES
}

/// None before the first rerun, then 1, 2, 4, … milliseconds: the turn already keeps
/// this server's units apart, and the pause is for those of other servers.
fn pause_before_rerun(runs: u32) -> Duration {
    match runs {
        1 => Duration::ZERO,
        runs => Duration::from_millis(1 << (runs - 2).min(6)),
    }
}

fn pg(tx: &mut Tx) -> &mut PgLoan {
    match &mut tx.connection {
        Connection::Postgres(loan) => loan,
        Connection::SqliteWriter(_) | Connection::SqliteReader(_) => {
            unreachable!("a PostgreSQL database hands out PostgreSQL connections")
        }
    }
}

/// The options of a connection that serves as `role`.
fn options(config: &PostgresConfig, role: &str) -> Result<PgConnectOptions, OpenError> {
    Ok(login_options(&config.url)?.options([
        ("role", role),
        // A statement that runs longer is a mistake; a transaction that idles holds back vacuum.
        ("statement_timeout", "30000"),
        ("idle_in_transaction_session_timeout", "60000"),
        ("lock_timeout", "10000"),
    ]))
}

/// The options of a connection as the login role.
pub(super) fn login_options(url: &str) -> Result<PgConnectOptions, OpenError> {
    let options = PgConnectOptions::from_str(url).map_err(OpenError::Url)?;
    Ok(options
        .application_name("hospes")
        .statement_cache_capacity(STATEMENTS_MAX)
        .disable_statement_logging())
}
