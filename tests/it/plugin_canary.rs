//! A newer version of a plugin for a part of the records: who meets it, what ends it, and that nobody else
//! is touched.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::http::Method;
use hospes::domain::canary::Share;
use hospes::domain::permission::Role;
use hospes::ops::plugins::{canary, packages, trust, usage};
use hospes_tests::{Client, Engine, Harness as _, TestApp, TestResponse, both_engines, guests};
use serde_json::{Value, json};

const PROBE: &str = "/api/v1/plugins/probe";
const HOSTILE: &str = "/api/v1/plugins/hostile";
/// Settings with which the newer version of the probe has nothing to migrate.
const SETTLED: &str = "nothing to migrate";
/// How soon a server follows what another has changed.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(5);
/// How often it is asked whether it has.
const LOOK: Duration = Duration::from_millis(50);

fn newer(component: &[u8]) -> Vec<u8> {
    guests::edited(component, "version = \"1.0.0\"", "version = \"1.1.0\"")
}

/// The probe at 1.0.0, and 1.1.0 installed.
async fn probe(app: &TestApp) {
    app.enable(guests::PROBE).await;
    packages::install(&app.core, newer(guests::PROBE)).await.unwrap();
}

/// The same of the guest whose newer version traps where it is told to.
async fn hostile(app: &TestApp) {
    app.enable(guests::HOSTILE).await;
    packages::install(&app.core, newer(guests::HOSTILE)).await.unwrap();
}

async fn start(app: &TestApp, plugin: &str, share: Value) -> TestResponse {
    let mut new = share;
    if plugin == PROBE {
        new["settings"] = json!({"greeting": SETTLED});
    }
    app.owner.post(&format!("{plugin}/canary"), new).await
}

async fn customers(app: &TestApp, count: usize, name: &str) -> Vec<String> {
    let mut ids = Vec::with_capacity(count);
    for _ in 0..count {
        ids.push(app.acme.customer(name).await.id.to_string());
    }
    ids
}

/// Which version of the probe a customer meets.
async fn met(client: &Client, customer: &str) -> String {
    let echo = format!("/api/v1/customers/{customer}/actions/probe/echo");
    let answer = client.post(&echo, json!({})).await.expect(200);
    answer.body["body"]["version"].as_str().unwrap().to_owned()
}

async fn versions(app: &TestApp, customers: &[String]) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    for customer in customers {
        versions.insert(customer.clone(), met(&app.owner, customer).await);
    }
    versions
}

fn on_new(versions: &BTreeMap<String, String>) -> Vec<&String> {
    versions.iter().filter(|(_, version)| *version == "1.1.0").map(|(customer, _)| customer).collect()
}

async fn shown(app: &TestApp, plugin: &str) -> Value {
    canary::write_down(&app.core).await.unwrap();
    app.owner.get(&format!("{plugin}/canary")).await.expect(200).body
}

/// How often each action stands in the audit.
async fn audited(app: &TestApp, action: &str) -> Vec<Value> {
    let mut lines = app.owner.all("/api/v1/audit?entity=plugin").await;
    lines.retain(|line| line["action"] == action);
    lines
}

/// What the plugin scores these customers, in their order.
async fn scores(app: &TestApp, scoring: &str, customers: &[String]) -> Vec<Value> {
    let path = format!("{HOSTILE}/scoring/{scoring}");
    let scored = app.owner.post(&path, json!({"customer_ids": customers})).await.expect(200).body;
    let items = scored["items"].as_array().unwrap();
    assert!(
        items.iter().zip(customers).all(|(item, customer)| item["customer_id"] == **customer),
        "{scored}"
    );
    items.iter().map(|item| item["score"].clone()).collect()
}

/// Which version answers a request about `what`.
async fn asked(client: &Client, what: &str) -> String {
    let answer = client.request(Method::POST, &format!("{HOSTILE}/x/answer/{what}")).await.expect(200);
    answer.body.as_str().unwrap().to_owned()
}

