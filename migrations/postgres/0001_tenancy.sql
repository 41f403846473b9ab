-- Tenants, their people and what may act for them, and the audit log.

CREATE TABLE tenants (
    tenant TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    slug TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    locale TEXT COLLATE "C" NOT NULL,
    time_zone TEXT COLLATE "C" NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('active', 'suspended')),
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant),
    UNIQUE (slug),
    -- The column `tenant` is there for row-level security, which asks every table for it.
    CHECK (tenant = id)
);

CREATE TABLE org_units (
    tenant TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    parent_id TEXT COLLATE "C",
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('group', 'region', 'store', 'department')),
    name TEXT COLLATE "C" NOT NULL,
    code TEXT COLLATE "C",
    -- The ids from the root to this unit, each followed by a slash.
    path TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant) REFERENCES tenants (tenant),
    FOREIGN KEY (tenant, parent_id) REFERENCES org_units (tenant, id)
);

CREATE UNIQUE INDEX org_units_path ON org_units (tenant, path);
CREATE UNIQUE INDEX org_units_code ON org_units (tenant, code);
CREATE INDEX org_units_parent ON org_units (tenant, parent_id);

CREATE TABLE users (
    tenant TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    -- In lower case; what the person types in.
    login TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    password_hash TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('active', 'disabled')),
    org_unit_id TEXT COLLATE "C",
    locale TEXT COLLATE "C",
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, login),
    FOREIGN KEY (tenant) REFERENCES tenants (tenant),
    FOREIGN KEY (tenant, org_unit_id) REFERENCES org_units (tenant, id)
);

CREATE INDEX users_org_unit ON users (tenant, org_unit_id);

CREATE TABLE user_roles (
    tenant TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    role TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, user_id, role),
    FOREIGN KEY (tenant, user_id) REFERENCES users (tenant, id)
);

CREATE INDEX user_roles_role ON user_roles (tenant, role);

CREATE TABLE sessions (
    tenant TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    secret_hash TEXT COLLATE "C" NOT NULL,
    user_agent TEXT COLLATE "C",
    address TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, user_id) REFERENCES users (tenant, id)
);

-- Looked up before the tenant is known.
CREATE UNIQUE INDEX sessions_id ON sessions (id);
CREATE INDEX sessions_user ON sessions (tenant, user_id, id);

CREATE TABLE tokens (
    tenant TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    secret_hash TEXT COLLATE "C" NOT NULL,
    -- JSON lists of names; no permissions means all that the roles have.
    roles TEXT COLLATE "C" NOT NULL,
    permissions TEXT COLLATE "C",
    org_unit_id TEXT COLLATE "C",
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant) REFERENCES tenants (tenant),
    FOREIGN KEY (tenant, org_unit_id) REFERENCES org_units (tenant, id)
);

-- Looked up before the tenant is known.
CREATE UNIQUE INDEX tokens_id ON tokens (id);

CREATE TABLE idempotency_keys (
    tenant TEXT COLLATE "C" NOT NULL,
    principal TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT COLLATE "C" NOT NULL,
    -- What the use case answered, as JSON.
    answer TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, principal, key)
);

CREATE INDEX idempotency_keys_age ON idempotency_keys (tenant, created_at);

CREATE TABLE audit (
    tenant TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    actor_kind TEXT COLLATE "C" NOT NULL,
    actor_id TEXT COLLATE "C" NOT NULL,
    via_plugin TEXT COLLATE "C",
    action TEXT COLLATE "C" NOT NULL,
    entity TEXT COLLATE "C" NOT NULL,
    record TEXT COLLATE "C" NOT NULL,
    -- JSON: field names with old and new values.
    changes TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C",
    PRIMARY KEY (tenant, id)
);

CREATE INDEX audit_record ON audit (tenant, entity, record, id);
CREATE INDEX audit_actor ON audit (tenant, actor_id, id);
