-- Upgrades of plugins: the times in which a tenant wants none.

CREATE TABLE upgrade_freezes (
    tenant TEXT NOT NULL,
    seq INTEGER NOT NULL,
    starts_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (tenant, seq)
);
