//! What a client says about a file: its form, and which column feeds which target field.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::encoding::EncodingChoice;

/// Columns that make up one value.
pub(super) const JOINED_COLUMNS_MAX: usize = 10;
/// Values of one field that are replaced by others.
pub(super) const REPLACED_VALUES_MAX: usize = 200;
/// Target fields of a mapping.
pub(super) const FIELDS_MAX: usize = 100;

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Comma-separated values (RFC 4180), also with another delimiter.
    Csv,
    /// One JSON object a line.
    Ndjson,
}

impl Format {
    /// The media type of such a file.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv",
            Self::Ndjson => "application/x-ndjson",
        }
    }
}

/// What stands between two fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum Delimiter {
    /// `,`
    #[default]
    #[serde(rename = ",")]
    Comma,
    /// `;`, as spreadsheets write where the comma is the decimal mark.
    #[serde(rename = ";")]
    Semicolon,
    /// A tab.
    #[serde(rename = "\t")]
    Tab,
    /// `|`
    #[serde(rename = "|")]
    Bar,
}

impl Delimiter {
    /// The character.
    #[must_use]
    pub const fn as_byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
            Self::Bar => b'|',
        }
    }
}

/// How CSV is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CsvOptions {
    /// What stands between two fields.
    pub delimiter: Delimiter,
    /// Whether the first row names the columns. Without it, columns are `1`, `2`, and so on.
    pub header: bool,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self { delimiter: Delimiter::default(), header: true }
    }
}

/// How times are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimeOptions {
    /// A format such as `%d/%m/%Y %H:%M`; without one RFC 3339, or a local date
    /// such as `2026-01-31` with or without a time of day.
    #[schema(max_length = 50)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The time zone of times without an offset, such as `Asia/Shanghai`; without one the tenant's.
    #[schema(max_length = 50)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// What stands before the decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum DecimalMark {
    /// `.`
    #[default]
    #[serde(rename = ".")]
    Point,
    /// `,`
    #[serde(rename = ",")]
    Comma,
}

impl DecimalMark {
    pub(super) const fn as_char(self) -> char {
        match self {
            Self::Point => '.',
            Self::Comma => ',',
        }
    }
}

/// What stands between groups of three digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum GroupingMark {
    /// `,`
    #[serde(rename = ",")]
    Comma,
    /// `.`
    #[serde(rename = ".")]
    Point,
    /// A space.
    #[serde(rename = " ")]
    Space,
    /// `'`
    #[serde(rename = "'")]
    Apostrophe,
}

impl GroupingMark {
    pub(super) const fn as_char(self) -> char {
        match self {
            Self::Comma => ',',
            Self::Point => '.',
            Self::Space => ' ',
            Self::Apostrophe => '\'',
        }
    }
}

/// How amounts are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MoneyOptions {
    /// What stands before the decimals.
    pub decimal: DecimalMark,
    /// What stands between groups of three digits; without it they are not grouped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grouping: Option<GroupingMark>,
    /// The amounts are in minor units (cents, fen) already.
    pub minor_units: bool,
}

/// Where one target field takes its value from: exactly one of `column`, `columns` and `constant`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FieldSource {
    /// One column. In NDJSON a key, or with a leading `/` a JSON pointer to a nested one.
    #[schema(max_length = 200)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// Several columns, joined.
    #[schema(min_items = 1, max_items = 10)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// The same value for every row.
    #[schema(max_length = 1_000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constant: Option<String>,
    /// What joins the values of `columns`: a space if absent. Not for `external_id`,
    /// whose parts are joined so that they can never run into one another.
    #[schema(max_length = 10)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// The value of a row whose column is empty.
    #[schema(max_length = 1_000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// What stands for what: `{"已完成": "completed"}`, at most 200. Values that are not listed stay as they are.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
    /// Only for `external_id`: rows with equal columns are numbered, so that the
    /// n-th of them always has the same external id.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub occurrence: bool,
}

/// What the rows of a file of orders are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderRows {
    /// One order each, with at most one line. Of several rows with one external id, the last counts.
    #[default]
    Orders,
    /// One line each: rows that follow one another and share the external id are one order.
    Lines,
}

/// What becomes of those of a customer's tags, or ways to be reached, that a file does not name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unnamed {
    /// They stay: what the file names is added. Of ways to be reached, the first of a kind is the one
    /// to use first.
    #[default]
    Merge,
    /// They go, if the row names any.
    Replace,
}

/// How a file is read and its columns are used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// The form of the file.
    pub format: Format,
    /// Its encoding.
    #[serde(default)]
    pub encoding: EncodingChoice,
    /// How CSV is written.
    #[serde(default)]
    pub csv: CsvOptions,
    /// How times are written.
    #[serde(default)]
    pub time: TimeOptions,
    /// How amounts are written.
    #[serde(default)]
    pub money: MoneyOptions,
    /// What the rows of a file of orders are.
    #[serde(default)]
    pub order_rows: OrderRows,
    /// What becomes of the ways to reach a customer that the file does not name.
    #[serde(default)]
    pub contact_points: Unnamed,
    /// What becomes of a customer's tags that the file does not name.
    #[serde(default)]
    pub tags: Unnamed,
    /// Target fields, at most 100, and where each takes its value from.
    pub fields: BTreeMap<String, FieldSource>,
}
