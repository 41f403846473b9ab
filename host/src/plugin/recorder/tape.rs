//! What is noted while a guest runs: every call of the host with its arguments and its answer.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Keep;
use crate::ops::plugins::recordings::BYTES_MAX;
use crate::plugin::host::Abort;
use crate::plugin::host::imports::{Import, Kind};
use crate::plugin::invocation::Invocation;

/// Why there is not all of a run in its recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::plugin) enum Cut {
    /// It would have more than [`BYTES_MAX`] bytes.
    Bytes,
    /// It is about more customers than a recording may be.
    Customers,
    /// A part of it cannot be written as JSON.
    Format,
}

/// A call of the host.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::plugin) struct Entry {
    /// The function, such as `kv.get-many`.
    pub(in crate::plugin) import: String,
    /// Whether it is an effect: a write, or something that others were asked to do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::plugin) effect: bool,
    /// Its arguments, as a list.
    pub(in crate::plugin) arguments: Box<RawValue>,
    /// What came of it.
    pub(in crate::plugin) told: Told,
    /// Fuel that another plugin has burnt for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::plugin) fuel: Option<u64>,
}

/// What came of a call.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::plugin) enum Told {
    /// What the guest was answered, a refusal too.
    Answer(Box<RawValue>),
    /// The host has ended the guest.
    Ended(Ending),
}

/// Why the host has ended a guest.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::plugin) enum Ending {
    /// What it has read has changed.
    Stale,
    /// The host itself has failed.
    Host,
    /// A plugin that it has called broke off.
    Callee { plugin: String, reason: String },
    /// It did what is answered with a trap.
    Misuse(String),
}

impl Ending {
    fn of(error: &wasmtime::Error) -> Self {
        match error.downcast_ref::<Abort>() {
            Some(Abort::Stale) => Self::Stale,
            Some(Abort::Callee { plugin, reason }) => {
                Self::Callee { plugin: plugin.clone(), reason: reason.clone() }
            }
            Some(Abort::Misuse(what)) => Self::Misuse(what.clone()),
            Some(Abort::Host(_)) | None => Self::Host,
        }
    }
}

/// A call that is under way.
pub(in crate::plugin) struct Heard {
    import: Import,
    arguments: Box<RawValue>,
}

/// The notes of one run.
#[derive(Debug)]
pub(in crate::plugin) struct Tape {
    pub(super) keep: Keep,
    /// From which the run's random bytes follow.
    pub(super) seed: u64,
    /// Bytes that may still be noted.
    left: usize,
    pub(super) calls: Vec<Entry>,
    pub(super) cut: Option<Cut>,
    /// Whether an answer has had a secret in it, which is not here.
    pub(super) is_masked: bool,
}

impl Tape {
    pub(in crate::plugin) fn new(keep: Keep, seed: u64) -> Box<Self> {
        Box::new(Self { keep, seed, left: BYTES_MAX, calls: Vec::new(), cut: None, is_masked: false })
    }

    /// Bytes that are noted.
    pub(super) fn bytes(&self) -> usize {
        BYTES_MAX - self.left
    }

    /// A value as JSON; nothing from the moment on at which there is no room for it.
    pub(super) fn write(&mut self, value: &impl Serialize) -> Option<Box<RawValue>> {
        if self.cut.is_some() {
            return None;
        }
        let mut bounded = Bounded { bytes: Vec::new(), left: self.left };
        let written = serde_json::to_writer(&mut bounded, value);
        self.left = bounded.left;
        let raw = match written {
            Ok(()) => String::from_utf8(bounded.bytes).ok().and_then(|text| RawValue::from_string(text).ok()),
            Err(error) if error.is_io() => {
                self.cut = Some(Cut::Bytes);
                return None;
            }
            Err(_not_json) => None,
        };
        if raw.is_none() {
            self.cut = Some(Cut::Format);
        }
        raw
    }
}

/// Takes as many bytes as there is room for.
struct Bounded {
    bytes: Vec<u8>,
    left: usize,
}

impl Write for Bounded {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(part.len()).ok_or(io::ErrorKind::StorageFull)?;
        self.bytes.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Invocation {
    /// Notes a call that begins. Nothing is looked at if the run is not recorded.
    pub(in crate::plugin) fn hear<A: Serialize>(
        &mut self,
        import: Import,
        arguments: impl FnOnce() -> A,
    ) -> Option<Heard> {
        let tape = self.tape.as_mut()?;
        let arguments = tape.write(&arguments())?;
        Some(Heard { import, arguments })
    }

    /// Notes what came of it.
    pub(in crate::plugin) fn note<R: Serialize>(
        &mut self,
        heard: Option<Heard>,
        answered: &wasmtime::Result<R>,
    ) {
        self.note_with(heard, answered, None);
    }

    /// As [`Invocation::note`], for a call of another plugin, which has burnt `fuel`.
    pub(in crate::plugin) fn note_call<R: Serialize>(
        &mut self,
        heard: Option<Heard>,
        answered: &wasmtime::Result<R>,
        fuel: u64,
    ) {
        self.note_with(heard, answered, Some(fuel));
    }

    fn note_with<R: Serialize>(
        &mut self,
        heard: Option<Heard>,
        answered: &wasmtime::Result<R>,
        fuel: Option<u64>,
    ) {
        let (Some(Heard { import, arguments }), Some(tape)) = (heard, self.tape.as_mut()) else { return };
        let told = match answered {
            Ok(answer) => match tape.write(answer) {
                Some(answer) => Told::Answer(answer),
                None => return,
            },
            Err(error) => Told::Ended(Ending::of(error)),
        };
        let effect = matches!(import.kind, Kind::Writes | Kind::Asks) && is_done(&told);
        tape.calls.push(Entry { import: import.name.to_owned(), effect, arguments, told, fuel });
    }

    /// Notes that the recording shows an answer without a secret that the guest has seen.
    pub(in crate::plugin) fn note_masked(&mut self, is_masked: bool) {
        if let Some(tape) = self.tape.as_mut() {
            tape.is_masked |= is_masked;
        }
    }
}

/// Whether a call was answered with anything but an error.
pub(in crate::plugin) fn is_done(told: &Told) -> bool {
    match told {
        Told::Answer(answer) => !answer.get().starts_with("{\"Err\""),
        Told::Ended(_) => false,
    }
}
