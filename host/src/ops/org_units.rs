//! Org units: the tree that teams are made of.
//!
//! Changes to the tree take the tenant's lock, because two moves at once could
//! otherwise make a circle that neither of them sees.

use serde_json::json;

use super::tenants::set_only;
use super::{Core, access, audit, check_version, require};
use crate::clock::Timestamp;
use crate::db::org_units::{CUSTOMERS_COUNTED_MAX, Uses};
use crate::db::{self, Tx};
use crate::domain::actor::{Actor, Locale};
use crate::domain::audit::Entry;
use crate::domain::code::{FaultCode, Reason, RecordKind};
use crate::domain::ids::OrgUnitId;
use crate::domain::org_unit::{self, DEPTH_MAX, NewOrgUnit, OrgUnitPatch, OrgUnitRecord};
use crate::domain::page::{Page, PageRequest};
use crate::domain::permission::Permission;
use crate::error::{Error, Result};
use crate::texts;

/// Characters of one step of a path: an id and a slash.
const STEP_CHARS: i64 = 31;

/// A unit.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::NotFound`].
pub async fn find(core: &Core, actor: &Actor, id: &OrgUnitId) -> Result<OrgUnitRecord> {
    require(actor, Permission::OrgUnitRead)?;
    let mut reader = core.db.read(&actor.tenant).await?;
    db::org_units::find(&mut reader, &actor.tenant, id).await?.ok_or_else(|| not_found(id))
}

/// Units in the order of the tree; those of one parent, if it is given.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::Invalid`] for a bad cursor.
pub async fn list(
    core: &Core,
    actor: &Actor,
    parent: Option<&OrgUnitId>,
    page: &PageRequest,
) -> Result<Page<OrgUnitRecord>> {
    require(actor, Permission::OrgUnitRead)?;
    let after: String = page.after()?.unwrap_or_default();
    let mut reader = core.db.read(&actor.tenant).await?;
    let rows = db::org_units::list(&mut reader, &actor.tenant, parent, &after, page.fetch()).await?;
    Ok(Page::of(page, rows, |unit| unit.path.clone()))
}

/// Makes a unit.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::Invalid`], a conflict if its code is taken.
pub async fn create(core: &Core, actor: &Actor, new: NewOrgUnit) -> Result<OrgUnitRecord> {
    core.write_once(actor, prepare(core, actor, new), |tx, create| Box::pin(create.apply(tx))).await
}

async fn prepare(core: &Core, actor: &Actor, new: NewOrgUnit) -> Result<Create> {
    require(actor, Permission::OrgUnitWrite)?;
    org_unit::faults(Some(&new.name), new.code.as_deref()).finish()?;
    let now = core.now();
    let id = OrgUnitId::new(&*core.ids, now);
    let NewOrgUnit { parent_id, kind, name, code } = new;
    let changes = json!({"parent_id": parent_id, "kind": kind, "name": name, "code": code});
    let entry = Entry::new(&*core.ids, now, "org_unit.create", "org_unit", &id, set_only(changes));
    let path = String::new();
    let unit =
        OrgUnitRecord { id, version: 1, parent_id, kind, name, code, path, created_at: now, updated_at: now };
    Ok(Create { actor: actor.clone(), unit, entry })
}

struct Create {
    actor: Actor,
    unit: OrgUnitRecord,
    entry: Entry,
}

impl Create {
    async fn apply(&self, tx: &mut Tx) -> Result<OrgUnitRecord> {
        let Self { actor, unit, entry } = self;
        db::tenants::lock(tx, &actor.tenant).await?;
        access::recheck(tx, actor, Permission::OrgUnitWrite, unit.created_at).await?;
        let mut unit = unit.clone();
        unit.path = format!("{}{}/", parent_path(tx, actor, unit.parent_id.as_ref()).await?, unit.id);
        check_depth(unit.path.len())?;
        db::org_units::insert(tx, &actor.tenant, &unit).await?;
        audit::append(tx, actor, unit.created_at, entry).await?;
        Ok(unit)
    }
}

/// Changes a unit, if it is at `version` (or at any, without one). Another parent
/// moves it with all that is below it.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::NotFound`], [`Error::Invalid`],
/// [`Error::VersionMismatch`], a conflict for a circle or a code that is taken.
pub async fn update(
    core: &Core,
    actor: &Actor,
    id: &OrgUnitId,
    version: Option<i64>,
    patch: OrgUnitPatch,
) -> Result<OrgUnitRecord> {
    require(actor, Permission::OrgUnitWrite)?;
    org_unit::faults(patch.name.as_deref(), patch.code.value().map(String::as_str)).finish()?;
    let now = core.now();
    let changes = json!({
        "parent_id": patch.parent_id, "kind": patch.kind, "name": patch.name, "code": patch.code,
    });
    let entry = Entry::new(&*core.ids, now, "org_unit.update", "org_unit", id, set_only(changes));
    let state = Update { actor: actor.clone(), id: id.clone(), version, patch, now, entry };
    let unit = core.db.write(&actor.tenant, state, |tx, update| Box::pin(update.apply(tx))).await?;
    // A move changes what teams reach.
    core.credentials.forget();
    Ok(unit)
}

struct Update {
    actor: Actor,
    id: OrgUnitId,
    version: Option<i64>,
    patch: OrgUnitPatch,
    now: Timestamp,
    entry: Entry,
}

