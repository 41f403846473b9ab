//! Replays: a recorded run again, without a database, a network or a clock.
//!
//! With the component that was recorded, every call must come as it was recorded, and answer, effects
//! and fuel must be identical. Another version may call in another order: a call is answered by what
//! was recorded for the same function with the same arguments. What was not recorded ends the replay,
//! but for writes, which are what is to be compared, and for what the head of the recording knows.

mod effects;
mod player;
mod profile;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use wasmtime::component::{Component, Linker};

use effects::Effect;
pub use effects::EffectChange;
pub(super) use player::Player;
pub use profile::{FuelProfile, FunctionFuel};

use super::budget::Budget;
use super::call::{Answer, Call, Failure, drive};
use super::engine::{Sandbox, internal};
use super::host::imports::PRINT;
use super::recorder::{Cut, Entry, FORMAT, Outcome, Recording};
use super::registry::Loaded;
use crate::domain::code::FaultCode;
use crate::domain::manifest::Tier;
use crate::error::{Error, Result};

/// How long one replay may take on the wall.
const WALL: Duration = Duration::from_secs(600);

/// What adds a line to the log.
const SAID: [&str; 2] = ["log.write", PRINT.name];

/// A recording that can be replayed.
pub struct Replay {
    recording: Arc<Recording>,
    call: Call,
}

/// A component, compiled for replays.
pub struct Replayed {
    loaded: Loaded<Player>,
    tier: Tier,
    digest: String,
}

/// How a replay compares to what was recorded.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The plugin's name.
    pub plugin: String,
    /// The version that was recorded.
    pub plugin_version: String,
    /// The extension point.
    pub point: String,
    /// SHA-256 of the component that was recorded.
    pub recorded_digest: String,
    /// SHA-256 of the component that was replayed.
    pub replayed_digest: String,
    /// Whether the answer, or the refusal or failure, is the same.
    pub answer_identical: bool,
    /// Whether the effects are the same, in the same order.
    pub effects_identical: bool,
    /// Whether as much fuel was burnt, callees included.
    pub fuel_identical: bool,
    /// Whether the plugin has logged the same.
    pub log_identical: bool,
    /// Whether a clock has stopped the recorded run: then only what came before is compared.
    pub ends_at_deadline: bool,
    /// Why the host has not taken the recorded answer, if it has not.
    pub objection: Option<String>,
    /// Whether the guest has seen secrets in answers that the recording does not have.
    pub masked: bool,
    /// What was recorded: the answer or the failure.
    pub recorded_answer: Value,
    /// What came of the replay.
    pub replayed_answer: Value,
    /// Fuel that was recorded.
    pub recorded_fuel: u64,
    /// Fuel of the replay.
    pub replayed_fuel: u64,
    /// Effects that were recorded.
    pub recorded_effects: usize,
    /// Effects of the replay.
    pub replayed_effects: usize,
    /// The effects that differ.
    pub effect_changes: Vec<EffectChange>,
    /// Writes that were not recorded, and were taken for accepted.
    pub assumed_writes: usize,
    /// The first call that was not recorded, which has stopped the replay.
    pub stopped_at: Option<String>,
}

impl Verdict {
    /// Whether the replay did what was recorded.
    #[must_use]
    pub fn is_identical(&self) -> bool {
        self.answer_identical
            && self.effects_identical
            && self.fuel_identical
            && self.log_identical
            && self.stopped_at.is_none()
    }
}

impl Replayed {
    /// Compiles a component for replays.
    ///
    /// # Errors
    /// `Invalid` if a host would not take it.
    pub fn new(sandbox: &Sandbox, bytes: &[u8]) -> Result<Self> {
        let tier = super::inspect::inspect(bytes)?.manifest.tier;
        let engine = sandbox.engine_of(tier);
        let component = Component::from_binary(engine, bytes)
            .map_err(|error| Error::plain("", FaultCode::NotCompilable { reason: format!("{error:#}") }))?;
        let mut linker = Linker::new(engine);
        super::host::imports::link_player(&mut linker).map_err(internal)?;
        if tier == Tier::Interpreter {
            super::host::wasi::link(&mut linker, &component).map_err(internal)?;
        }
        let loaded = Loaded::link(&linker, &component)?;
        Ok(Self { loaded, tier, digest: super::artifact::digest(bytes) })
    }

