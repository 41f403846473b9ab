-- Tenants, their people and what may act for them, and the audit log.

CREATE TABLE tenants (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    slug TEXT NOT NULL,
    name TEXT NOT NULL,
    locale TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    currency TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'suspended')),
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant),
    UNIQUE (slug),
    -- The column `tenant` is there for row-level security, which asks every table for it.
    CHECK (tenant = id)
) STRICT, WITHOUT ROWID;

CREATE TABLE org_units (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    parent_id TEXT,
    kind TEXT NOT NULL CHECK (kind IN ('group', 'region', 'store', 'department')),
    name TEXT NOT NULL,
    code TEXT,
    -- The ids from the root to this unit, each followed by a slash.
    path TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant) REFERENCES tenants (tenant),
    FOREIGN KEY (tenant, parent_id) REFERENCES org_units (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX org_units_path ON org_units (tenant, path);
CREATE UNIQUE INDEX org_units_code ON org_units (tenant, code);
CREATE INDEX org_units_parent ON org_units (tenant, parent_id);

CREATE TABLE users (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    -- In lower case; what the person types in.
    login TEXT NOT NULL,
    name TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'disabled')),
    org_unit_id TEXT,
    locale TEXT,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, login),
    FOREIGN KEY (tenant) REFERENCES tenants (tenant),
    FOREIGN KEY (tenant, org_unit_id) REFERENCES org_units (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX users_org_unit ON users (tenant, org_unit_id);

CREATE TABLE user_roles (
    tenant TEXT NOT NULL,
    user_id TEXT NOT NULL,
    role TEXT NOT NULL,
    PRIMARY KEY (tenant, user_id, role),
    FOREIGN KEY (tenant, user_id) REFERENCES users (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX user_roles_role ON user_roles (tenant, role);

CREATE TABLE sessions (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    secret_hash TEXT NOT NULL,
    user_agent TEXT,
    address TEXT,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, user_id) REFERENCES users (tenant, id)
) STRICT, WITHOUT ROWID;

-- Looked up before the tenant is known.
CREATE UNIQUE INDEX sessions_id ON sessions (id);
CREATE INDEX sessions_user ON sessions (tenant, user_id, id);

CREATE TABLE tokens (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    secret_hash TEXT NOT NULL,
    -- JSON lists of names; no permissions means all that the roles have.
    roles TEXT NOT NULL,
    permissions TEXT,
    org_unit_id TEXT,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant) REFERENCES tenants (tenant),
    FOREIGN KEY (tenant, org_unit_id) REFERENCES org_units (tenant, id)
) STRICT, WITHOUT ROWID;

-- Looked up before the tenant is known.
CREATE UNIQUE INDEX tokens_id ON tokens (id);

CREATE TABLE idempotency_keys (
    tenant TEXT NOT NULL,
    principal TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    -- What the use case answered, as JSON.
    answer TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, principal, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_age ON idempotency_keys (tenant, created_at);

CREATE TABLE audit (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    at INTEGER NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    via_plugin TEXT,
    action TEXT NOT NULL,
    entity TEXT NOT NULL,
    record TEXT NOT NULL,
    -- JSON: field names with old and new values.
    changes TEXT NOT NULL,
    request_id TEXT,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX audit_record ON audit (tenant, entity, record, id);
CREATE INDEX audit_actor ON audit (tenant, actor_id, id);
