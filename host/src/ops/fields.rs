//! Use cases of a tenant's model: lifecycle stages, its own field definitions, the fields
//! that plugins declare and set, and who sees them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::change::{is_overtaken, retry};
use super::customers::{self, CustomerChange, Maker};
use super::pending::Pending;
use super::trail::{Trail, append_all};
use super::{Core, check_version, require};
use crate::clock::Timestamp;
use crate::db::{Tx, customers as customer_rows, models};
use crate::domain::actor::{Actor, Visibility};
use crate::domain::check::Faults;
use crate::domain::code::{FaultCode, Reason, RecordKind};
use crate::domain::field::{
    FIELDS_MAX, FieldDeclaration, FieldDefinition, FieldEntity, Model, Scalar, Stage, check_stages,
};
use crate::domain::field_reader::reads_all;
use crate::domain::ids::{CustomerId, TenantId};
use crate::domain::permission::Permission;
use crate::error::{Error, Result};

/// Values that a plugin sets together, at most.
pub const SET_FIELDS_MAX: usize = 500;

/// The value of one of a plugin's declared fields on one customer; `None` clears it.
#[derive(Clone, Debug, PartialEq)]
pub struct SetField {
    /// Whose field it is.
    pub customer: CustomerId,
    /// As declared, without the plugin's name.
    pub field: String,
    /// The value.
    pub value: Option<Scalar>,
}

/// Prepares new values of a plugin's own fields, one change for each customer. It needs no
/// user right: the plugin answers for its own fields.
///
/// # Errors
/// `NotFound` for a customer, `Invalid` for a field that is not declared or a value of another
/// type, and a limit beyond [`SET_FIELDS_MAX`].
pub async fn prepare_set_fields(
    core: &Core,
    actor: &Actor,
    plugin: &str,
    values: Vec<SetField>,
    pending: &Pending,
) -> Result<Vec<CustomerChange>> {
    if values.len() > SET_FIELDS_MAX {
        let message = format!("at most {SET_FIELDS_MAX} fields can be set at once");
        return Err(Error::Limit {
            code: Reason::SetFields { max: SET_FIELDS_MAX.to_string() },
            message,
            retry_after_s: 0,
        });
    }
    let mut by_customer: BTreeMap<CustomerId, Vec<(String, Option<Scalar>)>> = BTreeMap::new();
    for SetField { customer, field, value } in values {
        by_customer.entry(customer).or_default().push((field, value));
    }
    let maker = Maker::for_fields(core, actor).await?;
    let stored: Vec<_> = by_customer.keys().filter(|id| pending.customer(id).is_none()).cloned().collect();
    let mut found: BTreeMap<_, _> = BTreeMap::new();
    if !stored.is_empty() {
        let mut reader = core.db.read(&actor.tenant).await?;
        let rows = customer_rows::find_many(&mut reader, &actor.tenant, &Visibility::All, &stored).await?;
        found.extend(rows.into_iter().map(|customer| (customer.id.clone(), customer)));
    }
    let mut changes = Vec::with_capacity(by_customer.len());
    for (id, values) in by_customer {
        let before = match pending.customer(&id) {
            Some(prepared) => prepared.cloned(),
            None => found.remove(&id),
        };
        let before = before.ok_or_else(|| Error::not_found(RecordKind::Customer, &id))?;
        changes.push(maker.set_fields(before, plugin, values)?);
    }
    Ok(changes)
}

/// Writes prepared values.
///
/// # Errors
/// Those of [`customers::apply_many`].
pub async fn apply(tx: &mut Tx, changes: &[CustomerChange]) -> Result<()> {
    customers::apply_many(tx, &changes.iter().collect::<Vec<_>>()).await
}

