//! Keeps files and calls other plugins, step by step as a script says. A step that
//! the host refuses is noted by the error's name, and the script goes on.

use std::hint::black_box;

use hospes_sdk::{
    Actions, Error, Event, EventBody, Events, Functions, Outcome, Result, Subject, Value, context, customers,
    files, json, kv, plugins, serde_json,
};

/// Turns of the loop that `burn` counts by: some 10 million units of fuel.
const BURN_TURNS: u64 = 1_000_000;

struct Courier;

impl Actions for Courier {
    fn run(_action: &str, _target: Subject, input: Value) -> Result<Outcome> {
        Ok(Outcome { message: "done".to_owned(), body: run(&input)? })
    }
}

impl Events for Courier {
    /// Runs the script that is the customer's name, if it is one.
    fn handle_one(event: Event) -> Result<()> {
        let EventBody::CustomerUpdated(customer) = event.body else { return Ok(()) };
        let Ok(script) = serde_json::from_str::<Vec<Value>>(&customer.name) else { return Ok(()) };
        run(&json!({ "script": script })).map(drop)
    }
}

impl Functions for Courier {
    fn call(_function: &str, caller: &str, input: Value) -> Result<Value> {
        if input["script"] == json!(["who"]) {
            let context = context::get();
            let actor = format!("{:?}", context.actor);
            return Ok(json!([caller, context.plugin, context.tenant, actor]));
        }
        if input["script"] == json!(["lie"]) {
            return Ok(json!("no list"));
        }
        run(&input)
    }
}

fn run(input: &Value) -> Result<Value> {
    let steps = input["script"].as_array().cloned().unwrap_or_default();
    let times = input["times"].as_u64().unwrap_or(1);
    let mut results = Vec::new();
    for _ in 0..times {
        for step in &steps {
            results.push(match step[0].as_str().unwrap_or_default() {
                "refuse" => return Err(Error::rejected("told_to_refuse", "refused as told")),
                "unavailable" => return Err(Error::Unavailable("not now".to_owned())),
                "trap" => panic!("trapped as told"),
                _ => act(step).unwrap_or_else(|error| json!({ "error": name(&error) })),
            });
        }
    }
    Ok(Value::Array(results))
}

fn act(step: &Value) -> Result<Value> {
    let text = |place: usize| step[place].as_str().unwrap_or_default();
    let number = |place: usize| step[place].as_u64().unwrap_or_default();
    match text(0) {
        "write" => files::write(text(1), text(2)).map(|()| json!("written")),
        "fill" => {
            let bytes = usize::try_from(number(2)).unwrap_or_default();
            files::write(text(1), vec![b'x'; bytes]).map(|()| json!("written"))
        }
        "many" => {
            for count in 0..number(2) {
                files::write(&format!("{}{count:05}", text(1)), "x")?;
            }
            Ok(json!("written"))
        }
        "read" => {
            let content = files::read(text(1))?;
            Ok(json!(content.map(|content| String::from_utf8_lossy(&content).into_owned())))
        }
        "size" => Ok(json!(files::read(text(1))?.map(|content| content.len()))),
        "delete" => files::delete(text(1)).map(|()| json!("deleted")),
        "list" => {
            let limit = u32::try_from(number(2)).unwrap_or_default();
            let page = files::list(text(1), limit, step[3].as_str().map(str::to_owned))?;
            let names: Vec<_> = page.files.into_iter().map(|file| json!([file.name, file.size])).collect();
            Ok(json!({ "files": names, "cursor": page.cursor }))
        }
        "count" => {
            let count = kv::get::<u64>(text(1))?.unwrap_or(0) + 1;
            kv::set(text(1), &count).map(|()| json!(count))
        }
        "peek" => Ok(json!(kv::get::<u64>(text(1))?)),
        "rename" => {
            customers::update(text(1), None, &json!({ "name": text(2) }))?;
            Ok(json!(customers::get(text(1))?.map(|customer| customer.name)))
        }
        "burn" => {
            let mut turns = 0_u64;
            while turns < number(1) * BURN_TURNS {
                turns = black_box(turns + 1);
            }
            Ok(json!("burnt"))
        }
        "call" => plugins::call(text(1), "do", &json!({ "script": step[2] })),
        "call-with" => plugins::call(text(1), text(2), &step[3]),
        _ => Err(Error::NotFound(format!("step `{step}`"))),
    }
}

fn name(error: &Error) -> String {
    match error {
        Error::Invalid(faults) => {
            let codes: Vec<&str> = faults.iter().map(|fault| fault.code.as_str()).collect();
            format!("invalid: {}", codes.join(", "))
        }
        Error::NotFound(what) => format!("not found: {what}"),
        Error::Conflict(what) => format!("conflict: {what}"),
        Error::Denied(what) => format!("denied: {what}"),
        Error::Limit(what) => format!("limit: {what}"),
        Error::Rejected(rejection) => format!("rejected: {}", rejection.code),
        Error::Unavailable(what) => format!("unavailable: {what}"),
    }
}

hospes_sdk::plugin!(Courier: Actions, Events, Functions);
