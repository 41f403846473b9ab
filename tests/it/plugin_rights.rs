//! What a plugin is shown: never more than its grants open, and never more than the acting person sees.

use std::sync::Arc;

use axum::http::StatusCode;
use futures::future::join_all;
use hospes::domain::actor::Actor;
use hospes::domain::field_class::FieldClass;
use hospes::domain::grant::Grant;
use hospes::domain::ids::EventId;
use hospes::domain::page::PageRequest;
use hospes::domain::parameters::GrantRequest;
use hospes::ops::plugins::enablement::{self, EnablementPatch, NewEnablement};
use hospes::ops::plugins::{Ack, PluginEvent, data, packages};
use hospes_tests::{Client, TestApp, TestResponse, both_engines, guests};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

/// Rounds of the property test on each engine.
const ROUNDS: usize = 40;

/// A tenant with records of three people, each value of which tells its class and its owner.
struct World {
    customers: Vec<String>,
    orders: Vec<String>,
    /// Clients by how far they see: everything, a team's records, their own.
    people: Vec<Client>,
}

fn made(answer: &TestResponse) -> String {
    assert!(answer.status.is_success(), "{}", answer.body);
    answer.body["id"].as_str().unwrap().to_owned()
}

async fn world(app: &TestApp) -> World {
    let owner = &app.owner;
    for (name, class) in [("hobby", Some("basic")), ("birthday", None), ("debt", Some("financial"))] {
        let mut field = json!({ "entity": "customer", "name": name, "type": "text",
            "label": { "en": name, "zh-CN": name } });
        if let Some(class) = class {
            field["class"] = json!(class);
        }
        assert_eq!(owner.post("/api/v1/fields", field).await.status, StatusCode::CREATED);
    }
    let north = made(&owner.post("/api/v1/org-units", json!({ "kind": "region", "name": "North" })).await);
    let mut people = vec![owner.clone()];
    let mut ids = vec![None];
    for (login, role) in [("manager", "manager"), ("agent", "agent"), ("seller", "sales"), ("other", "sales")]
    {
        let new = json!({ "login": login, "name": login, "password": hospes_tests::PASSWORD,
            "roles": [role], "org_unit_id": north });
        ids.push(Some(made(&owner.post("/api/v1/users", new).await)));
        people.push(app.acme.sign_in(login).await);
    }
    let mut world = World { customers: Vec::new(), orders: Vec::new(), people };
    // One of nobody's, one of the unit's, one of each seller's.
    for (number, (owner_id, unit)) in
        [(None, None), (None, Some(&north)), (ids[3].clone(), None), (ids[4].clone(), Some(&north))]
            .into_iter()
            .enumerate()
    {
        world.add(owner, number, json!({ "owner_id": owner_id, "org_unit_id": unit })).await;
    }
    world
}

impl World {
    async fn add(&mut self, owner: &Client, number: usize, place: Value) {
        let mut new = json!({
            "kind": "person", "name": format!("personal name {number}"), "tags": ["vip"],
            "contact_points": [{ "kind": "other", "value": format!("contact point {number}") }],
            "identities": [{ "source": "till", "external_id": format!("personal till {number}") }],
            "preferences": { "drink": format!("personal drink {number}") },
            "custom_fields": {
                "hobby": "chess", "birthday": format!("personal birthday {number}"),
                "debt": format!("financial debt {number}"),
            },
        });
        for (name, value) in place.as_object().unwrap() {
            if !value.is_null() {
                new[name] = value.clone();
            }
        }
        let customer = made(&owner.post("/api/v1/customers", new).await);
        let minor = 700_000 + i64::try_from(number).unwrap();
        let order = json!({
            "customer_id": customer, "channel": "web", "ordered_at": "2026-01-01T00:00:00Z", "status": "completed",
            "lines": [{ "sku": "A", "quantity": 1, "amount": { "amount_minor": minor, "currency": "CNY" } }],
        });
        let order = made(&owner.post("/api/v1/orders", order).await);
        let refund =
            json!({ "amount": { "amount_minor": 7_777, "currency": "CNY" }, "reason": "personal reason" });
        let refund = owner.post(&format!("/api/v1/orders/{order}/refunds"), refund).await;
        assert!(refund.status.is_success(), "{}", refund.body);
        let said = json!({ "channel": "phone", "direction": "inbound", "summary": "personal summary",
            "content": "personal content", "details": { "mood": "personal mood" } });
        made(&owner.post(&format!("/api/v1/customers/{customer}/interactions"), said).await);
        let did = json!({ "type": "search", "object": "personal search", "summary": "personal page" });
        made(&owner.post(&format!("/api/v1/customers/{customer}/behaviours"), did).await);
        self.customers.push(customer);
        self.orders.push(order);
    }
}

