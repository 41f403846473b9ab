//! Hooks through the API: what a veto, a patch and a failing hook are for whoever saves.

use hospes::metrics::Metrics;
use hospes_tests::{TestApp, TestResponse, both_engines, guests};
use serde_json::{Value, json};

const PANIC: &str = "told to trap";

fn person(name: &str) -> Value {
    json!({"kind": "person", "name": name})
}

fn order(customer: &Value, channel: &str) -> Value {
    json!({
        "customer_id": customer["id"], "channel": channel, "ordered_at": "2026-02-01T00:00:00Z",
        "total": {"amount_minor": 100, "currency": "CNY"},
    })
}

async fn create(app: &TestApp, name: &str) -> TestResponse {
    app.owner.post("/api/v1/customers", person(name)).await
}

/// All that a save leaves behind: records, events and audit lines.
async fn traces(app: &TestApp) -> [Vec<Value>; 4] {
    // The feed shows what no open transaction of the cluster may precede; the lanes' rows are there at once.
    let lanes = app.owner.all("/api/v1/events/lanes").await;
    let waiting = lanes.iter().map(|lane| lane["waiting"].clone()).collect();
    let customers = app.owner.all("/api/v1/customers").await;
    let orders = app.owner.all("/api/v1/orders").await;
    [customers, orders, app.owner.all("/api/v1/audit").await, waiting]
}

