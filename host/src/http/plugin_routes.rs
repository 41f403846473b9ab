//! Endpoints that plugins declare, below `/plugins/{plugin}/x`, and the description of
//! the API as a tenant has it: with these endpoints.

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{API_PREFIX, HttpState, Path, Problem, Result, json, openapi, query, strict};
use crate::domain::actor::{Actor, Locale};
use crate::domain::code::RecordKind;
use crate::domain::manifest::{Method, Route};
use crate::error::Error;
use crate::ops::plugins::routes::{self, PluginRoutes, RouteRequest, RouteResponse};

/// Where plugins' endpoints are, below the API's prefix.
pub(super) const PATH: &str = "/plugins/{plugin}/x/{*path}";

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    let any = get(handle).post(handle).put(handle).patch(handle).delete(handle);
    OpenApiRouter::new().routes(routes!(describe)).route(PATH, any)
}

/// Passes a request to the plugin. Not in the description of the core's API: each
/// tenant has other ones.
async fn handle(
    State(state): State<HttpState>,
    actor: Actor,
    Path((plugin, _path)): Path<(String, String)>,
    request: Request,
) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let method = method(&parts.method)?;
    let path = segments(&parts.uri).ok_or_else(|| Error::not_found(RecordKind::Route, parts.uri.path()))?;
    let query = query::pairs_of(&parts.uri)?;
    let body = if method.has_body() { read_body(&state, &parts.headers, body).await? } else { None };
    let request = RouteRequest { method, path, query, body };
    let RouteResponse { status, body } = routes::handle(&state.core, &actor, &plugin, request).await?;
    let status = StatusCode::from_u16(status).map_err(Error::internal)?;
    Ok(match body {
        Some(body) => (status, Json(body)).into_response(),
        None => status.into_response(),
    })
}

fn method(method: &axum::http::Method) -> Result<Method> {
    use axum::http::Method as Sent;
    Ok(match *method {
        // The answer of a HEAD is that of a GET, without its body.
        Sent::GET | Sent::HEAD => Method::Get,
        Sent::POST => Method::Post,
        Sent::PUT => Method::Put,
        Sent::PATCH => Method::Patch,
        Sent::DELETE => Method::Delete,
        _ => return Err(Error::not_found(RecordKind::Route, method).into()),
    })
}

/// The segments below the plugin's prefix. Taken apart before they are decoded, so
/// that an encoded slash is part of a value; none if they are not UTF-8 text.
fn segments(uri: &Uri) -> Option<Vec<String>> {
    let (_, path) = uri.path().split_once("/x/")?;
    let decode = |segment: &str| query::decode_segment(segment).filter(|text| !text.contains('\0'));
    path.split('/').map(decode).collect()
}

/// A body of strict JSON; nothing if it is empty.
async fn read_body(state: &HttpState, headers: &axum::http::HeaderMap, body: Body) -> Result<Option<Value>> {
    let bytes = json::collect(headers, body, state.options.body_bytes_max).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    json::check_json(headers)?;
    Ok(Some(strict::parse(&bytes).map_err(Problem::malformed_json)?))
}

/// The description of this API with the endpoints of the tenant's own plugins.
#[utoipa::path(get, path = "/tenant/openapi.json", operation_id = "get_tenant_openapi", tag = "plugins",
    responses((status = 200, body = Object)))]
async fn describe(State(state): State<HttpState>, actor: Actor) -> Result<Json<Value>> {
    let mut document = openapi::document_as_json();
    let all = routes::list(&state.core, &actor.tenant).await?;
    if let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) {
        for one in &all {
            add_plugin(paths, one, actor.locale);
        }
    }
    Ok(Json(document))
}

fn add_plugin(paths: &mut Map<String, Value>, plugin: &PluginRoutes, locale: Locale) {
    for (position, route) in plugin.routes.iter().enumerate() {
        let path = format!("{API_PREFIX}/plugins/{}/x{}", plugin.plugin, route.path);
        let item = paths.entry(path).or_insert_with(|| json!({}));
        if let Some(item) = item.as_object_mut() {
            let method = route.method.as_str().to_ascii_lowercase();
            item.insert(method, operation(plugin, (position, route), locale));
        }
    }
}

fn operation(plugin: &PluginRoutes, (position, route): (usize, &Route), locale: Locale) -> Value {
    let id = |what: &str| format!("urn:hospes:{}:{}:routes:{position}:{what}", plugin.plugin, plugin.version);
    let mut parameters: Vec<Value> = Vec::new();
    for name in route.params() {
        parameters
            .push(json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    }
    for name in &route.query {
        parameters
            .push(json!({ "name": name, "in": "query", "required": false, "schema": { "type": "string" } }));
    }
    if route.method == Method::Post {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false, "schema": { "type": "string" },
        }));
    }
    let answer = match &route.output {
        Some(schema) => json!({ "application/json": { "schema": with_id(schema, id("output")) } }),
        None => json!({}),
    };
    let name: String = route.path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let mut operation = json!({
        "tags": [plugin.plugin],
        "summary": route.summary.get(locale),
        "operationId": format!("{}_{}{name}", plugin.plugin, route.method.as_str().to_ascii_lowercase()),
        "parameters": parameters,
        "responses": {
            "2XX": { "description": "", "content": answer },
            "default": openapi::problem_as_json(),
        },
        "x-roles": route.roles,
    });
    if let Some(schema) = &route.input {
        let schema = with_id(schema, id("input"));
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    operation
}

/// A schema that refers to its own parts needs a name, or the references would be
/// taken for parts of the whole description.
fn with_id(schema: &Value, id: String) -> Value {
    let mut schema = schema.clone();
    if let Some(members) = schema.as_object_mut() {
        members.entry("$id").or_insert(Value::from(id));
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_apart_before_it_is_decoded() {
        let uri = |path: &'static str| Uri::from_static(path);
        let segments = |path| segments(&uri(path));
        assert_eq!(
            segments("/api/v1/plugins/abc/x/cards/a%2Fb/x/+"),
            Some(vec!["cards".to_owned(), "a/b".to_owned(), "x".to_owned(), "+".to_owned()])
        );
        assert_eq!(segments("/api/v1/plugins/abc/x/%ff"), None);
        assert_eq!(segments("/api/v1/plugins/abc/x/%00"), None);
        assert_eq!(
            segments("/api/v1/plugins/abc/x/a//"),
            Some(vec!["a".into(), String::new(), String::new()])
        );
    }
}
