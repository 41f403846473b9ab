-- What has happened, who wants to know, and who has not been told yet.

-- `position` orders the change feed: the number of the inserting transaction,
-- above the generation of the cluster (see event_clusters). Several events may
-- share one; their ids order them.
CREATE TABLE events (
    position BIGINT NOT NULL,
    tenant TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    subject_kind TEXT COLLATE "C" NOT NULL,
    subject_id TEXT COLLATE "C" NOT NULL,
    occurred_at BIGINT NOT NULL,
    actor_kind TEXT COLLATE "C" NOT NULL,
    actor_id TEXT COLLATE "C" NOT NULL,
    cause TEXT COLLATE "C",
    depth BIGINT NOT NULL,
    -- The one consumer that an event made from the current records is for.
    backfill_for TEXT COLLATE "C",
    body TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, id)
);

CREATE INDEX events_position ON events (tenant, position, id);

CREATE TABLE subscriptions (
    tenant TEXT COLLATE "C" NOT NULL,
    event_name TEXT COLLATE "C" NOT NULL,
    consumer TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, event_name, consumer)
);

-- One row a consumer, made when it subscribes. Only the dispatcher changes it
-- afterwards: a writer that did would make all writers of a tenant conflict.
CREATE TABLE lanes (
    tenant TEXT COLLATE "C" NOT NULL,
    consumer TEXT COLLATE "C" NOT NULL,
    -- active | paused
    state TEXT COLLATE "C" NOT NULL,
    -- Whether later events of a subject wait behind an earlier one that has failed.
    in_order BOOLEAN NOT NULL,
    lease_token TEXT COLLATE "C",
    leased_until BIGINT NOT NULL,
    -- While history is replayed: subjects below it have had theirs. NULL otherwise.
    gate TEXT COLLATE "C",
    -- Failures of the whole lane in a row, and when it may be tried again.
    failures BIGINT NOT NULL,
    retry_at BIGINT NOT NULL,
    last_error TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, consumer)
);

-- Events that a consumer has not handled. The key is the order of delivery.
CREATE TABLE deliveries (
    tenant TEXT COLLATE "C" NOT NULL,
    consumer TEXT COLLATE "C" NOT NULL,
    -- ready | dead
    state TEXT COLLATE "C" NOT NULL,
    -- The event's position; 0 for replayed history, which comes first.
    position BIGINT NOT NULL,
    event TEXT COLLATE "C" NOT NULL,
    subject_kind TEXT COLLATE "C" NOT NULL,
    subject_id TEXT COLLATE "C" NOT NULL,
    attempts BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    last_error TEXT COLLATE "C",
    failed_at BIGINT,
    PRIMARY KEY (tenant, consumer, state, position, event)
);

-- Those that wait for another attempt: later ones of their subject wait behind them.
CREATE INDEX deliveries_waiting
    ON deliveries (tenant, consumer, subject_kind, subject_id, due_at)
    WHERE state = 'ready' AND attempts > 0;

-- History that is being replayed to a consumer.
CREATE TABLE backfills (
    tenant TEXT COLLATE "C" NOT NULL,
    consumer TEXT COLLATE "C" NOT NULL,
    -- running | done | failed
    state TEXT COLLATE "C" NOT NULL,
    event_names TEXT COLLATE "C" NOT NULL,
    -- Transactions older than this have not seen the subscription; NULL until it is known.
    horizon BIGINT,
    -- The last record that was replayed: its customer, time and id.
    cursor_customer TEXT COLLATE "C" NOT NULL,
    cursor_at BIGINT NOT NULL,
    cursor_id TEXT COLLATE "C" NOT NULL,
    records BIGINT NOT NULL,
    lease_token TEXT COLLATE "C",
    leased_until BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    last_error TEXT COLLATE "C",
    started_at BIGINT NOT NULL,
    finished_at BIGINT,
    PRIMARY KEY (tenant, consumer)
);

-- Up to where the change feed of a tenant has been purged.
CREATE TABLE event_purges (
    tenant TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL,
    event TEXT COLLATE "C" NOT NULL
);

-- Transactions are counted by the cluster, so that a database that was restored
-- into another one would count from a lower number. The server compares the
-- cluster when it starts, and a new generation puts its numbers above the old.
CREATE TABLE event_clusters (
    one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    cluster TEXT COLLATE "C" NOT NULL,
    generation BIGINT NOT NULL
);

INSERT INTO event_clusters (one, cluster, generation)
SELECT 1, CAST(system_identifier AS TEXT), 0 FROM pg_control_system();
