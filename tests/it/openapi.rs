//! The API's description, and who may do what.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::http::{Method, StatusCode};
use hospes::domain::permission::{Permission, RecordScope, Role};
use hospes_tests::{Client, Engine, Harness as _, TestApp, assert_golden};
use serde_json::{Value, json};

/// Operations that need no credential: signing in is how one gets it.
const PUBLIC: &[&str] = &["POST /sessions"];

/// What ids of a collection begin with. A new collection with ids adds its line here.
const PREFIXES: &[(&str, &str)] = &[
    ("org-units", "org"),
    ("users", "usr"),
    ("sessions", "ses"),
    ("tokens", "tok"),
    ("customers", "cus"),
    ("products", "prd"),
    ("orders", "ord"),
    ("refunds", "ref"),
    ("timeline", "tml"),
    ("interactions", "tml"),
    ("behaviour-events", "tml"),
    ("events", "evt"),
    ("imports", "imp"),
    ("webhooks", "whk"),
    ("plugin-recordings", "rec"),
];

pub(crate) fn document() -> Value {
    serde_json::to_value(hospes::http::openapi()).unwrap()
}

/// Method, path below the prefix, and the description of every operation.
pub(crate) fn operations(document: &Value) -> Vec<(Method, String, Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
            let standard = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
            if standard.contains(&method) {
                let path = path.strip_prefix("/api/v1").expect("the API is below its prefix");
                found.push((method, path.to_owned(), operation.clone()));
            }
        }
    }
    found.sort_by_key(|(method, path, _)| (path.clone(), method.to_string()));
    found
}

/// The path with ids that nothing has.
pub(crate) fn concrete(path: &str) -> String {
    let mut collection = "";
    let segments = path.split('/').map(|segment| {
        if !segment.starts_with('{') {
            collection = segment;
            return segment.to_owned();
        }
        let prefix = PREFIXES.iter().find(|(name, _)| *name == collection);
        match prefix {
            Some((_, prefix)) if segment == "{id}" => format!("{prefix}_{}", "0".repeat(26)),
            Some(_) | None if segment == "{event}" => format!("evt_{}", "0".repeat(26)),
            Some(_) | None if segment == "{entity}" => "customer".to_owned(),
            Some(_) | None => "nothing".to_owned(),
        }
    });
    format!("/api/v1{}", segments.collect::<Vec<_>>().join("/"))
}

/// The smallest value that fits a schema.
pub(crate) fn sample(document: &Value, schema: &Value) -> Value {
    let schema = resolve(document, schema);
    if let Some(first) = schema["enum"].as_array().and_then(|options| options.first()) {
        return first.clone();
    }
    if let Some(options) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
        let meant = options.iter().find(|option| option["type"] != "null").expect("an alternative");
        return sample(document, meant);
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let mut whole = json!({});
        for part in parts {
            if let (Some(whole), Value::Object(part)) = (whole.as_object_mut(), sample(document, part)) {
                whole.extend(part);
            }
        }
        return whole;
    }
    match kind(schema) {
        "object" => {
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let fields = required.iter().map(|name| {
                let name = name.as_str().unwrap();
                (name.to_owned(), sample(document, &schema["properties"][name]))
            });
            Value::Object(fields.collect())
        }
        "array" => {
            let items = usize::try_from(schema["minItems"].as_u64().unwrap_or(0)).unwrap();
            Value::Array(vec![sample(document, &schema["items"]); items])
        }
        "string" => Value::from(sample_text(schema)),
        "boolean" => Value::from(true),
        "integer" | "number" => Value::from(schema["minimum"].as_i64().unwrap_or(0).max(1)),
        _ => json!({}),
    }
}

fn sample_text(schema: &Value) -> String {
    if schema["format"] == "date-time" {
        return "2026-06-01T00:00:00Z".to_owned();
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        return match pattern {
            "^[A-Z]{3}$" => "CNY".to_owned(),
            "^[A-Za-z0-9._@+-]+$" => "someone".to_owned(),
            _ => "a1".to_owned(),
        };
    }
    let chars = usize::try_from(schema["minLength"].as_u64().unwrap_or(1)).unwrap().max(1);
    "lavender".repeat(chars / 8 + 1).chars().take(chars).collect()
}

pub(crate) fn resolve<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    match schema["$ref"].as_str() {
        Some(reference) => {
            let found =
                document.pointer(reference.trim_start_matches('#')).expect("references lead somewhere");
            resolve(document, found)
        }
        None => schema,
    }
}

/// The type of a schema, `null` aside.
pub(crate) fn kind(schema: &Value) -> &str {
    match &schema["type"] {
        Value::String(kind) => kind,
        Value::Array(kinds) => {
            kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or("")
        }
        _ => "",
    }
}

