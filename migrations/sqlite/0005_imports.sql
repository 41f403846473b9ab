-- Imports: jobs, the files that they read, what was wrong, and how often equal rows were seen.

CREATE TABLE import_jobs (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    entity TEXT NOT NULL,
    source TEXT NOT NULL,
    mapping TEXT NOT NULL,
    -- Who made it, with the rights that it acts with; they are checked again with every batch.
    actor TEXT NOT NULL,
    -- receiving | queued | running | succeeded | failed | cancelled
    state TEXT NOT NULL,
    received_bytes INTEGER NOT NULL,
    -- What is known of the encoding while the file arrives.
    sniffer BLOB NOT NULL,
    encoding TEXT,
    -- The columns of the file, once its first row was read.
    header TEXT,
    -- Where the next row begins: everything before it is committed.
    next_offset INTEGER NOT NULL,
    next_line INTEGER NOT NULL,
    rows_created INTEGER NOT NULL,
    rows_updated INTEGER NOT NULL,
    rows_unchanged INTEGER NOT NULL,
    rows_failed INTEGER NOT NULL,
    faults_kept INTEGER NOT NULL,
    faults_dropped INTEGER NOT NULL,
    failure_code TEXT,
    failure_message TEXT,
    lease_token TEXT,
    leased_until INTEGER NOT NULL,
    -- Whether the file is still stored.
    has_content INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    finished_at INTEGER,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

-- What a runner looks for, over all tenants.
CREATE INDEX import_jobs_due ON import_jobs (leased_until, id) WHERE state IN ('queued', 'running');
-- What the purge looks for, over all tenants.
CREATE INDEX import_jobs_content ON import_jobs (updated_at, id) WHERE has_content = 1;

CREATE TABLE import_chunks (
    tenant TEXT NOT NULL,
    import TEXT NOT NULL,
    -- The place of its first byte in the file.
    start INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (tenant, import, start)
) STRICT;

CREATE TABLE import_errors (
    tenant TEXT NOT NULL,
    import TEXT NOT NULL,
    seq INTEGER NOT NULL,
    line INTEGER NOT NULL,
    place TEXT,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    value TEXT,
    PRIMARY KEY (tenant, import, seq)
) STRICT, WITHOUT ROWID;

-- How many rows with these columns were seen; the next equal one gets the next number.
CREATE TABLE import_occurrences (
    tenant TEXT NOT NULL,
    import TEXT NOT NULL,
    key TEXT NOT NULL,
    seen INTEGER NOT NULL,
    PRIMARY KEY (tenant, import, key)
) STRICT, WITHOUT ROWID;
