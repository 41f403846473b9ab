//! `hospes plugin check`: what a host would say of a plugin, for people and for machines.

use std::path::Path;

use serde::Serialize;
use serde_json::json;

use super::super::output::{Failure, Outcome, say};
use super::build::Crate;
use crate::domain::actor::Locale;
use crate::domain::manifest::{Manifest, Texts, Tier};
use crate::error::{Error, Fault};
use crate::files;
use crate::ops::plugins::Inspected;
use crate::plugin;

/// Above this many bytes a component is compiled slowly enough to be worth a word.
const SIZE_BYTES_ADVISED: usize = 1 << 20;

/// Checks a component, or a crate that is compiled first.
pub(super) fn run(path: &Path, as_json: bool) -> Outcome {
    let is_component = path.extension().is_some_and(|extension| extension == "wasm");
    let component = if is_component {
        files::read(path, files::COMPONENT_BYTES_MAX)?
    } else {
        Crate::find(path)?.compile(hospes_plugin_build::Speed::Release)?
    };
    match plugin::inspect(&component) {
        Ok(found) => {
            let report = Report::of(&found, component.len());
            if as_json {
                say(serde_json::to_string_pretty(&report).map_err(Failure::failed)?)
            } else {
                report.tell()
            }
        }
        Err(Error::Invalid { faults }) if as_json => {
            let faults: Vec<_> = faults.iter().map(shown).collect();
            say(format_args!("{:#}", json!({ "accepted": false, "faults": faults })))?;
            Err(Failure::failed("a host would refuse this plugin"))
        }
        Err(error) => Err(error.into()),
    }
}

fn shown(fault: &Fault) -> serde_json::Value {
    json!({ "pointer": fault.pointer, "code": fault.code, "message": fault.message })
}

/// What a host takes.
#[derive(Serialize)]
struct Report<'a> {
    accepted: bool,
    name: &'a str,
    version: &'a str,
    publisher: &'a str,
    digest: &'a str,
    size: usize,
    size_max: usize,
    grants: Vec<Right<'a>>,
    imports: &'a [String],
    exports: &'a [String],
    warnings: Vec<String>,
}

/// A grant that it asks for.
#[derive(Serialize)]
struct Right<'a> {
    name: String,
    reason: &'a Texts,
}

impl<'a> Report<'a> {
    fn of(found: &'a Inspected, size: usize) -> Self {
        let Inspected { digest, manifest, imports, exports } = found;
        let right = |wanted: &'a crate::domain::manifest::WantedGrant| Right {
            name: wanted.name.to_string(),
            reason: &wanted.reason,
        };
        Self {
            accepted: true,
            name: &manifest.name,
            version: &manifest.version,
            publisher: &manifest.publisher,
            digest,
            size,
            size_max: plugin::component_bytes_max(manifest.tier),
            grants: manifest.grants.iter().map(right).collect(),
            imports,
            exports,
            warnings: warnings(manifest, size),
        }
    }

    fn tell(&self) -> Outcome {
        let Self { accepted: _, name, version, publisher, digest, size, size_max, .. } = self;
        say(format_args!("a host takes {name} {version} by {publisher}"))?;
        say(format_args!("{size} bytes of {size_max}, SHA-256 {digest}"))?;
        say("asks for:")?;
        for right in &self.grants {
            let (en, zh) = (right.reason.get(Locale::En), right.reason.get(Locale::ZhCn));
            say(format_args!("  {:<18} {en} {zh}", right.name))?;
        }
        say("can call, and nothing else:")?;
        self.imports.iter().try_for_each(|import| say(format_args!("  {import}")))?;
        say("is called at:")?;
        self.exports.iter().try_for_each(|export| say(format_args!("  {export}")))?;
        self.warnings.iter().try_for_each(|warning| say(format_args!("warning: {warning}")))
    }
}

/// What a host takes, and people should look at again.
fn warnings(manifest: &Manifest, size: usize) -> Vec<String> {
    let mut found = Vec::new();
    for (place, texts) in texts(manifest) {
        let chinese = texts.get(Locale::ZhCn);
        let has_han = chinese.chars().any(|letter| ('\u{3400}'..='\u{9fff}').contains(&letter));
        if chinese == texts.get(Locale::En) && !has_han {
            found.push(format!("{place} says the same in both languages: `{chinese}`"));
        }
    }
    if manifest.tier == Tier::Compiled && size > SIZE_BYTES_ADVISED {
        found.push(format!(
            "{size} bytes are much for a plugin; look for large dependencies with `cargo tree`"
        ));
    }
    found
}

/// Every text that people read, with its place in the manifest.
fn texts(manifest: &Manifest) -> Vec<(String, &Texts)> {
    let mut all = vec![("/description".to_owned(), &manifest.description)];
    let grants = manifest.grants.iter().map(|one| ("grants", "reason", &one.reason));
    let fields = manifest.fields.iter().map(|one| ("fields", "label", &one.label));
    let actions = manifest.actions.iter().map(|one| ("actions", "title", &one.title));
    let panels = manifest.panels.iter().map(|one| ("panels", "title", &one.title));
    let scoring = manifest.scoring.iter().map(|one| ("scoring", "title", &one.title));
    let routes = manifest.routes.iter().map(|one| ("routes", "summary", &one.summary));
    let steps = manifest.steps.iter().map(|one| ("steps", "title", &one.title));
    let functions = manifest.functions.iter().map(|one| ("functions", "title", &one.title));
    let lists: [Vec<_>; 8] = [
        grants.collect(),
        fields.collect(),
        actions.collect(),
        panels.collect(),
        scoring.collect(),
        routes.collect(),
        steps.collect(),
        functions.collect(),
    ];
    for list in lists {
        let places = list.into_iter().enumerate();
        all.extend(places.map(|(at, (list, member, texts))| (format!("/{list}/{at}/{member}"), texts)));
    }
    all
}
