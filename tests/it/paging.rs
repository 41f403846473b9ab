//! Paging: every row once and in order, whatever is inserted meanwhile.

use std::collections::BTreeSet;

use hospes::domain::customer::search_key;
use hospes::domain::permission::Role;
use hospes_tests::{Client, TestApp, both_engines};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::plugin_rig::Rig;

/// Walks a list, making a customer between every two pages.
async fn walk(client: &Client, list: &str, limit: usize) -> Vec<Value> {
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("{list}limit={limit}{cursor}")).await.expect(200).body;
        rows.extend(page["items"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next_cursor"].as_str() else { return rows };
        cursor = format!("&cursor={next}");
        client
            .post("/api/v1/customers", json!({"kind": "company", "name": "aa meanwhile"}))
            .await
            .expect(201);
        client
            .post("/api/v1/customers", json!({"kind": "company", "name": "zz meanwhile"}))
            .await
            .expect(201);
    }
}

/// How many piles of records are walked.
const PILES: u32 = 12;

/// Names, codes and times of records, of which several are equal, and how many rows a page has.
#[derive(Clone, Debug)]
struct Pile {
    names: Vec<String>,
    seconds: Vec<i64>,
    limit: usize,
}

fn pile() -> impl Strategy<Value = Pile> {
    let name = prop_oneof!["[ab]{1,2}", "[ÄäẞßＡ汉 ]{1,3}x", "[A-Za-z0-9_%~-]{1,4}", "\\PC{1,6}"];
    let record = (name, 0_i64..4);
    (proptest::collection::vec(record, 0..14), 1_usize..6).prop_map(|(records, limit)| {
        let records = records.into_iter().filter(|(name, _)| !name.trim().is_empty());
        let (names, seconds) = records.unzip();
        Pile { names, seconds, limit }
    })
}

/// Walks a list page by page.
async fn pages(client: &Client, list: &str, limit: usize) -> Vec<Value> {
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("{list}&limit={limit}{cursor}")).await.expect(200).body;
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= limit, "{list}: {page}");
        rows.extend(items.iter().cloned());
        let Some(next) = page["next_cursor"].as_str() else { return rows };
        assert_eq!(items.len(), limit, "a page with another behind it is full: {list}");
        cursor = format!("&cursor={next}");
    }
}

/// Makes the records of a pile and walks every list in every order.
async fn check(app: &TestApp, owner: &Client, Pile { names, seconds, limit }: &Pile) {
    for (index, (name, second)) in names.iter().zip(seconds).enumerate() {
        app.clock.advance_seconds(*second);
        let product = json!({"sku": format!("{index}{name}"), "name": name});
        owner.post("/api/v1/products", product).await.expect(201);
        let order = json!({
            "customer": {"source": "x", "external_id": "1", "create": {"kind": "person"}}, "channel": "web",
            "ordered_at": format!("2026-02-01T00:00:0{second}Z"), "total": {"amount_minor": 0, "currency": "CNY"},
        });
        let customer = owner.post("/api/v1/orders", order).await.expect(201).body["customer_id"].clone();
        let new = json!({"kind": "company", "name": name});
        owner.post("/api/v1/customers", new).await.expect(201);
        let path = format!("/api/v1/customers/{}/behaviours", customer.as_str().unwrap());
        let visit = json!({"type": "visit", "occurred_at": format!("2026-02-01T00:00:0{second}Z")});
        owner.post(&path, visit).await.expect(201);
    }
    let text = |name: &'static str| move |row: &Value| json!(search_key(row[name].as_str().unwrap()));
    let plain = |name: &'static str| move |row: &Value| row[name].clone();
    let customers = "/api/v1/customers?kind=company";
    check_order(owner, (customers, "name", *limit), names.len(), text("name")).await;
    check_order(owner, ("/api/v1/products?", "name", *limit), names.len(), text("name")).await;
    check_order(owner, ("/api/v1/products?", "sku", *limit), names.len(), plain("sku")).await;
    check_order(owner, ("/api/v1/orders?", "ordered_at", *limit), names.len(), plain("ordered_at")).await;
    for list in [customers, "/api/v1/products?", "/api/v1/orders?"] {
        for sort in ["id", "updated_at"] {
            check_order(owner, (list, sort, *limit), names.len(), plain(sort)).await;
        }
    }
    if !names.is_empty() {
        let buyer =
            owner.get("/api/v1/customers?source=x&external_id=1").await.body["items"][0]["id"].clone();
        let timeline = format!("/api/v1/customers/{}/timeline?", buyer.as_str().unwrap());
        let rows = pages(owner, &timeline, *limit).await;
        assert_each_once(&rows, names.len());
        let keys: Vec<_> =
            rows.iter().map(|row| (row["occurred_at"].to_string(), row["id"].to_string())).collect();
        assert!(keys.is_sorted_by(|a, b| a > b), "{keys:?}");
    }
}

