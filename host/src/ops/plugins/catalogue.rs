//! The plugins that a tenant may enable, and how those that it has are doing.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::Value;

use super::sheet::{InstallSheet, opens};
use super::status::{self, EventsStatus, HookStatus, PointLimits};
use super::trust::{Signer, StoppedVersion};
use super::upgrade::{self, Upgrade};
use super::{Denial, PointHealth, packages, trust};
use crate::clock::Timestamp;
use crate::db::plugins::{self, Enablement, LogLine, Package};
use crate::db::schedules::{self, DueRow};
use crate::domain::actor::{Actor, Locale};
use crate::domain::code::RecordKind;
use crate::domain::grant::{Grant, Granted};
use crate::domain::hook_modes::HookModes;
use crate::domain::ids::TenantId;
use crate::domain::manifest::{CatchUp, EntityKind, Job, Sbom, Schedule};
use crate::domain::permission::{Permission, Role};
use crate::domain::recording::RecordingRules;
use crate::error::{Error, Result};
use crate::ops::{self, Core};

/// Failures of each extension point that a plugin's status shows.
const FAILURES_SHOWN: i64 = 5;

/// What a plugin asks for, and why.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct AskedGrant {
    /// The grant, on the parameters that it asks for.
    #[serde(flatten)]
    pub grant: Granted,
    /// Why, in the reader's language.
    pub reason: String,
    /// The host functions, events and hooks that it opens.
    pub opens: Vec<String>,
}

/// A button that a plugin adds.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ActionView {
    /// Its name.
    pub name: String,
    /// On which record.
    #[schema(value_type = String)]
    pub entity: EntityKind,
    /// In the reader's language.
    pub title: String,
    /// Who may press it.
    pub roles: Vec<Role>,
    /// JSON Schema of its input.
    #[schema(value_type = Object)]
    pub input: Value,
}

/// Work of a plugin on a schedule.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct JobView {
    /// Its name.
    pub name: String,
    /// When it runs, in the tenant's time zone: `daily`, `every_minutes` or `cron`.
    #[schema(value_type = Object)]
    pub schedule: Schedule,
    /// What it does about times that the server has slept through: `skip` or `once`.
    #[schema(value_type = String)]
    pub catch_up: CatchUp,
    /// Its next run or try, while the plugin is enabled.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due_at: Option<Timestamp>,
    /// Why its last run or try failed.
    pub last_error: Option<String>,
}

/// A plugin in the catalogue.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct PluginSummary {
    /// Its name.
    pub name: String,
    /// The newest version that is installed.
    pub version: String,
    /// All that are.
    pub versions: Vec<String>,
    /// Who publishes it.
    pub publisher: String,
    /// What it does, in the reader's language.
    pub description: String,
    /// What it asks for.
    pub grants: Vec<AskedGrant>,
    /// What the tenant has decided about it, if anything.
    pub enablement: Option<EnablementView>,
}

