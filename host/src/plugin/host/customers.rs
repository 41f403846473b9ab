//! `customers`: the tenant's customers, and the plugin's own fields on them.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hospes_bindings::hospes::plugin::customers::{FieldValue, Patch, Search};
use hospes_bindings::hospes::plugin::types;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::json::{self, DOCUMENT_BYTES_MAX};
use super::{Access, Answered, Invocation, invalid, shown};
use crate::clock::Timestamp;
use crate::domain::customer::{Customer, CustomerPatch, NewCustomer};
use crate::domain::field::{Model, Scalar};
use crate::domain::grant::Grant;
use crate::domain::ids::CustomerId;
use crate::domain::page::PageRequest;
use crate::domain::query::{Comparison, Condition, CoreField, CustomerFilter, CustomerSort, Operand};
use crate::error::Error;
use crate::ops::customers::{self, CustomerChange};
use crate::ops::fields::{self, SetField};

const IDS_MAX: usize = 200;
const WRITES_MAX: usize = 100;
const FIELDS_MAX: usize = 500;
const CONDITIONS_MAX: usize = 8;

impl Invocation {
    pub(super) async fn customers_get(&mut self, ids: Vec<String>) -> Answered<Vec<Option<types::Entity>>> {
        self.enter(Grant::CustomersRead, "customers.get-many", Access::Read(ids.len()), IDS_MAX)?;
        let ids: Vec<Option<CustomerId>> = ids.iter().map(|id| id.parse().ok()).collect();
        let asked = ids.iter().flatten().filter(|id| self.buffer.pending.customer(id).is_none());
        let asked: Vec<CustomerId> = asked.cloned().collect();
        let mut found = HashMap::new();
        if !asked.is_empty() {
            let read = customers::get_many(&self.core, &self.actor, &asked).await?;
            for customer in read.into_iter().flatten() {
                self.buffer.see_record("customer", customer.id.as_str(), customer.version)?;
                found.insert(customer.id.clone(), customer);
            }
        }
        let prepared = ids.iter().flatten().filter_map(|id| self.buffer.pending.customer(id).flatten());
        let prepared = customers::show_prepared(&self.core, &self.actor, prepared.cloned().collect()).await?;
        found.extend(prepared.into_iter().map(|customer| (customer.id.clone(), customer)));
        let shown = |customer| entity(self, customer);
        Ok(ids.into_iter().map(|id| found.get(&id?).map(shown)).collect())
    }

    pub(super) async fn customers_query(&mut self, search: Search) -> Answered<types::EntityPage> {
        let limit = usize::try_from(search.limit).unwrap_or(usize::MAX);
        self.enter(Grant::CustomersRead, "customers.query", Access::Read(limit), IDS_MAX)?;
        if search.limit == 0 || search.conditions.len() > CONDITIONS_MAX {
            let message =
                format!("a query has a limit of 1 to {IDS_MAX} and at most {CONDITIONS_MAX} conditions");
            return Err(invalid("", "query", message));
        }
        let model = fields::readable(&self.core, &self.actor).await?;
        let conditions = conditions(&model, &search.conditions)?;
        self.check_conditions(&conditions)?;
        let (cursor, after) = match search.cursor.as_deref().map(read_cursor).transpose()? {
            Some((cursor, after)) => (Some(cursor), after),
            None => (None, String::new()),
        };
        let own = self.own_customers(&conditions, &after);
        let own = customers::show_prepared(&self.core, &self.actor, own).await?;
        let rows = search.limit.saturating_sub(u32::try_from(own.len()).unwrap_or(u32::MAX)).max(1);
        let filter = CustomerFilter { conditions, ..CustomerFilter::default() };
        let page = PageRequest::new(Some(rows), cursor);
        let page = customers::list(&self.core, &self.actor, (&filter, CustomerSort::Id), &page).await?;
        let last = page.items.last().map(|customer| customer.id.to_string()).unwrap_or(after);
        let read = page.items.iter().filter(|customer| self.buffer.pending.customer(&customer.id).is_none());
        let is_last = page.next_cursor.is_none();
        let own = own.iter().filter(|customer| is_last || customer.id.as_str() <= last.as_str());
        let mut shown: Vec<&Customer> = read.chain(own).collect();
        shown.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(types::EntityPage {
            entities: shown.into_iter().map(|customer| entity(self, customer)).collect(),
            cursor: page.next_cursor.map(|cursor| write_cursor(&cursor, &last)),
        })
    }

    /// To filter by a field is to read it.
    fn check_conditions(&mut self, conditions: &[Condition]) -> Answered<()> {
        let (enabled, actor) = (Arc::clone(&self.enabled), self.actor.clone());
        let Some(sight) = enabled.sight(Grant::CustomersRead, &actor) else { return Ok(()) };
        let closed = conditions.iter().find_map(|condition| match &condition.operand {
            Operand::Core(_) => None,
            Operand::Field { namespace, name } => sight.closed_to_condition(namespace, name),
        });
        match closed {
            Some(closed) => Err(self.closed(Grant::CustomersRead, "customers.query", &closed)),
            None => Ok(()),
        }
    }

