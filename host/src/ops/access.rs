//! Who a credential belongs to, and what they may do: the way from a bearer token or
//! a session's cookie to an [`Actor`].
//!
//! What was found is kept for a few seconds. Every change of rights in this process
//! empties that cache before it is acknowledged; other servers follow within
//! [`CACHE_SECONDS`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::future::Cache;

use super::Core;
use crate::clock::Timestamp;
use crate::db::access::{self, SessionRow, TokenRow};
use crate::db::{Db, Tx};
use crate::domain::actor::{Actor, Locale, OrgUnit, Principal};
use crate::domain::code::Reason;
use crate::domain::credential::{Presented, SESSION_PREFIX, TOKEN_PREFIX};
use crate::domain::ids::{SessionId, TenantId, TokenId, UserId};
use crate::domain::permission::{Permission, Role, widest_reach};
use crate::error::{Error, Result};

/// How long another server may not know of a change of rights.
pub const CACHE_SECONDS: u64 = 3;
const CACHE_ENTRIES_MAX: u64 = 10_000;
/// A session that is not used for this long is over.
pub const SESSION_IDLE_SECONDS: i64 = 12 * 60 * 60;
/// `last_used_at` is this much behind at most, so that reading does not mean writing.
const TOUCH_SECONDS: i64 = 5 * 60;

const NOBODY: Error = Error::Unauthenticated("the credential is unknown, expired or revoked");

/// Credentials that were looked up a moment ago; part of [`Core`].
pub struct Credentials {
    found: Cache<String, Arc<Authenticated>>,
    /// Grows with every change of rights: what was looked up before one is no longer good.
    generation: AtomicU64,
}

impl Default for Credentials {
    fn default() -> Self {
        let found = Cache::builder()
            .max_capacity(CACHE_ENTRIES_MAX)
            .time_to_live(Duration::from_secs(CACHE_SECONDS))
            .build();
        Self { found, generation: AtomicU64::new(0) }
    }
}

impl Credentials {
    /// Forgets every credential: somebody's rights have changed.
    ///
    /// To be called after the commit and before the change is acknowledged.
    pub fn forget(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }
}

/// Somebody whose credential is good.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// Who it is, answering in their own language.
    pub actor: Actor,
    /// The session, if it is one.
    pub session: Option<SessionId>,
    presented: Presented,
    expires_at: Timestamp,
    last_used_at: Option<Timestamp>,
    generation: u64,
}

/// The owner of a bearer token.
///
/// # Errors
/// [`Error::Unauthenticated`] if it is unknown, expired or revoked.
pub async fn by_token(core: &Core, text: &str) -> Result<Arc<Authenticated>> {
    let presented = Presented::parse(TOKEN_PREFIX, TokenId::PREFIX, text).ok_or(NOBODY)?;
    by_credential(core, &presented, find_token(core, &presented)).await
}

/// The person behind a session's cookie.
///
/// # Errors
/// [`Error::Unauthenticated`] if the session is unknown, over or revoked.
pub async fn by_session(core: &Core, text: &str) -> Result<Arc<Authenticated>> {
    let presented = Presented::parse(SESSION_PREFIX, SessionId::PREFIX, text).ok_or(NOBODY)?;
    by_credential(core, &presented, find_session(core, &presented)).await
}

/// The same credential once more, for what takes longer than an answer: whether it is
/// still good, and what its owner may do by now.
///
/// # Errors
/// [`Error::Unauthenticated`] if it is no longer good.
pub async fn again(core: &Core, authenticated: &Authenticated) -> Result<Arc<Authenticated>> {
    let presented = &authenticated.presented;
    match authenticated.session {
        Some(_) => by_credential(core, presented, find_session(core, presented)).await,
        None => by_credential(core, presented, find_token(core, presented)).await,
    }
}

async fn by_credential(
    core: &Core,
    presented: &Presented,
    find: impl Future<Output = Result<Authenticated>>,
) -> Result<Arc<Authenticated>> {
    let now = core.now();
    let key = presented.cache_key();
    let generation = core.credentials.generation.load(Ordering::SeqCst);
    if let Some(found) = core.credentials.found.get(&key).await
        && found.generation == generation
        && found.is_live(now)
        && !found.is_due_for_touch(now)
    {
        return Ok(found);
    }
    let mut found = find.await?;
    found.generation = generation;
    if !found.is_live(now) {
        return Err(NOBODY);
    }
    if found.is_due_for_touch(now) {
        touch(&core.db, &found, now).await?;
        found.last_used_at = Some(now);
    }
    let found = Arc::new(found);
    core.credentials.found.insert(key, Arc::clone(&found)).await;
    Ok(found)
}

impl Authenticated {
    fn is_live(&self, now: Timestamp) -> bool {
        let idle = self.session.is_some()
            && self.last_used_at.is_some_and(|used| used.plus_seconds(SESSION_IDLE_SECONDS) <= now);
        now < self.expires_at && !idle
    }

    fn is_due_for_touch(&self, now: Timestamp) -> bool {
        self.last_used_at.is_none_or(|used| used.plus_seconds(TOUCH_SECONDS) < now)
    }
}

