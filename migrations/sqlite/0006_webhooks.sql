-- Webhooks: addresses of others that are told what happens. What waits for them stands in
-- `deliveries`, under the consumer `webhook:<id>`.

CREATE TABLE webhooks (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    url TEXT NOT NULL,
    description TEXT,
    -- Names as a JSON array; empty for all.
    events TEXT NOT NULL,
    -- enabled | disabled
    state TEXT NOT NULL,
    -- asked | gone | failing
    disabled_reason TEXT,
    disabled_at INTEGER,
    -- Since the first failure after the last success. Written only when that changes: a
    -- column that every delivery wrote would make them conflict.
    failing_since INTEGER,
    -- Of whoever last changed it, as a JSON array.
    roles TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE webhook_secrets (
    tenant TEXT NOT NULL,
    webhook TEXT NOT NULL,
    id TEXT NOT NULL,
    -- Sealed with the operator's key.
    sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    -- When it no longer signs; NULL for the newest.
    expires_at INTEGER,
    PRIMARY KEY (tenant, webhook, id)
) STRICT, WITHOUT ROWID;

-- Only ever added to, and purged.
CREATE TABLE webhook_attempts (
    tenant TEXT NOT NULL,
    webhook TEXT NOT NULL,
    id TEXT NOT NULL,
    event TEXT NOT NULL,
    name TEXT NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    status INTEGER,
    message TEXT,
    answer TEXT,
    PRIMARY KEY (tenant, webhook, id)
) STRICT, WITHOUT ROWID;
