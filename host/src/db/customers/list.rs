//! The list of customers: filters, conditions and orders.

use super::{CustomerRow, typed};
use crate::db::filter::Select;
use crate::db::{Arg, Tx, args};
use crate::domain::actor::Visibility;
use crate::domain::customer::{Customer, CustomerKind, contact_search_keys, search_key};
use crate::domain::field::Scalar;
use crate::domain::ids::TenantId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::query::{
    Comparison, Condition, CoreField, CustomerFilter, CustomerSort, Operand, Position,
};
use crate::error::Result;

/// One page of the visible customers that the filter holds for.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &TenantId,
    visibility: &Visibility,
    (filter, sort): (&CustomerFilter, CustomerSort),
    page: &PageRequest,
) -> Result<Page<Customer>> {
    let order = Order::of(sort);
    let position = Position::of(page, order.list)?;
    let mut select = Select::new(
        concat!("SELECT ", columns!(), " FROM customers c WHERE c.deleted_at IS NULL AND c.tenant = ?"),
        args![tenant],
    );
    select.push_visible(visibility);
    push_filter(&mut select, filter);
    for condition in &filter.conditions {
        push_condition(&mut select, condition);
    }
    if let Some(Position { text, number, id, .. }) = position {
        let key = match order.key {
            Key::Id => None,
            Key::Name => Some(Arg::from(text.unwrap_or_default())),
            Key::CreatedAt | Key::UpdatedAt => Some(Arg::from(number.unwrap_or_default())),
        };
        select.push(order.after, key.into_iter().chain([Arg::from(id)]).collect());
    }
    select.push(order.by, args![page.fetch()]);
    let rows: Vec<CustomerRow> = select.fetch_all(tx).await?;
    let rows = rows.into_iter().map(Customer::from).collect();
    Ok(Page::of(page, rows, |customer: &Customer| order.position(customer)))
}

fn push_filter(select: &mut Select, filter: &CustomerFilter) {
    let CustomerFilter {
        name_prefix,
        tag,
        kind,
        lifecycle_stage,
        owner_id,
        org_unit_id,
        contact,
        identity,
        conditions: _,
    } = filter;
    if let Some(prefix) = name_prefix {
        select.push_prefix(" AND c.search_key >= ? AND c.search_key < ?", &search_key(prefix));
    }
    select.push_some(
        " AND EXISTS (SELECT 1 FROM customer_tags t WHERE t.tenant = c.tenant AND t.tag = ? AND t.customer_id = c.id)",
        tag.as_deref(),
    );
    select.push_some(" AND c.kind = ?", kind.map(CustomerKind::as_str));
    select.push_some(" AND c.lifecycle_stage = ?", lifecycle_stage.as_deref());
    select.push_some(" AND c.owner_id = ?", owner_id.as_ref());
    select.push_some(" AND c.org_unit_id = ?", org_unit_id.as_ref());
    if let Some(contact) = contact {
        let [text, digits] = contact_search_keys(contact);
        select.push(
            " AND EXISTS (
                SELECT 1 FROM contact_points p
                WHERE p.tenant = c.tenant AND p.customer_id = c.id
                  AND (p.search_value = ? OR (p.kind = 'phone' AND p.search_value = ?)))",
            args![text, digits],
        );
    }
    if let Some((source, external_id)) = identity {
        select.push(
            " AND c.id = (
                SELECT i.customer_id FROM identities i
                WHERE i.tenant = c.tenant AND i.source = ? AND i.external_id = ?)",
            args![source, external_id],
        );
    }
}