    /// What the grant does not open may not be written either.
    fn check_body(&mut self, what: &'static str, body: &Value) -> Answered<()> {
        let (enabled, actor) = (Arc::clone(&self.enabled), self.actor.clone());
        let closed =
            enabled.sight(Grant::CustomersWrite, &actor).and_then(|sight| sight.closed_to_patch(body));
        match closed {
            Some(closed) => Err(self.closed(Grant::CustomersWrite, what, &closed)),
            None => Ok(()),
        }
    }

    /// Customers that this invocation has prepared, behind `after`, for which the conditions hold.
    fn own_customers(&self, conditions: &[Condition], after: &str) -> Vec<Customer> {
        let own = self.buffer.changed_customers.iter().filter(|id| id.as_str() > after);
        let own = own.filter_map(|id| self.buffer.pending.customer(id).flatten());
        own.filter(|customer| conditions.iter().all(|one| holds(one, customer))).cloned().collect()
    }

    pub(super) async fn customers_create(&mut self, bodies: Vec<String>) -> Answered<Vec<String>> {
        self.enter(Grant::CustomersWrite, "customers.create-many", Access::Write(bodies.len()), WRITES_MAX)?;
        let mut news: Vec<NewCustomer> = Vec::with_capacity(bodies.len());
        for (position, body) in bodies.iter().enumerate() {
            let pointer = format!("/{position}");
            let body = json::parse(&pointer, body, DOCUMENT_BYTES_MAX)?;
            self.check_body("customers.create-many", &body)?;
            news.push(typed(&pointer, body)?);
        }
        let mut changes = Vec::with_capacity(news.len());
        for (position, new) in news.into_iter().enumerate() {
            let change = customers::prepare_create(&self.core, &self.actor, new).await;
            changes.push(change.map_err(|error| below(position, error))?);
        }
        let ids = changes.iter().map(|change| change.id().to_string()).collect();
        changes.into_iter().for_each(|change| self.keep_customer(change));
        Ok(ids)
    }

    pub(super) async fn customers_update(&mut self, patches: Vec<Patch>) -> Answered<()> {
        self.enter(Grant::CustomersWrite, "customers.update-many", Access::Write(patches.len()), WRITES_MAX)?;
        let mut pending = self.buffer.pending.clone();
        let mut changes = Vec::with_capacity(patches.len());
        for (position, patch) in patches.into_iter().enumerate() {
            let id = customer_id(&patch.id)?;
            let pointer = format!("/{position}/body");
            let body = json::parse(&pointer, &patch.body, DOCUMENT_BYTES_MAX)?;
            self.check_body("customers.update-many", &body)?;
            let body: CustomerPatch = typed(&pointer, body)?;
            let expected = (&id, patch.expected_version);
            let change = customers::prepare_update(&self.core, &self.actor, expected, body, &pending).await;
            let change = change.map_err(|error| below(position, error))?;
            pending.note_customer(&change);
            changes.push(change);
        }
        changes.into_iter().for_each(|change| self.keep_customer(change));
        Ok(())
    }

    pub(super) async fn customers_set_fields(&mut self, values: Vec<FieldValue>) -> Answered<()> {
        self.enter(Grant::FieldsOwn, "customers.set-fields", Access::Write(values.len()), FIELDS_MAX)?;
        let mut set = Vec::with_capacity(values.len());
        for (position, value) in values.into_iter().enumerate() {
            let customer = customer_id(&value.customer)?;
            let scalar = value.value.map(scalar);
            if scalar.as_ref().is_some_and(|scalar| scalar.to_json().is_none()) {
                return Err(invalid(format!("/{position}/value"), "not_finite", "must be a finite number"));
            }
            set.push(SetField { customer, field: value.field, value: scalar });
        }
        let (plugin, pending) = (&self.enabled.plugin, &self.buffer.pending);
        let changes = fields::prepare_set_fields(&self.core, &self.actor, plugin, set, pending).await?;
        changes.into_iter().for_each(|change| self.keep_customer(change));
        Ok(())
    }

    /// Buffers a prepared change.
    fn keep_customer(&mut self, change: CustomerChange) {
        self.buffer.pending.note_customer(&change);
        self.buffer.changed_customers.insert(change.id().clone());
        self.buffer.customer_changes.push(change);
    }
}

fn entity(invocation: &Invocation, customer: &Customer) -> types::Entity {
    let body = shown(invocation, Grant::CustomersRead, &customer.to_json());
    types::Entity { id: customer.id.to_string(), version: customer.version, body }
}

