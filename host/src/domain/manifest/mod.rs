//! What a plugin says of itself: `plugin.toml`, described in `wit/MANIFEST.md`.

mod check;
mod package;
mod points;
mod records;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::check::Faults;
use super::code::FaultCode;
use super::grant::Grants;
use super::point::Point;
use super::schema::Schema;
use crate::error::Fault;

pub use package::{
    BudgetWish, ByPoint, Component, Failure, FailureMode, Sbom, Settings, Texts, Tier, WantedGrant,
};
pub use points::{
    Action, CatchUp, Column, ColumnSource, Events, Function, Hook, Job, Method, OnFailure, OrderFact,
    PanelSlot, Reason, Route, Schedule, Scoring, Step, param_of,
};
pub use records::{Collection, EntityKind, Field, Index, ScalarType, SubjectKind};

/// The largest manifest, in bytes.
pub const MANIFEST_BYTES_MAX: usize = 256 * 1_024;

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let source = serde_json::from_str(include_str!("schema.json")).expect("checked by a test");
    Schema::compile(&source).expect("checked by a test")
});

/// A whole manifest, valid by construction when it comes from [`Manifest::parse`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// The plugin's name, unique in a host.
    pub name: String,
    /// Its semantic version.
    pub version: String,
    /// Who publishes it.
    pub publisher: String,
    /// An SPDX licence expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// How its code runs.
    #[serde(default, skip_serializing_if = "Tier::is_default")]
    pub tier: Tier,
    /// What it does.
    pub description: Texts,
    /// What it is built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sbom: Option<Sbom>,
    /// What it asks for.
    #[serde(default)]
    pub grants: Vec<WantedGrant>,
    /// What it listens to.
    #[serde(default)]
    pub events: Events,
    /// Saves that it sees first.
    #[serde(default)]
    pub hooks: Vec<Hook>,
    /// Its own documents.
    #[serde(default)]
    pub collections: Vec<Collection>,
    /// Its fields on core records.
    #[serde(default)]
    pub fields: Vec<Field>,
    /// Its settings.
    #[serde(default)]
    pub settings: Settings,
    /// Its buttons.
    #[serde(default)]
    pub actions: Vec<Action>,
    /// The slots that it fills.
    #[serde(default)]
    pub panels: Vec<PanelSlot>,
    /// Its scheduled work.
    #[serde(default)]
    pub jobs: Vec<Job>,
    /// Its scores.
    #[serde(default)]
    pub scoring: Vec<Scoring>,
    /// Its REST endpoints.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Its types of workflow steps.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// What other plugins may call.
    #[serde(default)]
    pub functions: Vec<Function>,
    /// What it wishes to be allowed to use.
    #[serde(default)]
    pub budgets: ByPoint<BudgetWish>,
    /// What becomes of callers when it fails.
    #[serde(default)]
    pub failure: ByPoint<Failure>,
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// Every fault at once, with JSON pointers into the file.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        if text.len() > MANIFEST_BYTES_MAX {
            return Err(vec![Fault::plain("", FaultCode::too_many_bytes(MANIFEST_BYTES_MAX))]);
        }
        let unreadable = |reason: String| vec![Fault::plain("", FaultCode::NotToml { reason })];
        let table: toml::Table = toml::from_str(text).map_err(|error| unreadable(error.to_string()))?;
        let value = serde_json::to_value(table).map_err(|error| unreadable(error.to_string()))?;
        let faults = SCHEMA.faults("", &value);
        if !faults.is_empty() {
            return Err(faults);
        }
        let manifest: Self = serde_json::from_value(value).map_err(|error| unreadable(error.to_string()))?;
        let faults = check::faults(&manifest);
        if faults.is_empty() { Ok(manifest) } else { Err(faults) }
    }

    /// The grants that it asks for, with their parameters.
    #[must_use]
    pub fn wanted(&self) -> Grants {
        self.asked(&mut Faults::default())
    }

    fn asked(&self, faults: &mut Faults) -> Grants {
        let mut asked = Grants::default();
        for (position, WantedGrant { name, parameters, .. }) in self.grants.iter().enumerate() {
            let pointer = format!("/grants/{position}/parameters");
            asked.insert(*name, parameters.clone().asked(*name, &pointer, faults));
        }
        asked
    }

    /// The collection of this name.
    #[must_use]
    pub fn collection(&self, name: &str) -> Option<&Collection> {
        self.collections.iter().find(|collection| collection.name == name)
    }

    /// The action of this name.
    #[must_use]
    pub fn action(&self, name: &str) -> Option<&Action> {
        self.actions.iter().find(|action| action.name == name)
    }

    /// Whether it declares anything at an extension point; every plugin may have
    /// a lifecycle without a word.
    #[must_use]
    pub fn declares(&self, point: Point) -> bool {
        !match point {
            Point::Lifecycle => false,
            Point::Events => self.events.subscribe.is_empty(),
            Point::Hooks => self.hooks.is_empty(),
            Point::Actions => self.actions.is_empty(),
            Point::Panels => self.panels.is_empty(),
            Point::Jobs => self.jobs.is_empty(),
            Point::Scoring => self.scoring.is_empty(),
            Point::Routes => self.routes.is_empty(),
            Point::Steps => self.steps.is_empty(),
            Point::Functions => self.functions.is_empty(),
        }
    }
}
