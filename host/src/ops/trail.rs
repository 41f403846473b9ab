//! What every change of a record leaves behind: the audit line and the event, written with it.

use super::{Core, access, audit, events};
use crate::clock::Timestamp;
use crate::db::{self, Tx};
use crate::domain::actor::Actor;
use crate::domain::audit::Entry;
use crate::domain::event::{Event, Subject};
use crate::domain::permission::Permission;
use crate::error::Result;

use serde_json::Value;

/// Who changes a record, by what right, and what is told of it.
#[derive(Clone, Debug)]
pub(super) struct Trail {
    pub(super) actor: Actor,
    /// Checked again when the change is written; none for a plugin's own fields.
    pub(super) permission: Option<Permission>,
    pub(super) at: Timestamp,
    pub(super) audit: Entry,
    /// Products have none.
    pub(super) event: Option<Event>,
}

/// The event of a change: its name, what it is about, and the record.
pub(super) type Told = (&'static str, Subject, Value);

impl Trail {
    pub(super) fn new(
        core: &Core,
        (actor, permission): (&Actor, Option<Permission>),
        at: Timestamp,
        (action, entity, record): (&'static str, &'static str, &str),
        changes: Value,
        event: Option<Told>,
    ) -> Self {
        let ids = &*core.ids;
        let audit = Entry::new(ids, at, action, entity, record, changes);
        let event = event.map(|(name, subject, body)| Event::new(ids, at, name, subject, body));
        Self { actor: actor.clone(), permission, at, audit, event }
    }
}

/// Writes the audit lines and events of changes that one actor makes at one time,
/// with as many statements as one needs, and checks that the actor still may.
pub(super) async fn append_all<'a>(tx: &mut Tx, trails: impl Iterator<Item = &'a Trail>) -> Result<()> {
    let trails: Vec<_> = trails.collect();
    let Some(first) = trails.first() else {
        return Ok(());
    };
    if let Some(permission) = first.permission {
        access::recheck(tx, &first.actor, permission, first.at).await?;
    }
    if let [Trail { actor, at, audit, event, .. }] = trails.as_slice() {
        return match event {
            Some(event) => {
                let depth = events::depth(actor)?;
                db::trail::insert(tx, actor, (*at, depth), audit, event).await
            }
            None => audit::append(tx, actor, *at, audit).await,
        };
    }
    let lines: Vec<_> = trails.iter().map(|trail| &trail.audit).collect();
    audit::append_many(tx, &first.actor, first.at, &lines).await?;
    let told: Vec<_> = trails.iter().filter_map(|trail| trail.event.as_ref()).collect();
    events::append_many(tx, &first.actor, first.at, &told).await
}
