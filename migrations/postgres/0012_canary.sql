-- Newer versions of plugins that a part of a tenant's records meets: one at a time for a plugin, and the
-- last is kept with how the two versions have fared. The tallies are sums that servers add to every few
-- seconds and at a failure, never each run by itself.
CREATE TABLE plugin_canaries (
    tenant TEXT COLLATE "C" NOT NULL,
    plugin TEXT COLLATE "C" NOT NULL,
    canary_version TEXT COLLATE "C" NOT NULL,
    live_version TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('running', 'ended')),
    ended_because TEXT COLLATE "C"
        CHECK (ended_because IN ('promoted', 'aborted', 'breaker', 'failures', 'live_changed')),
    share TEXT COLLATE "C" NOT NULL,
    grants TEXT COLLATE "C" NOT NULL,
    settings TEXT COLLATE "C" NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    live_tally TEXT COLLATE "C" NOT NULL,
    canary_tally TEXT COLLATE "C" NOT NULL,
    last_error TEXT COLLATE "C",
    PRIMARY KEY (tenant, plugin)
);
