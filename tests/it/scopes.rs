//! Who sees whose customers: a table of people and what they reach, walked along every way to a record.

use std::collections::BTreeSet;

use hospes::domain::customer::{CustomerKind, NewCustomer};
use hospes::domain::permission::{Permission, Role};
use hospes::error::Error;
use hospes::ops::customers;
use hospes::ops::plugins::enablement::{self, NewEnablement};
use hospes::ops::plugins::packages;
use hospes_tests::{Client, Engine, Harness, TestApp, both_engines, guests};
use serde_json::{Value, json};

/// Where each customer belongs: its name, and the unit or owner of it.
const CUSTOMERS: [(&str, Option<&str>, Option<&str>); 6] = [
    ("of_north", Some("north"), None),
    ("of_store", Some("store"), None),
    ("of_south", Some("south"), None),
    ("of_sam", None, Some("sam")),
    ("of_sam_in_south", Some("south"), Some("sam")),
    ("of_nobody", None, None),
];
const EVERYBODY: &[&str] = &["of_north", "of_store", "of_south", "of_sam", "of_sam_in_south", "of_nobody"];
const SOUTH: &[&str] = &["of_south", "of_sam_in_south"];

/// Login, role, unit, and the customers that they reach. `store` lies below `north`.
const PEOPLE: &[(&str, Role, Option<&str>, &[&str])] = &[
    ("olga", Role::Owner, None, EVERYBODY),
    ("adam", Role::Admin, Some("south"), EVERYBODY),
    ("mary", Role::Manager, Some("north"), &["of_north", "of_store"]),
    ("mike", Role::Manager, Some("store"), &["of_store"]),
    ("mona", Role::Manager, None, &[]),
    ("anna", Role::Agent, Some("south"), SOUTH),
    ("abel", Role::Agent, None, &[]),
    ("sam", Role::Sales, Some("north"), &["of_sam", "of_sam_in_south"]),
    ("sue", Role::Sales, None, &[]),
    ("max", Role::Marketing, Some("north"), EVERYBODY),
    ("lynn", Role::Analyst, None, EVERYBODY),
    ("ines", Role::Integration, Some("store"), EVERYBODY),
];

/// A customer with one order and one contact.
struct Known {
    name: &'static str,
    id: String,
    order: String,
    /// The unit's id; empty without one.
    unit: String,
    /// The owner's id; empty without one.
    owner: String,
}

/// A tenant with units, people, customers, and the probe enabled.
struct Region {
    app: TestApp,
    known: Vec<Known>,
    units: Vec<(&'static str, String)>,
}

impl Harness for Region {
    async fn start(engine: Engine) -> Option<Self> {
        let app = TestApp::start(engine).await?;
        let mut region = Self { app, known: Vec::new(), units: Vec::new() };
        for (name, parent) in [("north", None), ("store", Some("north")), ("south", None)] {
            let parent = parent.map(|parent| region.unit(parent));
            let new = json!({"kind": "region", "name": name, "parent_id": parent});
            let id = region.post("/org-units", new).await["id"].as_str().unwrap().to_owned();
            region.units.push((name, id));
        }
        let mut users = Vec::new();
        for (login, role, unit, _) in PEOPLE {
            let id = region.app.acme.user(login, &[*role]).await.id.to_string();
            let unit = unit.map(|unit| region.unit(unit));
            region
                .app
                .owner
                .patch(&format!("/api/v1/users/{id}"), json!({"org_unit_id": unit}))
                .await
                .expect(200);
            users.push((*login, id));
        }
        for (name, unit, owner) in CUSTOMERS {
            let unit = unit.map(|unit| region.unit(unit));
            let owner = owner.map(|owner| users.iter().find(|(login, _)| *login == owner).unwrap().1.clone());
            region.add(name, unit, owner).await;
        }
        let package = packages::install(&region.app.core, guests::PROBE.to_vec()).await.unwrap();
        let new = NewEnablement { version: None, grants: None, settings: None, backfill: false };
        let operator = region.app.acme.operator();
        enablement::enable(&region.app.core, &operator, &package.name, new).await.unwrap();
        Some(region)
    }
}

impl Region {
    fn unit(&self, name: &str) -> String {
        self.units.iter().find(|(known, _)| *known == name).unwrap().1.clone()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.app.owner.post(&format!("/api/v1{path}"), body).await.expect(201).body
    }

