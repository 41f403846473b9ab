-- Imports: jobs, the files that they read, what was wrong, and how often equal rows were seen.

CREATE TABLE import_jobs (
    tenant TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    entity TEXT COLLATE "C" NOT NULL,
    source TEXT COLLATE "C" NOT NULL,
    mapping TEXT COLLATE "C" NOT NULL,
    -- Who made it, with the rights that it acts with; they are checked again with every batch.
    actor TEXT COLLATE "C" NOT NULL,
    -- receiving | queued | running | succeeded | failed | cancelled
    state TEXT COLLATE "C" NOT NULL,
    received_bytes BIGINT NOT NULL,
    -- What is known of the encoding while the file arrives.
    sniffer BYTEA NOT NULL,
    encoding TEXT COLLATE "C",
    -- The columns of the file, once its first row was read.
    header TEXT COLLATE "C",
    -- Where the next row begins: everything before it is committed.
    next_offset BIGINT NOT NULL,
    next_line BIGINT NOT NULL,
    rows_created BIGINT NOT NULL,
    rows_updated BIGINT NOT NULL,
    rows_unchanged BIGINT NOT NULL,
    rows_failed BIGINT NOT NULL,
    faults_kept BIGINT NOT NULL,
    faults_dropped BIGINT NOT NULL,
    failure_code TEXT COLLATE "C",
    failure_message TEXT COLLATE "C",
    lease_token TEXT COLLATE "C",
    leased_until BIGINT NOT NULL,
    -- Whether the file is still stored.
    has_content BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    finished_at BIGINT,
    PRIMARY KEY (tenant, id)
);

-- What a runner looks for, over all tenants.
CREATE INDEX import_jobs_due ON import_jobs (leased_until, id) WHERE state IN ('queued', 'running');
-- What the purge looks for, over all tenants.
CREATE INDEX import_jobs_content ON import_jobs (updated_at, id) WHERE has_content;

CREATE TABLE import_chunks (
    tenant TEXT COLLATE "C" NOT NULL,
    import TEXT COLLATE "C" NOT NULL,
    -- The place of its first byte in the file.
    start BIGINT NOT NULL,
    bytes BYTEA NOT NULL,
    PRIMARY KEY (tenant, import, start)
);

CREATE TABLE import_errors (
    tenant TEXT COLLATE "C" NOT NULL,
    import TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    line BIGINT NOT NULL,
    place TEXT COLLATE "C",
    code TEXT COLLATE "C" NOT NULL,
    message TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C",
    PRIMARY KEY (tenant, import, seq)
);

-- How many rows with these columns were seen; the next equal one gets the next number.
CREATE TABLE import_occurrences (
    tenant TEXT COLLATE "C" NOT NULL,
    import TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    seen BIGINT NOT NULL,
    PRIMARY KEY (tenant, import, key)
);
