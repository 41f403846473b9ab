//! Scripted requests in a partner's tests: expected, answered, and never sent.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hospes_testkit::{Failure, Host, Record, Response, Value, json};
use hospes_tests::guests;
use tempfile::TempDir;

/// The host that the guest's manifest names, and so its grant.
const API: &str = "api.example.com:28443";

/// A guest that sends what an action says.
struct Scene {
    host: Host,
    ada: Record,
    _folder: TempDir,
}

impl Scene {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let component = folder.path().join("caller.wasm");
        std::fs::write(&component, guests::CALLER).unwrap();
        let host = Host::of(&component).program(env!("CARGO_BIN_EXE_hospes-under-test")).enable();
        let ada = host.customer("Ada").create();
        Self { host, ada, _folder: folder }
    }

    /// What the guest is answered for one request.
    fn send(&self, request: &Value) -> Value {
        let input = json!({ "requests": [request] });
        self.host.press(&self.ada, "send", &input).unwrap().body["answers"][0].clone()
    }

    /// In what words the test fails that sends this.
    fn fails(&self, request: &Value) -> String {
        said(catch_unwind(AssertUnwindSafe(|| self.send(request))).map(drop))
    }

    fn keep(&self, credential: &Value) {
        let path = "/api/v1/plugins/caller/credentials/key";
        self.host.request("PUT", path, Some(credential)).good().unwrap();
    }
}

/// What a panic says.
fn said(outcome: Result<(), Box<dyn Any + Send>>) -> String {
    *outcome.unwrap_err().downcast::<String>().unwrap()
}

