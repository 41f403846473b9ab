//! The whole server behind its router, with a tenant in it.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use hospes::clock::{Clock as _, ManualClock, Timestamp};
use hospes::domain::actor::{Actor, Locale};
use hospes::domain::money::Currency;
use hospes::domain::permission::{Permission, Role};
use hospes::domain::tenant::{NewTenant, Tenant};
use hospes::domain::token::NewToken;
use hospes::domain::user::{NewUser, Password};
use hospes::http::{HttpState, Options, router};
use hospes::ids::RandomIds;
use hospes::ops::{Core, tenants, tokens, users};
use hospes::plugin::{Artifacts, PluginHost, Sandbox};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::db::{Engine, Harness, TestDb};
use crate::people::PASSWORD;

/// A server with a tenant `acme`, and its owner's bearer token.
pub struct FrontApp {
    /// The database.
    pub db: TestDb,
    /// What every use case works with.
    pub core: Arc<Core>,
    /// The time, which stands still until it is moved.
    pub clock: Arc<ManualClock>,
    /// The tenant.
    pub tenant: Tenant,
    /// A client with all rights in the tenant.
    pub owner: Client,
    /// The router itself.
    pub router: Router,
}

impl Harness for FrontApp {
    async fn start(engine: Engine) -> Option<Self> {
        Some(Self::new(TestDb::start(engine).await?, Options::default()).await)
    }
}

impl FrontApp {
    /// A server that speaks HTTP as `options` say.
    ///
    /// # Panics
    /// If the server does not take the tenant.
    pub async fn new(db: TestDb, options: Options) -> Self {
        let now = Timestamp::parse("2026-01-31T08:00:00Z").expect("a time");
        let clock = Arc::new(ManualClock::new(now));
        let core = Arc::new(Core::new(db.db.clone(), clock.clone(), Arc::new(RandomIds::default())));
        PluginHost::connect(&core, sandbox(), Artifacts::new(None, [0; 32]));
        let router = router(HttpState::new(core.clone(), options, CancellationToken::new()));
        let (tenant, owner) = new_tenant(&core, &router, "acme").await;
        Self { db, core, clock, tenant, owner, router }
    }

    /// Another tenant and its owner's client.
    pub async fn new_tenant(&self, slug: &str) -> (Tenant, Client) {
        new_tenant(&self.core, &self.router, slug).await
    }

    /// A client with a bearer token of these roles.
    pub async fn token(&self, roles: &[Role]) -> Client {
        let actor = Actor::operator(self.tenant.id.clone());
        new_token(&self.core, &self.router, &actor, roles, None).await
    }

    /// A client with a bearer token that leaves only `permissions` of all.
    pub async fn scoped_token(&self, permissions: &[Permission]) -> Client {
        let actor = Actor::operator(self.tenant.id.clone());
        new_token(&self.core, &self.router, &actor, &[Role::Owner], Some(permissions.to_vec())).await
    }

    /// Adds a user with [`PASSWORD`] and answers their id.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn add_user(&self, login: &str, roles: &[Role]) -> String {
        let actor = Actor::operator(self.tenant.id.clone());
        let new = NewUser {
            login: login.to_owned(),
            name: login.to_owned(),
            password: Password::new(PASSWORD),
            roles: roles.to_vec(),
            org_unit_id: None,
            locale: None,
        };
        users::create(&self.core, &actor, new).await.expect("the operator adds users").id.to_string()
    }

    /// Signs a user in and answers a client with the session's cookie.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn sign_in(&self, login: &str) -> Client {
        let body = json!({"tenant": self.tenant.slug, "login": login, "password": PASSWORD});
        let answer = self.anonymous().post("/api/v1/sessions", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        let cookie = answer.headers[header::SET_COOKIE].to_str().expect("a cookie is ASCII");
        let cookie = cookie.split(';').next().expect("a cookie has a value").to_owned();
        Client { router: self.router.clone(), credential: Some((header::COOKIE, cookie)) }
    }

    /// A client without a credential.
    #[must_use]
    pub fn anonymous(&self) -> Client {
        Client { router: self.router.clone(), credential: None }
    }

    /// The time on the server's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// One engine for all tests of a process, as in a server.
