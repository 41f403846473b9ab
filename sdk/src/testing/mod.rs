//! A fake host in memory, for native tests of a plugin's logic.
//!
//! Off wasm every function of this SDK talks to a fake that belongs to the
//! running thread, so tests do not see each other. It knows the plugin's
//! manifest: a collection, index or field that is not declared is refused as the
//! host would refuse it. It does not check grants, JSON Schemas or budgets; the
//! host's own tests do.
//!
//! ```
//! use hospes_sdk::{Result, kv, testing};
//!
//! testing::start(r#"name = "counter""#);
//! let outcome: Result<()> = testing::invoke(|| {
//!     kv::set("seen", &1)?;
//!     Err(hospes_sdk::Error::rejected("no", "changed my mind"))
//! });
//! assert!(outcome.is_err());
//! assert_eq!(kv::get::<i64>("seen").unwrap(), None); // nothing was written
//! ```

pub(crate) mod fake;
mod manifest;
pub(crate) mod outside;
pub(crate) mod web;

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::Value;

use crate::bindings::imports::hospes::plugin::context::{Actor, Invocation};
use crate::bindings::imports::hospes::plugin::documents::Stored;
use crate::bindings::imports::hospes::plugin::kv::Entry;
use crate::scoring::{Column, Slice};
use crate::timeline::Entry as TimelineEntry;
use crate::{Event, EventBody, Result, Scalar, Subject, Timestamp};
use manifest::Manifest;
pub use web::{SentRequest, answer_requests, fail_requests, sent_requests};

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new(Manifest::default()));
}

/// The names of a plugin and of its function.
type PluginFunction = (String, String);

/// All that the fake host holds.
#[derive(Debug, Clone)]
struct World {
    manifest: Manifest,
    invocation: Invocation,
    settings: Value,
    kv: BTreeMap<String, Entry>,
    documents: BTreeMap<(String, String), Stored>,
    customers: BTreeMap<String, Value>,
    orders: BTreeMap<String, Value>,
    fields: BTreeMap<(String, String), Scalar>,
    timeline: Vec<TimelineEntry>,
    web: web::Web,
    /// Contents, and when they were written.
    files: BTreeMap<String, (Vec<u8>, i64)>,
    /// What functions of other plugins answer.
    answers: BTreeMap<PluginFunction, Result<String>>,
    plugin_calls: Vec<(PluginFunction, String)>,
    log: Vec<String>,
    calls: u64,
    random: u64,
    read_only: bool,
}

impl World {
    fn new(manifest: Manifest) -> Self {
        Self {
            invocation: Invocation {
                tenant: "ten_test".to_owned(),
                plugin: manifest.name.clone(),
                plugin_version: manifest.version.clone(),
                actor: Actor::Plugin,
                locale: "en".to_owned(),
                time_zone: "UTC".to_owned(),
                currency: "USD".to_owned(),
                now: 0,
                attempt: 1,
            },
            settings: Value::Object(serde_json::Map::new()),
            kv: BTreeMap::new(),
            documents: BTreeMap::new(),
            customers: BTreeMap::new(),
            orders: BTreeMap::new(),
            fields: BTreeMap::new(),
            timeline: Vec::new(),
            web: web::Web::default(),
            files: BTreeMap::new(),
            answers: BTreeMap::new(),
            plugin_calls: Vec::new(),
            log: Vec::new(),
            calls: 0,
            random: 0,
            read_only: false,
            manifest,
        }
    }
}

fn with<T>(act: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(act)
}

/// An empty host for the plugin of this manifest. Settings begin as the
/// schema's top-level defaults.
///
/// # Panics
/// If the text is no manifest.
pub fn start(plugin_toml: &str) {
    let manifest = Manifest::parse(plugin_toml).expect("plugin.toml is a manifest");
    with(|world| {
        *world = World::new(manifest);
        world.settings = world.manifest.default_settings();
    });
}

/// Moves the clock.
pub fn set_now(now: Timestamp) {
    with(|world| world.invocation.now = now.micros());
}

/// The language to answer in: `en` or `zh-CN`.
pub fn set_locale(locale: &str) {
    with(|world| world.invocation.locale = locale.to_owned());
}

/// The tenant's currency; `USD` at first.
pub fn set_currency(currency: &str) {
    with(|world| world.invocation.currency = currency.to_owned());
}

/// Who acts; the plugin itself at first.
pub fn set_actor(actor: Actor) {
    with(|world| world.invocation.actor = actor);
}

