//! What a plugin's status says: where it failed, what it may use, what it could not handle; and how many
//! series all of that makes in the metrics.

use std::collections::HashSet;

use axum::http::Method;
use hospes::domain::permission::Role;
use hospes::metrics::{Metrics, PLUGIN_LABELS_MAX};
use hospes::ops::plugins::packages;
use hospes_tests::{TestApp, both_engines, guests};
use serde_json::{Value, json};

use crate::plugin_rig::Rig;
use crate::process::Site;

const HOSTILE: &str = "/api/v1/plugins/hostile";

async fn create(app: &TestApp, name: &str) -> Value {
    app.owner.post("/api/v1/customers", json!({"kind": "person", "name": name})).await.expect(201).body
}

/// The names of a failure's functions, the innermost first.
fn frames(failure: &Value) -> Vec<&str> {
    failure["backtrace"].as_array().unwrap().iter().map(|frame| frame.as_str().unwrap()).collect()
}

fn limit<'a>(details: &'a Value, point: &str, name: &str) -> &'a Value {
    let points = details["limits"].as_array().unwrap();
    let of_point = points.iter().find(|one| one["point"] == point).expect("the point is exported");
    of_point["limits"].as_array().unwrap().iter().find(|one| one["limit"] == name).expect("it is limited")
}

#[tokio::test]
async fn the_command_line_tells_how_a_plugin_stands_and_exports_what_all_tenants_used() {
    let site = Site::on_sqlite("CNY").await;
    site.enable("probe", guests::PROBE).await;
    let told = site.command(&["plugin", "status", "probe"]).await;
    for line in [
        "probe 1.0.0 is enabled",
        "hook on customer: if it fails, refuse the save, says its manifest",
        "hook on order: if it fails, allow the save, says its manifest",
        "events: active, 0 wait, 0 are put aside as dead letters",
        "    fuel              11000000",
        "no failure is in its log",
    ] {
        assert!(told.lines().any(|known| known == line), "{line}\n{told}");
    }
    let told = site.command(&["plugin", "hooks", "probe", "customer=allow"]).await;
    assert!(told.contains("hook on customer: if it fails, allow the save, says the tenant"), "{told}");
    assert!(told.contains("hook on order: if it fails, allow the save, says its manifest"), "{told}");
    assert_eq!(site.command(&["plugin", "hooks", "probe"]).await, told, "it stays so");
    let told = site.command(&["plugin", "hooks", "probe", "customer=declared"]).await;
    assert!(told.contains("hook on customer: if it fails, refuse the save, says its manifest"), "{told}");
    let why = site.refused(&["plugin", "hooks", "probe", "ticket=allow"]).await;
    assert!(why.contains("`ticket` has no hooks"), "{why}");
    let csv = site.command(&["plugin", "usage", "--all-tenants"]).await;
    assert!(csv.starts_with("tenant,tenant_slug,day,plugin,plugin_version,publisher,point,"), "{csv}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("usage.csv");
    site.command(&["plugin", "usage", "--all-tenants", "--out", file.to_str().unwrap()]).await;
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("tenant,tenant_slug,"));
}

