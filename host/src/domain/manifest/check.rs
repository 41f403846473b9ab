//! What the manifest's schema cannot say: names that occur twice, schemas that are
//! none, and sections that do not fit together.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{Manifest, Schedule, Tier};
use crate::domain::check::Faults;
use crate::domain::code::FaultCode;
use crate::domain::point::Point;
use crate::domain::schedule;
use crate::domain::schema::Schema;
use crate::error::Fault;

/// Everything that is wrong with a manifest that its schema has let through.
pub(super) fn faults(manifest: &Manifest) -> Vec<Fault> {
    let mut faults = Vec::new();
    check_names(manifest, &mut faults);
    check_schemas(manifest, &mut faults);
    check_jobs(manifest, &mut faults);
    check_routes(manifest, &mut faults);
    check_points(manifest, &mut faults);
    check_grants(manifest, &mut faults);
    faults
}

fn check_names(manifest: &Manifest, faults: &mut Vec<Fault>) {
    let mut unique = |list: &str, member: &str, names: &mut dyn Iterator<Item = &str>| {
        let mut seen = HashSet::new();
        for (position, name) in names.enumerate() {
            if !seen.insert(name.to_owned()) {
                let message = format!("`{name}` is declared twice");
                faults.push(Fault::new(
                    format!("/{list}/{position}/{member}"),
                    FaultCode::NotUnique,
                    message,
                ));
            }
        }
    };
    unique("grants", "name", &mut manifest.grants.iter().map(|grant| grant.name.as_str()));
    unique("hooks", "entity", &mut manifest.hooks.iter().map(|hook| hook.entity.as_str()));
    unique("collections", "name", &mut manifest.collections.iter().map(|one| one.name.as_str()));
    let fields = manifest.fields.iter().map(|field| format!("{}.{}", field.entity.as_str(), field.name));
    unique("fields", "name", &mut fields.collect::<Vec<_>>().iter().map(String::as_str));
    unique("actions", "name", &mut manifest.actions.iter().map(|action| action.name.as_str()));
    unique("panels", "slot", &mut manifest.panels.iter().map(|panel| panel.slot.as_str()));
    unique("jobs", "name", &mut manifest.jobs.iter().map(|job| job.name.as_str()));
    unique("scoring", "name", &mut manifest.scoring.iter().map(|one| one.name.as_str()));
    unique("steps", "name", &mut manifest.steps.iter().map(|step| step.name.as_str()));
    unique("functions", "name", &mut manifest.functions.iter().map(|one| one.name.as_str()));
    for (position, collection) in manifest.collections.iter().enumerate() {
        let list = format!("collections/{position}/indexes");
        unique(&list, "name", &mut collection.indexes.iter().map(|index| index.name.as_str()));
    }
    for (position, scoring) in manifest.scoring.iter().enumerate() {
        let list = |what: &str| format!("scoring/{position}/{what}");
        unique(&list("columns"), "name", &mut scoring.columns.iter().map(|one| one.name.as_str()));
        unique(&list("reasons"), "name", &mut scoring.reasons.iter().map(|one| one.name.as_str()));
    }
}

fn check_schemas(manifest: &Manifest, faults: &mut Vec<Fault>) {
    for (pointer, schema) in schemas(manifest) {
        if let Err(reason) = Schema::compile(schema) {
            faults.push(Fault::plain(pointer, FaultCode::NotASchema { reason }));
        }
    }
}

/// Every JSON Schema of a manifest, with its place.
fn schemas(manifest: &Manifest) -> Vec<(String, &Value)> {
    let mut all = vec![("/settings/schema".to_owned(), &manifest.settings.schema)];
    for (position, action) in manifest.actions.iter().enumerate() {
        all.push((format!("/actions/{position}/input"), &action.input));
    }
    for (position, route) in manifest.routes.iter().enumerate() {
        let place = |what: &str| format!("/routes/{position}/{what}");
        all.extend(route.input.as_ref().map(|schema| (place("input"), schema)));
        all.extend(route.output.as_ref().map(|schema| (place("output"), schema)));
    }
    for (position, step) in manifest.steps.iter().enumerate() {
        all.push((format!("/steps/{position}/input"), &step.input));
        all.push((format!("/steps/{position}/output"), &step.output));
    }
    for (position, function) in manifest.functions.iter().enumerate() {
        all.push((format!("/functions/{position}/input"), &function.input));
        all.push((format!("/functions/{position}/output"), &function.output));
    }
    all
}

fn check_jobs(manifest: &Manifest, faults: &mut Vec<Fault>) {
    for (position, job) in manifest.jobs.iter().enumerate() {
        let Schedule::Cron(expression) = &job.schedule else { continue };
        if let Err(reason) = schedule::check_cron(expression) {
            let code = FaultCode::Cron { reason: reason.to_string() };
            faults.push(Fault::plain(format!("/jobs/{position}/schedule/cron"), code));
        }
    }
}

fn check_routes(manifest: &Manifest, faults: &mut Vec<Fault>) {
    let mut shapes = HashSet::new();
    let mut paths = HashMap::new();
    for (position, route) in manifest.routes.iter().enumerate() {
        let place = |what: &str| format!("/routes/{position}/{what}");
        if !shapes.insert((route.method, route.shape())) {
            let message = format!("`{} {}` is declared twice", route.method.as_str(), route.path);
            faults.push(Fault::new(place("path"), FaultCode::NotUnique, message));
        }
        // The API description knows a path by its text, whatever the method.
        let first = *paths.entry(route.shape()).or_insert(route.path.as_str());
        if first != route.path {
            faults.push(Fault::plain(place("path"), FaultCode::OtherNames { path: first.to_owned() }));
        }
        let mut names = HashSet::new();
        if let Some(name) = route.params().find(|name| !names.insert(*name)) {
            faults.push(Fault::new(
                place("path"),
                FaultCode::NotUnique,
                format!("`{{{name}}}` occurs twice"),
            ));
        }
        if route.input.is_some() && !route.method.has_body() {
            let method = route.method.as_str().to_owned();
            faults.push(Fault::plain(place("input"), FaultCode::NoBody { method }));
        }
    }
}

fn check_grants(manifest: &Manifest, faults: &mut Vec<Fault>) {
    let mut wrong = Faults::default();
    manifest.asked(&mut wrong);
    faults.append(&mut wrong.into_vec());
}

/// Budgets and failure modes belong to extension points that are declared; a save waits for no interpreter.
fn check_points(manifest: &Manifest, faults: &mut Vec<Fault>) {
    if manifest.tier == Tier::Interpreter && !manifest.hooks.is_empty() {
        faults.push(Fault::plain("/hooks", FaultCode::NotForInterpreters));
    }
    let budgets = manifest.budgets.keys().map(|point| ("budgets", *point));
    let failures = manifest.failure.keys().map(|point| ("failure", *point));
    for (section, point) in budgets.chain(failures) {
        if point != Point::Lifecycle && !manifest.declares(point) {
            let code = FaultCode::Idle { point: point.to_string() };
            faults.push(Fault::plain(format!("/{section}/{point}"), code));
        }
    }
}
