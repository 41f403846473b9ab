//! One connection in use: runs statements on whichever engine stands behind it.

use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Postgres, SqlStr, Sqlite, SqliteConnection};

use super::pool::Loan;
use super::postgres::PgLoan;
use super::sql::{Arg, Sql};
use super::sqlite::SqliteConnect;
use crate::error::{Error, Result};

/// How long PostgreSQL may take to answer one statement. The server itself ends a
/// statement earlier; this is for a server that no longer answers at all.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// A row type that both engines' rows turn into: `#[derive(sqlx::FromRow)]` on a struct.
pub trait Row: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

impl<T> Row for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

/// A connection that a reader or a unit of work runs its statements on.
///
/// It never begins or ends a transaction: that is for [`super::Db`] alone.
pub struct Tx {
    pub(super) connection: Connection,
    pub(super) trouble: Trouble,
    /// Whether a unit of work runs: after a statement that failed, nothing more does.
    pub(super) in_unit: bool,
    /// Something has been written that the doorbell rings for once it is committed.
    pub(super) has_news: bool,
}

/// What has happened to the statements so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trouble {
    /// The database refused a statement. PostgreSQL has ended the transaction in all
    /// but name, and SQLite may have.
    pub(super) failed: bool,
    /// A concurrent transaction won: the unit is run again, whatever it answers.
    pub(super) conflicted: bool,
    /// The connection broke.
    pub(super) lost: bool,
    /// SQLite's file could not be written or flushed.
    pub(super) disk: bool,
}

pub(super) enum Connection {
    SqliteWriter(SqliteConnection),
    SqliteReader(Loan<SqliteConnect>),
    Postgres(PgLoan),
}

/// Binds the arguments to a query of SQLite, which keeps them.
macro_rules! bind_owned {
    ($query:expr, $args:expr) => {{
        let mut query = $query;
        for arg in $args {
            query = match arg {
                Arg::Text(value) => query.bind(value),
                Arg::Int(value) => query.bind(value),
                Arg::Bool(value) => query.bind(value),
                Arg::Float(value) => query.bind(value),
                Arg::Bytes(value) => query.bind(value),
            };
        }
        query
    }};
}

/// Binds the arguments to a query of PostgreSQL, which encodes them at once.
macro_rules! bind_encoded {
    ($query:expr, $args:expr) => {{
        let mut query = $query;
        for arg in $args {
            query = match arg {
                Arg::Text(value) => query.bind(value.as_deref()),
                Arg::Int(value) => query.bind(*value),
                Arg::Bool(value) => query.bind(*value),
                Arg::Float(value) => query.bind(*value),
                Arg::Bytes(value) => query.bind(value.as_deref()),
            };
        }
        query
    }};
}

/// Runs `$method` of a query on whichever engine this is.
macro_rules! run {
    ($tx:expr, $sqlite:expr, $postgres:expr, $args:expr, [$make:ident $($row:ident)?], $method:ident) => {{
        let args: Vec<Arg> = $args;
        $tx.may_go_on()?;
        let result = match &mut $tx.connection {
            Connection::SqliteWriter(connection) => {
                bind_owned!(sqlx::$make::<Sqlite, $($row)?>($sqlite), args).$method(connection).await
                    .map(|found| run!(@out $method found))
            }
            Connection::SqliteReader(loan) => {
                bind_owned!(sqlx::$make::<Sqlite, $($row)?>($sqlite), args).$method(loan.connection()).await
                    .map(|found| run!(@out $method found))
            }
            Connection::Postgres(loan) => loop {
                let query = bind_encoded!(sqlx::$make::<Postgres, $($row)?>($postgres), &args);
                let answer = answer_of(query.$method(loan.connection())).await;
                match answer {
                    Err(error) if loan.may_renew(&error) => loan.renew().await?,
                    answer => break answer.map(|found| run!(@out $method found)),
                }
            },
        };
        result.map_err(|source| $tx.fail(source))
    }};
    (@out execute $found:ident) => { $found.rows_affected() };
    (@out $method:ident $found:ident) => { $found };
}

