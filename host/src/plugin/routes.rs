//! Routes: REST endpoints under the plugin's prefix. Path, roles, query and body are
//! checked before the guest runs, and what it answers after.

use std::sync::Arc;

use hospes_bindings::exports::hospes::plugin::routes as contract;
use serde_json::{Value, json};

use super::PluginHost;
use super::acceptance;
use super::call::{Answer, Call};
use super::invocation::clean;
use super::registry::{Enabled, RouteSchemas};
use super::request::{audit, check_roles};
use super::run::{Effects, Overtaken, user_actor};
use crate::domain::actor::Actor;
use crate::domain::check::escaped;
use crate::domain::code::{FailureCode, FaultCode, RecordKind};
use crate::domain::ids::TenantId;
use crate::domain::manifest::{Method, Route, param_of};
use crate::domain::point::Point;
use crate::error::{Error, Fault, Result};
use crate::ops::plugins::routes::{PluginRoutes, RouteRequest, RouteResponse};

/// Bytes of a request's body as a document.
const BODY_BYTES_MAX: usize = super::host::DOCUMENT_BYTES_MAX;

impl PluginHost {
    pub(super) async fn routes_of(&self, tenant: &TenantId) -> Result<Vec<PluginRoutes>> {
        let all = self.registry.of_tenant(tenant).await?;
        let with_routes = all.iter().filter(|enabled| !enabled.facts.manifest.routes.is_empty());
        let routes = with_routes.map(|enabled| PluginRoutes {
            plugin: enabled.plugin.to_string(),
            version: enabled.package_version.clone(),
            routes: enabled.facts.manifest.routes.clone(),
        });
        Ok(routes.collect())
    }

    /// Answers a request; once more if another server has changed the plugin's rights, which shows here
    /// only when it commits.
    pub(super) async fn answer_route(
        &self,
        actor: &Actor,
        plugin: &str,
        request: RouteRequest,
    ) -> Result<RouteResponse> {
        match self.answer_as_known(actor, plugin, &request).await {
            Err(error) if Overtaken::is(&error) => self.answer_as_known(actor, plugin, &request).await,
            answered => answered,
        }
    }

    async fn answer_as_known(
        &self,
        actor: &Actor,
        plugin: &str,
        request: &RouteRequest,
    ) -> Result<RouteResponse> {
        let unknown = || {
            let path = request.path.join("/");
            Error::not_found(RecordKind::Route, format!("{} {plugin}/x/{path}", request.method.as_str()))
        };
        let live = self.registry.find(&actor.tenant, plugin).await?.ok_or_else(unknown)?;
        let enabled = Box::pin(self.version_for_request(&live, actor, &request.path)).await?;
        let (position, route, params) = find(&enabled, request).ok_or_else(unknown)?;
        check_roles(actor, &format!("`{} {}`", route.method.as_str(), route.path), &route.roles)?;
        let schemas = enabled.facts.routes.get(position).ok_or_else(unknown)?;
        let body = check(route, schemas, request)?;
        let mut beginning = self.begin(&enabled, user_actor(actor, &enabled), Point::Routes)?.of_user(actor);
        beginning.may_write = route.method != Method::Get;
        let asked = contract::Request {
            method: method(route.method),
            path: route.path.clone(),
            params,
            query: request.query.iter().map(|(name, value)| parameter(name, value)).collect(),
            body: body.map(|body| body.to_string()),
        };
        let call = Call::Route(asked.clone());
        if route.method == Method::Get {
            let answer = self.run(beginning, call, Effects::None).await?;
            return read(&enabled, &asked, &answer);
        }
        let changes = json!({ "method": route.method.as_str(), "path": route.path });
        let effects = Effects::with(audit(&beginning, "plugin.route", ("plugin", plugin), changes));
        let (queue, read) = (request.path.join("/"), {
            let enabled = Arc::clone(&enabled);
            Box::new(move |answer| read(&enabled, &asked, &answer))
        });
        self.run_request(actor, &beginning, (&call, &effects), &queue, read).await
    }
}

/// The declared route that a request means, its position, and the values of its
/// path. A plain segment is preferred to a parameter, from left to right.
fn find<'e>(
    enabled: &'e Enabled,
    request: &RouteRequest,
) -> Option<(usize, &'e Route, Vec<contract::Parameter>)> {
    let routes = enabled.facts.manifest.routes.iter().enumerate();
    let fitting = routes.filter(|(_, route)| route.method == request.method && fits(route, &request.path));
    let (position, route) = fitting.min_by_key(|(_, route)| {
        let segments = route.path.split('/').skip(1);
        segments.map(|segment| param_of(segment).is_some()).collect::<Vec<bool>>()
    })?;
    let segments = route.path.split('/').skip(1).zip(&request.path);
    let params = segments.filter_map(|(segment, value)| Some(parameter(param_of(segment)?, value)));
    Some((position, route, params.collect()))
}

