//! Bearer tokens, keys that make requests take effect once, and limits on requests.

use axum::http::{Method, StatusCode};
use hospes::domain::permission::{Permission, Role};
use hospes::http::{Options, RateLimit};
use hospes::ops::idempotency;
use hospes_tests::{Client, Engine, Harness as _, TestApp, TestResponse, both_engines};
use serde_json::json;

async fn send_unit(client: &Client, key: &str, name: &str) -> TestResponse {
    let body = json!({"kind": "store", "name": name});
    client.request(Method::POST, "/api/v1/org-units").header("idempotency-key", key).json(&body).await
}

both_engines! {
    async fn a_token_shows_its_secret_once_and_ends_when_revoked(app: TestApp) {
        let body = json!({"name": "till", "roles": ["integration"], "permissions": ["order:write"]});
        let made = app.owner.post("/api/v1/tokens", body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
        let secret = made.body["secret"].as_str().unwrap();
        assert!(secret.starts_with("hsp_"));
        let path = made.header("location").to_owned();
        assert!(!app.owner.get(&path).await.body.to_string().contains("secret"));

        let till = app.bearer(secret);
        let me = till.get("/api/v1/me").await;
        assert_eq!(me.body["permissions"], json!([{"permission": "order:write", "scope": "all"}]));
        assert_eq!(till.get("/api/v1/users").await.code(), (403, "forbidden"));

        assert_eq!(app.owner.delete(&path).await.status, StatusCode::NO_CONTENT);
        assert_eq!(app.owner.delete(&path).await.status, StatusCode::NO_CONTENT);
        assert_eq!(till.get("/api/v1/me").await.code(), (401, "unauthenticated"));
    }

    async fn an_expired_or_changed_token_is_refused(app: TestApp) {
        let body = json!({"name": "short", "roles": ["auditor"], "expires_at": "2026-03-01T09:00:00Z"});
        let made = app.owner.post("/api/v1/tokens", body).await;
        let secret = made.body["secret"].as_str().unwrap();
        let with = async |secret: &str| {
            let request = app.anonymous().request(Method::GET, "/api/v1/audit");
            request.header("authorization", &format!("bearer {secret}")).await.status.as_u16()
        };
        assert_eq!(with(secret).await, 200);
        assert_eq!(with(&format!("{secret}x")).await, 401);
        assert_eq!(with("hsp_").await, 401);
        app.clock.advance_seconds(3_600);
        assert_eq!(with(secret).await, 401);
        for (time, wanted) in
            [("2026-01-01T00:00:00Z", "/expires_at in_the_past"), ("2028-01-01T00:00:00Z", "/expires_at too_far")]
        {
            let body = json!({"name": "x", "roles": ["auditor"], "expires_at": time});
            assert_eq!(app.owner.post("/api/v1/tokens", body).await.faults(), [wanted]);
        }
    }

    async fn a_scoped_token_cannot_make_a_wider_one(app: TestApp) {
        let narrow = app.acme.scoped_token(&[Permission::TokenWrite, Permission::OrderRead]).await;
        let wide = narrow.post("/api/v1/tokens", json!({"name": "x", "roles": ["admin"]})).await;
        assert_eq!(wide.code(), (403, "wider_than_own"));
        let body = json!({"name": "x", "roles": ["analyst"], "permissions": ["order:read"]});
        assert_eq!(narrow.post("/api/v1/tokens", body).await.status, StatusCode::CREATED);
    }

    async fn a_repeated_key_gets_the_first_answer_and_changes_nothing(app: TestApp) {
        let first = send_unit(&app.owner, "k1", "North").await;
        let again = send_unit(&app.owner, "k1", "North").await;
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert_eq!((again.header("location"), again.header("etag")), (first.header("location"), first.header("etag")));
        assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));
        assert_eq!(send_unit(&app.owner, "k1", "South").await.code(), (409, "idempotency_key_reused"));
        let other = app.acme.token(&[Role::Admin]).await;
        assert_ne!(send_unit(&other, "k1", "North").await.body["id"], first.body["id"]);
        let units = app.owner.get("/api/v1/org-units").await;
        assert_eq!(units.body["items"].as_array().unwrap().len(), 2);

        app.clock.advance_seconds(idempotency::KEPT_SECONDS + 1);
        assert_eq!(idempotency::purge(&app.core, app.acme.id()).await.unwrap(), 2);
        assert_ne!(send_unit(&app.owner, "k1", "North").await.body["id"], first.body["id"]);
    }

    async fn many_at_once_with_one_key_are_one_request(app: TestApp) {
        let answers = futures::future::join_all((0..16).map(|_| send_unit(&app.owner, "same", "North"))).await;
        for answer in &answers {
            assert_eq!((answer.status, &answer.body["id"]), (StatusCode::CREATED, &answers[0].body["id"]));
        }
        let units = app.owner.get("/api/v1/org-units").await;
        assert_eq!(units.body["items"].as_array().unwrap().len(), 1);
    }

    async fn a_refused_request_may_be_sent_again_with_its_key(app: TestApp) {
        let body = |parent| json!({"kind": "store", "name": "X", "parent_id": parent});
        let send = async |body| {
            let request = app.owner.request(Method::POST, "/api/v1/org-units").header("idempotency-key", "k");
            request.json(&body).await.status.as_u16()
        };
        assert_eq!(send(body(json!("org_00000000000000000000000000"))).await, 422);
        assert_eq!(send(body(json!(null))).await, 201);
    }

    async fn a_repeated_token_does_not_show_its_secret_again(app: TestApp) {
        let send = async || {
            let body = json!({"name": "till", "roles": ["integration"]});
            let request = app.owner.request(Method::POST, "/api/v1/tokens").header("idempotency-key", "k");
            request.json(&body).await
        };
        let (first, again) = (send().await, send().await);
        assert_eq!(first.body["id"], again.body["id"]);
        assert!(first.body["secret"].is_string() && again.body.get("secret").is_none());
    }
}

#[tokio::test]
async fn too_many_requests_are_told_when_to_come_back() {
    let options = Options { principal_limit: RateLimit::new(3, 3_600), ..Options::default() };
    let app = TestApp::start(Engine::Sqlite).await.unwrap().with_options(options);
    let mut left = Vec::new();
    for _ in 0..3 {
        left.push(app.owner.get("/api/v1/me").await.header("ratelimit-remaining").to_owned());
    }
    assert_eq!(left, ["2", "1", "0"]);
    let refused = app.owner.get("/api/v1/me").await;
    assert_eq!(refused.code(), (429, "too_many_requests"));
    let wait: u32 = refused.header("retry-after").parse().unwrap();
    assert!((1_100..=1_200).contains(&wait), "a third of an hour, not {wait}");
    // Others have a limit of their own.
    assert_eq!(app.acme.token(&[Role::Auditor]).await.get("/api/v1/me").await.status, StatusCode::OK);
}
