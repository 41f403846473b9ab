//! Scores of plugins: what a slice holds, who sees which scores, and answers that are none.

use axum::http::StatusCode;
use hospes::domain::permission::{Permission, Role};
use hospes::error::Error;
use hospes::ops::plugins::scoring::{self, ScoreQuery};
use hospes_tests::{both_engines, guests};
use serde_json::{Value, json};

use crate::plugin_rig::{Rig, code};

const ENGAGEMENT: &str = "/api/v1/plugins/probe/scoring/engagement";

impl Rig {
    /// An order of the customer, at a price.
    async fn order(&self, customer: &str, status: &str, at: &str, minor: i64) {
        let made = self.app.owner.post(
            "/api/v1/orders",
            json!({
                "customer_id": customer, "status": status, "channel": "store", "ordered_at": at,
                "lines": [{ "sku": "S", "name": "Something", "quantity": 1,
                            "amount": { "amount_minor": minor, "currency": "CNY" } }],
            }),
        );
        let made = made.await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    }

    async fn scores(&self, query: Value) -> Value {
        let scored = self.app.owner.post(ENGAGEMENT, query).await;
        assert_eq!(scored.status, StatusCode::OK, "{}", scored.body);
        scored.body
    }
}

fn reason(name: &str, title: &str, weight: f64) -> Value {
    json!({ "name": name, "title": title, "weight": weight })
}

both_engines! {
    async fn a_plugin_scores_customers_by_their_orders_and_fields(rig: Rig) {
        rig.enable(guests::PROBE).await;
        let ada = rig.customer.to_string();
        let grace = rig.app.acme.customer("Grace").await.id.to_string();
        rig.order(&ada, "completed", "2026-01-01T00:00:00Z", 500).await;
        rig.order(&ada, "completed", "2026-02-01T00:00:00Z", 700).await;
        rig.order(&ada, "cancelled", "2026-02-02T00:00:00Z", 900).await;
        rig.app.run_jobs().await;

        let scored = rig.scores(json!({ "customer_ids": [grace, ada, "cus_00000000000000000000000000"] })).await;
        // Ada was there before the plugin: two orders that count, and an event of each of three.
        let events = json!([reason("many_orders", "Many orders", 20.0), reason("many_events", "Many events", 3.0)]);
        assert_eq!(scored["items"][1], json!({ "customer_id": ada, "score": 23.0, "reasons": events }));
        assert_eq!(scored["items"][0]["score"], Value::Null, "{scored}");
        assert_eq!(scored["items"].as_array().unwrap().len(), 2, "who does not exist is left out");

        let chinese = rig.app.owner.post(ENGAGEMENT, json!({ "customer_ids": [ada] }));
        let chinese = chinese.header("accept-language", "zh-CN").await;
        assert_eq!(chinese.body["items"][0]["reasons"][0]["title"], "订单多");
    }

    async fn a_page_of_scores_leads_to_the_next(rig: Rig) {
        rig.enable(guests::PROBE).await;
        for name in ["Grace", "Lin"] {
            rig.app.acme.customer(name).await;
        }
        let first = rig.scores(json!({ "limit": 2 })).await;
        assert_eq!(first["items"].as_array().unwrap().len(), 2);
        let second = rig.scores(json!({ "limit": 2, "cursor": first["next_cursor"] })).await;
        assert_eq!((second["items"].as_array().unwrap().len(), &second["next_cursor"]), (1, &Value::Null));

        let none = json!({ "field": "created_at", "operator": "gt", "value": "2030-01-01T00:00:00Z" });
        assert_eq!(rig.scores(json!({ "conditions": [none] })).await["items"], json!([]));
        let wrong = json!({ "conditions": [{ "field": "created_at", "operator": "gt", "value": 1 }] });
        assert_eq!(rig.app.owner.post(ENGAGEMENT, wrong).await.faults(), ["/conditions/0 wrong_type"]);
        let both = json!({ "customer_ids": [rig.customer], "limit": 1 });
        assert_eq!(rig.app.owner.post(ENGAGEMENT, both).await.faults(), ["/customer_ids not_a_choice"]);
    }

    async fn scores_show_no_customer_and_no_order_that_the_sender_does_not_see(rig: Rig) {
        rig.enable(guests::PROBE).await;
        let stranger = rig.app.acme.token(&[Role::Sales]).await;
        let scored = stranger.post(ENGAGEMENT, json!({ "customer_ids": [rig.customer] })).await;
        assert_eq!(scored.body["items"], json!([]), "{}", scored.body);
        let half = rig.app.acme.scoped_token(&[Permission::CustomerRead]).await;
        let refused = half.post(ENGAGEMENT, json!({})).await;
        assert_eq!((refused.status, &refused.body["code"]), (StatusCode::FORBIDDEN, &json!("forbidden")));
        let elsewhere = rig.there.owner.post(ENGAGEMENT, json!({})).await;
        assert_eq!(elsewhere.status, StatusCode::NOT_FOUND);
    }

    async fn scores_that_are_none_are_refused_and_a_score_may_not_write(rig: Rig) {
        let hostile = rig.enable(guests::HOSTILE).await;
        let score = async |name: &str| {
            rig.clock.advance_seconds(60);
            let query = ScoreQuery { customer_ids: Some(vec![rig.customer.clone()]), ..ScoreQuery::default() };
            scoring::score(&rig.core, &rig.actor, (&hostile, name), query).await.unwrap_err()
        };
        for name in ["too-few", "infinite", "undeclared-reason"] {
            let error = score(name).await;
            assert_eq!(code(&error), "failed: scores", "{name}: {error}");
        }
        let looped = code(&score("loop").await);
        assert!(looped == "failed: fuel" || looped == "failed: deadline", "{looped}");
        assert!(matches!(code(&score("huge").await).as_str(), "failed: scores" | "failed: transfer" | "failed: memory"));
        let written = score("write").await;
        assert_eq!(code(&written), "rejected: denied", "{written}");
        assert!(matches!(score("no-such").await, Error::NotFound { .. }));
    }
}
