//! Customers through the API: patches, identities, filters, and nobody else's records.

use axum::http::Method;
use hospes::domain::permission::Role;
use hospes_tests::both_engines;
use serde_json::{Value, json};

use crate::front_door::Door;
use crate::plugin_rig::Rig;

fn pointers(problem: &Value) -> Vec<String> {
    problem["errors"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|fault| fault["pointer"].as_str().unwrap().to_owned())
        .collect()
}

async fn names(door: &Door, query: &str) -> Vec<String> {
    let page = door.get(&format!("/customers?{query}")).await;
    page["items"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap().to_owned()).collect()
}

both_engines! {
    async fn a_merge_patch_keeps_clears_and_replaces(rig: Rig) {
        let door = Door::open(&rig, &rig.actor, &[Role::Admin]).await;
        let new = json!({
            "kind": "person", "name": "  Grace Hopper ", "tags": ["vip", "navy", "vip"],
            "contact_points": [{"kind": "email", "value": "Grace@Example.com"}],
            "preferences": {"size": "m", "colours": {"a": 1, "b": 2}},
        });
        let made = door.post("/customers", new, 201).await;
        assert_eq!(made["name"], "Grace Hopper");
        assert_eq!(made["tags"], json!(["navy", "vip"]));
        assert_eq!(made["contact_points"][0]["primary"], true);
        assert_eq!(made["lifecycle_stage"], "potential");
        let path = format!("/customers/{}", made["id"].as_str().unwrap());
        let patch = json!({"tags": null, "preferences": {"colours": {"b": null}, "x": 1}});
        let after = door.ask(Method::PATCH, &path, patch.clone(), 200).await;
        assert_eq!(after["preferences"], json!({"size": "m", "colours": {"a": 1}, "x": 1}));
        assert_eq!((&after["tags"], &after["version"]), (&json!([]), &json!(2)));
        let again = door.ask(Method::PATCH, &path, patch, 200).await;
        assert_eq!(again["version"], 2, "a patch that changes nothing makes no version");
        let stale = [("if-match", "\"1\"")];
        let (status, _) = door.send_with(Method::PATCH, &path, Some(json!({"name": "x"})), &stale).await;
        assert_eq!(status.as_u16(), 412);
        assert_eq!(door.get(&path).await, again);
    }

    async fn every_fault_is_told_at_once(rig: Rig) {
        let door = Door::open(&rig, &rig.actor, &[Role::Admin]).await;
        let bad = json!({
            "kind": "person", "name": "Ada", "lifecycle_stage": "nirvana", "tags": [" "],
            "contact_points": [{"kind": "email", "value": "nowhere", "primary": true},
                {"kind": "email", "value": "a@b.c", "primary": true}],
            "custom_fields": {"unheard": 1},
        });
        let problem = door.post("/customers", bad, 422).await;
        let pointers = pointers(&problem);
        for pointer in ["/lifecycle_stage", "/tags/0", "/contact_points/0/value", "/contact_points/1/primary",
            "/custom_fields/unheard"] {
            assert!(pointers.iter().any(|one| one == pointer), "{pointer} in {problem:#}");
        }
        door.post("/customers", json!({"kind": "person", "name": "x".repeat(201)}), 422).await;
        door.post("/customers", json!({"kind": "person", "name": "Ada", "shoe": 1}), 422).await;
        door.post("/customers", json!({"kind": "person", "name": "A\u{0}"}), 400).await;
    }

    async fn a_source_that_says_the_same_again_changes_nothing(rig: Rig) {
        let door = Door::open(&rig, &rig.actor, &[Role::Integration]).await;
        let path = "/sources/pos/customers/00004";
        door.ask(Method::PUT, path, json!({"tags": ["a"]}), 422).await;
        let body = json!({"kind": "person", "name": "Lin", "tags": ["a"]});
        let made = door.ask(Method::PUT, path, body.clone(), 201).await;
        let again = door.ask(Method::PUT, path, body, 200).await;
        assert_eq!(made, again);
        assert_eq!(made["identities"], json!([{"source": "pos", "external_id": "00004"}]));
        let other = json!({"kind": "person", "name": "Thief", "identities": made["identities"]});
        assert_eq!(door.post("/customers", other, 409).await["code"], "identity_taken");
        let after = door.ask(Method::PUT, path, json!({"name": "Lin Wei"}), 200).await;
        assert_eq!((&after["version"], &after["tags"]), (&json!(2), &json!(["a"])));
    }

    async fn a_deleted_customer_is_missing_and_its_identities_are_free(rig: Rig) {
        let door = Door::open(&rig, &rig.actor, &[Role::Admin]).await;
        let body = json!({"kind": "person", "name": "Lin", "tags": ["gone"]});
        let path = "/sources/pos/customers/1";
        let made = door.ask(Method::PUT, path, body.clone(), 201).await;
        let own = format!("/customers/{}", made["id"].as_str().unwrap());
        door.ask(Method::DELETE, &own, Value::Null, 204).await;
        for method in [Method::GET, Method::DELETE] {
            door.ask(method, &own, Value::Null, 404).await;
        }
        assert!(names(&door, "tag=gone").await.is_empty());
        let anew = door.ask(Method::PUT, path, body, 201).await;
        assert_ne!(anew["id"], made["id"]);
    }

    async fn filters_find_what_they_name(rig: Rig) {
        let door = Door::open(&rig, &rig.actor, &[Role::Admin]).await;
        for (name, kind) in [("points", "integer"), ("city", "text"), ("score", "number")] {
            let label = json!({"en": name, "zh-CN": "字段"});
            let field = json!({"entity": "customer", "name": name, "type": kind, "label": label});
            door.post("/fields", field, 201).await;
        }
        for (name, phone, points, city) in
            [("ANNA Berg", "+86 10-1234", 5, "Xi'an"), ("anna Zhou", "555", 9, "Wuhan"), ("Bert", "5 5 6", 7, "Wuhan")]
        {
            let new = json!({
                "kind": "person", "name": name, "tags": [name.split(' ').next()],
                "contact_points": [{"kind": "phone", "value": phone}],
                "custom_fields": {"points": points, "city": city, "score": f64::from(points) + 0.5},
            });
            door.post("/customers", new, 201).await;
        }
        assert_eq!(names(&door, "name_prefix=anna&sort=name").await, ["ANNA Berg", "anna Zhou"]);
        assert_eq!(names(&door, "contact=%2B86101234").await, ["ANNA Berg"]);
        assert_eq!(names(&door, "tag=Bert").await, ["Bert"]);
        assert_eq!(names(&door, "fields[points][gte]=7&sort=-name").await, ["Bert", "anna Zhou"]);
        assert_eq!(names(&door, "fields[city]=Wuhan&fields[points][lt]=9").await, ["Bert"]);
        assert_eq!(names(&door, "fields[score]=7.5").await, ["Bert"]);
        let different = names(&door, "fields[city][ne]=Wuhan&sort=name").await;
        assert_eq!(different, ["Ada", "ANNA Berg"], "one without a value has another one");
        door.ask(Method::GET, "/customers?fields[shoe]=1", Value::Null, 422).await;
        door.ask(Method::GET, "/customers?fields[points]=many", Value::Null, 422).await;
    }

    async fn another_tenants_records_look_like_missing_ones(rig: Rig) {
        let here = Door::open(&rig, &rig.actor, &[Role::Admin]).await;
        let there = Door::open(&rig, &rig.neighbour, &[Role::Admin]).await;
        let own = format!("/customers/{}", rig.customer);
        for path in [own.clone(), format!("{own}/overview"), format!("{own}/timeline")] {
            here.get(&path).await;
            there.ask(Method::GET, &path, Value::Null, 404).await;
        }
        there.ask(Method::PATCH, &own, json!({"name": "Mine"}), 404).await;
        there.ask(Method::DELETE, &own, Value::Null, 404).await;
        let interaction = json!({"channel": "phone", "direction": "inbound", "summary": "Hello"});
        there.post(&format!("{own}/interactions"), interaction, 404).await;
        let order = json!({
            "customer_id": rig.customer, "channel": "web", "ordered_at": "2026-02-01T00:00:00Z",
            "total": {"amount_minor": 1, "currency": "CNY"},
        });
        there.post("/orders", order.clone(), 422).await;
        here.post("/orders", order, 201).await;
        assert_eq!(there.get("/orders").await["items"], json!([]));
        assert!(names(&there, "limit=10").await.is_empty());
    }

    async fn sales_see_and_make_only_their_own_customers(rig: Rig) {
        let door = Door::open(&rig, &rig.actor, &[Role::Sales]).await;
        assert!(names(&door, "limit=10").await.is_empty());
        door.ask(Method::GET, &format!("/customers/{}", rig.customer), Value::Null, 404).await;
        door.ask(Method::DELETE, &format!("/customers/{}", rig.customer), Value::Null, 403).await;
        // A token is nobody, and owns nothing: what it made, it would not see.
        door.post("/customers", json!({"kind": "person", "name": "Eve"}), 403).await;
    }
}
