//! The imports of the contract, one file an interface.
//!
//! Every function begins with [`Invocation::enter`]: the grant first, then the
//! budget. What is refused is answered with a typed error and has changed nothing;
//! only the host's own faults and misuse that no error type covers end the guest.

mod context;
mod customers;
mod documents;
mod files;
mod http;
pub(super) mod imports;
mod json;
mod kv;
mod log;
mod orders;
mod plugins;
mod settings;
mod timeline;
pub(super) mod wasi;

use hospes_bindings::hospes::plugin::types;

use super::buffer::Stale;
use super::invocation::Invocation;
use super::run::rights_changed;
use crate::domain::grant::Grant;
use crate::domain::sight::{Closed, Sight};
use crate::error::{self, Error};

/// Why a guest is ended from within a host call.
#[derive(Debug, thiserror::Error)]
pub(super) enum Abort {
    /// What it reads has changed since it began.
    #[error("a record has changed while the plugin ran")]
    Stale,
    /// The host failed.
    #[error("the host failed")]
    Host(#[source] Error),
    /// A plugin that it has called broke off.
    #[error("the plugin `{plugin}`, which it called, failed: {reason}")]
    Callee {
        /// Its name.
        plugin: String,
        /// Why.
        reason: String,
    },
    /// It did what the contract answers with a trap.
    #[error("{0}")]
    Misuse(String),
}

/// Why a host call has no result.
pub(super) enum Refusal {
    /// The guest is told.
    Told(types::Error),
    /// The guest is ended.
    Ended(Abort),
}

pub(super) type Answered<T> = Result<T, Refusal>;

impl From<Stale> for Refusal {
    fn from(_: Stale) -> Self {
        Self::Ended(Abort::Stale)
    }
}

impl From<types::Error> for Refusal {
    fn from(error: types::Error) -> Self {
        Self::Told(error)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match told(&error) {
            Some(told) => Self::Told(told),
            None => Self::Ended(Abort::Host(error)),
        }
    }
}

/// What a guest is told of a use case's error; nothing of the host's own faults.
fn told(error: &Error) -> Option<types::Error> {
    Some(match error {
        Error::Invalid { faults } => types::Error::Invalid(faults.iter().map(fault).collect()),
        Error::NotFound { kind, id } => types::Error::NotFound(format!("{} {id}", kind.words())),
        Error::Conflict { message, .. } | Error::Gone { message, .. } => {
            types::Error::Conflict(message.clone())
        }
        Error::VersionMismatch { .. } => types::Error::Conflict(error.to_string()),
        Error::Forbidden(permission) => types::Error::Denied(permission.to_string()),
        Error::Refused { message, .. } => types::Error::Denied(message.clone()),
        Error::Unauthenticated(message) => types::Error::Denied((*message).to_owned()),
        Error::Limit { message, .. } => types::Error::Limit(message.clone()),
        Error::PluginRejected { code, message, faults, .. } => types::Error::Rejected(types::Rejection {
            code: code.clone(),
            message: message.clone(),
            faults: faults.iter().map(fault).collect(),
        }),
        Error::PluginFailed { .. } | Error::Unavailable(_) => types::Error::Unavailable(error.to_string()),
        Error::Internal(_) => return None,
    })
}

fn fault(fault: &error::Fault) -> types::Fault {
    types::Fault {
        pointer: fault.pointer.clone(),
        code: fault.code.clone().into_owned(),
        message: fault.message.clone(),
    }
}

/// An input of the guest that is wrong.
pub(super) fn invalid(pointer: impl Into<String>, code: &'static str, message: impl Into<String>) -> Refusal {
    let fault = types::Fault { pointer: pointer.into(), code: code.to_owned(), message: message.into() };
    Refusal::Told(types::Error::Invalid(vec![fault]))
}

/// What a host call does, for rights and budgets.
#[derive(Clone, Copy)]
enum Access {
    /// It reads at most this many rows.
    Read(usize),
    /// It writes this many rows.
    Write(usize),
}

impl Invocation {
    /// Checks right and budget of a host call over `most` items at the utmost.
    fn enter(&mut self, grant: Grant, what: &'static str, access: Access, most: usize) -> Answered<()> {
        if !self.gate.is_current(&self.enabled) {
            return Err(Refusal::Ended(Abort::Host(rights_changed(&self.enabled))));
        }
        if !self.enabled.grants.has(grant) {
            self.note_denied((grant, what), &format!("the tenant has not granted `{grant}`"));
            return Err(types::Error::Denied(grant.to_string()).into());
        }
        self.usage.calls = self.usage.calls.saturating_add(1);
        if self.usage.calls > self.budget.calls {
            return Err(limit(format!("{} host calls of one invocation", self.budget.calls)));
        }
        let (count, used, budget, verb) = match access {
            Access::Read(count) => (count, &mut self.usage.rows_read, self.budget.rows_read, "read"),
            Access::Write(count) => {
                if !self.may_write {
                    let message = format!("{} may not write here ({what})", self.point.as_str());
                    return Err(types::Error::Denied(message).into());
                }
                (count, &mut self.usage.rows_written, self.budget.rows_written, "written")
            }
        };
        if count > most {
            return Err(limit(format!("{most} items of one call of {what}")));
        }
        *used = used.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        if *used > budget {
            return Err(limit(format!("{budget} rows {verb} by one invocation")));
        }
        let rows = self.usage.rows_read.saturating_add(self.usage.rows_written);
        if rows > self.budget.rows {
            return Err(limit(format!("{} rows of one invocation", self.budget.rows)));
        }
        let items = u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        if self.is_shadow {
            return Ok(());
        }
        self.gate.take(&self.enabled, grant, items, self.core.now()).map_err(|over| {
            self.reached.extend(over.tell);
            let told = format!("the rate of the grant `{grant}`");
            self.note_denied((grant, what), &format!("{told} is used up"));
            limit(told)
        })
    }

