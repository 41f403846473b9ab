//! What the benchmarks share: contenders that take turns in one run, and ratios.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::time::Instant;

/// Turns that every contender has; the first is a warm-up and does not count.
const ROUNDS: usize = 7;

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
/// ratio to each other one, round by round, with its range. An aim is what the first
/// shall reach of the second's rate, at least.
pub(crate) fn compare(title: &str, unit: &str, aim: Option<f64>, mut contenders: Vec<Contender<'_>>) {
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
        let rate = median(rates);
        println!("  {:<40} {rate:>10.0} {unit}/s {:>11.1} µs each", contender.name, 1e6 / rate);
    }
    let Some((first, others)) = rates.split_first() else { return };
    for (place, (contender, other)) in contenders.iter().skip(1).zip(others).enumerate() {
        let ratios: Vec<f64> = first.iter().zip(other).map(|(first, other)| first / other).collect();
        let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let high = ratios.iter().copied().fold(0.0, f64::max);
        let ratio = median(&ratios);
        let aim = aim.filter(|_| place == 0).map_or_else(String::new, |least| {
            format!("  aim {least:.2}: {}", if ratio >= least { "met" } else { "missed" })
        });
        let name = format!("ratio to {}", contender.name);
        println!("  {name:<40} {ratio:>10.2} ({low:.2} to {high:.2}){aim}");
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
