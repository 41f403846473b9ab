//! Bad input and problem documents.

use axum::http::{Method, StatusCode};
use bytes::Bytes;
use hospes_tests::{TestApp, TestResponse, both_engines};
use serde_json::{Value, json};

async fn send_raw(app: &TestApp, kind: &str, body: impl Into<Bytes>) -> TestResponse {
    app.owner.request(Method::POST, "/api/v1/org-units").body(kind, body).await
}

both_engines! {
    async fn every_fault_is_told_at_once_in_two_languages(app: TestApp) {
        let body = json!({"kind": "planet", "name": "", "code": 7, "colour": "red"});
        let send = async |language: &str| {
            let request = app.owner.request(Method::POST, "/api/v1/org-units");
            request.header("accept-language", language).json(&body).await
        };
        let english = send("en-GB,zh;q=0.5").await;
        let mut faults = english.faults();
        faults.sort();
        assert_eq!(faults, ["/code wrong_type", "/colour unknown_field", "/kind not_allowed", "/name too_short"]);
        assert_eq!(english.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(english.header("content-type"), "application/problem+json");
        assert_eq!(english.body["type"], "/problems/invalid");
        assert_eq!(english.body["request_id"], english.header("x-request-id"));
        let chinese = send("fr, zh-CN;q=0.9, en;q=0.1").await;
        assert_eq!(chinese.header("content-language"), "zh-CN");
        assert_eq!(chinese.body["title"], "输入有误");
        let messages = chinese.body["errors"].to_string();
        assert!(messages.contains("至少 1 个字符") && messages.contains("未知字段"), "{messages}");
    }

    async fn what_is_not_one_json_object_is_refused_quickly(app: TestApp) {
        let deep = format!("{{\"name\":{}", "[".repeat(500_000));
        for (body, wanted) in [
            (b"{".to_vec(), (400, "bad_json")),
            (b"{} {}".to_vec(), (400, "bad_json")),
            (br#"{"name":"a","name":"b"}"#.to_vec(), (400, "duplicate_key")),
            (b"{\"name\":\"\xff\"}".to_vec(), (400, "bad_utf8")),
            (br#"{"name":"\u0000"}"#.to_vec(), (400, "nul_character")),
            (deep.into_bytes(), (400, "too_deep")),
            (b"[]".to_vec(), (422, "invalid")),
            (vec![b' '; 1024 * 1024 + 1], (413, "body_too_large")),
        ] {
            let began = std::time::Instant::now();
            let shown = String::from_utf8_lossy(&body[..body.len().min(30)]).into_owned();
            let answer = send_raw(&app, "application/json", body).await;
            assert_eq!(answer.code(), wanted, "{shown}: {}", answer.body);
            assert!(began.elapsed().as_millis() < 500, "{shown} took {:?}", began.elapsed());
        }
        for kind in ["text/plain", "application/json; charset=gb18030", ""] {
            let answer = send_raw(&app, kind, "{}").await;
            assert_eq!(answer.code(), (415, "unsupported_media_type"), "{kind}");
        }
    }

    async fn unknown_addresses_methods_and_parameters_are_problems(app: TestApp) {
        for path in ["/", "/api/v1/nothing", "/api/v2/tenant", "/api/v1/users/usr_1", "/api/v1/users/%00"] {
            let answer = app.owner.get(path).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
            assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
        }
        let method = app.owner.request(Method::PUT, "/api/v1/tenant").await;
        assert_eq!(method.code(), (405, "method_not_allowed"));
        assert!(method.header("allow").contains("PATCH"), "{:?}", method.headers);
        for (query, fault) in [
            ("limit=0", "/limit too_small"),
            ("limit=201", "/limit too_large"),
            ("limit=x", "/limit wrong_type"),
            ("cursor=x", "/cursor bad_cursor"),
            ("colour=red", "/colour unknown_parameter"),
            ("limit=1&limit=2", "/limit repeated"),
        ] {
            assert_eq!(app.owner.get(&format!("/api/v1/users?{query}")).await.faults(), [fault]);
        }
    }

    async fn a_stranger_learns_nothing(app: TestApp) {
        for path in ["/api/v1/tenant", "/api/v1/users/usr_00000000000000000000000000", "/api/v1/audit"] {
            let answer = app.anonymous().get(path).await;
            assert_eq!(answer.code(), (401, "unauthenticated"), "{path}");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
    }

    async fn health_docs_and_description_need_nobody(app: TestApp) {
        let anonymous = app.anonymous();
        for path in ["/healthz", "/readyz", "/api/v1/openapi.json", "/docs/", "/problems/not_found"] {
            assert_eq!(anonymous.get(path).await.status, StatusCode::OK, "{path}");
        }
        let page = anonymous.get("/docs/").await;
        let Value::String(html) = &page.body else { panic!("a page is text") };
        assert!(!html.contains("http://") && !html.contains("https://"), "{html}");
        assert!(page.header("content-security-policy").starts_with("default-src 'self'"));
        let api = anonymous.get("/healthz").await;
        assert_eq!((api.header("x-content-type-options"), api.header("cache-control")), ("nosniff", "no-store"));
    }

    async fn answers_are_compressed_when_the_client_can(app: TestApp) {
        for (accepted, wanted) in [("br", "br"), ("gzip", "gzip"), ("identity", "")] {
            let request = app.anonymous().request(Method::GET, "/api/v1/openapi.json");
            let answer = request.header("accept-encoding", accepted).stream().await;
            let encoding = answer.headers().get("content-encoding").map(|value| value.to_str().unwrap());
            assert_eq!(encoding.unwrap_or_default(), wanted);
        }
    }

    async fn a_good_request_id_is_kept_and_a_bad_one_replaced(app: TestApp) {
        let with = async |id: &str| {
            let answer = app.owner.request(Method::GET, "/api/v1/me").header("x-request-id", id).await;
            answer.header("x-request-id").to_owned()
        };
        assert_eq!(with("abc-1.2_3").await, "abc-1.2_3");
        assert!(with("a b").await.starts_with("req_"));
        assert!(with(&"x".repeat(65)).await.starts_with("req_"));
    }
}
