//! Rows of a file as the inputs of the use cases that REST calls too.

use serde_json::{Map, Value};

use super::batch::Job;
use crate::domain::code::FaultCode;
use crate::domain::customer::{ContactKind, ContactPoint, CustomerKind, CustomerPatch, Identity};
use crate::domain::field::{FieldEntity, Model};
use crate::domain::import::RowFault;
use crate::domain::import::bound::Bound;
use crate::domain::import::lines::refuse_all;
use crate::domain::import::mapping::Unnamed;
use crate::domain::import::row::Row;
use crate::domain::money::Money;
use crate::domain::order::{CustomerRef, CustomerStub, NewLine, NewOrder, OrderStatus};
use crate::domain::patch::Patch;
use crate::domain::product::NewProduct;
use crate::domain::timeline::{Direction, NewBehaviour, NewInteraction};
use crate::error::{Error, Fault};
use crate::ops::customers::CustomerUpsert;

/// A row with its external id, or the rows of one order.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) row: Row,
    /// Further lines of an order.
    pub(super) others: Vec<Row>,
    pub(super) external_id: String,
}

impl Named {
    /// The rows of one order; nothing if there are none.
    pub(super) fn order(external_id: String, rows: Vec<Row>) -> Option<Self> {
        let mut rows = rows.into_iter();
        Some(Self { row: rows.next()?, others: rows.collect(), external_id })
    }

    /// How many rows it is.
    pub(super) fn len(&self) -> usize {
        1 + self.others.len()
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        std::iter::once(&self.row).chain(&self.others)
    }

    /// What is wrong with each of the rows, if this is wrong.
    pub(super) fn refuse(&self, faults: Vec<RowFault>) -> Vec<Vec<RowFault>> {
        refuse_all(self.rows().map(|row| row.line), vec![faults])
    }
}

fn owned(row: &Row, target: &str) -> Option<String> {
    row.text(target).map(str::to_owned)
}

/// The order that a row of `source` says there is.
pub(super) fn order(named: &Named, source: &str, model: &Model) -> Result<NewOrder, Vec<Fault>> {
    let row = &named.row;
    let total = row.money("total");
    Ok(NewOrder {
        customer_id: None,
        customer: Some(customer_ref(row, source)),
        source: Some(source.to_owned()),
        external_id: Some(named.external_id.clone()),
        status: Some(row.text("status").map_or(OrderStatus::Completed, OrderStatus::from_stored)),
        channel: owned(row, "channel").unwrap_or_default(),
        store: owned(row, "store"),
        ordered_at: row.time("ordered_at").unwrap_or_default(),
        total,
        lines: named.rows().filter_map(|row| line(row, total)).collect(),
        custom_fields: custom_fields(row, model, FieldEntity::Order)?,
    })
}

/// Who the row's customer is; created if the mapping says of what kind or name.
pub(super) fn customer_ref(row: &Row, source: &str) -> CustomerRef {
    let (kind, name) = (row.text("customer.kind"), owned(row, "customer.name"));
    let create = (kind.is_some() || name.is_some())
        .then(|| CustomerStub { kind: kind.map_or(CustomerKind::Person, CustomerKind::from_stored), name });
    CustomerRef {
        source: row.text("customer.source").unwrap_or(source).to_owned(),
        external_id: owned(row, "customer.external_id").unwrap_or_default(),
        create,
    }
}

fn line(row: &Row, total: Option<Money>) -> Option<NewLine> {
    Some(NewLine {
        sku: owned(row, "line.sku")?,
        name: owned(row, "line.name"),
        class: owned(row, "line.class"),
        quantity: row.integer("line.quantity").unwrap_or(1),
        unit_price: row.money("line.unit_price"),
        amount: row.money("line.amount").or(total)?,
    })
}

/// What a row of a job says of a customer. What it does not say stays as it is.
pub(super) fn customer(named: &Named, job: &Job<'_>, model: &Model) -> Result<CustomerUpsert, Vec<Fault>> {
    let row = &named.row;
    let mut points = Vec::new();
    for (target, kind) in [
        ("email", ContactKind::Email),
        ("phone", ContactKind::Phone),
        ("wechat", ContactKind::Wechat),
        ("address", ContactKind::Address),
    ] {
        if let Some(value) = owned(row, target) {
            points.push(ContactPoint { kind, value, primary: true });
        }
    }
    let tags = row.text("tags").unwrap_or_default().split([';', '；', '|']).map(str::trim);
    let tags: Vec<String> = tags.filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
    let mut patch = CustomerPatch {
        kind: Some(row.text("kind").map_or(CustomerKind::Person, CustomerKind::from_stored)),
        name: owned(row, "name"),
        lifecycle_stage: owned(row, "lifecycle_stage").map_or(Patch::Absent, Patch::Value),
        custom_fields: Patch::Value(custom_fields(row, model, FieldEntity::Customer)?),
        ..CustomerPatch::default()
    };
    let identity = Identity { source: job.source.to_owned(), external_id: named.external_id.clone() };
    let (mut added_contact_points, mut added_tags) = (Vec::new(), Vec::new());
    match job.bound.contact_points() {
        Unnamed::Merge => added_contact_points = points,
        Unnamed::Replace if points.is_empty() => {}
        Unnamed::Replace => patch.contact_points = Patch::Value(points),
    }
    match job.bound.tags() {
        Unnamed::Merge => added_tags = tags,
        Unnamed::Replace if tags.is_empty() => {}
        Unnamed::Replace => patch.tags = Patch::Value(tags),
    }
    Ok(CustomerUpsert { identity, patch, added_contact_points, added_tags })
}

