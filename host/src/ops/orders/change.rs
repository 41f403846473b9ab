//! A prepared change of an order, and its writing.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::clock::Timestamp;
use crate::db::{Tx, customers as customer_rows, orders};
use crate::domain::actor::Actor;
use crate::domain::check::changes;
use crate::domain::code::{Reason, RecordKind};
use crate::domain::event::Subject;
use crate::domain::field::{FieldEntity, Model};
use crate::domain::field_value::FieldChanges;
use crate::domain::ids::OrderId;
use crate::domain::order::Order;
use crate::domain::permission::Permission;
use crate::error::{Error, Result};
use crate::ops::change::{Outcome, stale};
use crate::ops::customers::{self, CustomerChange};
use crate::ops::trail::{Trail, append_all};
use crate::ops::{Core, visible};

/// A change that is ready to be written, with the customer that it makes on the way, if any.
#[derive(Clone, Debug)]
pub struct OrderChange {
    before: Option<Order>,
    after: Order,
    outcome: Outcome,
    customer: Option<CustomerChange>,
    fields: Option<FieldChanges>,
    json: Value,
    trail: Trail,
}

impl OrderChange {
    pub(super) fn created(
        core: &Core,
        actor: &Actor,
        model: &Model,
        (after, customer): (Order, Option<CustomerChange>),
        now: Timestamp,
    ) -> Self {
        let json = after.to_json();
        let told = ("order.created", Subject::Customer(after.customer_id.clone()), json.clone());
        let what = ("order.create", "order", after.id.as_str());
        let trail =
            Trail::new(core, (actor, Some(Permission::OrderWrite)), now, what, Value::Null, Some(told));
        let fields = FieldChanges::between(model, FieldEntity::Order, None, after.fields());
        Self { before: None, after, outcome: Outcome::Created, customer, fields, json, trail }
    }

    /// The change from `before` to `after`, told as `event`; none at all if they are the same.
    pub(super) fn updated(
        core: &Core,
        (actor, model): (&Actor, &Model),
        (before, mut after): (Order, Order),
        (action, event): (&'static str, &'static str),
        now: Timestamp,
    ) -> Self {
        let outcome = if before == after { Outcome::Unchanged } else { Outcome::Updated };
        if outcome == Outcome::Updated {
            after.version = before.version + 1;
            after.updated_at = now;
        }
        let json = after.to_json();
        let told = (event, Subject::Customer(after.customer_id.clone()), json.clone());
        let differences = changes(&before.to_json(), &json);
        let what = (action, "order", after.id.as_str());
        let trail =
            Trail::new(core, (actor, Some(Permission::OrderWrite)), now, what, differences, Some(told));
        let fields = FieldChanges::between(model, FieldEntity::Order, Some(before.fields()), after.fields());
        Self { before: Some(before), after, outcome, customer: None, fields, json, trail }
    }

    /// The order's id.
    #[must_use]
    pub fn id(&self) -> &OrderId {
        &self.after.id
    }

    /// The order after the change.
    #[must_use]
    pub fn order(&self) -> &Order {
        &self.after
    }

    /// The order after the change, as the REST API shows it.
    #[must_use]
    pub fn record(&self) -> &Value {
        &self.json
    }

    /// The customer that is made with the order.
    #[must_use]
    pub fn customer(&self) -> Option<&CustomerChange> {
        self.customer.as_ref()
    }

    /// The version that the order must still have when this is written; none for a new one.
    #[must_use]
    pub fn expected_version(&self) -> Option<i64> {
        self.before.as_ref().map(|before| before.version)
    }

    /// What is done to the record.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }
}

/// Writes a prepared change.
///
/// # Errors
/// Those of [`apply_many`].
pub async fn apply(tx: &mut Tx, change: &OrderChange) -> Result<()> {
    apply_many(tx, &[change]).await
}

/// Writes changes that one actor has prepared together, in their order, with few statements.
///
/// # Errors
/// `VersionMismatch` or `NotFound` if a record has changed since, `identity_taken` or
/// `external_id_taken` if another transaction was first with one, `Forbidden` and
/// `Unauthenticated` if the actor's rights have gone.
pub async fn apply_many(tx: &mut Tx, changes: &[&OrderChange]) -> Result<()> {
    let Some(first) = changes.first() else {
        return Ok(());
    };
    let tenant = &first.trail.actor.tenant;
    let made: Vec<_> = changes.iter().filter_map(|change| change.customer.as_ref()).collect();
    customers::write_rows(tx, &made).await?;
    let created: Vec<_> = changes.iter().filter(|change| change.outcome == Outcome::Created).collect();
    if !created.is_empty() {
        let customers: BTreeSet<_> = created.iter().map(|change| &change.after.customer_id).collect();
        let visibility = visible(&first.trail.actor, Permission::OrderWrite)?;
        if !customer_rows::exist(tx, tenant, &visibility, &customers).await? {
            return Err(Error::not_found(RecordKind::Customer, "of the order"));
        }
        let rows: Vec<_> = created.iter().map(|change| (&change.after, change.fields.as_ref())).collect();
        if !orders::insert_many(tx, tenant, &rows).await? {
            return Err(taken());
        }
    }
    for change in changes.iter().filter(|change| change.outcome == Outcome::Updated) {
        let Some(before) = &change.before else { continue };
        if !orders::update(tx, tenant, before.version, &change.after, change.fields.as_ref()).await? {
            let version = orders::find_version(tx, tenant, &before.id).await?;
            return Err(stale(RecordKind::Order, &before.id, version));
        }
    }
    let made = made.into_iter().filter_map(CustomerChange::trail);
    let told =
        changes.iter().filter(|change| change.outcome != Outcome::Unchanged).map(|change| &change.trail);
    append_all(tx, made.chain(told)).await
}

pub(super) fn taken() -> Error {
    let message = "there is an order with this external id; `PUT` to its source changes it";
    Error::conflict(Reason::ExternalIdTaken, message)
}
