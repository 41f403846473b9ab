//! What surrounds every request: its id, its language, its log line and the writing of problems.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

use super::HttpState;
use super::limits::Rate;
use super::problem::{self, Problem};
use crate::domain::actor::{Locale, Once};
use crate::domain::ids;

/// The header of a request's id.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Says that the answer was kept by an earlier request with the same key.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Characters of a client's own request id at most.
const REQUEST_ID_CHARS_MAX: usize = 64;

/// Shared by all that handles one request.
#[derive(Clone, Debug)]
pub struct RequestContext(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: Arc<str>,
    /// The language that the request asks for.
    asked: Option<Locale>,
    /// The language of the user, or else of the tenant, once known.
    actor: OnceLock<Locale>,
    once: OnceLock<Arc<Once>>,
    rate: OnceLock<Rate>,
}

impl RequestContext {
    fn new(id: Arc<str>, asked: Option<Locale>) -> Self {
        Self(Arc::new(Inner {
            id,
            asked,
            actor: OnceLock::new(),
            once: OnceLock::new(),
            rate: OnceLock::new(),
        }))
    }

    /// The request's id, for logs, problems and audit lines.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The same, shared.
    #[must_use]
    pub fn shared_id(&self) -> Arc<str> {
        Arc::clone(&self.0.id)
    }

    /// The language to answer in: what the request asks for, or else the actor's, or English.
    #[must_use]
    pub fn locale(&self) -> Locale {
        self.0.asked.or_else(|| self.0.actor.get().copied()).unwrap_or_default()
    }

    /// Takes note of the language of the user or tenant.
    pub(super) fn set_actor_locale(&self, locale: Locale) {
        // The first actor of a request is the only one.
        self.0.actor.get_or_init(|| locale);
    }

    /// Takes note of the key under which the request's answer is kept.
    pub(super) fn set_once(&self, once: Arc<Once>) {
        self.0.once.get_or_init(|| once);
    }

    /// Takes note of what the sender may still do.
    pub(super) fn set_rate(&self, rate: Rate) {
        self.0.rate.get_or_init(|| rate);
    }

    fn was_replayed(&self) -> bool {
        self.0.once.get().is_some_and(|once| once.replayed.load(std::sync::atomic::Ordering::Relaxed))
    }
}

/// The outermost layer: gives the request its context, logs it and writes its problems.
pub(super) async fn surround(State(state): State<HttpState>, mut request: Request, next: Next) -> Response {
    let id = request_id(&state, &request);
    let context = RequestContext::new(id, asked_locale(&request));
    request.extensions_mut().insert(context.clone());
    let method = request.method().clone();
    let is_read = matches!(method, Method::GET | Method::HEAD);
    let body_bytes_max = state.options.body_bytes_max;
    let route = request.extensions().get::<MatchedPath>().cloned();
    let span = tracing::info_span!("request", id = %context.id(), %method, path = request.uri().path());
    async move {
        let running = state.meters.begin();
        let began = Instant::now();
        let mut response = next.run(request).await;
        super::add_headers(response.headers_mut(), &state.options);
        response = write_problem(response, &context, (is_read, body_bytes_max));
        let taken = began.elapsed();
        drop(running);
        let status = response.status();
        state.meters.count((&method, route.as_ref()), status, taken);
        tracing::info!(status = status.as_u16(), took_ms = taken.as_secs_f64() * 1e3, "answered");
        if context.was_replayed() {
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        }
        if let Some(rate) = context.0.rate.get() {
            rate.write(response.headers_mut());
        }
        if let Ok(id) = HeaderValue::from_str(context.id()) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }
    .instrument(span)
    .await
}

fn write_problem(
    mut response: Response,
    context: &RequestContext,
    (is_read, body_bytes_max): (bool, usize),
) -> Response {
    let found = response.extensions_mut().remove::<Problem>();
    let Some(mut problem) = found.or_else(|| foreign_problem(&response, body_bytes_max)) else {
        return response;
    };
    if is_read {
        problem = problem.of_query();
    }
    let mut rendered = problem.render(context);
    // Headers such as `Allow` and the rate limits stay.
    for (name, value) in response.headers() {
        if !rendered.headers().contains_key(name) && name != header::CONTENT_LENGTH {
            rendered.headers_mut().insert(name, value.clone());
        }
    }
    rendered
}

/// A failure that axum or a layer has written as plain text.
fn foreign_problem(response: &Response, body_bytes_max: usize) -> Option<Problem> {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let plain = kind.is_none_or(|kind| kind.starts_with("text/plain"));
    ((status.is_client_error() || status.is_server_error()) && plain)
        .then(|| problem::of_status(status, body_bytes_max))
}

fn request_id(state: &HttpState, request: &Request) -> Arc<str> {
    let sent = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let sent = sent.filter(|id| {
        (1..=REQUEST_ID_CHARS_MAX).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    });
    match sent {
        Some(id) => id.into(),
        None => ids::encode("req", state.core.ids.next(state.core.now())).into(),
    }
}

/// The best of our languages in `Accept-Language`; `None` if it names none of them.
fn asked_locale(request: &Request) -> Option<Locale> {
    let header = request.headers().get(header::ACCEPT_LANGUAGE)?.to_str().ok()?;
    let mut best: Option<(f32, Locale)> = None;
    for range in header.split(',').take(16) {
        let (tag, weight) = range.split_once(';').unwrap_or((range, "q=1"));
        let weight: f32 = weight.trim().strip_prefix("q=").and_then(|q| q.parse().ok()).unwrap_or(0.0);
        let primary = tag.trim().split('-').next().unwrap_or_default().to_ascii_lowercase();
        let locale = match primary.as_str() {
            "zh" => Locale::ZhCn,
            "en" => Locale::En,
            _ => continue,
        };
        if weight > 0.0 && best.is_none_or(|(before, _)| weight > before) {
            best = Some((weight, locale));
        }
    }
    best.map(|(_, locale)| locale)
}
