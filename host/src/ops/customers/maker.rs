//! Making and changing customers by the rules: what is needed is loaded once, for one record or many.

use serde_json::Value;

use super::CustomerChange;
use crate::clock::Timestamp;
use crate::db::{access, models};
use crate::domain::actor::{Actor, Visibility};
use crate::domain::check::Faults;
use crate::domain::code::{FaultCode, Reason};
use crate::domain::customer::{Customer, CustomerPatch, NewCustomer};
use crate::domain::field::{FieldEntity, Model, Scalar};
use crate::domain::ids::CustomerId;
use crate::domain::permission::Permission;
use crate::error::{Error, Result};
use crate::ops::plugins::{HookedEntity, Save};
use crate::ops::{Core, visible};

/// Makes changes of customers for one actor.
pub(crate) struct Maker<'a> {
    core: &'a Core,
    actor: &'a Actor,
    visibility: Visibility,
    model: Model,
    now: Timestamp,
}

impl<'a> Maker<'a> {
    /// For an actor that has `permission`.
    pub(crate) async fn load(core: &'a Core, actor: &'a Actor, permission: Permission) -> Result<Self> {
        let visibility = visible(actor, permission)?;
        Self::with_visibility(core, actor, visibility).await
    }

    /// For a plugin that sets its own fields, which needs no permission.
    pub(crate) async fn for_fields(core: &'a Core, actor: &'a Actor) -> Result<Self> {
        Self::with_visibility(core, actor, Visibility::All).await
    }

    async fn with_visibility(core: &'a Core, actor: &'a Actor, visibility: Visibility) -> Result<Self> {
        let mut reader = core.db.read(&actor.tenant).await?;
        let model = models::find(&mut reader, &actor.tenant).await?;
        drop(reader);
        Ok(Self { core, actor, visibility, model, now: core.now() })
    }

    /// Prepares a new customer.
    pub(crate) async fn create(&self, mut new: NewCustomer) -> Result<CustomerChange> {
        self.claim(&mut new);
        let mut faults = Faults::default();
        let id = CustomerId::new(&*self.core.ids, self.now);
        let mut customer = new.into_customer(id, self.now, &self.model);
        customer.settle(&self.model, None, &mut faults);
        faults.finish()?;
        let customer = self.hook(None, customer).await?;
        self.check_references(None, &customer).await?;
        Ok(CustomerChange::created(self.core, self.actor, &self.model, (customer, self.now)))
    }

    /// Prepares a change of `before`.
    pub(crate) async fn update(&self, before: Customer, patch: CustomerPatch) -> Result<CustomerChange> {
        let mut faults = Faults::default();
        let mut after = before.clone();
        patch.apply(&mut after, &self.model);
        after.settle(&self.model, Some(&before), &mut faults);
        faults.finish()?;
        if after != before {
            after = self.hook(Some(&before), after).await?;
            self.check_references(Some(&before), &after).await?;
        }
        let by = (self.actor, Some(Permission::CustomerWrite));
        Ok(CustomerChange::updated(self.core, by, &self.model, (before, after), self.now))
    }

    /// Prepares new values of a plugin's own fields; `None` clears one.
    pub(crate) fn set_fields(
        &self,
        before: Customer,
        plugin: &str,
        values: Vec<(String, Option<Scalar>)>,
    ) -> Result<CustomerChange> {
        let mut faults = Faults::default();
        let mut after = before.clone();
        for (index, (name, value)) in values.into_iter().enumerate() {
            let pointer = format!("/{index}");
            let Some(definition) = self.model.field(FieldEntity::Customer, plugin, &name) else {
                faults.add(
                    pointer,
                    FaultCode::UnknownField,
                    format!("the manifest declares no field `{name}`"),
                );
                continue;
            };
            let full_name = definition.full_name();
            let Some(value) = value else {
                after.fields.shift_remove(&full_name);
                continue;
            };
            let json = value.to_json().unwrap_or(Value::Null);
            match definition.read(&json).map(|value| value.to_json()) {
                Ok(json) => {
                    after.fields.insert(full_name, json.unwrap_or(Value::Null));
                }
                Err((code, message)) => faults.add(pointer, code, message),
            }
        }
        faults.finish()?;
        Ok(CustomerChange::updated(self.core, (self.actor, None), &self.model, (before, after), self.now))
    }

