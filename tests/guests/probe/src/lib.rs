//! Touches every part of the contract and does what it is told, so that tests
//! can see the host from a guest's side.

mod actions;
mod panel;
mod propensity;
mod routes;
mod scoring;
mod seen;
mod steps;

use hospes_sdk::panels::Blocks;
use hospes_sdk::routes::{Request, Response};
use hospes_sdk::scoring::{Scores, Slice};
use hospes_sdk::steps::{Step, StepOutcome};
use hospes_sdk::{
    Actions, Customer, Error, Event, Events, Fault, Hooks, Jobs, Lifecycle, Order, Outcome, Panels,
    Rejection, Result, Routes, Scoring, Steps, Subject, Timestamp, Value, json, kv, log, settings,
};
use serde::Deserialize;

/// How many chunks a run of a job has.
const CHUNKS: u32 = 3;

#[derive(Deserialize)]
struct Settings {
    greeting: String,
    refuse_enable: bool,
}

struct Probe;

impl Lifecycle for Probe {
    fn enable() -> Result<()> {
        if settings::get::<Settings>()?.refuse_enable {
            return Err(Error::rejected("told_to_refuse", "the settings say to refuse"));
        }
        count("enabled")
    }

    fn disable() -> Result<()> {
        count("disabled")
    }

    fn migrate(from_version: &str, cursor: Option<String>) -> Result<Option<String>> {
        if settings::get::<Settings>().is_ok_and(|settings| settings.greeting == "nothing to migrate") {
            return Ok(None);
        }
        log::info(&format!("migrating from {from_version}, chunk {}", cursor.as_deref().unwrap_or("0")));
        if cursor.is_some() && settings::get::<Settings>()?.refuse_enable {
            return Err(Error::rejected("told_to_refuse", "the settings say to refuse"));
        }
        chunk("migrated", cursor)
    }
}

impl Events for Probe {
    fn handle(events: Vec<Event>) -> Result<()> {
        seen::handle(events)
    }
}

impl Hooks for Probe {
    fn before_save_customer(
        before: Option<Customer>,
        after: Customer,
    ) -> std::result::Result<Option<Value>, Rejection> {
        let Some((order, rest)) = after.name.split_once(": ") else {
            return Ok(None);
        };
        match order {
            "reject" => {
                let created = before.is_none();
                let message = format!("told to reject {rest}; created: {created}");
                let fault = Fault::new("/name", "told_to_reject", message.as_str());
                Err(Rejection::new("told_to_reject", message).at(fault))
            }
            "patch" => Ok(Some(json!({ "name": rest }))),
            "tag" => Ok(Some(json!({ "tags": [rest] }))),
            "trap" => panic!("told to trap: {rest}"),
            _ => Ok(None),
        }
    }

    fn before_save_order(
        _before: Option<Order>,
        after: Order,
    ) -> std::result::Result<Option<Value>, Rejection> {
        match after.channel.as_str() {
            "reject" => Err(Rejection::new("told_to_reject", "told to reject this channel")),
            "trap" => panic!("told to trap"),
            "label" => Ok(Some(json!({ "fields": { "probe.label": "hooked", "probe.margin": 7 } }))),
            "mislabel" => Ok(Some(json!({ "fields": { "probe.label": 1 } }))),
            "steal" => Ok(Some(json!({ "fields": { "other.label": "stolen" } }))),
            _ => Ok(None),
        }
    }
}

impl Actions for Probe {
    fn run(action: &str, target: Subject, input: Value) -> Result<Outcome> {
        actions::run(action, &target, &input)
    }
}

impl Panels for Probe {
    fn render(slot: &str, target: Subject) -> Result<Blocks> {
        panel::render(slot, &target)
    }
}

impl Jobs for Probe {
    fn run(job: &str, due_at: Timestamp, cursor: Option<String>) -> Result<Option<String>> {
        if cursor.is_none() {
            log::info(&format!("{job} was due at {due_at}"));
        }
        chunk(job, cursor)
    }
}

impl Scoring for Probe {
    fn score(scoring: &str, slice: Slice) -> Result<Scores> {
        if scoring == "propensity" { propensity::propensity(&slice) } else { scoring::score(&slice) }
    }
}

impl Routes for Probe {
    fn answer(request: Request) -> Result<Response> {
        routes::answer(&request)
    }
}

impl Steps for Probe {
    fn run_step(step: Step) -> Result<StepOutcome> {
        steps::run(&step)
    }
}

/// Counts one of three chunks.
fn chunk(key: &str, cursor: Option<String>) -> Result<Option<String>> {
    count(key)?;
    let done: u32 = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0) + 1;
    Ok((done < CHUNKS).then(|| done.to_string()))
}

fn count(key: &str) -> Result<()> {
    let before: u64 = kv::get(key)?.unwrap_or(0);
    kv::set(key, &(before + 1))
}

hospes_sdk::plugin!(Probe: Lifecycle, Events, Hooks, Actions, Panels, Jobs, Scoring, Routes, Steps);
