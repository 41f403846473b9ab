//! Install, enable, upgrade and disable, as far as the guest takes part.

use std::sync::Arc;

use super::PluginHost;
use super::call::Call;
use super::inspect::inspect;
use super::registry::{Enabled, permissions_of};
use super::run::{Effects, plugin_actor};
use crate::domain::actor::Actor;
use crate::domain::code::FailureCode;
use crate::domain::point::Point;
use crate::error::{Error, Result};
use crate::ops::plugins::{Ack, Inspected, Switch};

/// Chunks of one migration.
const CHUNKS_MAX: u32 = 10_000;

impl PluginHost {
    /// Reads, checks, compiles and links a component without keeping it.
    pub(super) async fn inspect_component(&self, bytes: Vec<u8>) -> Result<Inspected> {
        let found = inspect(&bytes)?;
        let digest = super::artifact::digest(&bytes);
        self.registry.try_out(&digest, bytes).await?;
        let super::inspect::Inspected { manifest, imports, exports } = found;
        Ok(Inspected { digest, manifest, imports, exports })
    }

    /// Enables a plugin or moves it to another version: what the guest does for
    /// it commits together with `ack`, or it stays as it was.
    pub(super) async fn enable(&self, actor: &Actor, switch: Switch, ack: Ack) -> Result<()> {
        let Switch { package, grants, settings, recording, from } = switch;
        let mut enabled = self.registry.candidate(&actor.tenant, &package).await?;
        enabled.permissions = permissions_of(&grants);
        enabled.grants = grants;
        enabled.settings = settings.to_string().into();
        enabled.recording = recording;
        let enabled = Arc::new(enabled);
        let outcome = self.call_enable(&enabled, from, ack).await;
        self.breakers.reset(&actor.tenant, &enabled.plugin);
        self.forget(&actor.tenant, &enabled.plugin).await;
        outcome
    }

    async fn call_enable(&self, enabled: &Arc<Enabled>, from: Option<String>, ack: Ack) -> Result<()> {
        let loaded = self.registry.loaded(&enabled.digest).await?;
        if loaded.lifecycle.is_none() {
            return self.core()?.db.write(&enabled.tenant, ack, |tx, ack| ack(tx)).await;
        }
        let Some(from) = from else {
            let beginning = self.begin(enabled, plugin_actor(enabled, None), Point::Lifecycle)?;
            return self.run(beginning, Call::Enable, Effects::with(ack)).await.map(drop);
        };
        let mut cursor = None;
        for _ in 0..CHUNKS_MAX {
            let beginning = self.begin(enabled, plugin_actor(enabled, None), Point::Lifecycle)?;
            let last = Arc::clone(&ack);
            let effects = Effects::Commit(Arc::new(move |answer| match answer.next_cursor() {
                Some(_) => None,
                None => Some(Arc::clone(&last)),
            }));
            let call = Call::Migrate { from: from.clone(), cursor };
            cursor = self.run(beginning, call, effects).await?.into_cursor().flatten();
            if cursor.is_none() {
                return Ok(());
            }
        }
        let message = format!("its migration is not done after {CHUNKS_MAX} chunks");
        Err(Error::PluginFailed {
            plugin: enabled.plugin.to_string(),
            code: FailureCode::Chunks { max: CHUNKS_MAX.to_string() },
            message,
        })
    }

    /// Disables a plugin. What the guest does for it commits with `ack`; a guest
    /// that fails is disabled all the same, and its log says so.
    pub(super) async fn disable(&self, actor: &Actor, plugin: &str, ack: Ack) -> Result<()> {
        let outcome = match self.registry.find(&actor.tenant, plugin).await? {
            Some(enabled) => self.call_disable(&enabled, Arc::clone(&ack)).await,
            None => Ok(false),
        };
        let outcome = match outcome {
            Ok(true) => Ok(()),
            Ok(false) => self.core()?.db.write(&actor.tenant, ack, |tx, ack| ack(tx)).await,
            Err(error) => {
                tracing::info!(%error, plugin, "a plugin was disabled although it refused");
                self.core()?.db.write(&actor.tenant, ack, |tx, ack| ack(tx)).await
            }
        };
        self.forget(&actor.tenant, plugin).await;
        outcome
    }

    /// Whether the guest took part.
    async fn call_disable(&self, enabled: &Arc<Enabled>, ack: Ack) -> Result<bool> {
        let loaded = self.registry.loaded(&enabled.digest).await?;
        if loaded.lifecycle.is_none() {
            return Ok(false);
        }
        let beginning = self.begin(enabled, plugin_actor(enabled, None), Point::Lifecycle)?;
        self.run(beginning, Call::Disable, Effects::with(ack)).await?;
        Ok(true)
    }
}
