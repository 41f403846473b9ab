//! Fields of tenants and plugins on customers, products and orders: definitions, values, filters, and who reads them.

use axum::http::Method;
use hospes::domain::actor::Actor;
use hospes::domain::event::Subject;
use hospes::domain::permission::Role;
use hospes::ops::plugins::actions;
use hospes_tests::{Client, TestApp, TestResponse, both_engines, guests};
use serde_json::{Value, json};

use crate::imports::Importer;
use crate::plugin_rig::Rig;

const FIELDS: &str = "/api/v1/fields";
const ENTITIES: [&str; 3] = ["customer", "product", "order"];

fn field(entity: &str, name: &str, kind: &str) -> Value {
    let mut field = json!({
        "entity": entity, "name": name, "type": kind, "label": {"en": name, "zh-CN": "字段"},
    });
    if kind == "choice" {
        field["choices"] = json!([{"value": "red", "label": {"en": "Red", "zh-CN": "红"}}]);
    }
    field
}

fn cny(amount_minor: i64) -> Value {
    json!({"amount_minor": amount_minor, "currency": "CNY"})
}

/// A new record of a kind, all but its fields.
fn record(entity: &str, customer: &str, number: usize) -> (&'static str, Value) {
    match entity {
        "customer" => ("/api/v1/customers", json!({"kind": "person", "name": format!("{number}")})),
        "product" => ("/api/v1/products", json!({"sku": format!("{number}"), "name": "Tea"})),
        _ => (
            "/api/v1/orders",
            json!({"customer_id": customer, "channel": "web", "ordered_at": "2026-02-01T00:00:00Z", "total": cny(100)}),
        ),
    }
}

/// Makes a record with these values and answers it.
async fn make(app: &TestApp, entity: &str, customer: &str, (number, values): (usize, Value)) -> TestResponse {
    let (list, mut new) = record(entity, customer, number);
    new["custom_fields"] = values;
    app.owner.post(list, new).await
}

