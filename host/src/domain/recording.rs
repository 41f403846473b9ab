//! What a tenant lets the flight recorder keep of a plugin's runs.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::point::Point;

/// The rarest sample: one run of so many.
const EVERY_MAX: u32 = 1_000_000;

/// Which runs of an extension point are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// None. So it is until the tenant decides otherwise, because recordings hold what plugins read.
    #[default]
    Off,
    /// Those that broke off.
    Failures,
    /// The first of every so many.
    Every(u32),
    /// So many of a hundred, evenly spread.
    PerCent(u32),
    /// All.
    All,
}

/// A text that says nothing of the kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is none of off, failures, sample:100 (every hundredth), sample:5% and all")]
pub struct NotAKeep(String);

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Failures => f.write_str("failures"),
            Self::Every(count) => write!(f, "sample:{count}"),
            Self::PerCent(count) => write!(f, "sample:{count}%"),
            Self::All => f.write_str("all"),
        }
    }
}

impl FromStr for Keep {
    type Err = NotAKeep;

    fn from_str(text: &str) -> Result<Self, NotAKeep> {
        let wrong = || NotAKeep(text.chars().take(40).collect());
        let count = |digits: &str, most: u32| {
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let count = if is_number { digits.parse().ok() } else { None };
            count.filter(|count| (1..=most).contains(count)).ok_or_else(wrong)
        };
        match (text, text.strip_prefix("sample:")) {
            ("off", _) => Ok(Self::Off),
            ("failures", _) => Ok(Self::Failures),
            ("all", _) => Ok(Self::All),
            (_, Some(sample)) => match sample.strip_suffix('%') {
                Some(digits) => count(digits, 100).map(Self::PerCent),
                None => count(sample, EVERY_MAX).map(Self::Every),
            },
            (_, None) => Err(wrong()),
        }
    }
}

impl Serialize for Keep {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl utoipa::PartialSchema for Keep {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::schema::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .pattern(Some("^(off|failures|all|sample:[1-9][0-9]{0,6}|sample:[1-9][0-9]{0,2}%)$"))
            .into()
    }
}

impl utoipa::ToSchema for Keep {}

impl Keep {
    /// Whether the run with this number, beginning with 0, is kept whatever comes of it.
    #[must_use]
    pub fn takes(self, run: u64) -> bool {
        match self {
            Self::Off | Self::Failures => false,
            Self::Every(count) => run.is_multiple_of(u64::from(count.max(1))),
            // The runs at which the whole part of the share grows.
            Self::PerCent(count) => {
                let share = |runs: u64| runs.saturating_mul(u64::from(count)) / 100;
                share(run.saturating_add(1)) > share(run)
            }
            Self::All => true,
        }
    }
}

/// What is kept by extension point; what is absent is [`Keep::Off`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecordingRules(pub BTreeMap<Point, Keep>);

impl RecordingRules {
    /// The rule of an extension point.
    #[must_use]
    pub fn of(&self, point: Point) -> Keep {
        self.0.get(&point).copied().unwrap_or_default()
    }

    /// Whether anything may be kept.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.0.values().any(|keep| *keep != Keep::Off)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_itself_back() {
        for text in ["off", "failures", "all", "sample:100", "sample:5%"] {
            assert_eq!(text.parse::<Keep>().unwrap().to_string(), text);
        }
        for wrong in ["", "sample", "sample:0", "sample:101%", "sample:+5", "sample:2000000", "ALL"] {
            assert!(wrong.parse::<Keep>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_sample_has_as_many_runs_as_it_says() {
        let taken = |keep: Keep| (0..1_000).filter(|run| keep.takes(*run)).count();
        assert_eq!(taken(Keep::Every(10)), 100);
        assert_eq!(taken(Keep::PerCent(5)), 50);
        assert_eq!(taken(Keep::PerCent(100)), 1_000);
        assert_eq!((taken(Keep::All), taken(Keep::Failures), taken(Keep::Off)), (1_000, 0, 0));
        assert!(Keep::Every(10).takes(0));
    }
}
