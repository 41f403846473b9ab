//! Use cases of customers.
//!
//! `prepare_*` answers a [`CustomerChange`]: the record as it will be, with its new
//! version, audit line and event; [`apply`] writes it. What one invocation has
//! prepared but not yet written stands in [`Pending`], so that a second change of the
//! same customer builds on the first.

mod change;
mod maker;

use std::collections::HashMap;
use std::slice;

use futures::future::BoxFuture;

pub(in crate::ops) use change::write_rows;
pub use change::{CustomerChange, apply, apply_many};
pub(crate) use maker::Maker;

use super::change::{Upserted, is_overtaken, is_race, retry};
use super::pending::Pending;
use super::{Core, check_conditions, fields, visible};

use crate::db::{Tx, customers};
use crate::domain::actor::{Actor, Visibility};
use crate::domain::check::Faults;
use crate::domain::code::{FaultCode, RecordKind};
use crate::domain::customer::{
    ContactPoint, Customer, CustomerPatch, Identity, NewCustomer, with_contact_points,
};
use crate::domain::field::FieldEntity;
use crate::domain::ids::CustomerId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::patch::Patch;
use crate::domain::permission::Permission;
use crate::domain::query::{CustomerFilter, CustomerSort};
use crate::error::{Error, Result};

/// Prepares a new customer.
///
/// # Errors
/// `Forbidden`, `Invalid` with every fault, those of hooks, and `Refused` with
/// `out_of_reach` for a customer that the actor would not see.
pub async fn prepare_create(core: &Core, actor: &Actor, new: NewCustomer) -> Result<CustomerChange> {
    let maker = Maker::load(core, actor, Permission::CustomerWrite).await?;
    maker.create(new).await
}

/// Prepares a change; `expected` is the version that the caller has seen.
///
/// # Errors
/// `NotFound`, `VersionMismatch`, and those of [`prepare_create`].
pub async fn prepare_update(
    core: &Core,
    actor: &Actor,
    (id, expected): (&CustomerId, Option<i64>),
    patch: CustomerPatch,
    pending: &Pending,
) -> Result<CustomerChange> {
    let visibility = visible(actor, Permission::CustomerWrite)?;
    let maker = Maker::load(core, actor, Permission::CustomerWrite).await?;
    let before = find(core, actor, &visibility, (id, expected), pending).await?;
    maker.update(before, patch).await
}

/// Prepares a removal: the customer is answered as missing from then on, and its identities are free.
/// Its orders and their sums stay.
///
/// # Errors
/// `Forbidden`, `NotFound`, `VersionMismatch`.
pub async fn prepare_delete(
    core: &Core,
    actor: &Actor,
    (id, expected): (&CustomerId, Option<i64>),
    pending: &Pending,
) -> Result<CustomerChange> {
    let visibility = visible(actor, Permission::CustomerDelete)?;
    let before = find(core, actor, &visibility, (id, expected), pending).await?;
    Ok(CustomerChange::deleted(core, actor, before))
}

async fn find(
    core: &Core,
    actor: &Actor,
    visibility: &Visibility,
    (id, expected): (&CustomerId, Option<i64>),
    pending: &Pending,
) -> Result<Customer> {
    let customer = match pending.customer(id) {
        Some(prepared) => prepared.cloned(),
        None => {
            let mut reader = core.db.read(&actor.tenant).await?;
            customers::find(&mut reader, &actor.tenant, visibility, id).await?
        }
    };
    let customer = customer.ok_or_else(|| Error::not_found(RecordKind::Customer, id))?;
    super::check_version(RecordKind::Customer, id, expected, customer.version)?;
    Ok(customer)
}

/// Makes a customer.
///
/// # Errors
/// Those of [`prepare_create`] and [`apply`].
pub async fn create(core: &Core, actor: &Actor, new: NewCustomer) -> Result<Customer> {
    let customer = write(core, actor, prepare_create(core, actor, new)).await?;
    shown(core, actor, customer).await
}

/// Changes a customer. Without `expected`, a concurrent change is no error: the patch is applied to its result.
///
/// # Errors
/// Those of [`prepare_update`] and [`apply`].
pub async fn update(
    core: &Core,
    actor: &Actor,
    (id, expected): (&CustomerId, Option<i64>),
    patch: CustomerPatch,
) -> Result<Customer> {
    let pending = Pending::default();
    let attempt = || write(core, actor, prepare_update(core, actor, (id, expected), patch.clone(), &pending));
    let customer = retry(is_overtaken(expected), attempt).await?;
    shown(core, actor, customer).await
}