#[test]
fn an_expected_request_is_answered_as_the_script_says() {
    let scene = Scene::start();
    let order = scene.host.expect("POST", API, "/orders?dry=1").header("X-Key", "7");
    let made = Response::json(201, &json!({ "id": 7 })).header("X-Left", "3");
    order.json(&json!({ "n": [1, 2], "deep": { "a": null } })).answer(made);
    let body = r#"{"deep": {"a": null}, "n": [1, 2]}"#;
    let request =
        json!({ "method": "POST", "path": "/orders?dry=1", "headers": [["x-key", "7"]], "body": body });
    let answer = scene.send(&request);
    let headers = json!({ "content-type": "application/json", "x-left": "3" });
    assert_eq!(answer, json!({ "status": 201, "headers": headers, "body": r#"{"id":7}"# }));

    // Text, a part of JSON, and several times; the first script that is left is taken.
    scene.host.expect("PUT", API, "/text").text("hello").answer(Response::text(503, "later"));
    scene
        .host
        .expect("PUT", API, "/part")
        .json_with(&json!({ "a": { "b": 1 } }))
        .answer(Response::text(200, ""));
    scene.host.expect("GET", API, "/many").times(2).answer(Response::text(200, "first"));
    scene.host.expect("GET", API, "/many").answer(Response::text(200, "then"));
    assert_eq!(scene.send(&json!({ "method": "PUT", "path": "/text", "body": "hello" }))["body"], "later");
    let part = json!({ "method": "PUT", "path": "/part", "body": r#"{"a":{"b":1,"c":2}}"# });
    assert_eq!(scene.send(&part)["status"], 200);
    let many: Vec<Value> = (0..3).map(|_| scene.send(&json!({ "path": "/many" }))["body"].clone()).collect();
    assert_eq!(many, ["first", "first", "then"]);
    scene.host.assert_all_called();
}

#[test]
fn every_way_to_have_no_answer_reaches_the_plugin() {
    let scene = Scene::start();
    let ways = [
        (Failure::Timeout, "timeout"),
        (Failure::Refused, "unreachable"),
        (Failure::Unreachable, "unreachable"),
        (Failure::Broken, "broken"),
        (Failure::TooLarge, "too_large"),
    ];
    for (failure, code) in ways {
        scene.host.expect("GET", API, "/").fail(failure);
        assert_eq!(scene.send(&json!({}))["failure"], code, "{failure:?}");
    }
    // The host's own limit of an answer holds too.
    scene.host.expect("GET", API, "/").answer(Response::text(200, "x".repeat((1 << 20) + 1)));
    assert_eq!(scene.send(&json!({}))["failure"], "too_large");
}

#[test]
fn a_request_that_nobody_expects_fails_the_test_and_shows_the_nearest_script() {
    let scene = Scene::start();
    let told = scene.fails(&json!({ "method": "POST", "path": "/orders", "body": "{}" }));
    assert_eq!(
        told,
        format!("no script expects this request:\n  POST {API}/orders\n  {{}}\nthis test expects none")
    );
    scene.host.expect("DELETE", API, "/elsewhere").times(9).answer(Response::text(204, ""));
    let near = scene.host.expect("POST", API, "/orders").header("x-key", "7").header("x-more", "1");
    near.json(&json!({ "n": 1 })).answer(Response::text(200, ""));
    let request =
        json!({ "method": "POST", "path": "/orders", "headers": [["x-key", "8"]], "body": r#"{"n":2}"# });
    let told = scene.fails(&request);
    let wanted = [
        "no script expects this request:".to_owned(),
        format!("  POST {API}/orders"),
        "  x-key: 8".to_owned(),
        r#"  {"n":2}"#.to_owned(),
        format!("nearest is the script of POST {API}/orders:"),
        "  the header `x-key` is `8`, expected is `7`".to_owned(),
        "  the header `x-more` is missing, expected is `1`".to_owned(),
        r#"  the body is `{"n":2}`, expected is `{"n":1}`"#.to_owned(),
    ];
    assert_eq!(told, wanted.join("\n"));
    // Once too often is too often. What nobody expects has no answer, and is told once.
    let right = [["x-key", "7"], ["x-more", "1"]];
    let right = json!({ "method": "POST", "path": "/orders", "headers": right, "body": r#"{"n": 1}"# });
    scene.send(&right);
    let told = scene.fails(&right);
    assert!(told.ends_with("\n  it is expected once, and has come as often before"), "{told}");
    assert_eq!(scene.host.now(), "2026-03-01T08:00:00.000000Z");
    (0..9).for_each(|_| drop(scene.send(&json!({ "method": "DELETE", "path": "/elsewhere" }))));
}

#[test]
fn a_script_that_is_left_over_fails_the_test() {
    let scene = Scene::start();
    scene.host.expect("GET", API, "/never").answer(Response::text(200, ""));
    scene.host.expect("GET", API, "/twice").times(2).answer(Response::text(200, ""));
    scene.send(&json!({ "path": "/twice" }));
    let told = said(catch_unwind(AssertUnwindSafe(|| scene.host.assert_all_called())));
    let left = [
        "expected requests have not come:".to_owned(),
        format!("GET {API}/never is expected once, and came 0 times"),
        format!("GET {API}/twice is expected 2 times, and came once"),
    ];
    assert_eq!(told, left.join("\n  "));

    let scene = Scene::start();
    scene.host.expect("GET", API, "/never").answer(Response::text(200, ""));
    // The end of a test is the end of its host.
    let told = said(catch_unwind(AssertUnwindSafe(|| drop(scene))));
    assert!(told.contains("/never is expected once"), "{told}");
}

#[test]
fn grants_hold_and_credentials_are_put_in_as_in_production() {
    let scene = Scene::start();
    // What the tenant has not granted comes to no script, and so to no failure of the test.
    let denied = scene.send(&json!({ "host": "evil.example.com", "path": "/" }));
    assert_eq!(denied["failure"], "denied", "{denied}");
    for inside in ["127.0.0.1:28443", "localhost", "api.example.com:22"] {
        assert_eq!(scene.send(&json!({ "host": inside }))["failure"], "denied", "{inside}");
    }
    let reserved = scene.send(&json!({ "headers": [["host", "inner"]] }));
    assert_eq!(reserved["failure"], "invalid", "{reserved}");
    // A credential is the tenant's, and a header of the request; an answer that repeats it is kept away.
    assert_eq!(scene.send(&json!({ "credential": "key" }))["failure"], "denied");
    scene.keep(&json!({ "host": API, "value": "Bearer sk-ed7c1b0f5a" }));
    let expect = || scene.host.expect("GET", API, "/").header("authorization", "Bearer sk-ed7c1b0f5a");
    expect().answer(Response::text(200, "well"));
    assert_eq!(scene.send(&json!({ "credential": "key" }))["body"], "well");
    expect().answer(Response::text(200, "you are sk-ed7c1b0f5a"));
    assert_eq!(scene.send(&json!({ "credential": "key" }))["failure"], "broken");
}

#[test]
fn requests_of_background_work_are_scripted_too() {
    let scene = Scene::start();
    let rename = |name: &str| {
        let path = format!("/api/v1/customers/{}", scene.ada.id);
        let version = format!("\"{}\"", scene.host.reload(&scene.ada).body["version"]);
        let body = json!({ "name": name });
        scene.host.request_with("PATCH", &path, &[("if-match", &version)], Some(&body)).good().unwrap();
    };
    rename("Ada L.");
    scene.host.expect("POST", API, "/events").text("customer.updated").answer(Response::text(200, ""));
    assert_eq!(scene.host.work().handled, 1);
    rename("Ada");
    let told = said(catch_unwind(AssertUnwindSafe(|| scene.host.work())).map(drop));
    assert!(told.contains("POST") && told.contains("/events\n  idempotency-key: evt_"), "{told}");
}

#[test]
fn an_expectation_that_nothing_can_meet_is_refused_where_it_is_written() {
    let scene = Scene::start();
    let expect = |method: &str, path: &str, status: u16, times: u32| {
        let script = scene.host.expect(method, API, path).times(times);
        said(catch_unwind(AssertUnwindSafe(|| script.answer(Response::text(status, "")))))
    };
    assert!(expect("BREW", "/", 200, 1).contains("`BREW` is none of GET, HEAD, POST"));
    assert!(expect("GET", "orders", 200, 1).contains("does not begin with `/`"));
    assert!(expect("GET", "/", 99, 1).contains("99 is not from 200 to 599"));
    assert!(expect("GET", "/", 200, 0).contains("is expected no time"));
    let script = scene.host.expect("GET", API, "/").header("content-length", "7");
    let told = said(catch_unwind(AssertUnwindSafe(|| script.fail(Failure::Timeout))));
    assert!(told.contains("no request of a plugin has the header `content-length`"), "{told}");
}
