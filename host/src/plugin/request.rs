//! What a person or a machine asks of a plugin through the API: once for each key
//! of the request, with an audit line, and again in turn after a conflict.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::OwnedMutexGuard;

use super::PluginHost;
use super::call::{Answer, Call};
use super::commit::{Commit, is_stale, stale};
use super::invocation::Beginning;
use super::registry::Enabled;
use super::run::{ATTEMPTS_MAX, Effects, conflicts};
use crate::domain::actor::Actor;
use crate::domain::audit::Entry;
use crate::domain::code::Reason;
use crate::domain::permission::Role;
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::plugins::Ack;

/// From a guest's answer to what the request is answered.
pub(super) type Read<T> = Box<dyn Fn(Answer) -> Result<T> + Send + Sync>;

impl PluginHost {
    /// Runs `call` for a request of the actor and commits its effects, once for the
    /// request's key. After a conflict it waits its turn in `queue`.
    pub(super) async fn run_request<T>(
        &self,
        actor: &Actor,
        beginning: &Beginning,
        (call, effects): (&Call, &Effects),
        queue: &str,
        read: Read<T>,
    ) -> Result<T>
    where
        T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
    {
        let enabled = &beginning.enabled;
        let mut turn = None;
        for attempt in 1..=ATTEMPTS_MAX {
            let prepared = Box::pin(self.prepare_answer(beginning, call, (attempt, effects), &read));
            let written = beginning.core.write_once(actor, prepared, |tx, (commit, answer)| {
                Box::pin(async move {
                    if let Some(commit) = commit {
                        Commit::apply(commit, tx).await?;
                    }
                    Ok(T::clone(answer))
                })
            });
            match written.await {
                Err(error) if is_stale(&error) => self.note_rerun(enabled).await?,
                answered => return answered,
            }
            if turn.is_none() {
                turn = Some(self.turn(enabled, queue).await);
            }
        }
        Err(conflicts(enabled))
    }

    /// Waits for a turn among the requests about one thing that have met a conflict:
    /// the first attempt is free, and the second does not meet the same crowd again.
    async fn turn(&self, enabled: &Enabled, queue: &str) -> OwnedMutexGuard<()> {
        let name = format!("{}/{}/{queue}", enabled.tenant, enabled.plugin);
        let queue = self.queues.get_with(name, async { Arc::default() }).await;
        queue.lock_owned().await
    }

    /// The guest's answer, and what is committed with it. A repeated request does
    /// not come here: it gets the answer of the first.
    async fn prepare_answer<T>(
        &self,
        beginning: &Beginning,
        call: &Call,
        (attempt, effects): (u32, &Effects),
        read: &Read<T>,
    ) -> Result<(Option<Commit>, T)> {
        let prepared = self.prepare(beginning, call, attempt, effects).await?;
        let (answer, commit) = prepared.ok_or_else(|| stale("a record"))?;
        Ok((commit, read(answer)?))
    }
}

/// Refuses an actor that has none of the roles that `what` is for.
pub(super) fn check_roles(actor: &Actor, what: &str, roles: &[Role]) -> Result<()> {
    if actor.roles.iter().any(|role| roles.contains(role)) {
        return Ok(());
    }
    let roles: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
    let roles = roles.join(", ");
    let message = format!("{what} is for the roles {roles}");
    Err(Error::Refused { code: Reason::Role { roles }, message })
}

/// The audit line that commits with what a request writes.
pub(super) fn audit(
    beginning: &Beginning,
    action: &'static str,
    (kind, id): (&'static str, &str),
    changes: Value,
) -> Ack {
    let Beginning { core, actor, .. } = beginning;
    let now = core.now();
    let entry = Entry::new(&*core.ids, now, action, kind, id, changes);
    let state = Arc::new((actor.clone(), entry));
    Arc::new(move |tx| {
        let state = Arc::clone(&state);
        Box::pin(async move { ops::audit::append(tx, &state.0, now, &state.1).await })
    })
}
