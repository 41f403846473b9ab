//! Orders, refunds and the overview through the API: money, status, and writing twice.

use hospes::domain::permission::Role;
use hospes_tests::both_engines;
use serde_json::{Value, json};

use crate::plugin_rig::Rig;

fn cny(amount_minor: i64) -> Value {
    json!({"amount_minor": amount_minor, "currency": "CNY"})
}

fn order(rig: &Rig, total: i64) -> Value {
    json!({"customer_id": rig.customer, "channel": "web", "ordered_at": "2026-02-01T00:00:00Z", "total": cny(total)})
}

both_engines! {
    async fn money_is_legal_where_it_makes_sense(rig: Rig) {
        let client = rig.app.acme.token(&[Role::Admin]).await;
        client.post("/api/v1/orders", order(&rig, 0)).await.expect(201);
        client.post("/api/v1/orders", order(&rig, -1)).await.expect(422);
        client.post("/api/v1/orders", order(&rig, 90_000_000_001)).await.expect(422);
        let mut lines = order(&rig, 900);
        lines["lines"] = json!([
            {"sku": "a", "amount": cny(1_000), "quantity": 2},
            {"sku": "discount", "amount": cny(-100)},
        ]);
        client.post("/api/v1/orders", lines.clone()).await.expect(201);
        lines["total"] = cny(901);
        client.post("/api/v1/orders", lines.clone()).await.expect(422);
        lines["total"] = Value::Null;
        lines.as_object_mut().unwrap().remove("total");
        assert_eq!(client.post("/api/v1/orders", lines.clone()).await.expect(201).body["total"], cny(900));
        lines["lines"][1]["amount"]["currency"] = json!("USD");
        client.post("/api/v1/orders", lines).await.expect(422);
    }

    async fn refunds_never_exceed_the_total_and_count_once(rig: Rig) {
        let client = rig.app.acme.token(&[Role::Admin]).await;
        let made = client.post("/api/v1/orders", order(&rig, 1_000)).await.expect(201).body;
        let path = format!("/api/v1/orders/{}/refunds", made["id"].as_str().unwrap());
        for bad in [cny(0), cny(-5), json!({"amount_minor": 5, "currency": "USD"})] {
            client.post(&path, json!({"amount": bad})).await.expect(422);
        }
        let refund = json!({"amount": cny(600), "source": "pos", "external_id": "r1"});
        let after = client.post(&path, refund.clone()).await.expect(201).body;
        assert_eq!((&after["refunded"], &after["version"]), (&cny(600), &json!(2)));
        assert_eq!(client.post(&path, refund).await.expect(200).body, after);
        let problem = client.post(&path, json!({"amount": cny(401)})).await.expect(409).body;
        assert_eq!(problem["code"], "refund_exceeds_total");
        assert_eq!(client.post(&path, json!({"amount": cny(400)})).await.expect(201).body["refunded"], cny(1_000));
    }

    async fn an_order_goes_its_way_and_not_back(rig: Rig) {
        let client = rig.app.acme.token(&[Role::Admin]).await;
        let made = client.post("/api/v1/orders", order(&rig, 100)).await.expect(201).body;
        let path = format!("/api/v1/orders/{}", made["id"].as_str().unwrap());
        client.patch(&path, json!({"total": cny(200)})).await.expect(200);
        client.patch(&path, json!({"status": "completed"})).await.expect(200);
        for (patch, code) in
            [(json!({"status": "open"}), "order_status"), (json!({"total": cny(1)}), "order_closed")]
        {
            assert_eq!(client.patch(&path, patch).await.expect(409).body["code"], code);
        }
    }

    async fn a_source_writes_an_order_once_and_makes_its_customer(rig: Rig) {
        let client = rig.app.acme.token(&[Role::Integration]).await;
        let path = "/api/v1/sources/shop/orders/42";
        let body = json!({
            "customer": {"source": "shop", "external_id": "c9", "create": {"kind": "person"}},
            "channel": "web", "ordered_at": "2026-02-01T00:00:00Z", "status": "completed",
            "lines": [{"sku": "cd", "amount": cny(2_933), "quantity": 2}],
        });
        let made = client.put(path, body.clone()).await.expect(201).body;
        assert_eq!(client.put(path, body.clone()).await.expect(200).body, made);
        let customers = client.get("/api/v1/customers?source=shop&external_id=c9").await.expect(200).body;
        assert_eq!(customers["items"][0]["id"], made["customer_id"]);
        let mut corrected = body;
        corrected["lines"][0]["amount"] = cny(3_000);
        assert_eq!(client.put(path, corrected).await.expect(200).body["total"], cny(3_000));
        let orders = client.get("/api/v1/orders?source=shop&external_id=42").await.expect(200).body;
        assert_eq!(orders["items"][0]["version"], 2);
    }

    async fn the_overview_sums_up_what_happened(rig: Rig) {
        let client = rig.app.acme.token(&[Role::Admin]).await;
        for total in [100, 301] {
            client.post("/api/v1/orders", order(&rig, total)).await.expect(201);
        }
        let own = format!("/api/v1/customers/{}", rig.customer);
        let contact = json!({"channel": "phone", "direction": "inbound", "summary": "Asks", "source": "cc", "external_id": "1"});
        let entry = client.post(&format!("{own}/interactions"), contact.clone()).await.expect(201).body;
        assert_eq!(client.post(&format!("{own}/interactions"), contact).await.expect(200).body, entry);
        client.post(&format!("{own}/behaviours"), json!({"type": "browse", "object": "cd"})).await.expect(201);
        let overview = client.get(&format!("{own}/overview")).await.expect(200).body;
        assert_eq!(overview["orders"]["totals"][0]["total"], cny(401));
        assert_eq!(overview["orders"]["totals"][0]["average"], cny(200));
        assert_eq!(overview["service"]["contacts"], 1);
        assert_eq!(overview["timeline"].as_array().unwrap().len(), 2);
        assert_eq!(overview["panels"], json!([]));
    }
}