fn sandbox() -> Arc<Sandbox> {
    static SANDBOX: OnceLock<Arc<Sandbox>> = OnceLock::new();
    let sandbox = SANDBOX.get_or_init(|| Arc::new(Sandbox::new().expect("the engine's settings are legal")));
    Arc::clone(sandbox)
}

async fn new_tenant(core: &Arc<Core>, router: &Router, slug: &str) -> (Tenant, Client) {
    let new = NewTenant {
        slug: slug.to_owned(),
        name: format!("{slug} Ltd"),
        locale: Locale::En,
        time_zone: "Asia/Shanghai".to_owned(),
        currency: Currency::parse("CNY").expect("a currency"),
        owner_login: "owner".to_owned(),
        owner_name: "Olga Owner".to_owned(),
        owner_password: Password::new(PASSWORD),
    };
    let (tenant, _owner) = tenants::create(core, new).await.expect("the operator makes tenants");
    let actor = Actor::operator(tenant.id.clone());
    let client = new_token(core, router, &actor, &[Role::Owner], None).await;
    (tenant, client)
}

async fn new_token(
    core: &Arc<Core>,
    router: &Router,
    actor: &Actor,
    roles: &[Role],
    permissions: Option<Vec<Permission>>,
) -> Client {
    let new = NewToken {
        name: "test".to_owned(),
        roles: roles.to_vec(),
        permissions,
        org_unit_id: None,
        expires_at: None,
    };
    let made = tokens::create(core, actor, new).await.expect("the operator makes tokens");
    let secret = made.secret.expect("a new token shows its secret");
    Client { router: router.clone(), credential: Some((header::AUTHORIZATION, format!("Bearer {secret}"))) }
}

/// Sends requests as somebody.
#[derive(Clone)]
pub struct Client {
    router: Router,
    /// The header that says who it is.
    pub credential: Option<(header::HeaderName, String)>,
}

/// What the server has answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; text that is not JSON is a string.
    pub body: Value,
}

impl Answer {
    /// A header as text; empty if it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The codes of the faults, each behind its pointer: `/name too_long`.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let faults = self.body["errors"].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        faults.map(|fault| format!("{} {}", text(&fault["pointer"]), text(&fault["code"]))).collect()
    }
}

impl Client {
    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path).send().await
    }

    /// POST with JSON.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.request(Method::POST, path).json(&body).send().await
    }

    /// PATCH with a merge patch that overwrites any version.
    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.request(Method::PATCH, path).header("if-match", "*").json(&body).send().await
    }

    /// DELETE of any version.
    pub async fn delete(&self, path: &str) -> Answer {
        self.request(Method::DELETE, path).header("if-match", "*").send().await
    }

    /// A request to be completed.
    #[must_use]
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let builder = RequestBuilder {
            router: self.router.clone(),
            builder: Request::builder().method(method).uri(path).header(header::HOST, "hospes.test"),
            body: Body::empty(),
        };
        match &self.credential {
            Some((name, value)) => builder.header(name.as_str(), value),
            None => builder,
        }
    }
}

/// A request to be completed and sent.
pub struct RequestBuilder {
    router: Router,
    builder: axum::http::request::Builder,
    body: Body,
}

impl RequestBuilder {
    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    /// With a body of JSON.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// With any body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it, and reads the head of the answer only.
    ///
    /// # Panics
    /// If the request is none.
    pub async fn send_head(self) -> axum::http::Response<Body> {
        let request = self.builder.body(self.body).expect("tests build legal requests");
        self.router.oneshot(request).await.expect("a router does not fail")
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Panics
    /// If the request is none or the answer breaks off.
    pub async fn send(self) -> Answer {
        let (head, body) = self.send_head().await.into_parts();
        let bytes = body.collect().await.expect("the answer is whole").to_bytes();
        let text = String::from_utf8_lossy(&bytes);
        let body = serde_json::from_str(&text).unwrap_or_else(|_not_json| Value::from(text.as_ref()));
        Answer { status: head.status, headers: head.headers, body }
    }
}
