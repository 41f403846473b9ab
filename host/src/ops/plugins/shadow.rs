//! Shadows: a version, or other settings, of a plugin run beside the enabled ones on live events and saves,
//! and their effects and answers are compared and discarded.
//!
//! Both begin from the same state of the tenant at every delivery, the one before it: the shadow never
//! builds on what it would have written itself. A save is not held up: there the shadow's hook is called a
//! little later, and what it reads may be newer.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{enablement, packages, trust};
use crate::clock::Timestamp;
use crate::db::plugins::{self, Enablement};
pub use crate::db::shadows::Difference;
use crate::db::shadows::{self, Delivery, ShadowRow};
use crate::domain::actor::Actor;
use crate::domain::audit::Entry;
use crate::domain::code::{FaultCode, Reason, RecordKind};
use crate::domain::grant::Granted;
use crate::domain::ids::TenantId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::parameters::GrantRequest;
use crate::domain::permission::Permission;
use crate::error::{Error, Result};
use crate::ops::{self, Core, access};

/// Differences that a report keeps; those beyond are only counted.
pub const DIFFERENCES_MAX: i64 = 10_000;
/// Hours that a shadow runs, unless its request says otherwise, and at most.
const HOURS_DEFAULT: u32 = 24;
const HOURS_MAX: u32 = 7 * 24;
/// Events that a shadow sees, unless its request says otherwise, and at most.
const EVENTS_DEFAULT: u32 = 10_000;
const EVENTS_MAX: u32 = 1_000_000;

/// What to run in the shadow of the enabled version.
#[derive(Clone, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewShadow {
    /// The version; the newest that is installed, if absent. May be the enabled one, to try settings.
    #[schema(max_length = 64)]
    pub version: Option<String>,
    /// What it may do, as for enabling; what the enabled version is granted, if absent.
    #[schema(max_items = 32)]
    pub grants: Option<Vec<GrantRequest>>,
    /// A JSON Merge Patch over the settings of the enabled version.
    #[schema(value_type = Option<Object>)]
    pub settings: Option<Value>,
    /// Hours until it ends by itself; 24 if absent.
    #[serde(default)]
    #[schema(value_type = u32, required = false, minimum = 1, maximum = 168)]
    pub hours: Option<u32>,
    /// Events until it ends by itself; 10,000 if absent. A delivery that has begun is compared to its end.
    #[serde(default)]
    #[schema(value_type = u32, required = false, minimum = 1, maximum = 1_000_000)]
    pub events: Option<u32>,
}

/// A version in the shadow of the enabled one, and what it has shown so far.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ShadowView {
    /// The plugin's name.
    pub plugin: String,
    /// The version in the shadow.
    pub shadow_version: String,
    /// The version that it is compared with.
    pub live_version: String,
    /// `running` or `ended`.
    pub state: String,
    /// Why it has ended: `stopped`, `time`, `events`, or `live_changed` when the tenant has changed
    /// the enabled version, its grants or its settings.
    pub ended_because: Option<String>,
    /// What it may do.
    pub grants: Vec<Granted>,
    /// Its settings.
    #[schema(value_type = Object)]
    pub settings: Value,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When it ends at the latest.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Timestamp,
    /// Events after which it ends.
    pub events_max: i64,
    /// Deliveries that were compared.
    pub deliveries: i64,
    /// Events in them.
    pub events: i64,
    /// Saves whose answer was compared: those that a hook of either version sees.
    pub saves: i64,
    /// Saves that were not compared, because more came than it could be called with.
    pub saves_left_out: i64,
    /// Deliveries and saves in which it failed, where the enabled version did not; nothing of it is compared
    /// there.
    pub failures: i64,
    /// Fuel that it has burnt; metered under the point `shadow`.
    pub fuel: i64,
    /// Differences that were found; the report keeps the first 10,000.
    pub differences: i64,
    /// Why it failed the last time, if it ever has.
    pub last_error: Option<String>,
}

