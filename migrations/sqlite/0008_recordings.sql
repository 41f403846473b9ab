-- The flight recorder: which runs of a plugin are recorded, and what was recorded.

-- By extension point, such as {"actions": "failures"}.
ALTER TABLE plugin_enablements ADD COLUMN recording TEXT NOT NULL DEFAULT '{}';

CREATE TABLE recordings (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    plugin TEXT NOT NULL,
    plugin_version TEXT NOT NULL,
    digest TEXT NOT NULL,
    point TEXT NOT NULL,
    outcome TEXT NOT NULL,
    at INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    fuel INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    -- Bytes of what is sealed.
    size INTEGER NOT NULL,
    truncated INTEGER NOT NULL CHECK (truncated IN (0, 1)),
    -- Ids of the customers whose keys are needed to read it.
    customers TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX recordings_by_plugin ON recordings (tenant, plugin, id);

-- What was recorded, sealed and cut in pieces.
CREATE TABLE recording_chunks (
    tenant TEXT NOT NULL,
    recording TEXT NOT NULL,
    seq INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (tenant, recording, seq)
) STRICT;

-- A key for each customer that a recording is about, sealed with the operator's. Without the keys of all
-- of its customers nobody reads a recording again: that is how one is erased.
CREATE TABLE recording_keys (
    tenant TEXT NOT NULL,
    customer TEXT NOT NULL,
    sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, customer)
) STRICT, WITHOUT ROWID;

-- Recordings that there was no room for.
CREATE TABLE recording_drops (
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    count INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, plugin)
) STRICT, WITHOUT ROWID;
