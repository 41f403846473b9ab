//! Paging: every row once and in order, whatever is inserted meanwhile.

use axum::http::Method;
use hospes::domain::permission::Role;
use hospes_tests::both_engines;
use serde_json::{Value, json};

use crate::front_door::Door;
use crate::plugin_rig::Rig;

/// Walks a list, making a customer between every two pages.
async fn walk(door: &Door, list: &str, limit: usize) -> Vec<Value> {
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = door.get(&format!("{list}limit={limit}{cursor}")).await;
        rows.extend(page["items"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next_cursor"].as_str() else { return rows };
        cursor = format!("&cursor={next}");
        door.post("/customers", json!({"kind": "company", "name": "aa meanwhile"}), 201).await;
        door.post("/customers", json!({"kind": "company", "name": "zz meanwhile"}), 201).await;
    }
}

both_engines! {
    async fn paging_shows_each_row_once_and_in_order(rig: Rig) {
        let door = Door::open(&rig, &rig.actor, &[Role::Admin]).await;
        let mut made = vec![rig.customer.to_string()];
        for number in 0..23_usize {
            let new = json!({"kind": "person", "name": format!("{}{}", ["Ül", "ul", "汉", ""][number % 4], number % 5)});
            made.push(door.post("/customers", new, 201).await["id"].as_str().unwrap().to_owned());
        }
        made.sort();
        for sort in ["id", "-id", "name", "-name", "created_at", "-created_at", "updated_at", "-updated_at"] {
            let rows = walk(&door, &format!("/customers?kind=person&sort={sort}&"), 5).await;
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
        let here = Door::open(&rig, &rig.actor, &[Role::Admin]).await;
        let there = Door::open(&rig, &rig.neighbour, &[Role::Admin]).await;
        for name in ["a", "b", "c"] {
            here.post("/customers", json!({"kind": "person", "name": name}), 201).await;
        }
        let page = here.get("/customers?limit=1&sort=name").await;
        let cursor = page["next_cursor"].as_str().unwrap();
        let foreign = there.get(&format!("/customers?sort=name&cursor={cursor}")).await;
        assert_eq!(foreign["items"], json!([]));
        for path in [format!("/customers?cursor={cursor}"), "/customers?cursor=AAAA".to_owned(), format!("/orders?cursor={cursor}")] {
            let problem = here.ask(Method::GET, &path, Value::Null, 422).await;
            assert_eq!(problem["errors"][0]["code"], "bad_cursor", "{problem:#}");
        }
        for limit in ["0", "201"] {
            here.ask(Method::GET, &format!("/customers?limit={limit}"), Value::Null, 422).await;
        }
    }
}
