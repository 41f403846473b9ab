//! Reading what is known already, and queries that are wrong.

use axum::http::Method;
use hospes_tests::{Engine, Harness as _, TestApp, both_engines};
use serde_json::{Value, json};

use crate::openapi::{concrete, document, operations};

both_engines! {
    async fn a_reader_who_has_the_record_is_spared_it(app: TestApp) {
        let customer = format!("/api/v1/customers/{}", app.acme.customer("Lin").await.id);
        for path in [customer.as_str(), "/api/v1/tenant", &format!("/api/v1/users/{}", app.acme.user.id)] {
            let read = app.owner.get(path).await.expect(200);
            let tag = read.header("etag").to_owned();
            for known in [tag.clone(), format!("W/{tag}"), format!("\"99\", {tag}"), "*".to_owned()] {
                let again = app.owner.get(path).header("if-none-match", &known).await.expect(304);
                assert_eq!((again.header("etag"), again.text().as_str()), (tag.as_str(), ""), "{path} {known}");
                assert_eq!(again.header("content-type"), "");
            }
            let other = app.owner.get(path).header("if-none-match", "\"99\"").await.expect(200);
            assert_eq!(other.body, read.body);
        }
        let tag = app.owner.get(&customer).await.header("etag").to_owned();
        app.owner.patch(&customer, json!({ "name": "Wang" })).await.expect(200);
        app.owner.get(&customer).header("if-none-match", &tag).await.expect(200);
        // A change is not a read.
        let change = app.owner.patch(&customer, json!({ "name": "Li" })).header("if-none-match", "*");
        change.await.expect(200);
    }
}

#[tokio::test]
async fn a_wrong_query_is_answered_400_and_a_wrong_body_422() {
    let app = TestApp::start(Engine::Sqlite).await.unwrap();
    for (method, path, operation) in operations(&document()) {
        let mut parameters = operation["parameters"].as_array().into_iter().flatten();
        if method != Method::GET {
            continue;
        }
        let address = concrete(&path);
        if parameters.any(|parameter| parameter["name"] == "cursor") {
            // Lists of a record that is not there, or of somebody else's, are refused for that.
            let bad = app.owner.get(&format!("{address}?cursor=nonsense")).await;
            assert!(
                bad.code() == (400, "bad_query") && bad.faults() == ["/cursor bad_cursor"]
                    || matches!(bad.code().0, 403 | 404),
                "{path}: {bad}"
            );
            let unknown = app.owner.get(&format!("{address}?colour=red")).await;
            assert_eq!(
                (unknown.code(), unknown.faults()),
                ((400, "bad_query"), vec!["/colour unknown_parameter".to_owned()])
            );
        }
    }
    for query in ["fields[nothing]=1", "source=till", "fields[x][between]=1", "updated_since=yesterday"] {
        assert_eq!(
            app.owner.get(&format!("/api/v1/customers?{query}")).await.code(),
            (400, "bad_query"),
            "{query}"
        );
    }
    let chinese = app.owner.get("/api/v1/customers?limit=0").header("accept-language", "zh").await;
    assert_eq!(chinese.body["detail"], "查询参数有 1 处错误，详见 `errors`");
    let body = app.owner.post("/api/v1/customers", json!({ "kind": "person", "name": 7 })).await;
    assert_eq!((body.code(), body.faults()), ((422, "invalid"), vec!["/name wrong_type".to_owned()]));
}

/// One fault, one code: a name that is too long is so for every door.
#[tokio::test]
async fn the_same_fault_has_the_same_code_whoever_finds_it() {
    let app = TestApp::start(Engine::Sqlite).await.unwrap();
    let customer = |name: &str, extra: Value| {
        let mut body = json!({ "kind": "person", "name": name });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        app.owner.post("/api/v1/customers", body)
    };
    // Found by the schema, and by the rules behind it.
    assert_eq!(customer("", json!({})).await.faults(), ["/name too_short"]);
    assert_eq!(customer("  ", json!({})).await.faults(), ["/name too_short"]);
    let field = json!({
        "entity": "customer", "name": "age", "type": "integer", "label": { "en": "Age", "zh-CN": "年龄" },
        "minimum": 0, "maximum": 150,
    });
    app.owner.post("/api/v1/fields", field).await.expect(201);
    for (age, code) in [(json!(-1), "too_small"), (json!(151), "too_large"), (json!("x"), "wrong_type")] {
        let faults = customer("Lin", json!({ "custom_fields": { "age": age } })).await.faults();
        assert_eq!(faults, [format!("/custom_fields/age {code}")]);
    }
    assert_eq!(customer("Lin", json!({ "kind": "robot" })).await.faults(), ["/kind not_allowed"]);
    let stage = customer("Lin", json!({ "lifecycle_stage": "unheard_of" })).await;
    assert_eq!(stage.faults(), ["/lifecycle_stage not_allowed"]);
    let chinese = customer("Lin", json!({ "lifecycle_stage": 7 })).header("accept-language", "zh").await;
    let message = chinese.body["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("文本") && !message.contains("string"), "{message}");
}