impl Tx {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, trouble: Trouble::default(), in_unit: false, has_news: false }
    }

    /// Runs a statement and answers the number of rows that it changed.
    pub async fn execute(&mut self, sql: Sql, args: Vec<Arg>) -> Result<u64> {
        run!(self, sql.sqlite(), sql.postgres(), args, [query], execute)
    }

    /// The first row, if there is one.
    pub async fn fetch_optional<T: Row>(&mut self, sql: Sql, args: Vec<Arg>) -> Result<Option<T>> {
        run!(self, sql.sqlite(), sql.postgres(), args, [query_as T], fetch_optional)
    }

    /// The first row of a statement that always answers one, such as a count.
    pub async fn fetch_one<T: Row>(&mut self, sql: Sql, args: Vec<Arg>) -> Result<T> {
        run!(self, sql.sqlite(), sql.postgres(), args, [query_as T], fetch_one)
    }

    /// All rows. The statement bounds their number with a `LIMIT`.
    pub async fn fetch_all<T: Row>(&mut self, sql: Sql, args: Vec<Arg>) -> Result<Vec<T>> {
        run!(self, sql.sqlite(), sql.postgres(), args, [query_as T], fetch_all)
    }

    /// All rows of a statement that `db/filter.rs` has built, which bounds their number.
    pub async fn fetch_built<T: Row>(&mut self, text: SqlStr, args: Vec<Arg>) -> Result<Vec<T>> {
        run!(self, text, text.clone(), args, [query_as T], fetch_all)
    }

    /// Runs a statement that `db/filter.rs` has built, and answers the number of rows that it changed.
    pub async fn execute_built(&mut self, text: SqlStr, args: Vec<Arg>) -> Result<u64> {
        run!(self, text, text.clone(), args, [query], execute)
    }

    /// Runs an insert that may meet an existing row: `Ok(false)` if it did. Only for
    /// statements with `ON CONFLICT … DO NOTHING`, because a violation would end the
    /// transaction.
    pub async fn insert_if_absent(&mut self, sql: Sql, args: Vec<Arg>) -> Result<bool> {
        Ok(self.execute(sql, args).await? > 0)
    }

    /// Whether this is PostgreSQL, for statements that are built.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        matches!(self.connection, Connection::Postgres(_))
    }

    /// Runs a statement that begins or ends something, whatever happened before.
    pub(super) async fn control(&mut self, statement: &'static str) -> Result<()> {
        let result = match &mut self.connection {
            Connection::SqliteWriter(connection) => {
                sqlx::query(statement).execute(connection).await.map(drop)
            }
            Connection::SqliteReader(loan) => {
                sqlx::query(statement).execute(loan.connection()).await.map(drop)
            }
            Connection::Postgres(loan) => {
                answer_of(sqlx::raw_sql(statement).execute(loan.connection())).await.map(drop)
            }
        };
        result.map_err(|source| self.fail(source))
    }

    /// Ends the transaction of a loan; a connection that cannot is closed, not used again.
    pub(super) async fn roll_back(mut self) {
        if self.trouble.lost {
            return;
        }
        if let Err(error) = self.control("ROLLBACK").await {
            tracing::debug!(?error, "a connection is closed because it did not roll back");
            return;
        }
        match &mut self.connection {
            Connection::SqliteWriter(_) => {}
            Connection::SqliteReader(loan) => loan.release(),
            Connection::Postgres(loan) => loan.release(),
        }
    }

    /// Refuses to go on in a unit whose transaction the database has given up.
    pub(super) fn may_go_on(&self) -> Result<()> {
        if self.in_unit && self.trouble.failed {
            return Err(Error::internal("a unit of work went on after the database refused a statement"));
        }
        Ok(())
    }

    /// Lets the doorbell ring for the tenant once this transaction has committed.
    pub(crate) fn announce(&mut self) {
        self.has_news = true;
    }

    fn fail(&mut self, source: sqlx::Error) -> Error {
        let lost = super::error::is_lost(&source);
        if lost && let Connection::Postgres(loan) = &mut self.connection {
            loan.lost();
        }
        self.trouble.lost |= lost;
        self.trouble.failed |= lost || source.as_database_error().is_some();
        self.trouble.conflicted |= super::error::is_conflict(&source);
        self.trouble.disk |= super::error::is_disk_failure(&source);
        super::error::translate(source)
    }
}

async fn answer_of<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    match tokio::time::timeout(ANSWER_TIME_MAX, answer).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}