async fn install(app: &TestApp) -> Actor {
    packages::install(&app.core, guests::SPY.to_vec()).await.unwrap();
    let actor = app.acme.operator();
    let new = NewEnablement { version: None, grants: None, settings: None, backfill: false };
    enablement::enable(&app.core, &actor, "spy", new).await.unwrap();
    actor
}

async fn grant(app: &TestApp, actor: &Actor, grants: &[&str]) {
    let grants = grants.iter().map(|text| text.parse::<GrantRequest>().unwrap()).collect();
    let patch = EnablementPatch { grants: Some(grants), ..EnablementPatch::default() };
    enablement::change(&app.core, actor, "spy", patch, None).await.unwrap();
}

async fn act(client: &Client, customer: &str, action: &str, input: Value) -> TestResponse {
    client.post(&format!("/api/v1/customers/{customer}/actions/spy/{action}"), input).await
}

/// Everything that the plugin can read when this person presses its button.
async fn look(world: &World, client: &Client, customer: &str) -> Value {
    let input = json!({ "customers": world.customers, "orders": world.orders });
    let seen = act(client, customer, "look", input).await;
    assert_eq!(seen.status, StatusCode::OK, "{}", seen.body);
    seen.body["body"].clone()
}

/// Whether every value of `seen` stands in `whole` at the same place, or is what stands for a hidden one.
fn is_part(seen: &Value, whole: &Value) -> bool {
    let is_mask = *seen == json!("***")
        || *seen == json!([])
        || *seen == json!({})
        || *seen == json!({ "amount_minor": 0, "currency": "XXX" });
    if is_mask || seen == whole {
        return true;
    }
    match (seen, whole) {
        (Value::Object(seen), Value::Object(whole)) => seen.iter().all(|(name, value)| {
            name == "masked" || whole.get(name).is_some_and(|other| is_part(value, other))
        }),
        (Value::Array(seen), Value::Array(whole)) => {
            seen.len() == whole.len() && seen.iter().zip(whole).all(|(one, other)| is_part(one, other))
        }
        _ => false,
    }
}

/// Records of a part of what the plugin has seen; none for a refusal.
fn records(seen: &Value) -> impl Iterator<Item = &Value> {
    seen.as_array().into_iter().flatten().filter(|record| !record.is_null())
}

/// The grants of one round: any of them, on any parameters.
fn any_grants() -> impl Strategy<Value = Vec<String>> {
    let classes = || proptest::sample::subsequence(FieldClass::ALL.to_vec(), 0..=4);
    let field =
        |names: &'static [&'static str]| proptest::sample::subsequence(names.to_vec(), 0..=names.len());
    let over = |grant: Grant, names: &'static [&'static str]| {
        let parameters = (any::<bool>(), classes(), field(names));
        parameters.prop_map(move |(is_given, classes, fields)| {
            let classes: Vec<_> = classes.iter().map(|class| class.as_str()).collect();
            is_given.then(|| format!("{grant} classes={} fields={}", classes.join(","), fields.join(",")))
        })
    };
    (
        over(Grant::CustomersRead, &["name", "custom_fields.birthday", "contact_points"]),
        over(Grant::OrdersRead, &["total", "refunds.reason"]),
        over(Grant::TimelineRead, &["summary"]),
    )
        .prop_map(|(one, two, three)| [one, two, three].into_iter().flatten().collect())
}

