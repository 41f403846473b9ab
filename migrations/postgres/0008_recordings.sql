-- The flight recorder: which runs of a plugin are recorded, and what was recorded.

-- By extension point, such as {"actions": "failures"}.
ALTER TABLE plugin_enablements ADD COLUMN recording TEXT COLLATE "C" NOT NULL DEFAULT '{}';

CREATE TABLE recordings (
    tenant TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    plugin TEXT COLLATE "C" NOT NULL,
    plugin_version TEXT COLLATE "C" NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    point TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    fuel BIGINT NOT NULL,
    calls BIGINT NOT NULL,
    -- Bytes of what is sealed.
    size BIGINT NOT NULL,
    truncated BOOLEAN NOT NULL,
    -- Ids of the customers whose keys are needed to read it.
    customers TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, id)
);

CREATE INDEX recordings_by_plugin ON recordings (tenant, plugin, id);

-- What was recorded, sealed and cut in pieces.
CREATE TABLE recording_chunks (
    tenant TEXT COLLATE "C" NOT NULL,
    recording TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (tenant, recording, seq)
);

-- A key for each customer that a recording is about, sealed with the operator's. Without the keys of all
-- of its customers nobody reads a recording again: that is how one is erased.
CREATE TABLE recording_keys (
    tenant TEXT COLLATE "C" NOT NULL,
    customer TEXT COLLATE "C" NOT NULL,
    sealed BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, customer)
);

-- Recordings that there was no room for.
CREATE TABLE recording_drops (
    tenant TEXT COLLATE "C" NOT NULL,
    plugin TEXT COLLATE "C" NOT NULL,
    count BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, plugin)
);
