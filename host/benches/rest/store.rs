//! What the bare server keeps its records with: sqlx, and on SQLite one writer that
//! shares commits as the product's does.

use std::path::Path;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Executor as _, FromRow, PgPool, SqliteConnection, SqlitePool};
use tokio::sync::{mpsc, oneshot};

/// Units that the writer puts into one commit, and readers beside it: as many as the product has.
const GROUP_MAX: usize = 128;
const READERS_MAX: u32 = 8;
/// Connections to PostgreSQL: as many as the product's readers and writers together.
const POSTGRES_CONNECTIONS_MAX: u32 = 24;

/// An argument of a statement.
#[derive(Clone, Debug)]
pub(crate) enum Arg {
    Text(String),
    Int(i64),
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Arg {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Arg {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

/// Statements that are committed together; the first must change a row.
pub(crate) type Change = Vec<(&'static str, Vec<Arg>)>;

/// The records.
#[derive(Clone)]
pub(crate) enum Store {
    Sqlite { writer: mpsc::Sender<(Change, oneshot::Sender<bool>)>, readers: SqlitePool },
    Postgres { pool: PgPool, tenant: String },
}

macro_rules! bind {
    ($query:expr, $args:expr) => {{
        let mut query = $query;
        for arg in $args {
            query = match arg {
                Arg::Text(value) => query.bind(value),
                Arg::Int(value) => query.bind(value),
            };
        }
        query
    }};
}

impl Store {
    /// On a migrated file that nobody else has open.
    pub(crate) async fn sqlite(file: &Path) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .disable_statement_logging();
        let connection = options.connect().await.unwrap();
        let (writer, units) = mpsc::channel(1_024);
        tokio::spawn(write_groups(connection, units));
        // A connection that is asked for a sign of life first would cost another turn.
        let readers = SqlitePoolOptions::new().max_connections(READERS_MAX).test_before_acquire(false);
        Self::Sqlite { writer, readers: readers.connect_with(options.read_only(true)).await.unwrap() }
    }

    /// In the product's role, on the product's tables, for another tenant.
    pub(crate) async fn postgres(url: &str, tenant: &str) -> Self {
        let options: PgConnectOptions = url.parse().unwrap();
        let options = options
            .options([("role", "hospes_server"), ("hospes.tenant", tenant)])
            .disable_statement_logging();
        let pool = PgPoolOptions::new().max_connections(POSTGRES_CONNECTIONS_MAX).test_before_acquire(false);
        Self::Postgres { pool: pool.connect_with(options).await.unwrap(), tenant: tenant.to_owned() }
    }

    /// Commits a change; false if its first statement has found nothing to change.
    pub(crate) async fn write(&self, change: Change) -> bool {
        match self {
            Self::Sqlite { writer, .. } => {
                let (done, written) = oneshot::channel();
                writer.send((change, done)).await.unwrap();
                written.await.unwrap()
            }
            Self::Postgres { pool, tenant } => write_alone(pool, tenant, change).await,
        }
    }

    /// The rows that one statement answers.
    pub(crate) async fn read<T>(&self, sql: &'static str, args: Vec<Arg>) -> Vec<T>
    where
        T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        match self {
            Self::Sqlite { readers, .. } => bind!(sqlx::query_as(sql), args).fetch_all(readers).await,
            Self::Postgres { pool, .. } => bind!(sqlx::query_as(sql), args).fetch_all(pool).await,
        }
        .unwrap()
    }
}

/// Takes what is queued, runs each change under a savepoint, commits once, answers all.
async fn write_groups(
    mut connection: SqliteConnection,
    mut units: mpsc::Receiver<(Change, oneshot::Sender<bool>)>,
) {
    let mut group = Vec::with_capacity(GROUP_MAX);
    while units.recv_many(&mut group, GROUP_MAX).await > 0 {
        let mut answers = Vec::with_capacity(group.len());
        connection.execute("BEGIN IMMEDIATE").await.unwrap();
        for (change, done) in group.drain(..) {
            connection.execute("SAVEPOINT unit").await.unwrap();
            let mut is_done = true;
            for (place, (sql, args)) in change.into_iter().enumerate() {
                let ran = bind!(sqlx::query(sql), args).execute(&mut connection).await.unwrap();
                is_done &= place > 0 || ran.rows_affected() > 0;
            }
            let end = if is_done { "RELEASE unit" } else { "ROLLBACK TO unit; RELEASE unit" };
            connection.execute(end).await.unwrap();
            answers.push((done, is_done));
        }
        connection.execute("COMMIT").await.unwrap();
        answers.into_iter().for_each(|(done, is_done)| done.send(is_done).unwrap());
    }
}

/// One transaction that sees one tenant. A change of one statement needs no transaction.
async fn write_alone(pool: &PgPool, tenant: &str, change: Change) -> bool {
    let mut connection = pool.acquire().await.unwrap();
    let is_alone = change.len() == 1;
    if !is_alone {
        connection.execute(sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ")).await.unwrap();
        let set = sqlx::query("SELECT set_config('hospes.tenant', $1, true)").bind(tenant);
        set.execute(&mut *connection).await.unwrap();
    }
    let mut is_done = true;
    for (place, (sql, args)) in change.into_iter().enumerate() {
        let ran = bind!(sqlx::query(sql), args).execute(&mut *connection).await.unwrap();
        is_done &= place > 0 || ran.rows_affected() > 0;
    }
    if !is_alone {
        let end = if is_done { "COMMIT" } else { "ROLLBACK" };
        connection.execute(sqlx::raw_sql(end)).await.unwrap();
    }
    is_done
}
