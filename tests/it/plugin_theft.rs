//! A plugin with good grants that takes all it can get: what leaves is bounded by the tenant's rate, and both
//! the tenant's administrator and whoever watches the server's metrics see it.

use std::collections::BTreeSet;
use std::time::Duration;

use hospes::metrics::{Metrics, PLUGIN_DENIALS};
use hospes::ops::plugins::usage;
use hospes_tests::{TestApp, both_engines, guests};
use serde_json::{Value, json};

use crate::plugin_oracles::Besieged;

/// Customers that there are to be taken, and how many the tenant lets the plugin read in an hour.
const CUSTOMERS: usize = 120;
const AN_HOUR: usize = 40;
/// Customers that the plugin asks for at once.
const AT_ONCE: usize = 7;

/// Whatever the plugin reads when it is told to read all of these, page by page.
async fn crawl(app: &TestApp, customers: &[String]) -> BTreeSet<String> {
    let press = format!("/api/v1/customers/{}/actions/spy/look", customers[0]);
    let mut left = BTreeSet::new();
    for some in customers.chunks(AT_ONCE) {
        let seen = app.owner.post(&press, json!({"customers": some, "orders": []})).await.expect(200).body;
        for way in ["customers", "customers_page"] {
            let records = seen["body"][way].as_array().into_iter().flatten();
            left.extend(records.filter_map(|record| record["id"].as_str().map(str::to_owned)));
        }
    }
    left
}

/// The events that say that a rate is used up, once there are as many as this.
async fn told(app: &TestApp, count: usize) -> Vec<Value> {
    // Other databases of the same cluster may hold the feed back for a moment.
    for _ in 0..500 {
        let page = app.owner.get("/api/v1/events?types=plugin.rate_reached").await.expect(200).body;
        let events = page["items"].as_array().unwrap();
        if events.len() >= count {
            return events.clone();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("fewer than {count} events are seen");
}

fn denials(plugin: &Value) -> i64 {
    let denials = plugin["denials"].as_array().into_iter().flatten();
    denials.filter(|one| one["grant"] == "customers:read").filter_map(|one| one["count"].as_i64()).sum()
}

/// What the metric of denials is at, over all tests of this process.
fn alerted() -> u64 {
    let text = Metrics::start().render();
    let series = format!("{PLUGIN_DENIALS}{{plugin=\"spy\",grant=\"customers:read\"}}");
    let lines = text.lines().filter_map(|line| line.strip_prefix(&series));
    lines.filter_map(|value| value.trim().parse::<u64>().ok()).sum()
}

both_engines! {
    async fn a_crawl_of_everything_stops_at_the_rate_and_is_seen(rig: Besieged) {
        let app = &rig.app;
        let mut customers = Vec::new();
        for number in 0..CUSTOMERS {
            customers.push(app.acme.customer(&format!("Ada {number}")).await.id.to_string());
        }
        app.enable(guests::SPY).await;
        let narrow = json!({"grants": [
            {"name": "customers:read", "parameters": {"classes": ["basic"], "rate": {"count": AN_HOUR, "per": "hour"}}},
        ]});
        app.owner.patch("/api/v1/plugins/spy/enablement", narrow).await.expect(200);
        let before = alerted();
        let first = crawl(app, &customers).await;
        assert!(!first.is_empty() && first.len() <= AN_HOUR, "{} have left", first.len());
        // To ask again, in whatever way, does not take more.
        let again = crawl(app, &customers).await;
        assert!(first.union(&again).count() <= AN_HOUR, "{} and {} have left", first.len(), again.len());
        // Whoever follows the events is told, and not again with every refusal.
        let [reached] = told(app, 1).await.try_into().unwrap();
        let data = &reached["data"];
        assert_eq!((&data["plugin"], &data["plugin_version"]), (&json!("spy"), &json!("1.0.0")), "{reached}");
        assert_eq!((&data["grant"], &data["rate"]), (&json!("customers:read"), &json!("40/hour")), "{reached}");
        app.clock.advance_seconds(61 * 60);
        let second = crawl(app, &customers[first.len()..]).await;
        assert!(!second.is_empty() && second.len() <= AN_HOUR, "{} have left", second.len());
        assert_eq!(told(app, 2).await.len(), 2, "the next hour is told of too");

        // The tenant's administrator sees that it was held up, and how much has left.
        let plugin = app.owner.get("/api/v1/plugins/spy").await.expect(200).body;
        assert!(denials(&plugin) > 20, "{}", plugin["denials"]);
        assert!(app.log("spy").await.iter().any(|line| line.contains("the rate of the grant `customers:read`")));
        usage::write_down(&app.core).await.unwrap();
        let used = app.owner.all("/api/v1/plugin-usage").await;
        let rows: usize = used.iter().filter(|row| row["plugin"] == "spy").filter_map(|row| row["rows_read"].as_u64()).sum::<u64>().try_into().unwrap();
        assert!(rows >= first.len() + second.len(), "{rows} rows are metered: {used:?}");
        // Whoever watches the server is told.
        assert!(alerted() >= before + 20, "{}", alerted());
    }
}
