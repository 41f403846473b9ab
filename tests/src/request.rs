//! Requests to the router of a server, and what it answers.

use std::borrow::Borrow;
use std::future::IntoFuture;

use axum::Router;
use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, IF_MATCH};
use axum::http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

/// The name that requests say the server has.
const SERVER_NAME: &str = "hospes.test";
/// Pages of a list that a test reads at most.
const PAGES_MAX: u32 = 1_000;

/// Sends requests as somebody, or as nobody.
#[derive(Clone)]
pub struct Client {
    router: Router,
    credential: Option<(HeaderName, String)>,
}

impl Client {
    pub(crate) fn nobody(router: Router) -> Self {
        Self { router, credential: None }
    }

    pub(crate) fn bearer(router: Router, secret: &str) -> Self {
        Self { router, credential: Some((AUTHORIZATION, format!("Bearer {secret}"))) }
    }

    pub(crate) fn cookie(router: Router, cookie: &str) -> Self {
        Self { router, credential: Some((COOKIE, cookie.to_owned())) }
    }

    /// The same somebody before another server.
    pub(crate) fn moved_to(self, router: Router) -> Self {
        Self { router, credential: self.credential }
    }

    /// A `GET` request.
    pub fn get(&self, path: &str) -> TestRequest {
        self.request(Method::GET, path)
    }

    /// A `POST` request with JSON.
    pub fn post(&self, path: &str, body: impl Borrow<Value>) -> TestRequest {
        self.request(Method::POST, path).json(body)
    }

    /// A `PUT` request with JSON.
    pub fn put(&self, path: &str, body: impl Borrow<Value>) -> TestRequest {
        self.request(Method::PUT, path).json(body)
    }

    /// A merge patch that overwrites any version.
    pub fn patch(&self, path: &str, body: impl Borrow<Value>) -> TestRequest {
        self.request(Method::PATCH, path).header(IF_MATCH.as_str(), "*").json(body)
    }

    /// A `DELETE` request that removes any version.
    pub fn delete(&self, path: &str) -> TestRequest {
        self.request(Method::DELETE, path).header(IF_MATCH.as_str(), "*")
    }

    /// A request to be completed; `path` may have a query.
    pub fn request(&self, method: Method, path: &str) -> TestRequest {
        let request = TestRequest {
            router: self.router.clone(),
            method,
            path: path.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
        };
        match &self.credential {
            Some((name, value)) => request.header(name.as_str(), value),
            None => request,
        }
    }

    /// Every item of a list, page by page.
    ///
    /// # Panics
    /// If it is no list, or one without end.
    pub async fn all(&self, path: &str) -> Vec<Value> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let (mut items, mut cursor) = (Vec::new(), String::new());
        for _ in 0..PAGES_MAX {
            let page = self.get(&format!("{path}{separator}limit=200{cursor}")).await.expect(200).body;
            items.extend(page["items"].as_array().expect("a list has items").iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
        panic!("{path} has more than {PAGES_MAX} pages");
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

    /// Sends a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends JSON; a merge patch if the method is `PATCH`.
    pub fn json(self, value: impl Borrow<Value>) -> Self {
        let kind =
            if self.method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        self.body(kind, value.borrow().to_string())
    }

    /// Sends any body.
    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header(CONTENT_TYPE.as_str(), content_type)
    }

    /// The request as axum takes it.
    fn build(self) -> (Router, Request<Body>, String) {
        let shown = format!("{} {}", self.method, self.path);
        let mut request = Request::builder().method(self.method).uri(self.path).header(HOST, SERVER_NAME);
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
            let (head, body) = response.into_parts();
            let bytes = body.collect().await.expect("the server ends its body").to_bytes();
            let body = serde_json::from_slice(&bytes)
                .unwrap_or_else(|_not_json| Value::from(String::from_utf8_lossy(&bytes)));
            TestResponse { request: shown, status: head.status, headers: head.headers, body, bytes }
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
    /// The whole body; one that is not JSON is a string.
    pub body: Value,
    bytes: Bytes,
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
        match serde_json::from_slice(&self.bytes) {
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
        String::from_utf8(self.bytes.to_vec()).expect("the body is text")
    }

    /// A header's text; empty if it is absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The status and the code of a problem.
    #[must_use]
    pub fn code(&self) -> (u16, &str) {
        (self.status.as_u16(), self.body["code"].as_str().unwrap_or_default())
    }

    /// The codes of the faults, each behind its pointer: `/name too_long`.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let faults = self.body["errors"].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        faults.map(|fault| format!("{} {}", text(&fault["pointer"]), text(&fault["code"]))).collect()
    }
}

impl std::fmt::Display for TestResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} was answered {}", self.request, self.status)?;
        for (name, value) in &self.headers {
            writeln!(f, "  {name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
        }
        match self.body.as_str() {
            Some(text) => f.write_str(text),
            None => write!(f, "{:#}", self.body),
        }
    }
}
