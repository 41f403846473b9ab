//! A shop with one customer on the fake host.

use hospes_sdk::{Events, Jobs, Timestamp, Value, json, serde_json, testing};
use retail_membership::Membership;
use retail_membership::member::Member;

const MANIFEST: &str = include_str!("../../plugin.toml");

pub(crate) struct Shop;

impl Shop {
    pub(crate) fn open() -> Self {
        testing::start(MANIFEST);
        testing::put_customer(customer("cus_1"));
        testing::set_now(day("2025-01-01"));
        Self
    }

    /// Delivers orders in one batch at a day.
    pub(crate) fn deliver(&self, at: &str, orders: &[Value]) {
        testing::set_now(day(at));
        let event = |order: &Value| testing::event("evt", "order.updated", order).unwrap();
        let events = orders.iter().map(event).collect();
        testing::invoke(|| Membership::handle(events)).unwrap();
    }

    /// Runs the daily job to its end at a day.
    pub(crate) fn daily(&self, at: &str) {
        testing::set_now(day(at));
        let mut cursor = None;
        for _ in 0..100 {
            cursor = testing::invoke(|| Membership::run("daily", day(at), cursor.clone())).unwrap();
            if cursor.is_none() {
                return;
            }
        }
        panic!("the daily job does not end");
    }

    pub(crate) fn member(&self, customer: &str) -> Member {
        let found = testing::documents("members").remove(customer);
        serde_json::from_value(found.expect("a member")).unwrap()
    }

    /// A customer's ledger in the order of writing.
    pub(crate) fn ledger(&self, customer: &str) -> Vec<Value> {
        let mut entries: Vec<(u32, Value)> = testing::documents("ledger")
            .into_iter()
            .filter_map(|(key, entry)| {
                let rest = key.strip_prefix(customer)?.strip_prefix(':')?;
                Some((rest.split(':').next()?.parse().ok()?, entry))
            })
            .collect();
        entries.sort_by_key(|(number, _)| *number);
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    pub(crate) fn ledger_sum(&self, customer: &str, key: &str) -> i64 {
        let value = |entry: &Value| entry[key].as_i64().unwrap();
        self.ledger(customer).iter().map(value).sum()
    }
}

pub(crate) fn day(text: &str) -> Timestamp {
    format!("{text}T00:00:00Z").parse().unwrap()
}

pub(crate) fn customer(id: &str) -> Value {
    json!({
        "id": id, "version": 1, "kind": "person", "name": "Mei",
        "contact_points": [{ "kind": "email", "value": "mei@example.com", "primary": true }],
    })
}

pub(crate) fn order(id: &str, version: i64, at: &str, total: i64) -> Value {
    let money = json!({ "amount_minor": total, "currency": "USD" });
    json!({
        "id": id, "version": version, "customer_id": "cus_1", "status": "completed",
        "ordered_at": day(at), "total": money, "channel": "web",
        "refunded": { "amount_minor": 0, "currency": "USD" },
        "lines": [{ "sku": "s", "name": "n", "quantity": 1, "amount": money }],
    })
}
