//! Webhooks: told at least once, signed, and never held up by one another.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use futures::future::BoxFuture;
use hospes::clock::Timestamp;
use hospes::db::Sql;
use hospes::domain::ids::TenantId;
use hospes::domain::permission::{Permission, Role};
use hospes::domain::webhook::{ATTEMPTS_KEPT_MAX, WEBHOOKS_MAX, sign, signing_key};
use hospes::jobs::dispatch::{Consumer, Consumers, Dispatcher};
use hospes::jobs::retention::{Policy, Retention};
use hospes::jobs::webhooks::WebhookConsumer;
use hospes::outbound::{Options, Outbound, Resolver};
use hospes::vault::Vault;
use hospes_tests::{Received, Receiver, Reply, TestApp, TestDb, both_engines};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const DAY: i64 = 24 * 60 * 60;

/// Says that every name means this machine.
struct Inside;

impl Resolver for Inside {
    fn resolve<'a>(&'a self, _: &'a TenantId, _: &'a str) -> BoxFuture<'a, std::io::Result<Vec<IpAddr>>> {
        Box::pin(std::future::ready(Ok(vec![IpAddr::from([127, 0, 0, 1])])))
    }
}

fn well() -> impl Fn(&Received) -> Reply + Send + Sync + 'static {
    |_| Reply::Answer(200, "thanks")
}

/// A webhook that is told of customers, and its secret.
async fn webhook(app: &TestApp, receiver: &Receiver) -> (String, String) {
    let body = json!({"url": receiver.url("/in"), "events": ["customer.created", "customer.updated"]});
    let made = app.owner.post("/api/v1/webhooks", body).await.expect(201);
    (made.header("location").to_owned(), made.body["secret"].as_str().unwrap().to_owned())
}

async fn customer(app: &TestApp, name: &str) -> String {
    let made = app.owner.post("/api/v1/customers", json!({"kind": "person", "name": name})).await.expect(201);
    made.body["id"].as_str().unwrap().to_owned()
}

async fn show(app: &TestApp, path: &str) -> Value {
    app.owner.get(path).await.expect(200).body
}

async fn attempts(app: &TestApp, path: &str) -> Vec<Value> {
    app.owner.all(&format!("{path}/attempts")).await
}

/// Whether a request carries a signature that this secret makes.
fn is_signed(received: &Received, secret: &str) -> bool {
    let seconds: i64 = received.header("webhook-timestamp").parse().unwrap();
    let at = Timestamp::from_micros(seconds * 1_000_000);
    let id = received.header("webhook-id");
    let wanted = sign([&*signing_key(secret).unwrap()], (id, at), &received.body);
    received.header("webhook-signature").split(' ').any(|signature| signature == wanted)
}

fn ids(received: &[Received]) -> Vec<String> {
    received.iter().map(|one| one.header("webhook-id").to_owned()).collect()
}

fn dispatcher(app: &TestApp, shutdown: &CancellationToken) -> Arc<Dispatcher> {
    let consumer: Arc<dyn Consumer> = Arc::new(WebhookConsumer::new(Arc::clone(&app.core)));
    Dispatcher::new(Arc::clone(&app.core), Consumers::from([("webhook", consumer)]), shutdown.clone())
}

