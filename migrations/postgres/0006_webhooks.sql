-- Webhooks: addresses of others that are told what happens. What waits for them stands in
-- `deliveries`, under the consumer `webhook:<id>`.

CREATE TABLE webhooks (
    tenant TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    url TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C",
    -- Names as a JSON array; empty for all.
    events TEXT COLLATE "C" NOT NULL,
    -- enabled | disabled
    state TEXT COLLATE "C" NOT NULL,
    -- asked | gone | failing
    disabled_reason TEXT COLLATE "C",
    disabled_at BIGINT,
    -- Since the first failure after the last success. Written only when that changes: a
    -- column that every delivery wrote would make them conflict.
    failing_since BIGINT,
    -- Of whoever last changed it, as a JSON array.
    roles TEXT COLLATE "C" NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);

CREATE TABLE webhook_secrets (
    tenant TEXT COLLATE "C" NOT NULL,
    webhook TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    -- Sealed with the operator's key.
    sealed BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    -- When it no longer signs; NULL for the newest.
    expires_at BIGINT,
    PRIMARY KEY (tenant, webhook, id)
);

-- Only ever added to, and purged.
CREATE TABLE webhook_attempts (
    tenant TEXT COLLATE "C" NOT NULL,
    webhook TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    event TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    status BIGINT,
    message TEXT COLLATE "C",
    answer TEXT COLLATE "C",
    PRIMARY KEY (tenant, webhook, id)
);
