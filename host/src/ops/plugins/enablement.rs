//! What a tenant decides about a plugin: whether it runs, in which version, what it
//! may do and how it is set.
//!
//! Row, declared fields, subscriptions, schedules, audit line and what the plugin
//! itself does for it commit together. Data stays when a plugin is disabled.
//! To enable a plugin that is uninstalled is to keep it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::moves::Wanted;
use super::{Ack, Switch, canary, freezes, packages, recordings, trust};
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::db::canaries;
use crate::db::plugins::{self, Enablement, EnablementRow, Package, Previous};
use crate::db::shadows;
use crate::domain::actor::Actor;
use crate::domain::audit::Entry;
use crate::domain::check::Faults;
use crate::domain::code::{FaultCode, Reason, RecordKind};
use crate::domain::field::{FieldDeclaration, FieldEntity, FieldType, Label};
use crate::domain::grant::Grants;
use crate::domain::hook_modes::HookModes;
use crate::domain::ids::TenantId;
use crate::domain::manifest::{EntityKind, Field, Job, Manifest, ScalarType};
use crate::domain::parameters::GrantRequest;
use crate::domain::permission::Permission;
use crate::domain::recording::RecordingRules;
use crate::domain::schedule::next_due;
use crate::domain::schema::Schema;
use crate::error::{Error, Fault, Result};
use crate::ops::{self, Core};

/// What the audit calls the way back to the version before.
pub(super) const ROLL_BACK: &str = "plugin.roll_back";
/// What it calls the end of a canary that everybody gets.
pub(super) const PROMOTE: &str = "plugin.canary_promote";

/// How to enable a plugin.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEnablement {
    /// The version; the newest that is installed, if absent.
    #[schema(max_length = 64)]
    pub version: Option<String>,
    /// What the plugin may do: all or some of what it asks for, on its parameters or narrower ones. If
    /// absent, what it was granted before; all that it asks for, if nobody has decided yet.
    #[schema(max_items = 32)]
    pub grants: Option<Vec<GrantRequest>>,
    /// Its settings; what is left out has the manifest's defaults.
    #[schema(value_type = Option<Object>)]
    pub settings: Option<Value>,
    /// Whether it is told of what is there already, as if it happened now.
    #[serde(default)]
    pub backfill: bool,
}

/// How to change an enabled plugin; what is absent stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnablementPatch {
    /// What it may do from now on.
    #[schema(max_items = 32)]
    pub grants: Option<Vec<GrantRequest>>,
    /// A JSON Merge Patch over its settings.
    #[schema(value_type = Option<Object>)]
    pub settings: Option<Value>,
    /// Which runs are recorded from now on, by extension point: `off`, `failures`, `sample:100` (the first
    /// of every hundred), `sample:5%` or `all`. An extension point that is left out is off.
    #[schema(value_type = Option<Object>)]
    pub recording: Option<RecordingRules>,
    /// What becomes of saves whose hook fails or is paused from now on, by the record that is saved:
    /// `refuse` or `allow`. For a record that is left out, what the manifest says.
    #[schema(value_type = Option<Object>)]
    pub on_failure: Option<HookModes>,
}

/// Everything that one transaction writes.
struct Prepared {
    actor: Actor,
    row: EnablementRow,
    manifest: Manifest,
    audit: Entry,
    schedules: Vec<(Job, Timestamp)>,
    events: Vec<String>,
    backfill: bool,
}

/// Enables a plugin for the actor's tenant, or moves it to another version.
///
/// # Errors
/// `Forbidden`; `NotFound` for a plugin or version that is not installed; `Refused` for a newer
/// version while the tenant's calendar wants none;
/// `Invalid` for a grant that it does not ask for and for settings that its
/// schema refuses; `Refused` for a version that the operator has stopped, and for a plugin that is being
/// purged; the plugin's own refusal, which keeps it as it was.
pub async fn enable(core: &Core, actor: &Actor, plugin: &str, request: NewEnablement) -> Result<Enablement> {
    ops::require(actor, Permission::PluginWrite)?;
    let package = packages::find(core, plugin, request.version.as_deref()).await?;
    trust::check_runs(core, &package).await?;
    let before = find_row(core, &actor.tenant, plugin).await?;
    before.iter().try_for_each(check_kept)?;
    let manifest = &package.manifest.0;
    let mut faults = Vec::new();
    let grants = match (request.grants, &before) {
        (Some(granted), _) => check_grants(manifest, granted, &mut faults),
        // Another version may ask for more, and does not get it by itself.
        (None, Some(before)) => before.grants.0.and(&manifest.wanted()),
        (None, None) => manifest.wanted(),
    };
    let settings = request.settings.or_else(|| before.as_ref().map(|row| row.settings.0.clone()));
    let settings = check_settings(manifest, settings.unwrap_or_else(|| json!({})), &mut faults)?;
    if !faults.is_empty() {
        return Err(Error::Invalid { faults });
    }
    // A version that is disabled is one from which a newer one is an upgrade all the same: its data is there.
    if let Some(before) = &before {
        check_upgrade(core, actor, plugin, (&before.package_version, &package.version)).await?;
    }
    let wanted = Wanted {
        base: before.as_ref().map_or(0, |row| row.version),
        grants,
        settings,
        backfill: request.backfill,
    };
    switch_to(core, actor, (package, before, false), wanted).await?;
    find(core, actor, plugin).await
}