both_engines! {
    async fn a_webhook_is_told_what_it_asked_for_and_can_check_who_tells_it(app: TestApp) {
        let receiver = Receiver::start(well()).await;
        let (path, secret) = webhook(&app, &receiver).await;
        let id = customer(&app, "Lin").await;
        let product = json!({"customer_id": id, "status": "completed", "channel": "store", "ordered_at": "2026-02-01T00:00:00Z",
            "lines": [{"sku": "A", "name": "A", "quantity": 1, "amount": {"amount_minor": 1, "currency": "CNY"}}]});
        app.owner.post("/api/v1/orders", product).await.expect(201);
        app.run_jobs().await;

        let received = receiver.received();
        let [one] = received.as_slice() else { panic!("{received:?}") };
        assert_eq!((one.line.as_str(), one.header("content-type")), ("POST /in HTTP/1.1", "application/cloudevents+json"));
        assert!(secret.starts_with("whsec_") && is_signed(one, &secret));
        let event = one.json();
        assert_eq!((&event["specversion"], &event["type"], &event["data"]["id"]), (&json!("1.0"), &json!("customer.created"), &json!(id)));
        assert_eq!(event["id"], one.header("webhook-id"));
        assert_eq!(event["subject"], format!("customer/{id}"));
        assert_eq!(show(&app, &format!("/api/v1/events/{}", one.header("webhook-id"))).await, event);

        let view = show(&app, &path).await;
        let last = &view["health"]["last_attempt"];
        assert_eq!((&last["outcome"], &last["status"], &last["number"], &last["answer"]), (&json!("delivered"), &json!(200), &json!(1), &json!("thanks")));
        assert_eq!((&view["health"]["waiting"], &view["state"]), (&json!(0), &json!("enabled")));
        let audit = app.owner.get("/api/v1/audit?entity=webhook").await.body;
        assert!(![view.to_string(), audit.to_string()].iter().any(|text| text.contains("whsec_")), "{view} {audit}");
        assert_eq!(audit["items"][0]["action"], "webhook.create");
    }

    async fn an_event_that_fails_keeps_no_other_one_waiting_and_is_tried_for_a_day(app: TestApp) {
        let receiver = Receiver::start(|received| {
            let is_bad = received.json()["type"] == "customer.created";
            Reply::Answer(if is_bad { 500 } else { 204 }, "")
        })
        .await;
        let (path, _) = webhook(&app, &receiver).await;
        let id = customer(&app, "Lin").await;
        // The second event is about the same customer.
        app.owner.patch(&format!("/api/v1/customers/{id}"), json!({"name": "Lin Xiaoman"})).await.expect(200);
        let report = app.run_jobs().await.dispatch;
        assert_eq!((report.handled, report.failed, report.dead), (1, 1, 0));
        for (tried, wait) in (1..).zip([5, 300, 1_800, 7_200, 18_000, 36_000, 36_000]) {
            app.clock.advance_seconds(wait * 4 / 5 - 1);
            app.run_jobs().await;
            assert_eq!(receiver.received().len(), 1 + tried, "too soon");
            app.clock.advance_seconds(wait * 2 / 5 + 2);
            app.run_jobs().await;
            assert_eq!(receiver.received().len(), 2 + tried, "after {wait} s");
        }
        app.clock.advance_seconds(30 * 60 * 60);
        app.run_jobs().await;
        assert_eq!(receiver.received().len(), 9);
        let numbers: Vec<_> = attempts(&app, &path).await.iter().map(|one| one["number"].clone()).collect();
        assert_eq!(numbers, [8, 7, 6, 5, 4, 3, 2, 1, 1]);

        let consumer = path.replace("/api/v1/webhooks/", "webhook:");
        let letters = app.owner.all(&format!("/api/v1/events/lanes/{consumer}/dead-letters")).await;
        assert_eq!((letters.len(), &letters[0]["attempts"]), (1, &json!(8)));
        assert_eq!(show(&app, &path).await["health"]["dead"], 1);
        let replay = format!("/api/v1/events/lanes/{consumer}/dead-letters/{}/replay", letters[0]["event"].as_str().unwrap());
        app.owner.request(Method::POST, &replay).await.expect(200);
        app.run_jobs().await;
        let received = receiver.received();
        assert_eq!(received[9].header("webhook-id"), letters[0]["event"]);
        assert!(ids(&received).iter().filter(|one| **one == letters[0]["event"]).count() == 9);
    }

    async fn a_new_secret_signs_beside_the_old_one_until_the_overlap_is_over(app: TestApp) {
        let receiver = Receiver::start(well()).await;
        let (path, old) = webhook(&app, &receiver).await;
        let rotate = |hours: Value| app.owner.post(&format!("{path}/secrets"), json!({"overlap_hours": hours}));
        let made = rotate(json!(2)).await.expect(201).body;
        let new = made["secret"].as_str().unwrap().to_owned();
        assert_eq!(made["overlap_until"], "2026-03-01T10:00:00.000000Z");
        customer(&app, "A").await;
        app.run_jobs().await;
        app.clock.advance_seconds(2 * 60 * 60);
        customer(&app, "B").await;
        app.run_jobs().await;
        let received = receiver.received();
        assert_eq!(received[0].header("webhook-signature").split(' ').count(), 2);
        assert!(is_signed(&received[0], &old) && is_signed(&received[0], &new));
        assert!(!is_signed(&received[1], &old) && is_signed(&received[1], &new));
        assert_eq!(show(&app, &path).await["secrets"].as_array().unwrap().len(), 1);

        for _ in 0..3 {
            rotate(json!(168)).await.expect(201);
        }
        assert_eq!(rotate(json!(168)).await.code(), (422, "webhook_secrets"));
        // Without an overlap, all before it end at once.
        assert_eq!(rotate(json!(0)).await.status, StatusCode::CREATED);
        assert_eq!(show(&app, &path).await["secrets"].as_array().unwrap().len(), 1);
    }

    async fn a_receiver_that_is_gone_is_told_no_more_until_somebody_enables_it(app: TestApp) {
        let status = Arc::new(Mutex::new(410));
        let told = Arc::clone(&status);
        let receiver = Receiver::start(move |_| Reply::Answer(*told.lock().unwrap(), "")).await;
        let (path, _) = webhook(&app, &receiver).await;
        customer(&app, "A").await;
        app.run_jobs().await;
        let view = show(&app, &path).await;
        assert_eq!((&view["state"], &view["disabled_reason"], &view["version"]), (&json!("disabled"), &json!("gone"), &json!(2)));
        let audit = app.owner.get("/api/v1/audit?entity=webhook&limit=1").await.body;
        assert_eq!((&audit["items"][0]["action"], &audit["items"][0]["actor_kind"]), (&json!("webhook.disable"), &json!("server")));

        // What happens meanwhile is not kept for it; what was under way is.
        customer(&app, "B").await;
        app.clock.advance_seconds(DAY);
        app.run_jobs().await;
        assert_eq!(receiver.received().len(), 1);
        *status.lock().unwrap() = 200;
        let tested = app.owner.request(Method::POST, &format!("{path}/test")).await.expect(200).body;
        assert_eq!((&tested["name"], &tested["outcome"]), (&json!("webhook.test"), &json!("delivered")));
        app.owner.patch(&path, json!({"state": "enabled"})).await.expect(200);
        app.run_jobs().await;
        let names: Vec<_> = receiver.received().iter().map(|one| one.json()["data"]["name"].clone()).collect();
        assert_eq!(names, [json!("A"), Value::Null, json!("A")]);
    }

    async fn five_days_without_a_success_disable_a_webhook_and_tell_the_others(app: TestApp) {
        let (ill, other) = (Receiver::start(|_| Reply::Answer(503, "")).await, Receiver::start(well()).await);
        let (path, _) = webhook(&app, &ill).await;
        app.owner.post("/api/v1/webhooks", json!({"url": other.url("/"), "events": ["webhook.disabled"]})).await.expect(201);
        let mut days = 0;
        while show(&app, &path).await["state"] == "enabled" {
            customer(&app, "A").await;
            app.run_jobs().await;
            app.clock.advance_seconds(DAY);
            days += 1;
            assert!(days < 8, "it is still enabled");
        }
        assert_eq!(days, 6);
        let view = show(&app, &path).await;
        assert_eq!((&view["disabled_reason"], &view["failing_since"]), (&json!("failing"), &json!("2026-03-01T08:00:00.000000Z")));
        app.run_jobs().await;
        let event = other.received()[0].json();
        assert_eq!((&event["type"], &event["data"]["id"], &event["actorkind"]), (&json!("webhook.disabled"), &view["id"], &json!("server")));
    }

    async fn one_success_begins_the_five_days_anew(app: TestApp) {
        let status = Arc::new(Mutex::new(500));
        let told = Arc::clone(&status);
        let receiver = Receiver::start(move |_| Reply::Answer(*told.lock().unwrap(), "")).await;
        let (path, _) = webhook(&app, &receiver).await;
        for code in [500, 200, 500, 500] {
            *status.lock().unwrap() = code;
            customer(&app, "A").await;
            app.run_jobs().await;
            app.clock.advance_seconds(2 * DAY);
        }
        let view = show(&app, &path).await;
        assert_eq!((&view["state"], &view["failing_since"]), (&json!("enabled"), &json!("2026-03-05T08:00:00.000000Z")));
    }

    async fn a_server_that_dies_after_sending_tells_again_with_the_same_id(app: TestApp) {
        let receiver = Receiver::start(|_| Reply::Held(200)).await;
        webhook(&app, &receiver).await;
        customer(&app, "A").await;
        let shutdown = CancellationToken::new();
        let first = dispatcher(&app, &shutdown);
        let dying = tokio::spawn(async move { first.run_once().await.map(drop) });
        receiver.wait_for(1).await;
        dying.abort();
        assert!(dying.await.unwrap_err().is_cancelled());

        app.clock.advance_seconds(31);
        let second = dispatcher(&app, &shutdown);
        let again = tokio::spawn(async move { second.run_once().await });
        let received = receiver.wait_for(2).await;
        receiver.release();
        receiver.release();
        assert_eq!(again.await.unwrap().unwrap().handled, 1);
        assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"));
        assert_eq!(dispatcher(&app, &shutdown).run_once().await.unwrap().handled, 0);
    }

    async fn two_servers_at_once_tell_each_event_once(app: TestApp) {
        let receiver = Receiver::start(well()).await;
        let (path, secret) = webhook(&app, &receiver).await;
        for number in 0..40 {
            customer(&app, &number.to_string()).await;
        }
        let shutdown = CancellationToken::new();
        let (first, second) = (dispatcher(&app, &shutdown), dispatcher(&app, &shutdown));
        let (a, b) = tokio::join!(first.run_once(), second.run_once());
        assert_eq!(a.unwrap().handled + b.unwrap().handled, 40);
        let received = receiver.received();
        let mut told = ids(&received);
        told.sort();
        told.dedup();
        assert_eq!((received.len(), told.len(), attempts(&app, &path).await.len()), (40, 40, 40));
        assert!(received.iter().all(|one| is_signed(one, &secret)));
    }

    async fn ten_silent_receivers_do_not_keep_a_healthy_one_waiting(app: TestApp) {
        let mut silent = Vec::new();
        for _ in 0..10 {
            let receiver = Receiver::start(|_| Reply::Silence).await;
            webhook(&app, &receiver).await;
            silent.push(receiver);
        }
        let healthy = Receiver::start(well()).await;
        webhook(&app, &healthy).await;
        for number in 0..30 {
            customer(&app, &number.to_string()).await;
        }
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(dispatcher(&app, &shutdown).run());
        let told = tokio::time::timeout(Duration::from_secs(12), healthy.wait_for(30)).await;
        assert!(told.is_ok(), "the healthy receiver was told of {} in time", healthy.received().len());
        // Each of the silent ones has had one request, and keeps one place busy.
        for receiver in &silent {
            assert_eq!(receiver.wait_for(1).await.len(), 1);
        }
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
    }

    async fn an_answer_that_asks_to_wait_is_heeded_and_counts_against_no_event(app: TestApp) {
        let busy = Arc::new(Mutex::new(true));
        let still = Arc::clone(&busy);
        let receiver = Receiver::start(move |_| {
            let later = b"HTTP/1.1 429 Later\r\nretry-after: 600\r\ncontent-length: 0\r\n\r\n";
            if *still.lock().unwrap() { Reply::Raw(later.to_vec()) } else { Reply::Answer(200, "") }
        })
        .await;
        let (path, _) = webhook(&app, &receiver).await;
        customer(&app, "A").await;
        customer(&app, "B").await;
        app.run_jobs().await;
        app.clock.advance_seconds(590);
        app.run_jobs().await;
        assert_eq!(receiver.received().len(), 1);
        *busy.lock().unwrap() = false;
        app.clock.advance_seconds(11);
        app.run_jobs().await;
        assert_eq!(receiver.received().len(), 3);
        assert!(attempts(&app, &path).await.iter().all(|one| one["number"] == 1));
    }

    async fn of_a_large_event_only_the_address_is_sent(app: TestApp) {
        let receiver = Receiver::start(well()).await;
        let body = json!({"url": receiver.url("/"), "events": ["order.created"]});
        app.owner.post("/api/v1/webhooks", body).await.expect(201);
        let id = customer(&app, "A").await;
        let line = json!({"sku": "A", "name": "A".repeat(190), "quantity": 1, "amount": {"amount_minor": 1, "currency": "CNY"}});
        let order = |lines: usize| json!({"customer_id": id, "status": "completed", "channel": "store",
            "ordered_at": "2026-02-01T00:00:00Z", "lines": vec![line.clone(); lines]});
        app.owner.post("/api/v1/orders", order(1)).await.expect(201);
        let large = app.owner.post("/api/v1/orders", order(100)).await.expect(201);
        app.run_jobs().await;
        let mut received = receiver.received();
        assert!(received.iter().all(|one| one.body.len() < 20_000));
        received.sort_by_key(|one| one.header("webhook-id").to_owned());
        assert!(received[0].json()["data"].is_object() && received[0].json().get("dataref").is_none());
        let event = received[1].json();
        assert!(event.get("data").is_none());
        let whole = show(&app, event["dataref"].as_str().unwrap()).await;
        assert_eq!((&whole["id"], &whole["data"]["id"]), (&event["id"], &large.body["id"]));
    }

    async fn nobody_sends_elsewhere_what_they_may_not_read(app: TestApp) {
        let receiver = Receiver::start(well()).await;
        let narrow = app.acme.scoped_token(&[Permission::WebhookWrite, Permission::WebhookRead, Permission::OrderRead]).await;
        let body = |events: Value| json!({"url": receiver.url("/"), "events": events});
        assert_eq!(narrow.post("/api/v1/webhooks", body(json!(["customer.created"]))).await.code(), (403, "forbidden"));
        assert_eq!(narrow.post("/api/v1/webhooks", body(json!([]))).await.code(), (403, "forbidden"));
        let made = narrow.post("/api/v1/webhooks", body(json!(["order.created"]))).await.expect(201);
        let path = made.header("location").to_owned();
        assert_eq!(narrow.patch(&path, json!({"events": ["customer.created"]})).await.code(), (403, "forbidden"));
        let sales = app.acme.token(&[Role::Sales]).await;
        assert_eq!(sales.get("/api/v1/webhooks").await.code(), (403, "forbidden"));

        let other = app.tenant("other").await;
        for address in [path.clone(), format!("{path}/attempts")] {
            assert_eq!(other.owner.get(&address).await.code(), (404, "not_found"));
        }
        assert_eq!(other.owner.request(Method::POST, &format!("{path}/test")).await.code(), (404, "not_found"));
        assert_eq!(other.owner.delete(&path).await.code(), (404, "not_found"));
        other.owner.post("/api/v1/customers", json!({"kind": "person", "name": "B"})).await.expect(201);
        app.run_jobs().await;
        assert_eq!(receiver.received().len(), 0);
    }

    async fn a_repeated_request_makes_one_webhook_and_shows_its_secret_once(app: TestApp) {
        let body = json!({"url": "https://hooks.example.com/in", "description": "till"});
        let send = || app.owner.request(Method::POST, "/api/v1/webhooks").header("idempotency-key", "k").json(&body);
        let (first, again) = (send().await.expect(201), send().await.expect(201));
        assert_eq!(first.body["id"], again.body["id"]);
        assert!(first.body["secret"].is_string() && again.body.get("secret").is_none());
        let path = first.header("location");
        let rotate = || {
            let request = app.owner.request(Method::POST, &format!("{path}/secrets"));
            request.header("idempotency-key", "k2").json(json!({"overlap_hours": 0}))
        };
        let (made, repeated) = (rotate().await.expect(201).body, rotate().await.expect(201).body);
        assert_eq!(made["id"], repeated["id"]);
        assert!(made["secret"].is_string() && repeated.get("secret").is_none());
        let stale = app.owner.request(Method::PATCH, path).header("if-match", "\"7\"").json(json!({"description": null}));
        assert_eq!(stale.await.code(), (412, "version_mismatch"));
        let changed = app.owner.patch(path, json!({"description": null, "events": ["order.created", "order.created"]})).await;
        assert_eq!((changed.header("etag"), &changed.body["events"]), ("\"2\"", &json!(["order.created"])));
        assert_eq!(app.owner.delete(path).await.status, StatusCode::NO_CONTENT);
        assert_eq!(app.owner.get(path).await.code(), (404, "not_found"));
    }

    async fn a_tenant_has_only_so_many_and_each_has_an_address_and_known_events(app: TestApp) {
        for number in 0..WEBHOOKS_MAX {
            let body = json!({"url": format!("https://hooks.example.com/{number}")});
            app.owner.post("/api/v1/webhooks", body).await.expect(201);
        }
        let body = json!({"url": "https://hooks.example.com/"});
        assert_eq!(app.owner.post("/api/v1/webhooks", body).await.code(), (422, "webhooks"));
        assert_eq!(app.owner.all("/api/v1/webhooks").await.len(), usize::try_from(WEBHOOKS_MAX).unwrap());
        for (body, fault) in [
            (json!({"url": "https://user@hooks.example.com/"}), "/url url_user"),
            (json!({"url": "https://hooks.example.com/a/../b"}), "/url url_spelling"),
            (json!({"url": "https://hooks.example.com:25/"}), "/url url_port"),
            (json!({"url": "https://hooks.example.com/", "events": ["order.made"]}), "/events/0 not_allowed"),
        ] {
            assert_eq!(app.owner.post("/api/v1/webhooks", body).await.faults(), [fault]);
        }
    }

    async fn an_inner_address_is_neither_registered_nor_reached(database: TestDb) {
        let app = TestApp::reaching(database, Outbound::new(Options { resolver: Arc::new(Inside), ..Options::default() })).await;
        let inner = Receiver::start(well()).await;
        for url in [inner.url("/"), format!("https://{}/", inner.address), "https://localhost:8080/".to_owned()] {
            assert_eq!(app.owner.post("/api/v1/webhooks", json!({"url": url})).await.status, 422);
        }
        let url = format!("https://inside.example.com:{}/", inner.address.port());
        let made = app.owner.post("/api/v1/webhooks", json!({"url": url, "events": ["customer.created"]})).await.expect(201);
        customer(&app, "A").await;
        app.run_jobs().await;
        let attempts = attempts(&app, made.header("location")).await;
        assert_eq!((attempts.len(), &attempts[0]["outcome"]), (1, &json!("unreachable")));
        assert_eq!(inner.connections(), 0);
    }

    async fn without_the_key_no_webhook_is_made_and_none_is_told(app: TestApp) {
        let receiver = Receiver::start(well()).await;
        let (path, secret) = webhook(&app, &receiver).await;
        customer(&app, "A").await;
        let mut core = hospes::ops::Core::new(app.database.db.clone(), app.clock.clone(), Arc::new(hospes::ids::RandomIds::default()));
        core.outbound = app.core.outbound.clone();
        core.vault = Vault::new([8; 32], None);
        let core = Arc::new(core);
        let consumer: Arc<dyn Consumer> = Arc::new(WebhookConsumer::new(Arc::clone(&core)));
        let other = Dispatcher::new(core, Consumers::from([("webhook", consumer)]), CancellationToken::new());
        let report = other.run_once().await.unwrap();
        assert_eq!((report.handled, report.failed, receiver.received().len()), (0, 0, 0));
        assert_eq!(attempts(&app, &path).await.len(), 0);
        // The right key is there again.
        app.clock.advance_seconds(10);
        app.run_jobs().await;
        assert!(is_signed(&receiver.received()[0], &secret));

        #[derive(sqlx::FromRow)]
        struct Row {
            sealed: Vec<u8>,
        }
        const SEALED: Sql = Sql::new("SELECT sealed FROM webhook_secrets");
        let mut reader = app.core.db.read(&app.acme.tenant.id).await.unwrap();
        let rows: Vec<Row> = reader.fetch_all(SEALED, Vec::new()).await.unwrap();
        let key = signing_key(&secret).unwrap();
        assert!(rows.len() == 1 && !rows[0].sealed.windows(8).any(|part| part == &secret.as_bytes()[6..14] || part == &key[..8]));
    }

    async fn attempts_are_kept_for_a_while_and_only_so_many(app: TestApp) {
        let receiver = Receiver::start(well()).await;
        let (path, _) = webhook(&app, &receiver).await;
        const FILL: Sql = Sql::new("
            WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1100)
            INSERT INTO webhook_attempts (tenant, webhook, id, event, name, number, at, duration_ms, outcome)
            SELECT w.tenant, w.id, 'wha_0' || CAST(10000 + n AS TEXT), 'evt', 'x', n, w.created_at, 0, 'delivered'
            FROM webhooks w CROSS JOIN numbers");
        let tenant = &app.acme.tenant.id;
        app.core.db.write(tenant, (), |tx, ()| Box::pin(async move { tx.execute(FILL, Vec::new()).await })).await.unwrap();
        customer(&app, "A").await;
        app.run_jobs().await;
        let retention = Retention::new(Arc::clone(&app.core), Policy::default(), CancellationToken::new());
        assert_eq!(retention.run_once().await.unwrap().webhooks, 101);
        let kept = attempts(&app, &path).await;
        assert_eq!(kept.len(), usize::try_from(ATTEMPTS_KEPT_MAX).unwrap());
        assert_eq!((&kept[0]["name"], &kept[999]["number"]), (&json!("customer.created"), &json!(102)));
        app.clock.advance_seconds(31 * DAY);
        retention.run_once().await.unwrap();
        assert_eq!(attempts(&app, &path).await.len(), 0);
    }
}
