-- Newer versions of plugins that a part of a tenant's records meets: one at a time for a plugin, and the
-- last is kept with how the two versions have fared. The tallies are sums that servers add to every few
-- seconds and at a failure, never each run by itself.
CREATE TABLE plugin_canaries (
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    canary_version TEXT NOT NULL,
    live_version TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'ended')),
    ended_because TEXT CHECK (ended_because IN ('promoted', 'aborted', 'breaker', 'failures', 'live_changed')),
    share TEXT NOT NULL,
    grants TEXT NOT NULL,
    settings TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    live_tally TEXT NOT NULL,
    canary_tally TEXT NOT NULL,
    last_error TEXT,
    PRIMARY KEY (tenant, plugin)
) STRICT, WITHOUT ROWID;