/// What a tenant has decided about a plugin.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct EnablementView {
    /// The plugin's name.
    pub plugin: String,
    /// `enabled` or `disabled`.
    pub state: String,
    /// The version of the plugin.
    pub plugin_version: String,
    /// The version before, to which it can be rolled back unless its data was changed on the way.
    pub previous_version: Option<String>,
    /// Grows with every change; the entity tag.
    pub version: i64,
    /// What it may do.
    pub grants: Vec<Granted>,
    /// Its settings.
    #[schema(value_type = Object)]
    pub settings: Value,
    /// Which of its runs are recorded, by extension point; what is left out is off.
    #[schema(value_type = Object)]
    pub recording: RecordingRules,
    /// What the tenant has decided about saves whose hook fails, by the record that is saved.
    #[schema(value_type = Object)]
    pub on_failure: HookModes,
    /// When everything that it keeps for the tenant is purged, because it is uninstalled.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub purge_at: Option<Timestamp>,
    /// Whether that has begun; then there is no way back.
    pub purging: bool,
    /// When it was first enabled.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When this last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl From<Enablement> for EnablementView {
    fn from(row: Enablement) -> Self {
        Self {
            plugin: row.plugin,
            state: row.state,
            plugin_version: row.package_version,
            previous_version: row.previous_version,
            version: row.version,
            grants: row.grants.0.with_parameters().collect(),
            settings: row.settings.0,
            recording: row.recording.0,
            on_failure: row.on_failure.0,
            purge_at: row.purge_at,
            purging: row.purged.is_some(),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// A plugin with everything that its manifest says, and how it is doing.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct PluginDetails {
    /// As in the catalogue.
    #[serde(flatten)]
    pub summary: PluginSummary,
    /// SHA-256 of the component.
    pub digest: String,
    /// Bytes of the component.
    pub size: i64,
    /// Host functions that its bytes import: all that it can ever call.
    pub imports: Vec<String>,
    /// Extension points that it exports.
    pub exports: Vec<String>,
    /// Events that it listens to.
    pub events: Vec<String>,
    /// JSON Schema of its settings.
    #[schema(value_type = Object)]
    pub settings_schema: Value,
    /// Its buttons.
    pub actions: Vec<ActionView>,
    /// Its fields, `plugin.field`.
    pub fields: Vec<String>,
    /// Its collections.
    pub collections: Vec<String>,
    /// Its scheduled work.
    pub jobs: Vec<JobView>,
    /// What a run of each extension point may use.
    pub limits: Vec<PointLimits>,
    /// Its hooks, and what becomes of a save if they fail.
    pub hooks: Vec<HookStatus>,
    /// How it keeps up with its events, for those who may see the lanes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_status: Option<EventsStatus>,
    /// How its extension points have fared in this process.
    pub health: Vec<PointHealth>,
    /// Its last failures with the guest's backtrace, at most five of each extension point, the latest first.
    pub last_failures: Vec<LogLine>,
    /// What it was refused for want of a grant.
    pub denials: Vec<Denial>,
    /// Its licence, an SPDX expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// What it is built from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sbom: Option<Sbom>,
    /// The keys that have signed this version; none for one that came with the server.
    pub signed_by: Vec<Signer>,
    /// Its versions that the operator has stopped: they run for nobody.
    pub stopped: Vec<StoppedVersion>,
    /// The newer version that the tenant may move to, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<Upgrade>,
}

/// The plugins of the host in whose name, publisher or description every word of `query` stands, by name.
///
/// # Errors
/// `Forbidden`.
pub async fn list(core: &Core, actor: &Actor, query: &str) -> Result<Vec<PluginSummary>> {
    ops::require(actor, Permission::PluginRead)?;
    let packages = packages::list(core).await?;
    let mut reader = core.db.read(&actor.tenant).await?;
    let rows = plugins::list_enablements(&mut reader, &actor.tenant).await?;
    drop(reader);
    let mut rows: HashMap<String, Enablement> =
        rows.into_iter().map(|row| (row.plugin.clone(), row)).collect();
    let mut by_name: BTreeMap<String, Vec<Package>> = BTreeMap::new();
    for package in packages {
        by_name.entry(package.name.clone()).or_default().push(package);
    }
    let summaries = by_name.into_iter().filter_map(|(name, versions)| {
        let row = rows.remove(&name);
        summary(versions, row, actor.locale)
    });
    let found = summaries.map(|(summary, _)| summary).filter(|summary| has_words(summary, query));
    Ok(found.collect())
}

fn has_words(summary: &PluginSummary, query: &str) -> bool {
    let PluginSummary { name, publisher, description, .. } = summary;
    let text = format!("{name} {publisher} {description}").to_lowercase();
    query.to_lowercase().split_whitespace().all(|word| text.contains(word))
}

/// The install sheet of a version; of the newest, if none is named.
///
/// # Errors
/// `Forbidden`; `NotFound`.
pub async fn sheet(core: &Core, actor: &Actor, name: &str, version: Option<&str>) -> Result<InstallSheet> {
    ops::require(actor, Permission::PluginRead)?;
    let package = packages::find(core, name, version).await?;
    Ok(InstallSheet::of(&package.manifest.0, &package.imports.0, &package.exports.0))
}

/// One plugin. What its manifest says is that of the enabled version, else of the newest.
///
/// # Errors
/// `Forbidden`; `NotFound`.
pub async fn find(core: &Core, actor: &Actor, name: &str) -> Result<PluginDetails> {
    ops::require(actor, Permission::PluginRead)?;
    let mut reader = core.db.read_host().await?;
    let versions = plugins::versions_of(&mut reader, name).await?;
    drop(reader);
    let Kept { row, last_failures, denials, due } = kept(core, &actor.tenant, name).await?;
    let events_status = status::events(core, actor, name).await?;
    let stopped = trust::stops(core, name).await?;
    let upgrade = match row.as_ref().filter(|row| row.state == "enabled") {
        Some(row) => upgrade::of(core, &versions, &row.package_version).await?,
        None => None,
    };
    let decided = row.as_ref().map(|row| row.on_failure.0.clone());
    let (summary, package) =
        summary(versions, row, actor.locale).ok_or_else(|| Error::not_found(RecordKind::Plugin, name))?;
    let signed_by = trust::signers(core, name, &package.version).await?;
    let manifest = package.manifest.0;
    let action = |action: &crate::domain::manifest::Action| ActionView {
        name: action.name.clone(),
        entity: action.entity,
        title: action.title.get(actor.locale).to_owned(),
        roles: action.roles.clone(),
        input: action.input.clone(),
    };
    let limits = status::limits(core, &manifest, &package.exports.0)?;
    let hooks = status::hooks(&manifest, decided.as_ref());
    Ok(PluginDetails {
        limits,
        hooks,
        events_status,
        digest: package.digest,
        size: package.size,
        imports: package.imports.0,
        exports: package.exports.0,
        actions: manifest.actions.iter().map(action).collect(),
        fields: manifest.fields.iter().map(|field| format!("{name}.{}", field.name)).collect(),
        collections: manifest.collections.into_iter().map(|one| one.name).collect(),
        jobs: manifest.jobs.into_iter().map(|job| job_view(job, &due)).collect(),
        events: manifest.events.subscribe,
        settings_schema: manifest.settings.schema,
        health: core.plugins()?.health(&actor.tenant, name),
        denials: with_waiting(denials, core.plugins()?.denials(&actor.tenant, name)),
        license: manifest.license,
        sbom: manifest.sbom,
        signed_by,
        stopped,
        upgrade,
        summary,
        last_failures,
    })
}

/// What is kept of a plugin for a tenant.
struct Kept {
    row: Option<Enablement>,
    last_failures: Vec<LogLine>,
    denials: Vec<Denial>,
    due: Vec<DueRow>,
}

async fn kept(core: &Core, tenant: &TenantId, name: &str) -> Result<Kept> {
    let mut reader = core.db.read(tenant).await?;
    Ok(Kept {
        row: plugins::find_enablement(&mut reader, tenant, name).await?,
        last_failures: plugins::last_failures(&mut reader, tenant, name, FAILURES_SHOWN).await?,
        denials: plugins::list_denials(&mut reader, tenant, name).await?,
        due: schedules::of_plugin(&mut reader, tenant, name).await?,
    })
}

/// Adds what this process has not written down yet.
fn with_waiting(mut denials: Vec<Denial>, waiting: Vec<Denial>) -> Vec<Denial> {
    for one in waiting {
        let known =
            denials.iter_mut().find(|known| known.grant == one.grant && known.function == one.function);
        match known {
            Some(known) => {
                known.count += one.count;
                known.last_at = known.last_at.max(one.last_at);
            }
            None => denials.push(one),
        }
    }
    denials
}

fn job_view(job: Job, due: &[DueRow]) -> JobView {
    let Job { name, schedule, catch_up } = job;
    let row = due.iter().find(|row| row.job == name);
    let (due_at, last_error) = (row.map(|row| row.due_at), row.and_then(|row| row.last_error.clone()));
    JobView { name, schedule, catch_up, due_at, last_error }
}

fn summary(
    mut versions: Vec<Package>,
    row: Option<Enablement>,
    locale: Locale,
) -> Option<(PluginSummary, Package)> {
    versions.sort_by_cached_key(|package| packages::order(&package.version));
    let names = versions.iter().map(|package| package.version.clone()).collect();
    let newest = versions.last()?.version.clone();
    let shown = row.as_ref().map_or(&newest, |row| &row.package_version);
    let position = versions.iter().position(|package| package.version == *shown)?;
    let package = versions.swap_remove(position);
    let manifest = &package.manifest.0;
    let reasons = manifest.grants.iter().map(|wanted| (wanted.name, wanted.reason.get(locale).to_owned()));
    let reasons: HashMap<Grant, String> = reasons.collect();
    let grants = manifest.wanted();
    let grants = grants.with_parameters().map(|grant| AskedGrant {
        reason: reasons.get(&grant.name).cloned().unwrap_or_default(),
        opens: opens(manifest, &package.imports.0, grant.name),
        grant,
    });
    let summary = PluginSummary {
        name: manifest.name.clone(),
        version: newest,
        versions: names,
        publisher: manifest.publisher.clone(),
        description: manifest.description.get(locale).to_owned(),
        grants: grants.collect(),
        enablement: row.map(EnablementView::from),
    };
    Some((summary, package))
}
