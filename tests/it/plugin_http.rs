//! The resources of plugins, through the router.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use hospes::domain::permission::Role;
use hospes::http::{HttpState, Options, router};
use hospes::ops::plugins::packages;
use hospes::ops::tokens;
use hospes_tests::{both_engines, guests};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::plugin_rig::Rig;

/// A client with a token.
struct Client {
    router: Router,
    token: String,
}

struct Answer {
    status: StatusCode,
    etag: Option<String>,
    body: Value,
}

impl Client {
    async fn new(rig: &Rig, role: Role) -> Self {
        let new = json!({ "name": "test", "roles": [role] });
        let new = serde_json::from_value(new).expect("a token's request");
        let made = tokens::create(&rig.core, &rig.actor, new).await.expect("a token can be made");
        let state = HttpState::new(rig.core.clone(), Options::default(), Default::default());
        Self { router: router(state), token: made.secret.expect("a new token is shown once") }
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let response =
            self.router.clone().oneshot(request.body(body).expect("a request")).await.expect("an answer");
        let status = response.status();
        let etag = response.headers().get(header::ETAG).map(|tag| tag.to_str().expect("text").to_owned());
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).expect("JSON") };
        Answer { status, etag, body }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], None).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, &[], Some(body)).await
    }
}

both_engines! {
    async fn a_tenant_reads_what_a_plugin_asks_for_and_grants_a_part(rig: Rig) {
        packages::install(&rig.core, guests::PROBE.to_vec()).await.unwrap();
        let owner = Client::new(&rig, Role::Owner).await;
        let catalogue = owner.get("/plugins").await;
        assert_eq!(catalogue.status, StatusCode::OK);
        let probe = &catalogue.body["items"][0];
        assert_eq!(probe["name"], "probe");
        assert_eq!(probe["grants"][0]["reason"], "To be used by tests.");
        assert_eq!(probe["grants"][7]["name"], "kv:own");
        assert_eq!(probe["grants"][7]["opens"], json!(["kv.get-many", "kv.set-many"]));
        let chinese = owner.send("GET", "/plugins", &[("accept-language", "zh-CN")], None).await;
        assert_eq!(chinese.body["items"][0]["grants"][0]["reason"], "供测试使用。");

        let wrong = owner.post("/plugins/probe/enablement", json!({ "settings": { "greeting": 1 } })).await;
        assert_eq!(wrong.status.as_u16(), 422, "{}", wrong.body);
        assert!(wrong.body.to_string().contains("/settings/greeting"), "{}", wrong.body);

        let grants = json!({ "grants": ["settings:own", "kv:own", "documents:own"] });
        let enabled = owner.post("/plugins/probe/enablement", grants).await;
        assert_eq!(enabled.status, StatusCode::CREATED, "{}", enabled.body);
        assert_eq!(enabled.body["settings"], json!({ "greeting": "hello", "refuse_enable": false }));
        assert_eq!(enabled.etag.as_deref(), Some("\"1\""));

        let patch = json!({ "settings": { "greeting": "hi" } });
        let stale = [("if-match", "\"7\"")];
        let stale = owner.send("PATCH", "/plugins/probe/enablement", &stale, Some(patch.clone())).await;
        assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED, "{}", stale.body);
        let current = [("if-match", "\"1\"")];
        let changed = owner.send("PATCH", "/plugins/probe/enablement", &current, Some(patch)).await;
        assert_eq!(changed.body["settings"]["greeting"], "hi", "{}", changed.body);

        let gone = owner.send("DELETE", "/plugins/probe/enablement", &[], None).await;
        assert_eq!(gone.status, StatusCode::NO_CONTENT);
        assert_eq!(owner.get("/plugins/probe/enablement").await.body["state"], "disabled");
    }

    async fn a_button_takes_effect_once_for_one_key(rig: Rig) {
        rig.enable(guests::PROBE).await;
        let owner = Client::new(&rig, Role::Owner).await;
        let path = format!("/customers/{}/actions/probe/add", rig.customer);
        for _ in 0..2 {
            let key = [("idempotency-key", "once-and-only-once")];
            let added = owner.send("POST", &path, &key, Some(json!({ "amount": 5 }))).await;
            assert_eq!(added.status, StatusCode::OK, "{}", added.body);
            assert_eq!(added.body["body"]["amount"], 5);
        }
        let again = owner.post(&path, json!({ "amount": 1 })).await;
        assert_eq!(again.body["body"]["amount"], 6);
        let kept = owner.get("/plugins/probe/collections/tallies").await;
        assert_eq!(kept.body["items"][0]["body"]["amount"], 6, "{}", kept.body);
        assert_eq!(owner.get("/plugins/probe/collections/no-such").await.status, StatusCode::NOT_FOUND);
    }

    async fn a_refusal_names_the_plugin_and_its_reason(rig: Rig) {
        rig.enable(guests::PROBE).await;
        let owner = Client::new(&rig, Role::Owner).await;
        let refused = owner.post(&format!("/customers/{}/actions/probe/refuse", rig.customer), json!({})).await;
        assert!(refused.status.is_client_error(), "{}", refused.body);
        assert_eq!(refused.body["plugin"], "probe");
        assert_eq!(refused.body["plugin_code"], "told_to_refuse");
        let elsewhere = "/customers/cus_00000000000000000000000000/actions/probe/refuse";
        assert_eq!(owner.post(elsewhere, json!({})).await.status, StatusCode::NOT_FOUND);
    }

    async fn a_failure_is_shown_with_the_guests_own_backtrace(rig: Rig) {
        rig.enable(guests::HOSTILE).await;
        let owner = Client::new(&rig, Role::Owner).await;
        let failed = owner.post(&format!("/customers/{}/actions/hostile/trap", rig.customer), json!({})).await;
        assert!(failed.status.is_server_error(), "{}", failed.body);
        assert_eq!(failed.body["plugin"], "hostile");
        let details = owner.get("/plugins/hostile").await.body;
        assert_eq!(details["health"].as_array().unwrap().len(), 1, "{details}");
        assert_eq!(details["last_failures"][0]["code"], "trap");
        assert!(details["last_failures"][0]["message"].as_str().unwrap().contains("wasm backtrace"));
        let log = owner.get("/plugins/hostile/log?limit=1").await.body;
        assert_eq!(log["items"][0]["level"], "failure", "{log}");
        let cursor = log["next_cursor"].as_str().unwrap();
        let log = owner.get(&format!("/plugins/hostile/log?limit=1&cursor={cursor}")).await.body;
        assert!(log["items"][0]["message"].as_str().unwrap().contains("trapped on purpose"), "{log}");
    }

    async fn only_who_may_decides_about_plugins(rig: Rig) {
        packages::install(&rig.core, guests::PROBE.to_vec()).await.unwrap();
        let agent = Client::new(&rig, Role::Agent).await;
        assert_eq!(agent.get("/plugins").await.status, StatusCode::FORBIDDEN);
        let enable = agent.post("/plugins/probe/enablement", json!({})).await;
        assert_eq!(enable.status, StatusCode::FORBIDDEN);
        let manager = Client::new(&rig, Role::Manager).await;
        assert_eq!(manager.get("/plugins").await.status, StatusCode::OK);
        let enable = manager.post("/plugins/probe/enablement", json!({})).await;
        assert_eq!(enable.status, StatusCode::FORBIDDEN);
    }
}