    async fn add(&mut self, name: &'static str, unit: Option<String>, owner: Option<String>) {
        let new = json!({
            "kind": "person", "name": name, "tags": [name], "org_unit_id": unit, "owner_id": owner,
            "identities": [{"source": "till", "external_id": name}],
            "contact_points": [{"kind": "email", "value": format!("{name}@example.com")}],
        });
        let id = self.post("/customers", without_nulls(new)).await["id"].as_str().unwrap().to_owned();
        let order = json!({
            "customer_id": id, "channel": name, "ordered_at": "2026-02-01T00:00:00Z",
            "source": "till", "external_id": name, "total": {"amount_minor": 100, "currency": "CNY"},
        });
        let order = self.post("/orders", order).await["id"].as_str().unwrap().to_owned();
        let contact = json!({"channel": "phone", "direction": "inbound", "summary": name});
        self.post(&format!("/customers/{id}/interactions"), contact).await;
        let (unit, owner) = (unit.unwrap_or_default(), owner.unwrap_or_default());
        self.known.push(Known { name, id, order, unit, owner });
    }

    /// The names of the customers with these ids.
    fn names<'a>(&self, ids: impl Iterator<Item = &'a Value>) -> BTreeSet<&'static str> {
        let name =
            |id: &Value| self.known.iter().find(|known| id == known.id.as_str()).map(|known| known.name);
        ids.map(|id| name(id).unwrap_or_else(|| panic!("{id} is no customer of this test"))).collect()
    }

    async fn listed(&self, client: &Client, path: &str, id: &str) -> BTreeSet<&'static str> {
        let page = client.get(&format!("/api/v1{path}")).await.expect(200).body;
        self.names(page["items"].as_array().unwrap().iter().map(|item| &item[id]))
    }
}

fn without_nulls(mut value: Value) -> Value {
    value.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    value
}

/// Every way to read, each for every customer.
async fn check_reads(region: &Region, login: &str, client: &Client, reached: &BTreeSet<&str>) {
    for list in ["/customers", "/customers?sort=-name", "/customers?kind=person"] {
        assert_eq!(region.listed(client, list, "id").await, *reached, "{login} {list}");
    }
    for list in ["/orders", "/orders?sort=-ordered_at"] {
        assert_eq!(region.listed(client, list, "customer_id").await, *reached, "{login} {list}");
    }
    for Known { name, id, order, unit, owner } in &region.known {
        let is_reached = reached.contains(name);
        let expected: BTreeSet<&str> = is_reached.then_some(*name).into_iter().collect();
        let status = if is_reached { 200 } else { 404 };
        for path in [
            format!("/customers/{id}"),
            format!("/customers/{id}/overview"),
            format!("/customers/{id}/timeline"),
            format!("/orders/{order}"),
        ] {
            let answer = client.get(&format!("/api/v1{path}")).await;
            assert_eq!(answer.status.as_u16(), status, "{login} {name} {answer}");
            if path.ends_with("overview") && is_reached {
                assert_eq!(answer.body["orders"]["count"], 1, "{login} {name}");
                assert_eq!(answer.body["service"]["contacts"], 1, "{login} {name}");
                assert_eq!(answer.body["timeline"].as_array().unwrap().len(), 1, "{login} {name}");
            }
        }
        for filter in [
            format!("tag={name}"),
            format!("tag={name}&name_prefix=of"),
            format!("contact={name}@example.com"),
            format!("source=till&external_id={name}"),
        ] {
            let found = region.listed(client, &format!("/customers?{filter}"), "id").await;
            assert_eq!(found, expected, "{login} {filter}");
        }
        for (filter, value) in [("org_unit_id", unit), ("owner_id", owner)] {
            if !value.is_empty() {
                let found = region.listed(client, &format!("/customers?{filter}={value}"), "id").await;
                assert_eq!(found.contains(name), is_reached, "{login} {filter} {name}");
                assert!(found.is_subset(reached), "{login} {filter}: {found:?}");
            }
        }
        for filter in [
            format!("customer_id={id}"),
            format!("channel={name}"),
            format!("source=till&external_id={name}"),
        ] {
            let found = region.listed(client, &format!("/orders?{filter}"), "customer_id").await;
            assert_eq!(found, expected, "{login} {filter}");
        }
    }
}

