-- What plugins have used: sums that servers add to every few seconds, never each run by itself.
CREATE TABLE plugin_usage (
    tenant TEXT NOT NULL,
    -- In UTC, such as 2026-11-22.
    day TEXT NOT NULL,
    plugin TEXT NOT NULL,
    plugin_version TEXT NOT NULL,
    point TEXT NOT NULL,
    calls INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    fuel INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    rows_read INTEGER NOT NULL,
    rows_written INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    log_lines INTEGER NOT NULL,
    PRIMARY KEY (tenant, day, plugin, plugin_version, point)
) STRICT, WITHOUT ROWID;
