//! The one who asks: who they are and what they may do.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::SignedIn;
use super::roles::Reach;
use super::{HttpState, IfMatch, MergePatch, Result, ValidJson, Versioned};
use crate::domain::actor::{Actor, Locale};
use crate::domain::permission::{Permission, Role};
use crate::domain::user::{Password, SelfPatch, User};
use crate::ops::users;

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(show, update)).routes(routes!(change_password))
}

/// The one who asks.
#[derive(Debug, Serialize, ToSchema)]
struct Me {
    /// The tenant's id.
    tenant_id: String,
    /// `user` or `token`.
    kind: &'static str,
    /// The id of the user or token.
    id: String,
    /// The roles; several add up.
    roles: Vec<Role>,
    /// What they may do, and how far it reaches.
    permissions: Vec<Reach>,
    /// The language of this answer.
    locale: Locale,
    /// The user's record, if it is a user.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<User>,
    /// The session, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
}

/// Who asks, and what they may do.
#[utoipa::path(get, path = "/me", operation_id = "get_me", tag = "access",
    responses((status = 200, body = Me)))]
async fn show(State(state): State<HttpState>, signed_in: SignedIn) -> Result<Json<Me>> {
    let SignedIn { actor, authenticated } = signed_in;
    let permissions = Permission::ALL.iter().filter_map(|permission| {
        actor.reach(*permission).map(|scope| Reach { permission: *permission, scope })
    });
    Ok(Json(Me {
        tenant_id: actor.tenant.to_string(),
        kind: actor.principal.kind(),
        id: actor.principal.id().to_owned(),
        roles: actor.roles.clone(),
        permissions: permissions.collect(),
        locale: actor.locale,
        user: users::find_self(&state.core, &actor).await?,
        session_id: authenticated.session.as_ref().map(ToString::to_string),
    }))
}

/// Changes the name or the language of the one who asks.
#[utoipa::path(patch, path = "/me", operation_id = "update_me", tag = "access",
    params(("If-Match" = Option<String>, Header, description = "The `ETag` of the user.")),
    request_body(content = SelfPatch, content_type = "application/merge-patch+json"),
    responses((status = 200, body = User, headers(("ETag" = String)))))]
async fn update(
    State(state): State<HttpState>,
    actor: Actor,
    IfMatch(version): IfMatch,
    MergePatch(patch): MergePatch<SelfPatch>,
) -> Result<Versioned<User>> {
    Ok(Versioned::found(users::update_self(&state.core, &actor, version, patch).await?))
}

/// A new password for the one who asks.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordChange {
    /// The password now.
    #[schema(value_type = String, min_length = 1, max_length = 200, format = Password)]
    old_password: Password,
    /// The password from now on.
    #[schema(value_type = String, min_length = 10, max_length = 200, format = Password)]
    new_password: Password,
}

/// Changes the password of the one who asks and ends their other sessions.
#[utoipa::path(post, path = "/me/password", operation_id = "change_password", tag = "access",
    request_body = PasswordChange,
    responses((status = 204)))]
async fn change_password(
    State(state): State<HttpState>,
    signed_in: SignedIn,
    ValidJson(change): ValidJson<PasswordChange>,
) -> Result<StatusCode> {
    let SignedIn { actor, authenticated } = signed_in;
    let PasswordChange { old_password, new_password } = change;
    let session = authenticated.session.as_ref();
    users::change_password(&state.core, &actor, session, old_password, new_password).await?;
    Ok(StatusCode::NO_CONTENT)
}
