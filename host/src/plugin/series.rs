//! How many calls of plugins there were, how long they took and what they burnt, as metrics.
//!
//! The handles of series are kept: to look one up in the recorder for every call costs more than to
//! count. There are as many as plugins that are told apart have points and outcomes.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

use super::invocation::Usage;
use crate::domain::point::Point;
use crate::metrics::{PLUGIN_CALLS, PLUGIN_FUEL, PLUGIN_SECONDS, plugin_label};

/// The series of this process.
#[derive(Default)]
pub(super) struct Calls(RwLock<HashMap<Arc<str>, Vec<OfPoint>>>);

/// Those of one plugin's extension point.
struct OfPoint {
    point: Point,
    fuel: Counter,
    seconds: Histogram,
    outcomes: Vec<(&'static str, Counter)>,
}

impl Calls {
    /// Counts a call.
    pub(super) fn count(&self, plugin: &str, point: Point, (outcome, usage): (&'static str, Usage)) {
        let label = plugin_label(plugin);
        {
            let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
            let of_plugin = kept.get(&label).into_iter().flatten();
            if of_plugin.filter(|series| series.point == point).any(|series| series.count(outcome, usage)) {
                return;
            }
        }
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let of_plugin = kept.entry(Arc::clone(&label)).or_default();
        let place = of_plugin.iter().position(|series| series.point == point).unwrap_or_else(|| {
            of_plugin.push(OfPoint::new(&label, point));
            of_plugin.len() - 1
        });
        of_plugin[place].add_outcome(&label, outcome);
        of_plugin[place].count(outcome, usage);
    }
}

impl OfPoint {
    fn new(label: &Arc<str>, point: Point) -> Self {
        let (name, of) = (|| Arc::clone(label), point.as_str());
        let fuel = counter!(PLUGIN_FUEL, "plugin" => name(), "point" => of);
        let seconds = histogram!(PLUGIN_SECONDS, "plugin" => name(), "point" => of);
        Self { point, fuel, seconds, outcomes: Vec::new() }
    }

    fn add_outcome(&mut self, label: &Arc<str>, outcome: &'static str) {
        if self.outcomes.iter().any(|(known, _)| *known == outcome) {
            return;
        }
        let (name, of) = (Arc::clone(label), self.point.as_str());
        let calls = counter!(PLUGIN_CALLS, "plugin" => name, "point" => of, "outcome" => outcome);
        self.outcomes.push((outcome, calls));
    }

    /// Counts a call, if its outcome has been met before.
    fn count(&self, outcome: &'static str, usage: Usage) -> bool {
        let Some((_, calls)) = self.outcomes.iter().find(|(known, _)| *known == outcome) else {
            return false;
        };
        calls.increment(1);
        self.fuel.increment(usage.fuel);
        self.seconds.record(Duration::from_micros(usage.micros).as_secs_f64());
        true
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn every_point_and_outcome_has_its_series() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let calls = Calls::default();
        let usage = Usage { fuel: 7, ..Usage::default() };
        metrics::with_local_recorder(&recorder, || {
            for (point, outcome) in
                [(Point::Hooks, "ok"), (Point::Hooks, "ok"), (Point::Hooks, "trap"), (Point::Panels, "ok")]
            {
                calls.count("series", point, (outcome, usage));
            }
        });
        let text = recorder.handle().render();
        // Other tests may have used up the names of plugins that are told apart.
        let label = plugin_label("series");
        let has = |line: String| assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        let of = |point: &str, outcome: &str| {
            format!("{PLUGIN_CALLS}{{plugin=\"{label}\",point=\"{point}\",outcome=\"{outcome}\"}}")
        };
        has(format!("{} 2", of("hooks", "ok")));
        has(format!("{} 1", of("hooks", "trap")));
        has(format!("{} 1", of("panels", "ok")));
        has(format!("{PLUGIN_FUEL}{{plugin=\"{label}\",point=\"hooks\"}} 21"));
    }
}
