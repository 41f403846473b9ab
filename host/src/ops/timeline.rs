//! Use cases of the timeline: noting contacts, behaviour and what plugins say, and reading it.

use serde_json::Value;

use super::change::{Outcome, Upserted};
use super::pending::Pending;
use super::trail::{Trail, append_all};
use super::{Core, visible};
use crate::db::{Tx, access, customers, timeline};
use crate::domain::actor::Actor;
use crate::domain::check::Faults;
use crate::domain::code::{FaultCode, Reason, RecordKind};
use crate::domain::event::Subject;
use crate::domain::ids::{CustomerId, TimelineId};
use crate::domain::page::{Page, PageRequest};
use crate::domain::permission::Permission;
use crate::domain::query::TimelineFilter;
use crate::domain::timeline::{NewEntry, TimelineEntry};
use crate::error::{Error, Result};

/// An entry that is ready to be written.
#[derive(Clone, Debug)]
pub struct TimelineChange {
    entry: TimelineEntry,
    json: Value,
    trail: Trail,
}

impl TimelineChange {
    /// The entry.
    #[must_use]
    pub fn entry(&self) -> &TimelineEntry {
        &self.entry
    }

    /// The entry as the REST API shows it.
    #[must_use]
    pub fn record(&self) -> &Value {
        &self.json
    }
}

/// Prepares an entry of a customer's timeline.
///
/// # Errors
/// `Forbidden`, `NotFound` for the customer, `Invalid` with every fault.
pub async fn prepare_append(
    core: &Core,
    actor: &Actor,
    customer: &CustomerId,
    new: NewEntry,
    pending: &Pending,
) -> Result<TimelineChange> {
    let visibility = visible(actor, Permission::TimelineWrite)?;
    let now = core.now();
    let id = TimelineId::new(&*core.ids, now);
    let entry = new.into_entry(id, customer.clone(), actor.user(), now);
    let mut faults = Faults::default();
    entry.check(&mut faults);
    let foreign_agent = entry.agent_id.as_ref().filter(|agent| actor.user() != Some(agent));
    let prepared = pending.customer(customer);
    if prepared.is_none() || foreign_agent.is_some() {
        let mut reader = core.db.read(&actor.tenant).await?;
        if let Some(agent) = foreign_agent
            && access::find_user(&mut reader, &actor.tenant, agent).await?.is_none()
        {
            faults.add("/agent_id", FaultCode::UnknownReference, "there is no such user");
        }
        let wanted = [customer].into();
        if prepared.is_none() && !customers::exist(&mut reader, &actor.tenant, &visibility, &wanted).await? {
            return Err(Error::not_found(RecordKind::Customer, customer));
        }
    }
    if prepared.is_some_and(|prepared| prepared.is_none()) {
        return Err(Error::not_found(RecordKind::Customer, customer));
    }
    faults.finish()?;
    let json = entry.to_json();
    let told = (entry.category.event_name(), Subject::Customer(customer.clone()), json.clone());
    let trail = Trail::new(
        core,
        (actor, Some(Permission::TimelineWrite)),
        now,
        ("timeline.append", "timeline", entry.id.as_str()),
        Value::Null,
        Some(told),
    );
    Ok(TimelineChange { entry, json, trail })
}

/// Writes a prepared entry; false, and no audit line or event, if its source has stated it before.
///
/// # Errors
/// `NotFound` if the customer has gone, `Forbidden` and `Unauthenticated` if the actor's rights have.
pub async fn apply(tx: &mut Tx, change: &TimelineChange) -> Result<bool> {
    let TimelineChange { entry, trail, .. } = change;
    let tenant = &trail.actor.tenant;
    let visibility = visible(&trail.actor, Permission::TimelineWrite)?;
    if !customers::exist(tx, tenant, &visibility, &[&entry.customer_id].into()).await? {
        return Err(Error::not_found(RecordKind::Customer, &entry.customer_id));
    }
    if !timeline::insert(tx, tenant, entry).await? {
        return Ok(false);
    }
    append_all(tx, [trail].into_iter()).await?;
    Ok(true)
}

/// Adds an entry, or answers the one that its source has stated before.
///
/// # Errors
/// Those of [`prepare_append`] and [`apply`]; `external_id_taken` for one that stands on another
/// customer's timeline.
pub async fn append(
    core: &Core,
    actor: &Actor,
    customer: &CustomerId,
    new: NewEntry,
) -> Result<Upserted<TimelineEntry>> {
    let pending = Pending::default();
    let prepare = prepare_append(core, actor, customer, new, &pending);
    let unit = core.write_once(actor, prepare, |tx, change| {
        Box::pin(async move {
            if apply(tx, change).await? {
                return Ok(Upserted { record: change.entry.clone(), outcome: Outcome::Created });
            }
            let TimelineEntry { source, external_id, customer_id, .. } = &change.entry;
            let (source, external_id) =
                (source.as_deref().unwrap_or_default(), external_id.as_deref().unwrap_or_default());
            let found =
                timeline::find_by_identity(tx, &change.trail.actor.tenant, source, external_id).await?;
            match found {
                Some(record) if record.customer_id == *customer_id => {
                    Ok(Upserted { record, outcome: Outcome::Unchanged })
                }
                _ => {
                    let message = "another customer's timeline has an entry with this external id";
                    Err(Error::conflict(Reason::ExternalIdTaken, message))
                }
            }
        })
    });
    unit.await
}

/// One page of a customer's timeline, the latest first.
///
/// # Errors
/// `Forbidden`, `NotFound` for the customer, `Invalid` for a bad cursor.
pub async fn list(
    core: &Core,
    actor: &Actor,
    customer: &CustomerId,
    filter: &TimelineFilter,
    page: &PageRequest,
) -> Result<Page<TimelineEntry>> {
    let visibility = visible(actor, Permission::TimelineRead)?;
    let mut reader = core.db.read(&actor.tenant).await?;
    if !customers::exist(&mut reader, &actor.tenant, &visibility, &[customer].into()).await? {
        return Err(Error::not_found(RecordKind::Customer, customer));
    }
    timeline::list(&mut reader, &actor.tenant, customer, filter, page).await
}
