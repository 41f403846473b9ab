//! Moving a tenant to another version of a plugin, and other servers that follow what one has changed.

use std::time::{Duration, Instant};

use axum::http::Method;
use hospes::db::Sql;
use hospes::ops::plugins::upgrade::{Step, roll_out};
use hospes::ops::plugins::{moves, packages, trust};
use hospes_tests::{Client, Engine, Harness as _, TestApp, TestResponse, both_engines, guests};
use serde_json::{Value, json};

/// How soon a server follows what another has changed.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(5);
/// How often it is asked whether it has.
const LOOK: Duration = Duration::from_millis(50);

const ENABLEMENT: &str = "/api/v1/plugins/probe/enablement";
const MIGRATION: &str = "/api/v1/plugins/probe/migration";

async fn install_next(app: &TestApp) {
    let next = guests::edited(guests::PROBE, "version = \"1.0.0\"", "version = \"1.1.0\"");
    packages::install(&app.core, next).await.unwrap();
}

async fn act(client: &Client, customer: &str, action: &str, input: Value) -> TestResponse {
    client.post(&format!("/api/v1/customers/{customer}/actions/probe/{action}"), input).await
}

/// Leaves the last move as a server does that dies at it.
async fn leave_move(app: &TestApp) {
    const LEAVE: Sql = Sql::new("UPDATE plugin_moves SET state = 'running', error = NULL");
    let tenant = app.acme.operator().tenant;
    let left = app.core.db.write(&tenant, (), |tx, ()| Box::pin(tx.execute(LEAVE, Vec::new())));
    assert_eq!(left.await.unwrap(), 1);
}

/// Changes what the move is on the way to, as if it had been asked for so.
async fn no_longer_refuse(app: &TestApp) {
    const CHANGE: Sql = Sql::new(
        "UPDATE plugin_enablements SET moving_to = REPLACE(moving_to, '\"refuse_enable\":true', '\"refuse_enable\":false')",
    );
    let tenant = app.acme.operator().tenant;
    let changed = app.core.db.write(&tenant, (), |tx, ()| Box::pin(tx.execute(CHANGE, Vec::new())));
    assert_eq!(changed.await.unwrap(), 1);
}

async fn migrations(app: &TestApp) -> Vec<String> {
    let mut lines = app.log("probe").await;
    lines.retain(|line| line.starts_with("migrating"));
    lines
}

