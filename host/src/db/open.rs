//! Opening a database: owns what is checked before a server may serve from it.
//!
//! A server that could lose an acknowledged write, or whose role could see past
//! row-level security, does not start.

use std::fmt;
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnection;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::postgres::{DIRECTORY_ROLE, Postgres, SERVER_ROLE, login_options};
use super::sqlite::{self, Sqlite};
use super::{Db, migrate};
use crate::files::{DatabaseLock, FileError};

/// The first version of SQLite without the fault that can corrupt a database when a
/// write and a checkpoint race.
const SQLITE_VERSION_MIN: (u32, u32, u32) = (3, 51, 3);
/// `PRAGMA synchronous` for FULL: a commit is flushed before it is acknowledged.
const SYNCHRONOUS_FULL: i64 = 2;

/// Which database, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Config {
    /// The embedded engine, in this file; its folder exists.
    Sqlite {
        /// The file.
        file: PathBuf,
    },
    /// PostgreSQL.
    Postgres(PostgresConfig),
}

/// How to reach PostgreSQL.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresConfig {
    /// The URL, with the password.
    pub url: String,
    /// Serve although the cluster may lose acknowledged writes: for throwaway clusters.
    pub allow_unsafe_durability: bool,
    /// Connections of this server, half of them for writing, beside a few for the directory.
    pub connections_max: u32,
}

impl PostgresConfig {
    /// The usual connections, and no leniency.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), allow_unsafe_durability: false, connections_max: 24 }
    }
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("allow_unsafe_durability", &self.allow_unsafe_durability)
            .field("connections_max", &self.connections_max)
            .finish_non_exhaustive()
    }
}

