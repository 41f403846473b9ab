//! Actions, one a capability.

use hospes_sdk::context::{self, Actor};
use hospes_sdk::customers::FieldValue;
use hospes_sdk::timeline::{self, Entry};
use hospes_sdk::{Error, Outcome, Result, Subject, Value, customers, json, kv, orders, settings};

use crate::Settings;
use crate::seen::{SEEN, TALLIES, Tally, tally_of};

pub(crate) fn run(action: &str, target: &Subject, input: &Value) -> Result<Outcome> {
    match (action, target) {
        ("echo" | "echo-order", _) => echo(target, input),
        ("refuse", _) => Err(Error::rejected("told_to_refuse", "refused as told")),
        ("add", Subject::Customer(id)) => change(id, integer(input)),
        ("take", Subject::Customer(id)) => change(id, -integer(input)),
        ("note", Subject::Customer(id)) => note(id, input),
        ("label", Subject::Customer(id)) => label(id, input),
        ("rename", Subject::Customer(id)) => rename(id, input),
        ("create", Subject::Customer(_)) => create(input),
        ("read", Subject::Customer(id)) => read(id),
        ("look", Subject::Customer(_)) => look(input),
        ("peek", _) => peek(input),
        _ => Err(Error::NotFound(format!("action `{action}`"))),
    }
}

fn done(body: Value) -> Result<Outcome> {
    Ok(Outcome { message: "done".to_owned(), body })
}

fn echo(target: &Subject, input: &Value) -> Result<Outcome> {
    let invocation = context::get();
    let actor = match &invocation.actor {
        Actor::User(id) => json!({ "user": id }),
        Actor::Token(id) => json!({ "token": id }),
        Actor::Plugin => json!("plugin"),
    };
    done(json!({
        "target": format!("{target:?}"),
        "input": input,
        "actor": actor,
        "tenant": invocation.tenant,
        "plugin": invocation.plugin,
        "version": invocation.plugin_version,
        "locale": invocation.locale,
        "time_zone": invocation.time_zone,
        "currency": invocation.currency,
        "now": invocation.started_at(),
        "attempt": invocation.attempt,
        "random": context::random(8),
        "greeting": settings::get::<Settings>()?.greeting,
    }))
}

/// The small values of these keys.
fn peek(input: &Value) -> Result<Outcome> {
    let keys = input["keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let values = keys.map(kv::get::<Value>).collect::<Result<Vec<_>>>()?;
    done(json!(values))
}

fn integer(input: &Value) -> i64 {
    input["amount"].as_i64().unwrap_or_default()
}

fn text<'a>(input: &'a Value, key: &str) -> &'a str {
    input[key].as_str().unwrap_or_default()
}

/// Reads, checks and writes without an expectation: only the host's validation
/// of the subject keeps two of these from overdrawing.
fn change(customer: &str, by: i64) -> Result<Outcome> {
    let tally = tally_of(customer)?;
    let amount = tally.amount + by;
    if amount < 0 {
        let message = format!("only {} are left", tally.amount);
        return Err(Error::rejected("too_few", message));
    }
    let subject = Subject::Customer(customer.to_owned());
    TALLIES.put(customer, &subject, &Tally { amount, ..tally })?;
    done(json!({ "amount": amount }))
}

fn note(customer: &str, input: &Value) -> Result<Outcome> {
    timeline::append(vec![Entry {
        customer: customer.to_owned(),
        kind: "noted".to_owned(),
        occurred_at: context::get().started_at(),
        summary: text(input, "text").to_owned(),
        details: input.clone(),
        external_id: input["key"].as_str().map(str::to_owned),
    }])?;
    let (entries, _) = timeline::query(customer, None, 50, None)?;
    done(json!({ "entries": entries }))
}

fn label(customer: &str, input: &Value) -> Result<Outcome> {
    let set =
        |field: &str, value| FieldValue { customer: customer.to_owned(), field: field.to_owned(), value };
    let label = input["label"].as_str().map(Into::into);
    let margin = input["margin"].as_i64().map(Into::into);
    customers::set_fields(&[set("label", label), set("margin", margin)])?;
    done(json!({}))
}

fn rename(customer: &str, input: &Value) -> Result<Outcome> {
    let patch = json!({ "name": text(input, "name") });
    customers::update(customer, input["version"].as_i64(), &patch)?;
    done(json!({ "customer": customers::get(customer)? }))
}

fn create(input: &Value) -> Result<Outcome> {
    let customer = json!({ "kind": "person", "name": text(input, "name") });
    done(json!({ "ids": customers::create(&[customer])? }))
}

fn read(customer: &str) -> Result<Outcome> {
    let subject = Subject::Customer(customer.to_owned());
    let (found, _) = orders::of_customer(customer).limit(200).page()?;
    let seen = SEEN.find().of(&subject).ascending("occurred_at").limit(500).page()?;
    let again = SEEN.find().of(&subject).at_least("count", 2_i64).page()?;
    done(json!({
        "customer": customers::get(customer)?,
        "orders": found,
        "seen": seen.documents.iter().map(|seen| &seen.value.name).collect::<Vec<_>>(),
        "seen_again": again.documents.len(),
        "tally": tally_of(customer)?.events,
    }))
}

/// Looks for records in every way that there is, and answers the ids of those that it sees.
fn look(input: &Value) -> Result<Outcome> {
    let ids = |name: &str| -> Vec<String> {
        input[name].as_array().into_iter().flatten().filter_map(|id| Some(id.as_str()?.to_owned())).collect()
    };
    let asked = ids("customers");
    let got = customers::get_many(&asked)?.into_iter().flatten().map(|customer| customer.id);
    let (queried, _) = customers::query(Vec::new(), 200, None)?;
    let orders_got = orders::get_many(&ids("orders"))?.into_iter().flatten().map(|order| order.customer_id);
    let (mut orders_of, mut timelines_of) = (Vec::new(), Vec::new());
    for id in &asked {
        let (found, _) = orders::of_customer(id).page()?;
        orders_of.extend(found.into_iter().map(|order| order.customer_id));
        match timeline::query(id, None, 50, None) {
            Ok((entries, _)) => timelines_of.extend(entries.first().map(|_| id.clone())),
            Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    done(json!({
        "got": got.collect::<Vec<_>>(),
        "queried": queried.into_iter().map(|customer| customer.id).collect::<Vec<_>>(),
        "orders_got": orders_got.collect::<Vec<_>>(),
        "orders_of": orders_of,
        "timelines_of": timelines_of,
    }))
}
