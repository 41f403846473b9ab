//! Has the host send what an action says, and tries to send from everywhere else.
#![cfg(target_arch = "wasm32")]

use hospes_sdk::http::{self, Failure, Method, Request, Response};
use hospes_sdk::panels::Blocks;
use hospes_sdk::{
    Actions, Customer, Event, Events, Hooks, Outcome, Panels, Rejection, Result, Subject, Value, json, log,
    serde_json,
};

/// The host that the tenant allows.
const HOST: &str = "api.example.com:28443";

struct Caller;

impl Actions for Caller {
    fn run(_action: &str, _target: Subject, input: Value) -> Result<Outcome> {
        for line in 0..input["lines"].as_u64().unwrap_or(0) {
            log::info(&format!("line {line}"));
        }
        for _ in 1..input["rounds"].as_u64().unwrap_or(1) {
            let requests = input["requests"].as_array().into_iter().flatten().map(request).collect();
            if let Err(error) = http::send_many(requests) {
                let body = json!({ "refused": format!("{error:?}") });
                return Ok(Outcome { message: "done".to_owned(), body });
            }
        }
        let requests = input["requests"].as_array().into_iter().flatten().map(request).collect();
        let body = match http::send_many(requests) {
            Ok(answers) => json!({ "answers": answers.into_iter().map(shown).collect::<Vec<_>>() }),
            Err(error) => json!({ "refused": format!("{error:?}") }),
        };
        Ok(Outcome { message: "done".to_owned(), body })
    }
}

fn request(asked: &Value) -> Request {
    let text = |name: &str| asked[name].as_str();
    let method = match text("method") {
        Some("POST") => Method::Post,
        Some("PUT") => Method::Put,
        Some("PATCH") => Method::Patch,
        Some("DELETE") => Method::Delete,
        Some("HEAD") => Method::Head,
        _ => Method::Get,
    };
    let mut request = Request::new(method, text("host").unwrap_or(HOST), text("path").unwrap_or("/"));
    for header in asked["headers"].as_array().into_iter().flatten() {
        let part = |at: usize| header[at].as_str().unwrap_or_default();
        request = request.header(part(0), part(1));
    }
    if let Some(body) = text("body") {
        request = request.body(body);
    }
    if let Some(bytes) = asked["body_bytes"].as_u64() {
        request = request.body(vec![b'x'; usize::try_from(bytes).unwrap_or(0)]);
    }
    if let Some(name) = text("credential") {
        request = request.credential(name);
    }
    match asked["timeout_ms"].as_u64().and_then(|ms| u32::try_from(ms).ok()) {
        Some(ms) => request.timeout_ms(ms),
        None => request,
    }
}

fn shown(answer: std::result::Result<Response, Failure>) -> Value {
    match answer {
        Ok(Response { status, headers, body }) => {
            let headers: serde_json::Map<_, _> =
                headers.into_iter().map(|(name, value)| (name, Value::from(value))).collect();
            json!({ "status": status, "headers": headers, "body": String::from_utf8_lossy(&body) })
        }
        Err(failure) => json!({ "failure": code(&failure), "words": format!("{failure:?}") }),
    }
}

fn code(failure: &Failure) -> &'static str {
    match failure {
        Failure::Denied(_) => "denied",
        Failure::Invalid(_) => "invalid",
        Failure::Unreachable(_) => "unreachable",
        Failure::Timeout => "timeout",
        Failure::Broken(_) => "broken",
        Failure::TooLarge => "too_large",
    }
}

impl Events for Caller {
    fn handle(events: Vec<Event>) -> Result<()> {
        for event in events {
            http::send(Request::post(HOST, "/events").header("idempotency-key", &event.id).body(event.name))?;
        }
        Ok(())
    }
}

impl Hooks for Caller {
    fn before_save_customer(
        _before: Option<Customer>,
        _after: Customer,
    ) -> std::result::Result<Option<Value>, Rejection> {
        log::info(&format!(
            "hook: {:?}",
            http::send(Request::get(HOST, "/hook")).map(|answer| answer.status)
        ));
        Ok(None)
    }
}

impl Panels for Caller {
    fn render(_slot: &str, _target: Subject) -> Result<Blocks> {
        log::info(&format!(
            "panel: {:?}",
            http::send(Request::get(HOST, "/panel")).map(|answer| answer.status)
        ));
        Ok(Blocks::new())
    }
}

hospes_sdk::plugin!(Caller: Actions, Events, Hooks, Panels);
