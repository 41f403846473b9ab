//! The flight recorder: which runs are recorded, what a recording is, and where it waits until it is
//! kept.
//!
//! A recording is one run of a guest: its input, what it was told by the host, and what came of it.
//! A run is a function of these, because time, randomness and rights are among them. What another
//! plugin does that it calls is an answer like any other; that run is a recording of its own, by the
//! rule of that plugin. An invocation that a conflict makes run again leaves one for each attempt.
//! Nothing here may fail or hold up a run: there is a queue with a bound, and what does not fit is
//! counted.

pub(super) mod mask;
pub(super) mod numbers;
mod queue;
mod tape;

use std::sync::Arc;

use hospes_bindings::hospes::plugin::{context, types};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub(super) use queue::{Keep, Recorder};
pub(super) use tape::{Cut, Ending, Entry, Tape, Told};

use super::budget::Budget;
use super::call::{Answer, Call, Failure};
use super::invocation::Invocation;
use crate::domain::actor::Locale;
use crate::domain::code::FailureCode;
use crate::domain::grant::Grants;
use crate::domain::ids::RecordingId;
use crate::domain::permission::{Permission, Role};
use crate::domain::point::Point;
use crate::ops::plugins::recordings::{CUSTOMERS_MAX, NewRecording, customers_in};
use crate::texts;

/// The form of a recording; another one gets another number.
pub(super) const FORMAT: u32 = 1;

/// Everything that a run was. Answers and effects stand as the guest has seen and made them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Recording {
    pub(super) format: u32,
    pub(super) id: RecordingId,
    /// SHA-256 of the component.
    pub(super) digest: String,
    pub(super) point: Point,
    /// The plugins that called one another, this one the last.
    pub(super) chain: Vec<String>,
    /// Tenant, plugin, actor, language, time and attempt, as a guest is told of them.
    pub(super) context: context::Invocation,
    /// The rights that are left to the actor: by role, and by the plugin's grants.
    pub(super) roles: Vec<Role>,
    pub(super) permissions: Option<Vec<Permission>>,
    pub(super) grants: Grants,
    pub(super) may_write: bool,
    /// JSON text, as a guest is told of it.
    pub(super) settings: String,
    pub(super) seed: u64,
    pub(super) budget: Budget,
    /// The input; absent if it was too large.
    pub(super) input: Option<Box<RawValue>>,
    pub(super) calls: Vec<Entry>,
    pub(super) outcome: Outcome,
    /// Why the host has not taken the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) objection: Option<Objection>,
    /// A failure in full, with the guest's backtrace.
    pub(super) details: Option<String>,
    /// What the guest has burnt, and what plugins that it called have.
    pub(super) fuel: u64,
    pub(super) called_fuel: u64,
    /// The log as it was kept, with what the host has added.
    pub(super) log: Vec<(String, String)>,
    /// Why there is not all of it.
    pub(super) cut: Option<Cut>,
    /// Whether the guest has seen headers that are not here, because they are secrets.
    pub(super) masked: bool,
}

/// Why the host has not taken an answer: nothing of the run was committed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Objection {
    pub(super) code: String,
    pub(super) message: String,
}

impl Objection {
    fn of(code: &FailureCode) -> Self {
        Self { code: code.as_str().to_owned(), message: texts::say(Locale::En, code) }
    }
}

/// What came of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// What the guest has answered.
    Answer(Box<RawValue>),
    /// It refuses, in its own words.
    Refused(types::Error),
    /// A hook's veto.
    Rejected(types::Rejection),
    /// It broke off or was stopped.
    Stopped { code: String, message: String },
    /// What it has read has changed, and it runs again.
    Stale,
    /// The host itself has failed.
    Host,
}

impl Outcome {
    /// What came of a run; nothing if its answer cannot be written.
    pub(super) fn of(outcome: &Result<Answer, Failure>) -> Option<Self> {
        Some(match outcome {
            Ok(answer) => Self::Answer(serde_json::value::to_raw_value(answer).ok()?),
            Err(Failure::Refused(told)) => Self::Refused(told.clone()),
            Err(Failure::Rejected(told)) => Self::Rejected(told.clone()),
            Err(Failure::Stopped { code, message, .. }) => {
                Self::Stopped { code: code.as_str().to_owned(), message: message.clone() }
            }
            Err(Failure::Stale) => Self::Stale,
            Err(Failure::Host(_)) => Self::Host,
        })
    }

    /// A word for lists: `ok`, `refused`, `stale`, `host`, or the code of a failure.
    pub(super) fn word(&self) -> &str {
        match self {
            Self::Answer(_) => "ok",
            Self::Refused(_) | Self::Rejected(_) => "refused",
            Self::Stopped { code, .. } => code,
            Self::Stale => "stale",
            Self::Host => "host",
        }
    }

