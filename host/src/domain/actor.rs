//! Who acts: the tenant, the principal and the rights that every use case asks for.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::ids::{EventId, OrgUnitId, TenantId, TokenId, UserId};
use super::permission::{Permission, RecordScope, Role, widest_reach};

/// How many plugins in a row may react to one another's changes.
pub const CAUSE_DEPTH_MAX: u32 = 8;

/// A language that the server answers in.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
pub enum Locale {
    /// English.
    #[default]
    #[serde(rename = "en")]
    En,
    /// Simplified Chinese.
    #[serde(rename = "zh-CN")]
    ZhCn,
}

impl Locale {
    /// The language tag.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::ZhCn => "zh-CN",
        }
    }

    /// The language of a stored tag; English if it is none of ours.
    #[must_use]
    pub fn from_tag(tag: &str) -> Self {
        if tag.starts_with("zh") { Self::ZhCn } else { Self::En }
    }
}

/// On whose behalf something is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A signed-in person.
    User(UserId),
    /// A bearer token.
    Token(TokenId),
    /// A plugin, by name, of its own accord: events and schedules.
    Plugin(Arc<str>),
    /// The server's operator, at the command line.
    Operator,
    /// The server itself: what it does because a limit was reached or a time has come.
    Server,
}

impl Principal {
    /// The kind, for audit lines and events.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Token(_) => "token",
            Self::Plugin(_) => "plugin",
            Self::Operator => "operator",
            Self::Server => "server",
        }
    }

    /// The id or name, for audit lines and events.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::User(id) => id.as_str(),
            Self::Token(id) => id.as_str(),
            Self::Plugin(name) => name,
            Self::Operator => "operator",
            Self::Server => "server",
        }
    }
}

/// The event that made somebody act, and how long the chain behind it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The event that is being handled.
    pub event: EventId,
    /// 0 for what a person or integration did, one more for each reaction.
    pub depth: u32,
}

/// Somebody with rights in one tenant. Every use case takes one.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The tenant, from the session or token alone.
    pub tenant: TenantId,
    /// Who it is.
    pub principal: Principal,
    /// The roles; several add up.
    pub roles: Vec<Role>,
    /// What a token or a plugin's grants leave of the roles' permissions; `None` leaves all.
    pub allowed: Option<Arc<[Permission]>>,
    /// The org unit that "team" means; without one, a team is only oneself.
    pub org_unit: Option<OrgUnit>,
    /// The language to answer in.
    pub locale: Locale,
    /// The plugin through which the actor acts (an action or hook), if any.
    pub via_plugin: Option<Arc<str>>,
    /// The event that is being handled, if any.
    pub cause: Option<Cause>,
    /// The request that this is part of, for audit lines.
    pub request_id: Option<Arc<str>>,
    /// The key under which the request must take effect only once, if it has one.
    pub once: Option<Arc<Once>>,
}

/// An `Idempotency-Key` and what it was sent with: `ops::Core::write_once` keeps the
/// answer under it in the transaction of the write.
#[derive(Debug)]
pub struct Once {
    /// The key, chosen by the client.
    pub key: String,
    /// Hash of method, path, query and body: another request may not use the same key.
    pub fingerprint: String,
    /// Set when the answer was kept by an earlier request.
    pub replayed: AtomicBool,
}

/// The place of an actor in the tree of org units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrgUnit {
    /// Its id.
    pub id: OrgUnitId,
    /// The ids from the root to it, each followed by `/`.
    pub path: String,
}

/// Which records of a kind an actor reaches: the one rule for lists and single reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Every record of the tenant.
    All,
    /// Records of the units at and below `path`, and those owned by `user`.
    Team {
        /// The user, if the actor is one.
        user: Option<UserId>,
        /// The path of the unit at the top.
        path: String,
    },
    /// Records owned by `user`; none, if the actor is no user.
    Own {
        /// The user, if the actor is one.
        user: Option<UserId>,
    },
}

impl Actor {
    /// The operator at the command line, who may do everything in `tenant`.
    #[must_use]
    pub fn operator(tenant: TenantId) -> Self {
        Self {
            tenant,
            principal: Principal::Operator,
            roles: vec![Role::Owner],
            allowed: None,
            org_unit: None,
            locale: Locale::En,
            via_plugin: None,
            cause: None,
            request_id: None,
            once: None,
        }
    }

    /// The server itself, which has no rights that a use case would ask for.
    #[must_use]
    pub fn server(tenant: TenantId) -> Self {
        Self { principal: Principal::Server, roles: Vec::new(), ..Self::operator(tenant) }
    }

    /// How far `permission` reaches for this actor; `None` if they lack it.
    #[must_use]
    pub fn reach(&self, permission: Permission) -> Option<RecordScope> {
        let allowed = self.allowed.as_ref().is_none_or(|allowed| allowed.contains(&permission));
        if allowed { widest_reach(&self.roles, permission) } else { None }
    }

    /// The user, if the actor is one.
    #[must_use]
    pub fn user(&self) -> Option<&UserId> {
        match &self.principal {
            Principal::User(id) => Some(id),
            Principal::Token(_) | Principal::Plugin(_) | Principal::Operator | Principal::Server => None,
        }
    }

    /// Which records `permission` reaches; `None` if the actor lacks it.
    #[must_use]
    pub fn visibility(&self, permission: Permission) -> Option<Visibility> {
        let user = self.user().cloned();
        Some(match (self.reach(permission)?, &self.org_unit) {
            (RecordScope::All, _) => Visibility::All,
            (RecordScope::Team, Some(unit)) => Visibility::Team { user, path: unit.path.clone() },
            (RecordScope::Team, None) | (RecordScope::Own, _) => Visibility::Own { user },
        })
    }
}
