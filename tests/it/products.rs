//! Products through the API: codes and prices, patches and versions, writing twice, and nobody else's records.

use axum::http::Method;
use hospes::domain::money::AMOUNT_MINOR_MAX;
use hospes::domain::permission::Role;
use hospes::domain::product::ProductPatch;
use hospes::error::Error;
use hospes::ops::pending::Pending;
use hospes::ops::products;
use hospes_tests::{Client, TestApp, TestResponse, both_engines};
use serde_json::{Value, json};

const PRODUCTS: &str = "/api/v1/products";

fn cny(amount_minor: i64) -> Value {
    json!({"amount_minor": amount_minor, "currency": "CNY"})
}

fn latte() -> Value {
    json!({"sku": "COF-LAT", "name": "Latte", "class": "coffee", "price": cny(2_800)})
}

fn path(product: &Value) -> String {
    format!("{PRODUCTS}/{}", product["id"].as_str().unwrap())
}

/// Where the faults are, each once.
fn pointers(answer: &TestResponse) -> Vec<String> {
    let mut pointers: Vec<_> =
        answer.faults().iter().map(|fault| fault.split(' ').next().unwrap().to_owned()).collect();
    pointers.sort();
    pointers.dedup();
    pointers
}

async fn skus(client: &Client, query: &str) -> Vec<String> {
    let page = client.get(&format!("{PRODUCTS}?{query}")).await.expect(200).body;
    page["items"].as_array().unwrap().iter().map(|item| item["sku"].as_str().unwrap().to_owned()).collect()
}

