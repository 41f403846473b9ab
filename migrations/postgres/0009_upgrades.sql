-- Upgrades of plugins: the times in which a tenant wants none, and new versions that are tried beside the old.

CREATE TABLE upgrade_freezes (
    tenant TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    starts_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, seq)
);

-- A version that runs beside the enabled one with its effects discarded; one at a time for a plugin, and
-- the last is kept with what it has found.
CREATE TABLE plugin_shadows (
    tenant TEXT COLLATE "C" NOT NULL,
    plugin TEXT COLLATE "C" NOT NULL,
    shadow_version TEXT COLLATE "C" NOT NULL,
    live_version TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('running', 'ended')),
    ended_because TEXT COLLATE "C" CHECK (ended_because IN ('stopped', 'events', 'live_changed')),
    grants TEXT COLLATE "C" NOT NULL,
    settings TEXT COLLATE "C" NOT NULL,
    started_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    events_max BIGINT NOT NULL,
    deliveries BIGINT NOT NULL,
    events BIGINT NOT NULL,
    saves BIGINT NOT NULL,
    saves_left_out BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    fuel BIGINT NOT NULL,
    differences BIGINT NOT NULL,
    last_error TEXT COLLATE "C",
    PRIMARY KEY (tenant, plugin)
);

-- One effect that one of the two versions has and the other has not, or has otherwise; without an event, it
-- is an answer to a save.
CREATE TABLE plugin_shadow_differences (
    tenant TEXT COLLATE "C" NOT NULL,
    plugin TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    event TEXT COLLATE "C",
    subject_kind TEXT COLLATE "C" NOT NULL,
    subject_id TEXT COLLATE "C" NOT NULL,
    what TEXT COLLATE "C" NOT NULL,
    live TEXT COLLATE "C",
    shadow TEXT COLLATE "C",
    PRIMARY KEY (tenant, plugin, seq)
);

-- The version before, for the way back; forgotten once that was taken.
ALTER TABLE plugin_enablements ADD COLUMN previous_version TEXT COLLATE "C";
ALTER TABLE plugin_enablements ADD COLUMN previous_grants TEXT COLLATE "C";
ALTER TABLE plugin_enablements ADD COLUMN previous_settings TEXT COLLATE "C";

-- The last move of a plugin's data from one version to another, chunk by chunk: `epoch` grows whenever a
-- server takes it up, `attempts` are those since a chunk was last done, and `writes` counts the chunks that have changed anything.
CREATE TABLE plugin_moves (
    tenant TEXT COLLATE "C" NOT NULL,
    plugin TEXT COLLATE "C" NOT NULL,
    from_version TEXT COLLATE "C" NOT NULL,
    to_version TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('running', 'failed', 'done')),
    epoch BIGINT NOT NULL,
    cursor TEXT COLLATE "C",
    chunks BIGINT NOT NULL,
    writes BIGINT NOT NULL,
    leased_until BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    error TEXT COLLATE "C",
    started_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, plugin)
);

-- What a move is on the way to, for the server that goes on with it.
ALTER TABLE plugin_enablements ADD COLUMN moving_to TEXT COLLATE "C";

-- A plugin that is uninstalled: when all that it keeps is purged and, once that has begun, what was, in
-- numbers by table.
ALTER TABLE plugin_enablements ADD COLUMN purge_at BIGINT;
ALTER TABLE plugin_enablements ADD COLUMN purged TEXT COLLATE "C";
