//! History and late transactions: a plugin that comes later knows what one that was there knows, and nobody misses
//! what a slow transaction commits behind them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hospes::domain::event::{Event, Subject};
use hospes::jobs::backfill;
use hospes::ops::plugins::packages;
use hospes::ops::{Core, events};
use hospes_tests::{Engine, Harness as _, TestApp, TestTenant, both_engines, guests};
use serde_json::{Value, json};
use sqlx::{Executor as _, PgConnection};
use tokio::sync::Notify;

/// How often a test asks whether something has come to pass, and how long it waits in between.
const LOOKS_MAX: u32 = 500;
const LOOK: Duration = Duration::from_millis(20);

/// The membership plugin three times: its name and two that are as long.
const LIVE: &str = "retail-membership";
const MIDWAY: &str = "membership-midway";
const AT_END: &str = "membership-at-end";

async fn install_memberships(app: &TestApp) {
    let bundled = hospes_bundle::PLUGINS.iter().find(|plugin| plugin.name == LIVE).unwrap();
    packages::install(&app.core, bundled.component.to_vec()).await.unwrap();
    for name in [MIDWAY, AT_END] {
        let (from, to) = (format!("name = \"{LIVE}\""), format!("name = \"{name}\""));
        packages::install(&app.core, guests::edited(bundled.component, &from, &to)).await.unwrap();
    }
}

async fn enable(app: &TestApp, plugin: &str, backfill: bool) {
    let body = json!({"backfill": backfill});
    app.owner.post(&format!("/api/v1/plugins/{plugin}/enablement"), body).await.expect(201);
}

/// A purchase as its source tells of it, and the address to tell it to.
fn purchase(month: u32, customer: u32, cents: u32) -> (String, Value) {
    let order = json!({
        "customer": {"source": "shop", "external_id": customer.to_string(), "create": {"kind": "person"}},
        "channel": "web", "ordered_at": format!("2025-{:02}-{:02}T10:00:00Z", month + 1, customer * 4 + 1),
        "total": {"amount_minor": cents, "currency": "CNY"},
    });
    (format!("/api/v1/sources/shop/orders/{month}-{customer}"), order)
}

/// Purchases of six customers in some months of a year; of three, one is refunded in part and one changed.
async fn trade(app: &TestApp, months: std::ops::Range<u32>) {
    for (month, customer) in months.flat_map(|month| (0..6).map(move |customer| (month, customer))) {
        let cents = 1_000 + (month * 7_919 + customer * 1_009) % 40_000;
        let (path, order) = purchase(month, customer, cents);
        let made = app.owner.put(&path, order).await.expect(201).body;
        let own = format!("/api/v1/orders/{}", made["id"].as_str().unwrap());
        match (month + customer) % 3 {
            0 => {
                let refund = json!({"amount": {"amount_minor": cents / 2, "currency": "CNY"}});
                app.owner.post(&format!("{own}/refunds"), refund).await.expect(201);
            }
            1 => {
                let total = json!({"total": {"amount_minor": 12_345, "currency": "CNY"}});
                app.owner.patch(&own, total).await.expect(200);
            }
            _ => {}
        }
    }
}

/// The source tells other totals for some of the orders that have no refund.
async fn correct(app: &TestApp, months: std::ops::Range<u32>) {
    for month in months {
        let (path, order) = purchase(month, 4 - month, 22_222);
        app.owner.put(&path, order).await.expect(200);
    }
}

