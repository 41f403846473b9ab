//! The resources of plugins, through the router.

use axum::http::{Method, StatusCode};
use hospes::domain::permission::Role;
use hospes::ops::plugins::packages;
use hospes_tests::{both_engines, guests};
use serde_json::json;

use crate::plugin_rig::Rig;

both_engines! {
    async fn a_tenant_reads_what_a_plugin_asks_for_and_grants_a_part(rig: Rig) {
        packages::install(&rig.core, guests::PROBE.to_vec()).await.unwrap();
        let owner = rig.app.owner.clone();
        let catalogue = owner.get("/api/v1/plugins").await;
        assert_eq!(catalogue.status, StatusCode::OK);
        let probe = &catalogue.body["items"][0];
        assert_eq!(probe["name"], "probe");
        assert_eq!(probe["grants"][0]["reason"], "To be used by tests.");
        assert_eq!(probe["grants"][7]["name"], "kv:own");
        assert_eq!(probe["grants"][7]["opens"], json!(["kv.delete-many", "kv.get-many", "kv.set-many"]));
        let chinese = owner.get("/api/v1/plugins").header("accept-language", "zh-CN").await;
        assert_eq!(chinese.body["items"][0]["grants"][0]["reason"], "供测试使用。");

        let wrong = owner.post("/api/v1/plugins/probe/enablement", json!({ "settings": { "greeting": 1 } })).await;
        assert_eq!(wrong.status.as_u16(), 422, "{}", wrong.body);
        assert!(wrong.body.to_string().contains("/settings/greeting"), "{}", wrong.body);

        let grants = json!({ "grants": [{ "name": "settings:own" }, { "name": "kv:own" }, { "name": "documents:own" }] });
        let enabled = owner.post("/api/v1/plugins/probe/enablement", grants).await;
        assert_eq!(enabled.status, StatusCode::CREATED, "{}", enabled.body);
        assert_eq!(enabled.body["settings"], json!({ "greeting": "hello", "refuse_enable": false }));
        assert_eq!(enabled.header("etag"), "\"1\"");

        let patch = json!({ "settings": { "greeting": "hi" } });
        let change = |version: &str| {
            let request = owner.request(Method::PATCH, "/api/v1/plugins/probe/enablement");
            request.header("if-match", version).json(&patch)
        };
        let stale = change("\"7\"").await;
        assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED, "{}", stale.body);
        let changed = change("\"1\"").await;
        assert_eq!(changed.body["settings"]["greeting"], "hi", "{}", changed.body);

        let gone = owner.delete("/api/v1/plugins/probe/enablement").await;
        assert_eq!(gone.status, StatusCode::NO_CONTENT);
        assert_eq!(owner.get("/api/v1/plugins/probe/enablement").await.body["state"], "disabled");
    }

    async fn a_button_takes_effect_once_for_one_key(rig: Rig) {
        rig.enable(guests::PROBE).await;
        let owner = rig.app.owner.clone();
        let path = format!("/api/v1/customers/{}/actions/probe/add", rig.customer);
        for _ in 0..2 {
            let added = owner.post(&path, json!({ "amount": 5 }));
            let added = added.header("idempotency-key", "once-and-only-once").await;
            assert_eq!(added.status, StatusCode::OK, "{}", added.body);
            assert_eq!(added.body["body"]["amount"], 5);
        }
        let again = owner.post(&path, json!({ "amount": 1 })).await;
        assert_eq!(again.body["body"]["amount"], 6);
        let kept = owner.get("/api/v1/plugins/probe/collections/tallies").await;
        assert_eq!(kept.body["items"][0]["body"]["amount"], 6, "{}", kept.body);
        assert_eq!(owner.get("/api/v1/plugins/probe/collections/no-such").await.status, StatusCode::NOT_FOUND);
    }

    async fn a_refusal_names_the_plugin_and_its_reason(rig: Rig) {
        rig.enable(guests::PROBE).await;
        let owner = rig.app.owner.clone();
        let refused = owner.post(&format!("/api/v1/customers/{}/actions/probe/refuse", rig.customer), json!({})).await;
        assert!(refused.status.is_client_error(), "{}", refused.body);
        assert_eq!(refused.body["plugin"], "probe");
        assert_eq!(refused.body["plugin_code"], "told_to_refuse");
        let elsewhere = "/api/v1/customers/cus_00000000000000000000000000/actions/probe/refuse";
        assert_eq!(owner.post(elsewhere, json!({})).await.status, StatusCode::NOT_FOUND);
    }

    async fn a_failure_is_shown_with_the_guests_own_backtrace(rig: Rig) {
        rig.enable(guests::HOSTILE).await;
        let owner = rig.app.owner.clone();
        let failed = owner.post(&format!("/api/v1/customers/{}/actions/hostile/trap", rig.customer), json!({})).await;
        assert!(failed.status.is_server_error(), "{}", failed.body);
        assert_eq!(failed.body["plugin"], "hostile");
        let details = owner.get("/api/v1/plugins/hostile").await.body;
        assert_eq!(details["health"].as_array().unwrap().len(), 1, "{details}");
        assert_eq!(details["last_failures"][0]["code"], "trap");
        assert_eq!(details["last_failures"][0]["plugin_version"], "1.0.0");
        assert!(!details["last_failures"][0]["backtrace"].as_array().unwrap().is_empty());
        let log = owner.get("/api/v1/plugins/hostile/log?limit=1").await.body;
        assert_eq!(log["items"][0]["level"], "failure", "{log}");
        let cursor = log["next_cursor"].as_str().unwrap();
        let log = owner.get(&format!("/api/v1/plugins/hostile/log?limit=1&cursor={cursor}")).await.body;
        assert!(log["items"][0]["message"].as_str().unwrap().contains("trapped on purpose"), "{log}");
    }

    async fn only_who_may_decides_about_plugins(rig: Rig) {
        packages::install(&rig.core, guests::PROBE.to_vec()).await.unwrap();
        let agent = rig.app.acme.token(&[Role::Agent]).await;
        assert_eq!(agent.get("/api/v1/plugins").await.status, StatusCode::FORBIDDEN);
        let enable = agent.post("/api/v1/plugins/probe/enablement", json!({})).await;
        assert_eq!(enable.status, StatusCode::FORBIDDEN);
        let manager = rig.app.acme.token(&[Role::Manager]).await;
        assert_eq!(manager.get("/api/v1/plugins").await.status, StatusCode::OK);
        let enable = manager.post("/api/v1/plugins/probe/enablement", json!({})).await;
        assert_eq!(enable.status, StatusCode::FORBIDDEN);
    }
}
