//! Canaries: a newer version of a plugin for a part of a tenant's records, next to the enabled version,
//! which keeps the rest.
//!
//! Both write, and share the plugin's documents, values, files and fields; so a version that would change
//! what is there, or declares it otherwise, is none. It ends by itself when it fails.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Switch, enablement, packages, trust, upgrade};
use crate::clock::Timestamp;
pub use crate::db::canaries::Counted;
use crate::db::canaries::{self, CanaryRow};
use crate::db::plugins::{self, Enablement, Package, Previous};
use crate::db::{Json, Tx, org_units};
use crate::domain::actor::Actor;
use crate::domain::audit::Entry;
use crate::domain::canary::{Share, Tally};
use crate::domain::check::Faults;
use crate::domain::code::{FaultCode, Reason, RecordKind};
use crate::domain::grant::{Granted, Grants};
use crate::domain::ids::{OrgUnitId, TenantId};
use crate::domain::manifest::{Field, Manifest};
use crate::domain::permission::Permission;
use crate::domain::recording::RecordingRules;
use crate::error::{Error, Result};
use crate::metrics::{PLUGIN_CANARY_STOPS, plugin_label};
use crate::ops::{self, Core, access};

/// A newer version for a part of the records.
#[derive(Clone, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCanary {
    /// The version; the newest that is installed, if absent. It has what the enabled one is granted.
    #[schema(max_length = 64)]
    pub version: Option<String>,
    /// Of 100 customers, how many meet it, with all that is about them; of 100 people and tokens, whose
    /// requests to the plugin's endpoints about no customer do. Either this or org units.
    #[schema(minimum = 1, maximum = 99)]
    pub percent: Option<u32>,
    /// Ids of org units: it is for the customers whom they, or units below them, look after, and for the
    /// requests of those who belong to them to the plugin's endpoints about no customer.
    #[schema(value_type = Option<Vec<String>>, min_items = 1, max_items = 50)]
    pub org_units: Option<Vec<OrgUnitId>>,
    /// A JSON Merge Patch over the settings of the enabled version.
    #[schema(value_type = Option<Object>)]
    pub settings: Option<Value>,
}

/// Whom a canary is for from now on.
#[derive(Clone, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CanaryPatch {
    /// Of 100 customers, how many meet it. While it only rises, whoever has met it goes on to.
    #[schema(minimum = 1, maximum = 99)]
    pub percent: Option<u32>,
    /// Ids of org units, in the place of a percentage.
    #[schema(value_type = Option<Vec<String>>, min_items = 1, max_items = 50)]
    pub org_units: Option<Vec<OrgUnitId>>,
}

/// How one of the two versions has fared since the canary was started, on all servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SideView {
    /// The version.
    pub version: String,
    /// Its runs. They are written down every ten seconds, and at each failure of the new version.
    pub runs: u64,
    /// Runs that broke off, and those that refused their events.
    pub failures: u64,
    /// Fuel that all runs have burnt.
    pub fuel: u64,
    /// Microseconds that half of the runs took at most, up to a fifth too many.
    pub p50_us: u64,
    /// The same for 99 of 100.
    pub p99_us: u64,
}

impl SideView {
    fn of(version: String, tally: &Tally) -> Self {
        let [p50_us, p99_us] = [50, 99].map(|percent| tally.percentile(percent));
        Self { version, runs: tally.runs, failures: tally.failures, fuel: tally.fuel, p50_us, p99_us }
    }
}

