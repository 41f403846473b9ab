//! The audit log, written in the transaction of the change that it is about.

use crate::clock::Timestamp;
use crate::db::{self, Tx};
use crate::domain::actor::Actor;
use crate::domain::audit::Entry;
use crate::error::Result;

/// Appends a line in the transaction of the change that it is about.
///
/// # Errors
/// Those of the database.
pub async fn append(tx: &mut Tx, actor: &Actor, at: Timestamp, entry: &Entry) -> Result<()> {
    db::audit::insert(tx, actor, at, entry).await
}
