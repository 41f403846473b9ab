-- What plugins have used: sums that servers add to every few seconds, never each run by itself.
CREATE TABLE plugin_usage (
    tenant TEXT COLLATE "C" NOT NULL,
    -- In UTC, such as 2026-11-22.
    day TEXT COLLATE "C" NOT NULL,
    plugin TEXT COLLATE "C" NOT NULL,
    plugin_version TEXT COLLATE "C" NOT NULL,
    point TEXT COLLATE "C" NOT NULL,
    calls BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    fuel BIGINT NOT NULL,
    duration_us BIGINT NOT NULL,
    rows_read BIGINT NOT NULL,
    rows_written BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    log_lines BIGINT NOT NULL,
    PRIMARY KEY (tenant, day, plugin, plugin_version, point)
);
