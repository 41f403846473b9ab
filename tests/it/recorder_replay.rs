//! What was recorded runs again with the same answer, effects and fuel, without a server.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use hospes::domain::point::Point;
use hospes::domain::recording::{Keep, RecordingRules};
use hospes::ops::plugins::enablement::{self, EnablementPatch};
use hospes::ops::plugins::recordings::NewRecording;
use hospes::ops::plugins::{Plugins as _, scoring};
use hospes::plugin::Sandbox;
use hospes::plugin::replay::{Replay, Replayed, Verdict};
use hospes_tests::{both_engines, guests};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::plugin_rig::{Rig, nothing};

const A: &str = "courier-a";
const B: &str = "courier-b";

pub(crate) fn sandbox() -> Arc<Sandbox> {
    static SHARED: OnceLock<Arc<Sandbox>> = OnceLock::new();
    Arc::clone(SHARED.get_or_init(|| Arc::new(Sandbox::new().expect("the engine starts"))))
}

pub(crate) fn all(keep: Keep) -> RecordingRules {
    RecordingRules(Point::ALL.iter().map(|point| (*point, keep)).collect::<BTreeMap<_, _>>())
}

impl Rig {
    /// From now on the runs of a plugin are recorded.
    pub(crate) async fn record(&self, plugin: &str, keep: Keep) {
        let patch = EnablementPatch { recording: Some(all(keep)), ..EnablementPatch::default() };
        enablement::change(&self.core, &self.actor, plugin, patch, None).await.expect("it can be recorded");
    }

    /// What was recorded since it was last asked.
    pub(crate) fn recorded(&self) -> Vec<NewRecording> {
        let taken = self.host.take_recordings();
        assert_eq!(taken.dropped, BTreeMap::new());
        taken.recordings
    }
}

pub(crate) async fn replay(recording: &NewRecording, component: &[u8]) -> Verdict {
    let with = Replayed::new(&sandbox(), component).expect("it compiles");
    Replay::read(&recording.body).expect("it can be read").run(&with).await.expect("it runs")
}

fn assert_same(verdict: &Verdict) {
    assert!(verdict.is_identical(), "{}", serde_json::to_string_pretty(verdict).unwrap());
    assert_eq!((verdict.effect_changes.len(), verdict.assumed_writes), (0, 0));
}

