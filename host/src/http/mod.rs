//! REST: the only place that knows axum. One file for each resource.
//!
//! A handler takes apart the request with strict extractors ([`ValidJson`],
//! [`ValidQuery`], [`MergePatch`], [`Path`], `Actor`), calls one use case and turns its
//! answer into a response. It decides nothing: permissions and rules are in `ops`.

#![expect(unused_qualifications, reason = "the attribute macro that describes parameters writes some")]

mod audit;
mod auth;
mod context;
mod credentials;
mod customers;
mod door;
mod events;
mod field_filter;
mod fields;
mod freezes;
mod health;
mod idempotency;
mod imports;
mod json;
mod limits;
mod live;
mod me;
mod meters;
mod metrics;
mod openapi;
mod orders;
mod org_units;
mod page;
mod plugin_canaries;
mod plugin_recordings;
mod plugin_routes;
mod plugin_shadows;
mod plugin_uninstall;
mod plugin_usage;
mod plugins;
mod problem;
mod products;
mod query;
mod roles;
mod schema;
mod serve;
mod sessions;
mod strict;
mod tenant;
mod timed;
mod timeline;
mod tokens;
mod users;
mod version;
mod webhooks;

use std::any::Any;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use utoipa_axum::router::OpenApiRouter;

pub use context::RequestContext;
pub use door::{Ask, Door, Told};
pub use json::{MergePatch, ValidJson};
pub use limits::RateLimit;
pub use metrics::{metrics_router, metrics_with_token};
pub use openapi::document as openapi;
pub use page::{Page, PageQuery, PageRequest};
pub use problem::{Problem, ProblemDocument, ProblemKind};
pub use query::{Path, ValidQuery};
pub use serve::{Connections, Stopped, serve};
pub use version::{IfMatch, Record, RequiredIfMatch, Versioned};

use crate::domain::code::Reason;
use crate::error::Error;
use crate::ops::Core;
use limits::Limits;
use live::Streams;
use meters::Meters;

/// What a handler answers; a [`crate::error::Error`] becomes a [`Problem`] with `?`.
pub type Result<T, E = Problem> = std::result::Result<T, E>;

/// The part of every address of the API.
pub const API_PREFIX: &str = "/api/v1";

/// How the server speaks HTTP.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of an ordinary body at most; streaming routes have limits of their own.
    pub body_bytes_max: usize,
    /// How long an ordinary request may take.
    pub timeout: Duration,
    /// Requests of one token or person.
    pub principal_limit: RateLimit,
    /// Requests of one tenant.
    pub tenant_limit: RateLimit,
    /// The server is reached through HTTPS: cookies are marked so, and browsers told to stay with it.
    pub secure: bool,
    /// A proxy of ours stands in front and appends the client's address to `X-Forwarded-For`.
    pub trust_forwarded_for: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            body_bytes_max: 1024 * 1024,
            timeout: Duration::from_secs(30),
            principal_limit: RateLimit::new(6_000, 60),
            tenant_limit: RateLimit::new(30_000, 60),
            secure: false,
            trust_forwarded_for: false,
        }
    }
}

/// What handlers work with; cheap to clone, as every layer and extractor does.
#[derive(Clone)]
pub struct HttpState(Arc<Shared>);

/// What an [`HttpState`] shares.
pub struct Shared {
    /// What every use case works with.
    pub core: Arc<Core>,
    /// How the server speaks HTTP.
    pub options: Options,
    /// Cancelled when the server stops: streams end themselves then.
    pub shutdown: CancellationToken,
    limits: Limits,
    meters: Meters,
    streams: Arc<Streams>,
}

impl Deref for HttpState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl HttpState {
    /// The state of a server's router.
    #[must_use]
    pub fn new(core: Arc<Core>, options: Options, shutdown: CancellationToken) -> Self {
        let limits = Limits::new(options.principal_limit, options.tenant_limit);
        let (meters, streams) = (Meters::default(), Arc::default());
        Self(Arc::new(Shared { core, options, shutdown, limits, meters, streams }))
    }

