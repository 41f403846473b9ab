//! Metrics: owns the recorder, every metric's name and help, and what the process says of itself.
//!
//! Rooms count with the `metrics` macros under the names below. A label's values are
//! bounded: a route's pattern, a plugin's name as [`plugin_label`] says it, an outcome;
//! never an id, a path or a tenant, which would make a series for each.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, LazyLock, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::files;

/// Requests answered, by method, route and status.
pub const HTTP_REQUESTS: &str = "hospes_http_requests_total";
/// Seconds from a request's head to its answer's head, by method and route.
pub const HTTP_SECONDS: &str = "hospes_http_request_duration_seconds";
/// Requests that are being answered now.
pub const HTTP_RUNNING: &str = "hospes_http_requests_running";
/// Units of work that wait for SQLite's writer.
pub const WRITER_QUEUE: &str = "hospes_db_writer_queue_units";
/// Units of work that shared one commit.
pub const WRITER_GROUP: &str = "hospes_db_commit_group_units";
/// Seconds that a group took from its first statement to the end of its commit.
pub const WRITER_SECONDS: &str = "hospes_db_commit_group_duration_seconds";
/// Units of work that were run again after a conflict.
pub const UNIT_RERUNS: &str = "hospes_db_unit_reruns_total";
/// Deliveries of events that ended, by consumer and outcome.
pub const DELIVERIES: &str = "hospes_events_deliveries_total";
/// Seconds from a change to the end of its delivery, by consumer.
pub const DELIVERY_LAG: &str = "hospes_events_delivery_lag_seconds";
/// Lanes of events that are being worked on now.
pub const LANES_BUSY: &str = "hospes_events_lanes_busy";
/// Calls of plugins that ended, by plugin, extension point and outcome.
pub const PLUGIN_CALLS: &str = "hospes_plugin_calls_total";
/// Seconds that a plugin's call took, by plugin and extension point.
pub const PLUGIN_SECONDS: &str = "hospes_plugin_call_duration_seconds";
/// Fuel that plugins have burnt, by plugin and extension point.
pub const PLUGIN_FUEL: &str = "hospes_plugin_fuel_total";
/// Calls of plugins that were run again after a conflict, by plugin.
pub const PLUGIN_RERUNS: &str = "hospes_plugin_reruns_total";

/// Saves that went on without a hook that had failed or was paused, by plugin and kind of record.
pub const PLUGIN_PASSED_OVER: &str = "hospes_plugin_hooks_passed_over_total";
/// Canaries that have ended by themselves, by plugin and reason.
pub const PLUGIN_CANARY_STOPS: &str = "hospes_plugin_canary_stops_total";

/// Calls of host functions that plugins were denied, by plugin and grant: for want of the grant, or because its
/// rate was used up. Whoever watches it learns of a plugin that reads on and on.
pub const PLUGIN_DENIALS: &str = "hospes_plugin_denials_total";

/// Requests that the host has made for plugins, by plugin and outcome.
pub const PLUGIN_REQUESTS: &str = "hospes_plugin_http_requests_total";

/// Recordings of plugins' runs, by plugin and outcome: `kept` or `dropped`.
pub const PLUGIN_RECORDINGS: &str = "hospes_plugin_recordings_total";

/// Plugins that one process tells apart in its metrics; all beyond are [`OTHER_PLUGINS`].
pub const PLUGIN_LABELS_MAX: usize = 200;
/// What the plugins are called that are not told apart.
pub const OTHER_PLUGINS: &str = "other";