impl ShadowView {
    fn of(row: ShadowRow, now: Timestamp) -> Self {
        let ShadowRow {
            plugin, shadow_version, live_version, state, ended_because, grants, settings, ..
        } = row;
        let ShadowRow { started_at, ends_at, events_max, deliveries, events, failures, .. } = row;
        let ShadowRow { saves, saves_left_out, fuel, differences, last_error, .. } = row;
        let is_over = state == "running" && now >= ends_at;
        Self {
            plugin,
            shadow_version,
            live_version,
            state: if is_over { "ended".to_owned() } else { state },
            ended_because: if is_over { Some("time".to_owned()) } else { ended_because },
            grants: grants.0.with_parameters().collect(),
            settings: settings.0,
            started_at,
            ends_at,
            events_max,
            deliveries,
            events,
            saves,
            saves_left_out,
            failures,
            fuel,
            differences,
            last_error,
        }
    }
}

/// Starts a shadow of an enabled plugin, in the place of the last one and its report.
///
/// # Errors
/// `Forbidden`; `NotFound` for a version that is not installed; `not_running` if the tenant does not
/// run the plugin; `Invalid` for grants and settings as for enabling; `Refused` for a version that the
/// operator has stopped.
pub async fn start(core: &Core, actor: &Actor, plugin: &str, new: NewShadow) -> Result<ShadowView> {
    ops::require(actor, Permission::PluginWrite)?;
    let NewShadow { version, grants, settings, hours, events } = new;
    let live = enablement::find(core, actor, plugin).await?;
    if live.state != "enabled" {
        return Err(Error::conflict(Reason::NotRunning, format!("`{plugin}` is not enabled")));
    }
    let package = packages::find(core, plugin, version.as_deref()).await?;
    trust::check_runs(core, &package).await?;
    let ends = Ends::of(hours, events)?;
    let known = (&live.grants.0, &live.settings.0);
    let (grants, settings) = enablement::settle(&package.manifest.0, known, grants, settings)?;
    let now = core.now();
    let row = ShadowRow {
        plugin: package.name,
        shadow_version: package.version,
        live_version: live.package_version.clone(),
        state: "running".to_owned(),
        ended_because: None,
        grants: crate::db::Json(grants),
        settings: crate::db::Json(settings),
        started_at: now,
        ends_at: now.plus_seconds(i64::from(ends.hours) * 60 * 60),
        events_max: ends.events.into(),
        deliveries: 0,
        events: 0,
        saves: 0,
        saves_left_out: 0,
        failures: 0,
        fuel: 0,
        differences: 0,
        last_error: None,
    };
    let changes = json!({
        "version": row.shadow_version, "live_version": row.live_version, "grants": row.grants.0,
        "settings": row.settings.0, "ends_at": row.ends_at, "events_max": row.events_max,
    });
    let entry = Entry::new(&*core.ids, now, "plugin.shadow_start", "plugin", plugin, changes);
    let state = (actor.clone(), live, row.clone(), entry, now);
    core.db.write(&actor.tenant, state, |tx, state| Box::pin(apply_start(tx, state))).await?;
    core.plugins()?.versions_changed(&actor.tenant).await;
    Ok(ShadowView::of(row, now))
}

async fn apply_start(
    tx: &mut crate::db::Tx,
    (actor, live, row, entry, now): &(Actor, Enablement, ShadowRow, Entry, Timestamp),
) -> Result<()> {
    access::recheck(tx, actor, Permission::PluginWrite, *now).await?;
    let version = plugins::find_enablement(tx, &actor.tenant, &row.plugin).await?.map(|found| found.version);
    ops::check_version(RecordKind::Enablement, &row.plugin, Some(live.version), version.unwrap_or_default())?;
    shadows::put(tx, &actor.tenant, row).await?;
    ops::audit::append(tx, actor, *now, entry).await
}

