-- Plugins: packages of the host, what each tenant has enabled, and plugins' own data.

CREATE TABLE plugin_packages (
    name TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    size BIGINT NOT NULL,
    manifest TEXT COLLATE "C" NOT NULL,
    imports TEXT COLLATE "C" NOT NULL,
    exports TEXT COLLATE "C" NOT NULL,
    installed_at BIGINT NOT NULL,
    PRIMARY KEY (name, version)
);

CREATE TABLE plugin_chunks (
    digest TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (digest, seq)
);

-- A row stays when a plugin is disabled, so that its grants and settings are
-- found again. `version` grows with every change and is what running
-- invocations check before they commit.
CREATE TABLE plugin_enablements (
    tenant TEXT COLLATE "C" NOT NULL,
    plugin TEXT COLLATE "C" NOT NULL,
    package_version TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('enabled', 'disabled')),
    version BIGINT NOT NULL,
    grants TEXT COLLATE "C" NOT NULL,
    settings TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, plugin)
);

CREATE TABLE documents (
    tenant TEXT COLLATE "C" NOT NULL,
    plugin TEXT COLLATE "C" NOT NULL,
    collection TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    subject_kind TEXT COLLATE "C" NOT NULL,
    subject_id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, plugin, collection, key)
);

CREATE INDEX documents_by_subject
    ON documents (tenant, plugin, collection, subject_kind, subject_id, key);

-- One row for each declared index of a document that has a value there; the
-- value is written so that its order as text is its order.
CREATE TABLE document_index (
    tenant TEXT COLLATE "C" NOT NULL,
    plugin TEXT COLLATE "C" NOT NULL,
    collection TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    subject_kind TEXT COLLATE "C" NOT NULL,
    subject_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, plugin, collection, name, value, key)
);

CREATE INDEX document_index_by_subject
    ON document_index (tenant, plugin, collection, subject_kind, subject_id, name, value, key);
CREATE INDEX document_index_by_key
    ON document_index (tenant, plugin, collection, key);

-- Grows with every change of a subject's documents; what invocations read is
-- validated against it.
CREATE TABLE subject_versions (
    tenant TEXT COLLATE "C" NOT NULL,
    plugin TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (tenant, plugin, kind, id)
);

CREATE TABLE plugin_kv (
    tenant TEXT COLLATE "C" NOT NULL,
    plugin TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    value BYTEA NOT NULL,
    expires_at BIGINT,
    PRIMARY KEY (tenant, plugin, key)
);

-- What the host adds to a plugin's requests to one host; the plugin never sees it.
CREATE TABLE plugin_credentials (
    tenant TEXT COLLATE "C" NOT NULL,
    plugin TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    host TEXT COLLATE "C" NOT NULL,
    header TEXT COLLATE "C" NOT NULL,
    -- Sealed with the operator's key.
    sealed BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, plugin, name)
);

-- Plugins' files by name. Their contents are blobs in a folder, each under an id that
-- is never used again.
CREATE TABLE plugin_files (
    tenant TEXT COLLATE "C" NOT NULL,
    plugin TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    blob TEXT COLLATE "C" NOT NULL,
    size BIGINT NOT NULL,
    modified_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, plugin, name)
);

-- What a plugin's files add up to, for its quota.
CREATE TABLE plugin_file_usage (
    tenant TEXT COLLATE "C" NOT NULL,
    plugin TEXT COLLATE "C" NOT NULL,
    files BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (tenant, plugin)
);

-- Blobs that no file names: about to be named by an invocation that is committing, or
-- named no more. One that stays here is removed, and doomed before it is.
CREATE TABLE loose_blobs (
    tenant TEXT COLLATE "C" NOT NULL,
    plugin TEXT COLLATE "C" NOT NULL,
    blob TEXT COLLATE "C" NOT NULL,
    since BIGINT NOT NULL,
    doomed BOOLEAN NOT NULL,
    PRIMARY KEY (tenant, plugin, blob)
);

CREATE INDEX loose_blobs_by_time ON loose_blobs (tenant, since);

CREATE TABLE plugin_log (
    tenant TEXT COLLATE "C" NOT NULL,
    plugin TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    point TEXT COLLATE "C" NOT NULL,
    level TEXT COLLATE "C" NOT NULL,
    code TEXT COLLATE "C",
    message TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, plugin, id)
);

-- What a plugin was refused for want of a grant: a row for each function and grant
-- of the contract, never one for each refusal.
CREATE TABLE plugin_denials (
    tenant TEXT COLLATE "C" NOT NULL,
    plugin TEXT COLLATE "C" NOT NULL,
    grant_name TEXT COLLATE "C" NOT NULL,
    function TEXT COLLATE "C" NOT NULL,
    count BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, plugin, grant_name, function)
);

-- Workflow steps that have come to their end: one that is called again under its
-- key is answered from here.
CREATE TABLE plugin_steps (
    tenant TEXT COLLATE "C" NOT NULL,
    plugin TEXT COLLATE "C" NOT NULL,
    step TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (tenant, plugin, step, key)
);

CREATE INDEX plugin_steps_by_time ON plugin_steps (tenant, at);

-- Jobs that a manifest declares. `due_at` is the next run; while one goes on,
-- `run_due_at` and `cursor` say where it stands.
CREATE TABLE schedules (
    tenant TEXT COLLATE "C" NOT NULL,
    plugin TEXT COLLATE "C" NOT NULL,
    job TEXT COLLATE "C" NOT NULL,
    schedule TEXT COLLATE "C" NOT NULL,
    catch_up TEXT COLLATE "C" NOT NULL,
    due_at BIGINT NOT NULL,
    run_due_at BIGINT,
    cursor TEXT COLLATE "C",
    chunks BIGINT NOT NULL DEFAULT 0,
    attempts BIGINT NOT NULL DEFAULT 0,
    leased_by TEXT COLLATE "C",
    leased_until BIGINT,
    last_error TEXT COLLATE "C",
    PRIMARY KEY (tenant, plugin, job)
);

CREATE INDEX schedules_due ON schedules (due_at);
