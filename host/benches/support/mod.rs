//! What the benchmarks share: contenders that take turns in one run, and ratios.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::time::Instant;

/// Turns that every contender has; the first is a warm-up and does not count.
pub(crate) const ROUNDS: usize = 7;

/// One of several ways to do the same work.
pub(crate) struct Contender<'a> {
    name: &'a str,
    run: Box<dyn FnMut() -> f64 + 'a>,
}

impl<'a> Contender<'a> {
    /// A contender whose `run` does one round and answers units of work per second.
    pub(crate) fn new(name: &'a str, run: impl FnMut() -> f64 + 'a) -> Self {
        Self { name, run: Box::new(run) }
    }
}

/// Lets the contenders take turns and prints the median of each, and of the first's
/// ratio to each other one, round by round, with its range.
pub(crate) fn compare(title: &str, unit: &str, mut contenders: Vec<Contender<'_>>) {
    let mut rates = vec![Vec::with_capacity(ROUNDS); contenders.len()];
    for round in 0..=ROUNDS {
        for (contender, rates) in contenders.iter_mut().zip(&mut rates) {
            let rate = (contender.run)();
            if round > 0 {
                rates.push(rate);
            }
        }
    }
    println!("\n{title}");
    for (contender, rates) in contenders.iter().zip(&rates) {
        println!("  {:<34} {:>12.0} {unit}", contender.name, median(rates));
    }
    let Some((first, others)) = rates.split_first() else { return };
    for (contender, others) in contenders.iter().skip(1).zip(others) {
        let ratios: Vec<f64> = first.iter().zip(others).map(|(first, other)| first / other).collect();
        let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let high = ratios.iter().copied().fold(0.0, f64::max);
        println!(
            "  {:<34} {:>12.2} ({low:.2} to {high:.2})",
            format!("ratio to {}", contender.name),
            median(&ratios)
        );
    }
}

/// Runs `work`, which does `count` units, and answers units per second.
#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are small")]
pub(crate) fn rate(count: usize, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    count as f64 / start.elapsed().as_secs_f64()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
