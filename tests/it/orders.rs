//! Orders, refunds and the overview through the API: money, status, and writing twice.

use axum::http::Method;
use hospes::domain::permission::Role;
use hospes_tests::both_engines;
use serde_json::{Value, json};

use crate::front_door::Door;
use crate::plugin_rig::Rig;

fn cny(amount_minor: i64) -> Value {
    json!({"amount_minor": amount_minor, "currency": "CNY"})
}

fn order(rig: &Rig, total: i64) -> Value {
    json!({"customer_id": rig.customer, "channel": "web", "ordered_at": "2026-02-01T00:00:00Z", "total": cny(total)})
}

both_engines! {
    async fn money_is_legal_where_it_makes_sense(rig: Rig) {
        let door = Door::open(&rig, &rig.actor, &[Role::Admin]).await;
        door.post("/orders", order(&rig, 0), 201).await;
        door.post("/orders", order(&rig, -1), 422).await;
        door.post("/orders", order(&rig, 90_000_000_001), 422).await;
        let mut lines = order(&rig, 900);
        lines["lines"] = json!([
            {"sku": "a", "amount": cny(1_000), "quantity": 2},
            {"sku": "discount", "amount": cny(-100)},
        ]);
        door.post("/orders", lines.clone(), 201).await;
        lines["total"] = cny(901);
        door.post("/orders", lines.clone(), 422).await;
        lines["total"] = Value::Null;
        lines.as_object_mut().unwrap().remove("total");
        assert_eq!(door.post("/orders", lines.clone(), 201).await["total"], cny(900));
        lines["lines"][1]["amount"]["currency"] = json!("USD");
        door.post("/orders", lines, 422).await;
    }

    async fn refunds_never_exceed_the_total_and_count_once(rig: Rig) {
        let door = Door::open(&rig, &rig.actor, &[Role::Admin]).await;
        let made = door.post("/orders", order(&rig, 1_000), 201).await;
        let path = format!("/orders/{}/refunds", made["id"].as_str().unwrap());
        for bad in [cny(0), cny(-5), json!({"amount_minor": 5, "currency": "USD"})] {
            door.post(&path, json!({"amount": bad}), 422).await;
        }
        let refund = json!({"amount": cny(600), "source": "pos", "external_id": "r1"});
        let after = door.post(&path, refund.clone(), 201).await;
        assert_eq!((&after["refunded"], &after["version"]), (&cny(600), &json!(2)));
        assert_eq!(door.post(&path, refund, 200).await, after);
        let problem = door.post(&path, json!({"amount": cny(401)}), 409).await;
        assert_eq!(problem["code"], "refund_exceeds_total");
        assert_eq!(door.post(&path, json!({"amount": cny(400)}), 201).await["refunded"], cny(1_000));
    }

    async fn an_order_goes_its_way_and_not_back(rig: Rig) {
        let door = Door::open(&rig, &rig.actor, &[Role::Admin]).await;
        let made = door.post("/orders", order(&rig, 100), 201).await;
        let path = format!("/orders/{}", made["id"].as_str().unwrap());
        door.ask(Method::PATCH, &path, json!({"total": cny(200)}), 200).await;
        door.ask(Method::PATCH, &path, json!({"status": "completed"}), 200).await;
        for (patch, code) in
            [(json!({"status": "open"}), "order_status"), (json!({"total": cny(1)}), "order_closed")]
        {
            assert_eq!(door.ask(Method::PATCH, &path, patch, 409).await["code"], code);
        }
    }

    async fn a_source_writes_an_order_once_and_makes_its_customer(rig: Rig) {
        let door = Door::open(&rig, &rig.actor, &[Role::Integration]).await;
        let path = "/sources/shop/orders/42";
        let body = json!({
            "customer": {"source": "shop", "external_id": "c9", "create": {"kind": "person"}},
            "channel": "web", "ordered_at": "2026-02-01T00:00:00Z", "status": "completed",
            "lines": [{"sku": "cd", "amount": cny(2_933), "quantity": 2}],
        });
        let made = door.ask(Method::PUT, path, body.clone(), 201).await;
        assert_eq!(door.ask(Method::PUT, path, body.clone(), 200).await, made);
        let customers = door.get("/customers?source=shop&external_id=c9").await;
        assert_eq!(customers["items"][0]["id"], made["customer_id"]);
        let mut corrected = body;
        corrected["lines"][0]["amount"] = cny(3_000);
        assert_eq!(door.ask(Method::PUT, path, corrected, 200).await["total"], cny(3_000));
        assert_eq!(door.get("/orders?source=shop&external_id=42").await["items"][0]["version"], 2);
    }

    async fn the_overview_sums_up_what_happened(rig: Rig) {
        let door = Door::open(&rig, &rig.actor, &[Role::Admin]).await;
        for total in [100, 301] {
            door.post("/orders", order(&rig, total), 201).await;
        }
        let own = format!("/customers/{}", rig.customer);
        let contact = json!({"channel": "phone", "direction": "inbound", "summary": "Asks", "source": "cc", "external_id": "1"});
        let entry = door.post(&format!("{own}/interactions"), contact.clone(), 201).await;
        assert_eq!(door.post(&format!("{own}/interactions"), contact, 200).await, entry);
        door.post(&format!("{own}/behaviours"), json!({"type": "browse", "object": "cd"}), 201).await;
        let overview = door.get(&format!("{own}/overview")).await;
        assert_eq!(overview["orders"]["totals"][0]["total"], cny(401));
        assert_eq!(overview["orders"]["totals"][0]["average"], cny(200));
        assert_eq!(overview["service"]["contacts"], 1);
        assert_eq!(overview["timeline"].as_array().unwrap().len(), 2);
        assert_eq!(overview["panels"], json!([]));
    }
}