/// Goes on with a move to another version for which nobody waits any more.
///
/// # Errors
/// `VersionMismatch` if the enablement is not what it was when the move began; those of [`enable`].
pub(super) async fn resume(
    core: &Core,
    tenant: &TenantId,
    (plugin, version): (&str, &str),
    wanted: Wanted,
) -> Result<()> {
    let actor = Actor::server(tenant.clone());
    let package = packages::find(core, plugin, Some(version)).await?;
    trust::check_runs(core, &package).await?;
    let before = find_row(core, tenant, plugin).await?;
    let now = before.as_ref().map_or(0, |row| row.version);
    ops::check_version(RecordKind::Enablement, plugin, Some(wanted.base), now)?;
    switch_to(core, &actor, (package, before, true), wanted).await
}

async fn switch_to(
    core: &Core,
    actor: &Actor,
    (package, before, is_resumed): (Package, Option<Enablement>, bool),
    wanted: Wanted,
) -> Result<()> {
    let Wanted { base, grants, settings, backfill } = wanted;
    let recording = before.as_ref().map(|row| row.recording.0.clone()).unwrap_or_default();
    // What is disabled has its data all the same.
    let other = before.as_ref().filter(|row| row.package_version != package.version);
    let action = match other {
        Some(before) if before.state == "enabled" => "plugin.upgrade",
        Some(_) | None => "plugin.enable",
    };
    let from = other.map(|row| row.package_version.clone());
    let row = EnablementRow {
        plugin: package.name.clone(),
        package_version: package.version.clone(),
        state: "enabled",
        version: base + 1,
        grants: grants.clone(),
        settings: settings.clone(),
        recording: recording.clone(),
        purge_at: None,
        at: core.now(),
    };
    let manifest = package.manifest.0.clone();
    let prepared = prepare(core, actor, (row, manifest), (action, backfill)).await?;
    let was_off = before.is_none_or(|row| row.state != "enabled");
    let switch = Switch { package, grants, settings, recording, from, base, backfill, was_off, is_resumed };
    core.plugins()?.switch_on(actor, switch, ack_of(prepared)).await
}

/// Only what is newer waits for the calendar.
pub(super) async fn check_upgrade(
    core: &Core,
    actor: &Actor,
    plugin: &str,
    (from, to): (&str, &str),
) -> Result<()> {
    if packages::order(from) < packages::order(to) {
        check_freeze(core, actor, plugin, Some(from)).await?;
    }
    Ok(())
}

/// A version that the operator has stopped is replaced at any time.
pub(super) async fn check_freeze(core: &Core, actor: &Actor, plugin: &str, from: Option<&str>) -> Result<()> {
    let stops = trust::stops(core, plugin).await?;
    if stops.iter().any(|stop| from == Some(stop.version.as_str())) {
        return Ok(());
    }
    freezes::check_open(core, actor, core.now()).await
}