/// From a millisecond to ten seconds: what a person notices and what a proxy gives up on.
const SECONDS: &[f64] = &[0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];
const UNITS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
/// Ticks of the processor time in `/proc/self/stat`, which Linux has fixed for programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// The recorder of this process.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// How often [`Metrics::tidy`] should run.
    pub const TIDY_EVERY: Duration = Duration::from_secs(5);

    /// Starts to record; the same recorder every time, because a process has one.
    ///
    /// # Panics
    /// If something else records this process's metrics already.
    #[must_use]
    pub fn start() -> Self {
        static STARTED: OnceLock<Metrics> = OnceLock::new();
        STARTED
            .get_or_init(|| {
                let recorder = PrometheusBuilder::new()
                    .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
                    .and_then(|b| b.set_buckets_for_metric(Matcher::Suffix("_units".to_owned()), UNITS))
                    .expect("the buckets are not empty")
                    .build_recorder();
                let handle = recorder.handle();
                metrics::set_global_recorder(recorder).expect("nothing else records this process");
                describe();
                Self { handle }
            })
            .clone()
    }

    /// Everything in the text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        record_process();
        self.handle.run_upkeep();
        self.handle.render()
    }

    /// Folds new samples into the histograms, so that they do not pile up if nobody asks.
    pub fn tidy(&self) {
        self.handle.run_upkeep();
    }
}

/// What metrics call an installed plugin: by its name, until there are [`PLUGIN_LABELS_MAX`] names.
#[must_use]
pub fn plugin_label(plugin: &str) -> Arc<str> {
    static LABELS: LazyLock<Labels> = LazyLock::new(Labels::default);
    LABELS.of(plugin)
}

/// The names that are told apart: the first that there are.
#[derive(Default)]
struct Labels(RwLock<HashSet<Arc<str>>>);

impl Labels {
    fn of(&self, plugin: &str) -> Arc<str> {
        if let Some(known) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(plugin) {
            return Arc::clone(known);
        }
        let mut labels = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if labels.len() >= PLUGIN_LABELS_MAX && !labels.contains(plugin) {
            return OTHER_PLUGINS.into();
        }
        let label: Arc<str> = plugin.into();
        labels.insert(Arc::clone(&label));
        label
    }
}

fn describe() {
    describe_counter!(HTTP_REQUESTS, "Requests answered, by method, route and status");
    describe_histogram!(HTTP_SECONDS, Unit::Seconds, "Time to the head of the answer, by method and route");
    describe_gauge!(HTTP_RUNNING, "Requests that are being answered now");
    describe_gauge!(WRITER_QUEUE, "Units of work that wait for SQLite's writer");
    describe_histogram!(WRITER_GROUP, "Units of work that shared one commit");
    describe_histogram!(WRITER_SECONDS, Unit::Seconds, "Time of a group of units with its commit");
    describe_counter!(UNIT_RERUNS, "Units of work run again after a conflict");
    describe_counter!(DELIVERIES, "Deliveries of events that ended, by consumer and outcome");
    describe_histogram!(
        DELIVERY_LAG,
        Unit::Seconds,
        "Time from a change to the end of its delivery, by consumer"
    );
    describe_gauge!(LANES_BUSY, "Lanes of events that are being worked on now");
    describe_counter!(PLUGIN_CALLS, "Calls of plugins, by plugin, extension point and outcome");
    describe_histogram!(
        PLUGIN_SECONDS,
        Unit::Seconds,
        "Time of a plugin's call, by plugin and extension point"
    );
    describe_counter!(PLUGIN_FUEL, "Fuel burnt by plugins, by plugin and extension point");
    describe_counter!(PLUGIN_RERUNS, "Calls of plugins run again after a conflict, by plugin");
    describe_counter!(
        PLUGIN_PASSED_OVER,
        "Saves that went on without a hook that failed or was paused, by plugin and kind of record"
    );
    describe_counter!(PLUGIN_CANARY_STOPS, "Canaries ended by their failures, by plugin and reason");
    describe_counter!(PLUGIN_DENIALS, "Calls that plugins were denied, by plugin and grant");
    describe_counter!(PLUGIN_REQUESTS, "Requests made for plugins, by plugin and outcome");
    describe_counter!(PLUGIN_RECORDINGS, "Recordings of plugins' runs, by plugin and outcome");
    describe_gauge!("process_resident_memory_bytes", Unit::Bytes, "Memory of the process");
    describe_gauge!("process_cpu_seconds_total", Unit::Seconds, "Processor time of the process");
    describe_gauge!("process_open_fds", "Open files and sockets of the process");
    describe_gauge!("process_threads", "Threads of the process");
}

