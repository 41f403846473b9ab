//! Tells every byte that the host shows it: what it reads in an action, what it is
//! handed in an event or a hook. Nothing is decoded on the way, as the SDK would do.
#![cfg(target_arch = "wasm32")]

use hospes_sdk::bindings::events::exports::hospes::plugin::events as wit_events;
use hospes_sdk::bindings::hooks::exports::hospes::plugin::hooks as wit_hooks;
use hospes_sdk::bindings::imports::hospes::plugin::types::{Entity, EntityPage};
use hospes_sdk::bindings::imports::hospes::plugin::{customers, orders, timeline};
use hospes_sdk::documents::Collection;
use hospes_sdk::{
    Actions, Comparison, Condition, Error, Outcome, Rejection, Result, Scalar, Subject, Value, json, log,
    serde_json,
};

const SEEN: Collection<Value> = Collection::new("seen");
/// Bytes of a line of the log that are kept for sure.
const LINE_BYTES: usize = 600;

struct Spy;

impl Actions for Spy {
    fn run(action: &str, target: Subject, input: Value) -> Result<Outcome> {
        let Subject::Customer(customer) = target else {
            return Err(Error::NotFound("customer".to_owned()));
        };
        let body = match action {
            "look" => look(&customer, &input),
            "filter" => filter(&input),
            _ => write(&customer, &input),
        };
        Ok(Outcome { message: "done".to_owned(), body })
    }
}

fn look(customer: &str, input: &Value) -> Value {
    let ids = |name: &str| -> Vec<String> {
        let ids = input[name].as_array().into_iter().flatten();
        ids.filter_map(|id| id.as_str().map(str::to_owned)).collect()
    };
    let page =
        orders::Search { customer: customer.to_owned(), since: None, until: None, limit: 200, cursor: None };
    let entries = timeline::Search { customer: customer.to_owned(), kind: None, limit: 200, cursor: None };
    json!({
        "customers": many(customers::get_many(&ids("customers"))),
        "customers_page": paged(customers::query(&all())),
        "orders": many(orders::get_many(&ids("orders"))),
        "orders_page": paged(orders::query(&page)),
        "timeline": paged(timeline::query(&entries)),
    })
}

fn all() -> customers::Search {
    customers::Search { conditions: Vec::new(), limit: 200, cursor: None }
}

fn filter(input: &Value) -> Value {
    let value = match &input["value"] {
        Value::String(text) => Scalar::Text(text.clone()),
        other => Scalar::Integer(other.as_i64().unwrap_or_default()),
    };
    let field = input["field"].as_str().unwrap_or_default().to_owned();
    let condition = Condition { field, comparison: Comparison::GreaterOrEqual, value };
    paged(customers::query(&customers::Search { conditions: vec![condition], ..all() }))
}

fn write(customer: &str, input: &Value) -> Value {
    let patch = customers::Patch {
        id: customer.to_owned(),
        expected_version: None,
        body: input["patch"].to_string(),
    };
    match customers::update_many(&[patch]) {
        Ok(()) => json!("written"),
        Err(error) => json!(format!("{error:?}")),
    }
}

fn many(found: Result<Vec<Option<Entity>>>) -> Value {
    match found {
        Ok(found) => found.into_iter().map(|entity| entity.map_or(Value::Null, raw)).collect(),
        Err(error) => json!(format!("{error:?}")),
    }
}

fn paged(found: Result<EntityPage>) -> Value {
    match found {
        Ok(page) => page.entities.into_iter().map(raw).collect(),
        Err(error) => json!(format!("{error:?}")),
    }
}

fn raw(entity: Entity) -> Value {
    serde_json::from_str(&entity.body).unwrap_or(Value::String(entity.body))
}

struct Raw;

impl wit_events::Guest for Raw {
    fn handle(events: Vec<wit_events::Event>) -> Result<()> {
        for event in events {
            let body: Value = serde_json::from_str(&event.body).unwrap_or_default();
            let seen = json!({ "name": event.name, "body": body });
            SEEN.put(&event.id, &Subject::Tenant, &seen)?;
        }
        Ok(())
    }
}

impl wit_hooks::Guest for Raw {
    /// A hook cannot keep anything, so the log tells what it has seen.
    fn before_save(save: wit_hooks::Save) -> std::result::Result<Option<String>, Rejection> {
        tell("before", save.before.as_deref().unwrap_or_default());
        tell("after", &save.after);
        let after: Value = serde_json::from_str(&save.after).unwrap_or_default();
        let is_told_to_rename = after["tags"].as_array().is_some_and(|tags| tags.contains(&json!("rename")));
        Ok(is_told_to_rename.then(|| json!({ "name": "Mallory" }).to_string()))
    }
}

fn tell(what: &str, document: &str) {
    let letters: Vec<char> = document.chars().collect();
    for part in letters.chunks(LINE_BYTES / 4) {
        log::info(&format!("{what}|{}", part.iter().collect::<String>()));
    }
}

hospes_sdk::plugin!(Spy: Actions);
hospes_sdk::bindings::events::export_events!(Raw);
hospes_sdk::bindings::hooks::export_hooks!(Raw);
