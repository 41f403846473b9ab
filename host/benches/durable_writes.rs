//! Durable writes per second on SQLite: [`Db::write`] against a bare writer that
//! shares commits in the same way, and against one commit a request.
//!
//! Every contender runs the same three inserts (row, audit line, outbox row) with
//! `synchronous=FULL` on a file of its own, and answers after the commit.

#![expect(clippy::unwrap_used, reason = "a benchmark may stop at the first error")]
#![expect(
    clippy::disallowed_methods,
    reason = "the bare contenders are what the host's rules keep out of it"
)]

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hospes::db::{Arg, Config, Db, Sql};
use hospes::domain::ids::TenantId;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Executor as _, SqliteConnection};
use support::{Contender, compare, rate};
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, mpsc, oneshot};

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS bench_row (tenant TEXT, id INTEGER, body TEXT, PRIMARY KEY (tenant, id)) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS bench_audit (tenant TEXT, id INTEGER, body TEXT, PRIMARY KEY (tenant, id)) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS bench_outbox (tenant TEXT, id INTEGER, body TEXT, PRIMARY KEY (tenant, id)) STRICT, WITHOUT ROWID;";
const INSERTS: [&str; 3] = [
    "INSERT INTO bench_row (tenant, id, body) VALUES ($1, $2, $3)",
    "INSERT INTO bench_audit (tenant, id, body) VALUES ($1, $2, $3)",
    "INSERT INTO bench_outbox (tenant, id, body) VALUES ($1, $2, $3)",
];
const BODY: &str = r#"{"name":"Ann Chen","kind":"person","tags":["vip"],"lifecycle_stage":"growth"}"#;
const TENANT: &str = "ten_00000000000000000000000000";
/// What [`Db::write`] shall reach of the bare writer.
const AIM: Option<f64> = Some(0.80);
/// Units that the bare writer puts into one commit, as many as the host's.
const GROUP_MAX: usize = 128;

static NEXT: AtomicU64 = AtomicU64::new(1);

fn next() -> i64 {
    i64::try_from(NEXT.fetch_add(1, Ordering::Relaxed)).unwrap()
}

/// One way to write durably.
#[derive(Clone)]
enum Way {
    Host(Db),
    Group(mpsc::Sender<oneshot::Sender<()>>),
    Naive(Arc<Mutex<SqliteConnection>>),
}

fn main() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let host = runtime.block_on(open_host(folder.path().join("host.db")));
    let group = runtime.block_on(open_group(folder.path().join("group.db")));
    let naive = runtime.block_on(connect(folder.path().join("naive.db")));
    let ways = [
        ("Db::write", host),
        ("bare group commit", group),
        ("one commit a request", Way::Naive(Arc::new(Mutex::new(naive)))),
    ];
    for (clients, writes) in [(1, 200), (64, 50)] {
        let contender = |(name, way): &(&'static str, Way)| {
            let way = way.clone();
            let runtime = &runtime;
            Contender::new(name, move || {
                rate(clients * writes, || runtime.block_on(run_clients(&way, clients, writes)))
            })
        };
        compare(
            &format!("durable writes, SQLite FULL, {clients} client(s)"),
            "writes",
            AIM,
            ways.iter().map(contender).collect(),
        );
    }
}

/// All clients at once, each doing its writes one after the other.
async fn run_clients(way: &Way, clients: usize, writes: usize) {
    let clients: Vec<_> = (0..clients)
        .map(|_| {
            let way = way.clone();
            tokio::spawn(async move {
                for _ in 0..writes {
                    way.write().await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
}

impl Way {
    async fn write(&self) {
        match self {
            Self::Host(db) => write_host(db).await,
            Self::Group(queue) => {
                let (done, written) = oneshot::channel();
                queue.send(done).await.unwrap();
                written.await.unwrap();
            }
            Self::Naive(connection) => {
                let mut connection = connection.lock().await;
                connection.execute("BEGIN IMMEDIATE").await.unwrap();
                insert(&mut connection).await;
                connection.execute("COMMIT").await.unwrap();
            }
        }
    }
}

async fn write_host(db: &Db) {
    let tenant = TenantId::from_stored(TENANT.to_owned());
    db.write(&tenant, next(), |tx, id| {
        Box::pin(async move {
            for insert in INSERTS {
                let args = vec![Arg::from(TENANT), Arg::from(*id), Arg::from(BODY)];
                tx.execute(Sql::new(insert), args).await?;
            }
            Ok(())
        })
    })
    .await
    .unwrap();
}

async fn insert(connection: &mut SqliteConnection) {
    let id = next();
    for insert in INSERTS {
        sqlx::query(insert).bind(TENANT).bind(id).bind(BODY).execute(&mut *connection).await.unwrap();
    }
}

async fn open_host(file: PathBuf) -> Way {
    let db = Db::open(&Config::Sqlite { file: file.clone() }).await.unwrap();
    db.close().await;
    drop(connect(file.clone()).await);
    Way::Host(Db::open(&Config::Sqlite { file }).await.unwrap())
}

/// A writer that does what the host's does and nothing else: takes what is queued,
/// runs each unit under a savepoint, commits once, answers all.
async fn open_group(file: PathBuf) -> Way {
    let mut connection = connect(file).await;
    let (queue, mut units) = mpsc::channel::<oneshot::Sender<()>>(1_024);
    tokio::spawn(async move {
        let mut group = Vec::with_capacity(GROUP_MAX);
        while units.recv_many(&mut group, GROUP_MAX).await > 0 {
            connection.execute("BEGIN IMMEDIATE").await.unwrap();
            for _ in &group {
                connection.execute("SAVEPOINT unit").await.unwrap();
                insert(&mut connection).await;
                connection.execute("RELEASE unit").await.unwrap();
            }
            connection.execute("COMMIT").await.unwrap();
            group.drain(..).for_each(|done| done.send(()).unwrap());
        }
    });
    Way::Group(queue)
}

/// A connection with the host's durability, on a file with the benchmark's tables.
async fn connect(file: PathBuf) -> SqliteConnection {
    let mut connection = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging()
        .connect()
        .await
        .unwrap();
    connection.execute(TABLES).await.unwrap();
    connection
}
