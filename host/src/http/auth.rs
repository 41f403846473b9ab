//! Who sends a request: a bearer token, or the cookie of a session.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};

use super::context::RequestContext;
use super::idempotency::Fingerprint;
use super::problem::ProblemKind;
use super::{HttpState, Problem, limits};
use crate::domain::actor::{Actor, Once};
use crate::domain::code::Reason;
use crate::error::Error;
use crate::ops::access::{self, Authenticated};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const NOT_SIGNED_IN: Error = Error::Unauthenticated("send a bearer token, or sign in");

impl FromRequestParts<HttpState> for Actor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Problem> {
        SignedIn::from_request_parts(parts, state).await.map(|signed_in| signed_in.actor)
    }
}

/// The sender and, if it is a person, their session.
pub(super) struct SignedIn {
    pub(super) actor: Actor,
    pub(super) authenticated: Arc<Authenticated>,
}

impl FromRequestParts<HttpState> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Problem> {
        let authenticated = authenticate(parts, state).await?;
        let mut actor = authenticated.actor.clone();
        let (rate, within) = limits::check(state, &actor);
        if let Some(context) = parts.extensions.get::<RequestContext>() {
            context.set_rate(rate);
            context.set_actor_locale(actor.locale);
            actor.locale = context.locale();
            actor.request_id = Some(context.shared_id());
            if let Some(Fingerprint { key, fingerprint }) = parts.extensions.get().cloned() {
                let once = Arc::new(Once { key, fingerprint, replayed: false.into() });
                context.set_once(Arc::clone(&once));
                actor.once = Some(once);
            }
        }
        within?;
        Ok(Self { actor, authenticated })
    }
}

async fn authenticate(parts: &Parts, state: &HttpState) -> Result<Arc<Authenticated>, Problem> {
    if let Some(value) = parts.headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        return Ok(access::by_token(&state.core, token.ok_or(NOT_SIGNED_IN)?).await?);
    }
    let session = cookie(&parts.headers, state.cookie_name()).ok_or(NOT_SIGNED_IN)?;
    check_same_site(&parts.method, &parts.uri, &parts.headers)?;
    Ok(access::by_session(&state.core, session).await?)
}

/// Refuses a change that another site's page has sent with the browser's cookie.
///
/// Browsers say where a request comes from; a client that says nothing is no browser
/// and has not sent the cookie on somebody else's behalf.
pub(super) fn check_same_site(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("null"));
    let same = match (text(&SEC_FETCH_SITE), text(&header::ORIGIN)) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let host = uri.authority().map(|host| host.as_str()).or_else(|| text(&header::HOST));
            origin.split_once("://").is_some_and(|(_, authority)| Some(authority) == host)
        }
        (None, None) => true,
    };
    if same {
        return Ok(());
    }
    Err(Problem::new(StatusCode::FORBIDDEN, ProblemKind::CrossSite, Reason::CrossSite))
}

/// The value of a cookie.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// The address of the client, for the limits of signing in and the list of sessions.
pub(super) fn address(parts: &Parts, state: &HttpState) -> Option<String> {
    if state.options.trust_forwarded_for
        && let Some(forwarded) = parts.headers.get("x-forwarded-for").and_then(|value| value.to_str().ok())
        // The last entry is the one that our own proxy has added.
        && let Some(last) = forwarded.rsplit(',').next()
        && let Ok(address) = last.trim().parse::<std::net::IpAddr>()
    {
        return Some(address.to_string());
    }
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip().to_string())
}