    /// SHA-256 of the component, in hexadecimal.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

impl Replay {
    /// Reads a recording.
    ///
    /// # Errors
    /// `Invalid`, with why it cannot be replayed: it is none, of another form, or cut.
    pub fn read(body: &[u8]) -> Result<Self> {
        let refused = |reason: String| Error::plain("", FaultCode::NotReplayable { reason });
        let recording: Recording = serde_json::from_slice(body)
            .map_err(|error| refused(format!("it is no recording of this form: {error}")))?;
        if recording.format != FORMAT {
            return Err(refused(format!(
                "it has the form {}, and this program reads {FORMAT}",
                recording.format
            )));
        }
        match recording.cut {
            None => {}
            Some(Cut::Bytes) => return Err(refused("it is truncated: the run was too large".to_owned())),
            Some(Cut::Customers) => {
                return Err(refused("it is truncated: the run was about too many customers".to_owned()));
            }
            Some(Cut::Format) => return Err(refused("it is truncated: a part has no JSON".to_owned())),
        }
        let input = recording.input.as_ref().ok_or_else(|| refused("it has no input".to_owned()))?;
        let call = serde_json::from_str(input.get())
            .map_err(|error| refused(format!("its input cannot be read: {error}")))?;
        Ok(Self { recording: Arc::new(recording), call })
    }

    /// SHA-256 of the component that was recorded.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.recording.digest
    }

    /// The plugin's name and version.
    #[must_use]
    pub fn plugin(&self) -> (&str, &str) {
        (&self.recording.context.plugin, &self.recording.context.plugin_version)
    }

    /// Runs it again with a component, and compares.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn run(&self, with: &Replayed) -> Result<Verdict> {
        let is_same = with.digest == self.recording.digest;
        let fuel = self.fuel(is_same);
        let (player, burnt, outcome) = self.play(with, fuel).await;
        self.compare(with, (player, burnt), &outcome)
    }

    /// What may be burnt. A run that a clock has stopped is stopped where it was.
    fn fuel(&self, is_same: bool) -> u64 {
        let burnt = self.recording.fuel.saturating_add(self.recording.called_fuel);
        if is_same && self.recording.outcome.is_deadline() { burnt } else { self.recording.budget.fuel }
    }

    async fn play(&self, with: &Replayed, fuel: u64) -> (Player, u64, std::result::Result<Answer, Failure>) {
        let budget = Budget { fuel, wall: WALL, ..self.recording.budget };
        let is_same = with.digest == self.recording.digest;
        let player = Player::new(Arc::clone(&self.recording), is_same, with.tier, budget);
        let (player, left, outcome) = drive(&with.loaded, player, &self.call).await;
        (player, fuel.saturating_sub(left), outcome)
    }

    fn compare(
        &self,
        with: &Replayed,
        (player, burnt): (Player, u64),
        outcome: &std::result::Result<Answer, Failure>,
    ) -> Result<Verdict> {
        let recording = &self.recording;
        let unreadable = || Error::internal("the answer of a replay cannot be written");
        let outcome = Outcome::of(outcome).ok_or_else(unreadable)?;
        let (recorded, replayed) = (shown(&recording.outcome)?, shown(&outcome)?);
        let effects = Effect::recorded(recording);
        let is_same = with.digest == recording.digest;
        let ends_at_deadline = recording.outcome.is_deadline();
        // Nobody can be stopped by the clock at the same instruction: out of the same fuel, or at the
        // next call, is where it was.
        let is_stopped_alike =
            is_same && ends_at_deadline && (player.is_at_end || matches!(&outcome, Outcome::Stopped { .. }));
        let recorded_fuel = recording.fuel.saturating_add(recording.called_fuel);
        let lines = recording.calls.iter().filter(|entry| SAID.contains(&entry.import.as_str()));
        let log_identical =
            lines.map(|entry| entry.arguments.get()).eq(player.lines.iter().map(|line| line.get()));
        Ok(Verdict {
            plugin: recording.context.plugin.clone(),
            plugin_version: recording.context.plugin_version.clone(),
            point: recording.point.to_string(),
            recorded_digest: recording.digest.clone(),
            replayed_digest: with.digest.clone(),
            answer_identical: recorded == replayed || is_stopped_alike,
            effects_identical: Effect::are_same(&effects, &player.effects),
            fuel_identical: burnt == recorded_fuel || is_stopped_alike,
            log_identical,
            ends_at_deadline,
            objection: recording.objection.as_ref().map(|objection| objection.message.clone()),
            masked: recording.masked,
            recorded_answer: recorded,
            replayed_answer: replayed,
            recorded_fuel,
            replayed_fuel: burnt,
            recorded_effects: effects.len(),
            replayed_effects: player.effects.len(),
            effect_changes: effects::differences(&effects, &player.effects),
            assumed_writes: player.assumed,
            stopped_at: player.stopped_at,
        })
    }
}

fn shown(outcome: &Outcome) -> Result<Value> {
    // By way of text, so that numbers are compared as they were written.
    let text = serde_json::to_string(outcome).map_err(Error::internal)?;
    serde_json::from_str(&text).map_err(Error::internal)
}