/// Changes grants or settings of a plugin. Takes effect at once, also for what is
/// running: an invocation that began with other rights cannot commit.
///
/// # Errors
/// As for [`enable`]; `NotFound` if it was never enabled, `VersionMismatch` if the
/// row is not at `expected`; `Refused` to record on a server that keeps no secrets; `Invalid` for a decision
/// about a hook that the plugin does not have.
pub async fn change(
    core: &Core,
    actor: &Actor,
    plugin: &str,
    patch: EnablementPatch,
    expected: Option<i64>,
) -> Result<Enablement> {
    ops::require(actor, Permission::PluginWrite)?;
    let before = find(core, actor, plugin).await?;
    ops::check_version(RecordKind::Enablement, &before.plugin, expected, before.version)?;
    check_kept(&before)?;
    let package = packages::find(core, plugin, Some(&before.package_version)).await?;
    let manifest = package.manifest.0;
    let mut faults = Vec::new();
    let grants = match patch.grants {
        Some(granted) => check_grants(&manifest, granted, &mut faults),
        None => before.grants.0,
    };
    let mut settings = before.settings.0;
    if let Some(patch) = patch.settings {
        merge(&mut settings, patch);
    }
    let settings = check_settings(&manifest, settings, &mut faults)?;
    let recording = patch.recording.unwrap_or(before.recording.0);
    let on_failure = patch.on_failure;
    on_failure.iter().for_each(|modes| check_hooks(&manifest, modes, &mut faults));
    if recording.keeps() {
        recordings::check_key(core)?;
    }
    if !faults.is_empty() {
        return Err(Error::Invalid { faults });
    }
    let row = EnablementRow {
        plugin: before.plugin,
        package_version: before.package_version,
        state: if before.state == "enabled" { "enabled" } else { "disabled" },
        version: before.version + 1,
        grants,
        settings,
        recording,
        purge_at: before.purge_at,
        at: core.now(),
    };
    let mut prepared = prepare(core, actor, (row, manifest), ("plugin.configure", false)).await?;
    if let Some(modes) = &on_failure {
        prepared.audit.changes["on_failure"] = json!(modes);
    }
    let state = (prepared, on_failure);
    core.db.write(&actor.tenant, state, |tx, state| Box::pin(apply_change(tx, state))).await?;
    core.plugins()?.changed(&actor.tenant, plugin).await;
    find(core, actor, plugin).await
}

async fn apply_change(tx: &mut Tx, (prepared, on_failure): &(Prepared, Option<HookModes>)) -> Result<()> {
    apply(tx, prepared).await?;
    let Some(modes) = on_failure else { return Ok(()) };
    plugins::set_on_failure(tx, &prepared.actor.tenant, &prepared.row.plugin, modes).await
}

/// What the tenant had enabled before, if there is a way back to it.
pub(super) async fn previous(core: &Core, tenant: &TenantId, plugin: &str) -> Result<Option<Previous>> {
    let mut reader = core.db.read(tenant).await?;
    plugins::find_previous(&mut reader, tenant, plugin).await
}

