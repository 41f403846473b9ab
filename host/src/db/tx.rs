//! One connection in use: runs statements on whichever engine stands behind it.

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, PgConnection, Postgres, Sqlite, SqliteConnection};

use super::postgres::PgObject;
use super::sql::{Arg, Sql};
use crate::error::{Error, Result};

/// A row type that both engines' rows turn into: `#[derive(sqlx::FromRow)]` on a struct.
pub trait Row: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

impl<T> Row for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

/// A connection that a reader or a unit of work runs its statements on.
///
/// It never begins or ends a transaction: that is for [`super::Db`] alone.
pub struct Tx {
    pub(super) connection: Connection,
    /// A statement met a conflict with a concurrent transaction (SQLSTATE 40001
    /// or 40P01): the unit is run again whatever it answers.
    pub(super) conflicted: bool,
}

pub(super) enum Connection {
    SqliteWriter(SqliteConnection),
    SqliteReader(sqlx::pool::PoolConnection<Sqlite>),
    Postgres(PgObject),
}

/// Binds every argument to a query of one driver.
macro_rules! bind_all {
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

/// Runs `$method` of a query on whichever engine this is.
macro_rules! run {
    ($tx:expr, $sql:expr, $args:expr, [$make:ident $($row:ident)?], $method:ident) => {{
        let result = match $tx.connection.engine() {
            EngineConnection::Sqlite(connection) => {
                bind_all!(sqlx::$make::<Sqlite, $($row)?>($sql.sqlite()), $args)
                    .$method(connection)
                    .await
                    .map(|found| run!(@out $method found))
            }
            EngineConnection::Postgres(connection) => {
                bind_all!(sqlx::$make::<Postgres, $($row)?>($sql.postgres()), $args)
                    .$method(connection)
                    .await
                    .map(|found| run!(@out $method found))
            }
        };
        result.map_err(|source| $tx.fail(source))
    }};
    (@out execute $found:ident) => { $found.rows_affected() };
    (@out $method:ident $found:ident) => { $found };
}

enum EngineConnection<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl Connection {
    fn engine(&mut self) -> EngineConnection<'_> {
        match self {
            Self::SqliteWriter(connection) => EngineConnection::Sqlite(connection),
            Self::SqliteReader(connection) => EngineConnection::Sqlite(connection),
            Self::Postgres(object) => EngineConnection::Postgres(object.connection()),
        }
    }
}

impl Tx {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, conflicted: false }
    }

    /// Runs a statement and answers the number of rows that it changed.
    pub async fn execute(&mut self, sql: Sql, args: Vec<Arg>) -> Result<u64> {
        run!(self, sql, args, [query], execute)
    }

    /// The first row, if there is one.
    pub async fn fetch_optional<T: Row>(&mut self, sql: Sql, args: Vec<Arg>) -> Result<Option<T>> {
        run!(self, sql, args, [query_as T], fetch_optional)
    }

    /// The first row of a statement that always answers one, such as a count.
    pub async fn fetch_one<T: Row>(&mut self, sql: Sql, args: Vec<Arg>) -> Result<T> {
        run!(self, sql, args, [query_as T], fetch_one)
    }

    /// All rows. The statement bounds their number with a `LIMIT`.
    pub async fn fetch_all<T: Row>(&mut self, sql: Sql, args: Vec<Arg>) -> Result<Vec<T>> {
        run!(self, sql, args, [query_as T], fetch_all)
    }

    /// Runs an insert that may meet an existing row: `Ok(false)` on a unique
    /// violation. Only for statements with `ON CONFLICT … DO NOTHING`, because
    /// on PostgreSQL a violation would end the transaction.
    pub async fn insert_if_absent(&mut self, sql: Sql, args: Vec<Arg>) -> Result<bool> {
        Ok(self.execute(sql, args).await? > 0)
    }

    fn fail(&mut self, source: sqlx::Error) -> Error {
        self.conflicted |= super::error::is_conflict(&source);
        super::error::translate(source)
    }
}
