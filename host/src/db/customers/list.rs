//! The list of customers: filters, conditions and orders.

use super::CustomerRow;
use crate::db::field_values::{self, has_field, operator, typed};
use crate::db::filter::Select;
use crate::db::sort::{Key, Sort, sort};
use crate::db::{Tx, args};
use crate::domain::actor::Visibility;
use crate::domain::customer::{Customer, CustomerKind, contact_search_keys, search_key};
use crate::domain::ids::TenantId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::query::{Comparison, Condition, CoreField, CustomerFilter, CustomerSort, Operand};
use crate::error::Result;

/// One page of the visible customers that the filter holds for.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &TenantId,
    visibility: &Visibility,
    (filter, sort): (&CustomerFilter, CustomerSort),
    page: &PageRequest,
) -> Result<Page<Customer>> {
    let order = order(sort);
    let mut select = Select::new(
        concat!("SELECT ", columns!(), " FROM customers c WHERE c.deleted_at IS NULL AND c.tenant = ?"),
        args![tenant],
    );
    select.push_visible(visibility);
    push_filter(&mut select, filter);
    for condition in &filter.conditions {
        push_condition(&mut select, condition);
    }
    order.push(&mut select, page)?;
    let rows: Vec<CustomerRow> = select.fetch_all(tx).await?;
    Ok(order.page(page, rows.into_iter().map(Customer::from).collect(), |customer| customer.id.to_string()))
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
    let core = match operand {
        Operand::Core(core) => core,
        Operand::Field { namespace, name } => {
            let has = has_field!("c", "customer");
            return field_values::push_condition(select, has, (namespace, name), *comparison, value);
        }
    };
    let [text, integer, _number] = typed(value);
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
    if *comparison == Comparison::NotEqual {
        match core {
            CoreField::Owner => select.push(" OR c.owner_id IS NULL", Vec::new()),
            CoreField::OrgUnit => select.push(" OR c.org_unit_id IS NULL", Vec::new()),
            CoreField::LifecycleStage | CoreField::CreatedAt | CoreField::UpdatedAt => {}
        }
    }
    select.push(")", Vec::new());
}

const fn order(sort: CustomerSort) -> Sort<Customer> {
    const NAME: Key<Customer> = Key::Text(|customer| search_key(&customer.name));
    const UPDATED_AT: Key<Customer> = Key::Number(|customer| customer.updated_at.as_micros());
    const CREATED_AT: Key<Customer> = Key::Number(|customer| customer.created_at.as_micros());
    match sort {
        CustomerSort::Id => sort!("customers:id", Key::Id, "c.id"),
        CustomerSort::IdDescending => sort!("customers:-id", Key::Id, "c.id" DESC),
        CustomerSort::Name => sort!("customers:name", NAME, "c.search_key", "c.id"),
        CustomerSort::NameDescending => sort!("customers:-name", NAME, "c.search_key", "c.id" DESC),
        CustomerSort::UpdatedAt => sort!("customers:updated_at", UPDATED_AT, "c.updated_at", "c.id"),
        CustomerSort::UpdatedAtDescending => {
            sort!("customers:-updated_at", UPDATED_AT, "c.updated_at", "c.id" DESC)
        }
        CustomerSort::CreatedAt => sort!("customers:created_at", CREATED_AT, "c.created_at", "c.id"),
        CustomerSort::CreatedAtDescending => {
            sort!("customers:-created_at", CREATED_AT, "c.created_at", "c.id" DESC)
        }
    }
}
