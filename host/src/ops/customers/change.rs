//! A prepared change of a customer, and its writing.

use serde_json::Value;

use crate::clock::Timestamp;
use crate::db::Tx;
use crate::db::customers::{self, Updated};
use crate::domain::actor::Actor;
use crate::domain::check::changes;
use crate::domain::code::{Reason, RecordKind};
use crate::domain::customer::{Customer, Identity};
use crate::domain::event::Subject;
use crate::domain::field::{FieldEntity, Model};
use crate::domain::field_value::FieldChanges;
use crate::domain::ids::{CustomerId, TenantId};
use crate::domain::permission::Permission;
use crate::error::{Error, Result};
use crate::ops::Core;
use crate::ops::change::{Outcome, Step, stale};
use crate::ops::trail::{Trail, append_all};

/// A change that is ready to be written.
#[derive(Clone, Debug)]
pub struct CustomerChange {
    before: Option<Customer>,
    after: Customer,
    step: Step,
    fields: Option<FieldChanges>,
    json: Value,
    trail: Trail,
}

impl CustomerChange {
    pub(super) fn created(
        core: &Core,
        actor: &Actor,
        model: &Model,
        (after, now): (Customer, Timestamp),
    ) -> Self {
        let json = after.to_json();
        let subject = Subject::Customer(after.id.clone());
        let trail = Trail::new(
            core,
            (actor, Some(Permission::CustomerWrite)),
            now,
            ("customer.create", "customer", after.id.as_str()),
            Value::Null,
            Some(("customer.created", subject, json.clone())),
        );
        let fields = FieldChanges::between(model, FieldEntity::Customer, None, after.fields());
        Self { before: None, after, step: Step::Create, fields, json, trail }
    }

    /// The change from `before` to `after`, or none at all if they are the same.
    pub(super) fn updated(
        core: &Core,
        (actor, permission): (&Actor, Option<Permission>),
        model: &Model,
        (before, mut after): (Customer, Customer),
        now: Timestamp,
    ) -> Self {
        let step = if before == after { Step::Nothing } else { Step::Update };
        if step == Step::Update {
            after.version = before.version + 1;
            after.updated_at = now;
        }
        let json = after.to_json();
        let subject = Subject::Customer(after.id.clone());
        let trail = Trail::new(
            core,
            (actor, permission),
            now,
            ("customer.update", "customer", after.id.as_str()),
            changes(&before.to_json(), &json),
            Some(("customer.updated", subject, json.clone())),
        );
        let fields =
            FieldChanges::between(model, FieldEntity::Customer, Some(before.fields()), after.fields());
        Self { before: Some(before), after, step, fields, json, trail }
    }

    pub(super) fn deleted(core: &Core, actor: &Actor, before: Customer) -> Self {
        let now = core.now();
        let after = Customer { version: before.version + 1, updated_at: now, ..before.clone() };
        let json = after.to_json();
        let subject = Subject::Customer(after.id.clone());
        let trail = Trail::new(
            core,
            (actor, Some(Permission::CustomerDelete)),
            now,
            ("customer.delete", "customer", after.id.as_str()),
            Value::Null,
            Some(("customer.deleted", subject, json.clone())),
        );
        Self { before: Some(before), after, step: Step::Delete, fields: None, json, trail }
    }

    /// The customer's id.
    #[must_use]
    pub fn id(&self) -> &CustomerId {
        &self.after.id
    }

    /// The customer after the change.
    #[must_use]
    pub fn customer(&self) -> &Customer {
        &self.after
    }

    /// The customer before the change; none if it is new.
    #[must_use]
    pub fn before(&self) -> Option<&Customer> {
        self.before.as_ref()
    }

    /// The customer after the change, as the REST API shows it.
    #[must_use]
    pub fn record(&self) -> &Value {
        &self.json
    }

    /// The version that the customer must still have when this is written; none for a new one.
    #[must_use]
    pub fn expected_version(&self) -> Option<i64> {
        self.before.as_ref().map(|before| before.version)
    }

    /// Whether the customer is removed.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.step == Step::Delete
    }

    /// What is done to the record.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.step.outcome()
    }

    /// Who the customer is in other systems, afterwards.
    pub(in crate::ops) fn identities(&self) -> &[Identity] {
        &self.after.identities
    }

    pub(in crate::ops) fn trail(&self) -> Option<&Trail> {
        (self.step != Step::Nothing).then_some(&self.trail)
    }
}

/// Writes a prepared change.
///
/// # Errors
/// Those of [`apply_many`].
pub async fn apply(tx: &mut Tx, change: &CustomerChange) -> Result<()> {
    apply_many(tx, &[change]).await
}

/// Writes changes that one actor has prepared together, in their order, with few statements.
///
/// # Errors
/// `VersionMismatch` or `NotFound` if a customer has changed since, `identity_taken`
/// if another customer has an identity, `Forbidden` and `Unauthenticated` if the
/// actor's rights have gone.
pub async fn apply_many(tx: &mut Tx, changes: &[&CustomerChange]) -> Result<()> {
    write_rows(tx, changes).await?;
    append_all(tx, changes.iter().filter_map(|change| change.trail())).await
}

/// Writes the rows of changes, without what is told of them.
pub(in crate::ops) async fn write_rows(tx: &mut Tx, changes: &[&CustomerChange]) -> Result<()> {
    let Some(first) = changes.first() else {
        return Ok(());
    };
    let tenant = &first.trail.actor.tenant;
    let created: Vec<_> = changes
        .iter()
        .filter(|change| change.step == Step::Create)
        .map(|change| (&change.after, change.fields.as_ref()))
        .collect();
    if !created.is_empty() && !customers::insert_many(tx, tenant, &created).await? {
        return Err(identity_taken());
    }
    for change in changes {
        let Some(before) = &change.before else { continue };
        match change.step {
            Step::Create | Step::Nothing => {}
            Step::Update => {
                match customers::update(tx, tenant, before, &change.after, change.fields.as_ref()).await? {
                    Updated::Done => {}
                    Updated::Stale => return Err(not_written(tx, tenant, &before.id).await),
                    Updated::IdentityTaken => return Err(identity_taken()),
                }
            }
            Step::Delete => {
                let after = &change.after;
                if !customers::delete(tx, tenant, before, after.version, after.updated_at).await? {
                    return Err(not_written(tx, tenant, &before.id).await);
                }
            }
        }
    }
    Ok(())
}

fn identity_taken() -> Error {
    Error::conflict(Reason::IdentityTaken, "another customer has one of the identities")
}

async fn not_written(tx: &mut Tx, tenant: &TenantId, id: &CustomerId) -> Error {
    match customers::find_version(tx, tenant, id).await {
        Ok(version) => stale(RecordKind::Customer, id, version),
        Err(error) => error,
    }
}
