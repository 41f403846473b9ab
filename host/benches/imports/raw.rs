//! The floor of an import: its rows in its tables, nothing but batched inserts.

use std::path::Path;

use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, PgConnection, SqliteConnection};

/// Rows of one statement.
const ROWS_MAX: usize = 100;

/// A table that imports write, the columns that they set, and the one that sorts by time.
pub(crate) struct Table {
    name: &'static str,
    columns: &'static str,
    key: &'static str,
}

/// The tables of orders whose customers are made with them. What the engine numbers
/// by itself is not among the columns.
pub(crate) fn tables(engine: &Raw) -> [Table; 6] {
    let table = |name, key, columns| Table { name, columns, key };
    let events = match engine {
        Raw::Sqlite(_) => {
            "tenant, id, name, subject_kind, subject_id, occurred_at, actor_kind, actor_id, depth, body"
        }
        Raw::Postgres(_) => {
            "tenant, position, id, name, subject_kind, subject_id, occurred_at, actor_kind, actor_id, depth, body"
        }
    };
    [
        table(
            "customers",
            "id",
            "tenant, id, version, kind, name, search_key, lifecycle_stage, details, created_at, updated_at",
        ),
        table("identities", "customer_id", "tenant, source, external_id, customer_id"),
        table(
            "orders",
            "id",
            "tenant, id, version, customer_id, status, channel, currency, total_minor, refunded_minor,
            ordered_at, source, external_id, lines, refunds, created_at, updated_at",
        ),
        table("audit", "id", "tenant, id, at, actor_kind, actor_id, action, entity, record, changes"),
        table("events", "id", events),
        table(
            "deliveries",
            "event",
            "tenant, consumer, state, position, event, subject_kind, subject_id, attempts, due_at",
        ),
    ]
}

/// A connection of its own, beside the product.
pub(crate) enum Raw {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

macro_rules! insert {
    ($connection:expr, $text:expr, $rows:expr, $tenant:expr) => {{
        let mut query = sqlx::query(AssertSqlSafe($text));
        for value in $rows.iter().flatten().enumerate() {
            // The first column is the tenant, which is another one here.
            query = match value {
                (place, _) if place % $rows[0].len() == 0 => query.bind($tenant),
                (_, Value::String(text)) => query.bind(text),
                (_, value) => query.bind(value.as_i64().expect("texts and whole numbers")),
            };
        }
        query.execute($connection).await.unwrap();
    }};
}

impl Raw {
    /// On a migrated file of its own.
    pub(crate) async fn sqlite(file: &Path) -> Self {
        Self::Sqlite(sqlite_options(file).connect().await.unwrap())
    }

    /// In the product's role, on the product's tables, for another tenant.
    pub(crate) async fn postgres(url: &str, tenant: &str) -> Self {
        Self::Postgres(postgres_connection(url, tenant).await)
    }

    /// Inserts one part of each table's rows, and commits.
    pub(crate) async fn commit(&mut self, tables: &[Table], rows: &[&[Vec<Value>]], tenant: &str) {
        match self {
            Self::Sqlite(connection) => {
                connection.execute("BEGIN IMMEDIATE").await.unwrap();
                for (table, rows) in tables.iter().zip(rows) {
                    for rows in rows.chunks(ROWS_MAX) {
                        insert!(&mut *connection, table.insert(rows), rows, tenant);
                    }
                }
                connection.execute("COMMIT").await.unwrap();
            }
            Self::Postgres(connection) => {
                connection.execute(sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ")).await.unwrap();
                for (table, rows) in tables.iter().zip(rows) {
                    for rows in rows.chunks(ROWS_MAX) {
                        insert!(&mut *connection, table.insert(rows), rows, tenant);
                    }
                }
                connection.execute(sqlx::raw_sql("COMMIT")).await.unwrap();
            }
        }
    }
}

impl Table {
    fn insert(&self, rows: &[Vec<Value>]) -> String {
        let columns = rows[0].len();
        let tuple = |row: usize| {
            let places: Vec<_> = (1..=columns).map(|column| format!("${}", row * columns + column)).collect();
            format!("({})", places.join(", "))
        };
        let tuples: Vec<_> = (0..rows.len()).map(tuple).collect();
        format!("INSERT INTO {} ({}) VALUES {}", self.name, self.columns, tuples.join(", "))
    }
}

/// Reads what the product has written.
pub(crate) enum Source {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Source {
    pub(crate) async fn sqlite(file: &Path) -> Self {
        Self::Sqlite(sqlite_options(file).read_only(true).connect().await.unwrap())
    }

    pub(crate) async fn postgres(url: &str, tenant: &str) -> Self {
        Self::Postgres(postgres_connection(url, tenant).await)
    }

    /// The rows of `table` after the one with the key `after`, and the last one's key.
    pub(crate) async fn rows(&mut self, table: &Table, tenant: &str, after: &mut String) -> Vec<Vec<Value>> {
        let Table { name, columns, key } = table;
        let array = match self {
            Self::Sqlite(_) => "json_array",
            Self::Postgres(_) => "json_build_array",
        };
        let text = format!(
            "SELECT CAST({array}({columns}) AS TEXT), {key} FROM {name} WHERE tenant = $1 AND {key} > $2 ORDER BY {key}"
        );
        let text = AssertSqlSafe(text);
        let rows: Vec<(String, String)> = match self {
            Self::Sqlite(connection) => {
                sqlx::query_as(text).bind(tenant).bind(&*after).fetch_all(connection).await
            }
            Self::Postgres(connection) => {
                sqlx::query_as(text).bind(tenant).bind(&*after).fetch_all(connection).await
            }
        }
        .unwrap();
        if let Some((_, last)) = rows.last() {
            after.clone_from(last);
        }
        rows.iter().map(|(row, _)| serde_json::from_str(row).unwrap()).collect()
    }
}

fn sqlite_options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .disable_statement_logging()
}

async fn postgres_connection(url: &str, tenant: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().unwrap();
    let options = options.options([("role", "hospes_server"), ("hospes.tenant", tenant)]);
    options.disable_statement_logging().connect().await.unwrap()
}