async fn rename(app: &TestApp, customer: &str, name: &str) -> TestResponse {
    app.owner.patch(&format!("/api/v1/customers/{customer}"), json!({"name": name})).await
}

fn is_taken(customer: &str, percent: u32) -> bool {
    Share::Percent(percent).takes("hostile", customer, None)
}

/// Of whom the plugin has kept a document.
async fn kept(app: &TestApp) -> Vec<String> {
    let rows = app.owner.all(&format!("{HOSTILE}/collections/junk")).await;
    let mut ids: Vec<String> =
        rows.iter().map(|row| row["subject_id"].as_str().unwrap_or_default().to_owned()).collect();
    ids.sort();
    ids.dedup();
    ids
}

both_engines! {
    async fn a_part_of_the_customers_meets_the_new_version_and_goes_on_to_while_the_part_grows(app: TestApp) {
        probe(&app).await;
        let ids = customers(&app, 60, "Ada").await;
        assert!(on_new(&versions(&app, &ids).await).is_empty());
        let started = start(&app, PROBE, json!({"percent": 30})).await.expect(201).body;
        assert_eq!((&started["state"], &started["percent"], &started["org_units"]), (&json!("running"), &json!(30), &Value::Null));
        assert_eq!((&started["live"]["version"], &started["canary"]["version"]), (&json!("1.0.0"), &json!("1.1.0")));

        let first = versions(&app, &ids).await;
        let taken = on_new(&first);
        assert!((6..=30).contains(&taken.len()), "{} of 60 for 30 %", taken.len());
        assert_eq!(first, versions(&app, &ids).await, "nobody changes sides");
        app.owner.patch(&format!("{PROBE}/canary"), json!({"percent": 70})).await.expect(200);
        let second = versions(&app, &ids).await;
        let more = on_new(&second);
        assert!((30..=54).contains(&more.len()), "{} of 60 for 70 %", more.len());
        assert!(taken.iter().all(|customer| more.contains(customer)), "whoever has met it goes on to");

        // What they have done is shown side by side, and all of it counts.
        let view = shown(&app, PROBE).await;
        let runs = [&view["live"], &view["canary"]].map(|side| side["runs"].as_u64().unwrap());
        assert_eq!(runs.iter().sum::<u64>(), 180);
        assert_eq!(runs[1], u64::try_from(2 * taken.len() + more.len()).unwrap());
        // So is what each version has used; the enabled one was met by all before.
        usage::write_down(&app.core).await.unwrap();
        let used = app.owner.all("/api/v1/plugin-usage").await;
        let calls = ["1.0.0", "1.1.0"].map(|version| {
            let is_its = |row: &&Value| row["plugin_version"] == version && row["point"] == "actions";
            used.iter().filter(is_its).map(|row| row["calls"].as_u64().unwrap()).sum::<u64>()
        });
        assert_eq!(calls, [runs[0] + 60, runs[1]]);
        for side in [&view["live"], &view["canary"]] {
            assert!(side["fuel"].as_u64().unwrap() > 0 && side["failures"] == 0, "{view}");
            let [half, most] = ["p50_us", "p99_us"].map(|name| side[name].as_u64().unwrap());
            assert!(0 < half && half <= most, "{view}");
        }
        // Both write the same documents.
        let id = more.first().unwrap();
        let add = format!("/api/v1/customers/{id}/actions/probe/add");
        app.owner.post(&add, json!({"amount": 5})).await.expect(200);
        app.owner.delete(&format!("{PROBE}/canary")).await.expect(200);
        assert_eq!(met(&app.owner, id).await, "1.0.0");
        assert_eq!(app.owner.post(&add, json!({"amount": 1})).await.expect(200).body["body"]["amount"], 6);
        assert_eq!(audited(&app, "plugin.canary_start").await.len(), 1);
        assert_eq!(audited(&app, "plugin.canary_share").await[0]["changes"]["share"], json!({"percent": 70}));
        assert_eq!(audited(&app, "plugin.canary_abort").await.len(), 1);
    }

    async fn the_customers_of_an_org_unit_and_of_those_below_it_meet_the_new_version(app: TestApp) {
        probe(&app).await;
        let unit = async |name: &str, above: Option<&str>| {
            let new = json!({"kind": "region", "name": name, "parent_id": above});
            let made = app.owner.post("/api/v1/org-units", new).await.expect(201);
            made.body["id"].as_str().unwrap().to_owned()
        };
        let (north, south) = (unit("north", None).await, unit("south", None).await);
        let store = unit("store", Some(&north)).await;
        let customer = async |unit: Option<&str>| {
            let new = json!({"kind": "person", "name": "Ada", "org_unit_id": unit});
            let made = app.owner.post("/api/v1/customers", new).await.expect(201);
            made.body["id"].as_str().unwrap().to_owned()
        };
        let (near, far) = (customer(Some(&store)).await, customer(Some(&south)).await);
        let nobodys = customer(None).await;
        start(&app, PROBE, json!({"org_units": [north]})).await.expect(201);
        for (customer, version) in [(&near, "1.1.0"), (&far, "1.0.0"), (&nobodys, "1.0.0")] {
            assert_eq!(met(&app.owner, customer).await, version);
        }
        // An order goes with its customer, as do the events about it.
        let total = json!({"amount_minor": 500, "currency": "CNY"});
        let order = json!({"customer_id": near, "channel": "store", "ordered_at": "2026-02-27T09:30:00Z", "total": total});
        let order = app.owner.post("/api/v1/orders", order).await.expect(201);
        let echo = format!("/api/v1/orders/{}/actions/probe/echo-order", order.body["id"].as_str().unwrap());
        let echo = app.owner.post(&echo, json!({})).await.expect(200);
        assert_eq!(echo.body["body"]["version"], "1.1.0");
        let before = shown(&app, PROBE).await["canary"]["runs"].as_u64().unwrap();
        app.run_jobs().await;
        assert!(shown(&app, PROBE).await["canary"]["runs"].as_u64().unwrap() > before, "its events too");
        // Who moves changes sides.
        app.owner.patch(&format!("/api/v1/customers/{near}"), json!({"org_unit_id": south})).await.expect(200);
        assert_eq!(met(&app.owner, &near).await, "1.0.0");
    }

    async fn a_score_and_a_request_about_a_customer_go_with_the_customer(app: TestApp) {
        hostile(&app).await;
        let ids = customers(&app, 30, "Ada").await;
        assert_eq!(scores(&app, "version", &ids).await, vec![json!(0.0); 30]);
        start(&app, HOSTILE, json!({"percent": 40})).await.expect(201);
        let expected: Vec<Value> = ids.iter().map(|id| json!(if is_taken(id, 40) { 1.0 } else { 0.0 })).collect();
        assert!(expected.contains(&json!(1.0)) && expected.contains(&json!(0.0)));
        assert_eq!(scores(&app, "version", &ids).await, expected, "in the order in which they were named");
        for id in &ids {
            let version = if is_taken(id, 40) { "1.1.0" } else { "1.0.0" };
            assert_eq!(asked(&app.owner, id).await, version, "{id}");
        }
        // An order goes with its customer.
        let total = json!({"amount_minor": 500, "currency": "CNY"});
        for taken in [true, false] {
            let customer = ids.iter().find(|id| is_taken(id, 40) == taken).unwrap();
            let order = json!({"customer_id": customer, "channel": "store", "ordered_at": "2026-02-27T09:30:00Z", "total": total});
            let order = app.owner.post("/api/v1/orders", order).await.expect(201);
            let version = asked(&app.owner, order.body["id"].as_str().unwrap()).await;
            assert_eq!(version, if taken { "1.1.0" } else { "1.0.0" });
        }
        let view = shown(&app, HOSTILE).await;
        let taken = ids.iter().filter(|id| is_taken(id, 40)).count();
        let runs = |side: &str| view[side]["runs"].as_u64().unwrap();
        // One page of scores, a request about each customer and one about an order.
        assert_eq!((runs("canary"), runs("live")), (taken as u64 + 2, (30 - taken) as u64 + 2), "{view}");
        assert_eq!(view["canary"]["failures"], 0, "{view}");
        // After the end everything is as it was.
        app.owner.delete(&format!("{HOSTILE}/canary")).await.expect(200);
        assert_eq!(scores(&app, "version", &ids).await, vec![json!(0.0); 30]);
    }

    async fn a_request_about_no_customer_goes_with_whoever_sends_it(app: TestApp) {
        hostile(&app).await;
        let unit = async |name: &str, above: Option<&Value>| {
            let new = json!({"kind": "region", "name": name, "parent_id": above});
            app.owner.post("/api/v1/org-units", new).await.expect(201).body["id"].clone()
        };
        let north = unit("north", None).await;
        let (store, south) = (unit("store", Some(&north)).await, unit("south", None).await);
        let mut people = Vec::new();
        for (login, unit) in [("near", &store), ("far", &south)] {
            let user = app.acme.user(login, &[Role::Manager]).await;
            app.owner.patch(&format!("/api/v1/users/{}", user.id), json!({"org_unit_id": unit})).await.expect(200);
            people.push(app.acme.sign_in(login).await);
        }
        start(&app, HOSTILE, json!({"org_units": [north]})).await.expect(201);
        assert_eq!(asked(&people[0], "who").await, "1.1.0");
        assert_eq!(asked(&people[1], "who").await, "1.0.0");
        assert_eq!(asked(&app.owner, "who").await, "1.0.0", "who belongs nowhere is in no unit");

        // By percentage, everybody meets one version, again and again.
        let mut versions = Vec::new();
        app.owner.patch(&format!("{HOSTILE}/canary"), json!({"percent": 50})).await.expect(200);
        for _ in 0..16 {
            let token = app.acme.token(&[Role::Manager]).await;
            let first = asked(&token, "who").await;
            assert_eq!(asked(&token, "who").await, first);
            versions.push(first);
        }
        assert!(["1.0.0", "1.1.0"].iter().all(|version| versions.iter().any(|met| met == version)), "{versions:?}");
    }

    async fn a_scoring_that_fails_in_the_canary_costs_nobody_a_score_and_ends_it(app: TestApp) {
        hostile(&app).await;
        let ids = customers(&app, 20, "Ada").await;
        start(&app, HOSTILE, json!({"percent": 50})).await.expect(201);
        for _ in 0..5 {
            assert_eq!(scores(&app, "traps-when-new", &ids).await, vec![json!(0.0); 20]);
        }
        let view = shown(&app, HOSTILE).await;
        assert_eq!((&view["state"], &view["ended_because"]), (&json!("ended"), &json!("breaker")), "{view}");
        assert_eq!((&view["live"]["failures"], &view["canary"]["failures"]), (&json!(0), &json!(5)), "{view}");
        // Of a request that may write, who asked learns of the failure, as of any other.
        start(&app, HOSTILE, json!({"percent": 99})).await.expect(201);
        let mut failed = 0;
        for _ in 0..20 {
            let token = app.acme.token(&[Role::Manager]).await;
            let answer = token.request(Method::POST, &format!("{HOSTILE}/x/answer/traps-when-new")).await;
            failed += u32::from(answer.code().1 == "plugin_failed");
        }
        assert_eq!(failed, 5, "then it has ended");
        assert_eq!(shown(&app, HOSTILE).await["ended_because"], "breaker");
    }

    async fn a_version_that_fails_at_events_stops_itself_and_nobody_else_is_touched(app: TestApp) {
        hostile(&app).await;
        let ids = customers(&app, 30, "hostile: event traps when new").await;
        start(&app, HOSTILE, json!({"percent": 50})).await.expect(201);
        let mut others: Vec<String> = ids.iter().filter(|id| !is_taken(id, 50)).cloned().collect();
        others.sort();
        assert!(others.len() > 5 && ids.len() - others.len() > 5, "{} are not taken", others.len());
        let done = app.run_jobs().await;
        assert!(done.dispatch.failed > 0 && done.dispatch.dead == 0, "{done:?}");
        let first = kept(&app).await;
        assert!(others.iter().all(|id| first.contains(id)), "whoever is not taken was handled at once");

        let view = shown(&app, HOSTILE).await;
        assert_eq!((&view["state"], &view["ended_because"]), (&json!("ended"), &json!("breaker")), "{view}");
        assert!(view["last_error"].as_str().unwrap().contains("trap"), "{view}");
        assert_eq!((&view["live"]["failures"], &view["canary"]["failures"]), (&json!(0), &json!(5)), "{view}");
        let stops = audited(&app, "plugin.canary_stop").await;
        assert_eq!(stops.len(), 1);
        assert_eq!((&stops[0]["actor_kind"], &stops[0]["changes"]["because"]), (&json!("server"), &json!("breaker")));
        // What had failed is handled by the enabled version; nothing is lost.
        for _ in 0..3 {
            app.clock.advance_seconds(3_600);
            app.run_jobs().await;
        }
        let mut all = ids.clone();
        all.sort();
        assert_eq!(kept(&app).await, all);
        assert_eq!(app.owner.get(&format!("{HOSTILE}/enablement")).await.body["plugin_version"], "1.0.0");
    }

    async fn a_version_that_fails_too_often_stops_itself(app: TestApp) {
        hostile(&app).await;
        let ids = customers(&app, 40, "Ada").await;
        start(&app, HOSTILE, json!({"percent": 50})).await.expect(201);
        let taken: Vec<&String> = ids.iter().filter(|id| is_taken(id, 50)).collect();
        let mut outcomes = Vec::new();
        for number in 0..21 {
            let name = if number % 7 == 6 { "hostile: hook traps when new".to_owned() } else { format!("Bea {number}") };
            let customer = taken[number % taken.len()];
            outcomes.push(rename(&app, customer, &name).await.status.as_u16());
            if number < 20 {
                assert_eq!(app.owner.get(&format!("{HOSTILE}/canary")).await.body["state"], "running", "{number}");
            }
        }
        assert_eq!(outcomes.iter().filter(|status| **status != 200).count(), 3, "{outcomes:?}");
        let view = shown(&app, HOSTILE).await;
        assert_eq!((&view["state"], &view["ended_because"]), (&json!("ended"), &json!("failures")), "{view}");
        assert_eq!((&view["canary"]["runs"], &view["canary"]["failures"]), (&json!(21), &json!(3)));
        rename(&app, taken[0], "hostile: hook traps when new").await.expect(200);
    }

    async fn a_freeze_holds_up_everything_but_the_way_back(app: TestApp) {
        probe(&app).await;
        let freeze = async |is_on: bool| {
            let time = json!({"starts_at": "2026-02-01T00:00:00Z", "ends_at": "2026-04-01T00:00:00Z", "reason": "sale"});
            let times = if is_on { json!([time]) } else { json!([]) };
            app.owner.request(Method::PUT, "/api/v1/upgrade-freezes").json(json!({"freezes": times})).await.expect(200);
        };
        freeze(true).await;
        assert_eq!(start(&app, PROBE, json!({"percent": 10})).await.code(), (403, "upgrade_frozen"));
        freeze(false).await;
        start(&app, PROBE, json!({"percent": 10})).await.expect(201);
        assert_eq!(start(&app, PROBE, json!({"percent": 10})).await.code(), (409, "canary_running"));
        let nobodys = json!({"org_units": ["org_00000000000000000000000000"]});
        let nobodys = app.owner.patch(&format!("{PROBE}/canary"), nobodys).await;
        assert_eq!(nobodys.faults(), ["/org_units/0 unknown_org_unit"]);
        freeze(true).await;
        let more = app.owner.patch(&format!("{PROBE}/canary"), json!({"percent": 20})).await;
        assert_eq!(more.code(), (403, "upgrade_frozen"));
        let promoted = app.owner.post(&format!("{PROBE}/canary/promote"), json!({})).await;
        assert_eq!(promoted.code(), (403, "upgrade_frozen"));
        let aborted = app.owner.delete(&format!("{PROBE}/canary")).await.expect(200).body;
        assert_eq!((&aborted["state"], &aborted["ended_because"]), (&json!("ended"), &json!("aborted")));
        let late = app.owner.post(&format!("{PROBE}/canary/promote"), json!({})).await;
        assert_eq!(late.code(), (409, "canary_ended"));
    }

    async fn only_what_can_go_beside_the_enabled_version_is_a_canary(app: TestApp) {
        assert_eq!(app.owner.get(&format!("{PROBE}/canary")).await.code(), (404, "not_found"));
        assert_eq!(start(&app, PROBE, json!({"percent": 10})).await.code(), (404, "not_found"));
        app.enable(guests::PROBE).await;
        assert_eq!(start(&app, PROBE, json!({"percent": 10})).await.code(), (409, "canary_older"));
        packages::install(&app.core, newer(guests::PROBE)).await.unwrap();
        for wrong in [json!({}), json!({"percent": 0}), json!({"percent": 100}), json!({"org_units": []})] {
            assert_eq!(start(&app, PROBE, wrong).await.status.as_u16(), 422);
        }
        const NOBODY: &str = "org_00000000000000000000000000";
        let both = json!({"percent": 5, "org_units": [NOBODY]});
        assert_eq!(start(&app, PROBE, both).await.status.as_u16(), 422);
        // A unit that there is not would make a canary for nobody; one of another tenant is none.
        let region = json!({"kind": "region", "name": "north"});
        let known = app.owner.post("/api/v1/org-units", &region).await.expect(201).body["id"].clone();
        let elsewhere = app.tenant("elsewhere").await.owner.post("/api/v1/org-units", &region).await.expect(201);
        let unknown = start(&app, PROBE, json!({"org_units": [known, NOBODY, elsewhere.body["id"]]})).await;
        assert_eq!(unknown.faults(), ["/org_units/1 unknown_org_unit", "/org_units/2 unknown_org_unit"]);
        let told = unknown.body["errors"][0]["message"].as_str().unwrap();
        assert!(told.contains(NOBODY) && told.contains("GET /api/v1/org-units"), "{told}");
        // Data that it would migrate is the old version's too, and nothing of the trial is kept.
        let migrates = app.owner.post(&format!("{PROBE}/canary"), json!({"percent": 10})).await;
        assert_eq!(migrates.code(), (409, "canary_data"), "{migrates}");
        assert!(!app.log("probe").await.iter().any(|line| line.starts_with("migrating")));

        let renamed = guests::edited(guests::PROBE, "name = \"margin\"", "name = \"profit\"");
        let renamed = guests::edited(&renamed, "version = \"1.0.0\"", "version = \"1.2.0\"");
        packages::install(&app.core, renamed).await.unwrap();
        let refused = start(&app, PROBE, json!({"percent": 10, "version": "1.2.0"})).await;
        assert_eq!(refused.code(), (409, "canary_data"), "{refused}");
        let wider = guests::edited(guests::PROBE, "customer.updated", "customer.deleted");
        let wider = guests::edited(&wider, "version = \"1.0.0\"", "version = \"1.3.0\"");
        packages::install(&app.core, wider).await.unwrap();
        let refused = start(&app, PROBE, json!({"percent": 10})).await;
        assert_eq!(refused.code(), (409, "canary_wider"), "{refused}");
        assert!(refused.body["detail"].as_str().unwrap().contains("customer.deleted"), "{refused}");

        trust::stop(&app.core, "probe", "1.1.0", "a fault").await.unwrap();
        let refused = start(&app, PROBE, json!({"percent": 10, "version": "1.1.0"})).await;
        assert_eq!(refused.code(), (403, "version_stopped"));
        app.owner.delete(&format!("{PROBE}/enablement")).await.expect(204);
        assert_eq!(start(&app, PROBE, json!({"percent": 10})).await.code(), (409, "not_running"));
    }

    async fn promoting_is_an_upgrade_that_calls_nothing_and_has_a_way_back(app: TestApp) {
        probe(&app).await;
        let ids = customers(&app, 4, "Ada").await;
        start(&app, PROBE, json!({"percent": 1})).await.expect(201);
        let promoted = app.owner.post(&format!("{PROBE}/canary/promote"), json!({})).await.expect(200).body;
        assert_eq!((&promoted["state"], &promoted["ended_because"]), (&json!("ended"), &json!("promoted")));
        let row = app.owner.get(&format!("{PROBE}/enablement")).await.expect(200).body;
        assert_eq!((&row["plugin_version"], &row["previous_version"]), (&json!("1.1.0"), &json!("1.0.0")));
        assert_eq!(row["settings"]["greeting"], SETTLED);
        assert_eq!(on_new(&versions(&app, &ids).await).len(), 4);
        assert!(!app.log("probe").await.iter().any(|line| line.starts_with("migrating")));
        assert_eq!(audited(&app, "plugin.canary_promote").await.len(), 1);
        app.owner.post(&format!("{PROBE}/rollback"), json!({})).await.expect(200);
        assert!(on_new(&versions(&app, &ids).await).is_empty());
    }

    async fn a_change_of_the_enabled_version_and_a_stop_by_the_operator_end_it(app: TestApp) {
        probe(&app).await;
        let ids = customers(&app, 20, "Ada").await;
        start(&app, PROBE, json!({"percent": 90})).await.expect(201);
        assert!(!on_new(&versions(&app, &ids).await).is_empty());
        trust::stop(&app.core, "probe", "1.1.0", "a fault").await.unwrap();
        assert!(on_new(&versions(&app, &ids).await).is_empty(), "a stopped version runs for nobody");
        trust::resume(&app.core, "probe", "1.1.0").await.unwrap();
        assert!(!on_new(&versions(&app, &ids).await).is_empty());
        let change = app.owner.request(Method::PATCH, &format!("{PROBE}/enablement"));
        let change = change.header("if-match", "\"1\"").json(json!({"settings": {"greeting": "hi"}}));
        change.await.expect(200);
        let view = shown(&app, PROBE).await;
        assert_eq!((&view["state"], &view["ended_because"]), (&json!("ended"), &json!("live_changed")));
        assert!(on_new(&versions(&app, &ids).await).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_follows_a_canary_that_another_has_started_and_ended() {
    let Some(app) = TestApp::start(Engine::Postgres).await else { return };
    probe(&app).await;
    let elsewhere = app.second_server().client(&app.owner);
    let ids = customers(&app, 20, "Ada").await;
    let taken = ids.iter().find(|id| Share::Percent(50).takes("probe", id, None)).unwrap();
    let other = ids.iter().find(|id| !Share::Percent(50).takes("probe", id, None)).unwrap();
    assert_eq!(met(&elsewhere, taken).await, "1.0.0");
    start(&app, PROBE, json!({"percent": 50})).await.expect(201);
    until(async || met(&elsewhere, taken).await == "1.1.0").await;
    assert_eq!(met(&elsewhere, other).await, "1.0.0");
    app.owner.delete(&format!("{PROBE}/canary")).await.expect(200);
    // The server does not know of it yet, but nothing of the canary is committed any more: it learns of
    // the end then, and asks the enabled version.
    let echo = format!("/api/v1/customers/{taken}/actions/probe/echo");
    let late = elsewhere.post(&echo, json!({})).await.expect(200);
    assert_eq!(late.body["body"]["version"], "1.0.0");
}

async fn until(is_followed: impl AsyncFn() -> bool) {
    let changed = Instant::now();
    while !is_followed().await {
        assert!(changed.elapsed() < FOLLOWED_WITHIN, "still not followed");
        tokio::time::sleep(LOOK).await;
    }
}