/// A newer version of a plugin that a part of the records meets, and how it compares.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct CanaryView {
    /// The plugin's name.
    pub plugin: String,
    /// `running`, or `ended`: then every record meets the enabled version.
    pub state: String,
    /// Why it has ended: `promoted` or `aborted` by somebody; by itself for `breaker`, after five failures
    /// in a row, for `failures`, when of at least 20 runs more than a tenth had failed, or for
    /// `live_changed`, when the enabled version, its grants or its settings changed.
    pub ended_because: Option<String>,
    /// Of 100 customers, how many meet it; null if it is for org units.
    pub percent: Option<u32>,
    /// The org units whose customers meet it; null if it is for a percentage.
    #[schema(value_type = Option<Vec<String>>)]
    pub org_units: Option<Vec<OrgUnitId>>,
    /// What the new version may do.
    pub grants: Vec<Granted>,
    /// Its settings.
    #[schema(value_type = Object)]
    pub settings: Value,
    /// When it was started.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// How the enabled version has fared meanwhile.
    pub live: SideView,
    /// How the new version has fared.
    pub canary: SideView,
    /// Why the new version failed the last time, if it ever has.
    pub last_error: Option<String>,
}

impl CanaryView {
    fn of(row: CanaryRow) -> Self {
        let CanaryRow { plugin, canary_version, live_version, state, ended_because, share, grants, .. } = row;
        let CanaryRow { settings, started_at, ended_at, live_tally, canary_tally, last_error, .. } = row;
        let (percent, org_units) = match share.0 {
            Share::Percent(percent) => (Some(percent), None),
            Share::OrgUnits(units) => (None, Some(units)),
        };
        Self {
            plugin,
            state,
            ended_because,
            percent,
            org_units,
            grants: grants.0.with_parameters().collect(),
            settings: settings.0,
            started_at,
            ended_at,
            live: SideView::of(live_version, &live_tally.0),
            canary: SideView::of(canary_version, &canary_tally.0),
            last_error,
        }
    }
}

/// Lets a part of the records meet a newer version, in the place of the last canary and its tallies.
///
/// # Errors
/// `Forbidden`; `NotFound` for a version that is not installed; `Refused` for one that the operator has
/// stopped, and while the tenant's calendar wants none; `Invalid` for the share and for settings that the
/// version's schema refuses. Conflicts: `not_running` if the tenant does not run the plugin,
/// `canary_running`, `canary_older` for a version that is not newer, `canary_wider` for one that asks for
/// more, `canary_data` for one that cannot share the enabled one's data as it is.
pub async fn start(core: &Core, actor: &Actor, plugin: &str, new: NewCanary) -> Result<CanaryView> {
    ops::require(actor, Permission::PluginWrite)?;
    let NewCanary { version, percent, org_units, settings } = new;
    let share = Share::of(percent, org_units)?;
    check_units(core, actor, &share).await?;
    let live = running(core, actor, plugin).await?;
    let package = packages::find(core, plugin, version.as_deref()).await?;
    trust::check_runs(core, &package).await?;
    enablement::check_freeze(core, actor, plugin, Some(&live.package_version)).await?;
    check_newer(core, &live, &package).await?;
    let known = (&live.grants.0, &live.settings.0);
    let (grants, settings) = enablement::settle(&package.manifest.0, known, None, settings)?;
    let (name, canary_version) = (package.name.clone(), package.version.clone());
    check_data(core, actor, (&live, package), (&grants, &settings)).await?;
    let row = CanaryRow {
        plugin: name,
        canary_version,
        live_version: live.package_version.clone(),
        state: "running".to_owned(),
        ended_because: None,
        share: Json(share),
        grants: Json(grants),
        settings: Json(settings),
        started_at: core.now(),
        ended_at: None,
        live_tally: Json(Tally::default()),
        canary_tally: Json(Tally::default()),
        last_error: None,
    };
    let changes = json!({
        "version": row.canary_version, "live_version": row.live_version, "share": row.share.0,
        "grants": row.grants.0, "settings": row.settings.0,
    });
    let entry = Entry::new(&*core.ids, row.started_at, "plugin.canary_start", "plugin", plugin, changes);
    let state = (actor.clone(), live, row.clone(), entry);
    core.db.write(&actor.tenant, state, |tx, state| Box::pin(apply_start(tx, state))).await?;
    core.plugins()?.versions_changed(&actor.tenant).await;
    Ok(CanaryView::of(row))
}

