//! A version in the shadow of the enabled one: its report is what would differ, and nothing else comes of it.

use std::collections::{BTreeMap, BTreeSet};

use hospes::ops::plugins::{packages, trust, usage};
use hospes_tests::{Reply, TestApp, TestDb, TestResponse, both_engines, guests};
use serde_json::{Value, json};

use crate::plugin_requests::Scene;
use crate::plugin_rig::Rig;

const RETAIL: &str = "/api/v1/plugins/retail-membership";
const PROBE: &str = "/api/v1/plugins/probe";
const HOSTILE: &str = "/api/v1/plugins/hostile";
const SHADOW: &str = "/api/v1/plugins/retail-membership/shadow";
const POINTS: &str = "fields/retail-membership.points";
/// The changed rule: a point for 1.01 instead of 1.00.
const LIVE_RATE: i64 = 100;
const SHADOW_RATE: i64 = 101;

/// A customer and what each of its orders is worth in minor units.
struct Buyer {
    id: String,
    orders: Vec<i64>,
}

/// Version 1.1.0 of the retail plugin beside the 1.0.0 that the tenant runs.
async fn retail(app: &TestApp) {
    let bundled = hospes_bundle::PLUGINS.iter().find(|plugin| plugin.name == "retail-membership").unwrap();
    app.enable(bundled.component).await;
    let next =
        guests::edited(bundled.component, "version = \"1.0.0\"\npublisher", "version = \"1.1.0\"\npublisher");
    packages::install(&app.core, next).await.unwrap();
}

async fn buyers(app: &TestApp, count: usize) -> Vec<Buyer> {
    let mut buyers = Vec::with_capacity(count);
    for position in 0..count {
        let id = app.acme.customer(&format!("Buyer {position}")).await.id.to_string();
        buyers.push(Buyer { id, orders: Vec::new() });
    }
    buyers
}

/// Amounts from some cents to some hundreds, without a pattern that either rate could fit to.
fn amount(seed: usize) -> i64 {
    let mixed = (seed as u64 + 1).wrapping_mul(6_364_136_223_846_793_005) >> 33;
    [30, 900, 25_000][seed % 3] + i64::try_from(mixed % 300).unwrap()
}

async fn buy(app: &TestApp, buyer: &mut Buyer, amount: i64) {
    let total = json!({"amount_minor": amount, "currency": "CNY"});
    let order = json!({
        "customer_id": buyer.id, "channel": "store", "ordered_at": "2026-02-27T09:30:00Z", "total": total,
    });
    app.owner.post("/api/v1/orders", order).await.expect(201);
    buyer.orders.push(amount);
}

fn points(orders: &[i64], rate: i64) -> i64 {
    orders.iter().map(|amount| amount / rate).sum()
}

async fn differences(app: &TestApp) -> Vec<Value> {
    app.owner.all(&format!("{SHADOW}/differences")).await
}

/// Of the points that were found to differ: who, with both values, in each round.
fn found(rows: &[Value]) -> BTreeMap<String, (String, String)> {
    let points = rows.iter().filter(|row| row["what"] == POINTS);
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    points.map(|row| (text(&row["subject_id"]), (text(&row["live"]), text(&row["shadow"])))).collect()
}

/// The probe, and a newer version whose hook rejects with another code.
async fn probe_with_another_code(app: &TestApp) {
    app.enable(guests::PROBE).await;
    let next = guests::edited(guests::PROBE, "version = \"1.0.0\"", "version = \"1.1.0\"");
    packages::install(&app.core, guests::edited(&next, "told_to_reject", "tald_to_reject")).await.unwrap();
}

async fn create(app: &TestApp, name: &str) -> TestResponse {
    app.owner.post("/api/v1/customers", json!({"kind": "person", "name": name})).await
}

/// What was found to differ in answers to saves.
async fn saves(app: &TestApp, plugin: &str) -> Vec<Value> {
    let mut rows = app.owner.all(&format!("{plugin}/shadow/differences")).await;
    rows.retain(|row| row["event"] == Value::Null);
    rows
}

/// How the hooks of the enabled version have fared.
async fn health(app: &TestApp, plugin: &str) -> Value {
    let plugin = app.owner.get(plugin).await.expect(200).body;
    plugin["health"].as_array().unwrap().iter().find(|point| point["point"] == "hooks").unwrap().clone()
}

