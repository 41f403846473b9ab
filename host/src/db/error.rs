//! Drivers' errors as the host's: nothing of a driver's text reaches a client.

use sqlx::sqlite::SqliteError;

use crate::error::{Error, Result};

/// A unique constraint that a statement has violated; mapped at the statement that can.
#[derive(Debug, thiserror::Error)]
#[error("a constraint of the database refused the change")]
struct NotUnique(#[source] sqlx::Error);

/// A foreign key that a statement has violated; mapped at the statement that can.
#[derive(Debug, thiserror::Error)]
#[error("a foreign key of the database refused the change")]
struct NotReferenced(#[source] sqlx::Error);

/// Gives a violated constraint its meaning, at the statement that may violate it.
///
/// The unit must return what it is answered: after a refused statement its transaction is over.
pub(crate) trait OnConstraint {
    /// Answers `conflict()` in place of a violated unique constraint.
    fn on_unique(self, conflict: impl FnOnce() -> Error) -> Self;

    /// Answers `conflict()` in place of a violated foreign key.
    fn on_reference(self, conflict: impl FnOnce() -> Error) -> Self;
}

impl<T> OnConstraint for Result<T> {
    fn on_unique(self, conflict: impl FnOnce() -> Error) -> Self {
        self.map_err(|error| {
            let violated = matches!(&error, Error::Internal(cause) if cause.is::<NotUnique>());
            if violated { conflict() } else { error }
        })
    }

    fn on_reference(self, conflict: impl FnOnce() -> Error) -> Self {
        self.map_err(|error| {
            let violated = matches!(&error, Error::Internal(cause) if cause.is::<NotReferenced>());
            if violated { conflict() } else { error }
        })
    }
}

/// Whether the transaction lost against a concurrent one and is worth another run.
pub(super) fn is_conflict(error: &sqlx::Error) -> bool {
    matches!(postgres_code(error).as_deref(), Some("40001" | "40P01"))
}

/// Whether the connection is of no more use: the server has gone away, or the two
/// no longer agree on the prepared statements.
#[expect(clippy::wildcard_enum_match_arm, reason = "the driver's enum may grow")]
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::PoolClosed => true,
        sqlx::Error::Database(_) => match postgres_code(error).as_deref() {
            // A shutdown, a crash, a start; a session or a transaction ended for its idleness.
            Some("57P01" | "57P02" | "57P03" | "57P05" | "25P03") => true,
            // A statement that the session no longer has, and one whose answer a migration has changed.
            Some("26000") => true,
            Some("0A000") => error.as_database_error().is_some_and(|e| e.message().contains("cached plan")),
            Some(code) => code.starts_with("08"),
            None => false,
        },
        _ => false,
    }
}

/// Whether SQLite's file could not be written or flushed.
pub(super) fn is_disk_failure(error: &sqlx::Error) -> bool {
    // SQLITE_IOERR and its kin.
    sqlite_code(error) == Some(10)
}

/// The host's error for a driver's.
pub(super) fn translate(source: sqlx::Error) -> Error {
    if is_lost(&source) || is_conflict(&source) || matches!(source, sqlx::Error::PoolTimedOut) {
        return Error::unavailable(source);
    }
    if source.as_database_error().is_some_and(|database| database.is_unique_violation()) {
        return Error::internal(NotUnique(source));
    }
    if source.as_database_error().is_some_and(|database| database.is_foreign_key_violation()) {
        return Error::internal(NotReferenced(source));
    }
    // BUSY, LOCKED, IOERR, FULL.
    let sqlite = matches!(sqlite_code(&source), Some(5 | 6 | 10 | 13));
    // Class 57 is "operator intervention", 53 "insufficient resources", 55P03 a lock that was not to be had.
    let postgres = postgres_code(&source)
        .is_some_and(|code| code.starts_with("57") || code.starts_with("53") || code == "55P03");
    if sqlite || postgres { Error::unavailable(source) } else { Error::internal(source) }
}

fn postgres_code(error: &sqlx::Error) -> Option<String> {
    let database = error.as_database_error()?;
    database.try_downcast_ref::<SqliteError>().is_none().then(|| database.code().map(Into::into))?
}

/// The primary result code, without what extends it.
fn sqlite_code(error: &sqlx::Error) -> Option<i32> {
    let database = error.as_database_error()?;
    database.try_downcast_ref::<SqliteError>()?;
    database.code()?.parse::<i32>().ok().map(|code| code & 0xff)
}
