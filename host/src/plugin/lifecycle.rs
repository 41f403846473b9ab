//! Install, enable, upgrade and disable, as far as the guest takes part.

use std::sync::Arc;

use super::PluginHost;
use super::call::Call;
use super::commit::is_stale;
use super::inspect::inspect;
use super::registry::{Enabled, permissions_of};
use super::run::{ATTEMPTS_MAX, Effects, conflicts, plugin_actor};
use crate::domain::actor::Actor;
use crate::domain::code::FailureCode;
use crate::domain::point::Point;
use crate::error::{Error, Result};
use crate::ops::plugins::moves::{self, Taken, Wanted};
use crate::ops::plugins::{Ack, Inspected, Switch};

/// Chunks of one migration.
const CHUNKS_MAX: i64 = 10_000;

/// From which version a plugin is enabled, and how.
struct Way {
    /// The version whose data is there, if it is another one.
    from: Option<String>,
    wanted: Wanted,
    /// Whether it is disabled until then.
    was_off: bool,
    is_resumed: bool,
}

/// An acknowledgement that writes nothing.
fn nothing() -> Ack {
    Arc::new(|_| Box::pin(async { Ok(()) }))
}

impl PluginHost {
    /// Reads, checks, compiles and links a component without keeping it.
    pub(super) async fn inspect_component(&self, bytes: Vec<u8>) -> Result<Inspected> {
        let found = inspect(&bytes)?;
        let digest = super::artifact::digest(&bytes);
        self.registry.try_out(&digest, found.manifest.tier, bytes).await?;
        let super::inspect::Inspected { manifest, imports, exports } = found;
        Ok(Inspected { digest, manifest, imports, exports })
    }

    /// Enables a plugin or moves it to another version: what the guest does for
    /// it commits together with `ack`, or it stays as it was.
    pub(super) async fn enable(&self, actor: &Actor, switch: Switch, ack: Ack) -> Result<()> {
        let wanted = Wanted {
            base: switch.base,
            grants: switch.grants.clone(),
            settings: switch.settings.clone(),
            backfill: switch.backfill,
        };
        let way =
            Way { from: switch.from.clone(), wanted, was_off: switch.was_off, is_resumed: switch.is_resumed };
        let enabled = Arc::new(self.as_switched(actor, switch).await?);
        let outcome = self.call_enable(&enabled, way, ack).await;
        self.breakers.reset(&actor.tenant, &enabled.plugin);
        self.forget(&actor.tenant, &enabled.plugin).await;
        outcome
    }

    /// A plugin as it would be once it is enabled.
    pub(super) async fn as_switched(&self, actor: &Actor, switch: Switch) -> Result<Enabled> {
        let Switch { package, grants, settings, recording, .. } = switch;
        let mut enabled = self.registry.candidate(&actor.tenant, &package).await?;
        enabled.permissions = permissions_of(&grants);
        enabled.grants = grants;
        enabled.settings = settings.to_string().into();
        enabled.recording = recording;
        Ok(enabled)
    }

    async fn call_enable(&self, enabled: &Arc<Enabled>, way: Way, ack: Ack) -> Result<()> {
        let loaded = self.registry.loaded(enabled).await?;
        if loaded.lifecycle.is_none() {
            return self.core()?.db.write(&enabled.tenant, ack, |tx, ack| ack(tx)).await;
        }
        let was_off = way.was_off || way.from.is_none();
        if let Some(from) = way.from {
            let last = if was_off { nothing() } else { Ack::clone(&ack) };
            self.move_data(enabled, from, (way.wanted, way.is_resumed), last).await?;
        }
        if was_off {
            let beginning = self.begin(enabled, plugin_actor(enabled, None), Point::Lifecycle)?;
            self.run(beginning, Call::Enable, Effects::with(ack)).await?;
        }
        Ok(())
    }

    /// Moves the data of one version to another, unless that is done; the last chunk commits with `ack`.
    async fn move_data(
        &self,
        enabled: &Arc<Enabled>,
        from: String,
        (wanted, is_resumed): (Wanted, bool),
        ack: Ack,
    ) -> Result<()> {
        let core = self.core()?;
        let (tenant, plugin) = (&enabled.tenant, &*enabled.plugin);
        if moves::is_done(&core, (tenant, plugin), (&from, &enabled.package_version, wanted.base)).await? {
            return Ok(());
        }
        let taken = moves::begin(&core, tenant, plugin, (&from, &enabled.package_version, &wanted)).await?;
        let standing = (taken.epoch, is_resumed.then_some(taken.attempts));
        let outcome = self.migrate(enabled, from, taken, ack).await;
        if let Err(error) = &outcome {
            moves::fail(&core, (tenant, plugin), standing, error).await;
        }
        outcome
    }

    /// Calls `migrate` until it is done; the last chunk commits together with `ack`.
    async fn migrate(&self, enabled: &Arc<Enabled>, from: String, taken: Taken, ack: Ack) -> Result<()> {
        let Taken { epoch, mut cursor, chunks, .. } = taken;
        let core = self.core()?;
        for _ in chunks..CHUNKS_MAX {
            let versions = (from.as_str(), enabled.package_version.as_str());
            moves::check_calendar(&core, (&enabled.tenant, &enabled.plugin), versions).await?;
            let call = Call::Migrate { from: from.clone(), cursor };
            cursor = self.migrate_chunk(enabled, &call, epoch, &ack).await?;
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

    /// One chunk, committed with the cursor behind it; where the next one begins.
    async fn migrate_chunk(
        &self,
        enabled: &Arc<Enabled>,
        call: &Call,
        epoch: i64,
        ack: &Ack,
    ) -> Result<Option<String>> {
        let effects = Effects::with(nothing());
        for attempt in 1..=ATTEMPTS_MAX {
            let beginning = self.begin(enabled, plugin_actor(enabled, None), Point::Lifecycle)?;
            let prepared = self.prepare(&beginning, call, attempt, &effects).await?;
            let Some((answer, Some(mut commit))) = prepared else { continue };
            let cursor = answer.into_cursor().flatten();
            let of = (&enabled.tenant, &*enabled.plugin);
            let done = (epoch, cursor.as_deref(), commit.changes_anything());
            commit.ack = Some(moves::chunk_ack(&beginning.core, of, done, ack));
            let written =
                beginning.core.db.write(&enabled.tenant, commit, |tx, commit| Box::pin(commit.apply(tx)));
            match written.await {
                Ok(()) => return Ok(cursor),
                Err(error) if is_stale(&error) => self.note_rerun(enabled).await?,
                Err(error) => return Err(error),
            }
        }
        Err(conflicts(enabled))
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
        let loaded = self.registry.loaded(enabled).await?;
        if loaded.lifecycle.is_none() {
            return Ok(false);
        }
        let beginning = self.begin(enabled, plugin_actor(enabled, None), Point::Lifecycle)?;
        self.run(beginning, Call::Disable, Effects::with(ack)).await?;
        Ok(true)
    }
}