/// The classes of which a value may be seen, by the grants of a round, and the fields beside them.
fn opened<'g>(grants: &'g [String], grant: &str) -> Option<(Vec<&'g str>, Vec<&'g str>)> {
    let words = grants.iter().find(|text| text.starts_with(grant))?;
    let list = |key: &str| {
        let word = words.split(' ').find_map(|word| word.strip_prefix(key)).unwrap_or_default();
        word.split(',').filter(|name| !name.is_empty()).collect()
    };
    Some((list("classes="), list("fields=")))
}

/// Every text of `seen` that begins with the name of a class belongs to one that is opened.
fn assert_classes(seen: &Value, grants: &[String], grant: &str) {
    let text = seen.to_string();
    let Some((classes, fields)) = opened(grants, grant) else {
        assert!(seen.is_string(), "{grant} is not given, and this was seen: {seen}");
        return;
    };
    let is_open = |class: &str, fields_of: &[&str]| {
        classes.contains(&class) || fields_of.iter().any(|field| fields.contains(field))
    };
    for (canary, class, fields_of) in [
        ("personal name", "personal", &["name"][..]),
        ("personal till", "personal", &[]),
        ("personal drink", "personal", &[]),
        ("personal birthday", "personal", &["custom_fields.birthday"]),
        ("contact point", "contact", &["contact_points"]),
        ("financial debt", "financial", &[]),
        ("\"amount_minor\":77", "financial", &[]),
        ("\"amount_minor\":70", "financial", &["total"]),
        ("personal reason", "personal", &["refunds.reason"]),
        ("personal summary", "personal", &["summary"]),
        ("personal content", "personal", &[]),
        ("personal mood", "personal", &[]),
        ("personal search", "personal", &[]),
    ] {
        assert!(
            !text.contains(canary) || is_open(class, fields_of),
            "{canary} was seen with {grants:?}: {seen}"
        );
    }
}

