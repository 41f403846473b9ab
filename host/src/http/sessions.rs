//! Sessions: signing in and out with a cookie.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::ProblemKind;
use super::{HttpState, Page, PageQuery, Path, Problem, Result, ValidJson, ValidQuery, auth};
use crate::domain::actor::Actor;
use crate::domain::code::{Reason, RecordKind};
use crate::domain::ids::SessionId;
use crate::domain::user::{Password, Session, User};
use crate::error::Error;
use crate::ops::sessions::{self, SESSION_SECONDS, SignIn, SignedIn};

/// The word in place of an id for the session that the request is sent with.
const CURRENT: &str = "current";

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(delete))
}

/// What a person signs in with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Credentials {
    /// The tenant's short name.
    #[schema(min_length = 1, max_length = 63)]
    tenant: String,
    /// The login name.
    #[schema(min_length = 1, max_length = 100)]
    login: String,
    /// The password.
    #[schema(value_type = String, min_length = 1, max_length = 200, format = Password)]
    password: Password,
}

/// A session that has just begun; its secret is in the cookie alone.
#[derive(Debug, Serialize, ToSchema)]
struct Begun {
    /// The session.
    session: Session,
    /// Who has signed in.
    user: User,
}

/// Where a request comes from.
struct Client {
    user_agent: Option<String>,
    address: Option<String>,
}

impl FromRequestParts<HttpState> for Client {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self> {
        // Or another site's page could sign its visitor in as somebody else.
        auth::check_same_site(&parts.method, &parts.uri, &parts.headers)?;
        let user_agent = parts.headers.get(header::USER_AGENT).and_then(|name| name.to_str().ok());
        Ok(Self { user_agent: user_agent.map(str::to_owned), address: auth::address(parts, state) })
    }
}

/// Signs in: answers the session and sets its cookie.
#[utoipa::path(post, path = "/sessions", operation_id = "create_session", tag = "access",
    security(()),
    request_body = Credentials,
    responses((status = 201, body = Begun, headers(("Set-Cookie" = String)))))]
async fn create(
    State(state): State<HttpState>,
    client: Client,
    ValidJson(credentials): ValidJson<Credentials>,
) -> Result<Response> {
    let Credentials { tenant, login, password } = credentials;
    let Client { user_agent, address } = client;
    let sign_in = SignIn { tenant, login, password, user_agent, address };
    let begun = sessions::create(&state.core, sign_in).await.map_err(refusal)?;
    let SignedIn { session, user, secret } = begun;
    let cookie = cookie(&state, &secret, SESSION_SECONDS)?;
    let body = Json(Begun { session, user });
    Ok((StatusCode::CREATED, [(header::SET_COOKIE, cookie)], body).into_response())
}

/// The sessions of the one who asks.
#[utoipa::path(get, path = "/sessions", operation_id = "list_sessions", tag = "access", params(PageQuery),
    responses((status = 200, body = Page<Session>)))]
async fn list(
    State(state): State<HttpState>,
    actor: Actor,
    ValidQuery(query): ValidQuery<PageQuery>,
) -> Result<Json<Page<Session>>> {
    Ok(Json(sessions::list(&state.core, &actor, &query.into()).await?))
}

/// Ends a session of the one who asks; `current` signs out.
#[utoipa::path(delete, path = "/sessions/{id}", operation_id = "delete_session", tag = "access",
    params(("id" = String, Path, description = "An id, or `current`.")),
    responses((status = 204)))]
async fn delete(
    State(state): State<HttpState>,
    signed_in: auth::SignedIn,
    Path(id): Path<String>,
) -> Result<Response> {
    let current = signed_in.authenticated.session.as_ref();
    let not_found = || Error::not_found(RecordKind::Session, &id);
    let id: SessionId = match current {
        Some(current) if id == CURRENT => current.clone(),
        Some(_) | None => id.parse().map_err(|_not_an_id| not_found())?,
    };
    sessions::delete(&state.core, &signed_in.actor, &id).await?;
    if current != Some(&id) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let gone = cookie(&state, "", 0)?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, gone)]).into_response())
}

fn cookie(state: &HttpState, secret: &str, seconds: i64) -> Result<HeaderValue> {
    let secure = if state.options.secure { "; Secure" } else { "" };
    let name = state.cookie_name();
    let text = format!("{name}={secret}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}");
    let mut value = HeaderValue::from_str(&text).map_err(Error::internal)?;
    value.set_sensitive(true);
    Ok(value)
}

/// A refused sign-in has a code of its own: the client has sent credentials, but wrong ones.
fn refusal(error: Error) -> Problem {
    if let Error::Unauthenticated(_) = error {
        let status = StatusCode::UNAUTHORIZED;
        return Problem::new(status, ProblemKind::Unauthenticated, Reason::BadCredentials);
    }
    error.into()
}
