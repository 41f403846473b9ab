-- Trust in packages: the keys of publishers, who has signed what, and which versions the operator has stopped.

-- `standing` is `known` if the operator has added the key, `first_use` if it was the first that has
-- signed for its publisher, and `revoked` for ever after that.
CREATE TABLE publisher_keys (
    id TEXT COLLATE "C" NOT NULL,
    publisher TEXT COLLATE "C" NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    standing TEXT COLLATE "C" NOT NULL CHECK (standing IN ('known', 'first_use', 'revoked')),
    added_at BIGINT NOT NULL,
    revoked_at BIGINT,
    PRIMARY KEY (id)
);

CREATE INDEX publisher_keys_by_publisher ON publisher_keys (publisher);

CREATE TABLE plugin_signatures (
    name TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (name, version, key_id)
);

-- A row stops a version for every tenant; every server reads it whenever it reads what runs.
CREATE TABLE plugin_stops (
    name TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    stopped_at BIGINT NOT NULL,
    PRIMARY KEY (name, version)
);
