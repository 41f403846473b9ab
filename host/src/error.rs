//! The one error of use cases: what a caller can act on, and the private cause for the log.
//!
//! It knows nothing of HTTP or WIT; `http/problem.rs` and `plugin/host` translate it.

use std::borrow::Cow;
use std::sync::Arc;

use crate::domain::permission::Permission;

/// The result of a use case.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One thing that is wrong with an input.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Fault {
    /// JSON pointer (RFC 6901) into the input, such as `/contact_points/0/value`.
    pub pointer: String,
    /// Stable snake_case code, such as `too_long`.
    pub code: Cow<'static, str>,
    /// For a person: what is wrong and how to mend it.
    pub message: String,
    /// What the texts of other languages name, such as `max`.
    #[serde(skip)]
    pub params: Vec<(&'static str, String)>,
}

impl Fault {
    /// A fault at `pointer`.
    pub fn new(
        pointer: impl Into<String>,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self { pointer: pointer.into(), code: code.into(), message: message.into(), params: Vec::new() }
    }

    /// The same with a value that the texts of other languages name.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.params.push((name, value.to_string()));
        self
    }
}

/// Why a use case was refused or failed. A refused use case has changed nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The input is wrong; every fault at once.
    #[error("the input has {} fault(s)", faults.len())]
    Invalid {
        /// What is wrong.
        faults: Vec<Fault>,
    },
    /// The record does not exist, or this actor may not know that it does.
    #[error("{kind} `{id}` not found")]
    NotFound {
        /// The kind of record, such as `customer`.
        kind: &'static str,
        /// The id that was asked for.
        id: String,
    },
    /// The record is not in the state that the change needs.
    #[error("{message}")]
    Conflict {
        /// Stable snake_case code, such as `already_exists`.
        code: &'static str,
        /// For a person.
        message: String,
    },
    /// `If-Match` or a plugin's expected version names another version.
    #[error("{kind} `{id}` has changed: it is at version {version}")]
    VersionMismatch {
        /// The kind of record.
        kind: &'static str,
        /// Its id.
        id: String,
        /// Its version now.
        version: i64,
    },
    /// Nobody is signed in, or the token is no longer good.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The actor lacks a permission.
    #[error("this needs the permission `{0}`")]
    Forbidden(Permission),
    /// The actor may not do this for another reason than a missing permission.
    #[error("{message}")]
    Refused {
        /// Stable snake_case code.
        code: &'static str,
        /// For a person.
        message: String,
    },
    /// What is asked for has existed and never will again: a position of the change feed that has been purged.
    #[error("{message}")]
    Gone {
        /// Stable snake_case code.
        code: &'static str,
        /// For a person.
        message: String,
    },
    /// A limit is reached.
    #[error("{message}")]
    Limit {
        /// Stable snake_case code of the limit.
        code: &'static str,
        /// For a person, with the limit's value.
        message: String,
        /// When to try again, in seconds; 0 if trying again does not help.
        retry_after_s: u32,
    },
    /// A plugin refuses: a hook's veto, or an action's reason.
    #[error("plugin `{plugin}` refuses: {message}")]
    PluginRejected {
        /// The plugin's name.
        plugin: String,
        /// The plugin's stable code.
        code: String,
        /// The plugin's reason, in the actor's language.
        message: String,
        /// Where the input is wrong, if it is the input.
        faults: Vec<Fault>,
    },
    /// A plugin failed: a trap, a deadline, a limit.
    #[error("plugin `{plugin}` failed: {message}")]
    PluginFailed {
        /// The plugin's name.
        plugin: String,
        /// Stable snake_case code, such as `deadline`.
        code: &'static str,
        /// What happened, without the host's internals.
        message: String,
    },
    /// The server cannot answer now; trying again may help.
    #[error("the server cannot answer now")]
    Unavailable(#[source] Cause),
    /// The server is at fault.
    #[error("the server failed")]
    Internal(#[source] Cause),
}

/// The private cause of a failure: logged, never shown.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

impl Error {
    /// One fault at `pointer`.
    pub fn invalid(
        pointer: impl Into<String>,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self::Invalid { faults: vec![Fault::new(pointer, code, message)] }
    }

    /// `kind` `id` does not exist, or must look so.
    pub fn not_found(kind: &'static str, id: impl ToString) -> Self {
        Self::NotFound { kind, id: id.to_string() }
    }

    /// A conflict with the state of things.
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::Conflict { code, message: message.into() }
    }

    /// The server is at fault.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(Arc::from(cause.into()))
    }

    /// The server cannot answer now.
    pub fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(Arc::from(cause.into()))
    }

    /// Whether the same call may succeed later without being changed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::VersionMismatch { .. } => true,
            Self::Limit { retry_after_s, .. } => *retry_after_s > 0,
            Self::Invalid { .. }
            | Self::NotFound { .. }
            | Self::Conflict { .. }
            | Self::Unauthenticated(_)
            | Self::Forbidden(_)
            | Self::Refused { .. }
            | Self::Gone { .. }
            | Self::PluginRejected { .. }
            | Self::PluginFailed { .. }
            | Self::Internal(_) => false,
        }
    }
}