/// What a membership knows: its members, how many points each order has moved, and the customers' fields.
async fn knowledge(app: &TestApp, plugin: &str) -> [BTreeMap<String, Value>; 3] {
    let mut members = BTreeMap::new();
    for mut member in app.owner.all(&format!("/api/v1/plugins/{plugin}/collections/members")).await {
        // How the ledger is cut into entries is how the news came.
        member["body"].as_object_mut().unwrap().remove("entries");
        members.insert(member["key"].as_str().unwrap().to_owned(), member["body"].take());
    }
    let mut moved: BTreeMap<String, i64> = BTreeMap::new();
    for entry in app.owner.all(&format!("/api/v1/plugins/{plugin}/collections/ledger")).await {
        let order = entry["body"]["of"].as_str().unwrap_or_default().to_owned();
        *moved.entry(order).or_default() += entry["body"]["amount"].as_i64().unwrap();
    }
    moved.retain(|_, points| *points != 0);
    let mut fields = BTreeMap::new();
    for customer in app.owner.all("/api/v1/customers").await {
        let own = ["tier", "points"].map(|field| customer["fields"][format!("{plugin}.{field}")].clone());
        fields.insert(customer["id"].as_str().unwrap().to_owned(), json!(own));
    }
    [members, moved.into_iter().map(|(order, points)| (order, json!(points))).collect(), fields]
}

both_engines! {
    async fn a_plugin_knows_the_same_whether_it_came_first_midway_or_at_the_end(app: TestApp) {
        install_memberships(&app).await;
        enable(&app, LIVE, false).await;
        trade(&app, 0..5).await;
        app.run_jobs().await;
        enable(&app, MIDWAY, true).await;
        // Live events come while the history is on its way, of old orders and new ones.
        correct(&app, 0..3).await;
        trade(&app, 5..7).await;
        app.run_jobs().await;
        trade(&app, 7..9).await;
        enable(&app, AT_END, true).await;
        let report = app.run_jobs().await;
        assert_eq!((report.backfill.finished, report.dispatch.failed, report.dispatch.dead), (1, 0, 0));

        let live = knowledge(&app, LIVE).await;
        assert_eq!((live[0].len(), live[2].len()), (6, 6));
        assert!(live[1].len() > 30 && live[2].values().all(|fields| fields[0].is_string()), "{live:#?}");
        for plugin in [MIDWAY, AT_END] {
            let later = knowledge(&app, plugin).await;
            assert_eq!(later, live, "{plugin} knows something else than {LIVE}");
        }
    }

    async fn a_backfill_that_is_over_leaves_nothing_of_itself(app: TestApp) {
        for name in 0..30 {
            app.acme.customer(&format!("Customer {name}")).await;
        }
        packages::install(&app.core, guests::PROBE.to_vec()).await.unwrap();
        enable(&app, "probe", true).await;
        let report = app.run_jobs().await;
        assert_eq!(report.backfill, backfill::Report { records: 30, finished: 1 });
        let lanes = app.owner.all("/api/v1/events/lanes").await;
        assert_eq!((&lanes[0]["waiting"], &lanes[0]["backfill"]["state"]), (&json!(0), &json!("done")));
        let seen = app.owner.all("/api/v1/plugins/probe/collections/seen").await;
        assert_eq!(seen.len(), 30);
        assert!(seen.iter().all(|one| one["body"]["count"] == 1 && one["body"]["backfill"] == true));
        assert_eq!(app.run_jobs().await, Default::default());
    }
}

