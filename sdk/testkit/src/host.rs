//! A host: its clock, its records, its background work, and what the plugin has done in it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{Process, compile, program};
use crate::{Answer, NewOrder, NewRecord, Outcome, Record, Rejection, Script};

/// Pages of a list that are read at most.
const PAGES_MAX: u32 = 1_000;

/// A host in the making.
#[derive(Debug)]
#[must_use = "it runs once the plugin is enabled"]
pub struct Setup {
    program: OsString,
    source: PathBuf,
    enable: Value,
}

impl Setup {
    /// Grants these rights and no others.
    pub fn grants(mut self, grants: &[&str]) -> Self {
        self.enable["grants"] = json!(grants);
        self
    }

    /// Settings instead of the defaults.
    pub fn settings(mut self, settings: &Value) -> Self {
        self.enable["settings"] = settings.clone();
        self
    }

    /// The host's program, instead of the one that `HOSPES_BIN` names.
    pub fn program(mut self, program: impl Into<OsString>) -> Self {
        self.program = program.into();
        self
    }

    /// Starts the host and enables the plugin.
    ///
    /// # Panics
    /// If the plugin does not compile, or the host refuses it.
    #[track_caller]
    pub fn enable(self) -> Host {
        let enable = self.enable.clone();
        let host = self.start();
        if let Err(refused) = host.enable(&enable) {
            panic!("the plugin cannot be enabled: {:#}", refused.body);
        }
        host
    }

    /// Starts the host with the plugin installed, but not yet enabled: see [`Host::enable`].
    ///
    /// # Panics
    /// If the plugin does not compile, or the host refuses it.
    pub fn start(self) -> Host {
        let is_component = self.source.extension().is_some_and(|extension| extension == "wasm");
        let component = if is_component { self.source } else { compile(&self.program, &self.source) };
        let (process, ready) = Process::start(&self.program, &component);
        let plugin = ready["plugin"].as_str().unwrap_or_default().to_owned();
        Host { process: Mutex::new(process), plugin, is_scripted: AtomicBool::new(false) }
    }
}

/// A running host with one tenant, which keeps its books in US dollars and UTC. It begins at
/// 2026-03-01T08:00:00Z.
#[derive(Debug)]
pub struct Host {
    process: Mutex<Process>,
    plugin: String,
    /// Whether requests to others' servers are expected.
    is_scripted: AtomicBool,
}

/// Fails the test if expected requests have not come: see [`Host::assert_all_called`].
impl Drop for Host {
    fn drop(&mut self) {
        if self.is_scripted.load(Ordering::Relaxed) && !std::thread::panicking() {
            self.assert_all_called();
        }
    }
}

/// What background work has been done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Events that were handled.
    pub handled: u64,
    /// Deliveries that failed; they are tried again when the clock has moved on.
    pub failed: u64,
    /// Deliveries that were given up.
    pub dead: u64,
    /// Runs of schedules that have ended well.
    pub jobs: u64,
    /// Chunks of schedules that have failed.
    pub jobs_failed: u64,
}

/// What the plugin shows of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// The panel as the REST API shows it.
    pub body: Value,
}

impl Panel {
    /// Every text in it, one on a line.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        collect_texts(&self.body, &mut lines);
        lines.join("\n")
    }
}

