-- Upgrades of plugins: the times in which a tenant wants none.

CREATE TABLE upgrade_freezes (
    tenant TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    starts_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, seq)
);