/// Waits until a transaction of the test's database waits for a lock.
async fn until_blocked(admin: &mut PgConnection) {
    const WAITING: &str = "SELECT COUNT(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    for _ in 0..LOOKS_MAX {
        let (waiting,): (i64,) = sqlx::query_as(WAITING).fetch_one(&mut *admin).await.unwrap();
        if waiting > 0 {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
    panic!("nobody waits for the lock");
}

/// A request that began before the plugin was enabled, has seen no subscription, and commits after the history was
/// asked for: the history waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backfill_has_what_a_transaction_commits_that_began_before_it() {
    let Some(app) = TestApp::start(Engine::Postgres).await else { return };
    app.acme.customer("Early").await;
    packages::install(&app.core, guests::PROBE.to_vec()).await.unwrap();
    let (mut lock, mut admin) = (app.database.superuser().await, app.database.superuser().await);
    lock.execute("BEGIN; LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE").await.unwrap();
    let request = app.owner.post("/api/v1/customers", json!({"kind": "person", "name": "Late"}));
    let late = tokio::spawn(request.into_future());
    until_blocked(&mut admin).await;
    enable(&app, "probe", true).await;

    // The first look notes where history ends, and the second has to wait.
    for _ in 0..3 {
        assert_eq!(app.backfiller.run_once().await.unwrap(), backfill::Report::default());
    }
    assert!(!late.is_finished());
    lock.execute("COMMIT").await.unwrap();
    late.await.unwrap().expect(201);
    let report = app.run_jobs().await;
    assert_eq!(report.backfill, backfill::Report { records: 2, finished: 1 });
    let seen = app.owner.all("/api/v1/plugins/probe/collections/seen").await;
    assert_eq!(seen.len(), 2, "{seen:#?}");
    let customers = app.owner.all("/api/v1/customers").await;
    assert!(customers.iter().all(|customer| customer["fields"]["probe.events"] == 1), "{customers:#?}");
}

/// Appends an event in a transaction that stays open until it is told to end.
async fn append_slowly(
    core: Arc<Core>,
    tenant: &TestTenant,
    event: Event,
    (open, end): (Arc<Notify>, Arc<Notify>),
) {
    let state = (tenant.operator(), core.now(), event, open, end);
    core.db
        .write(tenant.id(), state, |tx, (actor, at, event, open, end)| {
            Box::pin(async move {
                events::append_many(tx, actor, *at, &[event]).await?;
                open.notify_one();
                end.notified().await;
                Ok(())
            })
        })
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feed_holds_back_what_a_slow_transaction_may_still_precede() {
    let Some(app) = TestApp::start(Engine::Postgres).await else { return };
    let ada = app.acme.customer("Ada").await.id;
    let slow = {
        let subject = Subject::Customer(ada.clone());
        Event::new(&*app.core.ids, app.now(), "customer.updated", subject, json!({"who": "slow"}))
    };
    let slow_id = slow.id.to_string();
    let (open, end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut slow = Box::pin(append_slowly(
        Arc::clone(&app.core),
        &app.acme,
        slow,
        (Arc::clone(&open), Arc::clone(&end)),
    ));
    tokio::select! {
        () = &mut slow => panic!("it ends when it is told to"),
        () = open.notified() => {}
    }
    // Committed later than the slow one began, and earlier than it ends.
    let quick: Vec<String> = {
        let mut made = Vec::new();
        for name in 0..3 {
            made.push(app.acme.customer(&format!("Quick {name}")).await.id.to_string());
        }
        made
    };
    let mut seen = Vec::new();
    let mut after = String::new();
    let mut look = async || {
        let page = app.owner.get(&format!("/api/v1/events?limit=200{after}")).await.expect(200).body;
        after = format!("&after={}", page["next_cursor"].as_str().unwrap());
        page["items"].as_array().unwrap().clone()
    };
    for _ in 0..5 {
        seen.extend(look().await);
    }
    assert!(seen.iter().all(|event| event["subject"] == format!("customer/{ada}")), "too early: {seen:#?}");

    end.notify_one();
    slow.await;
    for _ in 0..LOOKS_MAX {
        seen.extend(look().await);
        if seen.len() >= 5 {
            break;
        }
        // Other databases of the same cluster may hold the horizon back for a moment.
        tokio::time::sleep(LOOK).await;
    }
    let mut ids: Vec<&str> = seen.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&slow_id.as_str()), "the slow one was skipped: {seen:#?}");
    let mut wanted: Vec<String> = quick.iter().map(|id| format!("customer/{id}")).collect();
    wanted.retain(|subject| !seen.iter().any(|event| event["subject"] == subject.as_str()));
    assert!(wanted.is_empty(), "skipped: {wanted:?}");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((seen.len(), ids.len()), (5, 5), "an event came twice: {seen:#?}");
}
