//! What a call of a plugin costs: the whole invocation as the host does it against bare
//! wasmtime, and a batch of events and slices of scores against the same logic native.

#![expect(clippy::unwrap_used, reason = "a benchmark may stop at the first error")]

mod bare;
#[path = "../support/choice.rs"]
mod choice;
#[path = "../support/host.rs"]
mod host;
mod recording;
mod scoring;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bare::Guest;
use choice::is_wanted;
use hospes::db::Config;
use hospes::domain::actor::Actor;
use hospes::domain::customer::{CustomerKind, NewCustomer};
use hospes::domain::event::Subject;
use hospes::domain::ids::{CustomerId, EventId, OrderId};
use hospes::ops::plugins::enablement::{self, NewEnablement};
use hospes::ops::plugins::{HookedEntity, JobAck, JobChunk, PluginEvent, Plugins, Save, packages};
use hospes::ops::{Core, customers};
use hospes::plugin::Sandbox;
use hospes_bindings::exports::hospes::plugin as exports;
use hospes_bindings::hospes::plugin::types;
use hospes_sdk::{Events as _, testing};
use hospes_tests::guests::PROBE;
use retail_membership::Membership;
use serde_json::{Value, json};
use support::{Contender, compare, rate};
use tokio::runtime::Runtime;

/// At most twice the floor's time.
const AIM: Option<f64> = Some(0.50);
const HOOKS: usize = 3_000;
const JOBS: usize = 200;
const BATCH: usize = 1_000;
/// Customers that a batch is about.
const CUSTOMERS: usize = 500;
const RETAIL: &str = "retail-membership";
const RETAIL_MANIFEST: &str = include_str!("../../../plugins/retail-membership/plugin.toml");

/// The product, and who acts in it.
struct Host {
    core: Arc<Core>,
    actor: Actor,
}

fn main() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let sandbox = Arc::new(Sandbox::new().unwrap());
    let config = Config::Sqlite { file: folder.path().join("host.db") };
    let (core, actor, _token) = runtime.block_on(host::open(&config, &sandbox, &[]));
    let host = Host { core, actor };
    let retail = hospes_bundle::PLUGINS.iter().find(|plugin| plugin.name == RETAIL).unwrap().component;
    let settings = runtime.block_on(enable(&host, RETAIL, retail));
    let plugins = host.core.plugins().unwrap();
    let guest = Guest::new(sandbox.engine(), retail, &settings, None);
    if is_wanted("hook") {
        compare_hooks(&runtime, &host, plugins, &guest);
    }
    if is_wanted("batch") {
        compare_batches(&runtime, &host, plugins, &guest);
    }
    let settings = runtime.block_on(enable(&host, "probe", PROBE));
    let db = Some((host.core.db.clone(), host.actor.tenant.clone()));
    let guest = Guest::new(sandbox.engine(), PROBE, &settings, db);
    if is_wanted("job") {
        compare_jobs(&runtime, &host, plugins, &guest);
    }
    if is_wanted("recording") {
        recording::compare_recordings(&runtime, &host, plugins);
    }
    if is_wanted("scores") {
        scoring::compare_scores(&runtime, &host, plugins, &guest);
    }
}

/// Installs and enables a plugin with all it asks for; answers its settings.
async fn enable(host: &Host, name: &str, component: &[u8]) -> String {
    packages::install(&host.core, component.to_vec()).await.unwrap();
    let new = NewEnablement { version: None, grants: None, settings: None, backfill: false };
    let enabled = enablement::enable(&host.core, &host.actor, name, new).await.unwrap();
    enabled.settings.0.to_string()
}

/// A hook, which asks the host for nothing here: no database on either side.
fn compare_hooks(runtime: &Runtime, host: &Host, plugins: &Arc<dyn Plugins>, guest: &Guest) {
    let (before, after) = (customer("Lin Xiaoman"), customer("Lin Xiaomei"));
    let save = exports::hooks::Save {
        entity: exports::hooks::EntityKind::Customer,
        before: Some(before.to_string()),
        after: after.to_string(),
    };
    let saves = || -> Vec<Save> {
        let save =
            || Save { entity: HookedEntity::Customer, before: Some(before.clone()), after: after.clone() };
        (0..HOOKS).map(|_| save()).collect()
    };
    let through_host = || {
        let saves = saves();
        rate(HOOKS, || {
            runtime.block_on(async {
                for save in saves {
                    plugins.before_save(&host.actor, save).await.unwrap();
                }
            });
        })
    };
    let bare = || {
        rate(HOOKS, || {
            runtime.block_on(async {
                for _ in 0..HOOKS {
                    guest.before_save(&save).await;
                }
            });
        })
    };
    compare(
        "a hook sees a customer's save, in a fresh instance",
        "calls",
        AIM,
        vec![Contender::new("the host", through_host), Contender::new("bare wasmtime", bare)],
    );
}