/// Puts another version, whose manifest this is, with its grants and settings in the place of what is
/// enabled now. Nothing of the plugin is called.
pub(super) async fn point_to(
    core: &Core,
    actor: &Actor,
    (now, other): (Enablement, Previous),
    (manifest, action): (Manifest, &'static str),
) -> Result<()> {
    let row = EnablementRow {
        plugin: now.plugin,
        package_version: other.version,
        state: "enabled",
        version: now.version + 1,
        grants: other.grants.0,
        settings: other.settings.0,
        recording: now.recording.0,
        purge_at: None,
        at: core.now(),
    };
    let plugin = row.plugin.clone();
    let prepared = prepare(core, actor, (row, manifest), (action, false)).await?;
    core.db.write(&actor.tenant, prepared, |tx, prepared| Box::pin(apply(tx, prepared))).await?;
    core.plugins()?.changed(&actor.tenant, &plugin).await;
    Ok(())
}

/// Disables a plugin. Its data, settings and grants stay.
///
/// # Errors
/// `Forbidden`; `NotFound` if it was never enabled; `VersionMismatch` as for [`change`].
pub async fn disable(core: &Core, actor: &Actor, plugin: &str, expected: Option<i64>) -> Result<()> {
    ops::require(actor, Permission::PluginWrite)?;
    let before = find(core, actor, plugin).await?;
    ops::check_version(RecordKind::Enablement, &before.plugin, expected, before.version)?;
    if before.state == "disabled" {
        return Ok(());
    }
    switch_off(core, actor, before, ("plugin.disable", None)).await
}

/// Writes what is disabled from now on, and perhaps purged at a time.
pub(super) async fn switch_off(
    core: &Core,
    actor: &Actor,
    before: Enablement,
    (action, purge_at): (&'static str, Option<Timestamp>),
) -> Result<()> {
    check_kept(&before)?;
    let package = packages::find(core, &before.plugin, Some(&before.package_version)).await?;
    let was_enabled = before.state == "enabled";
    let plugin = before.plugin.clone();
    let row = EnablementRow {
        plugin: before.plugin,
        package_version: before.package_version,
        state: "disabled",
        version: before.version + 1,
        grants: before.grants.0,
        settings: before.settings.0,
        recording: before.recording.0,
        purge_at,
        at: core.now(),
    };
    let prepared = prepare(core, actor, (row, package.manifest.0), (action, false)).await?;
    if was_enabled {
        return core.plugins()?.switch_off(actor, &plugin, ack_of(prepared)).await;
    }
    core.db.write(&actor.tenant, prepared, |tx, prepared| Box::pin(apply(tx, prepared))).await?;
    core.plugins()?.changed(&actor.tenant, &plugin).await;
    Ok(())
}

/// What is being purged is neither enabled nor kept any more; once that has ended, it is as if the plugin
/// had never been enabled.
fn check_kept(row: &Enablement) -> Result<()> {
    if row.purged.is_some() { Err(Error::refused(Reason::PluginPurging)) } else { Ok(()) }
}

/// What the tenant has decided about a plugin.
///
/// # Errors
/// `Forbidden`; `NotFound` if it was never enabled.
pub async fn find(core: &Core, actor: &Actor, plugin: &str) -> Result<Enablement> {
    ops::require(actor, Permission::PluginRead)?;
    let row = find_row(core, &actor.tenant, plugin).await?;
    row.ok_or_else(|| Error::not_found(RecordKind::Enablement, plugin))
}

async fn find_row(core: &Core, tenant: &TenantId, plugin: &str) -> Result<Option<Enablement>> {
    let mut reader = core.db.read(tenant).await?;
    plugins::find_enablement(&mut reader, tenant, plugin).await
}

/// Grants and settings for `manifest` that are not enabled: the grants as for [`enable`], and a merge
/// patch over the settings that there are.
///
/// # Errors
/// `Invalid` with every fault.
pub(super) fn settle(
    manifest: &Manifest,
    (known, settings): (&Grants, &Value),
    granted: Option<Vec<GrantRequest>>,
    patch: Option<Value>,
) -> Result<(Grants, Value)> {
    let mut faults = Vec::new();
    let grants = match granted {
        Some(granted) => check_grants(manifest, granted, &mut faults),
        None => known.and(&manifest.wanted()),
    };
    let mut settings = settings.clone();
    if let Some(patch) = patch {
        merge(&mut settings, patch);
    }
    let settings = check_settings(manifest, settings, &mut faults)?;
    if faults.is_empty() { Ok((grants, settings)) } else { Err(Error::Invalid { faults }) }
}

/// Never more than it asks for, and with no wider parameters.
fn check_grants(manifest: &Manifest, granted: Vec<GrantRequest>, faults: &mut Vec<Fault>) -> Grants {
    let wanted = manifest.wanted();
    let mut grants = Grants::default();
    let mut wrong = Faults::default();
    for (position, request) in granted.into_iter().enumerate() {
        let GrantRequest { name: grant, parameters } = request;
        let pointer = format!("/grants/{position}");
        if grants.has(grant) {
            wrong.plain(&pointer, FaultCode::NotUnique);
        }
        match wanted.parameters(grant) {
            Some(asked) => {
                let pointer = format!("{pointer}/parameters");
                grants.insert(grant, parameters.approved(grant, asked, &pointer, &mut wrong));
            }
            None => {
                wrong.plain(pointer, FaultCode::NotAskedFor { grant: grant.to_string() });
            }
        }
    }
    faults.append(&mut wrong.into_vec());
    grants
}

/// Nothing is decided about a hook that the plugin does not have.
fn check_hooks(manifest: &Manifest, modes: &HookModes, faults: &mut Vec<Fault>) {
    let is_hook = |entity: EntityKind| manifest.hooks.iter().any(|hook| hook.entity == entity);
    for entity in modes.0.keys().filter(|entity| !is_hook(**entity)) {
        let code = FaultCode::NotAskedFor { grant: entity.hook_grant().to_string() };
        faults.push(Fault::plain(format!("/on_failure/{}", entity.as_str()), code));
    }
}

fn check_settings(manifest: &Manifest, mut settings: Value, faults: &mut Vec<Fault>) -> Result<Value> {
    let schema = Schema::compile(&manifest.settings.schema).map_err(Error::internal)?;
    schema.fill_defaults(&mut settings);
    faults.extend(schema.faults("/settings", &settings));
    Ok(settings)
}

/// JSON Merge Patch over settings.
fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (name, value) in patch {
                if value.is_null() {
                    target.shift_remove(&name);
                } else {
                    merge(target.entry(name).or_insert(Value::Null), value);
                }
            }
        }
        (target, patch) => *target = patch,
    }
}