/// Removes a customer.
///
/// # Errors
/// Those of [`prepare_delete`] and [`apply`].
pub async fn delete(core: &Core, actor: &Actor, (id, expected): (&CustomerId, Option<i64>)) -> Result<()> {
    let pending = Pending::default();
    let change = prepare_delete(core, actor, (id, expected), &pending);
    write(core, actor, change).await.map(drop)
}

/// Makes or changes the customer that a source knows by an external id.
///
/// What the patch does not name stays, so that several sources can feed one
/// customer. The same patch again changes nothing: no new version, no event.
///
/// # Errors
/// Those of [`prepare_create`] and [`prepare_update`]; `Invalid` for a new customer without kind or name.
pub async fn upsert(
    core: &Core,
    actor: &Actor,
    identity: Identity,
    patch: CustomerPatch,
) -> Result<Upserted<Customer>> {
    let attempt = || {
        let (identity, patch) = (identity.clone(), patch.clone());
        let upsert =
            CustomerUpsert { identity, patch, added_contact_points: Vec::new(), added_tags: Vec::new() };
        let prepare = async {
            let mut changes = prepare_upsert_many(core, actor, vec![upsert]).await?;
            changes.pop().expect("one change was asked for")
        };
        core.write_once(actor, prepare, |tx, change| {
            Box::pin(async move {
                apply(tx, change).await?;
                Ok(Upserted { record: change.customer().clone(), outcome: change.outcome() })
            })
        })
    };
    let Upserted { record, outcome } = retry(is_race, attempt).await?;
    Ok(Upserted { record: shown(core, actor, record).await?, outcome })
}

/// A customer as one source knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomerUpsert {
    /// Who it is there.
    pub identity: Identity,
    /// What the source says of it.
    pub patch: CustomerPatch,
    /// Ways to reach it that are added to those there are.
    pub added_contact_points: Vec<ContactPoint>,
    /// Tags that are added to those it has.
    pub added_tags: Vec<String>,
}

/// Prepares writes by external id, with few statements for all of them. Rows that name
/// the same customer build on one another.
///
/// Each row has an answer of its own; the changes of the good ones are written together by [`apply_many`].
///
/// # Errors
/// `Forbidden`, and those of the database.
pub async fn prepare_upsert_many(
    core: &Core,
    actor: &Actor,
    upserts: Vec<CustomerUpsert>,
) -> Result<Vec<Result<CustomerChange>>> {
    let visibility = visible(actor, Permission::CustomerWrite)?;
    let maker = Maker::load(core, actor, Permission::CustomerWrite).await?;
    let mut known = {
        let identities = upserts.iter().map(|upsert| &upsert.identity);
        let mut reader = core.db.read(&actor.tenant).await?;
        customers::find_by_identities(&mut reader, &actor.tenant, &visibility, identities).await?
    };
    let mut changes = Vec::with_capacity(upserts.len());
    for upsert in upserts {
        let CustomerUpsert { identity, mut patch, added_contact_points, added_tags } = upsert;
        if let Err(error) = include_identity(&identity, &mut patch) {
            changes.push(Err(error));
            continue;
        }
        let before = known.get(&identity);
        if !added_contact_points.is_empty() {
            let points = before.map_or_else(Vec::new, |before| before.contact_points.clone());
            patch.contact_points = Patch::Value(with_contact_points(points, added_contact_points));
        }
        if !added_tags.is_empty() {
            let mut tags = before.map_or_else(Vec::new, |before| before.tags.clone());
            tags.extend(added_tags);
            patch.tags = Patch::Value(tags);
        }
        let change = match before {
            Some(before) => maker.update(before.clone(), patch).await,
            None => {
                if patch.identities.is_absent() {
                    patch.identities = Patch::Value(vec![identity.clone()]);
                }
                let mut faults = Faults::default();
                let new = patch.into_new(&mut faults);
                match faults.finish() {
                    Ok(()) => maker.create(new).await,
                    Err(error) => Err(error),
                }
            }
        };
        if let Ok(change) = &change {
            known.insert(identity, change.customer().clone());
        }
        changes.push(change);
    }
    Ok(changes)
}

