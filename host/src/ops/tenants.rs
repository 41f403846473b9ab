//! Tenants: made by the operator, changed by their owners.

use serde_json::json;

use super::{Core, access, audit, passwords, require};
use crate::clock::Timestamp;
use crate::db;
use crate::domain::actor::{Actor, Locale};
use crate::domain::audit::Entry;
use crate::domain::code::RecordKind;
use crate::domain::ids::{TenantId, UserId};
use crate::domain::manifest::Schedule;
use crate::domain::permission::{Permission, Role};
use crate::domain::schedule::next_due;
use crate::domain::tenant::{NewTenant, Tenant, TenantPatch};
use crate::domain::user::{User, UserState, fold_login};
use crate::error::{Error, Result};

/// Makes a tenant with its first owner. For the operator: who may is not asked.
///
/// # Errors
/// [`Error::Invalid`] for a wrong input, a conflict if the slug is taken.
pub async fn create(core: &Core, new: NewTenant) -> Result<(Tenant, User)> {
    new.faults().finish()?;
    let now = core.now();
    let id = TenantId::new(&*core.ids, now);
    let NewTenant { slug, name, locale, time_zone, currency, owner_login, owner_name, owner_password } = new;
    let tenant = Tenant {
        id: id.clone(),
        version: 1,
        slug,
        name,
        locale,
        time_zone,
        currency,
        created_at: now,
        updated_at: now,
    };
    let owner = User {
        id: UserId::new(&*core.ids, now),
        version: 1,
        login: fold_login(&owner_login),
        name: owner_name,
        state: UserState::Active,
        roles: vec![Role::Owner],
        org_unit_id: None,
        locale: None,
        created_at: now,
        updated_at: now,
    };
    let hash = passwords::hash(core, &owner_password).await?;
    let changes = json!({"slug": tenant.slug, "name": tenant.name, "owner": owner.login});
    let entry = Entry::new(&*core.ids, now, "tenant.create", "tenant", &id, changes);
    let state = (Actor::operator(id.clone()), tenant, owner, hash, entry);
    core.db
        .write(&id, state, |tx, (actor, tenant, owner, hash, entry)| {
            Box::pin(async move {
                db::tenants::insert(tx, tenant).await?;
                db::users::insert(tx, &tenant.id, owner, hash).await?;
                audit::append(tx, actor, tenant.created_at, entry).await?;
                Ok((tenant.clone(), owner.clone()))
            })
        })
        .await
}

/// The actor's own tenant.
///
/// # Errors
/// [`Error::Forbidden`] without the permission.
pub async fn find(core: &Core, actor: &Actor) -> Result<Tenant> {
    require(actor, Permission::TenantRead)?;
    let mut reader = core.db.read(&actor.tenant).await?;
    db::tenants::find(&mut reader, &actor.tenant).await?.ok_or_else(|| not_found(&actor.tenant))
}

/// Changes the actor's own tenant, if it is at `version` (or at any, without one).
///
/// # Errors
/// [`Error::Forbidden`], [`Error::Invalid`], [`Error::VersionMismatch`].
pub async fn update(core: &Core, actor: &Actor, version: Option<i64>, patch: TenantPatch) -> Result<Tenant> {
    require(actor, Permission::TenantWrite)?;
    patch.faults().finish()?;
    let now = core.now();
    let changes = json!({
        "name": patch.name, "locale": patch.locale, "time_zone": patch.time_zone, "currency": patch.currency,
    });
    let entry = Entry::new(&*core.ids, now, "tenant.update", "tenant", &actor.tenant, set_only(changes));
    let state = Update { actor: actor.clone(), version, patch, now, entry };
    let changed = core.db.write(&actor.tenant, state, |tx, update| Box::pin(update.apply(tx))).await?;
    core.credentials.forget();
    Ok(changed)
}

struct Update {
    actor: Actor,
    version: Option<i64>,
    patch: TenantPatch,
    now: Timestamp,
    entry: Entry,
}

impl Update {
    async fn apply(&self, tx: &mut db::Tx) -> Result<Tenant> {
        let Self { actor, version, patch, now, entry } = self;
        access::recheck(tx, actor, Permission::TenantWrite, *now).await?;
        let before = db::tenants::find(tx, &actor.tenant).await?.ok_or_else(|| not_found(&actor.tenant))?;
        super::check_version(RecordKind::Tenant, &before.id, *version, before.version)?;
        let time_zone = before.time_zone.clone();
        let after = patch.clone().apply(before, *now);
        if !db::tenants::update(tx, &after).await? {
            return Err(super::changed_meanwhile(RecordKind::Tenant, &after.id, after.version));
        }
        if after.time_zone != time_zone {
            replan(tx, &after, *now).await?;
        }
        audit::append(tx, actor, *now, entry).await?;
        Ok(after)
    }
}

/// Moves what is scheduled by the clocks of the tenant to its new time zone. A run
/// that has begun comes to its end first.
async fn replan(tx: &mut db::Tx, tenant: &Tenant, now: Timestamp) -> Result<()> {
    for waiting in db::schedules::waiting(tx, &tenant.id).await? {
        let schedule = &waiting.schedule.0;
        if matches!(schedule, Schedule::EveryMinutes(_)) {
            continue;
        }
        let due_at = next_due(schedule, &tenant.time_zone, now)?;
        db::schedules::replan(tx, &tenant.id, (&waiting.plugin, &waiting.job), due_at).await?;
    }
    Ok(())
}

/// The operator as an actor in the tenant with this slug, for the command line.
///
/// # Errors
/// [`Error::NotFound`] if there is none.
pub async fn operator_of(core: &Core, slug: &str) -> Result<Actor> {
    let mut directory = core.db.directory().await?;
    let found = db::tenants::find_by_slug(&mut directory, slug).await?;
    let found = found.ok_or_else(|| Error::not_found(RecordKind::Tenant, slug))?;
    Ok(Actor { locale: Locale::from_tag(&found.locale), ..Actor::operator(found.id) })
}

/// The ids of the next `limit` tenants after `after`, for work that goes through all of them.
///
/// # Errors
/// Those of the database.
pub async fn list_ids(core: &Core, after: Option<&TenantId>, limit: u32) -> Result<Vec<TenantId>> {
    let mut directory = core.db.directory().await?;
    let after = after.map_or("", TenantId::as_str);
    db::tenants::list_ids(&mut directory, after, i64::from(limit)).await
}

fn not_found(id: &TenantId) -> Error {
    Error::not_found(RecordKind::Tenant, id)
}

/// The members of an object that are not null: what a patch names.
pub(crate) fn set_only(mut changes: serde_json::Value) -> serde_json::Value {
    if let Some(members) = changes.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    changes
}
