//! Credentials that the host adds to the requests of plugins.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{HttpState, Page, Path, Result, ValidJson};
use crate::domain::actor::Actor;
use crate::ops::plugins::credentials::{self, CredentialView, NewCredential};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(put, delete))
}

/// The credentials that the tenant keeps for a plugin's requests, without what is secret.
#[utoipa::path(get, path = "/plugins/{name}/credentials", operation_id = "list_plugin_credentials", tag = "plugins",
    params(("name" = String, Path)),
    responses((status = 200, body = Page<CredentialView>)))]
async fn list(
    State(state): State<HttpState>,
    actor: Actor,
    Path(name): Path<String>,
) -> Result<Json<Page<CredentialView>>> {
    let items = credentials::list(&state.core, &actor, &name).await?;
    Ok(Json(Page { items, next_cursor: None }))
}

/// Keeps a credential for a plugin's requests to one host. The plugin asks for it by its name and
/// never sees it; an answer that repeats it does not reach the plugin.
#[utoipa::path(put, path = "/plugins/{name}/credentials/{credential}", operation_id = "set_plugin_credential",
    tag = "plugins",
    params(("name" = String, Path),
        ("credential" = String, Path, description = "Lower-case letters, digits, `-` and `_`; at most 64")),
    request_body = NewCredential,
    responses((status = 200, body = CredentialView)))]
async fn put(
    State(state): State<HttpState>,
    actor: Actor,
    Path((name, credential)): Path<(String, String)>,
    ValidJson(new): ValidJson<NewCredential>,
) -> Result<Json<CredentialView>> {
    Ok(Json(credentials::put(&state.core, &actor, (&name, &credential), new).await?))
}

/// Forgets a credential; requests with it are refused from then on.
#[utoipa::path(delete, path = "/plugins/{name}/credentials/{credential}",
    operation_id = "delete_plugin_credential", tag = "plugins",
    params(("name" = String, Path), ("credential" = String, Path)),
    responses((status = 204)))]
async fn delete(
    State(state): State<HttpState>,
    actor: Actor,
    Path((name, credential)): Path<(String, String)>,
) -> Result<StatusCode> {
    credentials::delete(&state.core, &actor, (&name, &credential)).await?;
    Ok(StatusCode::NO_CONTENT)
}
