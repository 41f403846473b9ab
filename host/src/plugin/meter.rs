//! What plugins use, counted in memory until it is written down: a row that every run changed would
//! make all of them conflict.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use super::invocation::Invocation;
use super::shadow::METERED_AS;
use crate::db::usage::UsageRow;
use crate::domain::ids::TenantId;
use crate::domain::point::Point;

/// Rows that wait to be written at most; they are that many only if the database cannot be written.
const ROWS_MAX: usize = 100_000;

/// Tenant, day, plugin, its version and extension point.
type Key = (TenantId, String, String, String, &'static str);

/// See the head of this module.
#[derive(Default)]
pub(super) struct Meter(Mutex<HashMap<Key, UsageRow>>);

impl Meter {
    /// Counts a run.
    pub(super) fn count(&self, invocation: &Invocation, is_failure: bool) {
        self.count_as(invocation.point.as_str(), invocation, is_failure);
    }

    /// Counts a run under the name of another point.
    pub(super) fn count_as(&self, point: &'static str, invocation: &Invocation, is_failure: bool) {
        let Invocation { enabled, usage, now, log, .. } = invocation;
        let day = day_of(*now);
        let (plugin, version) = (enabled.plugin.to_string(), enabled.package_version.clone());
        let key = (enabled.tenant.clone(), day.clone(), plugin.clone(), version.clone(), point);
        self.add(
            key,
            &UsageRow {
                day,
                plugin,
                plugin_version: version,
                point: point.to_owned(),
                calls: 1,
                failures: i64::from(is_failure),
                fuel: whole(usage.fuel),
                duration_us: whole(usage.micros),
                rows_read: usage.rows_read.into(),
                rows_written: usage.rows_written.into(),
                bytes: i64::try_from(usage.bytes).unwrap_or(i64::MAX),
                requests: usage.requests.into(),
                log_lines: i64::try_from(log.lines.len()).unwrap_or(i64::MAX),
            },
        );
    }

    fn add(&self, key: Key, more: &UsageRow) {
        let mut rows = self.lock();
        if rows.len() >= ROWS_MAX && !rows.contains_key(&key) {
            tracing::error!(plugin = %key.2, "what a plugin uses is not counted: too much waits to be written");
            return;
        }
        let fresh = || UsageRow {
            day: key.1.clone(),
            plugin: key.2.clone(),
            plugin_version: key.3.clone(),
            point: key.4.to_owned(),
            ..UsageRow::default()
        };
        let row = rows.entry(key.clone()).or_insert_with(fresh);
        sum(row, more);
    }

    /// Everything that is not written down yet; it is the caller's from now on.
    pub(super) fn take(&self) -> Vec<(TenantId, UsageRow)> {
        let rows = std::mem::take(&mut *self.lock());
        rows.into_iter().map(|((tenant, ..), row)| (tenant, row)).collect()
    }

    /// Takes back what could not be written.
    pub(super) fn give_back(&self, tenant: &TenantId, rows: &[UsageRow]) {
        for row in rows {
            let points = Point::ALL.iter().map(|point| point.as_str()).chain([METERED_AS]);
            let Some(point) = points.into_iter().find(|point| *point == row.point) else { continue };
            let key =
                (tenant.clone(), row.day.clone(), row.plugin.clone(), row.plugin_version.clone(), point);
            self.add(key, row);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, UsageRow>> {
        self.0.lock().expect("no code panics while it holds this lock")
    }
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn day_of(now: crate::clock::Timestamp) -> String {
    now.to_string().chars().take(10).collect()
}

fn sum(row: &mut UsageRow, more: &UsageRow) {
    let UsageRow {
        day: _,
        plugin: _,
        plugin_version: _,
        point: _,
        calls,
        failures,
        fuel,
        duration_us,
        rows_read,
        rows_written,
        bytes,
        requests,
        log_lines,
    } = more;
    for (sum, more) in [
        (&mut row.calls, calls),
        (&mut row.failures, failures),
        (&mut row.fuel, fuel),
        (&mut row.duration_us, duration_us),
        (&mut row.rows_read, rows_read),
        (&mut row.rows_written, rows_written),
        (&mut row.bytes, bytes),
        (&mut row.requests, requests),
        (&mut row.log_lines, log_lines),
    ] {
        *sum = sum.saturating_add(*more);
    }
}