    /// Whoever reaches only some customers owns the new one, so that they see what they have made.
    fn claim(&self, new: &mut NewCustomer) {
        match &self.visibility {
            Visibility::All => {}
            Visibility::Own { user } => new.owner_id = new.owner_id.take().or_else(|| user.clone()),
            Visibility::Team { .. } => {
                if new.owner_id.is_none() && new.org_unit_id.is_none() {
                    new.org_unit_id = self.actor.org_unit.as_ref().map(|unit| unit.id.clone());
                }
            }
        }
    }

    async fn hook(&self, before: Option<&Customer>, after: Customer) -> Result<Customer> {
        let sent = after.to_json();
        let save = Save {
            entity: HookedEntity::Customer,
            before: before.map(Customer::to_json),
            after: sent.clone(),
        };
        let patched = self.core.plugins()?.before_save(self.actor, save).await?;
        if patched == sent {
            return Ok(after);
        }
        let mut hooked: Customer = serde_json::from_value(patched).map_err(|error| {
            Error::invalid(
                "",
                FaultCode::Hook { reason: error.to_string() },
                format!("a hook has left no customer: {error}"),
            )
        })?;
        let mut faults = Faults::default();
        let kept = [
            ("/id", hooked.id == after.id),
            ("/version", hooked.version == after.version),
            ("/created_at", hooked.created_at == after.created_at),
            ("/updated_at", hooked.updated_at == after.updated_at),
        ];
        for (pointer, is_kept) in kept {
            if !is_kept {
                faults.add(pointer, FaultCode::ReadOnly, "a hook may not change this");
            }
        }
        hooked.settle(&self.model, before, &mut faults);
        let fields = &mut hooked.fields;
        self.model.settle_plugin_values(FieldEntity::Customer, fields, &after.fields, &mut faults);
        faults.finish()?;
        Ok(hooked)
    }

    /// A new owner and a new unit must exist, and a new customer must lie within the actor's reach.
    async fn check_references(&self, before: Option<&Customer>, after: &Customer) -> Result<()> {
        let owner = after.owner_id.as_ref().filter(|_| before.is_none_or(|b| b.owner_id != after.owner_id));
        let unit =
            after.org_unit_id.as_ref().filter(|_| before.is_none_or(|b| b.org_unit_id != after.org_unit_id));
        let mut path = None;
        if owner.is_some() || unit.is_some() {
            let mut faults = Faults::default();
            let tenant = &self.actor.tenant;
            let mut reader = self.core.db.read(tenant).await?;
            if let Some(owner) = owner
                && access::find_user(&mut reader, tenant, owner).await?.is_none()
            {
                faults.add("/owner_id", FaultCode::UnknownReference, "there is no such user");
            }
            if let Some(unit) = unit {
                path = access::find_unit_path(&mut reader, tenant, unit).await?;
                if path.is_none() {
                    faults.add("/org_unit_id", FaultCode::UnknownReference, "there is no such unit");
                }
            }
            faults.finish()?;
        }
        let is_own = |user: &Option<_>| user.is_some() && *user == after.owner_id;
        let in_reach = before.is_some()
            || match &self.visibility {
                Visibility::All => true,
                Visibility::Own { user } => is_own(user),
                Visibility::Team { user, path: top } => {
                    is_own(user) || path.is_some_and(|path| path.starts_with(top.as_str()))
                }
            };
        if in_reach {
            return Ok(());
        }
        let message = "this customer would belong to somebody whose customers you do not see".to_owned();
        Err(Error::Refused { code: Reason::OutOfReach, message })
    }
}
