//! The host's side of a replay: answers from a recording, and notes what the guest does.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::effects::Effect;
use crate::domain::grant::Grant;
use crate::domain::manifest::Tier;
use crate::error::Error;
use crate::plugin::budget::Budget;
use crate::plugin::call::Running;
use crate::plugin::host::imports::{Import, Kind, PRINT};
use crate::plugin::host::{Abort, random};
use crate::plugin::invocation::{Limits, clean};
use crate::plugin::printed::Printed;
use crate::plugin::recorder::{Ending, Recording, Told};

/// Bytes of arguments that are shown of a call that was not recorded.
const SHOWN_BYTES_MAX: usize = 400;
/// The call that draws from the seed.
const RANDOM: &str = "context.random";
/// What a write is answered that was not recorded.
const ACCEPTED: &str = r#"{"Ok":null}"#;

/// The data of a replay's store.
pub(in crate::plugin) struct Player {
    recording: Arc<Recording>,
    /// Whether the very component runs that was recorded: then call follows call.
    is_same: bool,
    budget: Budget,
    limits: Limits,
    /// Calls of the recording that have been answered.
    used: Vec<bool>,
    calls: usize,
    seed: u64,
    /// Fuel of callees: of the last call, and of all.
    last_called_fuel: u64,
    pub(super) called_fuel: u64,
    pub(super) effects: Vec<Effect>,
    pub(super) lines: Vec<Box<RawValue>>,
    printed: Printed,
    /// Writes that were not recorded and were taken for accepted.
    pub(super) assumed: usize,
    /// The call that has stopped the replay.
    pub(super) stopped_at: Option<String>,
    /// The functions in which the guest broke off, the innermost first.
    pub(super) frames: Vec<String>,
    /// Whether the guest has come to where a clock has stopped the recorded run.
    pub(super) is_at_end: bool,
}

impl Player {
    pub(super) fn new(recording: Arc<Recording>, is_same: bool, tier: Tier, budget: Budget) -> Self {
        Self {
            is_same,
            limits: Limits::of(tier, &budget),
            budget,
            used: vec![false; recording.calls.len()],
            calls: 0,
            seed: recording.seed,
            last_called_fuel: 0,
            called_fuel: 0,
            effects: Vec::new(),
            lines: Vec::new(),
            printed: Printed::default(),
            assumed: 0,
            stopped_at: None,
            frames: Vec::new(),
            is_at_end: false,
            recording,
        }
    }

    /// The answer to a call: the recorded one, or for another version what follows from the head of
    /// the recording. A write that was not recorded is an effect to be compared, and is accepted.
    pub(in crate::plugin) fn answer<A: Serialize, R: DeserializeOwned>(
        &mut self,
        import: Import,
        arguments: &A,
    ) -> wasmtime::Result<R> {
        self.last_called_fuel = 0;
        let arguments = serde_json::value::to_raw_value(arguments).map_err(|error| {
            wasmtime::Error::new(Abort::Misuse(format!("arguments of {}: {error}", import.name)))
        })?;
        let recording = Arc::clone(&self.recording);
        let Some(at) = self.find(import, &arguments) else {
            return self.answer_unrecorded(import, &arguments);
        };
        self.calls += 1;
        if let Some(used) = self.used.get_mut(at) {
            *used = true;
        }
        let Some(entry) = recording.calls.get(at) else { return Err(damaged("it ends too early")) };
        self.last_called_fuel = entry.fuel.unwrap_or(0);
        self.called_fuel = self.called_fuel.saturating_add(self.last_called_fuel);
        if entry.effect {
            self.effects.push(Effect::of(import.name, &arguments));
        }
        if import.name == RANDOM {
            // What an interpreter draws by itself follows from the same seed.
            drop(self.draw(&arguments));
        }
        if import.kind == Kind::Says {
            self.lines.push(arguments);
        }
        match &entry.told {
            Told::Answer(answer) => {
                serde_json::from_str(answer.get()).map_err(|error| damaged(&error.to_string()))
            }
            Told::Ended(ending) => Err(wasmtime::Error::new(abort(ending))),
        }
    }

    /// The recorded call that this is.
    fn find(&self, import: Import, arguments: &RawValue) -> Option<usize> {
        let mut calls = self.recording.calls.iter().enumerate();
        let is_it = |(at, entry): &(usize, &super::Entry)| {
            !self.used.get(*at).copied().unwrap_or(true)
                && entry.import == import.name
                && entry.arguments.get() == arguments.get()
        };
        if self.is_same { calls.nth(self.calls).filter(is_it) } else { calls.find(is_it) }.map(|(at, _)| at)
    }

