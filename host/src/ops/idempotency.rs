//! Requests that take effect only once: the answer of a use case is kept under the
//! client's key in the transaction of its writes.
//!
//! A use case that creates something writes
//!
//! ```ignore
//! core.write_once(actor, prepare_new(core, actor, new), |tx, new| Box::pin(apply_new(tx, new))).await
//! ```
//!
//! instead of preparing and calling `core.db.write`, and that is all: a repeated
//! request with the same key gets the first one's answer without preparing or
//! writing anything, and a concurrent one waits for it. Only successes are kept:
//! a refused request has changed nothing and may be sent again. Handlers make their
//! response from the answer alone, so that a repetition's is the same.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Core;
use crate::clock::Timestamp;
use crate::db::idempotency::{self, Kept, Key};
use crate::db::{Tx, Unit};
use crate::domain::actor::{Actor, Once};
use crate::domain::code::Reason;
use crate::domain::ids::TenantId;
use crate::error::{Error, Result};

/// How long an answer is kept.
pub const KEPT_SECONDS: i64 = 24 * 60 * 60;

impl Core {
    /// Prepares and writes, unless the actor's request was answered before under the
    /// same key: then answers that. Without a key it prepares and writes.
    ///
    /// # Errors
    /// Those of `prepare` and `unit`, and a conflict for a key that was used for another request.
    pub fn write_once<'a, S, T, P, F>(
        &'a self,
        actor: &'a Actor,
        prepare: P,
        unit: F,
    ) -> BoxFuture<'a, Result<T>>
    where
        P: Future<Output = Result<S>> + Send + 'a,
        S: Send + Sync + 'static,
        T: Serialize + DeserializeOwned + Send + 'static,
        F: Unit<S, T>,
    {
        // On the heap: what prepares a record is far larger than what waits for it.
        let prepare = Box::pin(prepare);
        Box::pin(self.write_prepared(actor, prepare, unit))
    }

    async fn write_prepared<S, T, F>(
        &self,
        actor: &Actor,
        prepare: Pin<Box<impl Future<Output = Result<S>> + Send>>,
        unit: F,
    ) -> Result<T>
    where
        S: Send + Sync + 'static,
        T: Serialize + DeserializeOwned + Send + 'static,
        F: Unit<S, T>,
    {
        let Some(once) = actor.once.clone() else {
            let state = prepare.await?;
            return self.db.write(&actor.tenant, state, unit).await;
        };
        let claim = Claim::new(actor, once, self.now());
        // The reader goes back before anything is prepared: a hook may need one.
        let before = {
            let mut reader = self.db.read(&actor.tenant).await?;
            claim.find(&mut reader).await?
        };
        if let Some(answer) = before {
            return Ok(answer);
        }
        let state = prepare.await?;
        let state = (claim, state, unit);
        self.db
            .write(&actor.tenant, state, |tx, (claim, state, unit)| Box::pin(claim.run(tx, state, unit)))
            .await
    }
}

/// Forgets the keys of a tenant that are older than [`KEPT_SECONDS`]; answers how many.
///
/// # Errors
/// Those of the database.
pub async fn purge(core: &Core, tenant: &TenantId) -> Result<u64> {
    let state = (tenant.clone(), core.now().plus_seconds(-KEPT_SECONDS));
    core.db
        .write(tenant, state, |tx, (tenant, before)| {
            Box::pin(async move { idempotency::delete_before(tx, tenant, *before).await })
        })
        .await
}

/// A principal's key, and the request that it stands for.
struct Claim {
    tenant: TenantId,
    principal: String,
    once: Arc<Once>,
    at: Timestamp,
}

impl Claim {
    fn new(actor: &Actor, once: Arc<Once>, at: Timestamp) -> Self {
        let principal = format!("{}:{}", actor.principal.kind(), actor.principal.id());
        Self { tenant: actor.tenant.clone(), principal, once, at }
    }

    fn key(&self) -> Key<'_> {
        Key { tenant: &self.tenant, principal: &self.principal, key: &self.once.key }
    }

    async fn find<T: DeserializeOwned>(&self, tx: &mut Tx) -> Result<Option<T>> {
        let Some(Kept { fingerprint, answer }) = idempotency::find(tx, self.key()).await? else {
            return Ok(None);
        };
        if fingerprint != self.once.fingerprint {
            let message = format!("the key `{}` was used for another request", self.once.key);
            return Err(Error::conflict(Reason::IdempotencyKeyReused, message));
        }
        let answer = serde_json::from_str(&answer).map_err(Error::internal)?;
        self.once.replayed.store(true, Ordering::Relaxed);
        Ok(Some(answer))
    }

    async fn run<S, T, F>(&self, tx: &mut Tx, state: &S, unit: &F) -> Result<T>
    where
        S: Send + Sync + 'static,
        T: Serialize + DeserializeOwned + Send + 'static,
        F: Unit<S, T>,
    {
        if !idempotency::claim(tx, self.key(), &self.once.fingerprint, self.at).await? {
            let answer = self.find(tx).await?;
            return answer.ok_or_else(|| Error::internal("a taken idempotency key has no row"));
        }
        let answer = unit(tx, state).await?;
        let kept = serde_json::to_string(&answer).map_err(Error::internal)?;
        idempotency::keep(tx, self.key(), &kept).await?;
        Ok(answer)
    }
}
