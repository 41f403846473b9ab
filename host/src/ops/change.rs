//! What the changes of all records have in common: steps, outcomes, and trying again after a race.

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::domain::code::{Reason, RecordKind};
use crate::error::{Error, Result};

/// How often a change is prepared again after it has met a concurrent one.
const ATTEMPTS_MAX: u32 = 4;

/// What a write by external id has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// There was no such record.
    Created,
    /// It was another one.
    Updated,
    /// It was the same already: no new version, no event.
    Unchanged,
}

/// A record and what a write by external id has done to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upserted<T> {
    /// The record as it stands now.
    pub record: T,
    /// What was done.
    pub outcome: Outcome,
}

impl<T> Upserted<T> {
    /// The record alone.
    pub(super) fn into_record(self) -> T {
        self.record
    }
}

/// What a prepared change does to its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Create,
    Update,
    Nothing,
    Delete,
}

impl Step {
    pub(super) const fn outcome(self) -> Outcome {
        match self {
            Self::Create => Outcome::Created,
            Self::Update | Self::Delete => Outcome::Updated,
            Self::Nothing => Outcome::Unchanged,
        }
    }
}

/// Prepares and writes a change, again and again while `is_worth_it` says so of its error, but not for ever.
pub(super) async fn retry<'a, T>(
    is_worth_it: impl Fn(&Error) -> bool,
    attempt: impl Fn() -> BoxFuture<'a, Result<T>>,
) -> Result<T> {
    for _ in 1..ATTEMPTS_MAX {
        match attempt().await {
            Err(error) if is_worth_it(&error) => {}
            answer => return answer,
        }
    }
    attempt().await
}

/// Whether a change without a stated version has met a concurrent one: it is made again, on its result.
pub(super) fn is_overtaken(expected: Option<i64>) -> impl Fn(&Error) -> bool {
    move |error| expected.is_none() && matches!(error, Error::VersionMismatch { .. })
}

/// Whether a write by external id has met a concurrent one, and is worth preparing again.
pub(super) fn is_race(error: &Error) -> bool {
    match error {
        Error::VersionMismatch { .. } => true,
        Error::Conflict { code, .. } => matches!(code, Reason::IdentityTaken | Reason::ExternalIdTaken),
        Error::Invalid { .. }
        | Error::NotFound { .. }
        | Error::Gone { .. }
        | Error::Unauthenticated(_)
        | Error::Forbidden(_)
        | Error::Refused { .. }
        | Error::Limit { .. }
        | Error::PluginRejected { .. }
        | Error::PluginFailed { .. }
        | Error::Unavailable(_)
        | Error::Internal(_) => false,
    }
}

/// Why a record could not be replaced: it is at another version now, or gone.
pub(super) fn stale(kind: RecordKind, id: impl ToString, version: Option<i64>) -> Error {
    match version {
        Some(version) => Error::VersionMismatch { kind, id: id.to_string(), version },
        None => Error::not_found(kind, id),
    }
}
