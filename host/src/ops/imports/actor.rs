//! On whose behalf an import works, kept with the job: its rows are written long after the request.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::actor::{Actor, Locale, OrgUnit, Principal};
use crate::domain::ids::{OrgUnitId, TenantId, TokenId, UserId};
use crate::domain::permission::{Permission, Role};

/// An actor as it was when it made the job. A right that is lost meanwhile is lost
/// for the job too: that is checked with every batch.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredActor {
    principal: StoredPrincipal,
    roles: Vec<Role>,
    allowed: Option<Vec<Permission>>,
    org_unit: Option<(OrgUnitId, String)>,
    locale: Locale,
    request_id: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredPrincipal {
    User(UserId),
    Token(TokenId),
    Plugin(String),
    Operator,
    Server,
}

impl StoredActor {
    /// The stored form of an actor.
    pub(super) fn of(actor: &Actor) -> Self {
        Self {
            principal: match &actor.principal {
                Principal::User(id) => StoredPrincipal::User(id.clone()),
                Principal::Token(id) => StoredPrincipal::Token(id.clone()),
                Principal::Plugin(name) => StoredPrincipal::Plugin(name.to_string()),
                Principal::Operator => StoredPrincipal::Operator,
                Principal::Server => StoredPrincipal::Server,
            },
            roles: actor.roles.clone(),
            allowed: actor.allowed.as_ref().map(|allowed| allowed.to_vec()),
            org_unit: actor.org_unit.as_ref().map(|unit| (unit.id.clone(), unit.path.clone())),
            locale: actor.locale,
            request_id: actor.request_id.as_deref().map(str::to_owned),
        }
    }

    /// The actor again.
    pub(super) fn into_actor(self, tenant: TenantId) -> Actor {
        let Self { principal, roles, allowed, org_unit, locale, request_id } = self;
        let mut actor = Actor::operator(tenant);
        actor.principal = match principal {
            StoredPrincipal::User(id) => Principal::User(id),
            StoredPrincipal::Token(id) => Principal::Token(id),
            StoredPrincipal::Plugin(name) => Principal::Plugin(name.into()),
            StoredPrincipal::Operator => Principal::Operator,
            StoredPrincipal::Server => Principal::Server,
        };
        actor.roles = roles;
        actor.allowed = allowed.map(Arc::from);
        actor.org_unit = org_unit.map(|(id, path)| OrgUnit { id, path });
        actor.locale = locale;
        actor.request_id = request_id.map(Arc::from);
        actor
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::ids::SequentialIds;

    #[test]
    fn an_actor_comes_back_with_the_rights_it_had() {
        let ids = SequentialIds::default();
        let now = Timestamp::default();
        let tenant = TenantId::new(&ids, now);
        let mut actor = Actor::operator(tenant.clone());
        actor.principal = Principal::Token(TokenId::new(&ids, now));
        actor.roles = vec![Role::Integration];
        actor.allowed = Some(Arc::from([Permission::OrderWrite]));
        actor.org_unit = Some(OrgUnit { id: OrgUnitId::new(&ids, now), path: "a/b/".to_owned() });
        let text = serde_json::to_string(&StoredActor::of(&actor)).unwrap();
        let stored: StoredActor = serde_json::from_str(&text).unwrap();
        let back = stored.into_actor(tenant);
        assert_eq!(
            (back.principal, back.roles, back.org_unit),
            (actor.principal.clone(), actor.roles.clone(), actor.org_unit.clone())
        );
        assert_eq!(back.allowed.as_deref(), Some([Permission::OrderWrite].as_slice()));
    }
}
