//! Types of workflow steps: input and outcome are checked by the manifest's schemas.

use std::sync::Arc;

use hospes_bindings::exports::hospes::plugin::steps as contract;
use serde_json::Value;

use super::PluginHost;
use super::acceptance;
use super::call::{Answer, Call};
use super::host::{parse_document, subject_of_event};
use super::registry::Enabled;
use super::run::{Effects, told_by_guest, user_actor};
use crate::clock::Timestamp;
use crate::domain::actor::Actor;
use crate::domain::code::{FailureCode, RecordKind};
use crate::domain::point::Point;
use crate::error::{Error, Result};
use crate::ops::plugins::Ack;
use crate::ops::plugins::steps::{StepAck, StepFault, StepOutcome, StepRequest};

/// How long a step may wait.
const WAIT_SECONDS_MAX: i64 = 366 * 24 * 60 * 60;

impl PluginHost {
    pub(super) async fn step(
        &self,
        actor: &Actor,
        request: StepRequest,
        keep: StepAck,
    ) -> Result<StepOutcome> {
        let StepRequest { plugin, step, target, key, mut input, attempt } = request;
        let unknown = || Error::not_found(RecordKind::Step, format!("{plugin}/{step}"));
        let enabled = self.registry.find(&actor.tenant, &plugin).await?.ok_or_else(unknown)?;
        let enabled = Box::pin(self.version_for(&enabled, &target)).await?;
        let schemas = enabled.facts.steps.get(&step).ok_or_else(unknown)?;
        schemas.input.fill_defaults(&mut input);
        let faults = schemas.input.faults("", &input);
        if !faults.is_empty() {
            return Err(Error::Invalid { faults });
        }
        let beginning = self.begin(&enabled, user_actor(actor, &enabled), Point::Steps)?.of_user(actor);
        let now = beginning.now;
        let call = Call::Step(contract::Step {
            name: step.clone(),
            target: subject_of_event(&target),
            key,
            input: input.to_string(),
            attempt,
        });
        let read = Arc::new({
            let enabled = Arc::clone(&enabled);
            move |answer: &Answer| read(&enabled, &step, now, answer)
        });
        let effects = Effects::Commit(Arc::new({
            let read = Arc::clone(&read);
            move |answer| Some(acknowledge(&keep, read(answer)))
        }));
        let answer = self.run(beginning, call, effects).await?;
        read(&answer)
    }
}

/// An outcome that is none fails the transaction, so that nothing of it is written.
fn acknowledge(keep: &StepAck, outcome: Result<StepOutcome>) -> Ack {
    let state = Arc::new((Arc::clone(keep), outcome));
    Arc::new(move |tx| {
        let state = Arc::clone(&state);
        Box::pin(async move {
            match &state.1 {
                Ok(outcome) => state.0(tx, outcome).await,
                Err(error) => Err(error.clone()),
            }
        })
    })
}

fn read(enabled: &Enabled, step: &str, now: Timestamp, answer: &Answer) -> Result<StepOutcome> {
    let Answer::Step(outcome) = answer else {
        return Err(Error::internal("a step answered with something else than an outcome"));
    };
    read_outcome(enabled, (step, now), outcome).map_err(|code| acceptance::error(&enabled.plugin, code))
}

/// What a step has come to, or why that is not taken.
pub(super) fn read_outcome(
    enabled: &Enabled,
    (step, now): (&str, Timestamp),
    outcome: &contract::Outcome,
) -> Result<StepOutcome, FailureCode> {
    let failed = |reason: String| FailureCode::Outcome { reason };
    match outcome {
        contract::Outcome::Done(output) => {
            let output = parse_document(output).map_err(failed)?;
            check(enabled, step, &output).map_err(failed)?;
            Ok(StepOutcome::Done(output))
        }
        contract::Outcome::WaitUntil(time) => {
            let time = Timestamp::from_micros(*time);
            if time > now.plus_seconds(WAIT_SECONDS_MAX) {
                return Err(failed("it waits for more than a year".to_owned()));
            }
            Ok(StepOutcome::WaitUntil(time))
        }
        contract::Outcome::Failed(told) => {
            let (code, message, faults) = told_by_guest(told.clone());
            let faults = faults.into_iter().map(StepFault::from).collect();
            Ok(StepOutcome::Failed { code, message, faults })
        }
    }
}

fn check(enabled: &Enabled, step: &str, output: &Value) -> Result<(), String> {
    let schemas = enabled.facts.steps.get(step);
    let faults = schemas.map(|schemas| schemas.output.faults("", output)).unwrap_or_default();
    match faults.first() {
        None => Ok(()),
        Some(first) => Err(format!("`{}`: {}", first.pointer, first.message)),
    }
}