async fn apply_start(
    tx: &mut Tx,
    (actor, live, row, entry): &(Actor, Enablement, CanaryRow, Entry),
) -> Result<()> {
    access::recheck(tx, actor, Permission::PluginWrite, row.started_at).await?;
    let version = plugins::find_enablement(tx, &actor.tenant, &row.plugin).await?.map(|found| found.version);
    ops::check_version(RecordKind::Enablement, &row.plugin, Some(live.version), version.unwrap_or_default())?;
    if !canaries::put(tx, &actor.tenant, row).await? {
        let message = format!("`{}` has a canary already", row.plugin);
        return Err(Error::conflict(Reason::CanaryRunning, message));
    }
    ops::audit::append(tx, actor, row.started_at, entry).await
}

/// A canary is for org units that there are, or it would be for nobody without anyone's noticing.
async fn check_units(core: &Core, actor: &Actor, share: &Share) -> Result<()> {
    let Share::OrgUnits(units) = share else { return Ok(()) };
    let mut reader = core.db.read(&actor.tenant).await?;
    let mut faults = Faults::default();
    for (position, unit) in units.iter().enumerate() {
        if org_units::find(&mut reader, &actor.tenant, unit).await?.is_none() {
            let code = FaultCode::UnknownOrgUnit { id: unit.to_string() };
            faults.plain(format!("/org_units/{position}"), code);
        }
    }
    faults.finish()
}

async fn running(core: &Core, actor: &Actor, plugin: &str) -> Result<Enablement> {
    let live = enablement::find(core, actor, plugin).await?;
    if live.state == "enabled" {
        return Ok(live);
    }
    Err(Error::conflict(Reason::NotRunning, format!("`{plugin}` is not enabled")))
}

/// Only a newer version that asks for nothing more: what is wider waits, as it does for an upgrade.
async fn check_newer(core: &Core, live: &Enablement, package: &Package) -> Result<()> {
    let old = packages::find(core, &live.plugin, Some(&live.package_version)).await?;
    if packages::order(&package.version) <= packages::order(&old.version) {
        let message = format!("{} is not newer than {}", package.version, old.version);
        return Err(Error::conflict(Reason::CanaryOlder { version: old.version }, message));
    }
    let wider = upgrade::rights(&old).diff(&upgrade::rights(package)).wider;
    if wider.is_empty() {
        return Ok(());
    }
    let wider = wider.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let message = format!("{} asks for {wider}", package.version);
    Err(Error::conflict(Reason::CanaryWider { wider }, message))
}

/// Both versions write the same documents and fields: they must declare the same, and the new one's
/// migration must find nothing to do.
async fn check_data(
    core: &Core,
    actor: &Actor,
    (live, package): (&Enablement, Package),
    (grants, settings): (&Grants, &Value),
) -> Result<()> {
    let old = packages::find(core, &live.plugin, Some(&live.package_version)).await?;
    let (before, after) = (&old.manifest.0, &package.manifest.0);
    let version = package.version.clone();
    let fields = |manifest: &Manifest| -> Vec<Value> { manifest.fields.iter().map(without_label).collect() };
    let differs = if json!(before.collections) != json!(after.collections) {
        Some(format!("{version} declares other collections"))
    } else if fields(before) != fields(after) {
        Some(format!("{version} declares other fields"))
    } else {
        let switch = Switch {
            package,
            grants: grants.clone(),
            settings: settings.clone(),
            recording: RecordingRules::default(),
            from: Some(old.version),
            base: live.version,
            backfill: false,
            was_off: false,
            is_resumed: false,
        };
        core.plugins()?.migration_of(actor, switch).await?
    };
    match differs {
        None => Ok(()),
        Some(reason) => Err(Error::conflict(Reason::CanaryData { reason: reason.clone() }, reason)),
    }
}

/// How a field is called is no difference.
fn without_label(field: &Field) -> Value {
    let mut field = json!(field);
    if let Some(members) = field.as_object_mut() {
        members.shift_remove("label");
    }
    field
}

