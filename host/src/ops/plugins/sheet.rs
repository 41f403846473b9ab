//! The install sheet: what a tenant must know before it enables a plugin, derived from the bytes and
//! the manifest, for machines and for people.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::domain::contract::{event_grant, import_grant};
use crate::domain::field_class::FieldClass;
use crate::domain::grant::{Grant, Granted};
use crate::domain::manifest::{
    Action, Collection, ColumnSource, EntityKind, Field, Hook, Job, Manifest, Method, OnFailure, PanelSlot,
    Route, Sbom, ScalarType, Schedule, Scoring, SubjectKind, Texts, Tier,
};
use crate::domain::permission::Role;

/// Everything that a plugin asks for, does and keeps.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct InstallSheet {
    /// The plugin's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Who publishes it.
    pub publisher: String,
    /// How its code runs: `compiled`, or `interpreter`, which is slower.
    #[schema(value_type = String)]
    pub tier: Tier,
    /// What it does.
    pub description: Texts,
    /// Its licence, an SPDX expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// What it asks for.
    pub grants: Vec<SheetGrant>,
    /// Host functions that its bytes import: all that it can ever call.
    pub imports: Vec<String>,
    /// Extension points that its bytes export: all places where it is called.
    pub exports: Vec<String>,
    /// Events that it is told of.
    pub events: Vec<String>,
    /// Saves that it sees first.
    pub hooks: Vec<SheetHook>,
    /// Hosts that it can reach.
    pub hosts: Vec<String>,
    /// Fields that it adds.
    pub fields: Vec<SheetField>,
    /// Buttons that it adds.
    pub actions: Vec<SheetAction>,
    /// Slots that it fills.
    pub panels: Vec<SheetPanel>,
    /// REST endpoints that it adds.
    pub routes: Vec<SheetRoute>,
    /// Scores that it computes.
    pub scoring: Vec<SheetScoring>,
    /// Types of workflow steps that it adds.
    pub steps: Vec<SheetNamed>,
    /// Functions that it offers to other plugins.
    pub functions: Vec<SheetNamed>,
    /// Its scheduled work.
    pub schedules: Vec<SheetSchedule>,
    /// What it keeps.
    pub data: SheetData,
    /// What it is built from; absent if it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sbom: Option<Sbom>,
}

/// A grant that a plugin asks for.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SheetGrant {
    /// The grant and how far it goes.
    #[serde(flatten)]
    pub grant: Granted,
    /// Why.
    pub reason: Texts,
    /// The functions, events and hooks that it opens.
    pub opens: Vec<String>,
}

/// A hook.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SheetHook {
    /// Whose save.
    #[schema(value_type = String)]
    pub entity: EntityKind,
    /// What its failure does to the save.
    #[schema(value_type = String)]
    pub on_failure: OnFailure,
}

/// A field.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SheetField {
    /// On which record.
    #[schema(value_type = String)]
    pub entity: EntityKind,
    /// `plugin.field`.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ScalarType,
    /// How close it is to a person.
    pub class: FieldClass,
    /// What people read.
    pub label: Texts,
    /// Who may read it beside owners and admins; whoever may read the record, if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
}

/// A button.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SheetAction {
    /// Its name.
    pub name: String,
    /// On which record.
    #[schema(value_type = String)]
    pub entity: EntityKind,
    /// What people read.
    pub title: Texts,
    /// Who may press it.
    pub roles: Vec<Role>,
}

/// A slot.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SheetPanel {
    /// The slot.
    #[schema(value_type = String)]
    pub slot: EntityKind,
    /// What people read above it.
    pub title: Texts,
}

/// A REST endpoint.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SheetRoute {
    /// Its method.
    #[schema(value_type = String)]
    pub method: Method,
    /// Its path below the plugin's prefix.
    pub path: String,
    /// What people read.
    pub summary: Texts,
    /// Who may call it.
    pub roles: Vec<Role>,
}

/// Scores of records.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SheetScoring {
    /// Its name.
    pub name: String,
    /// What people read.
    pub title: Texts,
    /// What it is computed from.
    pub columns: Vec<String>,
}

/// Something with a name and a title.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SheetNamed {
    /// Its name.
    pub name: String,
    /// What people read.
    pub title: Texts,
}

/// Scheduled work.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SheetSchedule {
    /// Its name.
    pub name: String,
    /// When it runs, in the tenant's time zone.
    #[schema(value_type = Object)]
    pub schedule: Schedule,
}

/// What a plugin keeps.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SheetData {
    /// Collections of documents.
    pub collections: Vec<SheetCollection>,
    /// Whether it keeps small values of the tenant.
    pub small_values: bool,
    /// Whether it keeps files.
    pub files: bool,
    /// Whether it adds entries to timelines.
    pub timeline_entries: bool,
}

/// A collection.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SheetCollection {
    /// Its name.
    pub name: String,
    /// What its documents belong to; they go with it.
    #[schema(value_type = String)]
    pub subject: SubjectKind,
}