impl Update {
    async fn apply(&self, tx: &mut Tx) -> Result<OrgUnitRecord> {
        let Self { actor, id, version, patch, now, entry } = self;
        db::tenants::lock(tx, &actor.tenant).await?;
        access::recheck(tx, actor, Permission::OrgUnitWrite, *now).await?;
        let before = db::org_units::find(tx, &actor.tenant, id).await?.ok_or_else(|| not_found(id))?;
        check_version(RecordKind::OrgUnit, id, *version, before.version)?;
        let OrgUnitPatch { parent_id, kind, name, code } = patch.clone();
        let moves = !parent_id.is_absent();
        let mut after = OrgUnitRecord {
            version: before.version + 1,
            parent_id: parent_id.apply(before.parent_id.clone()),
            kind: kind.unwrap_or(before.kind),
            name: name.unwrap_or_else(|| before.name.clone()),
            code: code.apply(before.code.clone()),
            updated_at: *now,
            ..before.clone()
        };
        if moves && after.parent_id != before.parent_id {
            let above = parent_path(tx, actor, after.parent_id.as_ref()).await?;
            if above.starts_with(&before.path) {
                return Err(Error::conflict(Reason::UnitCycle, "a unit cannot be moved below itself"));
            }
            after.path = format!("{above}{id}/");
            let deepest = db::org_units::deepest(tx, &actor.tenant, &before.path).await?;
            let below = usize::try_from(deepest).unwrap_or_default().saturating_sub(before.path.len());
            check_depth(after.path.len() + below)?;
        }
        if !db::org_units::update(tx, &actor.tenant, &after).await? {
            return Err(super::changed_meanwhile(RecordKind::OrgUnit, id, after.version));
        }
        if after.path != before.path {
            db::org_units::move_below(tx, &actor.tenant, &before.path, &after.path).await?;
        }
        audit::append(tx, actor, *now, entry).await?;
        Ok(after)
    }
}

/// Deletes a unit that has neither units nor users, tokens or customers.
///
/// Nothing is moved behind anybody's back: who belongs to a unit decides who sees them. What is
/// no longer there to be moved does not hold the unit: deleted customers go to the unit
/// above, which saw them all along, and tokens that are no longer good are let go.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::NotFound`], [`Error::VersionMismatch`], a conflict that says
/// how much still belongs to it.
pub async fn delete(core: &Core, actor: &Actor, id: &OrgUnitId, version: Option<i64>) -> Result<()> {
    require(actor, Permission::OrgUnitWrite)?;
    let now = core.now();
    let entry = Entry::new(&*core.ids, now, "org_unit.delete", "org_unit", id, json!({}));
    let state = (actor.clone(), id.clone(), version, now, entry);
    core.db
        .write(&actor.tenant, state, |tx, (actor, id, version, now, entry)| {
            Box::pin(async move {
                db::tenants::lock(tx, &actor.tenant).await?;
                access::recheck(tx, actor, Permission::OrgUnitWrite, *now).await?;
                let unit = db::org_units::find(tx, &actor.tenant, id).await?.ok_or_else(|| not_found(id))?;
                check_version(RecordKind::OrgUnit, id, *version, unit.version)?;
                db::org_units::clear(tx, &actor.tenant, id, unit.parent_id.as_ref(), *now).await?;
                check_empty(db::org_units::count_uses(tx, &actor.tenant, id).await?)?;
                db::org_units::delete(tx, &actor.tenant, id).await?;
                audit::append(tx, actor, *now, entry).await
            })
        })
        .await
}

fn check_empty(uses: Uses) -> Result<()> {
    if uses == Uses::default() {
        return Ok(());
    }
    let Uses { units, users, tokens, customers } = uses;
    let more = if customers >= CUSTOMERS_COUNTED_MAX { "+" } else { "" };
    let (units, users) = (units.to_string(), (users + tokens).to_string());
    let code = Reason::UnitNotEmpty { units, users, customers: format!("{customers}{more}") };
    let message = texts::say(Locale::En, &code);
    Err(Error::conflict(code, message))
}

/// Refuses a unit that does not exist, as a fault at `/org_unit_id`. To be called
/// under [`db::tenants::lock`], so that it is not deleted meanwhile.
pub(crate) async fn check_exists(tx: &mut Tx, actor: &Actor, id: Option<&OrgUnitId>) -> Result<()> {
    let Some(id) = id else {
        return Ok(());
    };
    let found = db::access::find_unit_path(tx, &actor.tenant, id).await?;
    found.map(drop).ok_or_else(|| unknown("/org_unit_id", id))
}

async fn parent_path(tx: &mut Tx, actor: &Actor, parent: Option<&OrgUnitId>) -> Result<String> {
    let Some(parent) = parent else {
        return Ok(String::new());
    };
    let path = db::access::find_unit_path(tx, &actor.tenant, parent).await?;
    path.ok_or_else(|| unknown("/parent_id", parent))
}

fn unknown(pointer: &str, id: &OrgUnitId) -> Error {
    Error::invalid(pointer, FaultCode::UnknownReference, format!("org unit `{id}` not found"))
}

fn check_depth(path_chars: usize) -> Result<()> {
    let depth = i64::try_from(path_chars).unwrap_or(i64::MAX) / STEP_CHARS;
    if depth <= i64::try_from(DEPTH_MAX).unwrap_or(i64::MAX) {
        return Ok(());
    }
    let message = format!("units stand at most {DEPTH_MAX} levels deep");
    Err(Error::Limit { code: Reason::UnitDepth { max: DEPTH_MAX.to_string() }, message, retry_after_s: 0 })
}

fn not_found(id: &OrgUnitId) -> Error {
    Error::not_found(RecordKind::OrgUnit, id)
}