/// Sends an operation with a body that fits, and answers status and code.
async fn attempt(
    client: &Client,
    document: &Value,
    operation: &(Method, String, Value),
) -> (StatusCode, Value) {
    let (method, path, description) = operation;
    let mut query = String::new();
    for parameter in description["parameters"].as_array().into_iter().flatten() {
        if parameter["in"] == "query" && parameter["required"] == true {
            let value = sample(document, &parameter["schema"]);
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            write!(
                query,
                "{}{}={value}",
                if query.is_empty() { "?" } else { "&" },
                parameter["name"].as_str().unwrap()
            )
            .unwrap();
        }
    }
    let mut request = client.request(method.clone(), &format!("{}{query}", concrete(path)));
    request = request.header("if-match", "*");
    if let Some(content) = description["requestBody"]["content"].as_object() {
        let (kind, media) = content.iter().next().expect("a body has a type");
        let body = if kind.ends_with("json") {
            sample(document, &media["schema"]).to_string()
        } else {
            String::new()
        };
        request = request.body(kind, body);
    }
    let head = request.stream().await;
    let status = head.status();
    if !status.is_client_error() {
        // A stream would never end.
        return (status, Value::Null);
    }
    let bytes = http_body_util::BodyExt::collect(head.into_body()).await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[test]
fn the_description_is_the_golden_file() {
    let text = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    assert_golden("host/openapi.json", &text);
}

#[test]
fn every_operation_has_a_name_of_its_own() {
    let mut names = BTreeMap::new();
    for (method, path, operation) in operations(&document()) {
        let name = operation["operationId"].as_str().unwrap_or_default().to_owned();
        let before = names.insert(name.clone(), format!("{method} {path}"));
        assert!(before.is_none() && !name.is_empty(), "`{name}` names {method} {path} and {before:?}");
    }
}

#[tokio::test]
async fn every_operation_needs_somebody() {
    let app = TestApp::start(Engine::Sqlite).await.unwrap();
    let document = document();
    for operation in operations(&document) {
        let name = format!("{} {}", operation.0, operation.1);
        let (status, _) = attempt(&app.anonymous(), &document, &operation).await;
        let public = PUBLIC.contains(&name.as_str());
        if name == "POST /sessions" {
            continue;
        }
        assert_eq!(status == StatusCode::UNAUTHORIZED, !public, "{name} answers a stranger {status}");
    }
}

/// Each line: an operation, the permission that it asks for, and how far each role's
/// reaches. Made through the router: a role is `-` where the server refused it.
#[tokio::test]
async fn the_matrix_of_roles_and_operations_is_the_golden_file() {
    let app = TestApp::start(Engine::Sqlite).await.unwrap();
    let document = document();
    // Two tokens without rights, because one right is needed to have a token at all.
    let powerless = app.acme.scoped_token(&[Permission::AuditRead]).await;
    let powerless_too = app.acme.scoped_token(&[Permission::TenantRead]).await;
    let mut clients = Vec::new();
    for role in Role::ALL {
        clients.push((*role, app.acme.token(&[*role]).await));
    }
    let mut text = String::new();
    for operation in operations(&document) {
        let name = format!("{} {}", operation.0, operation.1);
        if PUBLIC.contains(&name.as_str()) {
            writeln!(text, "{name}: public").unwrap();
            continue;
        }
        let mut needed = permission_of(&attempt(&powerless, &document, &operation).await.1);
        if needed.is_none() {
            needed = permission_of(&attempt(&powerless_too, &document, &operation).await.1);
        }
        let Some(needed) = needed else {
            writeln!(text, "{name}: whoever is signed in").unwrap();
            continue;
        };
        let mut line = format!("{name}: {needed}");
        for (role, client) in &clients {
            let (status, body) = attempt(client, &document, &operation).await;
            assert!(!status.is_server_error(), "{name} as {role} answers {status} {body}");
            let refused = permission_of(&body).is_some();
            let reach = role.reach(needed);
            assert_eq!(refused, reach.is_none(), "{name} as {role}: {status} {body}");
            let reach = match reach {
                None => "-",
                Some(RecordScope::Own) => "own",
                Some(RecordScope::Team) => "team",
                Some(RecordScope::All) => "all",
            };
            write!(line, " {role}={reach}").unwrap();
        }
        writeln!(text, "{line}").unwrap();
    }
    assert_golden("tests/golden/role-matrix.txt", &text);
}

/// The permission that a refusal names.
fn permission_of(body: &Value) -> Option<Permission> {
    if body["code"] != "forbidden" {
        return None;
    }
    let detail = body["detail"].as_str()?;
    detail.split('`').nth(1)?.parse().ok()
}
