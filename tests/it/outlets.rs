//! Everything that the API answers is looked through for values that its reader may not read: every `GET` that
//! the description has, answers to writes, errors, filters, conditions of scores, panels and the change feed.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use hospes::domain::permission::Role;
use hospes_tests::{Client, TestResponse, both_engines, guests};
use serde_json::{Value, json};

use crate::plugin_rig::Rig;

/// Values of the probe's field `margin`, which managers read, on a customer and on an order. The probe sets
/// the order's.
const CANARIES: [&str; 2] = ["918273645", "\"probe.margin\":7"];
/// Who sees every record, and not that field.
const READERS: [Role; 4] = [Role::Analyst, Role::Marketing, Role::Integration, Role::Auditor];
/// Operations of the description that a reader must at least be answered with good data.
const GOOD_MIN: usize = 8;

fn look_through(shown: &str, role: Role, what: &str) {
    for canary in CANARIES {
        assert!(!shown.contains(canary), "{role} is shown `{canary}` by {what}: {shown}");
    }
}

/// What to put into the path of an operation, by the segment before the parameter.
async fn ids(rig: &Rig) -> BTreeMap<String, String> {
    let mut ids = BTreeMap::new();
    for list in ["orders", "products", "users", "tokens", "org-units", "imports", "webhooks", "events"] {
        let page = rig.app.owner.get(&format!("/api/v1/{list}")).await.expect(200).body;
        if let Some(id) = page["items"][0]["id"].as_str() {
            ids.insert(list.to_owned(), id.to_owned());
        }
    }
    ids.insert("customers".to_owned(), rig.customer.to_string());
    ids.insert("plugins".to_owned(), "probe".to_owned());
    ids.insert("lanes".to_owned(), "plugin:probe".to_owned());
    ids.insert("collections".to_owned(), "seen".to_owned());
    ids
}

/// The path of an operation with an id in the place of every parameter.
fn filled(path: &str, ids: &BTreeMap<String, String>) -> String {
    let mut before = "";
    let segments = path.split('/').map(|segment| {
        let known = ids.get(before).map_or("unknown", String::as_str);
        before = segment;
        if segment.starts_with('{') { known } else { segment }
    });
    segments.collect::<Vec<_>>().join("/")
}

/// A record of each kind with a canary, and everything that tells of them.
async fn scene(rig: &Rig) -> String {
    let probe = rig.enable(guests::PROBE).await;
    rig.act(&probe, "label", json!({"label": "vip", "margin": 918_273_645})).await.unwrap();
    let order = json!({
        "customer_id": rig.customer, "channel": "label", "ordered_at": "2026-02-01T00:00:00Z",
        "total": {"amount_minor": 100, "currency": "CNY"},
    });
    let order = rig.app.owner.post("/api/v1/orders", order).await.expect(201).body;
    assert_eq!(order["fields"]["probe.margin"], 7);
    rig.app.run_jobs().await;
    // What an older transaction of the cluster may precede is held back for a moment.
    for _ in 0..500 {
        let feed = rig.app.owner.get("/api/v1/events").await.expect(200).body.to_string();
        if CANARIES.iter().all(|canary| feed.contains(canary)) {
            return order["id"].as_str().unwrap().to_owned();
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the owner is not shown the canaries, so that nobody's not being shown them says nothing");
}

/// The same answer but for what names the request.
fn without_request(answer: &TestResponse) -> (u16, Value) {
    let mut body = answer.body.clone();
    if let Some(members) = body.as_object_mut() {
        members.remove("request_id");
    }
    (answer.status.as_u16(), body)
}

/// Two thresholds between which the value lies: whoever is answered otherwise to one learns of it.
async fn halve(client: &Client, role: Role) {
    let mut answers = Vec::new();
    for threshold in ["111111111", "999999999"] {
        let mut told = Vec::new();
        for list in ["/api/v1/customers", "/api/v1/orders"] {
            for query in
                [format!("fields[probe.margin][gte]={threshold}"), "sort=fields.probe.margin".to_owned()]
            {
                let answer = client.get(&format!("{list}?{query}")).await;
                assert_eq!(answer.status.as_u16(), 400, "{role} {list}?{query}: {answer}");
                told.push(without_request(&answer));
            }
        }
        let condition =
            json!({"field": "probe.margin", "operator": "gte", "value": threshold.parse::<i64>().unwrap()});
        let scored =
            client.post("/api/v1/plugins/probe/scoring/engagement", json!({"conditions": [condition]})).await;
        assert!(scored.status.is_client_error(), "{role}: {scored}");
        told.push(without_request(&scored));
        told.iter().for_each(|(_, body)| look_through(&body.to_string(), role, "a filter"));
        // The threshold itself may be repeated, as the sender wrote it.
        answers.push(json!(told).to_string().replace(threshold, "THRESHOLD"));
    }
    assert_eq!(answers[0], answers[1], "{role} learns on which side of a threshold the value lies");
}

/// Answers to writes and to faulty writes.
async fn write(client: &Client, role: Role, paths: [&str; 2]) {
    for path in paths {
        let patches =
            [json!({"tags": ["seen"]}), json!({"fields": {"probe.margin": 1}}), json!({"fields": 7})];
        for patch in patches {
            let answer = client.patch(path, &patch).await;
            look_through(&answer.body.to_string(), role, &format!("PATCH {path} {patch}"));
        }
    }
}

both_engines! {
    async fn no_outlet_shows_a_field_to_whom_it_is_hidden(rig: Rig) {
        let order = scene(&rig).await;
        let ids = ids(&rig).await;
        let described = rig.app.owner.get("/api/v1/tenant/openapi.json").await.expect(200).body;
        let gets: Vec<(&String, &Value)> = described["paths"].as_object().unwrap().iter()
            .filter_map(|(path, item)| Some((path, item.get("get")?))).collect();
        assert!(gets.len() > 45, "{} operations", gets.len());
        let (customer, order) = (format!("/api/v1/customers/{}", rig.customer), format!("/api/v1/orders/{order}"));
        for role in READERS {
            let client = rig.app.acme.token(&[role]).await;
            let mut good = 0;
            for (path, operation) in &gets {
                let filled = filled(path, &ids);
                let request = client.get(&filled);
                let content = &operation["responses"]["200"]["content"];
                if content.get("text/event-stream").is_some() {
                    // A stream does not end: what it begins with is what there is.
                    let mut body = request.stream().await.into_body().into_data_stream();
                    let soon = std::time::Duration::from_millis(300);
                    while let Ok(Some(Ok(part))) = tokio::time::timeout(soon, body.next()).await {
                        look_through(&String::from_utf8_lossy(&part), role, &filled);
                    }
                    continue;
                }
                let answer = request.await;
                // Two of the probe's routes answer what none may.
                let is_badly_made = ["/x/teapot", "/x/liar", "/x/sneaky"].iter().any(|end| filled.ends_with(end));
                assert!(is_badly_made || answer.status.as_u16() < 500, "{role} {filled}: {answer}");
                good += usize::from(answer.status.is_success());
                look_through(&answer.body.to_string(), role, &filled);
            }
            assert!(good >= GOOD_MIN, "{role} is answered {good} operations");
            halve(&client, role).await;
            write(&client, role, [&customer, &order]).await;
        }
        // Whoever may read it is shown it.
        let admin = rig.app.acme.token(&[Role::Admin]).await;
        assert_eq!(admin.get(&customer).await.expect(200).body["fields"]["probe.margin"], 918_273_645);
        assert_eq!(admin.get(&order).await.expect(200).body["fields"]["probe.margin"], 7);
    }
}