both_engines! {
    async fn a_new_version_migrates_in_chunks_and_then_runs(app: TestApp) {
        let ada = app.acme.customer("Ada").await.id;
        app.enable(guests::PROBE).await;
        act(&app.owner, ada.as_str(), "add", json!({"amount": 5})).await.expect(200);
        install_next(&app).await;
        // Installing moves nobody.
        let echo = act(&app.owner, ada.as_str(), "echo", json!({})).await.expect(200);
        assert_eq!(echo.body["body"]["version"], "1.0.0");
        assert!(migrations(&app).await.is_empty());

        let moved = app.owner.post(ENABLEMENT, json!({})).await.expect(201);
        assert_eq!((&moved.body["plugin_version"], moved.header("etag")), (&json!("1.1.0"), "\"2\""));
        assert_eq!(migrations(&app).await, [
            "migrating from 1.0.0, chunk 0", "migrating from 1.0.0, chunk 1", "migrating from 1.0.0, chunk 2",
        ]);
        let echo = act(&app.owner, ada.as_str(), "echo", json!({})).await.expect(200);
        assert_eq!(echo.body["body"]["version"], "1.1.0");
        let kept = act(&app.owner, ada.as_str(), "add", json!({"amount": 1})).await.expect(200);
        assert_eq!(kept.body["body"]["amount"], 6, "data goes along");
        // To the same version again is no migration.
        app.owner.post(ENABLEMENT, json!({"version": "1.1.0"})).await.expect(201);
        assert_eq!(migrations(&app).await.len(), 3);
    }

    async fn a_migration_that_is_refused_leaves_the_old_version_running(app: TestApp) {
        let ada = app.acme.customer("Ada").await.id;
        app.enable(guests::PROBE).await;
        install_next(&app).await;
        let refused = app.owner.post(ENABLEMENT, json!({"settings": {"refuse_enable": true}})).await;
        assert_eq!(refused.code(), (422, "plugin_rejected"), "{refused}");
        assert_eq!(refused.body["plugin_code"], "told_to_refuse");
        assert_eq!(migrations(&app).await.len(), 2, "one chunk was kept, the next was refused");
        let row = app.owner.get(ENABLEMENT).await.expect(200);
        assert_eq!((&row.body["plugin_version"], &row.body["version"]), (&json!("1.0.0"), &json!(1)));
        let echo = act(&app.owner, ada.as_str(), "echo", json!({})).await.expect(200);
        assert_eq!(echo.body["body"]["version"], "1.0.0");
        let audit = app.owner.get("/api/v1/audit?entity=plugin").await.expect(200);
        assert_eq!(audit.body["items"].as_array().unwrap().len(), 1, "{audit}");
        // Once the settings let it, it begins again.
        app.owner.post(ENABLEMENT, json!({"settings": {"refuse_enable": false}})).await.expect(201);
        assert_eq!(app.owner.get(ENABLEMENT).await.body["plugin_version"], "1.1.0");
    }

    async fn a_migration_goes_on_at_another_server_where_one_has_left_it(app: TestApp) {
        app.enable(guests::PROBE).await;
        install_next(&app).await;
        assert_eq!(app.owner.get(MIGRATION).await.code(), (404, "not_found"));
        let refused = app.owner.post(ENABLEMENT, json!({"settings": {"refuse_enable": true}})).await;
        assert_eq!(refused.code(), (422, "plugin_rejected"));
        let failed = app.owner.get(MIGRATION).await.expect(200).body;
        assert_eq!((&failed["state"], &failed["chunks"], &failed["writes"]), (&json!("failed"), &json!(1), &json!(1)));
        assert_eq!((&failed["from_version"], &failed["to_version"]), (&json!("1.0.0"), &json!("1.1.0")));
        assert!(failed["error"].as_str().unwrap().contains("the settings say to refuse"), "{failed}");

        // As a server leaves it that dies between two chunks.
        leave_move(&app).await;
        assert_eq!(app.owner.get(MIGRATION).await.body["state"], "running");
        let second = app.second_server().client(&app.owner);
        let upgrade = json!({"settings": {"refuse_enable": false}});
        assert_eq!(second.post(ENABLEMENT, upgrade.clone()).await.code(), (409, "move_running"));
        app.clock.advance_seconds(120);
        assert_eq!(app.owner.get(MIGRATION).await.body["state"], "interrupted");
        // The old version does all its work meanwhile, and writes.
        let ada = app.acme.customer("Ada").await.id;
        let echo = act(&app.owner, ada.as_str(), "echo", json!({})).await.expect(200);
        assert_eq!(echo.body["body"]["version"], "1.0.0");
        act(&app.owner, ada.as_str(), "add", json!({"amount": 5})).await.expect(200);
        let before = migrations(&app).await.len();
        second.post(ENABLEMENT, upgrade).await.expect(201);
        assert_eq!(migrations(&app).await[before..], ["migrating from 1.0.0, chunk 1", "migrating from 1.0.0, chunk 2"]);
        let done = app.owner.get(MIGRATION).await.expect(200).body;
        assert_eq!((&done["state"], &done["chunks"], &done["error"]), (&json!("done"), &json!(3), &Value::Null));
    }

    async fn a_server_goes_on_with_a_move_that_another_has_left(app: TestApp) {
        app.enable(guests::PROBE).await;
        install_next(&app).await;
        let refused = app.owner.post(ENABLEMENT, json!({"settings": {"refuse_enable": true}})).await;
        assert_eq!(refused.code(), (422, "plugin_rejected"));
        leave_move(&app).await;
        no_longer_refuse(&app).await;
        let second = app.second_server();
        assert_eq!(moves::go_on(&second.core).await.unwrap(), 0, "its server may be at it");
        app.clock.advance_seconds(120);
        let before = migrations(&app).await.len();
        assert_eq!(moves::go_on(&second.core).await.unwrap(), 1);
        assert_eq!(migrations(&app).await[before..], ["migrating from 1.0.0, chunk 1", "migrating from 1.0.0, chunk 2"]);
        assert_eq!(app.owner.get(MIGRATION).await.expect(200).body["state"], "done");
        let row = app.owner.get(ENABLEMENT).await.expect(200).body;
        assert_eq!((&row["plugin_version"], &row["settings"]["refuse_enable"]), (&json!("1.1.0"), &json!(false)));
        let lines = app.owner.all("/api/v1/audit?entity=plugin").await;
        assert_eq!(lines.iter().find(|line| line["action"] == "plugin.upgrade").unwrap()["actor_kind"], "server");
        assert_eq!(moves::go_on(&second.core).await.unwrap(), 0);
    }

    async fn a_move_that_fails_is_tried_some_times_and_then_waits_for_somebody(app: TestApp) {
        app.enable(guests::PROBE).await;
        install_next(&app).await;
        let refused = app.owner.post(ENABLEMENT, json!({"settings": {"refuse_enable": true}})).await;
        assert_eq!(refused.code(), (422, "plugin_rejected"));
        leave_move(&app).await;
        let mut tries = 0;
        for _ in 0..20 {
            app.clock.advance_seconds(600);
            tries += moves::go_on(&app.core).await.unwrap();
        }
        assert_eq!(tries, 8);
        let failed = app.owner.get(MIGRATION).await.expect(200).body;
        assert_eq!((&failed["state"], &failed["attempts"], &failed["chunks"]), (&json!("failed"), &json!(8), &json!(1)), "{failed}");
        assert!(failed["error"].as_str().unwrap().contains("the settings say to refuse"), "{failed}");
        assert_eq!(app.owner.get(ENABLEMENT).await.body["plugin_version"], "1.0.0");
        app.owner.post(ENABLEMENT, json!({"settings": {"refuse_enable": false}})).await.expect(201);
        assert_eq!(app.owner.get(ENABLEMENT).await.body["plugin_version"], "1.1.0");
    }

    async fn a_move_ends_when_what_is_enabled_has_changed_meanwhile(app: TestApp) {
        app.enable(guests::PROBE).await;
        install_next(&app).await;
        app.owner.post(ENABLEMENT, json!({"settings": {"refuse_enable": true}})).await;
        leave_move(&app).await;
        let change = app.owner.request(Method::PATCH, ENABLEMENT).header("if-match", "\"1\"");
        change.json(json!({"grants": [{"name": "settings:own"}]})).await.expect(200);
        app.clock.advance_seconds(120);
        moves::go_on(&app.core).await.unwrap();
        let failed = app.owner.get(MIGRATION).await.expect(200).body;
        assert_eq!(failed["state"], "failed");
        assert!(failed["error"].as_str().unwrap().contains("changed meanwhile"), "{failed}");
        let row = app.owner.get(ENABLEMENT).await.expect(200).body;
        assert_eq!((&row["plugin_version"], row["grants"].as_array().unwrap().len()), (&json!("1.0.0"), 1));
    }

    async fn another_version_of_a_disabled_plugin_migrates_once_and_is_then_enabled(app: TestApp) {
        let ada = app.acme.customer("Ada").await.id;
        app.enable(guests::PROBE).await;
        app.owner.delete(ENABLEMENT).await.expect(204);
        install_next(&app).await;
        app.owner.post(ENABLEMENT, json!({})).await.expect(201);
        assert_eq!(migrations(&app).await.len(), 3);
        let keys = json!({"keys": ["enabled", "disabled", "migrated"]});
        let counts = act(&app.owner, ada.as_str(), "peek", keys).await.expect(200);
        assert_eq!(counts.body["body"], json!([2, 1, 3]));

        // Once its data is moved, only the enabling is tried again.
        app.owner.delete(ENABLEMENT).await.expect(204);
        let third = guests::edited(guests::PROBE, "version = \"1.0.0\"", "version = \"1.2.0\"");
        packages::install(&app.core, third).await.unwrap();
        let settled = json!({"settings": {"refuse_enable": true, "greeting": "nothing to migrate"}});
        assert_eq!(app.owner.post(ENABLEMENT, settled).await.code(), (422, "plugin_rejected"));
        assert_eq!(app.owner.get(MIGRATION).await.body["state"], "done");
        assert_eq!(app.owner.get(ENABLEMENT).await.body["state"], "disabled");
        app.owner.post(ENABLEMENT, json!({"settings": {}})).await.expect(201);
        assert_eq!(migrations(&app).await.len(), 3);
        let row = app.owner.get(ENABLEMENT).await.expect(200).body;
        assert_eq!((&row["plugin_version"], &row["state"]), (&json!("1.2.0"), &json!("enabled")));
    }

    async fn the_version_before_comes_back_with_its_grants_and_settings(app: TestApp) {
        const RETAIL: &str = "/api/v1/plugins/retail-membership/enablement";
        const ROLL_BACK: &str = "/api/v1/plugins/retail-membership/rollback";
        let bundled = hospes_bundle::PLUGINS.iter().find(|plugin| plugin.name == "retail-membership").unwrap();
        assert_eq!(app.owner.post(ROLL_BACK, json!({})).await.code(), (404, "not_found"));
        app.enable(bundled.component).await;
        assert_eq!(app.owner.post(ROLL_BACK, json!({})).await.code(), (409, "nothing_before"));
        let next = guests::edited(bundled.component, "version = \"1.0.0\"\npublisher", "version = \"1.1.0\"\npublisher");
        packages::install(&app.core, next).await.unwrap();
        let old = app.owner.get(RETAIL).await.expect(200).body;
        assert_eq!(old["previous_version"], Value::Null);
        let grants = json!([{"name": "orders:read"}, {"name": "documents:own"}]);
        let new = json!({"version": "1.1.0", "grants": grants, "settings": {"card_prefix": "99"}});
        let moved = app.owner.post(RETAIL, new).await.expect(201).body;
        assert_eq!((&moved["plugin_version"], &moved["previous_version"]), (&json!("1.1.0"), &json!("1.0.0")));
        // Other settings of the new version do not lose the way back, and no calendar bars it.
        let change = app.owner.request(Method::PATCH, RETAIL).header("if-match", "*");
        change.json(json!({"settings": {"card_prefix": "98"}})).await.expect(200);
        let freeze = json!({"starts_at": "2026-01-01T00:00:00Z", "ends_at": "2027-01-01T00:00:00Z", "reason": "sale"});
        app.owner.request(Method::PUT, "/api/v1/upgrade-freezes").json(json!({"freezes": [freeze]})).await.expect(200);

        let back = app.owner.post(ROLL_BACK, json!({})).await.expect(200).body;
        assert_eq!((&back["plugin_version"], &back["previous_version"]), (&json!("1.0.0"), &Value::Null));
        assert_eq!((&back["grants"], &back["settings"]), (&old["grants"], &old["settings"]));
        let lines = app.owner.all("/api/v1/audit?entity=plugin").await;
        assert_eq!(lines.iter().filter(|line| line["action"] == "plugin.roll_back").count(), 1);
        assert_eq!(app.owner.post(ROLL_BACK, json!({})).await.code(), (409, "nothing_before"));
        // What it is back at runs.
        let ada = app.acme.customer("Ada").await.id;
        let join = format!("/api/v1/customers/{ada}/actions/retail-membership/join");
        app.owner.post(&join, json!({})).await.expect(200);
    }

    async fn there_is_no_way_back_once_data_was_changed_or_to_what_is_stopped(app: TestApp) {
        const ROLL_BACK: &str = "/api/v1/plugins/probe/rollback";
        app.enable(guests::PROBE).await;
        install_next(&app).await;
        app.owner.post(ENABLEMENT, json!({"version": "1.1.0"})).await.expect(201);
        assert_eq!(app.owner.post(ROLL_BACK, json!({})).await.code(), (409, "data_moved"));
        trust::stop(&app.core, "probe", "1.0.0", "a fault").await.unwrap();
        assert_eq!(app.owner.post(ROLL_BACK, json!({})).await.code(), (403, "version_stopped"));
        assert_eq!(app.owner.get(ENABLEMENT).await.body["plugin_version"], "1.1.0");
        app.owner.delete(ENABLEMENT).await.expect(204);
        assert_eq!(app.owner.post(ROLL_BACK, json!({})).await.code(), (409, "not_running"));
    }

    async fn an_upgrade_that_asks_for_less_passes_and_one_that_asks_for_more_waits(app: TestApp) {
        let probe = app.enable(guests::PROBE).await;
        let actor = app.acme.operator();
        let upgrade = async || app.owner.get("/api/v1/plugins/probe").await.expect(200).body["upgrade"].clone();
        assert_eq!(upgrade().await, Value::Null);
        let less = guests::edited(guests::PROBE, ", \"order.refunded\"", "                  ");
        let less = guests::edited(&less, "version = \"1.0.0\"", "version = \"1.1.0\"");
        packages::install(&app.core, less.clone()).await.unwrap();
        let refunded = json!({"kind": "event", "name": "order.refunded"});
        assert_eq!(upgrade().await, json!({
            "version": "1.1.0", "rights": {"wider": [], "narrower": [refunded]}, "waits": false,
        }));
        let moved = roll_out(&app.core, &actor, &probe).await.unwrap();
        assert_eq!(moved, Step::Moved { from: "1.0.0".to_owned(), to: "1.1.0".to_owned() });
        assert_eq!(roll_out(&app.core, &actor, &probe).await.unwrap(), Step::Nothing);

        let more = guests::edited(&less, "customer.updated", "customer.deleted");
        let more = guests::edited(&more, "version = \"1.1.0\"", "version = \"1.2.0\"");
        packages::install(&app.core, more).await.unwrap();
        let Step::Waits(waiting) = roll_out(&app.core, &actor, &probe).await.unwrap() else { panic!("it has moved") };
        assert_eq!(waiting.rights.wider.iter().map(ToString::to_string).collect::<Vec<_>>(), ["customer.deleted"]);
        let shown = app.owner.get(ENABLEMENT).await.expect(200);
        assert_eq!(shown.body["plugin_version"], "1.1.0", "the old version goes on");
        assert_eq!(upgrade().await["waits"], true);
        // The tenant's own word, and the way back.
        for version in ["1.2.0", "1.1.0"] {
            let moved = app.owner.post(ENABLEMENT, json!({"version": version})).await.expect(201);
            assert_eq!(moved.body["plugin_version"], version);
        }
        // What is stopped is no upgrade.
        trust::stop(&app.core, "probe", "1.2.0", "a fault").await.unwrap();
        assert_eq!(upgrade().await, Value::Null);
        app.owner.delete(ENABLEMENT).await.expect(204);
        assert_eq!(roll_out(&app.core, &actor, &probe).await.unwrap(), Step::Nothing);
    }

    async fn no_newer_version_comes_while_the_calendar_wants_none(app: TestApp) {
        const CALENDAR: &str = "/api/v1/upgrade-freezes";
        app.enable(guests::PROBE).await;
        install_next(&app).await;
        let put = async |body: Value| app.owner.request(Method::PUT, CALENDAR).json(&body).await;
        let backwards = json!({"starts_at": "2026-03-02T00:00:00Z", "ends_at": "2026-03-01T00:00:00Z", "reason": "sale"});
        assert_eq!(put(json!({"freezes": [backwards]})).await.faults(), ["/freezes/0/ends_at ends_before_start"]);
        let sale = json!({"starts_at": "2026-03-01T00:00:00.000000Z", "ends_at": "2026-03-02T00:00:00.000000Z", "reason": "spring sale"});
        put(json!({"freezes": [sale]})).await.expect(200);
        assert_eq!(app.owner.get(CALENDAR).await.expect(200).body, json!({"freezes": [sale]}));
        let audit = app.owner.get("/api/v1/audit?entity=upgrade_freezes").await.expect(200);
        assert_eq!(audit.body["items"][0]["action"], "upgrade_freezes.replace");

        let refused = app.owner.post(ENABLEMENT, json!({})).await;
        assert_eq!(refused.code(), (403, "upgrade_frozen"));
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains("spring sale") && detail.contains("2026-03-02"), "{detail}");
        let code = roll_out(&app.core, &app.acme.operator(), "probe").await.unwrap_err().reason();
        assert_eq!(code.as_str(), "upgrade_frozen");
        // Other settings of the same version are no upgrade.
        app.owner.post(ENABLEMENT, json!({"version": "1.0.0"})).await.expect(201);
        // A stopped version is replaced all the same, and the way back is open.
        trust::stop(&app.core, "probe", "1.0.0", "a fault").await.unwrap();
        app.owner.post(ENABLEMENT, json!({})).await.expect(201);
        trust::resume(&app.core, "probe", "1.0.0").await.unwrap();
        app.owner.post(ENABLEMENT, json!({"version": "1.0.0"})).await.expect(201);
        // What is disabled at the moment is not upgraded by the way either; as it was, it comes back.
        app.owner.delete(ENABLEMENT).await.expect(204);
        assert_eq!(app.owner.post(ENABLEMENT, json!({})).await.code(), (403, "upgrade_frozen"));
        app.owner.post(ENABLEMENT, json!({"version": "1.0.0"})).await.expect(201);
        // It is over.
        app.clock.advance_seconds(24 * 60 * 60);
        app.owner.post(ENABLEMENT, json!({})).await.expect(201);
    }

    async fn a_move_that_is_going_on_waits_while_the_calendar_wants_no_upgrades(app: TestApp) {
        const CALENDAR: &str = "/api/v1/upgrade-freezes";
        app.enable(guests::PROBE).await;
        install_next(&app).await;
        app.owner.post(ENABLEMENT, json!({"settings": {"refuse_enable": true}})).await;
        leave_move(&app).await;
        no_longer_refuse(&app).await;
        let sale = json!({"starts_at": "2026-03-01T00:00:00Z", "ends_at": "2026-03-02T00:00:00Z", "reason": "spring sale"});
        app.owner.put(CALENDAR, json!({"freezes": [sale]})).await.expect(200);
        let before = migrations(&app).await.len();
        let mut looked = 0;
        for _ in 0..20 {
            app.clock.advance_seconds(300);
            looked += moves::go_on(&app.core).await.unwrap();
        }
        assert_eq!((looked, migrations(&app).await.len()), (20, before), "it is looked at, and nothing is called");
        let held = app.owner.get(MIGRATION).await.expect(200).body;
        assert_eq!((&held["state"], &held["chunks"], &held["attempts"]), (&json!("interrupted"), &json!(1), &json!(0)), "{held}");
        assert!(held["error"].as_str().unwrap().contains("spring sale"), "{held}");
        let row = app.owner.get(ENABLEMENT).await.expect(200).body;
        assert_eq!((&row["plugin_version"], &row["state"]), (&json!("1.0.0"), &json!("enabled")));
        // Once it is over, the move goes on by itself where it stands.
        app.clock.advance_seconds(24 * 60 * 60);
        moves::go_on(&app.core).await.unwrap();
        assert_eq!(migrations(&app).await[before..], ["migrating from 1.0.0, chunk 1", "migrating from 1.0.0, chunk 2"]);
        let done = app.owner.get(MIGRATION).await.expect(200).body;
        assert_eq!((&done["state"], &done["error"]), (&json!("done"), &Value::Null));
        assert_eq!(app.owner.get(ENABLEMENT).await.expect(200).body["plugin_version"], "1.1.0");
    }

    async fn whoever_asks_for_a_move_that_waits_need_not_wait_for_the_next_look(app: TestApp) {
        const CALENDAR: &str = "/api/v1/upgrade-freezes";
        app.enable(guests::PROBE).await;
        install_next(&app).await;
        app.owner.post(ENABLEMENT, json!({"settings": {"refuse_enable": true}})).await;
        leave_move(&app).await;
        no_longer_refuse(&app).await;
        let sale = json!({"starts_at": "2026-03-01T00:00:00Z", "ends_at": "2026-03-02T00:00:00Z", "reason": "spring sale"});
        app.owner.put(CALENDAR, json!({"freezes": [sale]})).await.expect(200);
        app.clock.advance_seconds(300);
        moves::go_on(&app.core).await.unwrap();
        assert_eq!(app.owner.get(MIGRATION).await.expect(200).body["state"], "interrupted");
        // The sale was called off a moment later.
        app.owner.put(CALENDAR, json!({"freezes": []})).await.expect(200);
        let before = migrations(&app).await.len();
        app.owner.post(ENABLEMENT, json!({})).await.expect(201);
        assert_eq!(migrations(&app).await[before..], ["migrating from 1.0.0, chunk 1", "migrating from 1.0.0, chunk 2"]);
        assert_eq!(app.owner.get(MIGRATION).await.expect(200).body["state"], "done");
    }

    async fn two_tenants_run_two_versions_side_by_side(app: TestApp) {
        let there = app.tenant("there").await;
        let (ada, lin) = (app.acme.customer("Ada").await.id, there.customer("Lin").await.id);
        app.enable(guests::PROBE).await;
        install_next(&app).await;
        there.owner.post(ENABLEMENT, json!({"version": "1.1.0"})).await.expect(201);
        for (client, customer, version) in [(&app.owner, &ada, "1.0.0"), (&there.owner, &lin, "1.1.0")] {
            let echo = act(client, customer.as_str(), "echo", json!({})).await.expect(200);
            assert_eq!(echo.body["body"]["version"], version);
        }
    }
}