impl InstallSheet {
    /// The sheet of a package.
    #[must_use]
    pub fn of(manifest: &Manifest, imports: &[String], exports: &[String]) -> Self {
        let Manifest {
            name,
            version,
            publisher,
            tier,
            description,
            grants: _,
            license,
            sbom,
            events,
            hooks,
            collections,
            fields,
            settings: _,
            actions,
            panels,
            jobs,
            scoring,
            routes,
            steps,
            functions,
            budgets: _,
            failure: _,
        } = manifest;
        let wanted = manifest.wanted();
        let hosts = wanted.with_parameters().flat_map(|granted| granted.parameters.hosts);
        let hosts = hosts.collect::<BTreeSet<_>>();
        Self {
            name: name.clone(),
            version: version.clone(),
            publisher: publisher.clone(),
            tier: *tier,
            description: description.clone(),
            license: license.clone(),
            grants: grants_of(manifest, imports),
            imports: imports.to_vec(),
            exports: exports.to_vec(),
            events: events.subscribe.clone(),
            hooks: hooks.iter().map(SheetHook::from).collect(),
            hosts: hosts.into_iter().collect(),
            fields: fields.iter().map(|field| SheetField::of(name, field)).collect(),
            actions: actions.iter().map(SheetAction::from).collect(),
            panels: panels.iter().map(SheetPanel::from).collect(),
            routes: routes.iter().map(SheetRoute::from).collect(),
            scoring: scoring.iter().map(SheetScoring::from).collect(),
            steps: steps.iter().map(|step| SheetNamed::of(&step.name, &step.title)).collect(),
            functions: functions.iter().map(|one| SheetNamed::of(&one.name, &one.title)).collect(),
            schedules: jobs.iter().map(SheetSchedule::from).collect(),
            data: SheetData {
                collections: collections.iter().map(SheetCollection::from).collect(),
                small_values: wanted.has(Grant::KvOwn),
                files: wanted.has(Grant::FilesOwn),
                timeline_entries: wanted.has(Grant::TimelineWrite),
            },
            sbom: sbom.clone(),
        }
    }
}

impl From<&Hook> for SheetHook {
    fn from(hook: &Hook) -> Self {
        let Hook { entity, on_failure } = *hook;
        Self { entity, on_failure }
    }
}

impl SheetField {
    fn of(plugin: &str, field: &Field) -> Self {
        let Field { entity, name, kind, label, class, roles } = field;
        let name = format!("{plugin}.{name}");
        let (label, roles) = (label.clone(), roles.clone());
        Self { entity: *entity, name, kind: *kind, class: *class, label, roles }
    }
}

impl From<&Action> for SheetAction {
    fn from(action: &Action) -> Self {
        let Action { name, entity, title, roles, input: _ } = action;
        Self { name: name.clone(), entity: *entity, title: title.clone(), roles: roles.clone() }
    }
}

impl From<&PanelSlot> for SheetPanel {
    fn from(panel: &PanelSlot) -> Self {
        let PanelSlot { slot, title } = panel;
        Self { slot: *slot, title: title.clone() }
    }
}

impl From<&Route> for SheetRoute {
    fn from(route: &Route) -> Self {
        let Route { method, path, roles, summary, query: _, input: _, output: _ } = route;
        Self { method: *method, path: path.clone(), summary: summary.clone(), roles: roles.clone() }
    }
}

impl From<&Scoring> for SheetScoring {
    fn from(scoring: &Scoring) -> Self {
        let columns = scoring.columns.iter().map(|column| match &column.source {
            ColumnSource::Pointer(pointer) => pointer.clone(),
            ColumnSource::Field(field) => field.clone(),
            ColumnSource::Orders(fact) => format!("orders.{}", fact.as_str()),
        });
        Self { name: scoring.name.clone(), title: scoring.title.clone(), columns: columns.collect() }
    }
}

impl SheetNamed {
    fn of(name: &str, title: &Texts) -> Self {
        Self { name: name.to_owned(), title: title.clone() }
    }
}

impl From<&Job> for SheetSchedule {
    fn from(job: &Job) -> Self {
        Self { name: job.name.clone(), schedule: job.schedule.clone() }
    }
}

impl From<&Collection> for SheetCollection {
    fn from(collection: &Collection) -> Self {
        Self { name: collection.name.clone(), subject: collection.subject }
    }
}

fn grants_of(manifest: &Manifest, imports: &[String]) -> Vec<SheetGrant> {
    let wanted = manifest.wanted();
    let grants = manifest.grants.iter().filter_map(|asked| {
        let parameters = wanted.parameters(asked.name)?.clone();
        Some(SheetGrant {
            grant: Granted { name: asked.name, parameters },
            reason: asked.reason.clone(),
            opens: opens(manifest, imports, asked.name),
        })
    });
    grants.collect()
}

/// What a grant opens to this plugin, as far as its bytes and manifest go.
pub(super) fn opens(manifest: &Manifest, imports: &[String], grant: Grant) -> Vec<String> {
    let imports = imports.iter().filter(|import| {
        import.split_once('.').and_then(|(interface, function)| import_grant(interface, function))
            == Some(grant)
    });
    let events = manifest.events.subscribe.iter().filter(|event| event_grant(event) == Some(grant));
    let hooks = manifest.hooks.iter().filter(|hook| hook.entity.hook_grant() == grant);
    let hooks = hooks.map(|hook| format!("hook on {}", hook.entity.as_str()));
    imports.cloned().chain(events.map(|event| format!("event {event}"))).chain(hooks).collect()
}