/// Changes whom a canary is for.
///
/// # Errors
/// `Forbidden`; `NotFound` if there never was one; `Invalid` for the share; `Refused` while the tenant's
/// calendar wants no upgrades; `canary_ended`.
pub async fn change(core: &Core, actor: &Actor, plugin: &str, patch: CanaryPatch) -> Result<CanaryView> {
    ops::require(actor, Permission::PluginWrite)?;
    let share = Share::of(patch.percent, patch.org_units)?;
    check_units(core, actor, &share).await?;
    let row = find_running(core, actor, plugin).await?;
    enablement::check_freeze(core, actor, plugin, Some(&row.live_version)).await?;
    let now = core.now();
    let changes = json!({ "share": share });
    let entry = Entry::new(&*core.ids, now, "plugin.canary_share", "plugin", plugin, changes);
    let state = (actor.clone(), plugin.to_owned(), share, entry, now);
    core.db
        .write(&actor.tenant, state, |tx, (actor, plugin, share, entry, now)| {
            Box::pin(async move {
                access::recheck(tx, actor, Permission::PluginWrite, *now).await?;
                if !canaries::set_share(tx, &actor.tenant, plugin, share).await? {
                    return Err(ended(plugin));
                }
                ops::audit::append(tx, actor, *now, entry).await
            })
        })
        .await?;
    core.plugins()?.versions_changed(&actor.tenant).await;
    find(core, actor, plugin).await
}

/// Gives the new version to everybody, with the settings that it has. Nothing of it is called: it has
/// nothing to migrate. The version before stays the way back.
///
/// # Errors
/// `Forbidden`; `NotFound` if there never was a canary; `canary_ended`; `Refused` while the tenant's
/// calendar wants no upgrades, and for a version that the operator has stopped; `canary_data` if there is
/// something to migrate by now.
pub async fn promote(core: &Core, actor: &Actor, plugin: &str) -> Result<Enablement> {
    ops::require(actor, Permission::PluginWrite)?;
    let row = find_running(core, actor, plugin).await?;
    let live = running(core, actor, plugin).await?;
    let package = packages::find(core, plugin, Some(&row.canary_version)).await?;
    trust::check_runs(core, &package).await?;
    enablement::check_freeze(core, actor, plugin, Some(&row.live_version)).await?;
    let manifest = package.manifest.0.clone();
    let CanaryRow { canary_version, grants, settings, .. } = row;
    check_data(core, actor, (&live, package), (&grants.0, &settings.0)).await?;
    let new = Previous { version: canary_version, grants, settings };
    enablement::point_to(core, actor, (live, new), (manifest, enablement::PROMOTE)).await?;
    enablement::find(core, actor, plugin).await
}

/// Ends a canary: every record meets the enabled version again, at once and whatever the calendar says.
/// What the new version has written stays.
///
/// # Errors
/// `Forbidden`; `NotFound` if there never was one.
pub async fn abort(core: &Core, actor: &Actor, plugin: &str) -> Result<CanaryView> {
    ops::require(actor, Permission::PluginWrite)?;
    find(core, actor, plugin).await?;
    let now = core.now();
    let entry = Entry::new(&*core.ids, now, "plugin.canary_abort", "plugin", plugin, json!({}));
    let state = (actor.clone(), plugin.to_owned(), entry, now);
    core.db
        .write(&actor.tenant, state, |tx, (actor, plugin, entry, now)| {
            Box::pin(async move {
                access::recheck(tx, actor, Permission::PluginWrite, *now).await?;
                if canaries::end(tx, &actor.tenant, plugin, ("aborted", *now)).await? {
                    ops::audit::append(tx, actor, *now, entry).await?;
                }
                Ok::<_, Error>(())
            })
        })
        .await?;
    core.plugins()?.versions_changed(&actor.tenant).await;
    find(core, actor, plugin).await
}

