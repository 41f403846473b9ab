//! A database with a table of the tests' own, so that they need no other room's rules.

use std::time::Duration;

use hospes::clock::Timestamp;
use hospes::db::{Arg, Config, Db, PostgresConfig, Sql, Tx};
use hospes::domain::code::Reason;
use hospes::domain::ids::TenantId;
use hospes::error::{Error, Result};
use hospes::ids::SequentialIds;
use hospes_tests::{Cluster, Engine, Harness, PostgresUrls, TestDb, new_postgres};
use sqlx::{Connection as _, Executor as _, PgConnection, SqliteConnection};

const SQLITE: &str = "
    CREATE TABLE scratch (
        tenant TEXT NOT NULL,
        id TEXT NOT NULL,
        value INTEGER NOT NULL,
        PRIMARY KEY (tenant, id)
    ) STRICT, WITHOUT ROWID";
const POSTGRES: &str = "
    CREATE TABLE scratch (
        tenant TEXT COLLATE \"C\" NOT NULL,
        id TEXT COLLATE \"C\" NOT NULL,
        value BIGINT NOT NULL,
        PRIMARY KEY (tenant, id)
    )";

pub(crate) const INSERT: Sql = Sql::new("INSERT INTO scratch (tenant, id, value) VALUES ($1, $2, $3)");
pub(crate) const FIND: Sql = Sql::new("SELECT value FROM scratch WHERE tenant = $1 AND id = $2");
pub(crate) const UPDATE: Sql = Sql::new("UPDATE scratch SET value = $3 WHERE tenant = $1 AND id = $2");
pub(crate) const COUNT: Sql = Sql::new("SELECT COUNT(*) FROM scratch WHERE tenant = $1");
/// Without a tenant: what row-level security leaves is all that comes.
pub(crate) const LIST_TENANTS: Sql = Sql::new("SELECT DISTINCT tenant FROM scratch");

/// A [`TestDb`] with the table `scratch`.
pub(crate) struct Scratch(pub(crate) TestDb);

impl Harness for Scratch {
    async fn start(engine: Engine) -> Option<Self> {
        let mut test = TestDb::start(engine).await?;
        test.db.close().await;
        match (&test.config, &test.urls) {
            (Config::Sqlite { file }, _) => {
                let mut connection = SqliteConnection::connect(file.to_str().unwrap()).await.unwrap();
                connection.execute(SQLITE).await.unwrap();
                connection.close().await.unwrap();
            }
            (Config::Postgres(_), urls) => add_table(urls.as_ref().unwrap()).await,
        }
        test.db = Db::open(&test.config).await.unwrap();
        Some(Self(test))
    }
}

/// As the owner does, whose next migration secures the table.
async fn add_table(urls: &PostgresUrls) {
    let mut owner = PgConnection::connect(&urls.owner).await.unwrap();
    owner.execute(POSTGRES).await.unwrap();
    owner.close().await.unwrap();
    let applied = Db::migrate(&Config::Postgres(PostgresConfig::new(&urls.owner))).await.unwrap();
    assert!(applied.is_empty(), "the second migration found something to do: {applied:?}");
}

/// A cluster and a database of one test's own, durable, with the table `scratch`.
pub(crate) async fn own_cluster() -> Option<(Cluster, PostgresUrls)> {
    let cluster = Cluster::own()?;
    let urls = new_postgres(&cluster).await;
    add_table(&urls).await;
    Some((cluster, urls))
}

/// A tenant that is told from others by `number`.
pub(crate) fn tenant(number: i64) -> TenantId {
    TenantId::new(&SequentialIds::default(), Timestamp::from_micros(number * 1_000_000))
}

pub(crate) fn insert_args(tenant: &TenantId, id: &str, value: i64) -> Vec<Arg> {
    vec![Arg::from(tenant), Arg::from(id), Arg::from(value)]
}

/// Inserts one row and answers when it is durable.
pub(crate) async fn insert(db: &Db, tenant: &TenantId, id: impl Into<String>, value: i64) -> Result<()> {
    let state = (tenant.clone(), id.into(), value);
    db.write(tenant, state, |tx, (tenant, id, value)| {
        Box::pin(async move { tx.execute(INSERT, insert_args(tenant, id, *value)).await.map(drop) })
    })
    .await
}

/// The value of a row.
pub(crate) async fn find(tx: &mut Tx, tenant: &TenantId, id: &str) -> Result<Option<i64>> {
    let row: Option<(i64,)> = tx.fetch_optional(FIND, vec![Arg::from(tenant), Arg::from(id)]).await?;
    Ok(row.map(|(value,)| value))
}

/// How many rows the tenant has.
pub(crate) async fn count(tx: &mut Tx, tenant: &TenantId) -> i64 {
    let row: (i64,) = tx.fetch_one(COUNT, vec![Arg::from(tenant)]).await.unwrap();
    row.0
}

/// The error that a unit of these tests gives up with.
pub(crate) fn given_up() -> Error {
    Error::conflict(Reason::TriedOut, "the unit gave up")
}

/// Whether `error` is [`given_up`].
pub(crate) fn is_given_up(error: &Error) -> bool {
    matches!(error, Error::Conflict { code: Reason::TriedOut, .. })
}

/// Lets a future run for a little while, then drops it wherever it stands.
pub(crate) async fn cancel_after<F: Future>(micros: u64, future: F) -> Option<F::Output> {
    tokio::time::timeout(Duration::from_micros(micros), future).await.ok()
}

/// A spread of small numbers that is the same in every run.
pub(crate) fn spread(seed: u64, below: u64) -> u64 {
    let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)) % below
}