/// What Linux says of this process; elsewhere the series are absent.
fn record_process() {
    const FACTS_BYTES_MAX: u64 = 64 << 10;
    if let Ok(status) = files::read_text(Path::new("/proc/self/status"), FACTS_BYTES_MAX) {
        if let Some(kib) = number_after(&status, "VmRSS:") {
            gauge!("process_resident_memory_bytes").set(kib * 1_024.0);
        }
        if let Some(threads) = number_after(&status, "Threads:") {
            gauge!("process_threads").set(threads);
        }
    }
    if let Ok(stat) = files::read_text(Path::new("/proc/self/stat"), FACTS_BYTES_MAX)
        && let Some(ticks) = cpu_ticks(&stat)
    {
        gauge!("process_cpu_seconds_total").set(ticks / TICKS_PER_SECOND);
    }
    if let Some(count) = files::count_entries(Path::new("/proc/self/fd")) {
        gauge!("process_open_fds").set(f64::from(count));
    }
}

fn number_after(text: &str, key: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// User and system time; they follow the name in brackets, which may hold anything.
fn cpu_ticks(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_rendered_with_its_help() {
        let metrics = Metrics::start();
        metrics::counter!(PLUGIN_CALLS, "plugin" => "test-of-metrics", "outcome" => "ok").increment(2);
        metrics::histogram!(WRITER_SECONDS).record(0.002);
        let text = metrics.render();
        assert!(
            text.contains("hospes_plugin_calls_total{plugin=\"test-of-metrics\",outcome=\"ok\"} 2"),
            "{text}"
        );
        assert!(text.contains("# HELP hospes_plugin_calls_total"), "{text}");
        assert!(text.contains("hospes_db_commit_group_duration_seconds_bucket{le=\"0.003\"}"), "{text}");
    }

    #[test]
    fn plugins_are_told_apart_up_to_a_number() {
        let labels = Labels::default();
        let seen: HashSet<_> = (0..1_000).map(|number| labels.of(&format!("plugin-{number}"))).collect();
        assert_eq!(seen.len(), PLUGIN_LABELS_MAX + 1);
        assert!(seen.contains(OTHER_PLUGINS));
        assert_eq!(&*labels.of("plugin-0"), "plugin-0", "one that has a name keeps it");
        assert_eq!(&*labels.of("plugin-999"), OTHER_PLUGINS);
    }

    #[test]
    fn many_plugins_make_no_more_series_than_there_are_labels() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            for number in 0..3_000 {
                let plugin = format!("made-up-{number}");
                for outcome in ["ok", "trap"] {
                    let name = plugin_label(&plugin);
                    metrics::counter!(PLUGIN_CALLS, "plugin" => name, "point" => "events", "outcome" => outcome)
                        .increment(1);
                }
            }
        });
        let text = recorder.handle().render();
        let series = text.lines().filter(|line| line.starts_with(PLUGIN_CALLS));
        assert!(series.count() <= (PLUGIN_LABELS_MAX + 1) * 2);
        let others =
            format!("{PLUGIN_CALLS}{{plugin=\"{OTHER_PLUGINS}\",point=\"events\",outcome=\"trap\"}}");
        assert!(text.lines().any(|line| line.starts_with(&others)), "{text}");
    }

    #[test]
    fn processor_time_is_read_behind_a_name_with_brackets() {
        let stat = "1 (a) b) S 0 1 1 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0";
        assert_eq!(cpu_ticks(stat), Some(200.0));
    }
}