/// Walks a list forwards and backwards: each row once, in the order of its key and, for ties, its id.
async fn check_order(
    owner: &Client,
    (list, sort, limit): (&str, &str, usize),
    count: usize,
    key: impl Fn(&Value) -> Value,
) {
    let keys = |rows: &[Value]| -> Vec<(String, String)> {
        let text = |value: Value| value.as_str().unwrap().to_owned();
        rows.iter().map(|row| (text(key(row)), text(row["id"].clone()))).collect()
    };
    let up = pages(owner, &format!("{list}&sort={sort}"), limit).await;
    assert_each_once(&up, count);
    assert!(keys(&up).is_sorted_by(|a, b| a < b), "{list} {sort}: {:?}", keys(&up));
    let mut down = pages(owner, &format!("{list}&sort=-{sort}"), limit).await;
    down.reverse();
    assert_eq!(keys(&down), keys(&up), "{list} -{sort}");
}

fn assert_each_once(rows: &[Value], count: usize) {
    let ids: BTreeSet<_> = rows.iter().map(|row| row["id"].to_string()).collect();
    assert_eq!((rows.len(), ids.len()), (count, count), "{rows:?}");
}

both_engines! {
    async fn paging_shows_each_row_once_and_in_order(rig: Rig) {
        let client = rig.app.acme.token(&[Role::Admin]).await;
        let mut made = vec![rig.customer.to_string()];
        for number in 0..23_usize {
            let new = json!({"kind": "person", "name": format!("{}{}", ["Ül", "ul", "汉", ""][number % 4], number % 5)});
            made.push(client.post("/api/v1/customers", new).await.expect(201).body["id"].as_str().unwrap().to_owned());
        }
        made.sort();
        for sort in ["id", "-id", "name", "-name", "created_at", "-created_at", "updated_at", "-updated_at"] {
            let rows = walk(&client, &format!("/api/v1/customers?kind=person&sort={sort}&"), 5).await;
            let mut ids: Vec<_> = rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
            if sort == "name" {
                let keys: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap().to_lowercase()).collect();
                assert!(keys.is_sorted(), "{keys:?}");
            }
            ids.sort();
            assert_eq!(ids, made, "{sort}");
        }
    }

    async fn any_records_and_any_page_are_shown_once_and_in_order(app: TestApp) {
        // The same piles every time, so that one that fails does so again.
        let mut runner = TestRunner::deterministic();
        for case in 0..PILES {
            let pile = pile().new_tree(&mut runner).unwrap().current();
            let owner = app.tenant(&format!("pile-{case}")).await.owner;
            check(&app, &owner, &pile).await;
        }
    }

    async fn a_cursor_is_good_only_for_its_own_list_and_tenant(rig: Rig) {
        let here = rig.app.acme.token(&[Role::Admin]).await;
        let there = rig.there.token(&[Role::Admin]).await;
        for name in ["a", "b", "c"] {
            here.post("/api/v1/customers", json!({"kind": "person", "name": name})).await.expect(201);
        }
        let page = here.get("/api/v1/customers?limit=1&sort=name").await.expect(200).body;
        let cursor = page["next_cursor"].as_str().unwrap();
        let foreign = there.get(&format!("/api/v1/customers?sort=name&cursor={cursor}")).await.expect(200).body;
        assert_eq!(foreign["items"], json!([]));
        for list in [format!("customers?cursor={cursor}"), "customers?cursor=AAAA".to_owned(), format!("orders?cursor={cursor}")] {
            let problem = here.get(&format!("/api/v1/{list}")).await.expect(400).body;
            assert_eq!(problem["errors"][0]["code"], "bad_cursor", "{problem:#}");
        }
        for limit in ["0", "201"] {
            here.get(&format!("/api/v1/customers?limit={limit}")).await.expect(400);
        }
    }
}