/// A step of a courier, any that it knows, also with what the host refuses.
fn step(depth: u32) -> BoxedStrategy<Value> {
    let name = prop::sample::select(vec!["a", "b/c", "../d", "e"]);
    let leaf = prop_oneof![
        (name.clone(), "[a-z]{0,40}").prop_map(|(name, text)| json!(["write", name, text])),
        name.clone().prop_map(|name| json!(["read", name])),
        name.clone().prop_map(|name| json!(["delete", name])),
        (name.clone(), 0..5_u32).prop_map(|(name, limit)| json!(["list", name, limit])),
        name.clone().prop_map(|key| json!(["count", key])),
        name.prop_map(|key| json!(["peek", key])),
        (prop::sample::select(vec!["$me", "cus_x"]), "[A-Z][a-z]{1,8}")
            .prop_map(|(customer, name)| json!(["rename", customer, name])),
        Just(json!(["burn", 1])),
        Just(json!(["refuse"])),
        Just(json!(["unavailable"])),
        Just(json!(["trap"])),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let inner = prop::collection::vec(step(depth - 1), 0..4);
    prop_oneof![
        6 => leaf,
        2 => inner.prop_map(|script| json!(["call", B, script])),
        1 => Just(json!(["call", "nobody", []])),
    ]
    .boxed()
}

/// An action of the probe and its input.
fn action() -> impl Strategy<Value = (&'static str, Value)> {
    prop_oneof![
        Just(("echo", json!({ "text": "hello" }))),
        Just(("refuse", json!({}))),
        (0..100_i64).prop_map(|amount| ("add", json!({ "amount": amount }))),
        (0..100_i64).prop_map(|amount| ("take", json!({ "amount": amount }))),
        "[a-zé中]{0,20}".prop_map(|text| ("note", json!({ "text": text, "key": "k" }))),
        "[a-z]{1,8}".prop_map(|label| ("label", json!({ "label": label, "margin": 3 }))),
        "[A-Z][a-z]{1,8}".prop_map(|name| ("rename", json!({ "name": name }))),
        "[A-Z][a-z]{1,8}".prop_map(|name| ("create", json!({ "name": name }))),
        Just(("read", json!({}))),
        Just(("peek", json!({ "keys": ["a", "b"] }))),
    ]
}

both_engines! {
    async fn any_invocation_replays_with_identical_effects_and_fuel(rig: Rig) {
        let couriers = [guests::COURIER.to_vec(), guests::edited(guests::COURIER, A, B)];
        for bytes in [&couriers[0], &couriers[1], &guests::PROBE.to_vec()] {
            let name = rig.enable(bytes).await;
            rig.record(&name, Keep::All).await;
        }
        let components: Vec<Replayed> = [&couriers[0], &couriers[1], &guests::PROBE.to_vec()]
            .into_iter()
            .map(|bytes| Replayed::new(&sandbox(), bytes).unwrap())
            .collect();
        let mut runner = TestRunner::deterministic();
        let scripts = prop::collection::vec(step(2), 0..6);
        let (mut replayed, mut effects, mut outcomes) = (0, 0, BTreeMap::new());
        for _ in 0..60 {
            let script = scripts.new_tree(&mut runner).unwrap().current();
            let script: Value = serde_json::from_str(&script_of(script, rig.customer.as_str())).unwrap();
            let (action, input) = action().new_tree(&mut runner).unwrap().current();
            // What comes of them is recorded, failures too.
            drop(rig.act(A, "do", json!({ "script": script })).await);
            drop(rig.act("probe", action, input).await);
            rig.clock.advance_seconds(60);
            for recording in rig.recorded() {
                let with = components.iter().find(|one| one.digest() == recording.digest).unwrap();
                let replay = Replay::read(&recording.body).unwrap();
                let verdict = replay.run(with).await.unwrap();
                assert_same(&verdict);
                assert!(i64::try_from(verdict.recorded_fuel).unwrap() >= recording.fuel);
                replayed += 1;
                effects += verdict.recorded_effects;
                *outcomes.entry(recording.outcome).or_insert(0) += 1;
            }
        }
        assert!(replayed >= 120 && effects >= 60, "{replayed} runs, {effects} effects");
        for outcome in ["ok", "refused", "trap"] {
            assert!(outcomes.contains_key(outcome), "{outcomes:?}");
        }
    }

    async fn what_a_plugin_is_told_and_handed_is_recorded_at_every_extension_point(rig: Rig) {
        rig.enable(guests::SPY).await;
        rig.record("spy", Keep::All).await;
        let id = rig.customer.to_string();
        rig.act("spy", "look", json!({ "customers": [id], "orders": [] })).await.unwrap();
        rig.app.owner.patch(&format!("/api/v1/customers/{id}"), json!({ "name": "Grace" })).await;
        let event = rig.event("customer.updated", json!({ "id": id, "name": "Grace" }));
        rig.host.deliver(&rig.actor.tenant, "spy", &[event], nothing()).await.unwrap();
        let recordings = rig.recorded();
        let points: Vec<_> = recordings.iter().map(|recording| recording.point).collect();
        for point in ["actions", "events"] {
            assert!(points.contains(&point), "{points:?}");
        }
        for recording in recordings {
            assert_eq!(recording.customers, std::slice::from_ref(&rig.customer), "{}", recording.point);
            assert_same(&replay(&recording, guests::SPY).await);
        }
    }

    async fn columns_with_gaps_are_replayed_to_the_last_bit(rig: Rig) {
        rig.enable(guests::PROBE).await;
        rig.record("probe", Keep::All).await;
        let query = json!({ "customer_ids": [rig.customer] });
        let query: scoring::ScoreQuery = serde_json::from_value(query).unwrap();
        scoring::score(&rig.core, &rig.actor, ("probe", "engagement"), query).await.unwrap();
        let recordings = rig.recorded();
        assert_eq!(recordings.len(), 1);
        let body: Value = serde_json::from_slice(&recordings[0].body).unwrap();
        assert!(body["input"]["Score"]["slice"]["columns"].to_string().contains("null"), "no order, no time");
        assert_same(&replay(&recordings[0], guests::PROBE).await);
    }

    async fn a_failure_is_replayed_to_the_instruction_at_which_it_broke_off(rig: Rig) {
        rig.enable(guests::HOSTILE).await;
        rig.record("hostile", Keep::Failures).await;
        drop(rig.act("hostile", "behave", json!({})).await);
        assert!(rig.recorded().is_empty(), "only failures are kept");
        for action in ["trap", "grow-memory", "recurse", "write-then-trap"] {
            drop(rig.act("hostile", action, json!({})).await);
            let recordings = rig.recorded();
            assert_eq!(recordings.len(), 1, "{action}");
            assert_same(&replay(&recordings[0], guests::HOSTILE).await);
            rig.clock.advance_seconds(60);
        }
    }

    async fn an_answer_that_the_host_does_not_take_is_a_failure_and_replays(rig: Rig) {
        rig.enable(guests::PROBE).await;
        rig.record("probe", Keep::Failures).await;
        let teapot = rig.app.owner.get("/api/v1/plugins/probe/x/teapot").await;
        assert_eq!(teapot.body["plugin_code"], "response", "{teapot}");
        let recordings = rig.recorded();
        assert_eq!((recordings.len(), recordings[0].outcome.as_str()), (1, "response"));
        let verdict = replay(&recordings[0], guests::PROBE).await;
        assert_same(&verdict);
        let objection = verdict.objection.unwrap();
        assert!(objection.contains("418"), "{objection}");

        let health = rig.host.health(&rig.actor.tenant, "probe");
        let routes = health.iter().find(|point| point.point == "routes").unwrap();
        assert_eq!((routes.runs, routes.failures), (1, 1));
        let log = rig.app.owner.get("/api/v1/plugins/probe/log").await.expect(200);
        let line = &log.body["items"][0];
        assert_eq!((&line["level"], &line["code"]), (&json!("failure"), &json!("response")), "{log}");
    }

    async fn nothing_is_recorded_until_the_tenant_wants_it(rig: Rig) {
        rig.enable(guests::PROBE).await;
        rig.act("probe", "add", json!({ "amount": 1 })).await.unwrap();
        assert!(rig.recorded().is_empty());
        rig.record("probe", Keep::Every(3)).await;
        for _ in 0..7 {
            rig.act("probe", "add", json!({ "amount": 1 })).await.unwrap();
        }
        assert_eq!(rig.recorded().len(), 3, "the first of every three");
        rig.record("probe", Keep::Off).await;
        rig.act("probe", "add", json!({ "amount": 1 })).await.unwrap();
        assert!(rig.recorded().is_empty());
    }

    async fn another_version_is_compared_effect_by_effect(rig: Rig) {
        rig.enable(guests::PROBE).await;
        rig.record("probe", Keep::All).await;
        rig.act("probe", "note", json!({ "text": "hello", "key": "k" })).await.unwrap();
        let recordings = rig.recorded();
        // The kind of the entries that it writes.
        let other = guests::edited(guests::PROBE, "noted", "seen2");
        let verdict = replay(&recordings[0], &other).await;
        assert!(!verdict.effects_identical && !verdict.is_identical());
        assert_eq!((verdict.recorded_effects, verdict.replayed_effects, verdict.assumed_writes), (1, 1, 1));
        let [change] = verdict.effect_changes.as_slice() else { panic!("{:?}", verdict.effect_changes) };
        assert_eq!(change.import, "timeline.append-many");
        assert_eq!(change.changes, [("/kind".to_owned(), json!("noted"), json!("seen2"))]);

        rig.act("probe", "peek", json!({ "keys": ["alpha"] })).await.unwrap();
        let recordings = rig.recorded();
        let mut body: Value = serde_json::from_slice(&recordings[0].body).unwrap();
        body["calls"] = json!([]);
        let silent = NewRecording { body: body.to_string().into_bytes(), ..recordings[0].clone() };
        let verdict = replay(&silent, &other).await;
        let stopped = verdict.stopped_at.unwrap();
        assert!(stopped.contains("kv.get-many") && stopped.contains("alpha"), "{stopped}");
    }

    async fn what_was_cut_is_not_replayed_and_says_so(rig: Rig) {
        rig.enable(guests::COURIER).await;
        rig.record(A, Keep::All).await;
        let script = json!([["fill", "a", 2_000_000], ["fill", "b", 2_000_000]]);
        // The run is recorded, whatever becomes of its effects.
        drop(rig.script(A, script).await);
        let recordings = rig.recorded();
        assert!(recordings[0].truncated);
        let refused = Replay::read(&recordings[0].body).err().unwrap();
        assert!(format!("{refused:?}").contains("the run was too large"), "{refused:?}");
        let refused = Replay::read(b"{}").err().unwrap();
        assert!(format!("{refused:?}").contains("no recording"), "{refused:?}");
    }
}

fn script_of(script: Vec<Value>, customer: &str) -> String {
    Value::Array(script).to_string().replace("$me", customer)
}