fn custom_fields(row: &Row, model: &Model, entity: FieldEntity) -> Result<Map<String, Value>, Vec<Fault>> {
    let mut values = Map::new();
    let mut faults = Vec::new();
    for (name, text) in row.custom_fields() {
        let pointer = format!("/custom_fields/{name}");
        match model.field(entity, "", name).map(|field| field.read_text(text)) {
            Some(Ok(value)) => drop(values.insert(name.to_owned(), value.to_json().unwrap_or(Value::Null))),
            Some(Err((code, message))) => faults.push(Fault::new(pointer, code, message)),
            None => {
                faults.push(Fault::new(pointer, FaultCode::UnknownField, "no such custom field is defined"))
            }
        }
    }
    if faults.is_empty() { Ok(values) } else { Err(faults) }
}

/// The product that a row of `source` says there is.
pub(super) fn product(named: &Named, source: &str, model: &Model) -> Result<NewProduct, Vec<Fault>> {
    let row = &named.row;
    Ok(NewProduct {
        sku: owned(row, "sku").unwrap_or_default(),
        name: owned(row, "name").unwrap_or_default(),
        class: owned(row, "class"),
        price: row.money("price"),
        source: Some(source.to_owned()),
        external_id: Some(named.external_id.clone()),
        custom_fields: custom_fields(row, model, FieldEntity::Product)?,
    })
}

/// The contact that a row of `source` tells of.
pub(super) fn interaction(named: &Named, source: &str) -> NewInteraction {
    let row = &named.row;
    NewInteraction {
        occurred_at: row.time("occurred_at"),
        channel: owned(row, "channel").unwrap_or_default(),
        direction: row.text("direction").map_or(Direction::Inbound, Direction::from_stored),
        summary: owned(row, "summary").unwrap_or_default(),
        outcome: owned(row, "outcome"),
        agent_id: None,
        duration_s: row.integer("duration_s"),
        content: owned(row, "content"),
        details: Map::new(),
        source: Some(source.to_owned()),
        external_id: Some(named.external_id.clone()),
    }
}

/// What a row of `source` says that a customer did.
pub(super) fn behaviour(named: &Named, source: &str) -> NewBehaviour {
    let row = &named.row;
    NewBehaviour {
        kind: owned(row, "type").unwrap_or_default(),
        occurred_at: row.time("occurred_at"),
        object: owned(row, "object"),
        device: owned(row, "device"),
        channel: owned(row, "channel"),
        summary: owned(row, "summary").unwrap_or_default(),
        details: Map::new(),
        source: Some(source.to_owned()),
        external_id: Some(named.external_id.clone()),
    }
}

/// What a use case has refused, as faults of its rows; `None` if it is not about them.
pub(super) fn refusal(error: &Error, named: &Named, bound: &Bound) -> Option<Vec<Vec<RowFault>>> {
    let line = named.row.line;
    let faults = match error {
        Error::Invalid { faults } => faults.iter().map(|fault| row_fault(fault, named, bound)).collect(),
        Error::PluginRejected { faults, .. } => {
            let mut all = vec![RowFault::of_refusal(line, error)];
            all.extend(faults.iter().map(|fault| row_fault(fault, named, bound)));
            all
        }
        Error::PluginFailed { .. }
        | Error::NotFound { .. }
        | Error::Conflict { .. }
        | Error::Refused { .. } => vec![RowFault::of_refusal(line, error)],
        Error::VersionMismatch { .. }
        | Error::Unauthenticated(_)
        | Error::Forbidden(_)
        | Error::Gone { .. }
        | Error::Limit { .. }
        | Error::Unavailable(_)
        | Error::Internal(_) => return None,
    };
    Some(named.refuse(faults))
}

/// A fault of an input as one of the row that it was made from: `/lines/2/amount` is the third row's `line.amount`.
pub(super) fn row_fault(fault: &Fault, named: &Named, bound: &Bound) -> RowFault {
    let mut path = fault.pointer.trim_start_matches('/').replace('/', ".");
    let mut row = &named.row;
    let of_line = path.strip_prefix("lines.").map(|rest| rest.split_once('.').unwrap_or((rest, "")));
    if let Some((index, rest)) = of_line
        && let Some(found) = index.parse().ok().and_then(|index: usize| named.rows().nth(index))
    {
        row = found;
        path = format!("line.{rest}");
    }
    let mut target = path.as_str();
    let column = loop {
        if let Some(column) = bound.column_of(target) {
            break Some(column);
        }
        match target.rsplit_once('.') {
            Some((shorter, _)) => target = shorter,
            None => break None,
        }
    };
    let found = RowFault::of_fault(row.line, fault, &path);
    match column {
        Some(column) => found.in_column(column),
        None => found,
    }
}