pub(super) fn customer_id(text: &str) -> Answered<CustomerId> {
    text.parse().map_err(|_invalid| {
        let shown: String = text.chars().take(60).collect();
        types::Error::NotFound(format!("customer {shown}")).into()
    })
}

/// A document that must be of the host's type.
fn typed<T: DeserializeOwned>(pointer: &str, value: Value) -> Answered<T> {
    serde_json::from_value(value).map_err(|error| invalid(pointer, "invalid", error.to_string()))
}

/// Faults of one input among several.
pub(super) fn below(position: usize, error: Error) -> Error {
    let Error::Invalid { mut faults } = error else { return error };
    for fault in &mut faults {
        fault.pointer.insert_str(0, &format!("/{position}"));
    }
    Error::Invalid { faults }
}

fn scalar(value: types::Scalar) -> Scalar {
    match value {
        types::Scalar::Text(value) => Scalar::Text(value),
        types::Scalar::Integer(value) => Scalar::Integer(value),
        types::Scalar::Number(value) => Scalar::Number(value),
        types::Scalar::Boolean(value) => Scalar::Boolean(value),
        types::Scalar::Time(value) => Scalar::Time(Timestamp::from_micros(value)),
    }
}

fn conditions(model: &Model, told: &[types::Condition]) -> Answered<Vec<Condition>> {
    let mut conditions = Vec::with_capacity(told.len());
    for (position, one) in told.iter().enumerate() {
        let comparison = match one.comparison {
            types::Comparison::Equal => Comparison::Equal,
            types::Comparison::NotEqual => Comparison::NotEqual,
            types::Comparison::Less => Comparison::Less,
            types::Comparison::LessOrEqual => Comparison::LessOrEqual,
            types::Comparison::Greater => Comparison::Greater,
            types::Comparison::GreaterOrEqual => Comparison::GreaterOrEqual,
        };
        let condition = Condition::new(model, &one.field, comparison, scalar(one.value.clone()));
        let condition = condition
            .map_err(|(code, message)| invalid(format!("/conditions/{position}"), code.as_str(), message))?;
        conditions.push(condition);
    }
    Ok(conditions)
}

/// Whether a condition holds for a customer that is not in the database yet.
fn holds(condition: &Condition, customer: &Customer) -> bool {
    let text = |text: &str| Some(Scalar::Text(text.to_owned()));
    let value = match &condition.operand {
        Operand::Core(CoreField::LifecycleStage) => text(&customer.lifecycle_stage),
        Operand::Core(CoreField::Owner) => customer.owner_id.as_ref().and_then(|id| text(id.as_str())),
        Operand::Core(CoreField::OrgUnit) => customer.org_unit_id.as_ref().and_then(|id| text(id.as_str())),
        Operand::Core(CoreField::CreatedAt) => Some(Scalar::Time(customer.created_at)),
        Operand::Core(CoreField::UpdatedAt) => Some(Scalar::Time(customer.updated_at)),
        Operand::Field { namespace, name } => {
            let held = match namespace.as_str() {
                "" => customer.custom_fields.get(name),
                _ => customer.fields.get(&format!("{namespace}.{name}")),
            };
            held.and_then(|held| like(&condition.value, held))
        }
    };
    let order = value.as_ref().and_then(|value| value.compare(&condition.value));
    match condition.comparison {
        Comparison::Equal => order.is_some_and(|order| order.is_eq()),
        Comparison::NotEqual => order.is_none_or(|order| order.is_ne()),
        Comparison::Less => order.is_some_and(|order| order.is_lt()),
        Comparison::LessOrEqual => order.is_some_and(|order| order.is_le()),
        Comparison::Greater => order.is_some_and(|order| order.is_gt()),
        Comparison::GreaterOrEqual => order.is_some_and(|order| order.is_ge()),
    }
}

/// A field's JSON as a value of the condition's type.
fn like(model: &Scalar, held: &Value) -> Option<Scalar> {
    match model {
        Scalar::Text(_) => held.as_str().map(|held| Scalar::Text(held.to_owned())),
        Scalar::Integer(_) => held.as_i64().map(Scalar::Integer),
        Scalar::Number(_) => held.as_f64().map(Scalar::Number),
        Scalar::Boolean(_) => held.as_bool().map(Scalar::Boolean),
        Scalar::Time(_) => held.as_str().and_then(Timestamp::parse).map(Scalar::Time),
    }
}

/// The database's cursor and the last id that it is behind.
fn write_cursor(cursor: &str, last: &str) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::json!([cursor, last]).to_string())
}

fn read_cursor(text: &str) -> Answered<(String, String)> {
    let read = || serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok();
    read().ok_or_else(|| invalid("/cursor", "cursor", "this is no cursor of a query"))
}
