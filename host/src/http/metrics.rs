//! `/metrics`: on a listener of its own, or behind a token of its own. Never for a tenant's token,
//! because it tells about all tenants together.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use subtle::ConstantTimeEq as _;

use crate::metrics::Metrics;

/// The content type of Prometheus's text format.
const TEXT_FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// What a listener serves that is for metrics alone.
pub fn metrics_router(metrics: Metrics) -> Router {
    Router::new().route("/metrics", get(async move || rendered(&metrics)))
}

/// The route on the main listener, for whoever has `token`.
pub fn metrics_with_token(metrics: Metrics, token: &str) -> Router {
    let guarded = Guarded { metrics, token: token.into() };
    Router::new().route("/metrics", get(show)).with_state(guarded)
}

#[derive(Clone)]
struct Guarded {
    metrics: Metrics,
    token: Arc<str>,
}

async fn show(State(guarded): State<Guarded>, headers: HeaderMap) -> Response {
    let sent = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let sent = sent.and_then(|sent| sent.strip_prefix(b"Bearer ")).unwrap_or_default();
    // Compared in constant time, so that the answer's delay tells nothing of the token.
    if bool::from(sent.ct_eq(guarded.token.as_bytes())) {
        return rendered(&guarded.metrics);
    }
    let challenge = [(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))];
    (StatusCode::UNAUTHORIZED, challenge, "metrics need the server's metrics token").into_response()
}

fn rendered(metrics: &Metrics) -> Response {
    ([(header::CONTENT_TYPE, TEXT_FORMAT)], metrics.render()).into_response()
}