/// Declares a plugin's fields, in the unit that enables it or changes its version. A field
/// that it no longer declares is dropped from the model; values stay as they are.
///
/// # Errors
/// `field_type` for a field whose type would change, a limit beyond [`FIELDS_MAX`], and those of the database.
pub async fn declare(
    tx: &mut Tx,
    tenant: &TenantId,
    plugin: &str,
    declarations: &[FieldDeclaration],
    now: Timestamp,
) -> Result<()> {
    let mut model = models::find(tx, tenant).await?;
    for declaration in declarations {
        let known = model.field(declaration.entity, plugin, &declaration.name);
        if known.is_some_and(|known| known.kind != declaration.kind) {
            let message = format!("the type of the field `{plugin}.{}` cannot change", declaration.name);
            return Err(Error::conflict(Reason::FieldType, message));
        }
    }
    let before = model.fields.clone();
    model.fields.retain(|field| field.namespace != plugin);
    model.fields.extend(declarations.iter().cloned().map(|field| field.into_definition(plugin)));
    if model.fields == before {
        return Ok(());
    }
    check_count(&model)?;
    model.version += 1;
    replace(tx, tenant, &model, now).await
}

fn check_count(model: &Model) -> Result<()> {
    if model.fields.len() <= FIELDS_MAX {
        return Ok(());
    }
    let message = format!("a tenant has at most {FIELDS_MAX} fields");
    Err(Error::Limit { code: Reason::Fields { max: FIELDS_MAX.to_string() }, message, retry_after_s: 0 })
}

async fn replace(tx: &mut Tx, tenant: &TenantId, model: &Model, now: Timestamp) -> Result<()> {
    if models::replace(tx, tenant, model, now).await? {
        return Ok(());
    }
    let version = models::find(tx, tenant).await?.version;
    Err(Error::VersionMismatch { kind: RecordKind::Model, id: tenant.to_string(), version })
}

/// The tenant's model, without the fields that the actor may not read.
///
/// # Errors
/// `Forbidden`.
pub async fn get(core: &Core, actor: &Actor) -> Result<Model> {
    require(actor, Permission::FieldRead)?;
    readable(core, actor).await
}

/// The same for one who asks for records: whoever may see them may see what they are made of.
///
/// # Errors
/// Those of the database.
pub async fn readable(core: &Core, actor: &Actor) -> Result<Model> {
    Ok(model(core, actor).await?.readable_by(actor))
}

async fn model(core: &Core, actor: &Actor) -> Result<Model> {
    let mut reader = core.db.read(&actor.tenant).await?;
    models::find(&mut reader, &actor.tenant).await
}

/// The plugins' fields of a record.
pub(super) type PluginFields<'r> = (FieldEntity, &'r mut Map<String, Value>);

/// Leaves of the plugins' fields of records those that the actor may read.
pub(super) async fn show(tx: &mut Tx, actor: &Actor, mut records: Vec<PluginFields<'_>>) -> Result<()> {
    // Most records have no such fields, and need no model.
    records.retain(|(_, fields)| !fields.is_empty());
    if records.is_empty() || reads_all(actor) {
        return Ok(());
    }
    let model = models::find(tx, &actor.tenant).await?;
    for (entity, fields) in records {
        model.hide_fields(entity, actor, fields);
    }
    Ok(())
}

/// The same for the answer of a write, whose transaction is over.
pub(super) async fn show_written(core: &Core, actor: &Actor, record: PluginFields<'_>) -> Result<()> {
    if record.1.is_empty() || reads_all(actor) {
        return Ok(());
    }
    let mut reader = core.db.read(&actor.tenant).await?;
    show(&mut reader, actor, vec![record]).await
}

/// Replaces the lifecycle. Customers in a stage that is gone stay in it until they are moved.
///
/// # Errors
/// `Forbidden`, `Invalid` with every fault, `VersionMismatch`.
pub async fn set_stages(
    core: &Core,
    actor: &Actor,
    expected: Option<i64>,
    stages: Vec<Stage>,
) -> Result<Model> {
    let mut faults = Faults::default();
    check_stages(&stages, &mut faults);
    faults.finish()?;
    let change = |mut model: Model| {
        let old = std::mem::replace(&mut model.stages, stages.clone());
        Ok((model, json!({"stages": [old, stages]})))
    };
    change_model(core, actor, expected, "lifecycle.replace", change).await
}

