//! Fuel by function, by sampling: the run is repeated with one amount of fuel after another, evenly spread,
//! and the function in which it runs out has burnt it.
//!
//! The engine counts fuel and tells of no function that is entered or left, so that an exact count would
//! need other code than the one that runs in production. A run is the same every time, and this needs
//! nothing but runs: the error is that of a sample, and fuel is looked at where a function begins and
//! where a loop turns. What another plugin burns counts for the function that calls it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Replay, Replayed};
use crate::error::Result;

/// Where the fuel of a run goes.
#[derive(Clone, Debug, Serialize)]
pub struct FuelProfile {
    /// The fuel of the run.
    pub fuel: u64,
    /// Points at which it was looked.
    pub samples: u32,
    /// The functions that were met, those that burn most first.
    pub functions: Vec<FunctionFuel>,
}

/// What a function burns, as a share of the samples.
#[derive(Clone, Debug, Serialize)]
pub struct FunctionFuel {
    /// Its name, as far as the component has names.
    pub name: String,
    /// Itself.
    pub own_percent: f64,
    /// With all that it calls.
    pub total_percent: f64,
}

impl Replay {
    /// Where the fuel of a replay goes, by so many repetitions.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn profile(&self, with: &Replayed, samples: u32) -> Result<FuelProfile> {
        let whole = self.fuel(with.digest == self.recording.digest);
        let (_, fuel, _) = self.play(with, whole).await;
        let (mut own, mut total) = (BTreeMap::new(), BTreeMap::new());
        let mut met = 0_u32;
        for sample in 0..samples {
            // In the middle of each of so many equal parts.
            let part = u128::from(fuel) * (2 * u128::from(sample) + 1) / (2 * u128::from(samples.max(1)));
            let (player, ..) = self.play(with, u64::try_from(part).unwrap_or(fuel)).await;
            let Some(leaf) = player.frames.first().cloned() else { continue };
            met += 1;
            *own.entry(leaf).or_insert(0_u32) += 1;
            for name in player.frames.into_iter().collect::<BTreeSet<_>>() {
                *total.entry(name).or_insert(0_u32) += 1;
            }
        }
        let percent = |count: u32| f64::from(count) * 100.0 / f64::from(met.max(1));
        let function = |(name, count): (String, u32)| FunctionFuel {
            own_percent: percent(own.get(&name).copied().unwrap_or(0)),
            total_percent: percent(count),
            name,
        };
        let mut functions: Vec<FunctionFuel> = total.into_iter().map(function).collect();
        functions.sort_by(|one, other| {
            let key = |of: &FunctionFuel| (of.own_percent, of.total_percent);
            key(other).partial_cmp(&key(one)).unwrap_or(std::cmp::Ordering::Equal)
        });
        Ok(FuelProfile { fuel, samples: met, functions })
    }
}
