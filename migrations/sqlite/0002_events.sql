-- What has happened, who wants to know, and who has not been told yet.

-- `position` orders the change feed. There is one writer, so the order of
-- insertion is the order of commits; AUTOINCREMENT never gives a number twice.
CREATE TABLE events (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    subject_kind TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    occurred_at INTEGER NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    cause TEXT,
    depth INTEGER NOT NULL,
    -- The one consumer that an event made from the current records is for.
    backfill_for TEXT,
    body TEXT NOT NULL,
    UNIQUE (tenant, id)
) STRICT;

CREATE INDEX events_position ON events (tenant, position, id);

CREATE TABLE subscriptions (
    tenant TEXT NOT NULL,
    event_name TEXT NOT NULL,
    consumer TEXT NOT NULL,
    PRIMARY KEY (tenant, event_name, consumer)
) STRICT, WITHOUT ROWID;

-- One row a consumer, made when it subscribes. Only the dispatcher changes it
-- afterwards: a writer that did would make all writers of a tenant conflict.
CREATE TABLE lanes (
    tenant TEXT NOT NULL,
    consumer TEXT NOT NULL,
    -- active | paused
    state TEXT NOT NULL,
    -- Whether later events of a subject wait behind an earlier one that has failed.
    in_order INTEGER NOT NULL,
    lease_token TEXT,
    leased_until INTEGER NOT NULL,
    -- While history is replayed: subjects below it have had theirs. NULL otherwise.
    gate TEXT,
    -- Failures of the whole lane in a row, and when it may be tried again.
    failures INTEGER NOT NULL,
    retry_at INTEGER NOT NULL,
    last_error TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, consumer)
) STRICT, WITHOUT ROWID;

-- Events that a consumer has not handled. The key is the order of delivery.
CREATE TABLE deliveries (
    tenant TEXT NOT NULL,
    consumer TEXT NOT NULL,
    -- ready | dead
    state TEXT NOT NULL,
    -- The event's position; 0 for replayed history, which comes first.
    position INTEGER NOT NULL,
    event TEXT NOT NULL,
    subject_kind TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    last_error TEXT,
    failed_at INTEGER,
    PRIMARY KEY (tenant, consumer, state, position, event)
) STRICT, WITHOUT ROWID;

-- Those that wait for another attempt: later ones of their subject wait behind them.
CREATE INDEX deliveries_waiting
    ON deliveries (tenant, consumer, subject_kind, subject_id, due_at)
    WHERE state = 'ready' AND attempts > 0;

-- History that is being replayed to a consumer.
CREATE TABLE backfills (
    tenant TEXT NOT NULL,
    consumer TEXT NOT NULL,
    -- running | done | failed
    state TEXT NOT NULL,
    event_names TEXT NOT NULL,
    -- Transactions older than this have not seen the subscription; NULL until it is known.
    horizon INTEGER,
    -- The last record that was replayed: its customer, time and id.
    cursor_customer TEXT NOT NULL,
    cursor_at INTEGER NOT NULL,
    cursor_id TEXT NOT NULL,
    records INTEGER NOT NULL,
    lease_token TEXT,
    leased_until INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    last_error TEXT,
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    PRIMARY KEY (tenant, consumer)
) STRICT, WITHOUT ROWID;

-- Up to where the change feed of a tenant has been purged.
CREATE TABLE event_purges (
    tenant TEXT NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL,
    event TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- For PostgreSQL, whose positions count transactions of a cluster; unused here.
CREATE TABLE event_clusters (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    cluster TEXT NOT NULL,
    generation INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO event_clusters (one, cluster, generation) VALUES (1, '', 0);
