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
    saves INTEGER NOT NULL,
    saves_left_out INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    fuel INTEGER NOT NULL,
    differences INTEGER NOT NULL,
    last_error TEXT,
    PRIMARY KEY (tenant, plugin)
) STRICT, WITHOUT ROWID;

-- One effect that one of the two versions has and the other has not, or has otherwise; without an event, it
-- is an answer to a save.
CREATE TABLE plugin_shadow_differences (
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    event TEXT,
    subject_kind TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    what TEXT NOT NULL,
    live TEXT,
    shadow TEXT,
    PRIMARY KEY (tenant, plugin, seq)
) STRICT, WITHOUT ROWID;

-- The version before, for the way back; forgotten once that was taken.
ALTER TABLE plugin_enablements ADD COLUMN previous_version TEXT;
ALTER TABLE plugin_enablements ADD COLUMN previous_grants TEXT;
ALTER TABLE plugin_enablements ADD COLUMN previous_settings TEXT;

-- The last move of a plugin's data from one version to another, chunk by chunk: `epoch` grows whenever a
-- server takes it up, `attempts` are those since a chunk was last done, and `writes` counts the chunks that have changed anything.
CREATE TABLE plugin_moves (
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    from_version TEXT NOT NULL,
    to_version TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'failed', 'done')),
    epoch INTEGER NOT NULL,
    cursor TEXT,
    chunks INTEGER NOT NULL,
    writes INTEGER NOT NULL,
    leased_until INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    error TEXT,
    started_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, plugin)
) STRICT, WITHOUT ROWID;

-- What a move is on the way to, for the server that goes on with it.
ALTER TABLE plugin_enablements ADD COLUMN moving_to TEXT;

-- A plugin that is uninstalled: when all that it keeps is purged and, once that has begun, what was, in
-- numbers by table.
ALTER TABLE plugin_enablements ADD COLUMN purge_at INTEGER;
ALTER TABLE plugin_enablements ADD COLUMN purged TEXT;
