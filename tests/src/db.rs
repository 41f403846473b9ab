//! A database of its own for each test: a copy of one that was migrated once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use hospes::db::{Config, Db, PostgresConfig};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::cluster::{Cluster, PostgresUrls};

/// The role that owns the tables of test databases.
const OWNER: &str = "hospes_owner";
/// The role that the server logs in with.
const SERVER: &str = "hospes_login";
const TEMPLATE: &str = "hospes_template";

/// A database engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The embedded one.
    Sqlite,
    /// A throwaway cluster.
    Postgres,
}

/// What a test of [`crate::both_engines!`] takes.
pub trait Harness: Sized {
    /// A fresh one; `None` if the engine is not installed.
    fn start(engine: Engine) -> impl Future<Output = Option<Self>> + Send;
}

/// A migrated, empty database.
pub struct TestDb {
    /// The database, open.
    pub db: Db,
    /// How it was opened, to open it again.
    pub config: Config,
    /// The engine.
    pub engine: Engine,
    /// PostgreSQL's URLs.
    pub urls: Option<PostgresUrls>,
    /// The folder of SQLite's file; also for whatever else the test puts on disk.
    pub folder: TempDir,
}

impl Harness for TestDb {
    async fn start(engine: Engine) -> Option<Self> {
        let folder = tempfile::tempdir().expect("there is room for temporary files");
        let (config, urls) = match engine {
            Engine::Sqlite => {
                let file = folder.path().join("hospes.db");
                std::fs::copy(sqlite_template().await, &file).expect("the template can be copied");
                (Config::Sqlite { file }, None)
            }
            Engine::Postgres => {
                let urls = copy_postgres(Cluster::shared()?, TEMPLATE).await;
                let mut config = PostgresConfig::new(&urls.server);
                config.allow_unsafe_durability = true;
                (Config::Postgres(config), Some(urls))
            }
        };
        let db = Db::open(&config).await.expect("a migrated database opens");
        Some(Self { db, config, engine, urls, folder })
    }
}

impl TestDb {
    /// The folder of plugins' files, which servers on this database share.
    ///
    /// # Panics
    /// If there is no room for it.
    #[must_use]
    pub fn files(&self) -> Dir {
        let folder = Dir::open_ambient_dir(self.folder.path(), ambient_authority());
        let folder = folder.expect("the folder is there");
        folder.create_dir_all("files").expect("there is room for temporary files");
        folder.open_dir("files").expect("the folder is there")
    }

    /// A connection to PostgreSQL that row-level security does not bind, to look
    /// behind the host's back.
    ///
    /// # Panics
    /// On SQLite.
    pub async fn superuser(&self) -> PgConnection {
        let urls = self.urls.as_ref().expect("only PostgreSQL has a superuser");
        connect(&urls.owner.replacen(OWNER, "postgres", 1)).await
    }
}

/// A migrated file without a server on it.
async fn sqlite_template() -> &'static std::path::Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    static MIGRATED: OnceCell<std::path::PathBuf> = OnceCell::const_new();
    MIGRATED
        .get_or_init(|| async {
            let folder =
                FOLDER.get_or_init(|| tempfile::tempdir().expect("there is room for temporary files"));
            let file = folder.path().join("template.db");
            Db::migrate(&Config::Sqlite { file: file.clone() })
                .await
                .expect("the migrations apply to SQLite");
            file
        })
        .await
}

/// A migrated database of a cluster that nobody else uses.
///
/// # Panics
/// If the cluster refuses.
pub async fn new_postgres(cluster: &Cluster) -> PostgresUrls {
    prepare(cluster).await;
    copy_postgres_ready(cluster, TEMPLATE).await
}

async fn copy_postgres(cluster: &'static Cluster, template: &str) -> PostgresUrls {
    static PREPARED: OnceCell<()> = OnceCell::const_new();
    PREPARED.get_or_init(|| prepare(cluster)).await;
    copy_postgres_ready(cluster, template).await
}

/// Makes the roles and the template.
async fn prepare(cluster: &Cluster) {
    let mut admin = connect(&cluster.url("postgres", "postgres")).await;
    let owner = "CREATE ROLE hospes_owner LOGIN CREATEROLE";
    admin.execute(owner).await.expect("a superuser makes roles");
    let template = "CREATE DATABASE hospes_template OWNER hospes_owner";
    admin.execute(template).await.expect("a superuser makes databases");
    let owner = PostgresConfig::new(cluster.url(OWNER, TEMPLATE));
    Db::migrate(&Config::Postgres(owner)).await.expect("the migrations apply to PostgreSQL");
    admin
        .execute(
            "CREATE ROLE hospes_login LOGIN NOINHERIT; GRANT hospes_server, hospes_directory TO hospes_login",
        )
        .await
        .expect("a superuser grants roles");
}

async fn copy_postgres_ready(cluster: &Cluster, template: &str) -> PostgresUrls {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let mut admin = connect(&cluster.url("postgres", "postgres")).await;
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {template} OWNER {OWNER}"));
    admin.execute(create).await.expect("a superuser copies databases");
    PostgresUrls { owner: cluster.url(OWNER, &name), server: cluster.url(SERVER, &name) }
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("the cluster accepts connections")
}
