//! Bearer tokens: what machines carry to act for a tenant.

use serde::{Deserialize, Serialize};

use super::ids::{OrgUnitId, TokenId};
use super::permission::{Permission, Role};
use crate::clock::Timestamp;

/// Days that a token lives if its maker does not say.
pub const LIFETIME_DAYS_DEFAULT: i64 = 90;
/// Days that a token lives at most.
pub const LIFETIME_DAYS_MAX: i64 = 366;
/// Tokens of a tenant that are neither revoked nor expired.
pub const TOKENS_MAX: i64 = 1_000;
/// Characters of a name.
pub const NAME_CHARS_MAX: usize = 100;

/// A bearer token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Token {
    /// Its id.
    #[schema(value_type = String)]
    pub id: TokenId,
    /// What it is for.
    pub name: String,
    /// What it is for the tenant; several add up.
    pub roles: Vec<Role>,
    /// What is left of the roles' permissions; all of them if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<Permission>>,
    /// The unit that "team" means for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub org_unit_id: Option<OrgUnitId>,
    /// Who has made it: a kind and an id, such as `user:usr_…`.
    pub created_by: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last used, to within five minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
    /// When it ends.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
}

/// A token to make.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What it is for.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// What it is for the tenant; nobody can give a right that they do not have.
    #[schema(min_items = 1, max_items = 9)]
    pub roles: Vec<Role>,
    /// Leaves only these of the roles' permissions.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 64)]
    pub permissions: Option<Vec<Permission>>,
    /// The unit that "team" means for it.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 40)]
    pub org_unit_id: Option<OrgUnitId>,
    /// When it ends: at most 366 days from now, and 90 days if absent.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, max_length = 40)]
    pub expires_at: Option<Timestamp>,
}
