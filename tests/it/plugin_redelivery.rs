//! Everything is delivered thrice and in any order, as a transport may that promises at least once: what the
//! first-party plugin keeps is what one delivery in order leaves.

use std::collections::BTreeMap;

use hospes::clock::Timestamp;
use hospes::domain::event::Subject;
use hospes::domain::ids::EventId;
use hospes::ops::plugins::{PluginEvent, Plugins as _};
use hospes_tests::{TestApp, TestTenant, both_engines};
use serde_json::{Value, json};

use crate::plugin_rig::nothing;

const PLUGIN: &str = "retail-membership";
const BUYERS: usize = 6;
const ORDERS: usize = 5;
/// How often everything is delivered.
const TIMES: usize = 3;
/// How often the change feed is asked whether it shows everything, every few milliseconds.
const LOOKS_MAX: u32 = 500;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % most
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for place in (1..all.len()).rev() {
            all.swap(place, self.below(place + 1));
        }
    }
}

/// Orders of some customers, one of them refunded in part.
async fn trade(tenant: &TestTenant) {
    for buyer in 0..BUYERS {
        let customer = tenant.customer(&format!("Buyer {buyer}")).await.id;
        for number in 0..ORDERS {
            let total = json!({"amount_minor": 1_000 + 777 * number + 13 * buyer, "currency": "CNY"});
            let order = json!({
                "customer_id": customer, "channel": "store", "ordered_at": "2026-02-27T09:30:00Z",
                "status": "completed", "total": total,
            });
            let order = tenant.owner.post("/api/v1/orders", order).await.expect(201).body;
            if number == 2 {
                let refund = json!({"amount": {"amount_minor": 500, "currency": "CNY"}, "reason": "broken"});
                let refunds = format!("/api/v1/orders/{}/refunds", order["id"].as_str().unwrap());
                tenant.owner.post(&refunds, refund).await.expect(201);
            }
        }
    }
}

/// What has happened to orders, as the plugin is told of it, in the order in which it happened.
async fn history(tenant: &TestTenant) -> Vec<PluginEvent> {
    let wanted = BUYERS * (ORDERS + 1);
    for _ in 0..LOOKS_MAX {
        let page = tenant
            .owner
            .get("/api/v1/events?types=order.created,order.refunded&limit=200")
            .await
            .expect(200)
            .body;
        let items = page["items"].as_array().unwrap();
        if items.len() >= wanted {
            return items.iter().map(event).collect();
        }
        // What an older transaction of the cluster may precede is held back for a moment.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the feed does not show {wanted} events");
}

fn event(told: &Value) -> PluginEvent {
    let text = |name: &str| told[name].as_str().unwrap();
    PluginEvent {
        id: text("id").parse::<EventId>().unwrap(),
        name: text("type").to_owned(),
        subject: Subject::Order(told["data"]["id"].as_str().unwrap().parse().unwrap()),
        occurred_at: Timestamp::parse(text("time")).unwrap(),
        depth: 0,
        backfill: false,
        body: told["data"].clone(),
    }
}

/// Everything that the plugin keeps: the documents of its collections, and its fields on customers.
async fn kept(tenant: &TestTenant) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for name in ["members", "ledger"] {
        for row in tenant.owner.all(&format!("/api/v1/plugins/{PLUGIN}/collections/{name}")).await {
            all.insert(format!("{name}/{}", row["key"].as_str().unwrap()), row["body"].clone());
        }
    }
    for customer in tenant.owner.all("/api/v1/customers").await {
        all.insert(customer["id"].as_str().unwrap().to_owned(), customer["fields"].clone());
    }
    all
}

/// What people see of it: the plugin's fields of each customer, by name.
async fn seen(tenant: &TestTenant) -> BTreeMap<String, Value> {
    let customers = tenant.owner.all("/api/v1/customers").await.into_iter();
    customers.map(|one| (one["name"].as_str().unwrap().to_owned(), one["fields"].clone())).collect()
}

both_engines! {
    async fn what_is_delivered_thrice_and_in_disorder_has_its_effect_once(app: TestApp) {
        let bundled = hospes_bundle::PLUGINS.iter().find(|plugin| plugin.name == PLUGIN).unwrap();
        app.enable(bundled.component).await;
        let orderly = app.tenant("orderly").await;
        orderly.owner.post(&format!("/api/v1/plugins/{PLUGIN}/enablement"), json!({})).await.expect(201);
        for tenant in [&app.acme, &orderly] {
            trade(tenant).await;
        }
        // Here everything comes thrice and in any order, before it comes once as it happened.
        let events = history(&app.acme).await;
        let mut shuffled: Vec<PluginEvent> = (0..TIMES).flat_map(|_| events.iter().cloned()).collect();
        let mut dice = Dice(35);
        dice.shuffle(&mut shuffled);
        let mut rest = shuffled.as_slice();
        while !rest.is_empty() {
            let (batch, more) = rest.split_at((1 + dice.below(7)).min(rest.len()));
            app.plugins.deliver(app.acme.id(), PLUGIN, batch, nothing()).await.unwrap();
            rest = more;
        }
        let disordered = kept(&app.acme).await;
        assert!(disordered.len() > BUYERS, "it keeps something: {disordered:?}");
        assert_eq!(app.run_jobs().await.dispatch.failed, 0);
        assert_eq!(kept(&app.acme).await, disordered);

        // There it came once and in order, and nobody could tell the two apart.
        let once = seen(&orderly).await;
        assert!(once.len() == BUYERS && once.values().all(|fields| fields[format!("{PLUGIN}.points")].as_i64() > Some(0)), "{once:?}");
        assert_eq!(seen(&app.acme).await, once);
    }
}