fn push_condition(select: &mut Select, condition: &Condition) {
    let Condition { operand, comparison, value } = condition;
    let [text, integer, number] = typed(value);
    match operand {
        Operand::Core(core) => {
            let (column, value) = match core {
                CoreField::LifecycleStage => (" AND (c.lifecycle_stage", text),
                CoreField::Owner => (" AND (c.owner_id", text),
                CoreField::OrgUnit => (" AND (c.org_unit_id", text),
                CoreField::CreatedAt => (" AND (c.created_at", integer),
                CoreField::UpdatedAt => (" AND (c.updated_at", integer),
            };
            select.push(column, Vec::new());
            select.push(operator(*comparison), vec![value]);
            // Without a value is another value.
            let nullable = matches!(core, CoreField::Owner | CoreField::OrgUnit);
            if nullable && *comparison == Comparison::NotEqual {
                select.push(
                    if *core == CoreField::Owner {
                        " OR c.owner_id IS NULL"
                    } else {
                        " OR c.org_unit_id IS NULL"
                    },
                    Vec::new(),
                );
            }
            select.push(")", Vec::new());
        }
        Operand::Field { namespace, name } => {
            let is_negated = *comparison == Comparison::NotEqual;
            select.push(if is_negated { " AND NOT" } else { " AND" }, Vec::new());
            select.push(
                " EXISTS (SELECT 1 FROM field_values v
                    WHERE v.tenant = c.tenant AND v.entity = 'customer' AND v.record_id = c.id
                      AND v.namespace = ? AND v.name = ? AND ",
                args![namespace, name],
            );
            let (column, value) = match value {
                Scalar::Text(_) => ("v.text_value", text),
                Scalar::Integer(_) | Scalar::Boolean(_) | Scalar::Time(_) => ("v.integer_value", integer),
                Scalar::Number(_) => ("v.number_value", number),
            };
            select.push(column, Vec::new());
            let comparison = if is_negated { Comparison::Equal } else { *comparison };
            select.push(operator(comparison), vec![value]);
            select.push(")", Vec::new());
        }
    }
}

const fn operator(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => " = ?",
        Comparison::NotEqual => " <> ?",
        Comparison::Less => " < ?",
        Comparison::LessOrEqual => " <= ?",
        Comparison::Greater => " > ?",
        Comparison::GreaterOrEqual => " >= ?",
    }
}

#[derive(Clone, Copy)]
enum Key {
    Id,
    Name,
    CreatedAt,
    UpdatedAt,
}

/// An order of the list: its name in cursors, where a page goes on, and the clause itself.
struct Order {
    list: &'static str,
    key: Key,
    after: &'static str,
    by: &'static str,
}

macro_rules! order {
    ($list:literal, $key:ident) => {
        Order {
            list: concat!("customers:", $list),
            key: Key::$key,
            after: " AND c.id > ?",
            by: " ORDER BY c.id LIMIT ?",
        }
    };
    ($list:literal, $key:ident DESC) => {
        Order {
            list: concat!("customers:", $list),
            key: Key::$key,
            after: " AND c.id < ?",
            by: " ORDER BY c.id DESC LIMIT ?",
        }
    };
    ($list:literal, $key:ident, $column:literal) => {
        Order {
            list: concat!("customers:", $list),
            key: Key::$key,
            after: concat!(" AND (", $column, ", c.id) > (?, ?)"),
            by: concat!(" ORDER BY ", $column, ", c.id LIMIT ?"),
        }
    };
    ($list:literal, $key:ident, $column:literal DESC) => {
        Order {
            list: concat!("customers:", $list),
            key: Key::$key,
            after: concat!(" AND (", $column, ", c.id) < (?, ?)"),
            by: concat!(" ORDER BY ", $column, " DESC, c.id DESC LIMIT ?"),
        }
    };
}

impl Order {
    const fn of(sort: CustomerSort) -> Self {
        match sort {
            CustomerSort::Id => order!("id", Id),
            CustomerSort::IdDescending => order!("-id", Id DESC),
            CustomerSort::Name => order!("name", Name, "c.search_key"),
            CustomerSort::NameDescending => order!("-name", Name, "c.search_key" DESC),
            CustomerSort::UpdatedAt => order!("updated_at", UpdatedAt, "c.updated_at"),
            CustomerSort::UpdatedAtDescending => order!("-updated_at", UpdatedAt, "c.updated_at" DESC),
            CustomerSort::CreatedAt => order!("created_at", CreatedAt, "c.created_at"),
            CustomerSort::CreatedAtDescending => order!("-created_at", CreatedAt, "c.created_at" DESC),
        }
    }

    fn position(&self, customer: &Customer) -> Position {
        let (text, number) = match self.key {
            Key::Id => (None, None),
            Key::Name => (Some(search_key(&customer.name)), None),
            Key::CreatedAt => (None, Some(customer.created_at.as_micros())),
            Key::UpdatedAt => (None, Some(customer.updated_at.as_micros())),
        };
        Position { list: self.list.to_owned(), text, number, id: customer.id.to_string() }
    }
}