fn collect_texts(value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::String(text) => lines.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| collect_texts(value, lines)),
        Value::Object(members) => members.values().for_each(|value| collect_texts(value, lines)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl Host {
    /// A host for the plugin whose crate is in `source`, or that is the component `source` (`….wasm`).
    pub fn of(source: impl AsRef<Path>) -> Setup {
        Setup { program: program(), source: source.as_ref().to_owned(), enable: json!({}) }
    }

    /// The plugin's name.
    #[must_use]
    pub fn plugin(&self) -> &str {
        &self.plugin
    }

    #[track_caller]
    fn obey(&self, order: &Value) -> Value {
        // A test that has panicked elsewhere may still look at the host.
        let said = self.process.lock().unwrap_or_else(PoisonError::into_inner).order(order);
        assert!(said.unscripted.is_empty(), "{}", said.unscripted.join("\n"));
        said.reply
    }

    /// Expects the plugin to send a request to somebody else's server, such as `"POST"`, `"api.example.com"`
    /// and `"/orders?dry=1"`; [`Script`] says more of it, and what it is answered.
    ///
    /// Nothing is ever sent. What the tenant has not granted is denied before it comes here, as in production.
    /// A request that no script expects fails the test, and so does an expected one that has not come when the
    /// host is dropped. Scripts are taken in the order in which they were made.
    pub fn expect(&self, method: &str, server: &str, path: &str) -> Script<'_> {
        Script::of(self, method, server, path)
    }

    #[track_caller]
    pub(crate) fn expect_request(&self, expectation: &Value) {
        self.obey(&json!({ "expect": expectation }));
        self.is_scripted.store(true, Ordering::Relaxed);
    }

    /// Fails the test unless every expected request has come, and as often as it is expected.
    ///
    /// # Panics
    /// If one has not, with all that have not.
    #[track_caller]
    pub fn assert_all_called(&self) {
        let left = self.obey(&json!("outstanding"));
        let left: Vec<&str> = left.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        self.is_scripted.store(false, Ordering::Relaxed);
        assert!(left.is_empty(), "expected requests have not come:\n  {}", left.join("\n  "));
    }

    /// Enables the plugin: `grants` (names), `settings` and `backfill` may be said.
    ///
    /// # Errors
    /// [`Rejection`], if the host or the plugin's `lifecycle` refuses.
    #[track_caller]
    pub fn enable(&self, options: &Value) -> Result<(), Box<Rejection>> {
        Answer::read(&self.obey(&json!({ "enable": options }))).good().map(drop)
    }

    /// Moves the clock to a time such as `2026-03-01T08:00:00Z`.
    ///
    /// # Panics
    /// If it is no time.
    #[track_caller]
    pub fn set_time(&self, time: &str) {
        self.obey(&json!({ "set_time": time }));
    }

    /// Moves the clock forward, in whole seconds.
    #[track_caller]
    pub fn advance(&self, by: Duration) {
        self.obey(&json!({ "advance": by.as_secs() }));
    }

    /// What the clock shows.
    #[must_use]
    #[track_caller]
    pub fn now(&self) -> String {
        self.obey(&json!({ "advance": 0 })).as_str().unwrap_or_default().to_owned()
    }

    /// Does all background work that is due now: delivers events, runs schedules, replays history.
    #[track_caller]
    pub fn work(&self) -> Work {
        let done = self.obey(&json!("work"));
        let count = |what: &str| done[what].as_u64().unwrap_or_default();
        Work {
            handled: count("handled"),
            failed: count("failed"),
            dead: count("dead"),
            jobs: count("jobs"),
            jobs_failed: count("jobs_failed"),
        }
    }

    /// Makes one of the plugin's jobs due now, whatever its schedule says; [`Host::work`] runs it.
    ///
    /// # Panics
    /// If the plugin has no such job.
    #[track_caller]
    pub fn hasten(&self, job: &str) {
        let path = format!("/api/v1/plugins/{}/jobs/{job}/run", self.plugin);
        if let Err(refused) = self.request("POST", &path, None).good() {
            panic!("`{job}` cannot be run: {:#}", refused.body);
        }
    }

    /// A new person among the tenant's customers.
    pub fn customer(&self, name: &str) -> NewRecord<'_> {
        NewRecord::customer(self, name)
    }

    /// A new completed order of a customer, placed now.
    pub fn order(&self, customer: &Record) -> NewOrder<'_> {
        NewOrder::of(self, customer, &self.now())
    }

    /// Any request of the REST API, as the tenant's owner.
    #[track_caller]
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.request_with(method, path, &[], body)
    }

    /// The same with headers, such as `Accept-Language`.
    #[track_caller]
    pub fn request_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let ask = json!({ "method": method, "path": path, "headers": headers, "body": body });
        Answer::read(&self.obey(&json!({ "ask": ask })))
    }

    /// A request to one of the plugin's own routes, such as `/cards/7`, as the tenant's owner.
    #[track_caller]
    pub fn route(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.request(method, &format!("/api/v1/plugins/{}/x{path}", self.plugin), body)
    }

    /// A record as it is now.
    ///
    /// # Panics
    /// If it is gone.
    #[track_caller]
    pub fn reload(&self, record: &Record) -> Record {
        let body = self.get(&format!("/api/v1/{}/{}", record.kind, record.id));
        Record { body, ..record.clone() }
    }

    /// Presses one of the plugin's buttons on a record.
    ///
    /// # Errors
    /// [`Rejection`], in the plugin's words or the host's.
    #[track_caller]
    pub fn press(&self, record: &Record, action: &str, input: &Value) -> Result<Outcome, Box<Rejection>> {
        let path = format!("/api/v1/{}/{}/actions/{}/{action}", record.kind, record.id, self.plugin);
        let body = self.request("POST", &path, Some(input)).good()?;
        let message = body["message"].as_str().unwrap_or_default().to_owned();
        Ok(Outcome { message, body: body["body"].clone() })
    }

    /// Runs one of the plugin's workflow steps for a record, as the step of a run that `key` names: `done`,
    /// `wait_until` or `failed`, and with what. Once it has ended, the same key answers the same.
    ///
    /// # Errors
    /// [`Rejection`], in the plugin's words or the host's: nothing was written, and it may be tried again.
    #[track_caller]
    pub fn step(
        &self,
        record: &Record,
        step: &str,
        (key, input): (&str, &Value),
    ) -> Result<Value, Box<Rejection>> {
        let order = json!({
            "step": step, "kind": record.kind, "id": record.id, "key": key, "input": input,
        });
        Answer::read(&self.obey(&json!({ "step": order }))).good()
    }

    /// Calls one of the plugin's functions, as another plugin that is called `test` would.
    ///
    /// # Errors
    /// [`Rejection`], in the plugin's words or the host's.
    #[track_caller]
    pub fn call(&self, function: &str, input: &Value) -> Result<Value, Box<Rejection>> {
        Answer::read(&self.obey(&json!({ "call": { "function": function, "input": input } }))).good()
    }

    /// What the plugin shows of a customer.
    ///
    /// # Panics
    /// If it shows nothing.
    #[track_caller]
    pub fn panel(&self, customer: &Record) -> Panel {
        let overview = self.get(&format!("/api/v1/customers/{}/overview", customer.id));
        let panels = overview["panels"].as_array().into_iter().flatten();
        let own = panels.into_iter().find(|panel| panel["plugin"] == self.plugin.as_str());
        let own = own.unwrap_or_else(|| panic!("`{}` shows no panel: {overview:#}", self.plugin));
        Panel { body: own.clone() }
    }

    /// The documents of one of the plugin's collections, by key.
    ///
    /// # Panics
    /// If there is no such collection.
    #[track_caller]
    pub fn documents(&self, collection: &str) -> BTreeMap<String, Value> {
        let path = format!("/api/v1/plugins/{}/collections/{collection}", self.plugin);
        let documents = self.list(&path).into_iter();
        documents
            .map(|one| (one["key"].as_str().unwrap_or_default().to_owned(), one["body"].clone()))
            .collect()
    }

    /// The value of one of the plugin's fields on a record.
    #[must_use]
    #[track_caller]
    pub fn field(&self, record: &Record, field: &str) -> Option<Value> {
        let name = format!("{}.{field}", self.plugin);
        self.reload(record).body["fields"].get(name).cloned()
    }

    /// A customer's timeline, the latest first.
    #[must_use]
    #[track_caller]
    pub fn timeline(&self, customer: &Record) -> Vec<Value> {
        self.list(&format!("/api/v1/customers/{}/timeline", customer.id))
    }

    /// The lines of the plugin's log, the oldest first; with the failures and denials that the host notes.
    #[must_use]
    #[track_caller]
    pub fn log(&self) -> Vec<String> {
        let lines = self.list(&format!("/api/v1/plugins/{}/log", self.plugin));
        lines.iter().rev().map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The fuel that the last successful call at an extension point burned, such as `events`.
    ///
    /// # Panics
    /// If there was none.
    #[must_use]
    #[track_caller]
    pub fn fuel(&self, point: &str) -> u64 {
        let plugin = self.get(&format!("/api/v1/plugins/{}", self.plugin));
        let health =
            plugin["health"].as_array().into_iter().flatten().find(|health| health["point"] == point);
        let burned = health.and_then(|health| health["last_fuel"].as_u64());
        burned.unwrap_or_else(|| panic!("`{point}` has not been called: {:#}", plugin["health"]))
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        match self.request("GET", path, None).good() {
            Ok(body) => body,
            Err(refused) => panic!("{path} is answered {}: {:#}", refused.status, refused.body),
        }
    }

    /// Every item of a list, page by page.
    #[track_caller]
    fn list(&self, path: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        for _ in 0..PAGES_MAX {
            let page = self.get(&format!("{path}?limit=200{cursor}"));
            items.extend(page["items"].as_array().into_iter().flatten().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
        panic!("{path} has more than {PAGES_MAX} pages");
    }
}
