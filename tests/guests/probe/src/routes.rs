//! Endpoints over the tallies and small values.

use hospes_sdk::routes::{Method, Request, Response};
use hospes_sdk::{Error, Result, Subject, Value, json, kv};

use crate::seen::{TALLIES, tally_of};

pub(crate) fn answer(request: &Request) -> Result<Response> {
    match (request.method, request.path.as_str()) {
        (Method::Get, "/notes/{name}") => show(request),
        (Method::Get, "/notes/latest") => Ok(Response::ok(json!({ "latest": kv::get::<String>("latest")? }))),
        (Method::Get, "/sneaky") => {
            kv::set("sneaky", &1)?;
            Ok(Response::done())
        }
        (Method::Get, "/teapot") => Ok(Response { status: 418, body: None }),
        (Method::Get, "/liar") => Ok(Response::ok(json!("no object"))),
        (Method::Put, "/notes/{name}") => {
            kv::set(request.param("name"), &request.body::<Value>()?)?;
            kv::set("latest", &request.param("name"))?;
            Ok(Response::done())
        }
        (Method::Post, "/tallies/{customer}") => add(request),
        (Method::Delete, "/notes/{name}") => {
            kv::delete(request.param("name"))?;
            Ok(Response::done())
        }
        _ => Err(Error::NotFound(request.path.clone())),
    }
}

fn show(request: &Request) -> Result<Response> {
    let note = kv::get::<Value>(request.param("name"))?;
    let note = note.ok_or_else(|| Error::NotFound(format!("note `{}`", request.param("name"))))?;
    Ok(Response::ok(json!({ "note": note, "style": request.query("style") })))
}

fn add(request: &Request) -> Result<Response> {
    let body: Value = request.body()?;
    let customer = request.param("customer");
    let mut tally = tally_of(customer)?;
    tally.amount += body["amount"].as_i64().unwrap_or_default();
    if tally.amount < 0 {
        return Err(Error::rejected("too_few", "there is not that much"));
    }
    TALLIES.put(customer, &Subject::Customer(customer.to_owned()), &tally)?;
    Ok(Response::created(json!({ "amount": tally.amount })))
}
