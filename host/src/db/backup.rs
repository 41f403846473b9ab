//! Copies of SQLite's file: owns how one is taken from a running server, checked and put back.
//!
//! A copy gets its name only after it was checked, so that a file with that name is
//! good. PostgreSQL has tools of its own.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use super::open::OpenError;
use super::{migrate, sqlite};
use crate::files::{DatabaseLock, FileError, NamedFile};

/// The table to which rows are only ever added, whose count can be compared while the server writes.
const APPEND_ONLY: &str = "audit";

/// A copy that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Its size.
    pub bytes: u64,
    /// The migrations that it has, the latest last.
    pub migrations: Vec<String>,
    /// How many rows each of its tables has.
    pub rows: BTreeMap<String, u64>,
}

/// What to do with a database that is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Leave it, and refuse.
    Keep,
    /// Put it aside as `….replaced`, beside the restored one.
    Replace,
}

/// Copies the database of a server, which may be running, to `copy`, and checks the copy.
///
/// # Errors
/// [`OpenError`] if `copy` is there already, or the copy is not what it should be.
pub async fn backup(file: &Path, copy: &Path) -> Result<Copy, OpenError> {
    let source = NamedFile::at(file)?;
    if !source.exists() {
        return Err(OpenError::Refused(format!("there is no database `{}` to copy", file.display())));
    }
    let target = NamedFile::at(copy)?;
    if target.exists() {
        return Err(OpenError::Refused(format!(
            "`{}` is there already; a copy never replaces a file: name another, or remove it",
            copy.display()
        )));
    }
    let mut connection = connect(file).await?;
    let before = State::of(&mut connection).await?;
    let copied = copy_into(&mut connection, &target).await?;
    let after = State::of(&mut connection).await?;
    connection.close().await.map_err(OpenError::database("close"))?;
    if let Err(error) = compare(&before, &copied, &after) {
        remove(&target, "partial")?;
        return Err(error);
    }
    publish(&target)?;
    Ok(copied)
}

/// Puts `copy` in the place of the database `file`, after checking it. No server may run on it.
///
/// # Errors
/// [`OpenError`] if a server runs, if the copy is damaged or of a newer version, or if
/// there is a database that is to be kept.
pub async fn restore(copy: &Path, file: &Path, existing: Existing) -> Result<Copy, OpenError> {
    let _lock = DatabaseLock::take(file)?;
    let source = NamedFile::at(copy)?;
    if !source.exists() {
        return Err(OpenError::Refused(format!("there is no copy `{}`", copy.display())));
    }
    let target = NamedFile::at(file)?;
    if target.exists() && existing == Existing::Keep {
        return Err(OpenError::Refused(format!(
            "there is a database `{}` already; `--replace` puts the copy in its place",
            file.display()
        )));
    }
    let mut connection = connect(copy).await?;
    let original = check(&mut connection, copy).await?;
    let restored = copy_into(&mut connection, &target).await?;
    connection.close().await.map_err(OpenError::database("close"))?;
    if original != restored.rows {
        remove(&target, "partial")?;
        return Err(OpenError::Refused(format!(
            "the copy of `{}` has other numbers of rows than itself; check the disk",
            copy.display()
        )));
    }
    put_aside(&target)?;
    publish(&target)?;
    Ok(restored)
}

/// What a database holds at a moment.
struct State {
    /// Changes when another connection has written.
    version: i64,
    rows: BTreeMap<String, u64>,
}

impl State {
    async fn of(connection: &mut SqliteConnection) -> Result<Self, OpenError> {
        let rows = count_rows(connection).await?;
        let (version,) = sqlx::query_as("PRAGMA data_version")
            .fetch_one(connection)
            .await
            .map_err(OpenError::database("answer"))?;
        Ok(Self { version, rows })
    }
}

/// Refuses a copy that lacks rows: all of them if nobody wrote meanwhile, else what cannot shrink.
fn compare(before: &State, copied: &Copy, after: &State) -> Result<(), OpenError> {
    let whole = if before.version == after.version && before.rows == after.rows {
        before.rows == copied.rows
    } else {
        let of = |rows: &BTreeMap<String, u64>| rows.get(APPEND_ONLY).copied().unwrap_or_default();
        (of(&before.rows)..=of(&after.rows)).contains(&of(&copied.rows))
    };
    if whole {
        return Ok(());
    }
    Err(OpenError::Refused("the copy lacks rows of the database; check the disk and try again".to_owned()))
}