/// What a plugin reads as somebody is what they read themselves.
async fn check_plugin(
    region: &Region,
    (login, role): (&str, Role),
    client: &Client,
    reached: &BTreeSet<&str>,
) {
    let input = json!({
        "customers": region.known.iter().map(|known| &known.id).collect::<Vec<_>>(),
        "orders": region.known.iter().map(|known| &known.order).collect::<Vec<_>>(),
    });
    let may_act = !matches!(role, Role::Marketing | Role::Analyst);
    for Known { name, id, .. } in &region.known {
        let path = format!("/api/v1/customers/{id}/actions/probe/look");
        let answer = client.post(&path, &input).await;
        if !may_act || !reached.contains(name) {
            let status = if may_act { 404 } else { 403 };
            assert_eq!(answer.status.as_u16(), status, "{login} {name} {answer}");
            continue;
        }
        let seen = answer.expect(200).body["body"].clone();
        for way in ["got", "queried", "orders_got", "orders_of", "timelines_of"] {
            let ids = seen[way].as_array().unwrap_or_else(|| panic!("{way} in {seen}"));
            assert_eq!(region.names(ids.iter()), *reached, "{login} {way}");
        }
    }
}

/// Every way to write: what is not reached is answered like what is missing.
async fn check_writes(
    region: &Region,
    (login, role): (&str, Role),
    client: &Client,
    reached: &BTreeSet<&str>,
) {
    let order = |id: &str| {
        json!({"customer_id": id, "channel": "web", "ordered_at": "2026-02-01T00:00:00Z",
            "total": {"amount_minor": 1, "currency": "CNY"}})
    };
    for Known { name, id, order: order_id, .. } in &region.known {
        let customer = format!("/api/v1/customers/{id}");
        let order_path = format!("/api/v1/orders/{order_id}");
        let contact = json!({"channel": "phone", "direction": "inbound", "summary": name});
        let visit = json!({"type": "visit"});
        let refund = json!({"amount": {"amount_minor": 1, "currency": "CNY"}});
        let missing = if reached.contains(name) { None } else { Some(404) };
        for (permission, request, done, refused) in [
            (Permission::CustomerWrite, client.patch(&customer, json!({"tags": [name, login]})), 200, 404),
            (Permission::TimelineWrite, client.post(&format!("{customer}/interactions"), contact), 201, 404),
            (Permission::TimelineWrite, client.post(&format!("{customer}/behaviours"), visit), 201, 404),
            (Permission::OrderWrite, client.patch(&order_path, json!({"store": login})), 200, 404),
            (Permission::OrderWrite, client.post(&format!("{order_path}/refunds"), refund), 201, 404),
            // A reference to what one does not see is a fault of the input.
            (Permission::OrderWrite, client.post("/api/v1/orders", order(id)), 201, 422),
        ] {
            let status = match role.reach(permission) {
                None => 403,
                Some(_) => missing.map_or(done, |_| refused),
            };
            let answer = request.await;
            assert_eq!(answer.status.as_u16(), status, "{login} {name} {permission} {answer}");
        }
    }
}

