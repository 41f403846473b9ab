//! Retention: deletes what has been kept long enough.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Timestamp;
use crate::db::feed::{self, Place};
use crate::db::{deliveries, lanes};
use crate::domain::ids::TenantId;
use crate::error::{Error, Result};
use crate::ops::plugins::{files, recordings, steps, uninstall, usage};
use crate::ops::{Core, idempotency, webhooks};

/// How often old rows are looked for.
const INTERVAL: Duration = Duration::from_secs(600);
/// Events that one transaction deletes at most.
const PURGE_CHUNK_MAX: u32 = 500;
/// Tenants that one look at the database finds.
const TENANTS_MAX: u32 = 200;

/// How long things are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Events, in days: how far back the change feed goes. What a consumer has still
    /// to handle is kept longer, but no longer shown in the feed.
    pub event_days: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self { event_days: 30 }
    }
}

/// What has been deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Events.
    pub events: u64,
    /// Keys of requests.
    pub idempotency_keys: u64,
    /// Attempts to tell webhooks, and secrets that no longer sign.
    pub webhooks: u64,
    /// Ends of workflow steps.
    pub steps: u64,
    /// Contents of plugins' files that no file names.
    pub blobs: u64,
    /// What plugins have used.
    pub usage: u64,
    /// Recordings of plugins' runs.
    pub recordings: u64,
    /// Plugins of tenants that were uninstalled, with all that they kept.
    pub plugins: u64,
    /// Consumers whose deliveries had been left behind.
    pub orphans: u64,
}

/// Deletes old rows; one a server. Several do the same work twice at worst.
pub struct Retention {
    core: Arc<Core>,
    policy: Policy,
    shutdown: CancellationToken,
}

impl Retention {
    /// Deletes according to `policy` until `shutdown` is cancelled.
    #[must_use]
    pub fn new(core: Arc<Core>, policy: Policy, shutdown: CancellationToken) -> Arc<Self> {
        Arc::new(Self { core, policy, shutdown })
    }

    /// Looks again and again until the shutdown.
    pub async fn run(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
            match self.run_once().await {
                Ok(report) if report != Report::default() => tracing::info!(?report, "old rows were deleted"),
                Ok(_) => {}
                Err(error) => tracing::warn!(?error, "old rows were not deleted; the next look will"),
            }
        }
    }

    /// Deletes everything that is old by now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn run_once(&self) -> Result<Report> {
        let mut report = Report::default();
        let mut after = String::new();
        loop {
            let tenants = {
                let mut directory = self.core.db.directory().await?;
                feed::tenants(&mut directory, &after, TENANTS_MAX).await?
            };
            let Some(last) = tenants.last() else { break };
            after = last.to_string();
            for tenant in &tenants {
                if self.shutdown.is_cancelled() {
                    return Ok(report);
                }
                report.events += self.purge_events(tenant).await?;
                report.webhooks += webhooks::purge(&self.core, tenant).await?;
                report.usage += usage::purge(&self.core, tenant).await?;
                report.recordings += recordings::purge(&self.core, tenant).await?;
                report.idempotency_keys += idempotency::purge(&self.core, tenant).await?;
                report.steps += steps::purge(&self.core, tenant).await?;
                report.plugins += uninstall::purge(&self.core, tenant).await?;
                report.blobs += files::purge(&self.core, tenant).await?;
            }
        }
        report.orphans = self.delete_orphans().await?;
        Ok(report)
    }

    async fn purge_events(&self, tenant: &TenantId) -> Result<u64> {
        let days = i64::from(self.policy.event_days);
        let before = self.core.now().plus_seconds(-days * 24 * 60 * 60);
        let mut deleted = 0;
        while let Some(through) = self.next_purge(tenant, before).await? {
            let state = (tenant.clone(), through);
            deleted += self
                .core
                .db
                .write(tenant, state, |tx, (tenant, through)| Box::pin(feed::purge(tx, tenant, through)))
                .await?;
        }
        Ok(deleted)
    }

    /// The last of the next events that are all older than `before`.
    async fn next_purge(&self, tenant: &TenantId, before: Timestamp) -> Result<Option<Place>> {
        let mut reader = self.core.db.read(tenant).await?;
        let horizon = feed::horizon(&mut reader).await?;
        let purged = feed::purged(&mut reader, tenant).await?;
        let after = purged.unwrap_or(Place { position: 0, event: String::new() });
        let oldest = feed::oldest(&mut reader, tenant, &after, horizon, PURGE_CHUNK_MAX).await?;
        let old = oldest.into_iter().take_while(|row| row.occurred_at < before).last();
        Ok(old.map(|row| Place { position: row.position, event: row.id.to_string() }))
    }

    /// Deletes deliveries of consumers that are gone: a transaction that was under way
    /// when the consumer went has left them.
    async fn delete_orphans(&self) -> Result<u64> {
        let mut deleted = 0;
        let mut after = (String::new(), String::new());
        loop {
            let next = {
                let mut directory = self.core.db.directory().await?;
                deliveries::next_consumer(&mut directory, (&after.0, &after.1)).await?
            };
            let Some(next) = next else { return Ok(deleted) };
            after = (next.tenant.to_string(), next.consumer.clone());
            let tenant = next.tenant.clone();
            let was_orphan = self
                .core
                .db
                .write(&tenant, next, |tx, next| {
                    Box::pin(async move {
                        if lanes::find(tx, &next.tenant, &next.consumer).await?.is_some() {
                            return Ok::<_, Error>(false);
                        }
                        deliveries::delete_all(tx, &next.tenant, &next.consumer).await?;
                        Ok(true)
                    })
                })
                .await?;
            deleted += u64::from(was_orphan);
        }
    }
}