/// Why a database could not be opened, for an operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL cannot be read; its text may hold a password and is not shown.
    #[error("the database's URL cannot be read; write postgres://user:password@host/database")]
    Url(#[source] sqlx::Error),
    /// No connection could be made, or a statement failed.
    #[error("the database did not {verb}")]
    Database {
        /// What was tried, such as `open`.
        verb: &'static str,
        /// What went wrong.
        #[source]
        source: sqlx::Error,
    },
    /// A migration failed, and nothing of it was kept.
    #[error("the migration `{name}` failed")]
    Migration {
        /// Which.
        name: &'static str,
        /// What went wrong.
        #[source]
        source: sqlx::Error,
    },
    /// The file cannot be had; another server may have it.
    #[error(transparent)]
    File(#[from] FileError),
    /// The database is not safe to serve from; the text says why and what to do.
    #[error("{0}")]
    Refused(String),
}

impl OpenError {
    /// For `map_err`, with what was tried.
    pub(super) fn database(verb: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { verb, source }
    }
}

impl Db {
    /// Opens a database for a server. SQLite is migrated on the way; PostgreSQL must
    /// have been, because the server's role may not.
    ///
    /// # Errors
    /// [`OpenError`] if it cannot be opened or is not safe to serve from.
    pub async fn open(config: &Config) -> Result<Self, OpenError> {
        match config {
            Config::Sqlite { file } => open_sqlite(file, DatabaseLock::take(file)?).await,
            Config::Postgres(config) => {
                let mut connection =
                    login_options(&config.url)?.connect().await.map_err(OpenError::database("connect"))?;
                check_durability(&mut connection, config.allow_unsafe_durability).await?;
                check_login(&mut connection).await?;
                migrate::check_postgres(&mut connection).await?;
                connection.close().await.map_err(OpenError::database("close"))?;
                Ok(Self::Postgres(Postgres::new(config)?))
            }
        }
    }

    /// As [`Db::open`], but for one command, which may run beside a server: SQLite
    /// serves several processes, and only two servers would trip over each other.
    ///
    /// # Errors
    /// [`OpenError`]; also if the server beside it is older than this program.
    pub async fn open_beside(config: &Config) -> Result<Self, OpenError> {
        let Config::Sqlite { file } = config else { return Self::open(config).await };
        match DatabaseLock::take(file) {
            Ok(lock) => open_sqlite(file, lock).await,
            Err(FileError::InUse { .. }) => {
                let mut writer = connect_sqlite(file).await?;
                migrate::check_sqlite(&mut writer).await?;
                Ok(Self::Sqlite(Sqlite::start(file, writer, ())))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Migrates a database and answers the names of what it has applied. `config` names
    /// the owner of the tables on PostgreSQL.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn migrate(config: &Config) -> Result<Vec<&'static str>, OpenError> {
        match config {
            Config::Sqlite { file } => {
                let _lock = DatabaseLock::take(file)?;
                let mut connection = connect_sqlite(file).await?;
                let applied = migrate::sqlite(&mut connection).await?;
                connection.close().await.map_err(OpenError::database("close"))?;
                Ok(applied)
            }
            Config::Postgres(config) => {
                let mut connection =
                    login_options(&config.url)?.connect().await.map_err(OpenError::database("connect"))?;
                let applied = migrate::postgres(&mut connection).await?;
                connection.close().await.map_err(OpenError::database("close"))?;
                Ok(applied)
            }
        }
    }
}

/// Opens and migrates a file that nobody else serves.
async fn open_sqlite(file: &Path, lock: DatabaseLock) -> Result<Db, OpenError> {
    let mut writer = connect_sqlite(file).await?;
    migrate::sqlite(&mut writer).await?;
    Ok(Db::Sqlite(Sqlite::start(file, writer, lock)))
}

async fn connect_sqlite(file: &Path) -> Result<SqliteConnection, OpenError> {
    let mut connection = sqlite::options(file).connect().await.map_err(OpenError::database("open"))?;
    check_sqlite(&mut connection).await?;
    Ok(connection)
}

/// Refuses a connection whose commits may be lost or whose library corrupts.
async fn check_sqlite(connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let (version,): (String,) = sqlx::query_as("SELECT sqlite_version()")
        .fetch_one(&mut *connection)
        .await
        .map_err(OpenError::database("answer"))?;
    if parse_version(&version).is_none_or(|version| version < SQLITE_VERSION_MIN) {
        let (major, minor, patch) = SQLITE_VERSION_MIN;
        return Err(OpenError::Refused(format!(
            "this program was built with SQLite {version}, which can corrupt a database; build it with the \
             bundled SQLite, {major}.{minor}.{patch} or later"
        )));
    }
    let (synchronous,): (i64,) = pragma(connection, "PRAGMA synchronous").await?;
    let (journal,): (String,) = pragma(connection, "PRAGMA journal_mode").await?;
    let (foreign_keys,): (i64,) = pragma(connection, "PRAGMA foreign_keys").await?;
    if synchronous < SYNCHRONOUS_FULL {
        return Err(OpenError::Refused(format!(
            "SQLite runs with synchronous={synchronous}: a power cut would lose acknowledged writes; it must be \
             {SYNCHRONOUS_FULL} (FULL)"
        )));
    }
    if journal != "wal" || foreign_keys != 1 {
        return Err(OpenError::Refused(format!(
            "SQLite runs with journal_mode={journal} and foreign_keys={foreign_keys} where `wal` and 1 are needed; \
             keep the database on a local disk"
        )));
    }
    Ok(())
}

async fn pragma<T>(connection: &mut SqliteConnection, text: &'static str) -> Result<T, OpenError>
where
    T: for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow> + Send + Unpin,
{
    sqlx::query_as(text).fetch_one(connection).await.map_err(OpenError::database("answer"))
}

fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?))
}

/// Refuses a cluster that acknowledges what it may lose.
async fn check_durability(connection: &mut PgConnection, allow_unsafe: bool) -> Result<(), OpenError> {
    let off: Vec<(String,)> = sqlx::query_as(
        "SELECT name FROM pg_settings
         WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')
           AND setting = 'off'
         ORDER BY name",
    )
    .fetch_all(connection)
    .await
    .map_err(OpenError::database("answer"))?;
    if off.is_empty() {
        return Ok(());
    }
    let off = off.into_iter().map(|(name,)| name).collect::<Vec<_>>().join(", ");
    if allow_unsafe {
        tracing::warn!(
            settings = off,
            "ACKNOWLEDGED WRITES MAY BE LOST: these settings of PostgreSQL are off, and allow_unsafe_durability \
             accepts it; never do so with data that matters"
        );
        return Ok(());
    }
    Err(OpenError::Refused(format!(
        "PostgreSQL runs with {off} off: a crash would lose acknowledged writes; switch it on (ALTER SYSTEM SET … = \
         on), or set `database.allow_unsafe_durability` for a cluster whose data does not matter"
    )))
}

#[derive(sqlx::FromRow)]
struct Login {
    name: String,
    is_super: bool,
    bypasses: bool,
    owns: bool,
    serves: bool,
    looks_up: bool,
}

/// Refuses a login role that row-level security does not bind, or that lacks our two roles.
async fn check_login(connection: &mut PgConnection) -> Result<(), OpenError> {
    let login: Login = sqlx::query_as(
        "SELECT CAST(r.rolname AS TEXT) AS name, r.rolsuper AS is_super, r.rolbypassrls AS bypasses,
            EXISTS (SELECT 1 FROM pg_class c
                JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')
                  AND pg_has_role(r.oid, c.relowner, 'MEMBER')) AS owns,
            EXISTS (SELECT 1 FROM pg_roles g
                WHERE g.rolname = $1 AND pg_has_role(r.oid, g.oid, 'MEMBER')) AS serves,
            EXISTS (SELECT 1 FROM pg_roles g
                WHERE g.rolname = $2 AND pg_has_role(r.oid, g.oid, 'MEMBER')) AS looks_up
         FROM pg_roles r
         WHERE r.rolname = session_user",
    )
    .bind(SERVER_ROLE)
    .bind(DIRECTORY_ROLE)
    .fetch_one(connection)
    .await
    .map_err(OpenError::database("answer"))?;
    let name = &login.name;
    let fault = if login.is_super {
        format!("`{name}` is a superuser")
    } else if login.bypasses {
        format!("`{name}` bypasses row-level security")
    } else if login.owns {
        format!("`{name}` owns the tables")
    } else if !(login.serves && login.looks_up) {
        format!("`{name}` is not a member of {SERVER_ROLE} and {DIRECTORY_ROLE}")
    } else {
        return Ok(());
    };
    Err(OpenError::Refused(format!(
        "the server may not log in to PostgreSQL with this role: {fault}. Run `hospes migrate` with the owner's \
         URL, then make a role for the server and name it in `database.url`:\n  \
         CREATE ROLE hospes LOGIN NOINHERIT PASSWORD '…';\n  \
         GRANT {SERVER_ROLE}, {DIRECTORY_ROLE} TO hospes;"
    )))
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};

    use super::*;

    async fn checked(options: SqliteConnectOptions) -> Result<(), OpenError> {
        let mut connection = options.connect().await.unwrap();
        check_sqlite(&mut connection).await
    }

    #[tokio::test]
    async fn sqlite_below_full_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let options = sqlite::options(&folder.path().join("some.db"));
        checked(options.clone()).await.unwrap();
        let refused = checked(options.synchronous(SqliteSynchronous::Normal)).await.unwrap_err();
        assert!(refused.to_string().contains("synchronous=1"), "{refused}");
    }

    #[tokio::test]
    async fn a_command_works_beside_a_server_and_a_second_server_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::Sqlite { file: folder.path().join("some.db") };
        let server = Db::open(&config).await.unwrap();
        assert!(matches!(Db::open(&config).await, Err(OpenError::File(FileError::InUse { .. }))));
        let command = Db::open_beside(&config).await.unwrap();
        command.ping().await.unwrap();
        command.close().await;
        server.close().await;
        Db::open(&config).await.unwrap().close().await;
    }

    #[test]
    fn a_library_with_the_wal_fault_is_older_than_the_least() {
        assert!(parse_version("3.51.2").unwrap() < SQLITE_VERSION_MIN);
        assert!(parse_version("3.51.3").unwrap() >= SQLITE_VERSION_MIN);
        assert!(parse_version("4.0.0").unwrap() >= SQLITE_VERSION_MIN);
        assert_eq!(parse_version("three"), None);
    }
}
