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
    let mut columns = [(&[][..], 0.0); WEIGHTS.len()];
    for (column, (name, weight)) in columns.iter_mut().zip(WEIGHTS) {
        *column = (slice.column(name)?, weight);
    }
    let score = |row: usize| {
        let logit: f64 =
            columns.iter().map(|(values, weight)| weight * (values[row] - MEAN) / DEVIATION).sum();
        1.0 / (1.0 + (-logit).exp())
    };
    Ok(Scores::new((0..slice.rows()).map(score).collect()))
}