async fn prepare(
    core: &Core,
    actor: &Actor,
    (row, manifest): (EnablementRow, Manifest),
    (action, backfill): (&'static str, bool),
) -> Result<Prepared> {
    let now = core.now();
    let mut reader = core.db.read(&actor.tenant).await?;
    let facts = plugins::tenant_facts(&mut reader, &actor.tenant).await?;
    drop(reader);
    let facts = facts.ok_or_else(|| Error::not_found(RecordKind::Tenant, &actor.tenant))?;
    let mut schedules = Vec::new();
    for job in &manifest.jobs {
        let due_at = next_due(&job.schedule, &facts.time_zone, now)?;
        schedules.push((job.clone(), due_at));
    }
    let mut changes = json!({
        "version": row.package_version, "state": row.state, "grants": row.grants, "settings": row.settings,
        "recording": row.recording,
    });
    if let Some(at) = row.purge_at {
        changes["purge_at"] = json!(at);
    }
    let audit = Entry::new(&*core.ids, now, action, "plugin", &row.plugin, changes);
    let events = manifest.events.subscribe.clone();
    Ok(Prepared { actor: actor.clone(), row, manifest, audit, schedules, events, backfill })
}

fn ack_of(prepared: Prepared) -> Ack {
    let prepared = Arc::new(prepared);
    Arc::new(move |tx| {
        let prepared = Arc::clone(&prepared);
        Box::pin(async move { apply(tx, &prepared).await })
    })
}

async fn apply(tx: &mut Tx, prepared: &Prepared) -> Result<()> {
    let Prepared { actor, row, manifest, audit, schedules, events, backfill } = prepared;
    let tenant = &actor.tenant;
    if !plugins::put_enablement(tx, tenant, row).await? {
        let now = plugins::find_enablement(tx, tenant, &row.plugin).await?;
        let version = now.map_or(0, |now| now.version);
        return Err(Error::VersionMismatch { kind: RecordKind::Enablement, id: row.plugin.clone(), version });
    }
    if audit.action == ROLL_BACK {
        plugins::forget_previous(tx, tenant, &row.plugin).await?;
    }
    // What they were tried beside is no more.
    shadows::end(tx, tenant, &row.plugin, "live_changed").await?;
    let is_promotion = audit.action == PROMOTE;
    let because = if is_promotion { "promoted" } else { "live_changed" };
    let was_tried = canaries::end(tx, tenant, &row.plugin, (because, row.at)).await?;
    if is_promotion && !was_tried {
        return Err(canary::ended(&row.plugin));
    }
    let consumer = ops::events::consumer_of_plugin(&row.plugin);
    let is_configuration = audit.action == "plugin.configure";
    if row.state == "enabled" && !is_configuration {
        ops::events::subscribe(tx, tenant, &consumer, events, row.at).await?;
        ops::fields::declare(tx, tenant, &row.plugin, &declarations(manifest), row.at).await?;
        plugins::delete_schedules(tx, tenant, &row.plugin).await?;
        for (job, due_at) in schedules {
            plugins::put_schedule(tx, tenant, &row.plugin, (job, *due_at)).await?;
        }
        if *backfill && !events.is_empty() {
            ops::events::start_backfill(tx, tenant, &consumer, events, row.at).await?;
        }
    }
    if row.state == "disabled" && !is_configuration {
        ops::events::unsubscribe(tx, tenant, &consumer).await?;
        plugins::delete_schedules(tx, tenant, &row.plugin).await?;
    }
    ops::audit::append(tx, actor, row.at, audit).await
}

fn declarations(manifest: &Manifest) -> Vec<FieldDeclaration> {
    let declaration = |field: &Field| FieldDeclaration {
        entity: match field.entity {
            EntityKind::Customer => FieldEntity::Customer,
            EntityKind::Order => FieldEntity::Order,
        },
        name: field.name.clone(),
        kind: match field.kind {
            ScalarType::Text => FieldType::Text,
            ScalarType::Integer => FieldType::Integer,
            ScalarType::Number => FieldType::Number,
            ScalarType::Boolean => FieldType::Boolean,
            ScalarType::Time => FieldType::Time,
        },
        label: Label::new(&field.label.en, &field.label.zh_cn),
        roles: field.roles.clone(),
        class: field.class,
    };
    manifest.fields.iter().map(declaration).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_changed_by_merge_patch() {
        let mut settings = json!({ "rate": 1, "expiry": { "months": 12, "warn": true } });
        merge(&mut settings, json!({ "rate": null, "expiry": { "months": 6 } }));
        assert_eq!(settings, json!({ "expiry": { "months": 6, "warn": true } }));
    }
}