both_engines! {
    async fn a_changed_rule_shows_exactly_the_customers_whose_points_would_differ(app: TestApp) {
        retail(&app).await;
        let mut buyers = buyers(&app, 24).await;
        // What was bought before is not compared.
        for (position, buyer) in buyers.iter_mut().enumerate() {
            buy(&app, buyer, amount(position)).await;
        }
        app.run_jobs().await;
        let rates = json!([{"points": 1, "per_minor_units": SHADOW_RATE}]);
        let started = app.owner.post(SHADOW, json!({"settings": {"rates": rates}})).await.expect(201);
        let versions = (&started.body["shadow_version"], &started.body["live_version"], &started.body["state"]);
        assert_eq!(versions, (&json!("1.1.0"), &json!("1.0.0"), &json!("running")));

        let (mut reported, mut expected_in_all) = (0, 0);
        for round in 1..=2 {
            let before: Vec<usize> = buyers.iter().map(|buyer| buyer.orders.len()).collect();
            for (position, buyer) in buyers.iter_mut().enumerate().filter(|(position, _)| (position + round) % 4 != 0) {
                for more in 0..=position % 2 {
                    buy(&app, buyer, amount(round * 1_000 + position * 10 + more)).await;
                }
            }
            app.run_jobs().await;
            let rows = differences(&app).await;
            let new = found(&rows[reported..]);
            reported = rows.len();
            // The same by hand: what was earned before the round is the enabled version's.
            let mut expected = BTreeMap::new();
            for (buyer, before) in buyers.iter().zip(before) {
                let (old, fresh) = buyer.orders.split_at(before);
                let (live, shadow) = (points(fresh, LIVE_RATE), points(fresh, SHADOW_RATE));
                if live != shadow {
                    let old = points(old, LIVE_RATE);
                    expected.insert(buyer.id.clone(), ((old + live).to_string(), (old + shadow).to_string()));
                }
            }
            assert!(!expected.is_empty() && expected.len() < buyers.len(), "the orders tell the rules apart: {}", expected.len());
            assert_eq!(new, expected, "round {round}");
            expected_in_all += expected.len();
        }
        // Nobody else is in the report, with whatever effect.
        let rows = differences(&app).await;
        let named: BTreeSet<&str> = rows.iter().filter_map(|row| row["subject_id"].as_str()).collect();
        let with_points: BTreeSet<&str> = rows.iter().filter(|row| row["what"] == POINTS).filter_map(|row| row["subject_id"].as_str()).collect();
        assert_eq!(named, with_points);
        assert!(expected_in_all >= with_points.len());

        // The enabled version has gone on as if nothing ran beside it.
        for buyer in &buyers {
            let customer = app.owner.get(&format!("/api/v1/customers/{}", buyer.id)).await.expect(200);
            assert_eq!(customer.body["fields"]["retail-membership.points"], points(&buyer.orders, LIVE_RATE));
        }
        let shadow = app.owner.get(SHADOW).await.expect(200).body;
        assert_eq!((&shadow["failures"], &shadow["differences"]), (&json!(0), &json!(rows.len())), "{shadow}");
        assert!(shadow["fuel"].as_i64().unwrap() > 0 && shadow["deliveries"].as_i64().unwrap() >= 2, "{shadow}");
        usage::write_down(&app.core).await.unwrap();
        let used = app.owner.all("/api/v1/plugin-usage").await;
        let metered = used.iter().find(|row| row["point"] == "shadow").expect("its costs are metered");
        assert_eq!((&metered["fuel"], &metered["plugin_version"]), (&shadow["fuel"], &shadow["shadow_version"]));
    }

    async fn the_same_version_with_the_same_settings_differs_in_nothing(app: TestApp) {
        retail(&app).await;
        app.owner.post(SHADOW, json!({})).await.expect(201);
        let mut buyers = buyers(&app, 3).await;
        for buyer in &mut buyers {
            buy(&app, buyer, 12_345).await;
        }
        app.run_jobs().await;
        assert_eq!(differences(&app).await, Vec::<Value>::new());
        let shadow = app.owner.get(SHADOW).await.expect(200).body;
        assert_eq!((&shadow["events"], &shadow["failures"]), (&json!(3), &json!(0)), "{shadow}");
    }

    async fn a_shadow_that_fails_never_touches_the_enabled_version(app: TestApp) {
        retail(&app).await;
        // Without its documents it cannot count anything.
        let grants = json!([{"name": "orders:read"}, {"name": "settings:own"}]);
        app.owner.post(SHADOW, json!({"version": "1.0.0", "grants": grants})).await.expect(201);
        let mut buyers = buyers(&app, 1).await;
        buy(&app, &mut buyers[0], 5_000).await;
        let done = app.run_jobs().await;
        assert_eq!((done.dispatch.failed, done.dispatch.dead), (0, 0));
        let customer = app.owner.get(&format!("/api/v1/customers/{}", buyers[0].id)).await.expect(200);
        assert_eq!(customer.body["fields"]["retail-membership.points"], 50);
        let shadow = app.owner.get(SHADOW).await.expect(200).body;
        assert_eq!((&shadow["failures"], &shadow["differences"]), (&json!(1), &json!(0)), "{shadow}");
        assert!(shadow["last_error"].as_str().unwrap().contains("documents:own"), "{shadow}");
        let plugin = app.owner.get(RETAIL).await.expect(200).body;
        assert_eq!((&plugin["denials"], &plugin["last_failures"]), (&json!([]), &json!([])));
        let events = plugin["health"].as_array().unwrap().iter().find(|point| point["point"] == "events").unwrap();
        assert_eq!(events["failures"], 0);
    }

    async fn a_shadow_ends_by_events_time_word_and_change(app: TestApp) {
        retail(&app).await;
        let mut buyers = buyers(&app, 1).await;
        let state = async || {
            let shadow = app.owner.get(SHADOW).await.expect(200).body;
            (shadow["state"].clone(), shadow["ended_because"].clone(), shadow["events"].clone())
        };
        let ended = |because: &str, events: i64| (json!("ended"), json!(because), json!(events));
        assert_eq!(app.owner.get(SHADOW).await.code(), (404, "not_found"));
        let wrong = app.owner.post(SHADOW, json!({"hours": 169, "events": 0})).await;
        assert_eq!(wrong.status.as_u16(), 422, "{wrong}");

        app.owner.post(SHADOW, json!({"events": 1})).await.expect(201);
        for amount in [1_000, 2_000] {
            buy(&app, &mut buyers[0], amount).await;
            app.run_jobs().await;
        }
        assert_eq!(state().await, ended("events", 1));

        app.owner.post(SHADOW, json!({"hours": 1})).await.expect(201);
        app.clock.advance_seconds(60 * 60);
        buy(&app, &mut buyers[0], 3_000).await;
        app.run_jobs().await;
        assert_eq!(state().await, ended("time", 0));

        app.owner.post(SHADOW, json!({})).await.expect(201);
        let stopped = app.owner.delete(SHADOW).await.expect(200).body;
        assert_eq!((&stopped["state"], &stopped["ended_because"]), (&json!("ended"), &json!("stopped")));
        buy(&app, &mut buyers[0], 4_000).await;
        app.run_jobs().await;
        assert_eq!(state().await, ended("stopped", 0));

        app.owner.post(SHADOW, json!({})).await.expect(201);
        app.owner.post(&format!("{RETAIL}/enablement"), json!({"version": "1.1.0"})).await.expect(201);
        assert_eq!(state().await, ended("live_changed", 0));
        let lines = app.owner.all("/api/v1/audit?entity=plugin").await;
        let count = |action: &str| lines.iter().filter(|line| line["action"] == action).count();
        assert_eq!((count("plugin.shadow_start"), count("plugin.shadow_stop")), (4, 1));
    }

    async fn a_shadow_sends_nothing_to_anybody(database: TestDb) {
        let scene = Scene::start(database, |_| Reply::Answer(200, "well")).await;
        let app = &scene.rig.app;
        app.owner.post("/api/v1/plugins/caller/shadow", json!({})).await.expect(201);
        let sent = || scene.receiver.received().iter().filter(|received| received.line.starts_with("POST /events")).count();
        for (number, name) in (1..=3).zip(["Bea", "Cai", "Dan"]) {
            let customer = format!("/api/v1/customers/{}", scene.rig.customer);
            app.owner.patch(&customer, json!({"name": name})).await.expect(200);
            app.run_jobs().await;
            assert_eq!(sent(), number, "one for each event, and that is the enabled version's");
        }
        let shadow = app.owner.get("/api/v1/plugins/caller/shadow").await.expect(200).body;
        assert_eq!((&shadow["events"], &shadow["failures"]), (&json!(3), &json!(3)), "{shadow}");
        assert!(shadow["last_error"].as_str().unwrap().contains("sends no requests"), "{shadow}");
    }

    async fn files_values_records_and_calls_of_a_shadow_are_reported_and_discarded(rig: Rig) {
        const A: &str = "/api/v1/plugins/courier-a";
        rig.enable(guests::COURIER).await;
        rig.enable(&guests::edited(guests::COURIER, "courier-a", "courier-b")).await;
        let owner = &rig.app.owner;
        // The enabled version may only see the event; the shadow may do everything.
        let everything = owner.get(A).await.expect(200).body["grants"].clone();
        let few = json!([{"name": "customers:read"}]);
        owner.patch(&format!("{A}/enablement"), json!({"grants": few})).await.expect(200);
        let all: Vec<Value> = everything.as_array().unwrap().iter().map(|grant| json!({"name": grant["name"]})).collect();
        owner.post(&format!("{A}/shadow"), json!({"grants": all})).await.expect(201);
        let customer = format!("/api/v1/customers/{}", rig.customer);
        let script = json!([["write", "f", "x"], ["count", "n"], ["call", "courier-b", [["count", "m"], ["write", "g", "y"]]]]);
        owner.patch(&customer, json!({"name": script.to_string()})).await.expect(200);
        rig.app.run_jobs().await;

        let shadow = owner.get(&format!("{A}/shadow")).await.expect(200).body;
        assert_eq!(shadow["failures"], 0, "{shadow}");
        let rows = owner.all(&format!("{A}/shadow/differences")).await;
        let mut found: Vec<&str> = rows.iter().filter_map(|row| row["what"].as_str()).collect();
        found.sort_unstable();
        assert_eq!(found, ["courier-b/files/g", "courier-b/kv/m", "files/f", "kv/n"]);
        assert!(rows.iter().all(|row| row["live"] == Value::Null), "{rows:?}");
        // Nothing of it has happened.
        owner.patch(&format!("{A}/enablement"), json!({"grants": all})).await.expect(200);
        let look = json!([["peek", "n"], ["read", "f"], ["call", "courier-b", [["peek", "m"], ["read", "g"]]]]);
        assert_eq!(rig.script("courier-a", look).await.unwrap(), json!([null, null, [null, null]]));
    }

    async fn a_hook_in_the_shadow_shows_whom_it_would_have_answered_otherwise(app: TestApp) {
        probe_with_another_code(&app).await;
        app.owner.post(&format!("{PROBE}/shadow"), json!({})).await.expect(201);
        assert_eq!(create(&app, "reject: Ann").await.code(), (422, "plugin_rejected"));
        assert_eq!(create(&app, "patch: Bo").await.expect(201).body["name"], "Bo");
        create(&app, "Cai").await.expect(201);
        let shadow = app.owner.get(&format!("{PROBE}/shadow")).await.expect(200).body;
        assert_eq!(shadow["saves"], 0, "nobody has waited for it");
        app.run_jobs().await;

        let rows = saves(&app, PROBE).await;
        let said = |code: &str| json!(format!("rejected: {code}: told to reject Ann; created: true"));
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!((&rows[0]["what"], &rows[0]["subject_kind"]), (&json!("hook/decision"), &json!("customer")));
        assert_eq!((&rows[0]["live"], &rows[0]["shadow"]), (&said("told_to_reject"), &said("tald_to_reject")));
        let shadow = app.owner.get(&format!("{PROBE}/shadow")).await.expect(200).body;
        assert_eq!((&shadow["saves"], &shadow["saves_left_out"], &shadow["failures"]), (&json!(3), &json!(0), &json!(0)), "{shadow}");
        // Only the enabled version's runs are its own.
        assert_eq!(health(&app, PROBE).await["runs"], 3);
    }

    async fn a_hook_that_may_do_less_in_the_shadow_shows_what_it_would_have_changed(app: TestApp) {
        app.enable(guests::PROBE).await;
        let few = json!([{"name": "customers:read"}, {"name": "settings:own"}]);
        app.owner.post(&format!("{PROBE}/shadow"), json!({"grants": few})).await.expect(201);
        let made = create(&app, "tag: vip").await.expect(201).body;
        create(&app, "reject: Ann").await;
        app.run_jobs().await;
        let rows = saves(&app, PROBE).await;
        let found: Vec<_> = rows.iter().map(|row| (row["what"].as_str().unwrap(), &row["live"], &row["shadow"])).collect();
        let rejected = json!("rejected: told_to_reject: told to reject Ann; created: true");
        assert_eq!(found, [("hook/patch/tags", &json!("[\"vip\"]"), &Value::Null), ("hook/decision", &rejected, &json!("accepted"))]);
        assert_eq!(rows[0]["subject_id"], made["id"]);
        assert_eq!(app.owner.get(PROBE).await.expect(200).body["denials"], json!([]));
    }

    async fn a_hook_that_fails_in_the_shadow_touches_no_save(app: TestApp) {
        app.enable(guests::HOSTILE).await;
        packages::install(&app.core, guests::edited(guests::HOSTILE, "version = \"1.0.0\"", "version = \"1.1.0\"")).await.unwrap();
        app.owner.post(&format!("{HOSTILE}/shadow"), json!({})).await.expect(201);
        for _ in 0..7 {
            create(&app, "hostile: hook traps when new").await.expect(201);
            app.run_jobs().await;
        }
        let shadow = app.owner.get(&format!("{HOSTILE}/shadow")).await.expect(200).body;
        assert_eq!((&shadow["saves"], &shadow["failures"], &shadow["differences"]), (&json!(7), &json!(7), &json!(0)), "{shadow}");
        assert!(shadow["last_error"].as_str().unwrap().contains("trap"), "{shadow}");
        let hooks = health(&app, HOSTILE).await;
        assert_eq!((&hooks["runs"], &hooks["failures"], &hooks["paused_until"]), (&json!(7), &json!(0), &Value::Null));
        assert_eq!(app.owner.get(HOSTILE).await.expect(200).body["last_failures"], json!([]));
        // A save that the enabled version has failed at has no answer to compare.
        assert_eq!(create(&app, "hostile: hook traps").await.code(), (502, "plugin_failed"));
        app.run_jobs().await;
        assert_eq!(app.owner.get(&format!("{HOSTILE}/shadow")).await.expect(200).body["saves"], 7);
    }

    async fn saves_for_which_there_is_no_room_are_left_out_and_counted(app: TestApp) {
        app.enable(guests::PROBE).await;
        app.owner.post(&format!("{PROBE}/shadow"), json!({})).await.expect(201);
        for _ in 0..140 {
            app.acme.customer("Ada").await;
        }
        app.run_jobs().await;
        let shadow = app.owner.get(&format!("{PROBE}/shadow")).await.expect(200).body;
        assert_eq!((&shadow["saves"], &shadow["saves_left_out"]), (&json!(128), &json!(12)), "{shadow}");
        // What waits when it ends is forgotten.
        create(&app, "reject: Ann").await;
        app.owner.delete(&format!("{PROBE}/shadow")).await.expect(200);
        app.run_jobs().await;
        assert_eq!(saves(&app, PROBE).await, Vec::<Value>::new());
    }

    async fn only_what_may_run_runs_in_the_shadow(app: TestApp) {
        assert_eq!(app.owner.post(SHADOW, json!({})).await.code(), (404, "not_found"));
        retail(&app).await;
        let refused = app.owner.post(SHADOW, json!({"version": "9.9.9"})).await;
        assert_eq!(refused.code(), (404, "not_found"));
        let refused = app.owner.post(SHADOW, json!({"grants": [{"name": "http:send"}]})).await;
        assert_eq!(refused.status.as_u16(), 422, "{refused}");
        let refused = app.owner.post(SHADOW, json!({"settings": {"rates": []}})).await;
        assert_eq!(refused.status.as_u16(), 422, "{refused}");
        trust::stop(&app.core, "retail-membership", "1.1.0", "a fault").await.unwrap();
        let refused = app.owner.post(SHADOW, json!({"version": "1.1.0"})).await;
        assert_eq!(refused.code(), (403, "version_stopped"));
        app.owner.delete(&format!("{RETAIL}/enablement")).await.expect(204);
        assert_eq!(app.owner.post(SHADOW, json!({"version": "1.0.0"})).await.code(), (409, "not_running"));
    }
}
