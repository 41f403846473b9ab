//! Customers through the API: patches, identities, filters, and nobody else's records.

use axum::http::Method;
use hospes::domain::permission::Role;
use hospes_tests::{Client, both_engines};
use serde_json::{Value, json};

use crate::plugin_rig::Rig;

fn pointers(problem: &Value) -> Vec<String> {
    problem["errors"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|fault| fault["pointer"].as_str().unwrap().to_owned())
        .collect()
}

async fn names(client: &Client, query: &str) -> Vec<String> {
    let page = client.get(&format!("/api/v1/customers?{query}")).await.expect(200).body;
    page["items"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap().to_owned()).collect()
}

both_engines! {
    async fn a_merge_patch_keeps_clears_and_replaces(rig: Rig) {
        let client = rig.app.acme.token(&[Role::Admin]).await;
        let new = json!({
            "kind": "person", "name": "  Grace Hopper ", "tags": ["vip", "navy", "vip"],
            "contact_points": [{"kind": "email", "value": "Grace@Example.com"}],
            "preferences": {"size": "m", "colours": {"a": 1, "b": 2}},
        });
        let made = client.post("/api/v1/customers", new).await.expect(201).body;
        assert_eq!(made["name"], "Grace Hopper");
        assert_eq!(made["tags"], json!(["navy", "vip"]));
        assert_eq!(made["contact_points"][0]["primary"], true);
        assert_eq!(made["lifecycle_stage"], "potential");
        let path = format!("/api/v1/customers/{}", made["id"].as_str().unwrap());
        let patch = json!({"tags": null, "preferences": {"colours": {"b": null}, "x": 1}});
        let after = client.patch(&path, patch.clone()).await.expect(200).body;
        assert_eq!(after["preferences"], json!({"size": "m", "colours": {"a": 1}, "x": 1}));
        assert_eq!((&after["tags"], &after["version"]), (&json!([]), &json!(2)));
        let again = client.patch(&path, patch).await.expect(200).body;
        assert_eq!(again["version"], 2, "a patch that changes nothing makes no version");
        let stale = client.request(Method::PATCH, &path).header("if-match", "\"1\"");
        stale.json(json!({"name": "x"})).await.expect(412);
        assert_eq!(client.get(&path).await.expect(200).body, again);
    }

    async fn every_fault_is_told_at_once(rig: Rig) {
        let client = rig.app.acme.token(&[Role::Admin]).await;
        let bad = json!({
            "kind": "person", "name": "Ada", "lifecycle_stage": "nirvana", "tags": [" "],
            "contact_points": [{"kind": "email", "value": "nowhere", "primary": true},
                {"kind": "email", "value": "a@b.c", "primary": true}],
            "custom_fields": {"unheard": 1},
        });
        let problem = client.post("/api/v1/customers", bad).await.expect(422).body;
        let pointers = pointers(&problem);
        for pointer in ["/lifecycle_stage", "/tags/0", "/contact_points/0/value", "/contact_points/1/primary",
            "/custom_fields/unheard"] {
            assert!(pointers.iter().any(|one| one == pointer), "{pointer} in {problem:#}");
        }
        client.post("/api/v1/customers", json!({"kind": "person", "name": "x".repeat(201)})).await.expect(422);
        client.post("/api/v1/customers", json!({"kind": "person", "name": "Ada", "shoe": 1})).await.expect(422);
        client.post("/api/v1/customers", json!({"kind": "person", "name": "A\u{0}"})).await.expect(400);
    }

    async fn a_source_that_says_the_same_again_changes_nothing(rig: Rig) {
        let client = rig.app.acme.token(&[Role::Integration]).await;
        let path = "/api/v1/sources/pos/customers/00004";
        client.put(path, json!({"tags": ["a"]})).await.expect(422);
        let body = json!({"kind": "person", "name": "Lin", "tags": ["a"]});
        let made = client.put(path, body.clone()).await.expect(201).body;
        let again = client.put(path, body).await.expect(200).body;
        assert_eq!(made, again);
        assert_eq!(made["identities"], json!([{"source": "pos", "external_id": "00004"}]));
        let other = json!({"kind": "person", "name": "Thief", "identities": made["identities"]});
        assert_eq!(client.post("/api/v1/customers", other).await.expect(409).body["code"], "identity_taken");
        let after = client.put(path, json!({"name": "Lin Wei"})).await.expect(200).body;
        assert_eq!((&after["version"], &after["tags"]), (&json!(2), &json!(["a"])));
    }

    async fn a_deleted_customer_is_missing_and_its_identities_are_free(rig: Rig) {
        let client = rig.app.acme.token(&[Role::Admin]).await;
        let body = json!({"kind": "person", "name": "Lin", "tags": ["gone"]});
        let path = "/api/v1/sources/pos/customers/1";
        let made = client.put(path, body.clone()).await.expect(201).body;
        let own = format!("/api/v1/customers/{}", made["id"].as_str().unwrap());
        client.delete(&own).await.expect(204);
        for method in [Method::GET, Method::DELETE] {
            client.request(method, &own).await.expect(404);
        }
        assert!(names(&client, "tag=gone").await.is_empty());
        let anew = client.put(path, body).await.expect(201).body;
        assert_ne!(anew["id"], made["id"]);
    }

    async fn filters_find_what_they_name(rig: Rig) {
        let client = rig.app.acme.token(&[Role::Admin]).await;
        for (name, kind) in [("points", "integer"), ("city", "text"), ("score", "number")] {
            let label = json!({"en": name, "zh-CN": "字段"});
            let field = json!({"entity": "customer", "name": name, "type": kind, "label": label});
            client.post("/api/v1/fields", field).await.expect(201);
        }
        for (name, phone, points, city) in
            [("ANNA Berg", "+86 10-1234", 5, "Xi'an"), ("anna Zhou", "555", 9, "Wuhan"), ("Bert", "5 5 6", 7, "Wuhan")]
        {
            let new = json!({
                "kind": "person", "name": name, "tags": [name.split(' ').next()],
                "contact_points": [{"kind": "phone", "value": phone}],
                "custom_fields": {"points": points, "city": city, "score": f64::from(points) + 0.5},
            });
            client.post("/api/v1/customers", new).await.expect(201);
        }
        assert_eq!(names(&client, "name_prefix=anna&sort=name").await, ["ANNA Berg", "anna Zhou"]);
        assert_eq!(names(&client, "contact=%2B86101234").await, ["ANNA Berg"]);
        assert_eq!(names(&client, "tag=Bert").await, ["Bert"]);
        assert_eq!(names(&client, "fields[points][gte]=7&sort=-name").await, ["Bert", "anna Zhou"]);
        assert_eq!(names(&client, "fields[city]=Wuhan&fields[points][lt]=9").await, ["Bert"]);
        assert_eq!(names(&client, "fields[score]=7.5").await, ["Bert"]);
        let different = names(&client, "fields[city][ne]=Wuhan&sort=name").await;
        assert_eq!(different, ["Ada", "ANNA Berg"], "one without a value has another one");
        client.get("/api/v1/customers?fields[shoe]=1").await.expect(400);
        client.get("/api/v1/customers?fields[points]=many").await.expect(400);
    }

    async fn another_tenants_records_look_like_missing_ones(rig: Rig) {
        let here = rig.app.acme.token(&[Role::Admin]).await;
        let there = rig.there.token(&[Role::Admin]).await;
        let own = format!("/api/v1/customers/{}", rig.customer);
        for path in [own.clone(), format!("{own}/overview"), format!("{own}/timeline")] {
            here.get(&path).await.expect(200);
            there.get(&path).await.expect(404);
        }
        there.patch(&own, json!({"name": "Mine"})).await.expect(404);
        there.delete(&own).await.expect(404);
        let interaction = json!({"channel": "phone", "direction": "inbound", "summary": "Hello"});
        there.post(&format!("{own}/interactions"), interaction).await.expect(404);
        let order = json!({
            "customer_id": rig.customer, "channel": "web", "ordered_at": "2026-02-01T00:00:00Z",
            "total": {"amount_minor": 1, "currency": "CNY"},
        });
        there.post("/api/v1/orders", order.clone()).await.expect(422);
        here.post("/api/v1/orders", order).await.expect(201);
        assert_eq!(there.get("/api/v1/orders").await.expect(200).body["items"], json!([]));
        assert!(names(&there, "limit=10").await.is_empty());
    }

    async fn sales_see_and_make_only_their_own_customers(rig: Rig) {
        let client = rig.app.acme.token(&[Role::Sales]).await;
        assert!(names(&client, "limit=10").await.is_empty());
        client.get(&format!("/api/v1/customers/{}", rig.customer)).await.expect(404);
        client.delete(&format!("/api/v1/customers/{}", rig.customer)).await.expect(403);
        // A token is nobody, and owns nothing: what it made, it would not see.
        client.post("/api/v1/customers", json!({"kind": "person", "name": "Eve"})).await.expect(403);
    }
}