/// Asks until the answer is as wanted; every answer before is looked at by `meanwhile`.
async fn until_followed(
    ask: impl AsyncFn() -> TestResponse,
    wanted: impl Fn(&TestResponse) -> bool,
    meanwhile: impl Fn(&TestResponse),
) {
    let changed = Instant::now();
    loop {
        let answer = ask().await;
        if wanted(&answer) {
            return;
        }
        meanwhile(&answer);
        assert!(changed.elapsed() < FOLLOWED_WITHIN, "still not followed: {answer}");
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_follows_grants_and_an_end_that_another_has_decided() {
    let Some(app) = TestApp::start(Engine::Postgres).await else { return };
    let ada = app.acme.customer("Ada").await.id;
    app.enable(guests::PROBE).await;
    let elsewhere = app.second_server().client(&app.owner);
    let add = async || act(&elsewhere, ada.as_str(), "add", json!({"amount": 1})).await;
    assert_eq!(add().await.expect(200).body["body"]["amount"], 1);

    let change = app.owner.request(Method::PATCH, ENABLEMENT).header("if-match", "\"1\"");
    change.json(json!({"grants": [{"name": "settings:own"}]})).await.expect(200);
    // A server that does not know yet may try, but nothing under the old rights is ever committed: it
    // learns of the new ones then.
    assert_eq!(add().await.body["plugin_code"], "denied");
    let kept = app.owner.get("/api/v1/plugins/probe/collections/tallies").await.expect(200);
    assert_eq!(kept.body["items"][0]["body"]["amount"], 1);

    let echo = async || act(&elsewhere, ada.as_str(), "echo", json!({})).await;
    echo().await.expect(200);
    app.owner.delete(ENABLEMENT).await.expect(204);
    echo().await.expect(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_follows_a_new_version_and_a_hook_that_another_has_enabled() {
    let Some(app) = TestApp::start(Engine::Postgres).await else { return };
    let elsewhere = app.second_server().client(&app.owner);
    let save =
        async || elsewhere.post("/api/v1/customers", json!({"kind": "person", "name": "reject: Eve"})).await;
    save().await.expect(201);
    app.enable(guests::PROBE).await;
    let vetoed = |answer: &TestResponse| answer.code() == (422, "plugin_rejected");
    until_followed(save, vetoed, |answer| assert_eq!(answer.status, 201, "{answer}")).await;

    let ada = app.acme.customer("Ada").await.id;
    let version = async || act(&elsewhere, ada.as_str(), "echo", json!({})).await;
    version().await.expect(200);
    install_next(&app).await;
    app.owner.post(ENABLEMENT, json!({})).await.expect(201);
    assert_eq!(version().await.expect(200).body["body"]["version"], "1.1.0");
}
