//! Whether the host takes what a guest has answered.
//!
//! It is asked when a run ends, before anything of it is committed: an answer that is not taken is a
//! failure like a trap, in the plugin's log, its health, its metrics and its recordings.

use super::call::{Answer, Call, Details, Failure};
use super::invocation::Invocation;
use super::{actions, functions, hooks, panels, routes, scoring, steps};
use crate::domain::actor::Locale;
use crate::domain::code::FailureCode;
use crate::error::Error;
use crate::texts;

/// Why the host does not take an answer.
pub(super) fn objection(invocation: &Invocation, call: &Call, answer: &Answer) -> Option<FailureCode> {
    let Invocation { enabled, actor, now, .. } = invocation;
    match (call, answer) {
        (Call::BeforeSave(save), Answer::Patch(Some(patch))) => {
            hooks::read_patch(enabled, (hooks::kind_of(save)?, actor), patch).err()
        }
        (Call::Act { .. }, Answer::Outcome(outcome)) => actions::read_body(outcome).err(),
        (Call::Render { .. }, Answer::Blocks(blocks)) => panels::to_json(enabled, blocks).err(),
        (Call::Score { scoring, slice }, Answer::Scores(scores)) => {
            scoring::check(enabled, (scoring, slice), scores).err()
        }
        (Call::Route(request), Answer::Response(response)) => {
            routes::read_response(enabled, request, response).err()
        }
        (Call::Step(step), Answer::Step(outcome)) => {
            steps::read_outcome(enabled, (&step.name, *now), outcome).err()
        }
        (Call::Function(request), Answer::Output(output)) => {
            functions::read_output(enabled, &request.function, output).err()
        }
        // The others have nothing in their answers that could be wrong.
        _ => None,
    }
}

/// The failure of a run whose answer is not taken.
pub(super) fn failure(code: FailureCode) -> Failure {
    let message = texts::say(Locale::En, &code);
    Failure::Stopped { details: Details::plain(&message), message, code }
}

/// The same for whoever has asked.
pub(super) fn error(plugin: &str, code: FailureCode) -> Error {
    Error::PluginFailed { plugin: plugin.to_owned(), message: texts::say(Locale::En, &code), code }
}
