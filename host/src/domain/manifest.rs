//! What a plugin says of itself: `plugin.toml`, described in `wit/MANIFEST.md`.

use std::collections::HashSet;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::actor::Locale;
use super::grant::{Grant, Grants};
use super::permission::Role;
use super::schema::Schema;
use crate::error::Fault;

/// The largest manifest, in bytes.
pub const MANIFEST_BYTES_MAX: usize = 256 * 1_024;

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let source = serde_json::from_str(include_str!("manifest.schema.json")).expect("checked by a test");
    Schema::compile(&source).expect("checked by a test")
});

/// A text in the two languages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Texts {
    /// English.
    pub en: String,
    /// Simplified Chinese.
    #[serde(rename = "zh-CN")]
    pub zh_cn: String,
}

impl Texts {
    /// The text in `locale`.
    #[must_use]
    pub fn get(&self, locale: Locale) -> &str {
        match locale {
            Locale::En => &self.en,
            Locale::ZhCn => &self.zh_cn,
        }
    }
}

/// A grant that a plugin asks for, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WantedGrant {
    /// The grant.
    pub name: Grant,
    /// Why.
    pub reason: Texts,
}

/// What a failing hook does to the save.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It stops the save.
    Refuse,
    /// It lets the save through.
    Allow,
}

/// A core record that plugins work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntityKind {
    /// A customer.
    Customer,
    /// An order.
    Order,
}

impl EntityKind {
    /// The name in manifests and paths.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Order => "order",
        }
    }

    /// The grant without which a plugin's hook on it is not called.
    #[must_use]
    pub const fn hook_grant(self) -> Grant {
        match self {
            Self::Customer => Grant::HooksCustomer,
            Self::Order => Grant::HooksOrder,
        }
    }
}

/// A hook before a save.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Hook {
    /// Whose save.
    pub entity: EntityKind,
    /// What happens if it fails.
    pub on_failure: OnFailure,
}

/// The type of an indexed value or a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScalarType {
    /// Text, at most 1 KiB.
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// A finite floating-point number.
    Number,
    /// True or false.
    Boolean,
    /// A time.
    Time,
}

/// What the documents of a collection belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    /// A customer.
    Customer,
    /// An order.
    Order,
    /// The tenant.
    Tenant,
}

impl SubjectKind {
    /// The name in manifests and rows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Order => "order",
            Self::Tenant => "tenant",
        }
    }
}

/// An index of a collection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Where its value stands in a document.
    pub pointer: String,
    /// The value's type.
    #[serde(rename = "type")]
    pub kind: ScalarType,
}

/// A collection of documents.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Collection {
    /// Its name.
    pub name: String,
    /// What its documents belong to.
    pub subject: SubjectKind,
    /// What queries may ask by.
    #[serde(default)]
    pub indexes: Vec<Index>,
}

/// A field on a core record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Field {
    /// On which record.
    pub entity: EntityKind,
    /// Its name, without the plugin's.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ScalarType,
    /// What people read.
    pub label: Texts,
}

/// A button on a record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Action {
    /// Its name.
    pub name: String,
    /// On which record.
    pub entity: EntityKind,
    /// What people read.
    pub title: Texts,
    /// Who may press it.
    pub roles: Vec<Role>,
    /// JSON Schema of its input.
    pub input: Value,
}

/// A slot that a plugin fills.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PanelSlot {
    /// The slot.
    pub slot: EntityKind,
    /// What people read above it.
    pub title: Texts,
}

/// When a job runs, in the tenant's time zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Once a day at `HH:MM`.
    Daily(String),
    /// Every so many minutes.
    EveryMinutes(u32),
}

/// Work on a schedule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// When it runs.
    pub schedule: Schedule,
}

/// Events that a plugin handles.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Events {
    /// Their names.
    pub subscribe: Vec<String>,
}

/// The settings of a plugin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// JSON Schema (2020-12).
    pub schema: Value,
}

impl Default for Settings {
    fn default() -> Self {
        Self { schema: serde_json::json!({ "type": "object", "additionalProperties": false }) }
    }
}