async fn find_token(core: &Core, presented: &Presented) -> Result<Authenticated> {
    let row = access::find_token(&mut *core.db.directory().await?, &presented.id).await?;
    let row =
        row.filter(|row| presented.matches(&row.secret_hash) && row.revoked_at.is_none()).ok_or(NOBODY)?;
    check_tenant(&row.tenant_state)?;
    let TokenRow { tenant, id, roles, permissions, org_unit_id, last_used_at, expires_at, .. } = row;
    let permissions: Option<Vec<Permission>> =
        permissions.map(|text| serde_json::from_str(&text)).transpose().map_err(Error::internal)?;
    let org_unit = match org_unit_id {
        None => None,
        Some(id) => {
            let path = access::find_unit_path(&mut *core.db.read(&tenant).await?, &tenant, &id).await?;
            path.map(|path| OrgUnit { id, path })
        }
    };
    let actor = Actor {
        tenant,
        principal: Principal::Token(id),
        roles: serde_json::from_str(&roles).map_err(Error::internal)?,
        allowed: permissions.map(Into::into),
        org_unit,
        locale: Locale::from_tag(&row.tenant_locale),
        via_plugin: None,
        cause: None,
        request_id: None,
        once: None,
    };
    let presented = presented.clone();
    Ok(Authenticated { actor, session: None, presented, expires_at, last_used_at, generation: 0 })
}

async fn find_session(core: &Core, presented: &Presented) -> Result<Authenticated> {
    let row = access::find_session(&mut *core.db.directory().await?, &presented.id).await?;
    let row = row.filter(|row| presented.matches(&row.secret_hash)).ok_or(NOBODY)?;
    check_tenant(&row.tenant_state)?;
    let SessionRow { tenant, id, user_id, last_used_at, expires_at, tenant_locale, .. } = row;
    let mut reader = core.db.read(&tenant).await?;
    let actor = user_actor(&mut reader, &tenant, &user_id, &tenant_locale).await?.ok_or(NOBODY)?;
    Ok(Authenticated {
        actor,
        session: Some(id),
        presented: presented.clone(),
        expires_at,
        last_used_at: Some(last_used_at),
        generation: 0,
    })
}

/// The actor that an active user is; `None` for a disabled or unknown one.
pub(crate) async fn user_actor(
    tx: &mut Tx,
    tenant: &TenantId,
    user: &UserId,
    tenant_locale: &str,
) -> Result<Option<Actor>> {
    let row = access::find_user(tx, tenant, user).await?.filter(|row| row.state == "active");
    let Some(row) = row else {
        return Ok(None);
    };
    let org_unit = row.org_unit_id.zip(row.org_path).map(|(id, path)| OrgUnit { id, path });
    Ok(Some(Actor {
        tenant: tenant.clone(),
        principal: Principal::User(user.clone()),
        roles: roles(row.roles.as_deref().unwrap_or_default())?,
        allowed: None,
        org_unit,
        locale: Locale::from_tag(row.locale.as_deref().unwrap_or(tenant_locale)),
        via_plugin: None,
        cause: None,
        request_id: None,
        once: None,
    }))
}

/// Roles from a stored list with commas.
pub(crate) fn roles(text: &str) -> Result<Vec<Role>> {
    let names = text.split(',').filter(|name| !name.is_empty());
    let mut roles = names.map(str::parse).collect::<Result<Vec<Role>, _>>().map_err(Error::internal)?;
    roles.sort();
    Ok(roles)
}

/// Refuses an actor whose rights were taken away since it was authenticated: for
/// the writing half of changes that must not outlive the right to make them.
///
/// # Errors
/// [`Error::Unauthenticated`] for a disabled user or revoked token, and
/// [`Error::Forbidden`] if the roles no longer have `permission`.
pub async fn recheck(tx: &mut Tx, actor: &Actor, permission: Permission, now: Timestamp) -> Result<()> {
    match &actor.principal {
        Principal::User(user) => {
            let fresh = user_actor(tx, &actor.tenant, user, actor.locale.as_str()).await?.ok_or(NOBODY)?;
            super::require(&fresh, permission)
        }
        Principal::Token(token) => {
            if access::token_is_live(tx, &actor.tenant, token, now).await? {
                Ok(())
            } else {
                Err(NOBODY)
            }
        }
        // The engine rechecks a plugin's enablement and grants; the operator has the machine.
        Principal::Plugin(_) | Principal::Operator => Ok(()),
        Principal::Server => super::require(actor, permission),
    }
}

/// Refuses to hand out a right that the actor does not have: `roles`, of which
/// `permissions` are left (all, if absent). Only owners make and unmake owners.
///
/// # Errors
/// [`Error::Refused`] with `wider_than_own`.
pub fn check_not_wider(actor: &Actor, roles: &[Role], permissions: Option<&[Permission]>) -> Result<()> {
    let refused = |what: &str| Error::Refused {
        code: Reason::WiderThanOwn,
        message: format!("nobody can give or take a right that they do not have: `{what}`"),
    };
    if roles.contains(&Role::Owner) && !actor.roles.contains(&Role::Owner) {
        return Err(refused(Role::Owner.as_str()));
    }
    let handed = |permission: &&Permission| permissions.is_none_or(|left| left.contains(permission));
    let mut wider = Permission::ALL
        .iter()
        .filter(handed)
        .filter(|permission| widest_reach(roles, **permission) > actor.reach(**permission));
    wider.next().map_or(Ok(()), |permission| Err(refused(permission.as_str())))
}

fn check_tenant(state: &str) -> Result<()> {
    if state == "active" {
        return Ok(());
    }
    Err(Error::Refused { code: Reason::TenantSuspended, message: "the tenant is suspended".to_owned() })
}

async fn touch(db: &Db, found: &Authenticated, now: Timestamp) -> Result<()> {
    let state = (found.actor.tenant.clone(), found.actor.principal.clone(), found.session.clone(), now);
    db.write(&found.actor.tenant, state, |tx, (tenant, principal, session, now)| {
        Box::pin(async move {
            match (principal, session) {
                (_, Some(session)) => access::touch_session(tx, tenant, session, *now).await,
                (Principal::Token(token), None) => access::touch_token(tx, tenant, token, *now).await,
                (
                    Principal::User(_) | Principal::Plugin(_) | Principal::Operator | Principal::Server,
                    None,
                ) => Ok(()),
            }
        })
    })
    .await
}
