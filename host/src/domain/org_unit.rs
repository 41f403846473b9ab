//! Org units: the tree of regions, stores and departments that teams are made of.

use serde::{Deserialize, Serialize};

use super::check::Faults;
use super::ids::OrgUnitId;
use super::patch::Patch;
use crate::clock::Timestamp;

/// Characters of a name.
pub const NAME_CHARS_MAX: usize = 200;
/// Characters of a code.
pub const CODE_CHARS_MAX: usize = 60;
/// Units above one another.
pub const DEPTH_MAX: usize = 16;

/// What a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrgUnitKind {
    /// A company or group of companies.
    Group,
    /// A region or country.
    Region,
    /// A store, branch or site.
    Store,
    /// A department.
    Department,
}

impl OrgUnitKind {
    /// The name in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Region => "region",
            Self::Store => "store",
            Self::Department => "department",
        }
    }

    /// The kind of a stored name.
    #[must_use]
    pub fn from_stored(text: &str) -> Self {
        match text {
            "group" => Self::Group,
            "region" => Self::Region,
            "store" => Self::Store,
            _ => Self::Department,
        }
    }
}

/// A region, store or department.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OrgUnitRecord {
    /// Its id.
    #[schema(value_type = String)]
    pub id: OrgUnitId,
    /// Grows by one with every change.
    pub version: i64,
    /// The unit above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub parent_id: Option<OrgUnitId>,
    /// What it is.
    pub kind: OrgUnitKind,
    /// Its name.
    pub name: String,
    /// Its code in other systems, unique in the tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The ids from the root to it, each followed by a slash.
    pub path: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// A unit to make.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrgUnit {
    /// The unit above it; without one it stands at the top.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 40)]
    pub parent_id: Option<OrgUnitId>,
    /// What it is.
    pub kind: OrgUnitKind,
    /// Its name.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// Its code in other systems, unique in the tenant.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 60)]
    pub code: Option<String>,
}

/// A change to a unit (merge patch). Another `parent_id` moves it with all below it.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrgUnitPatch {
    /// The unit above it; null puts it at the top.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 40)]
    pub parent_id: Patch<OrgUnitId>,
    /// What it is.
    #[serde(default)]
    #[schema(value_type = OrgUnitKind, required = false)]
    pub kind: Option<OrgUnitKind>,
    /// Its name.
    #[serde(default)]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200)]
    pub name: Option<String>,
    /// Its code in other systems, unique in the tenant.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 60)]
    pub code: Patch<String>,
}

/// Everything that is wrong with the texts of a unit.
#[must_use]
pub fn faults(name: Option<&str>, code: Option<&str>) -> Faults {
    let mut faults = Faults::default();
    if let Some(name) = name {
        faults.text("/name", name, NAME_CHARS_MAX);
    }
    if let Some(code) = code {
        faults.text("/code", code, CODE_CHARS_MAX);
    }
    faults
}
