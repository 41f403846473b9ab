//! The whole server behind its router, without a socket: what a request says is what a client gets.

use std::fmt::Write as _;
use std::future::IntoFuture;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use bytes::Bytes;
use futures::future::BoxFuture;
use hospes::app::App;
use hospes::clock::{ManualClock, Timestamp};
use hospes::http::{self, HttpState, RateLimit};
use hospes::ids::SequentialIds;
use hospes::ops::Core;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::db::{Engine, Harness, TestDb};
use crate::people::TestActor;

/// When every test begins.
const BEGINNING: &str = "2026-01-01T00:00:00Z";

/// A server with a clock and ids that the test knows.
pub struct TestApp {
    /// The clock; stands still until the test moves it.
    pub clock: Arc<ManualClock>,
    /// What use cases work with, for what has no route.
    pub core: Arc<Core>,
    /// The server.
    pub app: App,
    /// The database beneath.
    pub database: TestDb,
    router: Router,
}

impl Harness for TestApp {
    async fn start(engine: Engine) -> Option<Self> {
        Some(Self::over(TestDb::start(engine).await?))
    }
}

impl TestApp {
    /// A server over `database`.
    ///
    /// # Panics
    /// Never: the beginning is a time.
    #[must_use]
    pub fn over(database: TestDb) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::parse(BEGINNING).expect("the beginning is a time")));
        let ids = Arc::new(SequentialIds::default());
        let core = Arc::new(Core::new(database.db.clone(), Arc::clone(&clock) as _, ids));
        let app = App::new(Arc::clone(&core));
        let options = http::Options {
            // Tests of the limits set their own.
            principal_limit: RateLimit::new(1_000_000, 60),
            tenant_limit: RateLimit::new(1_000_000, 60),
            ..http::Options::default()
        };
        let router = http::router(HttpState::new(Arc::clone(&core), options, app.shutdown_token()));
        Self { clock, core, app, database, router }
    }

    /// The same server with other options of HTTP, such as a limit that the test reaches.
    #[must_use]
    pub fn with_options(mut self, options: http::Options) -> Self {
        let state = HttpState::new(Arc::clone(&self.core), options, self.app.shutdown_token());
        self.router = http::router(state);
        self
    }

    /// A `GET` request.
    pub fn get(&self, path: &str) -> TestRequest {
        self.request(Method::GET, path)
    }

    /// A `POST` request.
    pub fn post(&self, path: &str) -> TestRequest {
        self.request(Method::POST, path)
    }

    /// A `PUT` request.
    pub fn put(&self, path: &str) -> TestRequest {
        self.request(Method::PUT, path)
    }

    /// A `PATCH` request.
    pub fn patch(&self, path: &str) -> TestRequest {
        self.request(Method::PATCH, path)
    }

    /// A `DELETE` request.
    pub fn delete(&self, path: &str) -> TestRequest {
        self.request(Method::DELETE, path)
    }

    /// A request; `path` may have a query.
    pub fn request(&self, method: Method, path: &str) -> TestRequest {
        TestRequest {
            router: self.router.clone(),
            method,
            path: path.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }
}

/// A request in the making; sent when it is awaited.
#[must_use = "a request is sent when it is awaited"]
pub struct TestRequest {
    router: Router,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl TestRequest {
    /// Sends a bearer token.
    pub fn token(self, token: &str) -> Self {
        self.header(AUTHORIZATION.as_str(), &format!("Bearer {token}"))
    }

    /// Sends somebody's token.
    pub fn actor(self, actor: &TestActor) -> Self {
        self.token(&actor.token)
    }

    /// Sends a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends JSON; a merge patch if the method is `PATCH`.
    #[expect(clippy::needless_pass_by_value, reason = "called with `json!(…)`")]
    pub fn json(self, value: Value) -> Self {
        let kind =
            if self.method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        self.body(kind, value.to_string())
    }

    /// Sends any body.
    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header(CONTENT_TYPE.as_str(), content_type)
    }

    /// The request as axum takes it.
    fn build(self) -> (Router, Request<Body>, String) {
        let shown = format!("{} {}", self.method, self.path);
        let mut request = Request::builder().method(self.method).uri(self.path);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Body::from(self.body)).expect("the test writes a valid request");
        (self.router, request, shown)
    }

    /// Sends the request and answers its beginning; the body is left to be streamed.
    pub async fn stream(self) -> Response<Body> {
        let (router, request, _shown) = self.build();
        let Ok(response) = router.oneshot(request).await;
        response
    }
}

impl IntoFuture for TestRequest {
    type Output = TestResponse;
    type IntoFuture = BoxFuture<'static, TestResponse>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (router, request, shown) = self.build();
            let Ok(response) = router.oneshot(request).await;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.expect("the server ends its body").to_bytes();
            TestResponse { request: shown, status: parts.status, headers: parts.headers, body }
        })
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub struct TestResponse {
    request: String,
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl TestResponse {
    /// Itself, if the status is the expected one.
    ///
    /// # Panics
    /// If it is not, with the whole answer.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self}");
        self
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("the body is not JSON ({error}): {self}"),
        }
    }

    /// The body as text.
    ///
    /// # Panics
    /// If it is not UTF-8.
    #[track_caller]
    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).expect("the body is text")
    }

    /// A header's text; empty if it is absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl std::fmt::Display for TestResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} was answered {}", self.request, self.status)?;
        for (name, value) in &self.headers {
            writeln!(f, "  {name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
        }
        let mut body = String::new();
        match serde_json::from_slice::<Value>(&self.body) {
            Ok(json) => write!(body, "{json:#}")?,
            Err(_) => body.push_str(&String::from_utf8_lossy(&self.body)),
        }
        f.write_str(&body)
    }
}
