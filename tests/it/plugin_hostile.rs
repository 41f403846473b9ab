//! Routes and steps that answer what they must not: the caller gets a problem document of ours, and
//! nothing is written.

use axum::http::{Method, StatusCode};
use hospes::domain::event::Subject;
use hospes::error::{Error, Result};
use hospes::ops::plugins::steps::{self, StepOutcome, StepRequest};
use hospes_tests::{TestResponse, both_engines, guests};
use serde_json::{Value, json};

use crate::plugin_oracles::Besieged;
use crate::plugin_rig::{Rig, code};

const X: &str = "/api/v1/plugins/hostile/x";

impl Rig {
    async fn provoke(&self, how: &str) -> TestResponse {
        self.clock.advance_seconds(60);
        let answer = self.app.owner.request(Method::POST, &format!("{X}/answer/{how}")).await;
        assert_eq!(answer.header("content-type"), "application/problem+json", "{how}: {answer}");
        assert_eq!(answer.header("set-cookie"), "", "{how}: {answer}");
        assert!(answer.body.to_string().len() < 1 << 20, "{how}");
        answer
    }

    async fn hostile_step(&self, how: &str) -> Result<StepOutcome> {
        self.clock.advance_seconds(60);
        let request = StepRequest {
            plugin: "hostile".to_owned(),
            step: "end".to_owned(),
            target: Subject::Customer(self.customer.clone()),
            key: how.to_owned(),
            input: json!({ "how": how }),
            attempt: 1,
        };
        steps::run(&self.core, &self.actor, request).await
    }

    /// What the hostile plugin has kept under a key.
    async fn kept(&self, key: &str) -> Value {
        self.act("hostile", "peek", json!({ "key": key })).await.unwrap().body
    }
}

both_engines! {
    async fn a_route_that_answers_badly_has_failed(rig: Besieged) {
        rig.enable(guests::HOSTILE).await;
        let bad = ["huge", "deep", "redirect", "continue", "zero", "most", "no-content"];
        for how in bad {
            let answer = rig.provoke(how).await;
            assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{how}: {answer}");
            assert_eq!(answer.body["plugin_code"], "response", "{how}: {answer}");
        }
        for how in ["huger", "loop", "trap"] {
            let answer = rig.provoke(how).await;
            assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{how}: {answer}");
        }
        assert_eq!(rig.kept("from-a-route").await, Value::Null, "what it wrote before is not kept");
        // What it answers badly counts as a failure, so that it is paused for a while.
        rig.clock.advance_seconds(60);
        let well = rig.app.owner.get(&format!("{X}/answer/well")).await;
        assert_eq!(well.body["plugin_code"], "denied", "a GET does not write: {well}");
        let undeclared = rig.app.owner.get(&format!("{X}/admin")).await;
        assert_eq!(undeclared.status, StatusCode::NOT_FOUND);
    }

    async fn what_a_route_says_reaches_no_header(rig: Besieged) {
        rig.enable(guests::HOSTILE).await;
        let answer = rig.provoke("injecting").await;
        assert_eq!(answer.body["plugin_code"], "rejected", "a code is lower case and short: {answer}");
        let told = answer.body.to_string();
        assert!(!told.contains('\r') && !told.contains("\\r"), "{told}");
        assert!(answer.headers.values().all(|value| !value.as_bytes().windows(6).any(|part| part == b"stolen")));
        let many = rig.provoke("many-faults").await;
        assert_eq!(many.body["errors"].as_array().unwrap().len(), 50, "{}", many.body["errors"][0]);
        // What the caller smuggles into a parameter comes back as a value, and nowhere else.
        let smuggled = rig.app.owner.request(Method::POST, &format!("{X}/answer/a%0d%0aSet-Cookie:%20stolen=1")).await;
        assert_eq!((smuggled.header("content-type"), smuggled.header("set-cookie")), ("application/json", ""));
        assert_eq!(smuggled.body, json!("a\r\nSet-Cookie: stolen=1"));
    }

    async fn a_route_that_is_slow_does_not_hold_up_others(rig: Besieged) {
        rig.enable(guests::HOSTILE).await;
        let slow = rig.provoke("loop");
        let others = async {
            for _ in 0..10 {
                let name = rig.app.owner.get(&format!("/api/v1/customers/{}", rig.customer)).await;
                assert_eq!(name.status, StatusCode::OK);
            }
        };
        let ((), slow) = futures::future::join(others, slow).await;
        assert_eq!(slow.status, StatusCode::BAD_GATEWAY, "{slow}");
    }

    async fn a_step_that_ends_badly_has_not_ended(rig: Besieged) {
        rig.enable(guests::HOSTILE).await;
        for how in ["huge", "deep", "undeclared-output", "for-ever"] {
            let failed = rig.hostile_step(how).await.unwrap_err();
            assert_eq!(code(&failed), "failed: outcome", "{how}: {failed}");
        }
        let looped = rig.hostile_step("loop").await.unwrap_err();
        assert!(matches!(looped, Error::PluginFailed { .. }), "{looped}");
        assert_eq!(rig.kept("from-a-step").await, Value::Null, "what it wrote before is not kept");

        let StepOutcome::Failed { code, message, .. } = rig.hostile_step("injecting").await.unwrap() else {
            panic!("it says that it has failed");
        };
        assert_eq!((code.as_str(), message.len() <= 1_024), ("rejected", true));
        assert_eq!(rig.kept("from-a-step").await, json!("injecting"));
    }
}
