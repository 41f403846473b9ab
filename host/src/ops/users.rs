//! Users: added and changed by those who may, within their own rights.

use serde_json::json;

use super::tenants::set_only;
use super::{Core, access, audit, check_version, org_units, passwords, require};
use crate::clock::Timestamp;
use crate::db::users::Filter;
use crate::db::{self, Tx};
use crate::domain::actor::Actor;
use crate::domain::audit::Entry;
use crate::domain::check::Faults;
use crate::domain::code::{FaultCode, Reason, RecordKind};
use crate::domain::ids::{OrgUnitId, SessionId, UserId};
use crate::domain::page::{Page, PageRequest};
use crate::domain::permission::Permission;
use crate::domain::user::{
    self, NAME_CHARS_MAX, NewUser, Password, SelfPatch, User, UserPatch, UserState, distinct, fold_login,
};
use crate::error::{Error, Result};

/// Which users to list.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Those who may sign in, or those who may not.
    pub state: Option<UserState>,
    /// Those of this unit.
    pub org_unit_id: Option<OrgUnitId>,
    /// The one with this login.
    pub login: Option<String>,
}

/// A user.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::NotFound`].
pub async fn find(core: &Core, actor: &Actor, id: &UserId) -> Result<User> {
    require(actor, Permission::UserRead)?;
    let mut reader = core.db.read(&actor.tenant).await?;
    db::users::find(&mut reader, &actor.tenant, id).await?.ok_or_else(|| not_found(id))
}

/// The actor's own record, which needs no permission; none if the actor is no user.
///
/// # Errors
/// Those of the database.
pub async fn find_self(core: &Core, actor: &Actor) -> Result<Option<User>> {
    let Some(id) = actor.user() else {
        return Ok(None);
    };
    let mut reader = core.db.read(&actor.tenant).await?;
    db::users::find(&mut reader, &actor.tenant, id).await
}

/// Users in the order in which they were added.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::Invalid`] for a bad cursor.
pub async fn list(core: &Core, actor: &Actor, filter: &UserFilter, page: &PageRequest) -> Result<Page<User>> {
    require(actor, Permission::UserRead)?;
    let after: String = page.after()?.unwrap_or_default();
    let login = filter.login.as_deref().map(fold_login).unwrap_or_default();
    let filter = Filter {
        state: filter.state.map_or("", UserState::as_str),
        org_unit: filter.org_unit_id.as_ref().map_or("", OrgUnitId::as_str),
        login: &login,
    };
    let mut reader = core.db.read(&actor.tenant).await?;
    let rows = db::users::list(&mut reader, &actor.tenant, filter, &after, page.fetch()).await?;
    Ok(Page::of(page, rows, |user| user.id.to_string()))
}

/// Adds a user.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::Invalid`], [`Error::Refused`] for a right that the
/// actor does not have, a conflict if the login is taken.
pub async fn create(core: &Core, actor: &Actor, new: NewUser) -> Result<User> {
    core.write_once(actor, prepare(core, actor, new), |tx, create| Box::pin(create.apply(tx))).await
}

async fn prepare(core: &Core, actor: &Actor, new: NewUser) -> Result<Create> {
    require(actor, Permission::UserWrite)?;
    let mut faults = Faults::default();
    user::check_login(&mut faults, "/login", &new.login);
    faults.text("/name", &new.name, NAME_CHARS_MAX);
    user::check_password(&mut faults, "/password", &new.password, &new.login);
    faults.finish()?;
    access::check_not_wider(actor, &new.roles, None)?;
    let now = core.now();
    let NewUser { login, name, password, roles, org_unit_id, locale } = new;
    let user = User {
        id: UserId::new(&*core.ids, now),
        version: 1,
        login: fold_login(&login),
        name,
        state: UserState::Active,
        roles: distinct(roles),
        org_unit_id,
        locale,
        created_at: now,
        updated_at: now,
    };
    let changes = json!({
        "login": user.login, "name": user.name, "roles": user.roles, "org_unit_id": user.org_unit_id,
    });
    let entry = Entry::new(&*core.ids, now, "user.create", "user", &user.id, set_only(changes));
    let hash = passwords::hash(core, &password).await?;
    Ok(Create { actor: actor.clone(), user, hash, entry })
}

struct Create {
    actor: Actor,
    user: User,
    hash: String,
    entry: Entry,
}

impl Create {
    async fn apply(&self, tx: &mut Tx) -> Result<User> {
        let Self { actor, user, hash, entry } = self;
        db::tenants::lock(tx, &actor.tenant).await?;
        access::recheck(tx, actor, Permission::UserWrite, user.created_at).await?;
        org_units::check_exists(tx, actor, user.org_unit_id.as_ref()).await?;
        db::users::insert(tx, &actor.tenant, user, hash).await?;
        audit::append(tx, actor, user.created_at, entry).await?;
        Ok(user.clone())
    }
}

