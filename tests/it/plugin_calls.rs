//! Calls between plugins: both rights, one transaction, one budget, and no way round.

use futures::future::join_all;
use hospes::domain::actor::Actor;
use hospes::domain::event::Subject;
use hospes::domain::grant::Grant;
use hospes::domain::permission::{Permission, Role};
use hospes::error::Result;
use hospes::ops::plugins::{Plugins as _, actions, enablement};
use hospes_tests::{both_engines, guests};
use serde_json::{Value, json};

use crate::plugin_oracles::Besieged;
use crate::plugin_rig::{Rig, code};

const A: &str = "courier-a";
const B: &str = "courier-b";

fn courier(name: &str) -> Vec<u8> {
    guests::edited(guests::COURIER, A, name)
}

impl Rig {
    /// Enables couriers by their last letters.
    async fn couriers(&self, letters: &str) {
        for letter in letters.chars() {
            let name = format!("courier-{letter}");
            let bytes = if name == A { guests::COURIER.to_vec() } else { courier(&name) };
            self.enable(&bytes).await;
        }
    }

    async fn script_as(&self, actor: &Actor, script: Value) -> Result<Value> {
        let target = Subject::Customer(self.customer.clone());
        let outcome = actions::run(&self.core, actor, (A, "do"), target, json!({ "script": script })).await?;
        Ok(outcome.body)
    }

    /// The runs, failures and fuel of a courier's functions.
    fn functions(&self, plugin: &str) -> (u64, u64, u64) {
        let points = self.host.health(&self.actor.tenant, plugin);
        let health = points.into_iter().find(|health| health.point == "functions");
        health.map_or((0, 0, 0), |health| (health.runs, health.failures, health.fuel))
    }
}

fn error(text: &str) -> Value {
    json!({ "error": text })
}