    /// Whether a clock has stopped the guest, which no replay repeats at the same instruction.
    pub(super) fn is_deadline(&self) -> bool {
        let deadline = FailureCode::Deadline { ms: String::new() };
        matches!(self, Self::Stopped { code, .. } if code == deadline.as_str())
    }
}

/// Hands over what was noted of a run that has ended, if it is to be kept.
pub(super) fn finish(
    invocation: &mut Invocation,
    call: &Call,
    (outcome, objection): (&Result<Answer, Failure>, Option<&FailureCode>),
) {
    let Some(tape) = invocation.tape.take() else { return };
    let has_failed = objection.is_some() || matches!(outcome, Err(Failure::Stopped { .. }));
    if tape.keep == Keep::Failures && !has_failed {
        return;
    }
    let host = Arc::clone(&invocation.host);
    let is_kept =
        made(invocation, *tape, call, (outcome, objection)).is_some_and(|made| host.recorder.push(made));
    if !is_kept {
        host.recorder.drop_one(&invocation.enabled);
    }
}

/// A recording that waits. It is not written out before it is taken, because a run would wait for that.
pub(super) struct Made {
    recording: Recording,
    head: NewRecording,
    /// Bytes that it takes.
    bytes: usize,
}

fn made(
    invocation: &Invocation,
    mut tape: Tape,
    call: &Call,
    (outcome, objection): (&Result<Answer, Failure>, Option<&FailureCode>),
) -> Option<Made> {
    let input = tape.write(call);
    let Invocation { enabled, actor, core, .. } = invocation;
    let id = RecordingId::new(&*core.ids, core.now());
    let bytes = tape.bytes();
    let recording = Recording {
        format: FORMAT,
        id: id.clone(),
        digest: enabled.digest.clone(),
        point: invocation.point,
        chain: invocation.chain.iter().map(ToString::to_string).collect(),
        context: invocation.described(),
        roles: actor.roles.clone(),
        permissions: actor.allowed.as_ref().map(|allowed| allowed.to_vec()),
        grants: enabled.grants.clone(),
        may_write: invocation.may_write,
        settings: enabled.settings.to_string(),
        seed: tape.seed,
        budget: invocation.budget,
        input,
        calls: tape.calls,
        outcome: Outcome::of(outcome)?,
        objection: objection.map(Objection::of),
        details: match outcome {
            Err(Failure::Stopped { details, .. }) => Some(details.to_text()),
            Err(_) | Ok(_) => None,
        },
        fuel: invocation.usage.fuel,
        called_fuel: invocation.called_fuel,
        log: invocation.log.lines.iter().map(|one| (one.level.to_owned(), one.message.clone())).collect(),
        cut: tape.cut,
        masked: tape.is_masked,
    };
    let head = NewRecording {
        id,
        tenant: enabled.tenant.clone(),
        plugin: enabled.plugin.to_string(),
        plugin_version: enabled.package_version.clone(),
        digest: enabled.digest.clone(),
        point: invocation.point.as_str(),
        at: invocation.now,
        attempt: i64::from(invocation.attempt),
        outcome: recording.word().to_owned(),
        fuel: i64::try_from(recording.fuel).unwrap_or(i64::MAX),
        calls: i64::try_from(recording.calls.len()).unwrap_or(i64::MAX),
        truncated: recording.cut.is_some(),
        customers: Vec::new(),
        body: Vec::new(),
    };
    Some(Made { recording, head, bytes })
}

impl Made {
    /// The recording as it is kept; nothing if it cannot be written.
    fn written(self) -> Option<NewRecording> {
        let Self { mut recording, head, bytes: _ } = self;
        let mut body = serde_json::to_string(&recording).ok()?;
        let mut customers = customers_in(&body);
        if customers.len() > CUSTOMERS_MAX {
            // Without what it has seen, it is about nobody.
            recording.empty();
            body = serde_json::to_string(&recording).ok()?;
            customers = Vec::new();
        }
        Some(NewRecording {
            outcome: recording.word().to_owned(),
            truncated: recording.cut.is_some(),
            customers,
            body: body.into_bytes(),
            ..head
        })
    }
}

impl Recording {
    /// A word for lists: that of the outcome, or the code of the host's objection.
    fn word(&self) -> &str {
        self.objection.as_ref().map_or_else(|| self.outcome.word(), |objection| &objection.code)
    }

    /// Leaves out what may be about customers.
    fn empty(&mut self) {
        self.cut = Some(Cut::Customers);
        self.input = None;
        self.calls = Vec::new();
        self.log = Vec::new();
        self.details = None;
        if let Some(objection) = &mut self.objection {
            objection.message.clear();
        }
        if let Outcome::Answer(answer) = &mut self.outcome {
            *answer = RawValue::NULL.to_owned();
        }
        if let Outcome::Refused(_) | Outcome::Rejected(_) = &self.outcome {
            self.outcome = Outcome::Answer(RawValue::NULL.to_owned());
        }
    }
}