async fn ids(client: &Client, list: &str, query: &str) -> Vec<Value> {
    let page = client.get(&format!("{list}?{query}")).await.expect(200).body;
    page["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect()
}

both_engines! {
    async fn a_definition_belongs_to_one_kind_of_record(app: TestApp) {
        for entity in ENTITIES {
            let kind = if entity == "order" { "integer" } else { "text" };
            app.owner.post(FIELDS, field(entity, "size", kind)).await.expect(201);
            assert_eq!(app.owner.post(FIELDS, field(entity, "size", "text")).await.code(), (409, "field_exists"));
        }
        let listed = app.owner.get(&format!("{FIELDS}?entity=order")).await.expect(200).body;
        assert_eq!((listed["items"].as_array().unwrap().len(), &listed["items"][0]["type"]), (1, &json!("integer")));
        app.owner.get(&format!("{FIELDS}?entity=ticket")).await.expect(400);

        let mut wider = field("product", "size", "text");
        wider["max_length"] = json!(3);
        let changed = app.owner.put(&format!("{FIELDS}/product/size"), &wider).await.expect(200).body;
        assert_eq!(changed["max_length"], 3);
        for (address, faults) in [("product/sizes", "/name"), ("order/size", "/entity")] {
            let refused = app.owner.put(&format!("{FIELDS}/{address}"), &wider).await.expect(422);
            assert_eq!(refused.body["errors"][0]["pointer"], faults, "{refused}");
        }
        let other_type = field("product", "size", "integer");
        let refused = app.owner.put(&format!("{FIELDS}/product/size"), other_type).await;
        assert_eq!(refused.code(), (409, "field_type"));
        app.owner.put(&format!("{FIELDS}/product/width"), field("product", "width", "text")).await.expect(404);

        app.owner.delete(&format!("{FIELDS}/product/size")).await.expect(204);
        app.owner.delete(&format!("{FIELDS}/product/size")).await.expect(404);
        app.owner.delete(&format!("{FIELDS}/ticket/size")).await.expect(404);
        assert_eq!(app.owner.get(FIELDS).await.body["items"].as_array().unwrap().len(), 2);
        let stranger = app.tenant("other").await.owner;
        assert_eq!(stranger.get(FIELDS).await.expect(200).body["items"], json!([]));
    }

    async fn a_definition_that_is_none_is_refused(app: TestApp) {
        let with = |kind: &str, name: &str, value: Value| {
            let mut field = field("order", "x", kind);
            field[name] = value;
            field
        };
        for bad in [
            with("text", "name", json!("Size")),
            with("text", "name", json!("x".repeat(51))),
            with("text", "label", json!({"en": "x"})),
            with("text", "label", json!({"en": "x", "zh-CN": "字".repeat(101)})),
            with("text", "minimum", json!(1)),
            with("integer", "max_length", json!(1)),
            with("integer", "choices", json!([{"value": "a", "label": {"en": "a", "zh-CN": "a"}}])),
            with("choice", "choices", json!([])),
            with("text", "namespace", json!("probe")),
            with("text", "roles", json!(["agent"])),
            with("text", "type", json!("colour")),
            with("text", "entity", json!("ticket")),
            with("text", "colour", json!("red")),
            json!({"entity": "order", "name": "x", "type": "number", "label": {"en": "x", "zh-CN": "x"},
                "minimum": 2, "maximum": 1}),
        ] {
            app.owner.post(FIELDS, &bad).await.expect(422);
        }
        assert_eq!(app.owner.get(FIELDS).await.body["items"], json!([]));
        for number in 0..200 {
            app.owner.post(FIELDS, field("order", &format!("f{number}"), "text")).await.expect(201);
        }
        assert_eq!(app.owner.post(FIELDS, field("product", "one_more", "text")).await.body["code"], "fields");
    }

    async fn values_are_typed_on_every_kind_of_record(app: TestApp) {
        let customer = app.acme.customer("Lin").await.id.to_string();
        for entity in ENTITIES {
            for kind in ["text", "integer", "number", "boolean", "time", "choice"] {
                app.owner.post(FIELDS, field(entity, kind, kind)).await.expect(201);
            }
            let good = json!({
                "text": "汉", "integer": -7, "number": 1.5, "boolean": false, "time": "2026-01-31T16:00:00+08:00",
                "choice": "red",
            });
            let made = make(&app, entity, &customer, (0, good.clone())).await.expect(201);
            let mut shown = good;
            shown["time"] = json!("2026-01-31T08:00:00.000000Z");
            assert_eq!(made.body["custom_fields"], shown, "{entity}");
            let path = made.header("location").to_owned();
            assert_eq!(app.owner.get(&path).await.body["custom_fields"], shown, "{entity}");
            let (list, _) = record(entity, &customer, 0);
            for (name, value) in [("text", "%E6%B1%89"), ("integer", "-7"), ("number", "1.5"), ("boolean", "false"),
                ("time", "2026-01-31T08:00:00Z"), ("choice", "red")] {
                let found = ids(&app.owner, list, &format!("fields[{name}]={value}")).await;
                assert_eq!(found, [made.body["id"].clone()], "{entity} {name}");
            }
            let bad = json!({
                "text": 1, "integer": 1.5, "number": "1", "boolean": "true", "time": "yesterday", "choice": "blue",
                "unheard": 1,
            });
            let refused = make(&app, entity, &customer, (1, bad)).await.expect(422);
            assert_eq!(refused.faults().len(), 7, "{entity}: {refused}");
            let refused = make(&app, entity, &customer, (1, json!({"text": "x".repeat(1_025)}))).await.expect(422);
            assert!(refused.faults()[0].starts_with("/custom_fields/text"), "{entity}: {refused}");

            let patch = json!({"custom_fields": {"text": null, "integer": 8}});
            let after = app.owner.patch(&path, patch).await.expect(200).body;
            assert_eq!((&after["custom_fields"]["integer"], &after["version"]), (&json!(8), &json!(2)), "{entity}");
            assert!(after["custom_fields"].get("text").is_none(), "{entity}");
            assert!(ids(&app.owner, list, "fields[text]=%E6%B1%89").await.is_empty(), "{entity}");
            assert_eq!(ids(&app.owner, list, "fields[integer][gte]=8").await.len(), 1, "{entity}");
            app.owner.patch(&path, json!({"custom_fields": null})).await.expect(200);
            assert!(ids(&app.owner, list, "fields[choice]=red").await.is_empty(), "{entity}");
        }
    }

    async fn filters_compare_and_join(app: TestApp) {
        let customer = app.acme.customer("Lin").await.id.to_string();
        for entity in ["product", "order"] {
            app.owner.post(FIELDS, field(entity, "points", "integer")).await.expect(201);
            app.owner.post(FIELDS, field(entity, "city", "text")).await.expect(201);
            let mut made = Vec::new();
            for (number, values) in
                [json!({"points": 5, "city": "a"}), json!({"points": 7, "city": "b"}), json!({"points": 9, "city": "b"}), json!({})]
                    .into_iter()
                    .enumerate()
            {
                made.push(make(&app, entity, &customer, (number, values)).await.expect(201).body["id"].clone());
            }
            let (list, _) = record(entity, &customer, 0);
            for (query, expected) in [
                ("fields[points]=7", &made[1..2]),
                ("fields[points][eq]=7", &made[1..2]),
                ("fields[points][lt]=7", &made[0..1]),
                ("fields[points][lte]=7", &made[0..2]),
                ("fields[points][gt]=7", &made[2..3]),
                ("fields[points][gte]=7", &made[1..3]),
                ("fields[city]=b&fields[points][lt]=9", &made[1..2]),
                ("fields[city][ne]=a", &made[1..4]),
            ] {
                assert_eq!(ids(&app.owner, list, query).await, expected, "{entity} {query}");
            }
            for bad in ["fields[unheard]=1", "fields[points]=many", "fields[points][like]=1", "fields[points]="] {
                app.owner.get(&format!("{list}?{bad}")).await.expect(400);
            }
            let nine: Vec<_> = (0..9).map(|least| format!("fields[points][{}]={least}", "gte")).collect();
            app.owner.get(&format!("{list}?{}", nine.join("&"))).await.expect(400);
            let other = app.owner.get(&format!("{list}?fields[points]=7")).await.expect(200).body;
            assert_eq!(other["next_cursor"], Value::Null);
        }
        app.owner.get("/api/v1/customers?fields[points]=7").await.expect(400);
    }

    async fn what_is_required_is_asked_for_and_a_stricter_definition_lets_old_values_be(app: TestApp) {
        let customer = app.acme.customer("Lin").await.id.to_string();
        for entity in ["product", "order"] {
            app.owner.post(FIELDS, field(entity, "grade", "integer")).await.expect(201);
            let made = make(&app, entity, &customer, (0, json!({"grade": 9}))).await.expect(201);
            let mut stricter = field(entity, "grade", "integer");
            stricter["maximum"] = json!(5);
            stricter["required"] = json!(true);
            app.owner.put(&format!("{FIELDS}/{entity}/grade"), stricter).await.expect(200);
            let refused = make(&app, entity, &customer, (1, json!({}))).await.expect(422);
            assert_eq!(refused.faults(), ["/custom_fields/grade required"]);
            make(&app, entity, &customer, (1, json!({"grade": 6}))).await.expect(422);
            let path = made.header("location").to_owned();
            let unrelated = if entity == "order" { json!({"channel": "app"}) } else { json!({"class": "x"}) };
            let after = app.owner.patch(&path, unrelated).await.expect(200).body;
            assert_eq!(after["custom_fields"], json!({"grade": 9}));
            app.owner.patch(&path, json!({"custom_fields": {"grade": 8}})).await.expect(422);
            app.owner.delete(&format!("{FIELDS}/{entity}/grade")).await.expect(204);
            assert_eq!(app.owner.get(&path).await.body["custom_fields"], json!({"grade": 9}), "values stay");
        }
    }

    async fn a_source_writes_fields_and_leaves_those_that_it_does_not_name(app: TestApp) {
        for name in ["a", "b"] {
            app.owner.post(FIELDS, field("product", name, "text")).await.expect(201);
            app.owner.post(FIELDS, field("order", name, "text")).await.expect(201);
        }
        let customer = app.acme.customer("Lin").await.id.to_string();
        for (entity, address) in [("product", "/api/v1/sources/till/products/1"), ("order", "/api/v1/sources/till/orders/1")] {
            let put = |values: Value| {
                let (_, mut body) = record(entity, &customer, 0);
                body["custom_fields"] = values;
                app.owner.put(address, body)
            };
            let made = put(json!({"a": "1", "b": null})).await.expect(201).body;
            assert_eq!(made["custom_fields"], json!({"a": "1"}));
            assert_eq!(put(json!({"a": "1"})).await.expect(200).body, made);
            let after = put(json!({"b": "2"})).await.expect(200).body;
            assert_eq!((&after["custom_fields"], &after["version"]), (&json!({"a": "1", "b": "2"}), &json!(2)));
            assert_eq!(put(json!({"a": null})).await.expect(200).body["custom_fields"], json!({"b": "2"}));
        }
    }

    async fn files_feed_fields_of_products_and_orders(app: TestApp) {
        let importer = Importer::new(&app, "shop").await;
        let owner = &importer.tenant.owner;
        for entity in ["product", "order"] {
            owner.post(FIELDS, field(entity, "weight", "integer")).await.expect(201);
        }
        let products = json!({"format": "csv", "fields": {
            "external_id": {"column": "id"}, "sku": {"column": "id"}, "name": {"column": "id"},
            "custom_fields.weight": {"column": "weight"},
        }});
        let import = importer.import("products", &products, "id,weight\n1,250\n2,heavy\n3,\n").await;
        assert_eq!((&import["progress"]["created"], &import["progress"]["failed"]), (&json!(2), &json!(1)), "{import}");
        assert_eq!(ids(owner, "/api/v1/products", "fields[weight]=250").await.len(), 1);
        let orders = json!({"format": "csv", "fields": {
            "external_id": {"column": "id"}, "customer.external_id": {"column": "id"}, "customer.kind": {"constant": "person"},
            "ordered_at": {"constant": "2026-01-01"}, "currency": {"constant": "USD"}, "total": {"constant": "1"},
            "channel": {"constant": "x"}, "custom_fields.weight": {"column": "weight"}, "custom_fields.unheard": {"column": "weight"},
        }});
        let import = importer.import("orders", &orders, "id,weight\n1,250\n2,\n").await;
        assert_eq!((&import["progress"]["created"], &import["progress"]["failed"]), (&json!(1), &json!(1)), "{import}");
        let mut good = orders;
        good["fields"].as_object_mut().unwrap().remove("custom_fields.unheard");
        importer.import("orders", &good, "id,weight\n1,250\n").await;
        assert_eq!(ids(owner, "/api/v1/orders", "fields[weight][gt]=100").await.len(), 1);
    }

    async fn a_hook_sets_its_plugins_own_fields_on_an_order(rig: Rig) {
        rig.enable(guests::PROBE).await;
        let owner = &rig.app.owner;
        let send = |channel: &str| {
            let mut order = record("order", rig.customer.as_str(), 0).1;
            order["channel"] = json!(channel);
            owner.post("/api/v1/orders", order)
        };
        let made = send("label").await.expect(201).body;
        assert_eq!(made["fields"], json!({"probe.label": "hooked", "probe.margin": 7}));
        let plain = send("web").await.expect(201).body;
        assert_eq!(plain["fields"], json!({}));
        assert_eq!(ids(owner, "/api/v1/orders", "fields[probe.label]=hooked").await, [made["id"].clone()]);
        assert_eq!(ids(owner, "/api/v1/orders", "fields[probe.margin][ne]=7").await, [plain["id"].clone()]);
        // The hook's manifest lets a save through when the hook fails.
        for (channel, fields) in [("steal", json!({})), ("web", json!({}))] {
            assert_eq!(send(channel).await.expect(201).body["fields"], fields, "{channel}");
        }
        let mistyped = send("mislabel").await.expect(422);
        assert!(mistyped.faults()[0].starts_with("/fields/probe.label"), "{mistyped}");
        let nobodys = json!({"fields": {"probe.label": "mine"}});
        owner.patch(&format!("/api/v1/orders/{}", made["id"].as_str().unwrap()), nobodys).await.expect(422);
    }

    async fn a_field_is_read_by_the_roles_that_its_declaration_names(rig: Rig) {
        let probe = rig.enable(guests::PROBE).await;
        rig.act(&probe, "label", json!({"label": "vip", "margin": 7})).await.unwrap();
        let order = {
            let mut order = record("order", rig.customer.as_str(), 0).1;
            order["channel"] = json!("label");
            rig.app.owner.post("/api/v1/orders", order).await.expect(201).body
        };
        let customer = format!("/api/v1/customers/{}", rig.customer);
        let order = format!("/api/v1/orders/{}", order["id"].as_str().unwrap());
        for (role, reads) in [
            (Role::Owner, true), (Role::Admin, true), (Role::Analyst, false), (Role::Integration, false), (Role::Marketing, false),
        ] {
            let client = rig.app.acme.token(&[role]).await;
            let shows = |body: &Value| {
                assert!(body["fields"]["probe.label"].is_string(), "{role}: {body}");
                body["fields"]["probe.margin"] == json!(7)
            };
            for path in [&customer, &order] {
                assert_eq!(shows(&client.get(path).await.expect(200).body), reads, "{role} {path}");
            }
            assert_eq!(shows(&client.get(&format!("{customer}/overview")).await.expect(200).body["customer"]), reads, "{role}");
            for list in ["/api/v1/customers", "/api/v1/orders"] {
                let listed = client.get(list).await.expect(200).body;
                let with_fields = listed["items"].as_array().unwrap().iter().find(|item| item["fields"] != json!({}));
                assert_eq!(shows(with_fields.unwrap()), reads, "{role} {list}");
                let filtered = client.get(&format!("{list}?fields[probe.margin]=7")).await;
                let status = if reads { 200 } else { 400 };
                assert_eq!(filtered.status.as_u16(), status, "{role} {list}: {filtered}");
            }
            let defined = client.get(FIELDS).await.expect(200).body.to_string();
            assert_eq!(defined.contains("\"margin\""), reads, "{role}");
            if matches!(role, Role::Integration | Role::Admin) {
                let tagged = client.patch(&customer, json!({"tags": [role.as_str()]})).await.expect(200).body;
                assert_eq!(shows(&tagged), reads, "{role} is answered what it may read");
                let refund = json!({"amount": cny(1)});
                let refunded = client.post(&format!("{order}/refunds"), refund).await.expect(201).body;
                assert_eq!(shows(&refunded), reads, "{role}");
            }
        }
        // Nothing that somebody does not see is lost by what they write.
        assert_eq!(rig.app.owner.get(&customer).await.body["fields"]["probe.margin"], 7);
    }

    async fn the_feed_hides_what_its_reader_may_not_read(rig: Rig) {
        let probe = rig.enable(guests::PROBE).await;
        rig.act(&probe, "label", json!({"label": "vip", "margin": 7})).await.unwrap();
        let admin = rig.app.acme.token(&[Role::Admin]).await;
        let integration = rig.app.acme.token(&[Role::Integration]).await;
        let path = "/api/v1/events?types=customer.updated";
        // What an older transaction of the cluster may precede is held back for a moment.
        let told = async |client: &Client| {
            for _ in 0..500 {
                let body = client.get(path).await.expect(200).body;
                if let Some(event) = body["items"].as_array().unwrap().last() {
                    return event["data"]["fields"].clone();
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            panic!("the feed shows nothing");
        };
        assert_eq!(told(&admin).await, json!({"probe.label": "vip", "probe.margin": 7}));
        assert_eq!(told(&integration).await, json!({"probe.label": "vip"}));
    }

    async fn the_audit_log_hides_what_its_reader_may_not_read(rig: Rig) {
        let probe = rig.enable(guests::PROBE).await;
        rig.act(&probe, "label", json!({"label": "vip", "margin": 7})).await.unwrap();
        rig.act(&probe, "label", json!({"label": "vip", "margin": 8})).await.unwrap();
        let told = async |role: Role| {
            let reader = rig.app.acme.token(&[role]).await;
            let lines = reader.all("/api/v1/audit?entity=customer").await.into_iter();
            let updates = lines.filter(|line| line["action"] == "customer.update");
            updates.map(|line| line["changes"]["fields"].clone()).collect::<Vec<_>>()
        };
        let (first, second) = (json!({"probe.label": "vip", "probe.margin": 7}), json!({"probe.label": "vip", "probe.margin": 8}));
        assert_eq!(told(Role::Admin).await, [json!([first, second]), json!([{}, first])]);
        assert_eq!(told(Role::Auditor).await, [Value::Null, json!([{}, {"probe.label": "vip"}])]);
    }

    async fn a_plugin_reads_as_its_user_and_always_its_own_fields(rig: Rig) {
        let probe = rig.enable(guests::PROBE).await;
        rig.act(&probe, "label", json!({"label": "vip", "margin": 7})).await.unwrap();
        let actor = Actor { roles: vec![Role::Integration, Role::Agent], ..rig.actor.clone() };
        let target = Subject::Customer(rig.customer.clone());
        let read = actions::run(&rig.core, &actor, (&probe, "read"), target, json!({})).await.unwrap();
        assert_eq!(read.body["customer"]["fields"]["probe.margin"], 7);
    }

    async fn a_manifest_that_changes_a_fields_record_or_readers_is_followed(rig: Rig) {
        rig.enable(guests::PROBE).await;
        let fields = rig.app.owner.get(FIELDS).await.expect(200).body;
        let declared: Vec<_> = fields["items"].as_array().unwrap().iter().map(|field| {
            (field["entity"].as_str().unwrap(), field["name"].as_str().unwrap(), field["roles"].clone())
        }).collect();
        for expected in [
            ("customer", "label", Value::Null),
            ("customer", "margin", json!(["manager"])),
            ("order", "label", Value::Null),
            ("order", "margin", json!(["manager"])),
        ] {
            assert!(declared.contains(&expected), "{expected:?} in {declared:?}");
        }
        let agent = rig.app.acme.token(&[Role::Agent]).await;
        agent.request(Method::PUT, &format!("{FIELDS}/order/label")).json(json!({})).await.expect(422);
        let own = field("order", "label", "text");
        assert_eq!(agent.post(FIELDS, &own).await.code(), (403, "forbidden"));
        rig.app.owner.post(FIELDS, &own).await.expect(201);
        rig.app.owner.delete(&format!("{FIELDS}/order/label")).await.expect(204);
        let after = rig.app.owner.get(&format!("{FIELDS}?entity=order")).await.expect(200).body;
        assert_eq!(after["items"].as_array().unwrap().len(), 2, "a plugin's field is not the tenant's to drop");
    }
}
