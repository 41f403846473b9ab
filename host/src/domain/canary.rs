//! Canaries: which part of a tenant's records meets a newer version of a plugin, and how both versions fare.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::check::Faults;
use super::code::FaultCode;
use super::ids::OrgUnitId;
use crate::error::Result;

/// Org units that one canary is for.
pub const ORG_UNITS_MAX: usize = 50;
/// The greatest share in percent; all of them is what an upgrade is for.
pub const PERCENT_MAX: u32 = 99;
/// Runs of the new version after which its failures are taken for its own.
pub const RUNS_MIN: u64 = 20;
/// Of 100 runs, how many may fail.
pub const FAILURES_PERCENT_MAX: u64 = 10;

/// Which records meet the new version: those of customers and of their orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// About so many of 100 customers, by a hash of their ids: whoever is in a share is in every larger one.
    Percent(u32),
    /// The customers whom these units, and those below them, look after.
    OrgUnits(Vec<OrgUnitId>),
}

impl Share {
    /// Either a percentage or org units.
    ///
    /// # Errors
    /// `Invalid` for both, for neither, and for what is out of bounds.
    pub fn of(percent: Option<u32>, org_units: Option<Vec<OrgUnitId>>) -> Result<Self> {
        let mut faults = Faults::default();
        let share = match (percent, org_units) {
            (Some(percent), None) => {
                if percent == 0 {
                    faults.plain("/percent", FaultCode::TooSmall { min: "1".to_owned() });
                } else if percent > PERCENT_MAX {
                    faults.plain("/percent", FaultCode::TooLarge { max: PERCENT_MAX.to_string() });
                }
                Self::Percent(percent)
            }
            (None, Some(units)) => {
                if units.is_empty() {
                    faults.plain("/org_units", FaultCode::TooFew { min: "1".to_owned() });
                }
                faults.count("/org_units", units.len(), ORG_UNITS_MAX);
                Self::OrgUnits(units)
            }
            (None, None) => {
                faults.plain("/percent", FaultCode::Required);
                Self::Percent(0)
            }
            (Some(percent), Some(_)) => {
                faults.add("/org_units", FaultCode::NotHere, "either a percentage or org units");
                Self::Percent(percent)
            }
        };
        faults.finish()?;
        Ok(share)
    }

    /// Whether a customer is in it, by the path of the org unit that looks after it: the ids from the root
    /// to it, each followed by a slash.
    #[must_use]
    pub fn takes(&self, plugin: &str, customer: &str, unit_path: Option<&str>) -> bool {
        match self {
            Self::Percent(percent) => place(plugin, customer) < u64::from(*percent),
            Self::OrgUnits(units) => unit_path.is_some_and(|path| {
                path.split('/').any(|above| units.iter().any(|unit| unit.as_str() == above))
            }),
        }
    }
}

/// The place of a customer among 100, another one for each plugin, so that not the same customers meet
/// everything that is new.
fn place(plugin: &str, customer: &str) -> u64 {
    let digest = Sha256::new().chain_update(plugin).chain_update([0]).chain_update(customer).finalize();
    let number = digest.iter().take(8).fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
    number % 100
}

/// How a version has fared: sums that can be added up over servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Runs.
    pub runs: u64,
    /// Those that broke off and, of those that handled events, those that refused them.
    pub failures: u64,
    /// Fuel that all runs have burnt.
    pub fuel: u64,
    /// Runs by their time, in steps of a quarter of an octave at most.
    times: BTreeMap<u32, u64>,
}

impl Tally {
    /// Adds a run.
    pub fn count(&mut self, is_failure: bool, fuel: u64, micros: u64) {
        self.runs += 1;
        self.failures += u64::from(is_failure);
        self.fuel = self.fuel.saturating_add(fuel);
        *self.times.entry(step_of(micros)).or_default() += 1;
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, more: &Self) {
        let Self { runs, failures, fuel, times } = more;
        self.runs += runs;
        self.failures += failures;
        self.fuel = self.fuel.saturating_add(*fuel);
        for (step, count) in times {
            *self.times.entry(*step).or_default() += count;
        }
    }

    /// Microseconds that so many of 100 runs took at most, up to a fifth too many; 0 without a run.
    #[must_use]
    pub fn percentile(&self, percent: u64) -> u64 {
        let rank = (self.times.values().sum::<u64>() * percent).div_ceil(100);
        let mut seen = 0;
        let reaches = |(step, count): (&u32, &u64)| {
            seen += count;
            (seen >= rank).then(|| longest_of(*step))
        };
        self.times.iter().find_map(reaches).unwrap_or_default()
    }

