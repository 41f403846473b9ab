//! Users.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{
    HttpState, MergePatch, Page, PageRequest, Path, Record, RequiredIfMatch, Result, ValidJson, ValidQuery,
    Versioned,
};
use crate::domain::actor::Actor;
use crate::domain::ids::{OrgUnitId, UserId};
use crate::domain::user::{NewUser, Password, User, UserPatch, UserState};
use crate::ops::users::{self, UserFilter};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update))
        .routes(routes!(reset_password))
        .routes(routes!(end_sessions))
}

impl Record for User {
    fn version(&self) -> i64 {
        self.version
    }

    fn path(&self) -> String {
        format!("/users/{}", self.id)
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Those who may sign in, or those who may not.
    #[param(inline)]
    state: Option<UserState>,
    /// Those of this unit.
    #[param(value_type = Option<String>, max_length = 40)]
    org_unit_id: Option<OrgUnitId>,
    /// The one with this login.
    #[param(max_length = 100)]
    login: Option<String>,
    /// Rows on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[param(max_length = 1000)]
    cursor: Option<String>,
}

/// The users in the order in which they were added.
#[utoipa::path(get, path = "/users", operation_id = "list_users", tag = "access", params(ListQuery),
    responses((status = 200, body = Page<User>)))]
async fn list(
    State(state): State<HttpState>,
    actor: Actor,
    ValidQuery(query): ValidQuery<ListQuery>,
) -> Result<axum::Json<Page<User>>> {
    let ListQuery { state: user_state, org_unit_id, login, limit, cursor } = query;
    let filter = UserFilter { state: user_state, org_unit_id, login };
    let page = PageRequest::new(limit, cursor);
    Ok(axum::Json(users::list(&state.core, &actor, &filter, &page).await?))
}

/// Adds a user with a password to begin with.
#[utoipa::path(post, path = "/users", operation_id = "create_user", tag = "access",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes the request take effect once.")),
    request_body = NewUser,
    responses((status = 201, body = User, headers(("ETag" = String), ("Location" = String)))))]
async fn create(
    State(state): State<HttpState>,
    actor: Actor,
    ValidJson(new): ValidJson<NewUser>,
) -> Result<Versioned<User>> {
    Ok(Versioned::created(users::create(&state.core, &actor, new).await?))
}

/// One user.
#[utoipa::path(get, path = "/users/{id}", operation_id = "get_user", tag = "access",
    params(("id" = String, Path)),
    responses((status = 200, body = User, headers(("ETag" = String)))))]
async fn show(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<UserId>,
) -> Result<Versioned<User>> {
    Ok(Versioned::found(users::find(&state.core, &actor, &id).await?))
}

/// Changes a user's name, state, roles, unit or language. Their rights change at once.
#[utoipa::path(patch, path = "/users/{id}", operation_id = "update_user", tag = "access",
    params(("id" = String, Path), ("If-Match" = String, Header, description = "The `ETag` of the record, or `*`.")),
    request_body(content = UserPatch, content_type = "application/merge-patch+json"),
    responses((status = 200, body = User, headers(("ETag" = String)))))]
async fn update(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<UserId>,
    RequiredIfMatch(version): RequiredIfMatch,
    MergePatch(patch): MergePatch<UserPatch>,
) -> Result<Versioned<User>> {
    Ok(Versioned::found(users::update(&state.core, &actor, &id, version, patch).await?))
}

/// A password for another user.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordReset {
    /// The new password.
    #[schema(value_type = String, min_length = 10, max_length = 200, format = Password)]
    password: Password,
}

/// Gives a user another password and ends their sessions.
#[utoipa::path(post, path = "/users/{id}/password", operation_id = "reset_password", tag = "access",
    params(("id" = String, Path)),
    request_body = PasswordReset,
    responses((status = 204)))]
async fn reset_password(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<UserId>,
    ValidJson(PasswordReset { password }): ValidJson<PasswordReset>,
) -> Result<StatusCode> {
    users::reset_password(&state.core, &actor, &id, password).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends all sessions of a user.
#[utoipa::path(delete, path = "/users/{id}/sessions", operation_id = "end_user_sessions", tag = "access",
    params(("id" = String, Path)),
    responses((status = 204)))]
async fn end_sessions(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<UserId>,
) -> Result<StatusCode> {
    users::end_sessions(&state.core, &actor, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
