-- Upgrades of plugins: the times in which a tenant wants none, and new versions that are tried beside the old.

CREATE TABLE upgrade_freezes (
    tenant TEXT NOT NULL,
    seq INTEGER NOT NULL,
    starts_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (tenant, seq)
);

-- A version that runs beside the enabled one with its effects discarded; one at a time for a plugin, and
-- the last is kept with what it has found.
CREATE TABLE plugin_shadows (
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    shadow_version TEXT NOT NULL,
    live_version TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'ended')),
    ended_because TEXT CHECK (ended_because IN ('stopped', 'events', 'live_changed')),
    grants TEXT NOT NULL,
    settings TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL,
    events_max INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    fuel INTEGER NOT NULL,
    differences INTEGER NOT NULL,
    last_error TEXT,
    PRIMARY KEY (tenant, plugin)
) STRICT, WITHOUT ROWID;

-- One effect that one of the two versions has and the other has not, or has otherwise.
CREATE TABLE plugin_shadow_differences (
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    event TEXT NOT NULL,
    subject_kind TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    what TEXT NOT NULL,
    live TEXT,
    shadow TEXT,
    PRIMARY KEY (tenant, plugin, seq)
) STRICT, WITHOUT ROWID;
