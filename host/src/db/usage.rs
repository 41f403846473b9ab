//! Rows of what plugins have used, by tenant, UTC day, version and extension point.

use serde::Serialize;

use super::{Tx, args, statements};
use crate::domain::ids::TenantId;
use crate::error::Result;

statements! {
    ADD = "
        INSERT INTO plugin_usage (tenant, day, plugin, plugin_version, point, calls, failures, fuel, duration_us,
            rows_read, rows_written, bytes, requests, log_lines)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
        ON CONFLICT (tenant, day, plugin, plugin_version, point) DO UPDATE
        SET calls = plugin_usage.calls + excluded.calls,
            failures = plugin_usage.failures + excluded.failures,
            fuel = plugin_usage.fuel + excluded.fuel,
            duration_us = plugin_usage.duration_us + excluded.duration_us,
            rows_read = plugin_usage.rows_read + excluded.rows_read,
            rows_written = plugin_usage.rows_written + excluded.rows_written,
            bytes = plugin_usage.bytes + excluded.bytes,
            requests = plugin_usage.requests + excluded.requests,
            log_lines = plugin_usage.log_lines + excluded.log_lines";
    LIST = "
        SELECT day, plugin, plugin_version, point, calls, failures, fuel, duration_us, rows_read, rows_written, bytes,
            requests, log_lines
        FROM plugin_usage
        WHERE tenant = $1
          AND day >= $2
          AND day <= $3
          AND (day, plugin, plugin_version, point) > ($4, $5, $6, $7)
        ORDER BY day, plugin, plugin_version, point
        LIMIT $8";
    DELETE_BEFORE = "DELETE FROM plugin_usage WHERE tenant = $1 AND day < $2";
}

/// What one extension point of a version of a plugin has used on one day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct UsageRow {
    /// The day in UTC, such as `2026-11-22`.
    pub day: String,
    /// The plugin's name.
    pub plugin: String,
    /// The version that ran: in a canary or a shadow, and on the day of an upgrade, there are several.
    pub plugin_version: String,
    /// The extension point.
    pub point: String,
    /// Runs, also those that were made again after a conflict.
    pub calls: i64,
    /// Those that broke off.
    pub failures: i64,
    /// Fuel that was burnt.
    pub fuel: i64,
    /// Microseconds from the beginning of each run to its end, waiting included.
    pub duration_us: i64,
    /// Rows that were read.
    pub rows_read: i64,
    /// Rows that were written, also by runs that were undone.
    pub rows_written: i64,
    /// Bytes of documents and values that went in and out.
    pub bytes: i64,
    /// Requests to other servers.
    pub requests: i64,
    /// Lines of the log.
    pub log_lines: i64,
}

/// Adds to what was used before.
pub(crate) async fn add(tx: &mut Tx, tenant: &TenantId, row: &UsageRow) -> Result<()> {
    let UsageRow {
        day,
        plugin,
        plugin_version,
        point,
        calls,
        failures,
        fuel,
        duration_us,
        rows_read,
        rows_written,
        bytes,
        requests,
        log_lines,
    } = row;
    let args = args![
        tenant,
        day,
        plugin,
        plugin_version,
        point,
        *calls,
        *failures,
        *fuel,
        *duration_us,
        *rows_read,
        *rows_written,
        *bytes,
        *requests,
        *log_lines,
    ];
    tx.execute(ADD, args).await.map(drop)
}

/// The rows of the days `from` to `to` behind `after` (day, plugin, version, point), in that order.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &TenantId,
    (from, to): (&str, &str),
    (day, plugin, version, point): (&str, &str, &str, &str),
    limit: i64,
) -> Result<Vec<UsageRow>> {
    tx.fetch_all(LIST, args![tenant, from, to, day, plugin, version, point, limit]).await
}

/// Deletes the rows of the days before `day`; answers how many.
pub(crate) async fn purge(tx: &mut Tx, tenant: &TenantId, day: &str) -> Result<u64> {
    tx.execute(DELETE_BEFORE, args![tenant, day]).await
}