    /// The session cookie's name; browsers take `__Host-` only with HTTPS.
    fn cookie_name(&self) -> &'static str {
        if self.options.secure { "__Host-hospes" } else { "hospes" }
    }
}

/// The whole server as a router; `/metrics` is added by whoever listens.
pub fn router(state: HttpState) -> Router {
    let (api, document) = api(&state).split_for_parts();
    Router::new()
        .merge(api)
        .merge(openapi::routes(document))
        .merge(health::routes())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(state.clone(), context::surround))
        .layer(CompressionLayer::new())
        .with_state(state)
}

/// The API with its description; [`openapi`] needs the latter without a database.
///
/// Few layers: each copies all that lie within it, for every request.
fn api(state: &HttpState) -> OpenApiRouter<HttpState> {
    let ordinary = ordinary_routes()
        .layer(middleware::from_fn_with_state(state.clone(), answer_soon))
        .layer(DefaultBodyLimit::max(state.options.body_bytes_max));
    let streaming = streaming_routes().layer(middleware::from_fn(stream)).layer(DefaultBodyLimit::disable());
    described(ordinary.merge(streaming))
}

fn described(routes: OpenApiRouter<HttpState>) -> OpenApiRouter<HttpState> {
    OpenApiRouter::with_openapi(openapi::frame()).nest(API_PREFIX, routes)
}

/// Requests with a small body that are answered soon.
fn ordinary_routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .merge(audit::routes())
        .merge(credentials::routes())
        .merge(customers::routes())
        .merge(events::routes())
        .merge(fields::routes())
        .merge(freezes::routes())
        .merge(imports::routes())
        .merge(me::routes())
        .merge(orders::routes())
        .merge(org_units::routes())
        .merge(plugin_canaries::routes())
        .merge(plugin_routes::routes())
        .merge(plugin_recordings::routes())
        .merge(plugin_shadows::routes())
        .merge(plugin_uninstall::routes())
        .merge(plugin_usage::routes())
        .merge(plugins::routes())
        .merge(products::routes())
        .merge(roles::routes())
        .merge(sessions::routes())
        .merge(tenant::routes())
        .merge(timeline::routes())
        .merge(tokens::routes())
        .merge(users::routes())
        .merge(webhooks::routes())
}

/// Uploads, downloads and event streams: they bound their bodies and their time themselves.
fn streaming_routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().merge(events::streaming_routes()).merge(imports::streaming_routes())
}

/// Answers an ordinary request within its time; one sent with a key, or whose answer the
/// sender may have, as that asks for.
async fn answer_soon(State(state): State<HttpState>, request: Request, next: Next) -> Response {
    let known = version::known(&request);
    let answered = async {
        idempotency::admit(&request)?;
        let request = idempotency::fingerprint(&state, request).await?;
        Ok::<_, Problem>(next.run(request).await)
    };
    let answered = tokio::time::timeout(state.options.timeout, answered).await;
    let answered = answered.unwrap_or_else(|_elapsed| {
        tracing::warn!(timeout_ms = state.options.timeout.as_millis(), "a request took too long");
        Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, ProblemKind::Timeout, Reason::Timeout))
    });
    answered.map_or_else(Problem::into_response, |response| version::spare(known, response))
}

/// Answers a request that takes its own time.
async fn stream(request: Request, next: Next) -> Response {
    match idempotency::admit(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    Error::internal(format!("a handler panicked: {text}")).into_response()
}

/// Headers that keep browsers from doing what an API's answers are not for.
fn add_headers(headers: &mut HeaderMap, options: &Options) {
    let mut default = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    default(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    default(header::X_FRAME_OPTIONS, "DENY");
    default(header::REFERRER_POLICY, "no-referrer");
    default(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    // What a tenant sees must not stay in a shared cache.
    default(header::CACHE_CONTROL, "no-store");
    if options.secure {
        default(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
}
