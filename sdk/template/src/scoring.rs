//! Scores of many customers at once, by columns of numbers. A scoring may read and must not write.

use hospes_sdk::scoring::{Scores, Slice};
use hospes_sdk::{Result, Scoring};

use crate::PluginType;

/// What an order adds to the score.
const ORDER: f64 = 10.0;

impl Scoring for PluginType {
    fn score(_scoring: &str, slice: Slice) -> Result<Scores> {
        let orders = slice.column("orders")?;
        let scores: Vec<f64> = orders.iter().map(|orders| orders * ORDER).collect();
        // The reason says how much it has moved each score: here all of it.
        Ok(Scores::new(scores.clone()).because("many_orders", scores))
    }
}

#[cfg(test)]
mod tests {
    use hospes_sdk::testing;

    use super::*;

    #[test]
    fn every_order_counts() {
        testing::start(include_str!("../plugin.toml"));
        let slice = testing::slice(&["cus_1", "cus_2"], &[("orders", &[0.0, 3.0])]);
        let scores = testing::invoke_read_only(|| PluginType::score("loyalty", slice)).unwrap();
        assert_eq!(scores.values, [0.0, 30.0]);
    }
}