fn fits(route: &Route, path: &[String]) -> bool {
    let declared: Vec<&str> = route.path.split('/').skip(1).collect();
    declared.len() == path.len()
        && declared.iter().zip(path).all(|(declared, given)| match param_of(declared) {
            Some(_) => !given.is_empty(),
            None => declared == given,
        })
}

/// The body with its defaults, or every fault of query and body.
fn check(route: &Route, schemas: &RouteSchemas, request: &RouteRequest) -> Result<Option<Value>> {
    let mut faults = Vec::new();
    for (position, (name, _)) in request.query.iter().enumerate() {
        let is_again = request.query.iter().take(position).any(|(before, _)| before == name);
        let code = match (route.query.contains(name), is_again) {
            (true, false) => continue,
            (true, true) => FaultCode::Repeated,
            (false, _) => FaultCode::UnknownParameter,
        };
        faults.push(Fault::plain(format!("/{}", escaped(&clean(name, 64))), code));
    }
    let mut body = request.body.clone();
    match (&schemas.input, &mut body) {
        (None, Some(_)) => faults.push(Fault::plain("", FaultCode::UnexpectedBody)),
        (None, None) => {}
        (Some(_), None) => faults.push(Fault::plain("", FaultCode::Required)),
        (Some(schema), Some(body)) => {
            schema.fill_defaults(body);
            faults.extend(schema.faults("", body));
            if body.to_string().len() > BODY_BYTES_MAX {
                faults.push(Fault::plain("", FaultCode::too_many_bytes(BODY_BYTES_MAX)));
            }
        }
    }
    if faults.is_empty() { Ok(body) } else { Err(Error::Invalid { faults }) }
}

fn read(enabled: &Enabled, request: &contract::Request, answer: &Answer) -> Result<RouteResponse> {
    let Answer::Response(response) = answer else {
        return Err(Error::internal("a route answered with something else than a response"));
    };
    read_response(enabled, request, response).map_err(|code| acceptance::error(&enabled.plugin, code))
}

/// The response to a request, or why it is not taken.
pub(super) fn read_response(
    enabled: &Enabled,
    request: &contract::Request,
    response: &contract::Response,
) -> Result<RouteResponse, FailureCode> {
    let failed = |reason: String| FailureCode::Response { reason };
    let contract::Response { status, body } = response;
    if !(200..300).contains(status) {
        return Err(failed(format!("its status is {status}; a failure is an error")));
    }
    // These end with their head, so that a body would be taken for another answer.
    if matches!(status, 204 | 205) && body.is_some() {
        return Err(failed(format!("its status is {status}, which has no body")));
    }
    let body = body.as_deref().map(super::host::parse_document).transpose().map_err(failed)?;
    let mut routes = enabled.facts.manifest.routes.iter().zip(&enabled.facts.routes);
    let asked = routes.find(|(route, _)| is_asked(route, request));
    if let Some(schema) = asked.and_then(|(_, schemas)| schemas.output.as_ref()) {
        let faults = schema.faults("", body.as_ref().unwrap_or(&Value::Null));
        if let Some(first) = faults.first() {
            return Err(failed(format!("`{}`: {}", first.pointer, first.message)));
        }
    }
    Ok(RouteResponse { status: *status, body })
}

/// Whether a request is one of a declared route. A guest is told the path as it is declared.
fn is_asked(route: &Route, request: &contract::Request) -> bool {
    let is_same_method = match route.method {
        Method::Get => matches!(request.method, contract::Method::Get),
        Method::Post => matches!(request.method, contract::Method::Post),
        Method::Put => matches!(request.method, contract::Method::Put),
        Method::Patch => matches!(request.method, contract::Method::Patch),
        Method::Delete => matches!(request.method, contract::Method::Delete),
    };
    is_same_method && route.path == request.path
}

fn method(method: Method) -> contract::Method {
    match method {
        Method::Get => contract::Method::Get,
        Method::Post => contract::Method::Post,
        Method::Put => contract::Method::Put,
        Method::Patch => contract::Method::Patch,
        Method::Delete => contract::Method::Delete,
    }
}

fn parameter(name: &str, value: &str) -> contract::Parameter {
    contract::Parameter { name: name.to_owned(), value: value.to_owned() }
}
