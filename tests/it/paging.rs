//! Paging: every row once and in order, whatever is inserted meanwhile.

use hospes::domain::permission::Role;
use hospes_tests::{Client, both_engines};
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
            let problem = here.get(&format!("/api/v1/{list}")).await.expect(422).body;
            assert_eq!(problem["errors"][0]["code"], "bad_cursor", "{problem:#}");
        }
        for limit in ["0", "201"] {
            here.get(&format!("/api/v1/customers?limit={limit}")).await.expect(422);
        }
    }
}
