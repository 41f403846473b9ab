//! The one error of use cases: what a caller can act on, and the private cause for the log.
//!
//! It knows nothing of HTTP or WIT; `http/problem.rs` and `plugin/host` translate it.

use std::borrow::Cow;
use std::sync::Arc;

use crate::domain::actor::Locale;
use crate::domain::code::{Code as _, FailureCode, FaultCode, Params, Reason, RecordKind};
use crate::domain::permission::Permission;
use crate::texts;

/// The result of a use case.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Characters of an id that texts show.
const ID_CHARS_SHOWN: usize = 64;

/// One thing that is wrong with an input.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Fault {
    /// JSON pointer (RFC 6901) into the input, such as `/contact_points/0/value`.
    pub pointer: String,
    /// Stable snake_case code, such as `too_long`.
    pub code: Cow<'static, str>,
    /// For a person: what is wrong and how to mend it.
    pub message: String,
    /// What the texts of other languages name, such as `max`; none if the words are a
    /// plugin's. Private, so that a code of ours is one that has texts.
    #[serde(skip)]
    params: Option<Params>,
}

impl Fault {
    /// A fault at `pointer` that says in English more than the text of its code.
    pub fn new(pointer: impl Into<String>, code: FaultCode, message: impl Into<String>) -> Self {
        let params = Some(code.params());
        Self { pointer: pointer.into(), code: code.as_str().into(), message: message.into(), params }
    }

    /// A fault at `pointer` of which the text of its code says all.
    pub fn plain(pointer: impl Into<String>, code: FaultCode) -> Self {
        let message = texts::say(Locale::En, &code);
        Self::new(pointer, code, message)
    }

    /// A fault that a plugin tells, with a code and words of its own.
    pub fn of_plugin(pointer: impl Into<String>, code: String, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code: code.into(), message: message.into(), params: None }
    }

    /// What the text of its code names; `None` if the words are a plugin's.
    #[must_use]
    pub fn params(&self) -> Option<&Params> {
        self.params.as_ref()
    }

    /// The same in another language. What a plugin tells is in its caller's language already.
    #[must_use]
    pub fn translated(mut self, locale: Locale) -> Self {
        let key = texts::key(FaultCode::FAMILY, &self.code);
        let text = self.params.as_ref().and_then(|params| texts::find(locale, &key, params));
        if let Some(text) = text.filter(|_| locale != Locale::En) {
            self.message = text;
        }
        self
    }
}

/// An error as it is kept for people to read later, whatever their language.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KeptError {
    /// Its stable code.
    pub code: String,
    en: String,
    zh_cn: String,
}

impl KeptError {
    /// `error`, its texts cut to `chars_max`.
    #[must_use]
    pub fn new(error: &Error, chars_max: usize) -> Self {
        let text = |locale| error.text(locale).chars().take(chars_max).collect();
        let code = match error {
            Error::PluginFailed { code, .. } => code.to_string(),
            Error::PluginRejected { code, .. } => code.clone(),
            Error::Invalid { .. }
            | Error::NotFound { .. }
            | Error::Conflict { .. }
            | Error::VersionMismatch { .. }
            | Error::Unauthenticated(_)
            | Error::Forbidden(_)
            | Error::Refused { .. }
            | Error::Gone { .. }
            | Error::Limit { .. }
            | Error::Unavailable(_)
            | Error::Internal(_) => error.reason().to_string(),
        };
        Self { code, en: text(Locale::En), zh_cn: text(Locale::ZhCn) }
    }

    /// As it is kept.
    #[must_use]
    pub fn to_stored(&self) -> String {
        serde_json::to_string(self).expect("texts are plain data")
    }

    /// The error that was kept as `text`.
    ///
    /// # Errors
    /// If it was not kept by [`KeptError::to_stored`].
    pub fn from_stored(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(Error::internal)
    }

