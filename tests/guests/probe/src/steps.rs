//! A step that ends as its input says, and counts how often it ran.

use hospes_sdk::steps::{Step, StepOutcome};
use hospes_sdk::{Error, Rejection, Result, context, json};

pub(crate) fn run(step: &Step) -> Result<StepOutcome> {
    crate::count(&step.key)?;
    match step.input["end"].as_str().unwrap_or_default() {
        "done" => Ok(StepOutcome::Done(json!({ "attempt": step.attempt }))),
        "wait" if step.attempt > 1 => Ok(StepOutcome::Done(json!({ "attempt": step.attempt }))),
        "wait" => Ok(StepOutcome::WaitUntil(context::get().started_at().add_days(1))),
        "fail" => Ok(StepOutcome::Failed(Rejection::new("told_to_fail", "failed as told"))),
        "lie" => Ok(StepOutcome::Done(json!("no object"))),
        "trap" => panic!("told to trap"),
        _ => Err(Error::Unavailable("not now".to_owned())),
    }
}
