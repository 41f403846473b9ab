-- Plugins: packages of the host, what each tenant has enabled, and plugins' own data.

CREATE TABLE plugin_packages (
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    digest TEXT NOT NULL,
    size INTEGER NOT NULL,
    manifest TEXT NOT NULL,
    imports TEXT NOT NULL,
    exports TEXT NOT NULL,
    installed_at INTEGER NOT NULL,
    PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE plugin_chunks (
    digest TEXT NOT NULL,
    seq INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (digest, seq)
) STRICT;

-- A row stays when a plugin is disabled, so that its grants and settings are
-- found again. `version` grows with every change and is what running
-- invocations check before they commit.
CREATE TABLE plugin_enablements (
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    package_version TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('enabled', 'disabled')),
    version INTEGER NOT NULL,
    grants TEXT NOT NULL,
    settings TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, plugin)
) STRICT, WITHOUT ROWID;

CREATE TABLE documents (
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    collection TEXT NOT NULL,
    key TEXT NOT NULL,
    subject_kind TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, plugin, collection, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX documents_by_subject
    ON documents (tenant, plugin, collection, subject_kind, subject_id, key);

-- One row for each declared index of a document that has a value there; the
-- value is written so that its order as text is its order.
CREATE TABLE document_index (
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    collection TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    key TEXT NOT NULL,
    subject_kind TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    PRIMARY KEY (tenant, plugin, collection, name, value, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX document_index_by_subject
    ON document_index (tenant, plugin, collection, subject_kind, subject_id, name, value, key);
CREATE INDEX document_index_by_key
    ON document_index (tenant, plugin, collection, key);

-- Grows with every change of a subject's documents; what invocations read is
-- validated against it.
CREATE TABLE subject_versions (
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (tenant, plugin, kind, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE plugin_kv (
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (tenant, plugin, key)
) STRICT, WITHOUT ROWID;

-- What the host adds to a plugin's requests to one host; the plugin never sees it.
CREATE TABLE plugin_credentials (
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    name TEXT NOT NULL,
    host TEXT NOT NULL,
    header TEXT NOT NULL,
    -- Sealed with the operator's key.
    sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, plugin, name)
) STRICT, WITHOUT ROWID;

-- Plugins' files by name. Their contents are blobs in a folder, each under an id that
-- is never used again.
CREATE TABLE plugin_files (
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    name TEXT NOT NULL,
    blob TEXT NOT NULL,
    size INTEGER NOT NULL,
    modified_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, plugin, name)
) STRICT, WITHOUT ROWID;

-- What a plugin's files add up to, for its quota.
CREATE TABLE plugin_file_usage (
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    files INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (tenant, plugin)
) STRICT, WITHOUT ROWID;

-- Blobs that no file names: about to be named by an invocation that is committing, or
-- named no more. One that stays here is removed, and doomed before it is.
CREATE TABLE loose_blobs (
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    blob TEXT NOT NULL,
    since INTEGER NOT NULL,
    doomed INTEGER NOT NULL,
    PRIMARY KEY (tenant, plugin, blob)
) STRICT, WITHOUT ROWID;

CREATE INDEX loose_blobs_by_time ON loose_blobs (tenant, since);

CREATE TABLE plugin_log (
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    id TEXT NOT NULL,
    at INTEGER NOT NULL,
    point TEXT NOT NULL,
    level TEXT NOT NULL,
    code TEXT,
    message TEXT NOT NULL,
    PRIMARY KEY (tenant, plugin, id)
) STRICT, WITHOUT ROWID;

-- What a plugin was refused for want of a grant: a row for each function and grant
-- of the contract, never one for each refusal.
CREATE TABLE plugin_denials (
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    grant_name TEXT NOT NULL,
    function TEXT NOT NULL,
    count INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, plugin, grant_name, function)
) STRICT, WITHOUT ROWID;

-- Workflow steps that have come to their end: one that is called again under its
-- key is answered from here.
CREATE TABLE plugin_steps (
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    step TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    outcome TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (tenant, plugin, step, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX plugin_steps_by_time ON plugin_steps (tenant, at);

-- Jobs that a manifest declares. `due_at` is the next run; while one goes on,
-- `run_due_at` and `cursor` say where it stands.
CREATE TABLE schedules (
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    job TEXT NOT NULL,
    schedule TEXT NOT NULL,
    catch_up TEXT NOT NULL,
    due_at INTEGER NOT NULL,
    run_due_at INTEGER,
    cursor TEXT,
    chunks INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    leased_by TEXT,
    leased_until INTEGER,
    last_error TEXT,
    PRIMARY KEY (tenant, plugin, job)
) STRICT, WITHOUT ROWID;

CREATE INDEX schedules_due ON schedules (due_at);