    /// Whether more runs have failed than may.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.runs >= RUNS_MIN && self.failures * 100 > self.runs * FAILURES_PERCENT_MAX
    }
}

/// The step of a time: its octave and the next two bits.
fn step_of(micros: u64) -> u32 {
    let micros = micros.max(4);
    let octave = micros.ilog2();
    let quarter = u32::try_from((micros >> (octave - 2)) & 3).expect("two bits");
    octave * 4 + quarter
}

/// The longest time of a step.
const fn longest_of(step: u32) -> u64 {
    let (octave, quarter) = (step / 4, (step % 4) as u64);
    if octave >= 63 || octave < 2 { u64::MAX } else { ((5 + quarter) << (octave - 2)) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn customers() -> impl Iterator<Item = String> {
        (0..10_000).map(|number| format!("cus_{number:05}"))
    }

    #[test]
    fn a_share_is_near_its_percentage_and_only_grows_with_it() {
        let taken = |percent| -> Vec<String> {
            customers().filter(|customer| Share::Percent(percent).takes("club", customer, None)).collect()
        };
        for percent in [1, 10, 50, 99] {
            let (smaller, larger) = (taken(percent), taken(percent + 1));
            let expected = usize::try_from(percent).unwrap() * 100;
            assert!(smaller.len().abs_diff(expected) < 200, "{percent} %: {} of 10,000", smaller.len());
            assert!(smaller.iter().all(|customer| larger.contains(customer)), "{percent} %");
        }
    }

    #[test]
    fn plugins_do_not_try_on_the_same_customers() {
        let both = customers().filter(|customer| {
            ["club", "stamps"].iter().all(|plugin| Share::Percent(10).takes(plugin, customer, None))
        });
        assert!(both.count() < 200, "a tenth of a tenth");
    }

    #[test]
    fn org_units_take_those_below_them() {
        let share = Share::OrgUnits(vec![OrgUnitId::from_stored("org_2".into())]);
        assert!(share.takes("club", "cus_1", Some("org_1/org_2/org_3/")));
        assert!(!share.takes("club", "cus_1", Some("org_1/org_22/")));
        assert!(!share.takes("club", "cus_1", None));
    }

    #[test]
    fn a_share_is_a_percentage_or_units() {
        let unit = || Some(vec![OrgUnitId::from_stored("org_2".into())]);
        assert!(Share::of(Some(1), None).is_ok() && Share::of(None, unit()).is_ok());
        for (percent, units) in [(None, None), (Some(5), unit()), (Some(0), None), (Some(100), None)] {
            assert!(Share::of(percent, units).is_err(), "{percent:?}");
        }
        assert!(Share::of(None, Some(Vec::new())).is_err());
    }

    #[test]
    fn percentiles_are_a_fifth_too_long_at_most() {
        let mut tally = Tally::default();
        assert_eq!(tally.percentile(99), 0);
        for micros in 1..=10_000 {
            tally.count(false, 1, micros);
        }
        for (percent, exact) in [(50, 5_000), (99, 9_900), (100, 10_000)] {
            let found = tally.percentile(percent);
            assert!((exact..=exact * 6 / 5 + 1).contains(&found), "{percent}: {found}");
        }
        tally.count(false, 1, u64::MAX);
        assert_eq!(tally.percentile(100), u64::MAX);
    }

    #[test]
    fn failures_count_once_there_are_runs_enough() {
        let mut tally = Tally::default();
        (1..RUNS_MIN).for_each(|_| tally.count(true, 0, 1));
        assert!(!tally.is_failing());
        tally.count(true, 0, 1);
        assert!(tally.is_failing());
        let mut healthy = Tally::default();
        (0..90).for_each(|_| healthy.count(false, 0, 1));
        (0..10).for_each(|_| healthy.count(true, 0, 1));
        assert!(!healthy.is_failing(), "a tenth may fail");
        healthy.count(true, 0, 1);
        assert!(healthy.is_failing());
        let mut sum = Tally::default();
        sum.add(&healthy);
        sum.add(&tally);
        assert_eq!((sum.runs, sum.failures, sum.percentile(50)), (121, 31, healthy.percentile(50)));
    }
}
