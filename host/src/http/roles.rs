//! The table of roles and permissions, for those who hand them out.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{HttpState, Page};
use crate::domain::actor::Actor;
use crate::domain::permission::{Permission, RecordScope, Role};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(list))
}

/// A permission and how far it reaches.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Reach {
    /// The permission.
    pub(super) permission: Permission,
    /// Which records it reaches, where they have an owner.
    pub(super) scope: RecordScope,
}

/// A role and its permissions.
#[derive(Debug, Serialize, ToSchema)]
struct RoleTable {
    /// The role.
    role: Role,
    /// What it may do.
    permissions: Vec<Reach>,
}

/// Every role with its permissions; for whoever is signed in.
#[utoipa::path(get, path = "/roles", operation_id = "list_roles", tag = "access",
    responses((status = 200, body = Page<RoleTable>)))]
async fn list(_actor: Actor) -> Json<Page<RoleTable>> {
    let roles = Role::ALL.iter().map(|role| RoleTable {
        role: *role,
        permissions: Permission::ALL
            .iter()
            .filter_map(|permission| {
                role.reach(*permission).map(|scope| Reach { permission: *permission, scope })
            })
            .collect(),
    });
    Json(Page { items: roles.collect(), next_cursor: None })
}
