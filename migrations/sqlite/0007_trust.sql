-- Trust in packages: the keys of publishers, who has signed what, and which versions the operator has stopped.

-- `standing` is `known` if the operator has added the key, `first_use` if it was the first that has
-- signed for its publisher, and `revoked` for ever after that.
CREATE TABLE publisher_keys (
    id TEXT NOT NULL,
    publisher TEXT NOT NULL,
    body TEXT NOT NULL,
    standing TEXT NOT NULL CHECK (standing IN ('known', 'first_use', 'revoked')),
    added_at INTEGER NOT NULL,
    revoked_at INTEGER,
    PRIMARY KEY (id)
);

CREATE INDEX publisher_keys_by_publisher ON publisher_keys (publisher);

CREATE TABLE plugin_signatures (
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    key_id TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (name, version, key_id)
);

-- A row stops a version for every tenant; every server reads it whenever it reads what runs.
CREATE TABLE plugin_stops (
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    reason TEXT NOT NULL,
    stopped_at INTEGER NOT NULL,
    PRIMARY KEY (name, version)
);