/// Changes a user, if they are at `version` (or at any, without one). Their rights
/// change at once; to disable them ends their sessions.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::NotFound`], [`Error::Invalid`], [`Error::VersionMismatch`],
/// [`Error::Refused`] for a user or a right above the actor's own, a conflict for the last owner.
pub async fn update(
    core: &Core,
    actor: &Actor,
    id: &UserId,
    version: Option<i64>,
    patch: UserPatch,
) -> Result<User> {
    require(actor, Permission::UserWrite)?;
    let mut faults = Faults::default();
    if let Some(name) = &patch.name {
        faults.text("/name", name, NAME_CHARS_MAX);
    }
    faults.finish()?;
    if patch.state == Some(UserState::Disabled) && actor.user() == Some(id) {
        return Err(Error::Refused {
            code: Reason::SelfDisable,
            message: "nobody can disable themselves".to_owned(),
        });
    }
    if let Some(roles) = &patch.roles {
        access::check_not_wider(actor, roles, None)?;
    }
    let now = core.now();
    let changes = json!({
        "name": patch.name, "state": patch.state, "roles": patch.roles,
        "org_unit_id": patch.org_unit_id, "locale": patch.locale,
    });
    let entry = Entry::new(&*core.ids, now, "user.update", "user", id, set_only(changes));
    let state = Update { actor: actor.clone(), id: id.clone(), version, patch, now, entry };
    let user = core.db.write(&actor.tenant, state, |tx, update| Box::pin(update.apply(tx))).await?;
    core.credentials.forget();
    Ok(user)
}

struct Update {
    actor: Actor,
    id: UserId,
    version: Option<i64>,
    patch: UserPatch,
    now: Timestamp,
    entry: Entry,
}

impl Update {
    async fn apply(&self, tx: &mut Tx) -> Result<User> {
        let Self { actor, id, version, patch, now, entry } = self;
        let tenant = &actor.tenant;
        db::tenants::lock(tx, tenant).await?;
        access::recheck(tx, actor, Permission::UserWrite, *now).await?;
        let before = db::users::find(tx, tenant, id).await?.ok_or_else(|| not_found(id))?;
        check_version(RecordKind::User, id, *version, before.version)?;
        access::check_not_wider(actor, &before.roles, None)?;
        let UserPatch { name, state, roles, org_unit_id, locale } = patch.clone();
        let after = User {
            version: before.version + 1,
            name: name.unwrap_or(before.name),
            state: state.unwrap_or(before.state),
            roles: roles.map_or(before.roles, distinct),
            org_unit_id: org_unit_id.apply(before.org_unit_id),
            locale: locale.apply(before.locale),
            updated_at: *now,
            id: before.id,
            login: before.login,
            created_at: before.created_at,
        };
        org_units::check_exists(tx, actor, after.org_unit_id.as_ref()).await?;
        if !db::users::update(tx, tenant, &after).await? {
            return Err(super::changed_meanwhile(RecordKind::User, id, after.version));
        }
        if !db::users::has_active_owner(tx, tenant).await? {
            return Err(Error::conflict(Reason::LastOwner, "a tenant must keep an active owner"));
        }
        if after.state == UserState::Disabled {
            db::sessions::delete_others(tx, tenant, id, None).await?;
        }
        audit::append(tx, actor, *now, entry).await?;
        Ok(after)
    }
}

/// Changes the actor's own record, if it is at `version` (or at any, without one).
///
/// # Errors
/// [`Error::Refused`] if the actor is no user, [`Error::Invalid`], [`Error::VersionMismatch`].
pub async fn update_self(core: &Core, actor: &Actor, version: Option<i64>, patch: SelfPatch) -> Result<User> {
    let id = actor.user().ok_or_else(not_a_user)?;
    let mut faults = Faults::default();
    if let Some(name) = &patch.name {
        faults.text("/name", name, NAME_CHARS_MAX);
    }
    faults.finish()?;
    let now = core.now();
    let changes = set_only(json!({ "name": patch.name, "locale": patch.locale }));
    let entry = Entry::new(&*core.ids, now, "user.update_self", "user", id, changes);
    let state = (actor.clone(), id.clone(), version, patch, now, entry);
    let user = core
        .db
        .write(&actor.tenant, state, |tx, (actor, id, version, patch, now, entry)| {
            Box::pin(async move {
                let tenant = &actor.tenant;
                let before = db::users::find(tx, tenant, id).await?.ok_or_else(|| not_found(id))?;
                check_version(RecordKind::User, id, *version, before.version)?;
                let SelfPatch { name, locale } = patch.clone();
                let after = User {
                    version: before.version + 1,
                    name: name.unwrap_or(before.name),
                    locale: locale.apply(before.locale),
                    updated_at: *now,
                    ..before
                };
                if !db::users::update(tx, tenant, &after).await? {
                    return Err(super::changed_meanwhile(RecordKind::User, id, after.version));
                }
                audit::append(tx, actor, *now, entry).await?;
                Ok(after)
            })
        })
        .await?;
    // The language is a part of what is known of a credential.
    core.credentials.forget();
    Ok(user)
}

