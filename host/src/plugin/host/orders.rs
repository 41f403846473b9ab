//! `orders`: the tenant's orders, read only.

use std::collections::HashMap;

use hospes_bindings::hospes::plugin::orders::Search;
use hospes_bindings::hospes::plugin::types;

use super::customers::customer_id;
use super::{Access, Answered, Invocation, invalid, shown};
use crate::clock::Timestamp;
use crate::domain::grant::Grant;
use crate::domain::ids::OrderId;
use crate::domain::order::Order;
use crate::domain::page::PageRequest;
use crate::domain::query::{OrderFilter, OrderSort};
use crate::ops::orders;

const IDS_MAX: usize = 200;

impl Invocation {
    pub(super) async fn orders_get(&mut self, ids: Vec<String>) -> Answered<Vec<Option<types::Entity>>> {
        self.enter(Grant::OrdersRead, "orders.get-many", Access::Read(ids.len()), IDS_MAX)?;
        let ids: Vec<Option<OrderId>> = ids.iter().map(|id| id.parse().ok()).collect();
        let asked: Vec<OrderId> = ids.iter().flatten().cloned().collect();
        let mut found = HashMap::new();
        for order in orders::get_many(&self.core, &self.actor, &asked).await?.into_iter().flatten() {
            self.buffer.see_record("order", order.id.as_str(), order.version)?;
            found.insert(order.id.clone(), order);
        }
        let shown = |id: Option<OrderId>| found.get(&id?).map(|order| entity(self, order));
        Ok(ids.into_iter().map(shown).collect())
    }

    pub(super) async fn orders_query(&mut self, search: Search) -> Answered<types::EntityPage> {
        let limit = usize::try_from(search.limit).unwrap_or(usize::MAX);
        self.enter(Grant::OrdersRead, "orders.query", Access::Read(limit), IDS_MAX)?;
        if search.limit == 0 {
            return Err(invalid("/limit", "limit", format!("a page has 1 to {IDS_MAX} orders")));
        }
        let filter = OrderFilter {
            customer_id: Some(customer_id(&search.customer)?),
            since: search.since.map(Timestamp::from_micros),
            until: search.until.map(Timestamp::from_micros),
            ..OrderFilter::default()
        };
        let page = PageRequest::new(Some(search.limit), search.cursor);
        let page = orders::list(&self.core, &self.actor, (&filter, OrderSort::OrderedAt), &page).await?;
        let entities = page.items.iter().map(|order| entity(self, order)).collect();
        Ok(types::EntityPage { entities, cursor: page.next_cursor })
    }
}

fn entity(invocation: &Invocation, order: &Order) -> types::Entity {
    let body = shown(invocation, Grant::OrdersRead, &order.to_json());
    types::Entity { id: order.id.to_string(), version: order.version, body }
}