both_engines! {
    async fn a_plugin_calls_another_and_both_commit_together(rig: Besieged) {
        rig.couriers("ab").await;
        let script = json!([
            ["count", "n"], ["call", B, [["count", "n"], ["write", "f", "of b"]]], ["count", "n"],
            ["call", B, [["count", "n"], ["read", "f"]]], ["read", "f"],
        ]);
        let seen = rig.script(A, script).await.unwrap();
        assert_eq!(seen, json!([1, [1, "written"], 2, [2, "of b"], null]), "each has its own, and sees what it wrote");
        let later = rig.script(A, json!([["peek", "n"], ["call", B, [["peek", "n"], ["read", "f"]]]])).await.unwrap();
        assert_eq!(later, json!([2, [2, "of b"]]));

        let who = rig.script(A, json!([["call", B, ["who"]]])).await.unwrap();
        assert_eq!((&who[0][0], &who[0][1], &who[0][2]), (&json!(A), &json!(B), &json!(rig.actor.tenant.as_str())));
        let input = rig.script(A, json!([["call-with", B, "do", { "script": [["count", "t"]], "times": 2 }]])).await;
        assert_eq!(input.unwrap(), json!([[1, 2]]));
    }

    async fn both_change_one_customer_in_turn(rig: Besieged) {
        rig.couriers("ab").await;
        let id = rig.customer.to_string();
        let script = json!([["rename", id, "One"], ["call", B, [["rename", id, "Two"]]], ["rename", id, "Three"]]);
        assert_eq!(rig.script(A, script).await.unwrap(), json!(["One", ["Two"], "Three"]));
        let customer = rig.app.owner.get(&format!("/api/v1/customers/{id}")).await.body;
        assert_eq!(customer["name"], "Three", "{customer}");
    }

    async fn a_call_needs_the_grants_of_both(rig: Besieged) {
        rig.couriers("ab").await;
        // Nobody asks to call this one.
        rig.enable(&courier("courier-z")).await;
        let unnamed = rig.script(A, json!([["call", "courier-z", []]])).await.unwrap();
        assert_eq!(unnamed, json!([error("denied: plugins:call of `courier-z`")]));

        rig.enable_with(A, Some(vec![Grant::KvOwn]), json!({})).await.unwrap();
        let ungranted = rig.script(A, json!([["call", B, []]])).await.unwrap();
        assert_eq!(ungranted, json!([error("denied: plugins:call")]));
        rig.enable_with(A, Some(vec![Grant::KvOwn, Grant::PluginsCall]), json!({})).await.unwrap();

        rig.enable_with(B, Some(vec![Grant::KvOwn]), json!({})).await.unwrap();
        let unserved = rig.script(A, json!([["call", B, []]])).await.unwrap();
        assert_eq!(unserved, json!([error("denied: plugins:serve of `courier-b`")]));
        let narrowed = vec![Grant::KvOwn, Grant::PluginsServe];
        rig.enable_with(B, Some(narrowed), json!({})).await.unwrap();
        let own = rig.script(A, json!([["call", B, [["read", "f"], ["count", "n"]]]])).await.unwrap();
        assert_eq!(own, json!([[error("denied: files:own"), 1]]), "the callee has its own rights, not the caller's");
    }

    async fn a_callee_may_no_more_than_the_acting_person(rig: Besieged) {
        rig.couriers("ab").await;
        let id = rig.customer.to_string();
        let script = json!([["call", B, [["rename", id, "Renamed"]]]]);
        let reader = Actor { allowed: Some([Permission::CustomerRead, Permission::PluginAct].into()), ..rig.actor.clone() };
        let refused = rig.script_as(&reader, script.clone()).await.unwrap();
        assert_eq!(refused[0][0], error("denied: customer:write"), "{refused}");
        let agent = Actor { roles: vec![Role::Owner], ..rig.actor.clone() };
        assert_eq!(rig.script_as(&agent, script).await.unwrap(), json!([["Renamed"]]));
    }

    async fn who_is_not_there_is_not_found(rig: Besieged) {
        rig.couriers("ab").await;
        let call = json!([["call", B, []]]);
        let wrong = json!([["call-with", B, "no-such", { "script": [] }], ["call-with", B, "do", { "times": 0 }]]);
        let told = rig.script(A, wrong).await.unwrap();
        assert_eq!(told[0], error("not found: function courier-b/no-such"));
        assert!(told[1]["error"].as_str().unwrap().starts_with("invalid: "), "{told}");
        enablement::disable(&rig.core, &rig.actor, B, None).await.unwrap();
        assert_eq!(rig.script(A, call.clone()).await.unwrap(), json!([error("not found: function courier-b/do")]));

        // The neighbour has one of that name; nobody else reaches it.
        rig.enable_for(&rig.neighbour, &courier(B)).await;
        assert_eq!(rig.script(A, call).await.unwrap(), json!([error("not found: function courier-b/do")]));
    }

    async fn a_chain_ends_after_three_calls_and_enters_nobody_twice(rig: Besieged) {
        rig.couriers("abcde").await;
        let nest = |inner: Value| json!([["call", B, [["call", "courier-c", [["call", "courier-d", inner]]]]]]);
        assert_eq!(rig.script(A, nest(json!([["count", "n"]]))).await.unwrap(), json!([[[[1]]]]));
        let fourth = rig.script(A, nest(json!([["call", "courier-e", []]]))).await.unwrap();
        assert_eq!(fourth, json!([[[[error("limit: 3 calls in a chain")]]]]));
        let again = rig.script(A, nest(json!([["call", B, []]]))).await.unwrap();
        assert_eq!(again, json!([[[[error("limit: `courier-b` is in this chain of calls already")]]]]));
        // One plugin by two ways is no chain, and it is the same one.
        let both = json!([["call", "courier-c", [["count", "two"]]], ["call", B, [["call", "courier-c", [["count", "two"]]]]]]);
        assert_eq!(rig.script(A, both).await.unwrap(), json!([[1], [[2]]]));
    }

    async fn what_a_callee_refuses_is_taken_back_alone(rig: Besieged) {
        rig.couriers("abc").await;
        let inner = json!([["count", "n"], ["call", "courier-c", [["count", "n"]]], ["refuse"]]);
        let seen = rig.script(A, json!([["count", "n"], ["call", B, inner], ["count", "n"]])).await.unwrap();
        assert_eq!(seen, json!([1, error("rejected: told_to_refuse"), 2]));
        let peek = json!([["peek", "n"], ["call", B, [["peek", "n"]]], ["call", "courier-c", [["peek", "n"]]]]);
        assert_eq!(rig.script(A, peek).await.unwrap(), json!([2, [null], [null]]));
        let later = rig.script(A, json!([["call", B, [["count", "n"], ["unavailable"]]], ["peek", "n"]])).await.unwrap();
        assert_eq!(later, json!([error("unavailable: not now"), 2]));
    }

    async fn a_callee_that_breaks_off_takes_its_caller_with_it(rig: Besieged) {
        rig.couriers("ab").await;
        for script in [json!([["count", "n"], ["trap"]]), json!(["lie"])] {
            let whole = json!([["count", "n"], ["write", "f", "x"], ["call", B, script], ["count", "n"]]);
            let failed = rig.script(A, whole).await.unwrap_err();
            assert_eq!(code(&failed), "failed: callee", "{failed}");
        }
        let peek = json!([["peek", "n"], ["read", "f"], ["call", B, [["peek", "n"]]]]);
        assert_eq!(rig.script(A, peek).await.unwrap(), json!([null, null, [null]]));
        assert_eq!(rig.functions(B).1, 2, "its health shows it");
        assert!(rig.log(B).await.iter().any(|line| line.contains("trapped as told")));
    }

    async fn what_a_callee_burns_comes_out_of_its_callers_budget(rig: Besieged) {
        rig.couriers("ab").await;
        let burnt = rig.script(A, json!([["call", B, [["burn", 5]]]])).await.unwrap();
        assert_eq!(burnt, json!([["burnt"]]));
        let (runs, failures, fuel) = rig.functions(B);
        assert_eq!((runs, failures), (1, 0));
        assert!(fuel > 5_000_000, "{fuel}");
        let of_caller = rig.host.health(&rig.actor.tenant, A);
        let own = of_caller.iter().find(|health| health.point == "actions").unwrap();
        assert!(own.last_fuel < fuel, "the callee's fuel is metered once: {} and {fuel}", own.last_fuel);

        // Ten calls that would each do alone are too much for one budget.
        let greedy = (0..10).map(|_| json!(["call", B, [["burn", 30]]])).collect();
        let failed = rig.script(A, Value::Array(greedy)).await.unwrap_err();
        assert_eq!(code(&failed), "failed: callee", "{failed}");
        assert_eq!(rig.functions(B).1, 0, "who is starved by its caller has not failed");
    }

    async fn callers_that_are_too_many_are_told_and_do_not_wait_for_one_another(rig: Besieged) {
        rig.couriers("abcd").await;
        let script = json!([["call", B, [["call", "courier-c", [["call", "courier-d", [["burn", 3]]]]]]]]);
        let calls = join_all((0..24).map(|_| rig.script(A, script.clone()))).await;
        let mut done = 0;
        for call in calls {
            let told = call.unwrap().to_string();
            done += usize::from(told == r#"[[[["burnt"]]]]"#);
            assert!(told.contains("burnt") || told.contains("unavailable: all places"), "{told}");
        }
        assert!(done > 0);
        assert_eq!(rig.script(A, script).await.unwrap(), json!([[[["burnt"]]]]), "all places are free again");
    }
}
