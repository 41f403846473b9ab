//! Appending events: one outbox row and one delivery for each subscriber, in the transaction of the change.

use crate::clock::Timestamp;
use crate::db::{self, Tx};
use crate::domain::actor::{Actor, CAUSE_DEPTH_MAX};
use crate::domain::event::Event;
use crate::error::{Error, Result};

/// How deep in a chain of reactions the events of this actor stand.
///
/// # Errors
/// [`Error::Limit`] beyond [`CAUSE_DEPTH_MAX`]: plugins react to one another without end.
pub fn depth(actor: &Actor) -> Result<u32> {
    let depth = actor.cause.as_ref().map_or(0, |cause| cause.depth + 1);
    if depth <= CAUSE_DEPTH_MAX {
        return Ok(depth);
    }
    Err(Error::Limit {
        code: "cause_depth",
        message: format!("this change is more than {CAUSE_DEPTH_MAX} reactions away from its first cause"),
        retry_after_s: 0,
    })
}

/// Appends an event and its deliveries.
///
/// # Errors
/// Those of [`depth`] and of the database.
pub async fn append(tx: &mut Tx, actor: &Actor, at: Timestamp, event: &Event) -> Result<()> {
    let depth = depth(actor)?;
    db::outbox::append(tx, actor, at, depth, event).await
}
