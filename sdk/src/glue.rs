//! Between the generated exports and the traits of `extension`: decodes what
//! the host passes in, encodes what it gets back. Compiled for wasm only.

use std::sync::Once;

use crate::bindings::actions::exports::hospes::plugin::actions as wit_actions;
use crate::bindings::events::exports::hospes::plugin::events as wit_events;
use crate::bindings::functions::exports::hospes::plugin::functions as wit_functions;
use crate::bindings::hooks::exports::hospes::plugin::hooks as wit_hooks;
use crate::bindings::routes::exports::hospes::plugin::routes as wit_routes;
use crate::bindings::steps::exports::hospes::plugin::steps as wit_steps;
use crate::error::decode;
use crate::panels::Block;
use crate::routes::Request;
use crate::scoring::{Scores, Slice};
use crate::steps::{Step, StepOutcome};
use crate::{
    Actions, Event, Events, Functions, Hooks, Jobs, Lifecycle, Panels, Rejection, Result, Routes, Save,
    Scoring, Steps, Subject, Timestamp,
};

pub fn enable<P: Lifecycle>() -> Result<()> {
    log_panics();
    P::enable()
}

pub fn disable<P: Lifecycle>() -> Result<()> {
    log_panics();
    P::disable()
}

pub fn migrate<P: Lifecycle>(from: String, cursor: Option<String>) -> Result<Option<String>> {
    log_panics();
    P::migrate(&from, cursor)
}

pub fn handle<P: Events>(events: Vec<wit_events::Event>) -> Result<()> {
    log_panics();
    let events = events
        .into_iter()
        .map(|event| {
            Ok(Event {
                body: crate::EventBody::decode(&event.name, &event.body)?,
                id: event.id,
                name: event.name,
                subject: event.subject,
                occurred_at: Timestamp::from_micros(event.occurred_at),
                backfill: event.backfill,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    P::handle(events)
}

pub fn before_save<P: Hooks>(save: wit_hooks::Save) -> std::result::Result<Option<String>, Rejection> {
    log_panics();
    // A record that does not decode is this plugin's failure and not the
    // caller's: the trap lets the manifest's `on_failure` decide.
    let save = match save.entity {
        wit_hooks::EntityKind::Customer => Save::Customer {
            before: save.before.map(|body| must_decode(&body)),
            after: must_decode(&save.after),
        },
        wit_hooks::EntityKind::Order => Save::Order {
            before: save.before.map(|body| must_decode(&body)),
            after: must_decode(&save.after),
        },
        wit_hooks::EntityKind::Ticket => return Ok(None),
    };
    Ok(P::before_save(save)?.map(|patch| patch.to_string()))
}

pub fn act<P: Actions>(action: String, target: Subject, input: String) -> Result<wit_actions::Outcome> {
    log_panics();
    let outcome = P::run(&action, target, decode("the action's input", &input)?)?;
    Ok(wit_actions::Outcome { message: outcome.message, body: outcome.body.to_string() })
}

pub fn render<P: Panels>(slot: String, target: Subject) -> Result<Vec<Block>> {
    log_panics();
    Ok(P::render(&slot, target)?.into_vec())
}

pub fn run_job<P: Jobs>(job: String, due_at: i64, cursor: Option<String>) -> Result<Option<String>> {
    log_panics();
    P::run(&job, Timestamp::from_micros(due_at), cursor)
}

pub fn score<P: Scoring>(scoring: String, slice: Slice) -> Result<Scores> {
    log_panics();
    P::score(&scoring, slice)
}

pub fn answer<P: Routes>(request: wit_routes::Request) -> Result<wit_routes::Response> {
    log_panics();
    let by_name =
        |list: Vec<wit_routes::Parameter>| list.into_iter().map(|one| (one.name, one.value)).collect();
    let response = P::answer(Request {
        method: request.method,
        path: request.path,
        params: by_name(request.params),
        query: by_name(request.query),
        body: request.body.map(|body| decode("the body", &body)).transpose()?,
    })?;
    Ok(wit_routes::Response { status: response.status, body: response.body.map(|body| body.to_string()) })
}

pub fn run_step<P: Steps>(step: wit_steps::Step) -> Result<wit_steps::Outcome> {
    log_panics();
    let outcome = P::run_step(Step {
        input: decode("the step's input", &step.input)?,
        name: step.name,
        target: step.target,
        key: step.key,
        attempt: step.attempt,
    })?;
    Ok(match outcome {
        StepOutcome::Done(output) => wit_steps::Outcome::Done(output.to_string()),
        StepOutcome::WaitUntil(time) => wit_steps::Outcome::WaitUntil(time.micros()),
        StepOutcome::Failed(rejection) => wit_steps::Outcome::Failed(rejection),
    })
}

pub fn call<P: Functions>(request: wit_functions::Request) -> Result<String> {
    log_panics();
    let input = decode("the function's input", &request.input)?;
    Ok(P::call(&request.function, &request.caller, input)?.to_string())
}

fn must_decode<T: serde::de::DeserializeOwned>(body: &str) -> T {
    match serde_json::from_str(body) {
        Ok(value) => value,
        Err(error) => panic!("the record does not decode: {error}"),
    }
}

/// Wasm has no standard error: without this a panic is a bare trap and its
/// message is lost.
fn log_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|panic| crate::log::error(&panic.to_string())));
    });
}
