//! `Idempotency-Key`: every operation either keeps its promise or refuses the key.

use std::collections::BTreeSet;

use axum::http::{Method, StatusCode};
use hospes_tests::{Engine, Harness as _, TestApp, both_engines};
use serde_json::{Value, json};

use crate::openapi::{concrete, document, operations};

/// What a plugin, a failed delivery or a key for secrets must be there for; other tests repeat these.
const ELSEWHERE: &[&str] = &[
    "/customers/{id}/actions/{plugin}/{action}",
    "/orders/{id}/actions/{plugin}/{action}",
    "/events/lanes/{consumer}/dead-letters/replay",
    "/events/lanes/{consumer}/dead-letters/{event}/replay",
    "/events/lanes/{consumer}/dead-letters/{event}/discard",
    "/webhooks",
    "/webhooks/{id}/secrets",
];

fn takes_key(operation: &Value) -> bool {
    let mut parameters = operation["parameters"].as_array().into_iter().flatten();
    parameters.any(|parameter| parameter["name"] == "Idempotency-Key")
}

/// The path of every operation that takes a key, with a body that it accepts.
async fn requests(app: &TestApp) -> Vec<(&'static str, String, Value)> {
    let customer = app.acme.customer("Lin").await.id;
    let money = json!({ "amount_minor": 500, "currency": "CNY" });
    let order = json!({
        "customer_id": customer, "status": "completed", "channel": "store",
        "ordered_at": "2026-02-01T08:00:00Z", "total": money,
    });
    let paid = app.owner.post("/api/v1/orders", &order).await.expect(201).body;
    let paid = paid["id"].as_str().unwrap();
    let at = "2026-02-01T08:00:00Z";
    let mapping = json!({ "format": "csv", "fields": {
        "external_id": { "column": "id" }, "name": { "column": "name" }, "kind": { "constant": "person" },
    }});
    let labels = json!({ "en": "Size", "zh-CN": "尺码" });
    vec![
        ("/customers", String::new(), json!({ "kind": "person", "name": "Wang" })),
        ("/orders", String::new(), order),
        ("/orders/{id}/refunds", paid.to_owned(), json!({ "amount": money })),
        (
            "/customers/{id}/interactions",
            customer.to_string(),
            json!({ "channel": "phone", "direction": "inbound", "summary": "Called", "occurred_at": at }),
        ),
        (
            "/customers/{id}/behaviours",
            customer.to_string(),
            json!({ "type": "page_view", "occurred_at": at }),
        ),
        ("/products", String::new(), json!({ "sku": "TEA", "name": "Tea" })),
        (
            "/fields",
            String::new(),
            json!({ "entity": "customer", "name": "size", "type": "text", "label": labels }),
        ),
        ("/org-units", String::new(), json!({ "kind": "store", "name": "North" })),
        (
            "/users",
            String::new(),
            json!({ "login": "ada", "name": "Ada", "password": "correct horse battery", "roles": ["agent"] }),
        ),
        ("/tokens", String::new(), json!({ "name": "till", "roles": ["integration"] })),
        ("/imports", String::new(), json!({ "entity": "customers", "source": "till", "mapping": mapping })),
    ]
}

both_engines! {
    async fn an_operation_that_takes_a_key_takes_effect_once(app: TestApp) {
        let requests = requests(&app).await;
        let tried: BTreeSet<&str> = requests.iter().map(|(path, ..)| *path).chain(ELSEWHERE.iter().copied()).collect();
        let described = document();
        let described: BTreeSet<String> =
            operations(&described).into_iter().filter(|(_, _, one)| takes_key(one)).map(|(_, path, _)| path).collect();
        let described: BTreeSet<&str> = described.iter().map(String::as_str).collect();
        assert_eq!(tried, described, "left: tried here, right: described; try what is new");
        for (path, id, body) in requests {
            let path = format!("/api/v1{}", path.replace("{id}", &id));
            let send = async || app.owner.post(&path, &body).header("idempotency-key", &path).await;
            let (mut first, again) = (send().await.expect(201), send().await.expect(201));
            assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"), "{path}");
            // What is shown once is not shown again.
            first.body.as_object_mut().unwrap().remove("secret");
            assert_eq!(first.body, again.body, "{path}");
        }
    }
}

#[tokio::test]
async fn an_operation_that_takes_no_key_refuses_it() {
    let app = TestApp::start(Engine::Sqlite).await.unwrap();
    for (method, path, operation) in operations(&document()) {
        if method == Method::GET || takes_key(&operation) {
            continue;
        }
        let request = app.owner.request(method.clone(), &concrete(&path));
        let answer = request.header("idempotency-key", "k").json(json!({})).await;
        assert_eq!(answer.code(), (400, "idempotency_unsupported"), "{method} {path}");
    }
    // Reading again is what reading is for.
    let read = app.owner.get("/api/v1/me").header("idempotency-key", "k").await;
    assert_eq!(read.status, StatusCode::OK);
}
