//! Drivers' errors as the host's: nothing of a driver's text reaches a client.

use crate::error::Error;

/// A constraint that a statement has violated; mapped at the statement that can.
#[derive(Debug, thiserror::Error)]
#[error("a constraint of the database refused the change")]
pub(super) struct ConstraintViolated(#[source] sqlx::Error);

/// Whether the transaction lost against a concurrent one and is worth another run.
pub(super) fn is_conflict(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|e| e.code());
    matches!(code.as_deref(), Some("40001" | "40P01"))
}

/// The host's error for a driver's.
pub(super) fn translate(source: sqlx::Error) -> Error {
    match &source {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Error::unavailable(source),
        sqlx::Error::Database(database) if database.is_unique_violation() => {
            Error::internal(ConstraintViolated(source))
        }
        // Class 57 is "operator intervention" (a restart), 53 "insufficient resources", 08 a lost connection.
        sqlx::Error::Database(database)
            if database.code().is_some_and(|code| {
                code.len() == 5 && ["57", "53", "08"].iter().any(|class| code.starts_with(class))
            }) =>
        {
            Error::unavailable(source)
        }
        _ if is_conflict(&source) => Error::unavailable(source),
        _ => Error::internal(source),
    }
}