    /// The refusal to read or write a field that the grant does not open.
    fn closed(&mut self, grant: Grant, what: &'static str, closed: &Closed) -> Refusal {
        let Closed { path, class } = closed;
        let why = format!("`{path}` is {class}; grant `{grant} classes={class}` or `{grant} fields={path}`");
        self.note_denied((grant, what), &why);
        Refusal::Told(types::Error::Denied(format!("{grant} classes={class}: `{path}`")))
    }
}

/// A record as a grant shows it.
fn shown(invocation: &Invocation, grant: Grant, body: &serde_json::Value) -> String {
    as_seen(invocation.enabled.sight(grant, &invocation.actor), body)
}

/// A record as it is seen, `null` without sight of it.
pub(super) fn as_seen(sight: Option<Sight<'_>>, body: &serde_json::Value) -> String {
    sight.map_or_else(|| "null".to_owned(), |sight| sight.show(body))
}

impl Invocation {
    /// Counts bytes of documents or values that go in or out.
    fn move_bytes(&mut self, bytes: usize) -> Answered<()> {
        self.usage.bytes = self.usage.bytes.saturating_add(bytes);
        if self.usage.bytes > self.budget.bytes {
            return Err(limit(format!("{} bytes moved by one invocation", self.budget.bytes)));
        }
        Ok(())
    }
}

fn limit(message: String) -> Refusal {
    Refusal::Told(types::Error::Limit(message))
}

pub(super) use context::random;
pub(super) use documents::stored;
pub(super) use json::DOCUMENT_BYTES_MAX;

/// Reads a document that a guest has answered; says what is wrong with it.
pub(super) fn parse_document(text: &str) -> Result<serde_json::Value, String> {
    json::parse("", text, DOCUMENT_BYTES_MAX).map_err(|refusal| match refusal {
        Refusal::Told(types::Error::Invalid(faults)) => {
            faults.into_iter().map(|fault| fault.message).collect::<Vec<_>>().join("; ")
        }
        Refusal::Told(_) | Refusal::Ended(_) => "not readable".to_owned(),
    })
}

/// Reads what the host itself has stored.
pub(super) fn stored_json(text: &str) -> Answered<serde_json::Value> {
    serde_json::from_str(text).map_err(|error| Error::internal(error).into())
}

/// A subject as the contract writes it.
pub(super) fn subject_of_event(subject: &crate::domain::event::Subject) -> types::Subject {
    use crate::domain::event::Subject;
    match subject {
        Subject::Customer(id) => types::Subject::Customer(id.to_string()),
        Subject::Order(id) => types::Subject::Order(id.to_string()),
        Subject::Tenant => types::Subject::Tenant,
    }
}