    /// What it says in a language.
    #[must_use]
    pub fn text(&self, locale: Locale) -> &str {
        match locale {
            Locale::En => &self.en,
            Locale::ZhCn => &self.zh_cn,
        }
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
    #[error("{} `{id}` not found", kind.words())]
    NotFound {
        /// The kind of record.
        kind: RecordKind,
        /// The id that was asked for.
        id: String,
    },
    /// The record is not in the state that the change needs.
    #[error("{message}")]
    Conflict {
        /// Why.
        code: Reason,
        /// For a person.
        message: String,
    },
    /// `If-Match` or a plugin's expected version names another version.
    #[error("{} `{id}` has changed: it is at version {version}", kind.words())]
    VersionMismatch {
        /// The kind of record.
        kind: RecordKind,
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
        /// Why.
        code: Reason,
        /// For a person.
        message: String,
    },
    /// What is asked for has existed and never will again: a position of the change feed that has been purged.
    #[error("{message}")]
    Gone {
        /// Why.
        code: Reason,
        /// For a person.
        message: String,
    },
    /// A limit is reached.
    #[error("{message}")]
    Limit {
        /// Which.
        code: Reason,
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
        /// How.
        code: FailureCode,
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
    pub fn invalid(pointer: impl Into<String>, code: FaultCode, message: impl Into<String>) -> Self {
        Self::Invalid { faults: vec![Fault::new(pointer, code, message)] }
    }

    /// One fault at `pointer` of which the text of its code says all.
    pub fn plain(pointer: impl Into<String>, code: FaultCode) -> Self {
        Self::Invalid { faults: vec![Fault::plain(pointer, code)] }
    }

    /// `kind` `id` does not exist, or must look so.
    pub fn not_found(kind: RecordKind, id: impl ToString) -> Self {
        Self::NotFound { kind, id: id.to_string() }
    }

    /// A conflict with the state of things.
    pub fn conflict(code: Reason, message: impl Into<String>) -> Self {
        Self::Conflict { code, message: message.into() }
    }

    /// Refused, for a reason of which the text of its code says all.
    #[must_use]
    pub fn refused(code: Reason) -> Self {
        let message = texts::say(Locale::En, &code);
        Self::Refused { code, message }
    }

    /// The server is at fault.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(Arc::from(cause.into()))
    }

    /// The server cannot answer now.
    pub fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(Arc::from(cause.into()))
    }

    /// Its stable code, with the values that the code's text names.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Invalid { faults } => Reason::Invalid { count: faults.len().to_string() },
            Self::NotFound { kind, id } => Reason::NotFound { kind: kind.to_string(), id: printable(id) },
            Self::VersionMismatch { kind, id, version } => Reason::VersionMismatch {
                kind: kind.to_string(),
                id: printable(id),
                version: version.to_string(),
            },
            Self::Unauthenticated(_) => Reason::Unauthenticated,
            Self::Forbidden(permission) => Reason::Forbidden { permission: permission.to_string() },
            Self::Conflict { code, .. }
            | Self::Refused { code, .. }
            | Self::Gone { code, .. }
            | Self::Limit { code, .. } => code.clone(),
            Self::PluginRejected { plugin, message, .. } => {
                Reason::PluginRejected { plugin: plugin.clone(), message: message.clone() }
            }
            Self::PluginFailed { plugin, message, .. } => {
                Reason::PluginFailed { plugin: plugin.clone(), message: message.clone() }
            }
            Self::Unavailable(_) => Reason::Unavailable,
            Self::Internal(_) => Reason::Internal,
        }
    }

    /// What it says to a person in their language; in English with all particulars.
    #[must_use]
    pub fn text(&self, locale: Locale) -> String {
        match (locale, self) {
            (Locale::En, _) => self.to_string(),
            (Locale::ZhCn, Self::PluginFailed { plugin, code, .. }) => {
                let (plugin, message) = (plugin.clone(), texts::say(locale, code));
                texts::say(locale, &Reason::PluginFailed { plugin, message })
            }
            (Locale::ZhCn, _) => texts::say(locale, &self.reason()),
        }
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

/// The beginning of an id that a client has sent: it may be anything.
fn printable(id: &str) -> String {
    id.chars().filter(|c| !c.is_control()).take(ID_CHARS_SHOWN).collect()
}
