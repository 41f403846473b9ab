//! What a manifest says of the package as a whole: texts, licence, rights, budgets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::actor::Locale;
use crate::domain::grant::Grant;
use crate::domain::parameters::StatedParameters;
use crate::domain::point::Point;

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

/// How a plugin's code runs, and so what it may weigh and use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Compiled to WebAssembly itself.
    #[default]
    Compiled,
    /// An interpreter that carries the plugin's source: larger, slower, and for no hooks.
    Interpreter,
}

impl Tier {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A grant that a plugin asks for, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WantedGrant {
    /// The grant.
    pub name: Grant,
    /// Why.
    pub reason: Texts,
    /// How far it shall go.
    #[serde(default, skip_serializing_if = "StatedParameters::is_silent")]
    pub parameters: StatedParameters,
}

/// A part that a plugin is built from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Component {
    /// Its name, as its registry knows it.
    pub name: String,
    /// Its version.
    pub version: String,
    /// An SPDX licence expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
}

/// The software bill of materials: all that the plugin is built from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Sbom {
    /// The format of the document that the list was taken from.
    pub format: String,
    /// The parts.
    pub components: Vec<Component>,
}

/// What a plugin wishes to be allowed to use at an extension point; what is
/// absent is the host's default. The operator's ceilings overrule it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetWish {
    /// Units of fuel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// Bytes of linear memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Host calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<u32>,
    /// Rows, read and written together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u32>,
    /// Bytes of documents and values, read and written together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Requests to other hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbound_requests: Option<u32>,
    /// Lines of the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_lines: Option<u32>,
}

/// What becomes of the caller when an extension point fails or is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureMode {
    /// It goes on without the plugin's answer.
    Allow,
    /// It is told of the failure.
    Refuse,
    /// The call waits and is made again later.
    Queue,
}

/// The declared failure of an extension point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What becomes of the caller.
    pub mode: FailureMode,
}

/// By extension point.
pub type ByPoint<T> = BTreeMap<Point, T>;

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