both_engines! {
    async fn a_plugin_reads_no_more_than_the_person_sees_by_rest(app: TestApp) {
        let world = world(&app).await;
        let actor = install(&app).await;
        let mut runner = TestRunner::deterministic();
        let mut opened_something = 0;
        for round in 0..ROUNDS {
            let grants = any_grants().new_tree(&mut runner).unwrap().current();
            grant(&app, &actor, &grants.iter().map(String::as_str).collect::<Vec<_>>()).await;
            let client = &world.people[round % world.people.len()];
            for customer in &world.customers {
                let rest = client.get(&format!("/api/v1/customers/{customer}")).await;
                if rest.status != StatusCode::OK {
                    let hidden = act(client, customer, "look", json!({})).await;
                    assert_eq!(hidden.status, rest.status, "{}", hidden.body);
                    continue;
                }
                let seen = look(&world, client, customer).await;
                for record in records(&seen["customers"]).chain(records(&seen["customers_page"])) {
                    let id = record["id"].as_str().unwrap();
                    let rest = client.get(&format!("/api/v1/customers/{id}")).await;
                    assert_eq!(rest.status, StatusCode::OK, "{id} was seen with {grants:?}");
                    assert!(is_part(record, &rest.body), "{record} is not of {}", rest.body);
                    opened_something += 1;
                }
                for record in records(&seen["orders"]).chain(records(&seen["orders_page"])) {
                    let id = record["id"].as_str().unwrap();
                    let rest = client.get(&format!("/api/v1/orders/{id}")).await;
                    assert_eq!(rest.status, StatusCode::OK, "{id} was seen with {grants:?}");
                    assert!(is_part(record, &rest.body), "{record} is not of {}", rest.body);
                }
                let rest = client.get(&format!("/api/v1/customers/{customer}/timeline?limit=200")).await;
                for record in records(&seen["timeline"]) {
                    let entries = rest.body["items"].as_array().unwrap();
                    let same = entries.iter().find(|entry| entry["id"] == record["id"]).unwrap();
                    assert!(is_part(record, same), "{record} is not of {same}");
                }
                for (part, grant) in [
                    ("customers", "customers:read"), ("customers_page", "customers:read"),
                    ("orders", "orders:read"), ("orders_page", "orders:read"), ("timeline", "timeline:read"),
                ] {
                    assert_classes(&seen[part], &grants, grant);
                }
            }
        }
        assert!(opened_something > ROUNDS, "the rounds have seen next to nothing");
    }

    async fn personal_data_is_masked_unless_it_is_granted(app: TestApp) {
        let world = world(&app).await;
        let actor = install(&app).await;
        grant(&app, &actor, &["customers:read classes=", "orders:read classes=", "timeline:read classes="]).await;
        let customer = &world.customers[0];
        let seen = look(&world, &app.owner, customer).await;
        let first = &seen["customers"][0];
        assert_eq!(first["name"], "***");
        assert_eq!((&first["contact_points"], &first["identities"]), (&json!([]), &json!([])));
        assert_eq!(first["custom_fields"], json!({ "hobby": "chess" }));
        assert_eq!(
            first["masked"],
            json!(["contact_points", "custom_fields", "identities", "name", "preferences"])
        );
        let nothing = json!({ "amount_minor": 0, "currency": "XXX" });
        assert_eq!((&seen["orders"][0]["total"], &seen["orders"][0]["lines"][0]["amount"]), (&nothing, &nothing));
        assert_eq!(seen["timeline"][0]["summary"], "***");
        assert!(!seen.to_string().contains("personal"), "{seen}");

        grant(&app, &actor, &["customers:read classes= fields=name"]).await;
        let seen = look(&world, &app.owner, customer).await;
        assert_eq!(seen["customers"][0]["name"], "personal name 0");
        assert_eq!(seen["customers"][0]["preferences"], json!({}));
    }

    async fn a_field_of_another_class_is_neither_a_filter_nor_writable(app: TestApp) {
        let world = world(&app).await;
        let actor = install(&app).await;
        grant(&app, &actor, &["customers:read classes=", "customers:write classes="]).await;
        let customer = &world.customers[0];
        let filter = async |field: &str, value: &str| {
            act(&app.owner, customer, "filter", json!({ "field": field, "value": value })).await.body["body"].clone()
        };
        assert_eq!(filter("hobby", "a").await.as_array().unwrap().len(), 4);
        for field in ["birthday", "debt"] {
            let refused = filter(field, "a").await;
            assert!(refused.as_str().unwrap().contains("Denied"), "{refused}");
        }
        let write = async |patch: Value| {
            act(&app.owner, customer, "write", json!({ "patch": patch })).await.body["body"].clone()
        };
        assert_eq!(write(json!({ "tags": ["seen"] })).await, "written");
        for patch in [json!({ "name": "Mallory" }), json!({ "custom_fields": { "debt": "none" } })] {
            let refused = write(patch).await;
            assert!(refused.as_str().unwrap().contains("Denied"), "{refused}");
        }
        let log = app.owner.get("/api/v1/plugins/spy/log").await.body.to_string();
        assert!(log.contains("grant `customers:read classes=financial`"), "{log}");
        let denials = app.owner.get("/api/v1/plugins/spy").await.body["denials"].clone();
        let denied = |function: &str| {
            let found = denials.as_array().unwrap().iter().find(|denial| denial["function"] == function);
            found.map(|denial| (denial["grant"].clone(), denial["count"].clone()))
        };
        assert_eq!(denied("customers.query"), Some((json!("customers:read"), json!(2))));
        assert_eq!(denied("customers.update-many"), Some((json!("customers:write"), json!(2))));
    }

    async fn a_new_class_of_a_field_counts_at_once(app: TestApp) {
        let world = world(&app).await;
        let actor = install(&app).await;
        grant(&app, &actor, &["customers:read classes="]).await;
        let seen = look(&world, &app.owner, &world.customers[0]).await;
        assert_eq!(seen["customers"][0]["custom_fields"], json!({ "hobby": "chess" }));
        let field = json!({ "entity": "customer", "name": "hobby", "type": "text", "class": "personal",
            "label": { "en": "Hobby", "zh-CN": "爱好" } });
        let answer = app.owner.request(axum::http::Method::PUT, "/api/v1/fields/customer/hobby").json(&field).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let seen = look(&world, &app.owner, &world.customers[0]).await;
        assert_eq!(seen["customers"][0]["custom_fields"], json!({}));
    }

    async fn events_are_seen_through_the_grants(app: TestApp) {
        let world = world(&app).await;
        let actor = install(&app).await;
        grant(&app, &actor, &["customers:read classes=contact", "timeline:read classes= entities=behaviour", "documents:own"]).await;
        let customer = app.owner.get(&format!("/api/v1/customers/{}", world.customers[0])).await.body;
        let order = app.owner.get(&format!("/api/v1/orders/{}", world.orders[0])).await.body;
        let timeline = app.owner.get(&format!("/api/v1/customers/{}/timeline", world.customers[0])).await.body;
        let entry = |kind: &str| {
            let entries = timeline["items"].as_array().unwrap();
            entries.iter().find(|entry| entry["category"] == kind).unwrap().clone()
        };
        let events: Vec<PluginEvent> = [
            ("customer.updated", customer), ("order.created", order),
            ("interaction.created", entry("interaction")), ("behaviour.created", entry("behaviour")),
        ].into_iter().map(|(name, body)| event(&app, &world.customers[0], name, body)).collect();
        let plugins = app.core.plugins().unwrap();
        let ack: Ack = Arc::new(|_tx| Box::pin(async { Ok(()) }));
        plugins.deliver(app.acme.id(), "spy", &events, ack).await.unwrap();

        let page = PageRequest::default();
        let kept = data::collection(&app.core, &actor, ("spy", "seen"), &page).await.unwrap().items;
        let kept: Vec<Value> = kept.into_iter().map(|document| document.body).collect();
        let names: Vec<&str> = kept.iter().filter_map(|seen| seen["name"].as_str()).collect();
        assert_eq!(names, ["customer.updated", "behaviour.created"]);
        assert_eq!(kept[0]["body"]["name"], "***");
        assert_eq!(kept[0]["body"]["contact_points"][0]["value"], "contact point 0");
        assert_eq!(kept[1]["body"]["summary"], "***");
        assert!(kept[1]["body"].get("object").is_none());
        let denials = app.owner.get("/api/v1/plugins/spy").await.body["denials"].clone();
        assert_eq!(denials[0]["grant"], "orders:read", "{denials}");
        assert_eq!((&denials[0]["function"], &denials[0]["count"]), (&json!("events.handle"), &json!(1)));
    }

    async fn a_hook_sees_and_changes_what_its_grant_opens(app: TestApp) {
        let world = world(&app).await;
        let actor = install(&app).await;
        grant(&app, &actor, &["hooks:customer classes=contact"]).await;
        let path = format!("/api/v1/customers/{}", world.customers[0]);
        let saved = app.owner.patch(&path, json!({ "tags": ["a"], "name": "personal secret" })).await;
        assert_eq!(saved.status, StatusCode::OK, "{}", saved.body);
        let log = app.owner.get("/api/v1/plugins/spy/log?limit=200").await.body;
        let lines = log["items"].as_array().unwrap().iter().rev();
        let told: String = lines.filter_map(|line| line["message"].as_str()?.split_once('|').map(|(_, part)| part)).collect();
        assert!(told.contains("contact point 0"), "{told}");
        assert!(!told.contains("personal"), "{told}");

        let renamed = app.owner.patch(&path, json!({ "tags": ["rename"] })).await;
        assert_eq!(renamed.body["plugin_code"], "denied", "{}", renamed.body);
        assert_eq!(app.owner.get(&path).await.body["name"], "personal secret");
        grant(&app, &actor, &["hooks:customer classes=personal"]).await;
        let renamed = app.owner.patch(&path, json!({ "tags": ["rename"] })).await;
        assert_eq!(renamed.body["name"], "Mallory", "{}", renamed.body);
    }

    async fn a_rate_is_kept_and_told(app: TestApp) {
        let world = world(&app).await;
        let actor = install(&app).await;
        grant(&app, &actor, &["orders:read rate=4/minute"]).await;
        let orders = async || {
            let input = json!({ "orders": world.orders });
            let seen = act(&app.owner, &world.customers[0], "look", input).await;
            seen.body["body"]["orders"].clone()
        };
        assert_eq!(orders().await.as_array().unwrap().len(), 4);
        let refused = orders().await;
        assert!(refused.as_str().unwrap().contains("the rate of the grant `orders:read`"), "{refused}");
        app.clock.advance_seconds(61);
        assert_eq!(orders().await.as_array().unwrap().len(), 4);
    }

    async fn terms_that_were_not_asked_for_are_refused(app: TestApp) {
        packages::install(&app.core, guests::PROBE.to_vec()).await.unwrap();
        let enable = async |grants: Value| {
            app.owner.post("/api/v1/plugins/probe/enablement", json!({ "grants": grants })).await
        };
        let wrong = enable(json!([
            { "name": "kv:own", "parameters": { "classes": ["basic"] } },
            { "name": "customers:read", "parameters": { "fields": ["no_such_member"] } },
            { "name": "customers:read" },
        ])).await;
        let mut faults = wrong.faults();
        faults.sort_unstable();
        assert_eq!(faults, [
            "/grants/0/parameters/classes no_such_parameter",
            "/grants/1/parameters/fields/0 unknown_name",
            "/grants/2 not_unique",
        ]);
        let rate = json!({ "count": 10, "per": "minute" });
        let part = json!([
            { "name": "customers:read", "parameters": { "classes": ["contact"], "rate": rate } },
            { "name": "settings:own" }, { "name": "kv:own" },
        ]);
        let enabled = enable(part).await;
        assert_eq!(enabled.status, StatusCode::CREATED, "{}", enabled.body);
        assert_eq!(
            enabled.body["grants"][0],
            json!({ "name": "customers:read", "parameters": { "classes": ["basic", "contact"], "rate": rate } })
        );
        // Enabling it again without a word of grants leaves them as they are.
        let again = app.owner.post("/api/v1/plugins/probe/enablement", json!({})).await;
        assert_eq!(again.body["grants"].as_array().unwrap().len(), 3, "{}", again.body);
    }

    async fn after_a_grant_is_narrowed_no_call_sees_or_writes_more(app: TestApp) {
        let world = Arc::new(world(&app).await);
        let actor = install(&app).await;
        let everything = "customers:read classes=personal";
        grant(&app, &actor, &[everything, "customers:write classes=personal"]).await;
        let run = |client: Client| {
            let world = Arc::clone(&world);
            async move {
                let mut seen = 0;
                loop {
                    let patch = json!({ "patch": { "custom_fields": { "birthday": format!("round {seen}") } } });
                    let written = act(&client, &world.customers[0], "write", patch).await;
                    let look = act(&client, &world.customers[1], "look", json!({ "customers": world.customers })).await;
                    seen += 1;
                    if written.body["body"] != "written" && !look.body.to_string().contains("personal") {
                        return seen;
                    }
                }
            }
        };
        let tasks: Vec<_> = (0..4).map(|_| tokio::spawn(run(app.owner.clone()))).collect();
        // Somebody is at work before the rights go.
        let path = format!("/api/v1/customers/{}", world.customers[0]);
        while app.owner.get(&path).await.body["version"].as_i64() < Some(4) {
            tokio::task::yield_now().await;
        }
        grant(&app, &actor, &["customers:read classes="]).await;
        let acknowledged = app.owner.get(&path).await.body;
        let looks = join_all((0..100).map(|_| act(&app.owner, &world.customers[1], "look", json!({ "customers": world.customers })))).await;
        for look in looks {
            assert!(!look.body.to_string().contains("personal"), "{}", look.body);
        }
        for task in tasks {
            assert!(task.await.unwrap() > 0);
        }
        assert_eq!(app.owner.get(&path).await.body, acknowledged);
    }
}

fn event(app: &TestApp, customer: &str, name: &str, body: Value) -> PluginEvent {
    let now = app.now();
    PluginEvent {
        id: EventId::new(&*app.core.ids, now),
        name: name.to_owned(),
        subject: hospes::domain::event::Subject::Customer(customer.parse().unwrap()),
        occurred_at: now,
        depth: 0,
        backfill: false,
        body,
    }
}