both_engines! {
    async fn a_failure_says_in_which_functions_of_which_version(rig: Rig) {
        rig.enable(guests::HOSTILE).await;
        rig.act("hostile", "trap", json!({})).await.unwrap_err();
        rig.act("hostile", "grow-memory", json!({})).await.unwrap_err();
        rig.act("hostile", "loop", json!({})).await.unwrap_err();
        let details = rig.app.owner.get(HOSTILE).await.expect(200).body;
        let failures = details["last_failures"].as_array().unwrap();
        let codes: Vec<&str> = failures.iter().map(|failure| failure["code"].as_str().unwrap()).collect();
        assert!(codes == ["fuel", "memory", "trap"] || codes == ["deadline", "memory", "trap"], "{codes:?}");
        for failure in failures {
            assert_eq!((&failure["point"], &failure["plugin_version"]), (&json!("actions"), &json!("1.0.0")));
            let frames = frames(failure);
            assert!(!frames.is_empty() && frames.len() <= 20, "{frames:?}");
            for frame in frames {
                assert!(frame.len() <= 200 && !frame.contains("0x") && !frame.contains(".rs"), "{frame}");
                assert!(!frame.starts_with("<wasm function"), "the guest is built with names: {frame}");
            }
        }
        assert!(frames(&failures[2]).iter().any(|frame| frame.contains("panic")), "{failures:#?}");
        // The log has the same, for whoever follows it.
        let log = rig.app.owner.get(&format!("{HOSTILE}/log?limit=1")).await.expect(200).body;
        assert_eq!(log["items"][0]["backtrace"], failures[0]["backtrace"]);
    }

    async fn failures_of_one_extension_point_do_not_hide_those_of_another(rig: Rig) {
        rig.enable(guests::HOSTILE).await;
        let eve = json!({"kind": "person", "name": "hostile: hook traps"});
        assert_eq!(rig.app.owner.post("/api/v1/customers", eve).await.code(), (502, "plugin_failed"));
        for _ in 0..7 {
            rig.clock.advance_seconds(60);
            rig.act("hostile", "trap", json!({})).await.unwrap_err();
        }
        let details = rig.app.owner.get(HOSTILE).await.expect(200).body;
        let failures = details["last_failures"].as_array().unwrap();
        let of = |point: &str| failures.iter().filter(|failure| failure["point"] == point).count();
        assert_eq!((of("actions"), of("hooks")), (5, 1), "{failures:#?}");
        assert_eq!(failures[5]["point"], "hooks", "the latest first");
    }

    async fn what_a_plugin_may_use_is_known_before_it_runs(rig: Rig) {
        packages::install(&rig.core, guests::HOSTILE.to_vec()).await.unwrap();
        let details = rig.app.owner.get(HOSTILE).await.expect(200).body;
        assert_eq!(details["health"], json!([]));
        let fuel = limit(&details, "hooks", "fuel");
        assert_eq!(fuel, &json!({"limit": "fuel", "effective": 11_000_000, "default": 11_000_000}));
        assert_eq!(limit(&details, "hooks", "outbound_requests")["effective"], 0);
        assert!(limit(&details, "events", "fuel")["effective"].as_u64() > Some(11_000_000));
        let points: Vec<_> = details["limits"].as_array().unwrap().iter().map(|one| &one["point"]).collect();
        assert_eq!(points.len(), details["exports"].as_array().unwrap().len(), "{points:?}");
        assert_eq!(details["hooks"], json!([{"entity": "customer", "on_failure": "refuse", "declared": "refuse"}]));
    }

    async fn a_poison_event_is_put_aside_and_named_while_its_lane_goes_on(app: TestApp) {
        app.enable(guests::HOSTILE).await;
        let poison = create(&app, "hostile: event traps").await;
        let well = create(&app, "Ada").await;
        let mut tries = 0;
        let status = loop {
            app.run_jobs().await;
            let status = app.owner.get(HOSTILE).await.expect(200).body["events_status"].clone();
            assert_eq!(status["lane"]["failures"], 0, "the lane has not failed: {status}");
            if status["lane"]["dead"] == 1 {
                break status;
            }
            tries += 1;
            assert!(tries < 20, "it is tried for ever: {status}");
            app.clock.advance_seconds(6 * 60 * 60);
        };
        assert_eq!((&status["lane"]["state"], &status["lane"]["waiting"]), (&json!("active"), &json!(0)));
        let quarantined = status["quarantined"].as_array().unwrap();
        assert_eq!(quarantined.len(), 1);
        assert_eq!((&quarantined[0]["subject_kind"], &quarantined[0]["subject_id"]), (&json!("customer"), &poison["id"]));
        assert_eq!((&quarantined[0]["name"], &quarantined[0]["last_error_code"]), (&json!("customer.created"), &json!("trap")));
        assert!(quarantined[0].get("body").is_none());
        // It is the dead letter that a person can try again, and what came after it was handled.
        let letters = app.owner.all("/api/v1/events/lanes/plugin:hostile/dead-letters").await;
        assert_eq!(letters[0]["event"], quarantined[0]["event"]);
        let kept = app.owner.all(&format!("{HOSTILE}/collections/junk")).await;
        assert!(kept.iter().any(|one| one["subject_id"] == well["id"]), "{kept:?}");
        create(&app, "Lin").await;
        app.run_jobs().await;
        assert_eq!(app.owner.get(HOSTILE).await.expect(200).body["events_status"]["lane"]["waiting"], 0);
        // Who sees plugins but no lanes is not told.
        let auditor = app.acme.token(&[Role::Auditor]).await;
        let told = auditor.get(HOSTILE).await.expect(200).body;
        assert!(told.get("events_status").is_none() && told["limits"].is_array(), "{told}");
    }

    async fn neither_tenants_nor_made_up_names_make_series(app: TestApp) {
        let metrics = Metrics::start();
        app.enable(guests::PROBE).await;
        let ask = async |from: usize| {
            for number in from..from + 40 {
                let path = format!("/api/v1/plugins/made-up-{number}/made-up-{number}");
                app.owner.get(&path).await;
                app.owner.get(&format!("/api/v1/plugins/made-up-{number}")).await.expect(404);
                app.owner.get(&format!("/api/v1/routes/made-up-{number}/x")).await;
                app.owner.get(&format!("/api/v1/customers?made-up-{number}=1")).await;
                let method = Method::from_bytes(format!("MADEUP{number}").as_bytes()).unwrap();
                app.owner.request(method, "/api/v1/customers").await;
            }
        };
        ask(0).await;
        let series = |text: &str| -> HashSet<String> {
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
        };
        let tenants: Vec<_> = {
            let mut tenants = Vec::new();
            for number in 0..5 {
                let tenant = app.tenant(&format!("madeup{number}")).await;
                tenant.owner.post("/api/v1/plugins/probe/enablement", json!({})).await.expect(201);
                let made = json!({"kind": "person", "name": "Ada"});
                tenant.owner.post("/api/v1/customers", made).await.expect(201);
                tenants.push(tenant);
            }
            tenants
        };
        app.run_jobs().await;
        ask(1_000).await;
        let text = metrics.render();
        assert!(text.contains("hospes_plugin_calls_total{plugin=\"probe\",point=\"events\""), "{text}");
        let made_up = text.to_lowercase();
        assert!(!made_up.contains("made-up") && !made_up.contains("madeup"), "{text}");
        for tenant in &tenants {
            assert!(!text.contains(&*tenant.tenant.id.to_string()), "{text}");
        }
        let plugin = |line: &String| Some(line.split_once("plugin=\"")?.1.split_once('"')?.0.to_owned());
        let plugins: HashSet<String> = series(&text).iter().filter_map(plugin).collect();
        assert!(plugins.len() <= PLUGIN_LABELS_MAX + 1, "{plugins:?}");
        assert!(!text.contains("tenant=\""), "{text}");
    }
}
