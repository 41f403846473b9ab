//! Requests through the router of a rig, sent with a token of one of its tenants.

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use hospes::domain::actor::Actor;
use hospes::domain::permission::Role;
use hospes::domain::token::NewToken;
use hospes::http::{self, HttpState, RateLimit};
use hospes::ops::tokens;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::plugin_rig::Rig;

/// Somebody who sends requests.
pub(crate) struct Door {
    router: Router,
    token: String,
}

impl Door {
    /// A door for a token of the actor's tenant with these roles.
    pub(crate) async fn open(rig: &Rig, actor: &Actor, roles: &[Role]) -> Self {
        let new = NewToken {
            name: "test".to_owned(),
            roles: roles.to_vec(),
            permissions: None,
            org_unit_id: None,
            expires_at: None,
        };
        let made = tokens::create(&rig.core, actor, new).await.expect("a token can be made");
        let options = http::Options {
            principal_limit: RateLimit::new(1_000_000, 60),
            tenant_limit: RateLimit::new(1_000_000, 60),
            ..http::Options::default()
        };
        let router = http::router(HttpState::new(rig.core.clone(), options, Default::default()));
        Self { router, token: made.secret.expect("a new token is shown once") }
    }

    /// Sends a request below the API's prefix and answers status and body.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        self.send_with(method, path, body, &[]).await
    }

    /// As [`Door::send`], with headers.
    pub(crate) async fn send_with(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> (StatusCode, Value) {
        let kind = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, kind);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let Ok(response) = self.router.clone().oneshot(request.body(body).unwrap()).await;
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// Sends a request that must be answered with `status`.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Value, status: u16) -> Value {
        let shown = format!("{method} {path}");
        let body = if body.is_null() { None } else { Some(body) };
        let (answered, answer) = self.send(method, path, body).await;
        assert_eq!(answered.as_u16(), status, "{shown} was answered {answer:#}");
        answer
    }

    /// A `GET` that must succeed.
    pub(crate) async fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path, Value::Null, 200).await
    }

    /// A `POST` that must be answered with `status`.
    pub(crate) async fn post(&self, path: &str, body: Value, status: u16) -> Value {
        self.ask(Method::POST, path, body, status).await
    }
}