/// When a shadow ends by itself.
struct Ends {
    hours: u32,
    events: u32,
}

impl Ends {
    fn of(hours: Option<u32>, events: Option<u32>) -> Result<Self> {
        let ends = Self { hours: hours.unwrap_or(HOURS_DEFAULT), events: events.unwrap_or(EVENTS_DEFAULT) };
        let mut faults = crate::domain::check::Faults::default();
        for (pointer, value, most) in
            [("/hours", ends.hours, HOURS_MAX), ("/events", ends.events, EVENTS_MAX)]
        {
            if value == 0 {
                faults.plain(pointer, FaultCode::TooSmall { min: "1".to_owned() });
            } else if value > most {
                faults.plain(pointer, FaultCode::TooLarge { max: most.to_string() });
            }
        }
        faults.finish()?;
        Ok(ends)
    }
}

/// Ends a shadow that runs; its report stays until the next one.
///
/// # Errors
/// `Forbidden`; `NotFound` if none was ever started.
pub async fn stop(core: &Core, actor: &Actor, plugin: &str) -> Result<ShadowView> {
    ops::require(actor, Permission::PluginWrite)?;
    find(core, actor, plugin).await?;
    let now = core.now();
    let entry = Entry::new(&*core.ids, now, "plugin.shadow_stop", "plugin", plugin, json!({}));
    let state = (actor.clone(), plugin.to_owned(), entry, now);
    core.db
        .write(&actor.tenant, state, |tx, (actor, plugin, entry, now)| {
            Box::pin(async move {
                access::recheck(tx, actor, Permission::PluginWrite, *now).await?;
                if shadows::end(tx, &actor.tenant, plugin, "stopped").await? {
                    ops::audit::append(tx, actor, *now, entry).await?;
                }
                Ok::<_, Error>(())
            })
        })
        .await?;
    core.plugins()?.versions_changed(&actor.tenant).await;
    find(core, actor, plugin).await
}

/// The last shadow of a plugin.
///
/// # Errors
/// `Forbidden`; `NotFound` if none was ever started.
pub async fn find(core: &Core, actor: &Actor, plugin: &str) -> Result<ShadowView> {
    ops::require(actor, Permission::PluginRead)?;
    let mut reader = core.db.read(&actor.tenant).await?;
    let row = shadows::find(&mut reader, &actor.tenant, plugin).await?;
    let row = row.ok_or_else(|| Error::not_found(RecordKind::Shadow, plugin))?;
    Ok(ShadowView::of(row, core.now()))
}

/// A page of the differences that the last shadow has shown, in the order in which they were found.
///
/// # Errors
/// As for [`find`], and `Invalid` for a bad cursor. `Forbidden` without the right to change plugins:
/// a difference may show what they keep of any record.
pub async fn differences(
    core: &Core,
    actor: &Actor,
    plugin: &str,
    page: &PageRequest,
) -> Result<Page<Difference>> {
    ops::require(actor, Permission::PluginWrite)?;
    find(core, actor, plugin).await?;
    let after = page.after::<i64>()?.unwrap_or_default();
    let mut reader = core.db.read(&actor.tenant).await?;
    let rows = shadows::list(&mut reader, &actor.tenant, plugin, (after, page.fetch())).await?;
    Ok(Page::of(page, rows, |row| row.seq))
}

/// Keeps how a delivery, or some saves, went in the shadow; whether it goes on.
///
/// # Errors
/// Those of the database.
pub(crate) async fn keep(core: &Core, tenant: &TenantId, plugin: &str, delivery: Delivery) -> Result<bool> {
    let state = (tenant.clone(), plugin.to_owned(), delivery);
    core.db
        .write(tenant, state, |tx, (tenant, plugin, delivery)| {
            Box::pin(shadows::count(tx, tenant, plugin, (delivery, DIFFERENCES_MAX)))
        })
        .await
}