/// Lays settings over the defaults, key by key.
///
/// # Panics
/// If the settings are no object.
pub fn set_settings(settings: &Value) {
    let settings = settings.as_object().expect("settings are an object");
    with(|world| {
        for (key, value) in settings {
            world.settings[key] = value.clone();
        }
    });
}

/// Puts a customer into the host.
///
/// # Panics
/// If it has no id.
pub fn put_customer(customer: Value) {
    let id = id_of(&customer);
    with(|world| world.customers.insert(id, customer));
}

/// Puts an order into the host.
///
/// # Panics
/// If it has no id.
pub fn put_order(order: Value) {
    let id = id_of(&order);
    with(|world| world.orders.insert(id, order));
}

fn id_of(record: &Value) -> String {
    record["id"].as_str().expect("a record has an id").to_owned()
}

/// Runs one invocation: an error undoes all that it wrote.
pub fn invoke<T, E>(run: impl FnOnce() -> std::result::Result<T, E>) -> std::result::Result<T, E> {
    let before = with(|world| world.clone());
    let outcome = run();
    if outcome.is_err() {
        with(|world| *world = before.undone(world));
    }
    outcome
}

/// Runs a panel or a hook: what writes is denied.
pub fn invoke_read_only<T, E>(run: impl FnOnce() -> std::result::Result<T, E>) -> std::result::Result<T, E> {
    with(|world| world.read_only = true);
    let outcome = run();
    with(|world| world.read_only = false);
    outcome
}

/// An event as the host would deliver it. The subject is the record itself; for
/// an interaction or a behaviour event it is the customer.
///
/// # Errors
/// If the record does not decode as what the event's name says.
pub fn event(id: &str, name: &str, record: &Value) -> Result<Event> {
    let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
    let subject = if name.starts_with("order.") {
        Subject::Order(text("id"))
    } else if name.starts_with("customer.") {
        Subject::Customer(text("id"))
    } else {
        Subject::Customer(text("customer_id"))
    };
    Ok(Event {
        id: id.to_owned(),
        name: name.to_owned(),
        subject,
        occurred_at: Timestamp::from_micros(with(|world| world.invocation.now)),
        backfill: false,
        body: EventBody::decode(name, &record.to_string())?,
    })
}

/// A collection's documents by key.
pub fn documents(collection: &str) -> BTreeMap<String, Value> {
    with(|world| {
        world
            .documents
            .iter()
            .filter(|((name, _), _)| name == collection)
            .map(|((_, key), stored)| {
                let body = serde_json::from_str(&stored.body).expect("the fake checked it");
                (key.clone(), body)
            })
            .collect()
    })
}

/// The value of one of the plugin's fields on a customer.
pub fn field(customer: &str, field: &str) -> Option<Scalar> {
    let key = (customer.to_owned(), field.to_owned());
    with(|world| world.fields.get(&key).cloned())
}

/// What the plugin added to timelines, the first first.
pub fn timeline() -> Vec<TimelineEntry> {
    with(|world| world.timeline.clone())
}

/// Lets a function of another plugin answer, whatever it is called with. A
/// function that no test has answered for is not found.
pub fn answer_call(plugin: &str, function: &str, answer: Result<Value>) {
    let place = (plugin.to_owned(), function.to_owned());
    with(|world| world.answers.insert(place, answer.map(|output| output.to_string())));
}

/// The calls of other plugins' functions: plugin, function and input.
///
/// # Panics
/// Never: the SDK has written the inputs.
pub fn plugin_calls() -> Vec<(String, String, Value)> {
    let call = |((plugin, function), input): &(PluginFunction, String)| {
        let input = serde_json::from_str(input).expect("the SDK has written it");
        (plugin.clone(), function.clone(), input)
    };
    with(|world| world.plugin_calls.iter().map(call).collect())
}

/// A file's content, if there is such a file.
pub fn file(name: &str) -> Option<Vec<u8>> {
    with(|world| world.files.get(name).map(|file| file.0.clone()))
}

/// A slice for a scoring: ids, and columns with one number for each.
///
/// # Panics
/// If a column is not as long as the ids.
pub fn slice(ids: &[&str], columns: &[(&str, &[f64])]) -> Slice {
    let column = |(name, values): &(&str, &[f64])| {
        assert_eq!(values.len(), ids.len(), "the column `{name}` has one number for each id");
        Column { name: (*name).to_owned(), values: values.to_vec() }
    };
    Slice { ids: ids.join("\n"), columns: columns.iter().map(column).collect() }
}

/// The lines of the plugin's log.
pub fn log() -> Vec<String> {
    with(|world| world.log.clone())
}

/// How many host calls were made since [`start`].
pub fn calls() -> u64 {
    with(|world| world.calls)
}