/// A job that reads and sets values, and the commit of what it has buffered.
fn compare_jobs(runtime: &Runtime, host: &Host, plugins: &Arc<dyn Plugins>, guest: &Guest) {
    let tenant = &host.actor.tenant;
    let chunk = || JobChunk { job: "tick".to_owned(), due_at: host.core.now(), cursor: None, attempt: 1 };
    let through_host = || {
        rate(JOBS, || {
            runtime.block_on(async {
                for _ in 0..JOBS {
                    let ack: JobAck = Arc::new(|_tx, _cursor| nothing());
                    plugins.run_job(tenant, "probe", chunk(), ack).await.unwrap();
                }
            });
        })
    };
    let bare = || {
        rate(JOBS, || {
            runtime.block_on(async {
                for _ in 0..JOBS {
                    guest.run_job("tick", host.core.now().as_micros()).await;
                }
            });
        })
    };
    compare(
        "a job reads a value and writes two, durably, one job at a time",
        "jobs",
        AIM,
        vec![
            Contender::new("the host", through_host),
            Contender::new("bare wasmtime, unproven writes", bare),
        ],
    );
}

/// Orders become points, a batch at a time. The host's side ends with its commit; the
/// others keep what is written in memory, or nowhere.
fn compare_batches(runtime: &Runtime, host: &Host, plugins: &Arc<dyn Plugins>, guest: &Guest) {
    let customers = runtime.block_on(make_customers(host));
    testing::start(RETAIL_MANIFEST);
    testing::set_currency("CNY");
    for id in &customers {
        let mut record = customer("Lin Xiaoman");
        record["id"] = json!(id);
        testing::put_customer(record);
    }
    let tenant = &host.actor.tenant;
    let through_host = || {
        let events = batch(host, &customers);
        rate(BATCH, || {
            let delivered = plugins.deliver(tenant, RETAIL, &events, Arc::new(|_tx| nothing()));
            runtime.block_on(delivered).unwrap();
        })
    };
    let bare = || {
        let events = batch(host, &customers);
        rate(BATCH, || {
            let events: Vec<_> = events.iter().map(contract).collect();
            runtime.block_on(guest.handle(&events));
        })
    };
    let native = || {
        let events = batch(host, &customers);
        rate(BATCH, || {
            testing::set_now(hospes_sdk::Timestamp::from_micros(host.core.now().as_micros()));
            let decoded = events
                .iter()
                .map(|event| testing::event(event.id.as_str(), &event.name, &event.body).unwrap());
            Membership::handle(decoded.collect()).unwrap();
        })
    };
    compare(
        "a batch of 1,000 orders becomes points",
        "events",
        None,
        vec![
            Contender::new("the host, with reads and commit", through_host),
            Contender::new("native, in memory", native),
            Contender::new("bare wasmtime, writes dropped", bare),
        ],
    );
}

fn nothing<'a>() -> futures::future::BoxFuture<'a, hospes::error::Result<()>> {
    Box::pin(async { Ok(()) })
}

fn customer(name: &str) -> Value {
    json!({
        "id": "cus_0000000000000000000000bare", "version": 3, "kind": "person", "name": name,
        "lifecycle_stage": "growth", "tags": ["vip"],
        "contact_points": [{"kind": "email", "value": "xiaoman@example.com", "primary": true}],
        "identities": [{"source": "shop", "external_id": "C1"}], "preferences": {"language": "zh-CN"},
        "custom_fields": {}, "fields": {"retail-membership.points": 120, "retail-membership.tier": "silver"},
        "created_at": "2026-01-01T00:00:00.000000Z", "updated_at": "2026-02-01T00:00:00.000000Z",
    })
}

async fn make_customers(host: &Host) -> Vec<CustomerId> {
    let mut made = Vec::with_capacity(CUSTOMERS);
    for number in 0..CUSTOMERS {
        let new = NewCustomer::named(CustomerKind::Person, format!("Customer {number}"));
        made.push(customers::create(&host.core, &host.actor, new).await.unwrap().id);
    }
    made
}

/// New orders, two for each customer, at times that go on from batch to batch.
fn batch(host: &Host, customers: &[CustomerId]) -> Vec<PluginEvent> {
    static MINUTES: AtomicI64 = AtomicI64::new(0);
    let now = host.core.now();
    let event = |customer: &CustomerId| {
        let at = now.plus_seconds(60 * MINUTES.fetch_add(1, Ordering::Relaxed) - 30_000_000);
        let amount = json!({"amount_minor": 2_450, "currency": "CNY"});
        let order = OrderId::new(&*host.core.ids, now);
        let body = json!({
            "id": order, "version": 1, "customer_id": customer, "status": "completed", "channel": "store",
            "ordered_at": at, "total": amount, "refunded": {"amount_minor": 0, "currency": "CNY"},
            "lines": [{"sku": "COF-LAT", "name": "Latte", "class": "coffee", "quantity": 1, "amount": amount}],
            "refunds": [], "created_at": now, "updated_at": now,
        });
        PluginEvent {
            id: EventId::new(&*host.core.ids, now),
            name: "order.created".to_owned(),
            subject: Subject::Customer(customer.clone()),
            occurred_at: now,
            depth: 0,
            backfill: false,
            body,
        }
    };
    customers.iter().cycle().take(BATCH).map(event).collect()
}

fn contract(event: &PluginEvent) -> exports::events::Event {
    exports::events::Event {
        id: event.id.to_string(),
        name: event.name.clone(),
        subject: types::Subject::Customer(event.subject.id().to_owned()),
        occurred_at: event.occurred_at.as_micros(),
        backfill: event.backfill,
        body: event.body.to_string(),
    }
}