/// The last canary of a plugin.
///
/// # Errors
/// `Forbidden`; `NotFound` if there never was one.
pub async fn find(core: &Core, actor: &Actor, plugin: &str) -> Result<CanaryView> {
    find_row(core, actor, plugin).await.map(CanaryView::of)
}

async fn find_row(core: &Core, actor: &Actor, plugin: &str) -> Result<CanaryRow> {
    ops::require(actor, Permission::PluginRead)?;
    let mut reader = core.db.read(&actor.tenant).await?;
    let row = canaries::find(&mut reader, &actor.tenant, plugin).await?;
    row.ok_or_else(|| Error::not_found(RecordKind::Canary, plugin))
}

async fn find_running(core: &Core, actor: &Actor, plugin: &str) -> Result<CanaryRow> {
    let row = find_row(core, actor, plugin).await?;
    if row.state == "running" { Ok(row) } else { Err(ended(plugin)) }
}

/// There is a canary no longer.
pub(super) fn ended(plugin: &str) -> Error {
    Error::conflict(Reason::CanaryEnded, format!("no canary of `{plugin}` is running"))
}

/// Writes runs down, and ends the canary if its version fails too often, or `is_broken`: if it has failed
/// so often in a row that it is not called any more. Whether it goes on.
///
/// # Errors
/// Those of the database.
pub(crate) async fn count(
    core: &Core,
    (tenant, plugin): (&TenantId, &str),
    counted: Counted,
    is_broken: bool,
) -> Result<bool> {
    let now = core.now();
    let entry = Entry::new(&*core.ids, now, "plugin.canary_stop", "plugin", plugin, json!({}));
    let state = (Actor::server(tenant.clone()), plugin.to_owned(), (counted, is_broken), entry, now);
    let because = core.db.write(tenant, state, |tx, state| Box::pin(apply_count(tx, state))).await?;
    match because {
        Standing::Running => Ok(true),
        Standing::Over => Ok(false),
        Standing::Stopped(because) => {
            tracing::warn!(%tenant, plugin, because, "a canary has ended by itself");
            let plugin = plugin_label(plugin);
            metrics::counter!(PLUGIN_CANARY_STOPS, "plugin" => plugin, "reason" => because).increment(1);
            Ok(false)
        }
    }
}

/// What has become of a canary whose runs are written down.
#[derive(Clone, Copy)]
enum Standing {
    Running,
    /// It had ended before.
    Over,
    /// It has ended by this, for this reason.
    Stopped(&'static str),
}

type Counting = (Actor, String, (Counted, bool), Entry, Timestamp);

async fn apply_count(
    tx: &mut Tx,
    (actor, plugin, (counted, is_broken), entry, now): &Counting,
) -> Result<Standing> {
    let Some(sum) = canaries::count(tx, &actor.tenant, plugin, counted).await? else {
        return Ok(Standing::Over);
    };
    let because = if *is_broken {
        "breaker"
    } else if sum.is_failing() {
        "failures"
    } else {
        return Ok(Standing::Running);
    };
    canaries::end(tx, &actor.tenant, plugin, (because, *now)).await?;
    let mut entry = entry.clone();
    entry.changes = json!({
        "because": because, "runs": sum.runs, "failures": sum.failures, "error": counted.last_error,
    });
    ops::audit::append(tx, actor, *now, &entry).await?;
    Ok(Standing::Stopped(because))
}

/// Writes down what this server has counted; answers of how many canaries. What cannot be written is
/// counted on.
///
/// # Errors
/// Those of the database, of the last canary that had one.
pub async fn write_down(core: &Core) -> Result<u64> {
    let host = core.plugins()?;
    let (mut written, mut failed) = (0, None);
    for (tenant, plugin, counted) in host.take_canary_counts() {
        match count(core, (&tenant, &plugin), counted.clone(), false).await {
            Ok(true) => written += 1,
            Ok(false) => host.versions_changed(&tenant).await,
            Err(error) => {
                host.give_back_canary_counts(&tenant, &plugin, &counted);
                failed = Some(error);
            }
        }
    }
    failed.map_or(Ok(written), Err)
}