/// Gives another user a password, and ends their sessions.
///
/// # Errors
/// As for [`update`].
pub async fn reset_password(core: &Core, actor: &Actor, id: &UserId, password: Password) -> Result<()> {
    require(actor, Permission::UserWrite)?;
    let target = find(core, actor, id).await?;
    access::check_not_wider(actor, &target.roles, None)?;
    let mut faults = Faults::default();
    user::check_password(&mut faults, "/password", &password, &target.login);
    faults.finish()?;
    set_password(core, actor, (id, None), password, "user.reset_password").await
}

/// Gives the actor another password, and ends their other sessions.
///
/// # Errors
/// [`Error::Refused`] if the actor is no user, [`Error::Invalid`] for a wrong old or a weak new password.
pub async fn change_password(
    core: &Core,
    actor: &Actor,
    session: Option<&SessionId>,
    old: Password,
    new: Password,
) -> Result<()> {
    let id = actor.user().ok_or_else(not_a_user)?;
    let tenant = &actor.tenant;
    let row = db::users::find_password_by_id(&mut *core.db.read(tenant).await?, tenant, id).await?;
    let user = find_self(core, actor).await?.ok_or_else(|| not_found(id))?;
    let key = format!("{tenant}/{}", user.login);
    core.throttle.begin(&key, None, core.now())?;
    if !passwords::verify(core, &old, row.map(|row| row.password_hash)).await? {
        return Err(Error::invalid("/old_password", FaultCode::WrongPassword, "the old password is wrong"));
    }
    core.throttle.succeed(&key, None);
    let mut faults = Faults::default();
    user::check_password(&mut faults, "/new_password", &new, &user.login);
    faults.finish()?;
    set_password(core, actor, (id, session), new, "user.change_password").await
}

async fn set_password(
    core: &Core,
    actor: &Actor,
    (id, kept): (&UserId, Option<&SessionId>),
    password: Password,
    action: &'static str,
) -> Result<()> {
    let now = core.now();
    let hash = passwords::hash(core, &password).await?;
    let entry = Entry::new(&*core.ids, now, action, "user", id, json!({}));
    let state = (actor.clone(), id.clone(), kept.cloned(), hash, now, entry);
    core.db
        .write(&actor.tenant, state, |tx, (actor, id, kept, hash, now, entry)| {
            Box::pin(async move {
                if actor.user() != Some(id) {
                    access::recheck(tx, actor, Permission::UserWrite, *now).await?;
                    let target =
                        db::users::find(tx, &actor.tenant, id).await?.ok_or_else(|| not_found(id))?;
                    access::check_not_wider(actor, &target.roles, None)?;
                }
                db::users::set_password(tx, &actor.tenant, id, hash, *now).await?;
                db::sessions::delete_others(tx, &actor.tenant, id, kept.as_ref()).await?;
                audit::append(tx, actor, *now, entry).await
            })
        })
        .await?;
    core.credentials.forget();
    Ok(())
}

/// Ends all sessions of a user.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::NotFound`], [`Error::Refused`] for a user above the actor's own rights.
pub async fn end_sessions(core: &Core, actor: &Actor, id: &UserId) -> Result<()> {
    require(actor, Permission::UserWrite)?;
    let target = find(core, actor, id).await?;
    access::check_not_wider(actor, &target.roles, None)?;
    let now = core.now();
    let entry = Entry::new(&*core.ids, now, "user.end_sessions", "user", id, json!({}));
    let state = (actor.clone(), id.clone(), now, entry);
    core.db
        .write(&actor.tenant, state, |tx, (actor, id, now, entry)| {
            Box::pin(async move {
                access::recheck(tx, actor, Permission::UserWrite, *now).await?;
                db::sessions::delete_others(tx, &actor.tenant, id, None).await?;
                audit::append(tx, actor, *now, entry).await
            })
        })
        .await?;
    core.credentials.forget();
    Ok(())
}

pub(super) fn not_a_user() -> Error {
    Error::Refused { code: Reason::NotAUser, message: "only a signed-in person can do this".to_owned() }
}

fn not_found(id: &UserId) -> Error {
    Error::not_found(RecordKind::User, id)
}
