//! Bearer tokens.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{API_PREFIX, HttpState, Page, PageQuery, Path, Result, ValidJson, ValidQuery};
use crate::domain::actor::Actor;
use crate::domain::ids::TokenId;
use crate::domain::token::{NewToken, Token};
use crate::ops::tokens::{self, MadeToken};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(show, revoke))
}

/// A token that has just been made.
#[derive(Debug, Serialize, ToSchema)]
struct Made {
    /// The token.
    #[serde(flatten)]
    token: Token,
    /// What to send as `Authorization: Bearer …`. Shown this once: a repetition with
    /// the same `Idempotency-Key` answers without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// The tokens in the order in which they were made, also revoked and expired ones.
#[utoipa::path(get, path = "/tokens", operation_id = "list_tokens", tag = "access", params(PageQuery),
    responses((status = 200, body = Page<Token>)))]
async fn list(
    State(state): State<HttpState>,
    actor: Actor,
    ValidQuery(query): ValidQuery<PageQuery>,
) -> Result<Json<Page<Token>>> {
    Ok(Json(tokens::list(&state.core, &actor, &query.into()).await?))
}

/// Makes a token within the rights of the one who asks.
#[utoipa::path(post, path = "/tokens", operation_id = "create_token", tag = "access",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes the request take effect once.")),
    request_body = NewToken,
    responses((status = 201, body = Made, headers(("Location" = String)))))]
async fn create(
    State(state): State<HttpState>,
    actor: Actor,
    ValidJson(new): ValidJson<NewToken>,
) -> Result<Response> {
    let MadeToken { token, secret } = tokens::create(&state.core, &actor, new).await?;
    let location = format!("{API_PREFIX}/tokens/{}", token.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(Made { token, secret })).into_response())
}

/// One token.
#[utoipa::path(get, path = "/tokens/{id}", operation_id = "get_token", tag = "access",
    params(("id" = String, Path)),
    responses((status = 200, body = Token)))]
async fn show(State(state): State<HttpState>, actor: Actor, Path(id): Path<TokenId>) -> Result<Json<Token>> {
    Ok(Json(tokens::find(&state.core, &actor, &id).await?))
}

/// Revokes a token at once; nothing happens if it is revoked already.
#[utoipa::path(delete, path = "/tokens/{id}", operation_id = "revoke_token", tag = "access",
    params(("id" = String, Path)),
    responses((status = 204)))]
async fn revoke(State(state): State<HttpState>, actor: Actor, Path(id): Path<TokenId>) -> Result<StatusCode> {
    tokens::revoke(&state.core, &actor, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
