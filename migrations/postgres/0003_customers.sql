-- Customers and what has happened with them.
-- A row of `customers` holds what is shown; the tables beside it hold what is
-- searched or unique, and are written with it.

-- A tenant's lifecycle stages, and the definitions of the fields of all its records, both JSON.
-- Without a row, the default model.
CREATE TABLE models (
    tenant TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    stages TEXT COLLATE "C" NOT NULL,
    fields TEXT COLLATE "C" NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE customers (
    tenant TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    -- The name in lower case with single blanks, computed by the host.
    search_key TEXT COLLATE "C" NOT NULL,
    lifecycle_stage TEXT COLLATE "C" NOT NULL,
    owner_id TEXT COLLATE "C",
    org_unit_id TEXT COLLATE "C",
    -- Tags, contact points, identities, preferences, fields and provenance, as JSON.
    details TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, org_unit_id) REFERENCES org_units (tenant, id)
);

CREATE INDEX customers_search_key ON customers (tenant, search_key, id);
CREATE INDEX customers_created_at ON customers (tenant, created_at, id);
CREATE INDEX customers_updated_at ON customers (tenant, updated_at, id);
CREATE INDEX customers_owner ON customers (tenant, owner_id, id) WHERE owner_id IS NOT NULL;
CREATE INDEX customers_org_unit ON customers (tenant, org_unit_id, id) WHERE org_unit_id IS NOT NULL;
CREATE INDEX customers_lifecycle_stage ON customers (tenant, lifecycle_stage, id);

CREATE TABLE customer_tags (
    tenant TEXT COLLATE "C" NOT NULL,
    tag TEXT COLLATE "C" NOT NULL,
    customer_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, tag, customer_id)
);

CREATE INDEX customer_tags_customer ON customer_tags (tenant, customer_id);

CREATE TABLE contact_points (
    tenant TEXT COLLATE "C" NOT NULL,
    customer_id TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    -- Addresses in lower case, numbers by their digits.
    search_value TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, customer_id, position)
);

CREATE INDEX contact_points_search_value ON contact_points (tenant, search_value, customer_id);

-- Who a customer is in other systems. Records that come from one system at most
-- carry their source and external id themselves.
CREATE TABLE identities (
    tenant TEXT COLLATE "C" NOT NULL,
    source TEXT COLLATE "C" NOT NULL,
    external_id TEXT COLLATE "C" NOT NULL,
    customer_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, source, external_id)
);

CREATE INDEX identities_customer ON identities (tenant, customer_id);

-- Values of custom fields (namespace '') and of plugins' fields, one typed column
-- of which is set: texts and choices; integers, booleans and times; numbers.
CREATE TABLE field_values (
    tenant TEXT COLLATE "C" NOT NULL,
    entity TEXT COLLATE "C" NOT NULL,
    record_id TEXT COLLATE "C" NOT NULL,
    namespace TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    text_value TEXT COLLATE "C",
    integer_value BIGINT,
    number_value DOUBLE PRECISION,
    PRIMARY KEY (tenant, entity, record_id, namespace, name)
);

CREATE INDEX field_values_text ON field_values (tenant, entity, namespace, name, text_value, record_id)
    WHERE text_value IS NOT NULL;
CREATE INDEX field_values_integer ON field_values (tenant, entity, namespace, name, integer_value, record_id)
    WHERE integer_value IS NOT NULL;
CREATE INDEX field_values_number ON field_values (tenant, entity, namespace, name, number_value, record_id)
    WHERE number_value IS NOT NULL;

CREATE TABLE products (
    tenant TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    sku TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    search_key TEXT COLLATE "C" NOT NULL,
    class TEXT COLLATE "C",
    price_minor BIGINT,
    price_currency TEXT COLLATE "C",
    source TEXT COLLATE "C",
    external_id TEXT COLLATE "C",
    -- Custom fields as JSON; nothing for a product without any.
    fields TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, sku),
    UNIQUE (tenant, source, external_id)
);

CREATE INDEX products_class ON products (tenant, class, id) WHERE class IS NOT NULL;
CREATE INDEX products_search_key ON products (tenant, search_key, id);
CREATE INDEX products_updated_at ON products (tenant, updated_at, id);

-- Lines and refunds are JSON: they are read and written with their order only.
CREATE TABLE orders (
    tenant TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    customer_id TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    channel TEXT COLLATE "C" NOT NULL,
    store TEXT COLLATE "C",
    currency TEXT COLLATE "C" NOT NULL,
    total_minor BIGINT NOT NULL,
    refunded_minor BIGINT NOT NULL,
    ordered_at BIGINT NOT NULL,
    source TEXT COLLATE "C",
    external_id TEXT COLLATE "C",
    lines TEXT COLLATE "C" NOT NULL,
    refunds TEXT COLLATE "C" NOT NULL,
    -- Custom fields and plugins' fields as JSON; nothing for an order without any.
    fields TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, source, external_id),
    CHECK (total_minor >= 0 AND refunded_minor BETWEEN 0 AND total_minor)
);

CREATE INDEX orders_customer ON orders (tenant, customer_id, ordered_at, id);
CREATE INDEX orders_ordered_at ON orders (tenant, ordered_at, id);
CREATE INDEX orders_updated_at ON orders (tenant, updated_at, id);

-- Clustered by customer and time, as it is read.
CREATE TABLE timeline (
    tenant TEXT COLLATE "C" NOT NULL,
    customer_id TEXT COLLATE "C" NOT NULL,
    occurred_at BIGINT NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    category TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    summary TEXT COLLATE "C" NOT NULL,
    channel TEXT COLLATE "C",
    direction TEXT COLLATE "C",
    outcome TEXT COLLATE "C",
    agent_id TEXT COLLATE "C",
    duration_s BIGINT,
    content TEXT COLLATE "C",
    object TEXT COLLATE "C",
    device TEXT COLLATE "C",
    details TEXT COLLATE "C" NOT NULL,
    source TEXT COLLATE "C",
    external_id TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, customer_id, occurred_at, id),
    UNIQUE (tenant, source, external_id)
);