/// Defines one of the tenant's own fields.
///
/// # Errors
/// `Forbidden`, `Invalid` with every fault, `field_exists`, and a limit beyond [`FIELDS_MAX`].
pub async fn define(core: &Core, actor: &Actor, definition: FieldDefinition) -> Result<FieldDefinition> {
    require(actor, Permission::FieldWrite)?;
    definition_faults(&definition).finish()?;
    let change = |mut model: Model| {
        if model.field(definition.entity, "", &definition.name).is_some() {
            return Err(Error::conflict(
                Reason::FieldExists,
                format!("there is a field `{}`", definition.name),
            ));
        }
        model.fields.push(definition.clone());
        Ok((model, json!({"definition": [null, definition]})))
    };
    change_model(core, actor, None, "field.define", change).await?;
    Ok(definition)
}

/// Replaces one of the tenant's own definitions; its record, name and type stay.
///
/// # Errors
/// `Forbidden`, `NotFound`, `Invalid` with every fault, `field_type`.
pub async fn redefine(
    core: &Core,
    actor: &Actor,
    (entity, name): (FieldEntity, &str),
    definition: FieldDefinition,
) -> Result<FieldDefinition> {
    require(actor, Permission::FieldWrite)?;
    let mut faults = definition_faults(&definition);
    for (pointer, is_same) in [("/entity", definition.entity == entity), ("/name", definition.name == name)] {
        if !is_same {
            faults.add(pointer, FaultCode::ReadOnly, "differs from the address");
        }
    }
    faults.finish()?;
    let change = |mut model: Model| {
        let place = model.fields.iter_mut().find(|field| field.is(entity, "", name));
        let place = place.ok_or_else(|| Error::not_found(RecordKind::Field, name))?;
        if place.kind != definition.kind {
            let message = format!("the type of the field `{name}` cannot change");
            return Err(Error::conflict(Reason::FieldType, message));
        }
        let old = std::mem::replace(place, definition.clone());
        Ok((model, json!({"definition": [old, definition]})))
    };
    change_model(core, actor, None, "field.redefine", change).await?;
    Ok(definition)
}

/// Drops one of the tenant's own definitions. Values stay in the records, and are no longer found.
///
/// # Errors
/// `Forbidden`, `NotFound`.
pub async fn drop_field(core: &Core, actor: &Actor, (entity, name): (FieldEntity, &str)) -> Result<()> {
    let change = |mut model: Model| {
        let place = model.fields.iter().position(|field| field.is(entity, "", name));
        let place = place.ok_or_else(|| Error::not_found(RecordKind::Field, name))?;
        let old = model.fields.remove(place);
        Ok((model, json!({"definition": [old, null]})))
    };
    change_model(core, actor, None, "field.drop", change).await.map(drop)
}

fn definition_faults(definition: &FieldDefinition) -> Faults {
    let mut faults = Faults::default();
    definition.check("", &mut faults);
    if !definition.namespace.is_empty() {
        faults.add("/namespace", FaultCode::ReadOnly, "only plugins have a namespace");
    }
    if !definition.roles.is_empty() {
        faults.add("/roles", FaultCode::ReadOnly, "whoever reads a record reads the tenant's own fields");
    }
    faults
}

async fn change_model(
    core: &Core,
    actor: &Actor,
    expected: Option<i64>,
    action: &'static str,
    change: impl Fn(Model) -> Result<(Model, Value)> + Send + Sync,
) -> Result<Model> {
    require(actor, Permission::FieldWrite)?;
    let attempt = || {
        let prepare = async {
            let before = model(core, actor).await?;
            check_version(RecordKind::Model, &actor.tenant, expected, before.version)?;
            let (mut after, changes) = change(before)?;
            check_count(&after)?;
            after.version += 1;
            let by = (actor, Some(Permission::FieldWrite));
            let what = (action, "model", actor.tenant.as_str());
            Ok((after, Trail::new(core, by, core.now(), what, changes, None)))
        };
        core.write_once(actor, prepare, |tx, (model, trail): &(Model, Trail)| {
            Box::pin(async move {
                replace(tx, &trail.actor.tenant, model, trail.at).await?;
                append_all(tx, [trail].into_iter()).await?;
                Ok(model.clone())
            })
        })
    };
    let changed = retry(is_overtaken(expected), attempt).await;
    // What a plugin sees depends on the classes of fields.
    core.plugins()?.model_changed(&actor.tenant).await;
    changed
}