both_engines! {
    async fn a_product_is_made_read_changed_and_removed(app: TestApp) {
        let made = app.owner.post(PRODUCTS, latte()).await.expect(201);
        assert_eq!((made.header("etag"), made.header("location")), ("\"1\"", path(&made.body).as_str()));
        assert_eq!(made.body["custom_fields"], json!({}));
        let read = app.owner.get(&path(&made.body)).await.expect(200);
        assert_eq!((read.header("etag"), &read.body), ("\"1\"", &made.body));

        app.clock.advance_seconds(1);
        let patch = json!({"name": "Caffè Latte", "class": null});
        let after = app.owner.patch(&path(&made.body), &patch).await.expect(200).body;
        assert_eq!((&after["name"], &after["version"]), (&json!("Caffè Latte"), &json!(2)));
        assert!(after.get("class").is_none(), "{after}");
        assert_eq!((&after["price"], &after["created_at"]), (&cny(2_800), &made.body["created_at"]));
        assert_ne!(after["updated_at"], made.body["updated_at"]);
        let again = app.owner.patch(&path(&made.body), &patch).await.expect(200).body;
        assert_eq!(again, after, "a patch that changes nothing makes no version");

        app.owner.delete(&path(&made.body)).await.expect(204);
        for method in [Method::GET, Method::DELETE] {
            assert_eq!(app.owner.request(method, &path(&made.body)).await.code(), (404, "not_found"));
        }
        app.owner.patch(&path(&made.body), json!({"name": "x"})).await.expect(404);
        app.owner.post(PRODUCTS, latte()).await.expect(201);
    }

    async fn a_late_change_is_refused_if_it_says_what_it_has_seen(app: TestApp) {
        let made = app.owner.post(PRODUCTS, latte()).await.expect(201).body;
        let change = |method: Method, version: &'static str| {
            let request = app.owner.request(method, &path(&made)).header("if-match", version);
            request.json(json!({"name": "Mocha"}))
        };
        change(Method::PATCH, "\"1\"").await.expect(200);
        for method in [Method::PATCH, Method::DELETE] {
            assert_eq!(change(method.clone(), "\"1\"").await.code(), (412, "version_mismatch"));
            change(method, "one").await.expect(400);
        }
        assert_eq!(app.owner.get(&path(&made)).await.body["version"], 2);
        change(Method::DELETE, "\"2\"").await.expect(204);
    }

    async fn every_fault_is_told_at_once(app: TestApp) {
        let bad = json!({
            "sku": "", "name": "x".repeat(201), "class": "x".repeat(101), "price": cny(-1), "source": "till",
            "custom_fields": {"unheard": 1},
        });
        let refused = app.owner.post(PRODUCTS, bad).await.expect(422);
        for pointer in ["/sku", "/name", "/class"] {
            assert!(pointers(&refused).iter().any(|one| one == pointer), "{pointer} in {refused}");
        }
        let bad = json!({
            "sku": " ", "name": "x", "price": cny(-1), "source": "till", "custom_fields": {"unheard": 1},
        });
        let refused = app.owner.post(PRODUCTS, bad).await.expect(422);
        let expected = ["/custom_fields/unheard", "/external_id", "/price/amount_minor", "/sku"];
        assert_eq!(pointers(&refused), expected, "{refused}");
        let mut unknown = latte();
        unknown["colour"] = json!("brown");
        unknown["price"]["vat"] = json!(13);
        assert_eq!(pointers(&app.owner.post(PRODUCTS, unknown).await.expect(422)), ["/colour", "/price/vat"]);
        assert!(app.owner.all(PRODUCTS).await.is_empty());
    }

    async fn texts_and_prices_are_good_up_to_their_limits(app: TestApp) {
        for (sku, name, price) in [("a", "Nothing", 0), ("b", "Dear", AMOUNT_MINOR_MAX)] {
            let new = json!({"sku": sku, "name": name, "price": cny(price)});
            assert_eq!(app.owner.post(PRODUCTS, new).await.expect(201).body["price"], cny(price));
        }
        let longest = json!({"sku": "商".repeat(100), "name": "品".repeat(200), "class": "c".repeat(100)});
        let made = app.owner.post(PRODUCTS, longest).await.expect(201).body;
        for bad in [
            json!({"sku": "商".repeat(101)}),
            json!({"name": "品".repeat(201)}),
            json!({"name": null}),
            json!({"sku": null}),
            json!({"price": cny(AMOUNT_MINOR_MAX + 1)}),
            json!({"price": {"amount_minor": 1, "currency": "yuan"}}),
            json!({"price": {"amount_minor": 1.5, "currency": "CNY"}}),
        ] {
            app.owner.patch(&path(&made), &bad).await.expect(422);
        }
        app.owner.patch(&path(&made), json!({"name": "A\u{0}"})).await.expect(400);
        assert_eq!(app.owner.get(&path(&made)).await.body, made);
    }

    async fn a_code_and_an_external_id_belong_to_one_product(app: TestApp) {
        let mut one = latte();
        one["source"] = json!("till");
        one["external_id"] = json!("7");
        let made = app.owner.post(PRODUCTS, &one).await.expect(201).body;
        assert_eq!(app.owner.post(PRODUCTS, latte()).await.code(), (409, "sku_taken"));
        one["sku"] = json!("COF-MOC");
        assert_eq!(app.owner.post(PRODUCTS, &one).await.code(), (409, "external_id_taken"));
        one["external_id"] = json!("8");
        let other = app.owner.post(PRODUCTS, &one).await.expect(201).body;
        let stolen = app.owner.patch(&path(&other), json!({"sku": made["sku"]})).await;
        assert_eq!(stolen.code(), (409, "sku_taken"));
        let stranger = app.tenant("other").await;
        stranger.owner.post(PRODUCTS, latte()).await.expect(201);
    }

    async fn a_source_that_says_the_same_again_changes_nothing(app: TestApp) {
        let address = "/api/v1/sources/till/products/7";
        let made = app.owner.put(address, latte()).await.expect(201);
        assert_eq!(made.header("location"), path(&made.body));
        assert_eq!((&made.body["source"], &made.body["external_id"]), (&json!("till"), &json!("7")));
        assert_eq!(app.owner.put(address, latte()).await.expect(200).body, made.body);
        let short = json!({"sku": "COF-LAT", "name": "Grande Latte"});
        let after = app.owner.put(address, short).await.expect(200).body;
        assert_eq!((&after["version"], &after["price"]), (&json!(2), &cny(2_800)), "what is not named stays");
        let mut elsewhere = latte();
        elsewhere["external_id"] = json!("8");
        assert_eq!(pointers(&app.owner.put(address, elsewhere).await.expect(422)), ["/external_id"]);
        let long = format!("/api/v1/sources/till/products/{}", "8".repeat(201));
        app.owner.put(&long, latte()).await.expect(422);
    }

    async fn a_request_with_a_key_takes_effect_once(app: TestApp) {
        let send = |body: Value| app.owner.request(Method::POST, PRODUCTS).header("idempotency-key", "k").json(body);
        let made = send(latte()).await.expect(201);
        let again = send(latte()).await.expect(201);
        assert_eq!((again.header("idempotency-replayed"), &again.body), ("true", &made.body));
        let mut other = latte();
        other["sku"] = json!("COF-MOC");
        assert_eq!(send(other).await.status.as_u16(), 409);
        assert_eq!(app.owner.all(PRODUCTS).await.len(), 1);
    }

    async fn filters_and_orders_find_what_they_name(app: TestApp) {
        for (sku, name, class) in
            [("3", "espresso", "coffee"), ("1", "Sencha", "tea"), ("2", "ESPRESSO  Macchiato", "coffee")]
        {
            app.clock.advance_seconds(1);
            app.owner.post(PRODUCTS, json!({"sku": sku, "name": name, "class": class})).await.expect(201);
        }
        let espresso = app.owner.get(&format!("{PRODUCTS}?sku=3")).await.body["items"][0].clone();
        app.clock.advance_seconds(1);
        app.owner.patch(&path(&espresso), json!({"price": cny(1_800)})).await.expect(200);
        assert_eq!(skus(&app.owner, "sku=1").await, ["1"]);
        assert_eq!(skus(&app.owner, "class=coffee").await, ["3", "2"]);
        assert_eq!(skus(&app.owner, "name_prefix=Espresso%20m").await, ["2"]);
        assert_eq!(skus(&app.owner, "class=tea&name_prefix=e").await, Vec::<String>::new());
        for (sort, expected) in [
            ("id", ["3", "1", "2"]),
            ("-id", ["2", "1", "3"]),
            ("sku", ["1", "2", "3"]),
            ("-sku", ["3", "2", "1"]),
            ("name", ["3", "2", "1"]),
            ("-name", ["1", "2", "3"]),
            ("updated_at", ["1", "2", "3"]),
            ("-updated_at", ["3", "2", "1"]),
        ] {
            assert_eq!(skus(&app.owner, &format!("sort={sort}")).await, expected, "{sort}");
        }
        for bad in ["sort=price", "colour=brown", "limit=0", "limit=201", "cursor=%25", "class=a&class=b"] {
            app.owner.get(&format!("{PRODUCTS}?{bad}")).await.expect(400);
        }
    }

    async fn an_order_keeps_what_it_says_of_a_product(app: TestApp) {
        let product = app.owner.post(PRODUCTS, latte()).await.expect(201).body;
        let customer = app.acme.customer("Lin").await;
        let order = json!({
            "customer_id": customer.id, "channel": "store", "ordered_at": "2026-02-01T00:00:00Z",
            "lines": [{"sku": "COF-LAT", "quantity": 2, "amount": cny(5_600)}],
        });
        let order = app.owner.post("/api/v1/orders", order).await.expect(201).body;
        assert_eq!((&order["lines"][0]["name"], &order["lines"][0]["class"]), (&json!("Latte"), &json!("coffee")));
        app.owner.patch(&path(&product), json!({"name": "Mocha", "class": null})).await.expect(200);
        app.owner.delete(&path(&product)).await.expect(204);
        let address = format!("/api/v1/orders/{}", order["id"].as_str().unwrap());
        assert_eq!(app.owner.get(&address).await.expect(200).body, order);
    }

    async fn a_change_builds_on_what_is_prepared_and_not_yet_written(app: TestApp) {
        let operator = app.acme.operator();
        let new = serde_json::from_value(latte()).unwrap();
        let made = products::prepare_create(&app.core, &operator, new).await.unwrap();
        let id = made.id().clone();
        let mut pending = Pending::default();
        pending.note_product(&made);
        let patch = || ProductPatch { name: Some("Mocha".to_owned()), ..ProductPatch::default() };
        let at_one = (&id, Some(1));
        let renamed = products::prepare_update(&app.core, &operator, at_one, patch(), &pending).await.unwrap();
        assert_eq!((made.expected_version(), renamed.expected_version()), (None, Some(1)));
        assert_eq!((&renamed.record()["name"], &renamed.record()["version"]), (&json!("Mocha"), &json!(2)));
        let mut gone = pending.clone();
        gone.note_product(&products::prepare_delete(&app.core, &operator, at_one, &pending).await.unwrap());
        let missing = products::prepare_update(&app.core, &operator, (&id, None), patch(), &gone).await;
        assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");

        let written = app.core.db.write(&operator.tenant, [made, renamed], |tx, changes| {
            Box::pin(async move { products::apply_many(tx, &changes.iter().collect::<Vec<_>>()).await })
        });
        written.await.unwrap();
        let read = app.owner.get(&format!("{PRODUCTS}/{id}")).await.expect(200);
        assert_eq!((read.header("etag"), &read.body["name"]), ("\"2\"", &json!("Mocha")));
    }

    async fn another_tenants_product_looks_like_a_missing_one(app: TestApp) {
        let made = app.owner.put("/api/v1/sources/till/products/7", latte()).await.expect(201).body;
        let stranger = app.tenant("other").await.owner;
        let missing = format!("{PRODUCTS}/prd_{}", "0".repeat(26));
        for method in [Method::GET, Method::PATCH, Method::DELETE] {
            let ask = |path: &str| stranger.request(method.clone(), path).json(json!({"name": "Mine"}));
            assert_eq!(ask(&path(&made)).await.code(), ask(&missing).await.code());
        }
        assert!(stranger.all(PRODUCTS).await.is_empty());
        assert!(skus(&stranger, "sku=COF-LAT").await.is_empty());
        let theirs = stranger.put("/api/v1/sources/till/products/7", latte()).await.expect(201).body;
        assert_ne!(theirs["id"], made["id"]);
        assert_eq!(app.owner.get(&path(&made)).await.expect(200).body, made);
    }

    async fn everybody_reads_products_and_few_write_them(app: TestApp) {
        let made = app.owner.post(PRODUCTS, latte()).await.expect(201).body;
        let agent = app.acme.token(&[Role::Agent]).await;
        agent.get(&path(&made)).await.expect(200);
        assert_eq!(skus(&agent, "").await, ["COF-LAT"]);
        assert_eq!(agent.post(PRODUCTS, latte()).await.code(), (403, "forbidden"));
        assert_eq!(agent.patch(&path(&made), json!({"name": "x"})).await.code(), (403, "forbidden"));
        assert_eq!(agent.delete(&path(&made)).await.code(), (403, "forbidden"));
        let feeds = app.acme.token(&[Role::Integration]).await;
        feeds.patch(&path(&made), json!({"name": "x"})).await.expect(200);
    }
}
