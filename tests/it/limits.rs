//! Every limit that the description states is kept: the schemas are walked, and of each
//! field one value beyond each limit is sent.

use hospes_tests::{Engine, Harness as _, TestApp};
use serde_json::{Value, json};

use crate::openapi::{concrete, document, kind, operations, resolve, sample};

/// A body with one thing wrong, and the fault that must be told.
struct Wrong {
    body: Value,
    fault: String,
}

/// Fields that hold others: how deep the walk goes.
const DEPTH_MAX: usize = 4;

#[tokio::test]
async fn a_value_beyond_each_limit_is_refused_with_its_pointer() {
    let app = TestApp::start(Engine::Sqlite).await.unwrap();
    let document = document();
    let mut tried = 0;
    let mut missed = Vec::new();
    for (method, path, operation) in operations(&document) {
        let content = operation["requestBody"]["content"].as_object();
        let Some((media, schema)) = content
            .and_then(|content| {
                content.iter().find(|(media, _)| media.ends_with("json") && !media.ends_with("ndjson"))
            })
            .map(|(media, content)| (media, &content["schema"]))
        else {
            continue;
        };
        let base = sample(&document, schema);
        let mut wrongs = Vec::new();
        walk(&document, schema, &base, "", 0, &mut wrongs);
        for Wrong { body, fault } in wrongs {
            let request = app.owner.request(method.clone(), &concrete(&path)).header("if-match", "*");
            let answer = request.body(media, body.to_string()).await;
            let faults = answer.faults();
            if answer.status != 422 || !faults.contains(&fault) {
                let (status, code) = (answer.status, &answer.body["code"]);
                missed.push(format!(
                    "{method} {path}: wanted `{fault}`, got {status} {faults:?} {code} for {body}"
                ));
            }
            tried += 1;
        }
    }
    assert!(missed.is_empty(), "{} limits are not kept:\n{}", missed.len(), missed.join("\n"));
    assert!(tried > 50, "only {tried} limits were found: the walk is broken");
}

#[tokio::test]
async fn a_query_parameter_beyond_its_limit_is_refused() {
    let app = TestApp::start(Engine::Sqlite).await.unwrap();
    for (method, path, operation) in operations(&document()) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            if parameter["in"] != "query" {
                continue;
            }
            let name = parameter["name"].as_str().unwrap();
            let schema = &parameter["schema"];
            let (value, code) = if let Some(max) = schema["maximum"].as_i64() {
                ((max + 1).to_string(), "too_large")
            } else if let Some(max) = schema["maxLength"].as_u64() {
                ("x".repeat(usize::try_from(max).unwrap() + 1), "too_long")
            } else {
                continue;
            };
            let address = format!("{}?{name}={value}", concrete(&path));
            let answer = app.owner.request(method.clone(), &address).await;
            let fault = format!("/{name} {code}");
            assert!(
                answer.faults().contains(&fault),
                "{method} {path}: wanted `{fault}`, got {}",
                answer.body
            );
        }
    }
}

/// Collects a wrong body for each limit of `schema`, whose value stands at `pointer` of `base`.
fn walk(
    document: &Value,
    schema: &Value,
    base: &Value,
    pointer: &str,
    depth: usize,
    wrongs: &mut Vec<Wrong>,
) {
    let schema = resolve(document, schema);
    let mut wrong = |value: Value, at: &str, code: &str| {
        wrongs.push(Wrong { body: with(base, pointer, value), fault: format!("{at} {code}") });
    };
    if schema["enum"].is_array() {
        wrong(json!("no such choice"), pointer, "not_allowed");
        return;
    }
    let length = |name: &str| schema[name].as_u64().map(|value| usize::try_from(value).unwrap());
    match kind(schema) {
        "string" => {
            wrong(json!(7), pointer, "wrong_type");
            if let Some(max) = length("maxLength") {
                wrong(json!("x".repeat(max + 1)), pointer, "too_long");
            }
            if let Some(min) = length("minLength").filter(|min| *min > 0) {
                wrong(json!("x".repeat(min - 1)), pointer, "too_short");
            }
        }
        "integer" | "number" => {
            wrong(json!("7"), pointer, "wrong_type");
            if let Some(max) = schema["maximum"].as_i64() {
                wrong(json!(max + 1), pointer, "too_large");
            }
            if let Some(min) = schema["minimum"].as_i64() {
                wrong(json!(min - 1), pointer, "too_small");
            }
        }
        "boolean" => wrong(json!("true"), pointer, "wrong_type"),
        "array" => {
            wrong(json!({}), pointer, "wrong_type");
            let item = sample(document, &schema["items"]);
            if let Some(max) = length("maxItems") {
                wrong(Value::Array(vec![item.clone(); max + 1]), pointer, "too_many");
            }
            if let Some(min) = length("minItems").filter(|min| *min > 0) {
                wrong(Value::Array(vec![item.clone(); min - 1]), pointer, "too_few");
            }
            if depth < DEPTH_MAX && schema["items"].is_object() {
                let count = length("minItems").unwrap_or(0).max(1);
                let base = with(base, pointer, Value::Array(vec![item; count]));
                walk(document, &schema["items"], &base, &format!("{pointer}/0"), depth + 1, wrongs);
            }
        }
        "object" => walk_object(document, schema, base, pointer, depth, wrongs),
        _ => {}
    }
}

fn walk_object(
    document: &Value,
    schema: &Value,
    base: &Value,
    pointer: &str,
    depth: usize,
    wrongs: &mut Vec<Wrong>,
) {
    let whole = base.pointer(pointer).expect("the walk has put it there").clone();
    if schema["additionalProperties"] == false {
        let mut more = whole.clone();
        more["no_such_field"] = json!(1);
        let fault = format!("{pointer}/no_such_field unknown_field");
        wrongs.push(Wrong { body: with(base, pointer, more), fault });
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap();
        let mut less = whole.clone();
        less.as_object_mut().unwrap().remove(name);
        let fault = format!("{pointer}/{name} required");
        wrongs.push(Wrong { body: with(base, pointer, less), fault });
    }
    if depth == DEPTH_MAX {
        return;
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let mut more = whole.clone();
        more[name] = sample(document, property);
        let base = with(base, pointer, more);
        walk(document, property, &base, &format!("{pointer}/{name}"), depth + 1, wrongs);
    }
}

/// `base` with another value at `pointer`.
fn with(base: &Value, pointer: &str, value: Value) -> Value {
    let mut changed = base.clone();
    *changed.pointer_mut(pointer).expect("the walk has put it there") = value;
    changed
}