/// Writes a compact copy under a provisional name, flushes and checks it.
async fn copy_into(connection: &mut SqliteConnection, target: &NamedFile) -> Result<Copy, OpenError> {
    remove(target, "partial")?;
    let partial = beside(target.path(), "partial");
    sqlx::query("VACUUM INTO $1")
        .bind(partial.to_string_lossy().into_owned())
        .execute(&mut *connection)
        .await
        .map_err(OpenError::database("copy itself"))?;
    let written = NamedFile::at(&partial)?;
    let file = written.folder().open(written.name()).map_err(io_failed("open", &partial))?;
    file.sync_all().map_err(io_failed("flush", &partial))?;
    let bytes = file.metadata().map_err(io_failed("measure", &partial))?.len();
    let mut copy = connect(&partial).await?;
    let rows = check(&mut copy, &partial).await?;
    let migrations = migrate::applied_to_sqlite(&mut copy).await?;
    // The provisional name must keep no log beside it.
    sqlx::query("PRAGMA journal_mode = DELETE")
        .execute(&mut copy)
        .await
        .map_err(OpenError::database("leave its log"))?;
    copy.close().await.map_err(OpenError::database("close"))?;
    Ok(Copy { bytes, migrations, rows })
}

/// Refuses a file that is damaged or newer than this program; answers how many rows it has.
async fn check(connection: &mut SqliteConnection, path: &Path) -> Result<BTreeMap<String, u64>, OpenError> {
    let faults: Vec<(String,)> = sqlx::query_as("PRAGMA integrity_check(10)")
        .fetch_all(&mut *connection)
        .await
        .map_err(|error| damaged(path, &error.to_string()))?;
    if faults.iter().any(|(fault,)| fault != "ok") {
        let faults: Vec<String> = faults.into_iter().map(|(fault,)| fault).collect();
        return Err(damaged(path, &faults.join("; ")));
    }
    let orphans: Vec<(String,)> = sqlx::query_as("SELECT DISTINCT \"table\" FROM pragma_foreign_key_check")
        .fetch_all(&mut *connection)
        .await
        .map_err(OpenError::database("check its references"))?;
    if let Some((table,)) = orphans.first() {
        return Err(damaged(path, &format!("rows of `{table}` refer to rows that are not there")));
    }
    migrate::refuse_unknown_sqlite(connection).await?;
    count_rows(connection).await
}

async fn count_rows(connection: &mut SqliteConnection) -> Result<BTreeMap<String, u64>, OpenError> {
    let failed = || OpenError::database("count its rows");
    let tables: Vec<(String,)> = sqlx::query_as(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(failed())?;
    let mut rows = BTreeMap::new();
    for (table,) in tables {
        let quoted = table.replace('"', "\"\"");
        let count = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM \"{quoted}\""));
        let (count,): (i64,) = sqlx::query_as(count).fetch_one(&mut *connection).await.map_err(failed())?;
        rows.insert(table, count.unsigned_abs());
    }
    Ok(rows)
}

async fn connect(file: &Path) -> Result<SqliteConnection, OpenError> {
    sqlite::options(file).create_if_missing(false).connect().await.map_err(|error| {
        // Opening reads the tables' definitions, which may be what is damaged.
        if is_damage(&error) { damaged(file, &error.to_string()) } else { OpenError::database("open")(error) }
    })
}

fn damaged(path: &Path, what: &str) -> OpenError {
    OpenError::Refused(format!("`{}` is no sound database: {what}", path.display()))
}

/// Whether SQLite says that a file is damaged (`SQLITE_CORRUPT`) or no database (`SQLITE_NOTADB`).
fn is_damage(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    // An extended code has the plain one in its last byte.
    code.is_some_and(|code| matches!(code & 0xff, 11 | 26))
}

/// The name of a file beside `path`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// Gives the checked copy its name, and makes that last.
fn publish(target: &NamedFile) -> Result<(), OpenError> {
    let partial = NamedFile::at(&beside(target.path(), "partial"))?;
    let folder = target.folder();
    folder
        .rename(partial.name(), folder, target.name())
        .and_then(|()| folder.open(".")?.sync_all())
        .map_err(io_failed("name", target.path()))
}

/// Puts the database that is there aside, with the log that belongs to it.
fn put_aside(target: &NamedFile) -> Result<(), OpenError> {
    let folder = target.folder();
    let replaced = beside(target.path(), "replaced");
    // The log first: without its database it does no harm, and a database never meets another's.
    for ending in ["-wal", "-shm", ""] {
        let from = NamedFile::at(&with_ending(target.path(), ending))?;
        let to = NamedFile::at(&with_ending(&replaced, ending))?;
        if from.exists() {
            folder.rename(from.name(), folder, to.name()).map_err(io_failed("put aside", from.path()))?;
        } else if to.exists() {
            folder.remove_file(to.name()).map_err(io_failed("remove", to.path()))?;
        }
    }
    Ok(())
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Removes what an interrupted copy has left.
fn remove(target: &NamedFile, suffix: &str) -> Result<(), OpenError> {
    let path = beside(target.path(), suffix);
    for ending in ["", "-wal", "-shm", "-journal"] {
        let left = NamedFile::at(&with_ending(&path, ending))?;
        if left.exists() {
            left.folder().remove_file(left.name()).map_err(io_failed("remove", left.path()))?;
        }
    }
    Ok(())
}

fn io_failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::File(FileError::Io { verb, path, source })
}