    fn answer_unrecorded<R: DeserializeOwned>(
        &mut self,
        import: Import,
        arguments: &RawValue,
    ) -> wasmtime::Result<R> {
        if !self.is_same
            && let Some(answer) = self.known(import, arguments)
            && let Ok(answer) = serde_json::from_str(&answer)
        {
            match import.kind {
                Kind::Says => self.lines.push(arguments.to_owned()),
                Kind::Writes => {
                    self.effects.push(Effect::of(import.name, arguments));
                    self.assumed += 1;
                }
                Kind::Tells | Kind::Reads | Kind::Asks => {}
            }
            return Ok(answer);
        }
        let is_behind = self.calls == self.recording.calls.len();
        if self.is_same && is_behind && self.recording.outcome.is_deadline() {
            self.is_at_end = true;
            return Err(wasmtime::Error::new(Abort::Misuse("the recording ends here".to_owned())));
        }
        let shown = clean(arguments.get(), SHOWN_BYTES_MAX);
        let message = format!("`{}` with {shown} was not recorded", import.name);
        self.stopped_at = Some(message.clone());
        Err(wasmtime::Error::new(Abort::Misuse(message)))
    }

    /// What another version is answered, as JSON, if it can be known without the database.
    fn known(&mut self, import: Import, arguments: &RawValue) -> Option<String> {
        match import.kind {
            Kind::Reads | Kind::Asks => None,
            Kind::Says => Some("null".to_owned()),
            Kind::Writes => self.recording.may_write.then(|| ACCEPTED.to_owned()),
            Kind::Tells if import.name == "context.get" => {
                serde_json::to_string(&self.recording.context).ok()
            }
            Kind::Tells if import.name == RANDOM => serde_json::to_string(&self.draw(arguments)?).ok(),
            Kind::Tells if self.recording.grants.has(Grant::SettingsOwn) => {
                Some(serde_json::json!({ "Ok": self.recording.settings }).to_string())
            }
            Kind::Tells => None,
        }
    }

    /// The next random bytes, as many as the arguments ask for.
    fn draw(&mut self, arguments: &RawValue) -> Option<Vec<u8>> {
        let (length,): (u32,) = serde_json::from_str(arguments.get()).ok()?;
        random(&mut self.seed, length).ok()
    }

    /// When the recorded run began, in microseconds since 1970.
    pub(in crate::plugin) fn began(&self) -> i64 {
        self.recording.context.now
    }

    /// From what random bytes follow.
    pub(in crate::plugin) fn seed(&mut self) -> &mut u64 {
        &mut self.seed
    }

    /// Takes what is written to the output of a level: each line was recorded like a call.
    pub(in crate::plugin) fn print(&mut self, level: &'static str, text: &[u8]) -> wasmtime::Result<()> {
        let mut printed = std::mem::take(&mut self.printed);
        let taken = printed.take(level, text, |level, line| self.answer(PRINT, &(level, line)));
        self.printed = printed;
        taken
    }

    /// The fuel that the callee of the last call has burnt.
    pub(in crate::plugin) fn take_called_fuel(&mut self) -> u64 {
        std::mem::take(&mut self.last_called_fuel)
    }
}

fn damaged(why: &str) -> wasmtime::Error {
    wasmtime::Error::new(Abort::Host(Error::internal(format!(
        "the recording does not fit its plugin: {why}"
    ))))
}

/// As the host has ended the guest.
fn abort(ending: &Ending) -> Abort {
    match ending {
        Ending::Stale => Abort::Stale,
        Ending::Host => Abort::Host(Error::internal("the host has failed in the recorded run")),
        Ending::Callee { plugin, reason } => Abort::Callee { plugin: plugin.clone(), reason: reason.clone() },
        Ending::Misuse(what) => Abort::Misuse(what.clone()),
    }
}

impl Running for Player {
    fn budget(&self) -> Budget {
        self.budget
    }

    fn limits(&mut self) -> &mut Limits {
        &mut self.limits
    }

    /// No clock stops a replay but the one on the wall, because no two machines are as fast.
    fn tick(&mut self) -> bool {
        true
    }

    fn broke_off(&mut self, error: &wasmtime::Error) {
        self.frames = crate::plugin::backtrace::frames(error);
    }

    fn end_line(&mut self) -> wasmtime::Result<()> {
        std::mem::take(&mut self.printed).end(&mut |level, line| self.answer(PRINT, &(level, line)))
    }
}