both_engines! {
    async fn a_veto_names_plugin_and_reason_and_nothing_is_written(app: TestApp) {
        let ada = create(&app, "Ada").await.expect(201).body;
        app.enable(guests::PROBE).await;
        let before = traces(&app).await;

        let created = create(&app, "reject: Eve").await.expect(422);
        assert_eq!(created.header("content-type"), "application/problem+json");
        assert_eq!(created.code(), (422, "plugin_rejected"));
        assert_eq!((&created.body["plugin"], &created.body["plugin_code"]), (&json!("probe"), &json!("told_to_reject")));
        let detail = created.body["detail"].as_str().unwrap();
        assert!(detail.contains("`probe`") && detail.contains("told to reject Eve; created: true"), "{detail}");
        assert_eq!(created.faults(), ["/name told_to_reject"]);
        let path = format!("/api/v1/customers/{}", ada["id"].as_str().unwrap());
        let changed = app.owner.patch(&path, json!({"name": "reject: Eve", "tags": ["vip"]})).await.expect(422);
        assert!(changed.body["detail"].as_str().unwrap().contains("created: false"), "{changed}");
        let by_source = app.owner.put("/api/v1/sources/pos/customers/1", person("reject: Mallory")).await;
        assert_eq!(by_source.code(), (422, "plugin_rejected"));
        let ordered = app.owner.post("/api/v1/orders", order(&ada, "reject")).await;
        assert_eq!(ordered.code(), (422, "plugin_rejected"));

        assert_eq!(traces(&app).await, before);
    }

    async fn a_veto_is_told_in_the_language_of_the_request(app: TestApp) {
        app.enable(guests::PROBE).await;
        let request = app.owner.post("/api/v1/customers", person("reject: Eve"));
        let told = request.header("accept-language", "zh-CN").await.expect(422);
        assert_eq!(told.header("content-language"), "zh-CN");
        assert!(told.body["detail"].as_str().unwrap().contains("told to reject Eve"), "{told}");
    }

    async fn what_a_hook_patches_is_what_is_saved_answered_and_announced(app: TestApp) {
        app.enable(guests::PROBE).await;
        let made = create(&app, "patch: Grace").await.expect(201).body;
        assert_eq!(made["name"], "Grace");
        let path = format!("/api/v1/customers/{}", made["id"].as_str().unwrap());
        let tagged = app.owner.patch(&path, json!({"name": "tag: vip"})).await.expect(200).body;
        assert_eq!((&tagged["name"], &tagged["tags"]), (&json!("tag: vip"), &json!(["vip"])));
        assert_eq!(app.owner.get(&path).await.expect(200).body, tagged);
        // The record that the plugin is told of as an event is the patched one.
        app.run_jobs().await;
        let found = app.owner.get("/api/v1/customers?tag=vip").await.expect(200).body;
        assert_eq!(found["items"][0]["fields"]["probe.events"], 2, "{found:#}");
    }

    async fn a_failing_hook_stops_the_save_or_lets_it_through_as_it_has_declared(app: TestApp) {
        app.enable(guests::PROBE).await;
        let ada = create(&app, "Ada").await.expect(201).body;
        let before = traces(&app).await;
        // The hook of customers is declared to refuse, that of orders to allow.
        let closed = create(&app, "trap: Eve").await;
        assert_eq!(closed.code(), (502, "plugin_failed"));
        assert_eq!((&closed.body["plugin"], &closed.body["plugin_code"]), (&json!("probe"), &json!("trap")));
        assert_eq!(traces(&app).await, before);
        app.owner.post("/api/v1/orders", order(&ada, "trap")).await.expect(201);
        assert_eq!(app.owner.all("/api/v1/orders").await.len(), 1);
        let log = app.log("probe").await;
        assert_eq!(log.iter().filter(|line| line.contains(PANIC)).count(), 2, "{log:#?}");
    }

    async fn a_hook_that_is_paused_after_failures_fails_as_it_has_declared(app: TestApp) {
        app.enable(guests::PROBE).await;
        let ada = create(&app, "Ada").await.expect(201).body;
        for _ in 0..5 {
            assert_eq!(create(&app, "trap: Eve").await.body["plugin_code"], "trap");
        }
        // Also who would have been let through waits, or passes without the hook.
        assert_eq!(create(&app, "Grace").await.body["plugin_code"], "paused");
        app.owner.post("/api/v1/orders", order(&ada, "reject")).await.expect(201);
        app.clock.advance_seconds(31);
        create(&app, "Grace").await.expect(201);
        assert_eq!(app.owner.post("/api/v1/orders", order(&ada, "reject")).await.code(), (422, "plugin_rejected"));
    }

    async fn a_tenant_decides_what_becomes_of_saves_whose_hook_fails(app: TestApp) {
        let metrics = Metrics::start();
        app.enable(guests::PROBE).await;
        let ada = create(&app, "Ada").await.expect(201).body;
        let enablement = "/api/v1/plugins/probe/enablement";
        let decided = json!({"customer": "allow", "order": "refuse"});
        let view = app.owner.patch(enablement, json!({"on_failure": decided})).await.expect(200).body;
        assert_eq!(view["on_failure"], decided);
        let audit = app.owner.all("/api/v1/audit").await;
        let line = audit.iter().find(|line| line["action"] == "plugin.configure").expect("it is in the audit");
        assert_eq!(line["changes"]["on_failure"], decided);

        // The other way round than the manifest says, and the breaker is closed.
        create(&app, "trap: Eve").await.expect(201);
        let refused = app.owner.post("/api/v1/orders", order(&ada, "trap")).await;
        assert_eq!(refused.code(), (502, "plugin_failed"));
        assert_eq!((&refused.body["plugin"], &refused.body["plugin_code"]), (&json!("probe"), &json!("trap")));
        assert!(refused.body["detail"].as_str().unwrap().contains("`probe`"), "{refused}");
        // A veto is no failure.
        assert_eq!(create(&app, "reject: Eve").await.code(), (422, "plugin_rejected"));

        for _ in 0..5 {
            create(&app, "trap: Eve").await.expect(201);
        }
        // It is open now: the hook is not asked, and the same is done.
        create(&app, "reject: Mallory").await.expect(201);
        assert_eq!(app.owner.post("/api/v1/orders", order(&ada, "web")).await.body["plugin_code"], "paused");
        app.clock.advance_seconds(31);
        assert_eq!(create(&app, "reject: Mallory").await.code(), (422, "plugin_rejected"));

        // What was let through can be seen.
        let details = app.owner.get("/api/v1/plugins/probe").await.expect(200).body;
        let health = details["health"].as_array().unwrap().iter().find(|one| one["point"] == "hooks").unwrap();
        assert_eq!(health["passed_over"], 7, "{health}");
        assert_eq!(details["last_failures"][0]["point"], "hooks");
        assert_eq!(details["hooks"], json!([
            {"entity": "customer", "on_failure": "allow", "declared": "refuse"},
            {"entity": "order", "on_failure": "refuse", "declared": "allow"},
        ]));
        let series = "hospes_plugin_hooks_passed_over_total{plugin=\"probe\",entity=\"customer\"}";
        assert!(metrics.render().contains(series));

        // The decision outlives the enablement, and can be taken back.
        app.owner.delete(enablement).await.expect(204);
        let again = app.owner.post(enablement, json!({})).await.expect(201).body;
        assert_eq!(again["on_failure"], decided);
        app.owner.patch(enablement, json!({"on_failure": {}})).await.expect(200);
        assert_eq!(create(&app, "trap: Eve").await.code(), (502, "plugin_failed"));
    }

    async fn nothing_is_decided_about_a_hook_that_there_is_not(app: TestApp) {
        app.enable(guests::HOSTILE).await;
        let enablement = "/api/v1/plugins/hostile/enablement";
        let refused = app.owner.patch(enablement, json!({"on_failure": {"order": "allow"}})).await.expect(422);
        assert_eq!(refused.faults(), ["/on_failure/order not_asked_for"]);
        for wrong in [json!({"customer": "perhaps"}), json!({"ticket": "allow"}), json!(["customer"])] {
            let refused = app.owner.patch(enablement, json!({ "on_failure": wrong })).await;
            assert!(refused.status.is_client_error(), "{wrong}: {refused}");
        }
        let view = app.owner.get(enablement).await.expect(200).body;
        assert_eq!((&view["on_failure"], &view["version"]), (&json!({}), &json!(1)));
    }

    async fn hooks_without_their_grant_are_not_asked(app: TestApp) {
        let probe = app.enable(guests::PROBE).await;
        let rest = json!({"grants": [{"name": "settings:own"}, {"name": "kv:own"}, {"name": "hooks:order"}]});
        app.owner.patch(&format!("/api/v1/plugins/{probe}/enablement"), rest).await.expect(200);
        let eve = create(&app, "reject: Eve").await.expect(201).body;
        let refused = app.owner.post("/api/v1/orders", order(&eve, "reject")).await;
        assert_eq!(refused.code(), (422, "plugin_rejected"));
    }
}