both_engines! {
    async fn everybody_reads_whom_they_reach_along_every_way(region: Region) {
        for (login, role, _, reached) in PEOPLE {
            let client = region.app.acme.sign_in(login).await;
            let reached: BTreeSet<&str> = reached.iter().copied().collect();
            check_reads(&region, login, &client, &reached).await;
            check_plugin(&region, (login, *role), &client, &reached).await;
        }
    }

    async fn everybody_writes_whom_they_reach_along_every_way(region: Region) {
        for (login, role, _, reached) in PEOPLE {
            let client = region.app.acme.sign_in(login).await;
            let reached: BTreeSet<&str> = reached.iter().copied().collect();
            check_writes(&region, (login, *role), &client, &reached).await;
        }
    }

    async fn a_token_reaches_its_units_customers(region: Region) {
        for (unit, reached) in [(Some("north"), &["of_north", "of_store"] as &[_]), (Some("south"), SOUTH), (None, &[])] {
            let unit = unit.map(|unit| region.unit(unit));
            let new = json!({"name": "till", "roles": ["manager"], "org_unit_id": unit});
            let secret = region.post("/tokens", without_nulls(new)).await["secret"].as_str().unwrap().to_owned();
            let client = region.app.bearer(&secret);
            check_reads(&region, "token", &client, &reached.iter().copied().collect()).await;
        }
    }

    async fn a_unit_that_moves_takes_its_customers_along(region: Region) {
        let mary = region.app.acme.sign_in("mary").await;
        let anna = region.app.acme.sign_in("anna").await;
        let store = format!("/api/v1/org-units/{}", region.unit("store"));
        region.app.owner.patch(&store, json!({"parent_id": region.unit("south")})).await.expect(200);
        check_reads(&region, "mary", &mary, &["of_north"].into()).await;
        check_reads(&region, "anna", &anna, &["of_store", "of_south", "of_sam_in_south"].into()).await;
    }

    async fn whoever_reaches_only_some_makes_customers_that_they_reach(region: Region) {
        let sam = region.app.acme.sign_in("sam").await;
        let new = json!({"kind": "person", "name": "New"});
        let made = sam.post("/api/v1/customers", &new).await.expect(201).body;
        sam.get(&format!("/api/v1/customers/{}", made["id"].as_str().unwrap())).await.expect(200);
        let mike = region.app.acme.sign_in("mike").await;
        let made = mike.post("/api/v1/customers", &new).await.expect(201).body;
        assert_eq!(made["org_unit_id"], json!(region.unit("store")));
        for unit in ["north", "south"] {
            let elsewhere = json!({"kind": "person", "name": "New", "org_unit_id": region.unit(unit)});
            assert_eq!(mike.post("/api/v1/customers", elsewhere).await.code(), (403, "out_of_reach"), "{unit}");
        }
        let mary = region.app.acme.sign_in("mary").await;
        let below = json!({"kind": "person", "name": "New", "org_unit_id": region.unit("store")});
        mary.post("/api/v1/customers", below).await.expect(201);
    }

    async fn nobody_learns_of_hidden_records_by_writing_to_their_external_ids(region: Region) {
        let mike = region.app.acme.sign_in("mike").await;
        let customer = json!({"kind": "person", "name": "Mine now"});
        let taken = mike.put("/api/v1/sources/till/customers/of_south", customer).await;
        assert_eq!(taken.code(), (409, "identity_taken"));
        let order = json!({
            "customer": {"source": "till", "external_id": "of_store"}, "channel": "web",
            "ordered_at": "2026-02-01T00:00:00Z", "total": {"amount_minor": 1, "currency": "CNY"},
        });
        assert_eq!(mike.put("/api/v1/sources/till/orders/of_south", &order).await.code(), (409, "external_id_taken"));
        let mut of_another = order;
        of_another["customer"]["external_id"] = json!("of_south");
        mike.put("/api/v1/sources/till/orders/new", of_another).await.expect(422);
        let untouched = region.app.owner.get("/api/v1/customers?tag=of_south").await.expect(200).body;
        assert_eq!(untouched["items"][0]["name"], "of_south");
    }

    async fn a_deleted_customers_orders_stay_with_its_unit(region: Region) {
        let of_store = region.known.iter().find(|known| known.name == "of_store").unwrap();
        region.app.owner.delete(&format!("/api/v1/customers/{}", of_store.id)).await.expect(204);
        let mike = region.app.acme.sign_in("mike").await;
        let anna = region.app.acme.sign_in("anna").await;
        let order = format!("/api/v1/orders/{}", of_store.order);
        mike.get(&order).await.expect(200);
        anna.get(&order).await.expect(404);
        mike.get(&format!("/api/v1/customers/{}", of_store.id)).await.expect(404);
        assert!(region.listed(&mike, "/customers", "id").await.is_empty());
    }

    async fn a_unit_that_is_deleted_meanwhile_gets_no_customer(app: TestApp) {
        let unit = app.owner.post("/api/v1/org-units", json!({"kind": "store", "name": "Gone"})).await.expect(201);
        let unit = unit.body["id"].as_str().unwrap().to_owned();
        let operator = app.acme.operator();
        let new = NewCustomer {
            org_unit_id: Some(unit.parse().unwrap()),
            ..NewCustomer::named(CustomerKind::Person, "Lin")
        };
        let change = customers::prepare_create(&app.core, &operator, new).await.unwrap();
        app.owner.delete(&format!("/api/v1/org-units/{unit}")).await.expect(204);
        let written = app.core.db.write(&operator.tenant, change, |tx, change| Box::pin(customers::apply(tx, change)));
        let Err(Error::Invalid { faults }) = written.await else { panic!("the unit is gone") };
        assert_eq!((faults[0].pointer.as_str(), &*faults[0].code), ("/org_unit_id", "unknown_reference"));
        assert!(app.owner.all("/api/v1/customers").await.is_empty());
    }

    async fn a_unit_with_customers_is_not_deleted_behind_their_backs(region: Region) {
        let owner = &region.app.owner;
        let path = |unit: &str| format!("/api/v1/org-units/{}", region.unit(unit));
        let refused = owner.delete(&path("north")).await;
        assert_eq!(refused.code(), (409, "unit_not_empty"));
        let text = refused.body.to_string();
        for part in ["units: 1", "users and tokens: 3", "customers: 1"] {
            assert!(text.contains(part), "{part} in {refused}");
        }
        // Who is in `store` moves away; one customer is removed, and its orders go to the unit above.
        for (login, ..) in PEOPLE.iter().filter(|(_, _, unit, _)| *unit == Some("store")) {
            let users = owner.get(&format!("/api/v1/users?login={login}")).await.expect(200).body;
            let user = users["items"][0]["id"].as_str().unwrap().to_owned();
            owner.patch(&format!("/api/v1/users/{user}"), json!({"org_unit_id": null})).await.expect(200);
        }
        let secret = json!({"name": "till", "roles": ["manager"], "org_unit_id": region.unit("store")});
        let token = region.post("/tokens", secret).await["id"].as_str().unwrap().to_owned();
        let of_store = region.known.iter().find(|known| known.name == "of_store").unwrap();
        let held = owner.delete(&path("store")).await;
        assert!(held.body.to_string().contains("users and tokens: 1, customers: 1"), "{held}");
        owner.delete(&format!("/api/v1/tokens/{token}")).await.expect(204);
        owner.delete(&format!("/api/v1/customers/{}", of_store.id)).await.expect(204);
        owner.delete(&path("store")).await.expect(204);
        owner.get(&path("store")).await.expect(404);
        let mary = region.app.acme.sign_in("mary").await;
        mary.get(&format!("/api/v1/orders/{}", of_store.order)).await.expect(200);
    }
}