fn include_identity(identity: &Identity, patch: &mut CustomerPatch) -> Result<()> {
    let mut faults = Faults::default();
    faults.identity("", Some(&identity.source), Some(&identity.external_id));
    match &patch.identities {
        Patch::Absent => {}
        Patch::Value(identities) if identities.contains(identity) => {}
        Patch::Null | Patch::Value(_) => {
            faults.add("/identities", FaultCode::Required, "must contain the identity in the address");
        }
    }
    faults.finish()
}

/// Customers that an invocation has prepared, as the actor sees them.
///
/// # Errors
/// Those of the database.
pub async fn show_prepared(
    core: &Core,
    actor: &Actor,
    mut customers: Vec<Customer>,
) -> Result<Vec<Customer>> {
    if !customers.is_empty() {
        let mut reader = core.db.read(&actor.tenant).await?;
        show(&mut reader, actor, &mut customers).await?;
    }
    Ok(customers)
}

/// A customer that was written, as the actor sees it.
async fn shown(core: &Core, actor: &Actor, mut customer: Customer) -> Result<Customer> {
    fields::show_written(core, actor, (FieldEntity::Customer, &mut customer.fields)).await?;
    Ok(customer)
}

fn write<'a>(
    core: &'a Core,
    actor: &'a Actor,
    prepare: impl Future<Output = Result<CustomerChange>> + Send + 'a,
) -> BoxFuture<'a, Result<Customer>> {
    core.write_once(actor, prepare, |tx, change| {
        Box::pin(async move {
            apply(tx, change).await?;
            Ok(change.customer().clone())
        })
    })
}

/// The customer.
///
/// # Errors
/// `Forbidden`, and `NotFound` also for one that the actor may not see.
pub async fn get(core: &Core, actor: &Actor, id: &CustomerId) -> Result<Customer> {
    let visibility = visible(actor, Permission::CustomerRead)?;
    let mut reader = core.db.read(&actor.tenant).await?;
    let found = customers::find(&mut reader, &actor.tenant, &visibility, id).await?;
    let mut customer = found.ok_or_else(|| Error::not_found(RecordKind::Customer, id))?;
    show(&mut reader, actor, slice::from_mut(&mut customer)).await?;
    Ok(customer)
}

/// Refuses a customer that `permission` does not reach as if there were none.
pub(super) async fn check_reach(
    core: &Core,
    actor: &Actor,
    permission: Permission,
    id: &CustomerId,
) -> Result<()> {
    let visibility = visible(actor, permission)?;
    let mut reader = core.db.read(&actor.tenant).await?;
    let is_there = customers::exist(&mut reader, &actor.tenant, &visibility, &[id].into()).await?;
    if is_there { Ok(()) } else { Err(Error::not_found(RecordKind::Customer, id)) }
}

/// Leaves of the plugins' fields those that the actor may read.
pub(super) async fn show(tx: &mut Tx, actor: &Actor, customers: &mut [Customer]) -> Result<()> {
    let fields = customers.iter_mut().map(|customer| (FieldEntity::Customer, &mut customer.fields));
    fields::show(tx, actor, fields.collect()).await
}

/// The customers in the order of the ids, of which there are at most 200; nothing for those that the
/// actor does not see.
///
/// # Errors
/// `Forbidden`, and a limit for more ids.
pub async fn get_many(core: &Core, actor: &Actor, ids: &[CustomerId]) -> Result<Vec<Option<Customer>>> {
    let visibility = visible(actor, Permission::CustomerRead)?;
    super::check_many(ids.len())?;
    let mut reader = core.db.read(&actor.tenant).await?;
    let mut found = customers::find_many(&mut reader, &actor.tenant, &visibility, ids).await?;
    show(&mut reader, actor, &mut found).await?;
    let found: HashMap<_, _> = found.into_iter().map(|customer| (customer.id.clone(), customer)).collect();
    Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
}

/// One page of the customers that the filter holds for.
///
/// # Errors
/// `Forbidden`, and `Invalid` for a bad cursor or too many conditions.
pub async fn list(
    core: &Core,
    actor: &Actor,
    (filter, sort): (&CustomerFilter, CustomerSort),
    page: &PageRequest,
) -> Result<Page<Customer>> {
    let visibility = visible(actor, Permission::CustomerRead)?;
    check_conditions(filter.conditions.len())?;
    let mut reader = core.db.read(&actor.tenant).await?;
    let mut page = customers::list(&mut reader, &actor.tenant, &visibility, (filter, sort), page).await?;
    show(&mut reader, actor, &mut page.items).await?;
    Ok(page)
}
