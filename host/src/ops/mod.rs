//! Use cases: the only writers. REST, console, workflows and plugins all come through here.
//!
//! A use case has two halves. `prepare` checks the permission, validates, and
//! calls hooks; it holds no transaction. `apply` runs inside one: it checks again
//! what may have changed, writes the row, and appends the audit line and the event.
//! This module never names wasmtime, axum or sqlx.

pub mod access;
pub mod audit;
pub mod change;
pub mod customers;
pub mod dead_letters;
pub mod events;
pub mod feed;
pub mod fields;
pub mod idempotency;
pub mod imports;
pub mod orders;
pub mod org_units;
pub mod overview;
pub mod passwords;
pub mod pending;
pub mod plugins;
pub mod products;
pub mod sessions;
pub mod tenants;
pub mod throttle;
pub mod timeline;
pub mod tokens;
mod trail;
pub mod users;
pub mod webhooks;

use std::sync::{Arc, OnceLock};

use crate::blobs::Blobs;
use crate::clock::{Clock, Timestamp};
use crate::db::Db;
use crate::domain::actor::{Actor, Visibility};
use crate::domain::check::Faults;
use crate::domain::code::{Reason, RecordKind};
use crate::domain::manifest::BudgetWish;
use crate::domain::permission::Permission;
use crate::domain::query::CONDITIONS_MAX;
use crate::domain::trust::TrustPolicy;
use crate::error::{Error, Result};
use crate::ids::Ids;
use crate::outbound::Outbound;
use crate::vault::Vault;
use plugins::Plugins;

/// What every use case works with; built once in `app.rs`.
pub struct Core {
    /// The database.
    pub db: Db,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// New ids and secrets.
    pub ids: Arc<dyn Ids>,
    /// Credentials that were looked up a moment ago.
    pub credentials: access::Credentials,
    /// The limit of hashing.
    pub passwords: passwords::Passwords,
    /// The failures to sign in.
    pub throttle: throttle::Throttle,
    /// Requests to other people's servers.
    pub outbound: Outbound,
    /// Secrets at rest.
    pub vault: Vault,
    /// Contents of files.
    pub blobs: Blobs,
    /// What the operator lets one call of a plugin use at most; what is absent is the host's own ceiling.
    pub ceilings: BudgetWish,
    /// The address by which others reach the server, if the operator has told it.
    pub public_url: Option<String>,
    /// Which packages come in.
    pub trust: TrustPolicy,
    plugins: OnceLock<Arc<dyn Plugins>>,
}

impl Core {
    /// A core whose plugins are connected later, because they are built on it. It keeps no
    /// secrets and no files, reaches public servers alone and lets every package in, until its
    /// fields say otherwise.
    pub fn new(db: Db, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        Self {
            db,
            clock,
            ids,
            credentials: access::Credentials::default(),
            passwords: passwords::Passwords::default(),
            throttle: throttle::Throttle::default(),
            outbound: Outbound::default(),
            vault: Vault::default(),
            blobs: Blobs::default(),
            ceilings: BudgetWish::default(),
            public_url: None,
            trust: TrustPolicy::UnsignedAllowed,
            plugins: OnceLock::new(),
        }
    }

    /// Connects the plugin host. Does nothing the second time.
    pub fn connect_plugins(&self, plugins: Arc<dyn Plugins>) {
        // The first connection is the one that counts; app.rs makes exactly one.
        drop(self.plugins.set(plugins));
    }

    /// The plugin host.
    ///
    /// # Errors
    /// [`Error::Internal`] if the server was built without one.
    pub fn plugins(&self) -> Result<&Arc<dyn Plugins>> {
        self.plugins.get().ok_or_else(|| Error::internal("no plugin host is connected"))
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// Refuses an actor that lacks `permission`.
///
/// # Errors
/// [`Error::Forbidden`].
pub fn require(actor: &Actor, permission: Permission) -> Result<()> {
    match actor.reach(permission) {
        Some(_) => Ok(()),
        None => Err(Error::Forbidden(permission)),
    }
}

/// The records that `permission` reaches for an actor.
///
/// # Errors
/// [`Error::Forbidden`] if the actor lacks it.
pub fn visible(actor: &Actor, permission: Permission) -> Result<Visibility> {
    actor.visibility(permission).ok_or(Error::Forbidden(permission))
}

/// Refuses a change that expects another version than the record is at.
///
/// # Errors
/// [`Error::VersionMismatch`].
pub fn check_version(kind: RecordKind, id: impl ToString, expected: Option<i64>, version: i64) -> Result<()> {
    match expected {
        Some(expected) if expected != version => {
            Err(Error::VersionMismatch { kind, id: id.to_string(), version })
        }
        Some(_) | None => Ok(()),
    }
}

/// The record has changed between the reading and the writing of one unit.
pub(crate) fn changed_meanwhile(kind: RecordKind, id: impl ToString, version: i64) -> Error {
    Error::VersionMismatch { kind, id: id.to_string(), version }
}

/// Records that are read by id at once, at most.
pub const READ_MANY_MAX: usize = 200;

/// Refuses to read more than [`READ_MANY_MAX`] records at once.
fn check_many(ids: usize) -> Result<()> {
    if ids <= READ_MANY_MAX {
        return Ok(());
    }
    let message = format!("at most {READ_MANY_MAX} records can be read at once");
    Err(Error::Limit { code: Reason::ReadMany { max: READ_MANY_MAX.to_string() }, message, retry_after_s: 0 })
}

/// Refuses a list with more than [`CONDITIONS_MAX`] conditions on fields.
fn check_conditions(conditions: usize) -> Result<()> {
    let mut faults = Faults::default();
    faults.count("/fields", conditions, CONDITIONS_MAX);
    faults.finish()
}
