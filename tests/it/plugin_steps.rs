//! Types of workflow steps: an end is an end, and nothing happens twice under one key.

use std::sync::Arc;

use futures::future::join_all;
use hospes::domain::code::{FailureCode, Reason};
use hospes::domain::event::Subject;
use hospes::error::{Error, Result};
use hospes::jobs::retention::{Policy, Retention};
use hospes::ops::plugins::steps::{self, StepOutcome, StepRequest};
use hospes_tests::{both_engines, guests};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::plugin_rig::Rig;

impl Rig {
    async fn step(&self, key: &str, input: Value, attempt: u32) -> Result<StepOutcome> {
        let request = StepRequest {
            plugin: "probe".to_owned(),
            step: "end".to_owned(),
            target: Subject::Customer(self.customer.clone()),
            key: key.to_owned(),
            input,
            attempt,
        };
        steps::run(&self.core, &self.actor, request).await
    }

    /// How often the step under this key has run with effect.
    async fn runs(&self, key: &str) -> Value {
        self.act("probe", "peek", json!({ "keys": [key] })).await.unwrap().body[0].clone()
    }
}

both_engines! {
    async fn a_step_that_has_ended_is_not_run_again(rig: Rig) {
        rig.enable(guests::PROBE).await;
        for _ in 0..3 {
            let done = rig.step("run-1/a", json!({ "end": "done" }), 1).await.unwrap();
            assert_eq!(done, StepOutcome::Done(json!({ "attempt": 1 })));
            let failed = rig.step("run-1/b", json!({ "end": "fail" }), 1).await.unwrap();
            let StepOutcome::Failed { code, message, .. } = failed else { panic!("{failed:?}") };
            assert_eq!((code.as_str(), message.as_str()), ("told_to_fail", "failed as told"));
        }
        assert_eq!((rig.runs("run-1/a").await, rig.runs("run-1/b").await), (json!(1), json!(1)));
        let other = rig.step("run-1/a", json!({ "end": "fail" }), 1).await.unwrap_err();
        assert!(matches!(other, Error::Conflict { code: Reason::StepKeyReused, .. }), "{other:?}");

        // After a year nobody asks for it, and it is forgotten.
        rig.clock.advance_seconds(366 * 86_400);
        let retention = Retention::new(Arc::clone(&rig.core), Policy::default(), CancellationToken::new());
        assert_eq!(retention.run_once().await.unwrap().steps, 2);
        rig.step("run-1/a", json!({ "end": "done" }), 1).await.unwrap();
        assert_eq!(rig.runs("run-1/a").await, json!(2));
    }

    async fn a_step_that_waits_or_breaks_off_is_run_again(rig: Rig) {
        rig.enable(guests::PROBE).await;
        let wait = json!({ "end": "wait" });
        let waits = rig.step("w", wait.clone(), 1).await.unwrap();
        assert_eq!(waits, StepOutcome::WaitUntil(rig.core.now().plus_seconds(86_400)));
        assert_eq!(rig.step("w", wait, 2).await.unwrap(), StepOutcome::Done(json!({ "attempt": 2 })));
        assert_eq!(rig.runs("w").await, json!(2));

        let later = rig.step("u", json!({ "end": "unavailable" }), 1).await.unwrap_err();
        assert!(matches!(later, Error::PluginFailed { code: FailureCode::Unavailable { .. }, .. }), "{later:?}");
        let trapped = rig.step("t", json!({ "end": "trap" }), 1).await.unwrap_err();
        assert!(matches!(trapped, Error::PluginFailed { code: FailureCode::Trap { .. }, .. }), "{trapped:?}");
        // An output that the manifest refuses takes back what the step has written.
        let lied = rig.step("l", json!({ "end": "lie" }), 1).await.unwrap_err();
        assert!(matches!(lied, Error::PluginFailed { code: FailureCode::Outcome { .. }, .. }), "{lied:?}");
        for key in ["u", "t", "l"] {
            assert_eq!(rig.runs(key).await, Value::Null, "{key}");
        }
    }

    async fn concurrent_calls_under_one_key_run_one_step(rig: Rig) {
        rig.enable(guests::PROBE).await;
        let calls = join_all((0..16).map(|_| rig.step("c", json!({ "end": "done" }), 1))).await;
        for call in calls {
            assert_eq!(call.unwrap(), StepOutcome::Done(json!({ "attempt": 1 })));
        }
        assert_eq!(rig.runs("c").await, json!(1));
    }

    async fn a_step_with_a_wrong_input_or_key_does_not_run(rig: Rig) {
        rig.enable(guests::PROBE).await;
        let wrong = rig.step("k", json!({ "end": 1 }), 1).await.unwrap_err();
        let Error::Invalid { faults } = wrong else { panic!("{wrong:?}") };
        assert_eq!((faults[0].pointer.as_str(), faults[0].code.as_ref()), ("/end", "wrong_type"));
        for key in ["", "a\0b", &"k".repeat(201)] {
            let wrong = rig.step(key, json!({ "end": "done" }), 1).await.unwrap_err();
            assert!(matches!(wrong, Error::Invalid { .. }), "{key}");
        }
    }
}