/// A whole manifest, valid by construction when it comes from [`Manifest::parse`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// The plugin's name, unique in a host.
    pub name: String,
    /// Its semantic version.
    pub version: String,
    /// Who publishes it.
    pub publisher: String,
    /// What it does.
    pub description: Texts,
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
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// Every fault at once, with JSON pointers into the file.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        if text.len() > MANIFEST_BYTES_MAX {
            let message = format!("the manifest is larger than {} KiB", MANIFEST_BYTES_MAX / 1_024);
            return Err(vec![Fault::new("", "too_long", message)]);
        }
        let table: toml::Table =
            toml::from_str(text).map_err(|error| vec![Fault::new("", "not_toml", error.to_string())])?;
        let value = serde_json::to_value(table)
            .map_err(|error| vec![Fault::new("", "not_json", error.to_string())])?;
        let faults = SCHEMA.faults("", &value);
        if !faults.is_empty() {
            return Err(faults);
        }
        let manifest: Self = serde_json::from_value(value)
            .map_err(|error| vec![Fault::new("", "invalid", error.to_string())])?;
        let faults = manifest.faults();
        if faults.is_empty() { Ok(manifest) } else { Err(faults) }
    }

    /// The grants that it asks for.
    #[must_use]
    pub fn wanted(&self) -> Grants {
        self.grants.iter().map(|grant| grant.name).collect()
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

    /// What the schema cannot say: names that occur twice, and schemas that are none.
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut unique = |list: &str, member: &str, names: &mut dyn Iterator<Item = &str>| {
            let mut seen = HashSet::new();
            for (position, name) in names.enumerate() {
                if !seen.insert(name.to_owned()) {
                    let message = format!("`{name}` is declared twice");
                    faults.push(Fault::new(format!("/{list}/{position}/{member}"), "duplicate", message));
                }
            }
        };
        unique("grants", "name", &mut self.grants.iter().map(|grant| grant.name.as_str()));
        unique("hooks", "entity", &mut self.hooks.iter().map(|hook| hook.entity.as_str()));
        unique("collections", "name", &mut self.collections.iter().map(|one| one.name.as_str()));
        unique("fields", "name", &mut self.fields.iter().map(|field| field.name.as_str()));
        unique("actions", "name", &mut self.actions.iter().map(|action| action.name.as_str()));
        unique("panels", "slot", &mut self.panels.iter().map(|panel| panel.slot.as_str()));
        unique("jobs", "name", &mut self.jobs.iter().map(|job| job.name.as_str()));
        for (position, collection) in self.collections.iter().enumerate() {
            let list = format!("collections/{position}/indexes");
            unique(&list, "name", &mut collection.indexes.iter().map(|index| index.name.as_str()));
        }
        self.check_schemas(&mut faults);
        faults
    }

    fn check_schemas(&self, faults: &mut Vec<Fault>) {
        let inputs = self.actions.iter().enumerate();
        let inputs = inputs.map(|(position, action)| (format!("/actions/{position}/input"), &action.input));
        for (pointer, schema) in inputs.chain([("/settings/schema".to_owned(), &self.settings.schema)]) {
            if let Err(message) = Schema::compile(schema) {
                faults.push(Fault::new(pointer, "schema", format!("not a usable JSON Schema: {message}")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COFFEE: &str = r#"
        name = "coffee-club"
        version = "1.0.0"
        publisher = "example"
        [description]
        en = "A stamp for every coffee."
        zh-CN = "每杯咖啡一个印章。"
        [[grants]]
        name = "orders:read"
        reason = { en = "Counts.", zh-CN = "统计。" }
        [events]
        subscribe = ["order.created"]
        [[jobs]]
        name = "nightly"
        schedule = { daily = "03:30" }
    "#;

    #[test]
    fn a_manifest_is_read_whole() {
        let manifest = Manifest::parse(COFFEE).unwrap();
        assert_eq!(manifest.name, "coffee-club");
        assert!(manifest.wanted().has(Grant::OrdersRead));
        assert_eq!(manifest.jobs[0].schedule, Schedule::Daily("03:30".to_owned()));
        assert_eq!(manifest.description.get(Locale::ZhCn), "每杯咖啡一个印章。");
    }

    #[test]
    fn every_fault_of_a_manifest_is_told_at_once() {
        let text = COFFEE
            .replace("coffee-club", "Coffee Club")
            .replace("zh-CN = \"统计。\"", "de = \"Zählt.\"")
            .replace("03:30", "24:00");
        let faults = Manifest::parse(&text).unwrap_err();
        let mut pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        pointers.sort_unstable();
        pointers.dedup();
        assert_eq!(pointers, ["/grants/0/reason", "/grants/0/reason/zh-CN", "/jobs/0/schedule", "/name"]);
    }

    #[test]
    fn a_name_that_is_declared_twice_is_refused() {
        let twice = format!("{COFFEE}\n[[jobs]]\nname = \"nightly\"\nschedule = {{ every_minutes = 5 }}");
        let faults = Manifest::parse(&twice).unwrap_err();
        assert_eq!(faults[0].pointer, "/jobs/1/name");
        assert_eq!(faults[0].code, "duplicate");
    }

    #[test]
    fn the_schema_names_every_grant() {
        let schema: Value = serde_json::from_str(include_str!("manifest.schema.json")).unwrap();
        let names = &schema["properties"]["grants"]["items"]["properties"]["name"]["enum"];
        let all: Vec<_> = Grant::ALL.iter().map(|grant| grant.as_str()).collect();
        assert_eq!(names, &serde_json::json!(all));
    }
}
