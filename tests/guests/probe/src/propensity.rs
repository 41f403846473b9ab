//! A scoring as somebody would use it, which benchmarks compare with the same code native.

use hospes_sdk::Result;
use hospes_sdk::scoring::{Scores, Slice};

/// Columns of [`propensity`], and how much of a deviation from its mean each is worth.
pub(crate) const WEIGHTS: [(&str, f64); 12] = [
    ("recency", -0.9),
    ("frequency", 0.7),
    ("spend", 0.5),
    ("visits", 0.3),
    ("returns", -0.4),
    ("tickets", -0.2),
    ("age", 0.1),
    ("tenure", 0.25),
    ("mails", 0.15),
    ("clicks", 0.35),
    ("basket", 0.2),
    ("points", 0.45),
];
const MEAN: f64 = 500.0;
const DEVIATION: f64 = 290.0;

/// How likely a customer is to buy again, by a logistic regression: what benchmarks compare.
pub(crate) fn propensity(slice: &Slice) -> Result<Scores> {
    let records = slice.records(WEIGHTS.map(|(name, _weight)| name))?;
    let score = |values: [f64; WEIGHTS.len()]| {
        let weighted = values.iter().zip(WEIGHTS).map(|(value, (_name, weight))| {
            let deviations = (value - MEAN) / DEVIATION;
            weight * deviations
        });
        1.0 / (1.0 + (-weighted.sum::<f64>()).exp())
    };
    Ok(Scores::new(records.map(score).collect()))
}
