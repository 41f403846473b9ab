-- Customers and what has happened with them.
-- A row of `customers` holds what is shown; the tables beside it hold what is
-- searched or unique, and are written with it.

-- A tenant's lifecycle stages, and the definitions of the fields of all its records, both JSON.
-- Without a row, the default model.
CREATE TABLE models (
    tenant TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    stages TEXT NOT NULL,
    fields TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE customers (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    -- The name in lower case with single blanks, computed by the host.
    search_key TEXT NOT NULL,
    lifecycle_stage TEXT NOT NULL,
    owner_id TEXT,
    org_unit_id TEXT,
    -- Tags, contact points, identities, preferences, fields and provenance, as JSON.
    details TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, org_unit_id) REFERENCES org_units (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX customers_search_key ON customers (tenant, search_key, id);
CREATE INDEX customers_created_at ON customers (tenant, created_at, id);
CREATE INDEX customers_updated_at ON customers (tenant, updated_at, id);
CREATE INDEX customers_owner ON customers (tenant, owner_id, id) WHERE owner_id IS NOT NULL;
CREATE INDEX customers_org_unit ON customers (tenant, org_unit_id, id) WHERE org_unit_id IS NOT NULL;
CREATE INDEX customers_lifecycle_stage ON customers (tenant, lifecycle_stage, id);

CREATE TABLE customer_tags (
    tenant TEXT NOT NULL,
    tag TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    PRIMARY KEY (tenant, tag, customer_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX customer_tags_customer ON customer_tags (tenant, customer_id);

CREATE TABLE contact_points (
    tenant TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    kind TEXT NOT NULL,
    -- Addresses in lower case, numbers by their digits.
    search_value TEXT NOT NULL,
    PRIMARY KEY (tenant, customer_id, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX contact_points_search_value ON contact_points (tenant, search_value, customer_id);

-- Who a customer is in other systems. Records that come from one system at most
-- carry their source and external id themselves.
CREATE TABLE identities (
    tenant TEXT NOT NULL,
    source TEXT NOT NULL,
    external_id TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    PRIMARY KEY (tenant, source, external_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX identities_customer ON identities (tenant, customer_id);

-- Values of custom fields (namespace '') and of plugins' fields, one typed column
-- of which is set: texts and choices; integers, booleans and times; numbers.
CREATE TABLE field_values (
    tenant TEXT NOT NULL,
    entity TEXT NOT NULL,
    record_id TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    text_value TEXT,
    integer_value INTEGER,
    number_value REAL,
    PRIMARY KEY (tenant, entity, record_id, namespace, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX field_values_text ON field_values (tenant, entity, namespace, name, text_value, record_id)
    WHERE text_value IS NOT NULL;
CREATE INDEX field_values_integer ON field_values (tenant, entity, namespace, name, integer_value, record_id)
    WHERE integer_value IS NOT NULL;
CREATE INDEX field_values_number ON field_values (tenant, entity, namespace, name, number_value, record_id)
    WHERE number_value IS NOT NULL;

CREATE TABLE products (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    sku TEXT NOT NULL,
    name TEXT NOT NULL,
    search_key TEXT NOT NULL,
    class TEXT,
    price_minor INTEGER,
    price_currency TEXT,
    source TEXT,
    external_id TEXT,
    -- Custom fields as JSON; nothing for a product without any.
    fields TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, sku),
    UNIQUE (tenant, source, external_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX products_class ON products (tenant, class, id) WHERE class IS NOT NULL;
CREATE INDEX products_search_key ON products (tenant, search_key, id);
CREATE INDEX products_updated_at ON products (tenant, updated_at, id);

-- Lines and refunds are JSON: they are read and written with their order only.
CREATE TABLE orders (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    customer_id TEXT NOT NULL,
    status TEXT NOT NULL,
    channel TEXT NOT NULL,
    store TEXT,
    currency TEXT NOT NULL,
    total_minor INTEGER NOT NULL,
    refunded_minor INTEGER NOT NULL,
    ordered_at INTEGER NOT NULL,
    source TEXT,
    external_id TEXT,
    lines TEXT NOT NULL,
    refunds TEXT NOT NULL,
    -- Custom fields and plugins' fields as JSON; nothing for an order without any.
    fields TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, source, external_id),
    CHECK (total_minor >= 0 AND refunded_minor BETWEEN 0 AND total_minor)
) STRICT, WITHOUT ROWID;

CREATE INDEX orders_customer ON orders (tenant, customer_id, ordered_at, id);
CREATE INDEX orders_ordered_at ON orders (tenant, ordered_at, id);
CREATE INDEX orders_updated_at ON orders (tenant, updated_at, id);

-- Clustered by customer and time, as it is read.
CREATE TABLE timeline (
    tenant TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    occurred_at INTEGER NOT NULL,
    id TEXT NOT NULL,
    category TEXT NOT NULL,
    kind TEXT NOT NULL,
    summary TEXT NOT NULL,
    channel TEXT,
    direction TEXT,
    outcome TEXT,
    agent_id TEXT,
    duration_s INTEGER,
    content TEXT,
    object TEXT,
    device TEXT,
    details TEXT NOT NULL,
    source TEXT,
    external_id TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, customer_id, occurred_at, id),
    UNIQUE (tenant, source, external_id)
) STRICT, WITHOUT ROWID;
