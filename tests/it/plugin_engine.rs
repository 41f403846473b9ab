//! Plugins from the outside: installed, enabled, called, starved, and shut out.

use std::sync::Arc;

use futures::future::join_all;
use hospes::domain::actor::Actor;
use hospes::domain::code::Reason;
use hospes::domain::event::Subject;
use hospes::domain::grant::Grant;
use hospes::domain::page::PageRequest;
use hospes::error::{Error, Fault};
use hospes::ops::plugins::enablement::{self, EnablementPatch};
use hospes::ops::plugins::{
    Ack, Delivered, HookedEntity, JobAck, JobChunk, Plugins as _, Save, actions, data, packages,
};
use hospes_tests::{both_engines, guests};
use serde_json::{Value, json};

use crate::plugin_oracles::Besieged;
use crate::plugin_rig::{Rig, code, nothing, requests};

fn messages(error: Error) -> Vec<(String, String)> {
    let Error::Invalid { faults } = error else { panic!("expected faults, got {error:?}") };
    faults.into_iter().map(|Fault { code, message, .. }| (code.into_owned(), message)).collect()
}

both_engines! {
    async fn a_component_that_cannot_run_is_refused_with_what_is_missing(rig: Rig) {
        let install = async |bytes: &[u8]| packages::install(&rig.core, bytes.to_vec()).await;

        let stranger = messages(install(guests::STRANGER).await.unwrap_err());
        assert_eq!(stranger[0].0, "unknown_import");
        assert_eq!(
            stranger[0].1,
            "imports `stranger:things/portal@0.1.0`, which this host does not offer"
        );

        let ungranted = messages(install(guests::UNGRANTED).await.unwrap_err());
        assert_eq!(
            ungranted,
            [(
                "missing_grant".to_owned(),
                "imports `customers.get-many`, but does not ask for the grant `customers:read`".to_owned(),
            )]
        );

        assert_eq!(messages(install(b"PK\x03\x04").await.unwrap_err())[0].0, "not_a_component");
        let half = &guests::PROBE[..guests::PROBE.len() / 2];
        assert_eq!(messages(install(half).await.unwrap_err())[0].0, "malformed");
        assert!(packages::list(&rig.core).await.unwrap().is_empty());
    }

    async fn a_version_never_changes_its_bytes(rig: Rig) {
        let first = packages::install(&rig.core, guests::PROBE.to_vec()).await.unwrap();
        let again = packages::install(&rig.core, guests::PROBE.to_vec()).await.unwrap();
        assert_eq!(first.digest, again.digest);

        // A custom section more: the same plugin with other bytes.
        let mut other = guests::PROBE.to_vec();
        other.extend_from_slice(b"\0\x05\x04note");
        let refused = packages::install(&rig.core, other).await.unwrap_err();
        assert!(matches!(refused, Error::Conflict { code: Reason::VersionExists, .. }), "{refused:?}");
    }

    async fn an_action_is_told_who_runs_and_for_whom(rig: Rig) {
        let probe = rig.enable(guests::PROBE).await;
        let outcome = rig.act(&probe, "echo", json!({ "word": "hi" })).await.unwrap();
        assert_eq!(outcome.body["tenant"], rig.actor.tenant.as_str());
        assert_eq!(outcome.body["time_zone"], "Asia/Shanghai");
        assert_eq!(outcome.body["now"], "2026-03-01T08:00:00.000000Z");
        assert_eq!(outcome.body["greeting"], "hello");
        assert_eq!(outcome.body["input"], json!({ "word": "hi" }));
        assert_eq!(outcome.body["attempt"], 1);
    }

    async fn an_input_that_the_manifest_refuses_does_not_reach_the_plugin(rig: Rig) {
        let probe = rig.enable(guests::PROBE).await;
        let error = rig.act(&probe, "take", json!({ "amount": 0, "more": 1 })).await.unwrap_err();
        let Error::Invalid { mut faults } = error else { panic!("{error:?}") };
        faults.sort_by(|one, other| one.pointer.cmp(&other.pointer));
        assert_eq!((faults[0].pointer.as_str(), &*faults[0].code), ("/amount", "too_small"));
        assert_eq!((faults[1].pointer.as_str(), &*faults[1].code), ("/more", "unknown_field"));

        let unknown = rig.act(&probe, "no-such-action", json!({})).await.unwrap_err();
        assert!(matches!(unknown, Error::NotFound { .. }));
    }

    async fn settings_are_checked_when_they_are_set(rig: Rig) {
        let probe = packages::install(&rig.core, guests::PROBE.to_vec()).await.unwrap().name;
        let wrong = json!({ "greeting": 7, "unknown": true });
        let error = rig.enable_with(&probe, None, wrong).await.unwrap_err();
        let Error::Invalid { faults } = error else { panic!("{error:?}") };
        let mut pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        pointers.sort_unstable();
        assert_eq!(pointers, ["/settings/greeting", "/settings/unknown"]);

        rig.enable_with(&probe, None, json!({ "greeting": "hi" })).await.unwrap();
        let patch = EnablementPatch { settings: Some(json!({ "greeting": "hello again" })), ..EnablementPatch::default() };
        enablement::change(&rig.core, &rig.actor, &probe, patch, Some(1)).await.unwrap();
        assert_eq!(rig.act(&probe, "echo", json!({})).await.unwrap().body["greeting"], "hello again");

        let patch = EnablementPatch::default();
        let stale = enablement::change(&rig.core, &rig.actor, &probe, patch, Some(1)).await.unwrap_err();
        assert!(matches!(stale, Error::VersionMismatch { version: 2, .. }));
    }

    async fn a_plugin_may_refuse_to_be_enabled(rig: Rig) {
        let probe = packages::install(&rig.core, guests::PROBE.to_vec()).await.unwrap().name;
        let refused = rig.enable_with(&probe, None, json!({ "refuse_enable": true })).await.unwrap_err();
        assert_eq!(code(&refused), "rejected: told_to_refuse");
        let missing = enablement::find(&rig.core, &rig.actor, &probe).await.unwrap_err();
        assert!(matches!(missing, Error::NotFound { .. }));
    }

    async fn a_plugin_gets_no_grant_that_it_did_not_ask_for_and_none_that_is_withheld(rig: Rig) {
        let hostile = packages::install(&rig.core, guests::HOSTILE.to_vec()).await.unwrap().name;
        let too_much = Some(vec![Grant::KvOwn, Grant::OrdersRead]);
        let error = rig.enable_with(&hostile, too_much, json!({})).await.unwrap_err();
        let Error::Invalid { faults } = error else { panic!("{error:?}") };
        assert_eq!((faults[0].pointer.as_str(), &*faults[0].code), ("/grants/1", "not_asked_for"));

        rig.enable_with(&hostile, Some(vec![Grant::KvOwn]), json!({})).await.unwrap();
        let denied = rig.act(&hostile, "write-then-refuse", json!({})).await.unwrap_err();
        assert_eq!(code(&denied), "rejected: denied");
        assert!(denied.to_string().contains("documents:own"), "{denied}");
        assert!(rig.log(&hostile).await[0].contains("has not granted `documents:own`"));
    }

    async fn a_grant_that_is_withdrawn_is_gone_at_once(rig: Rig) {
        let probe = rig.enable(guests::PROBE).await;
        rig.act(&probe, "add", json!({ "amount": 5 })).await.unwrap();
        let rest = vec![Grant::SettingsOwn, Grant::KvOwn];
        let patch = EnablementPatch { grants: Some(requests(rest)), ..EnablementPatch::default() };
        enablement::change(&rig.core, &rig.actor, &probe, patch, None).await.unwrap();
        let denied = rig.act(&probe, "add", json!({ "amount": 5 })).await.unwrap_err();
        assert_eq!(code(&denied), "rejected: denied");

        enablement::disable(&rig.core, &rig.actor, &probe, None).await.unwrap();
        let gone = rig.act(&probe, "echo", json!({})).await.unwrap_err();
        assert!(matches!(gone, Error::NotFound { .. }));
    }

    async fn hostile_guests_are_stopped_and_leave_nothing_behind(rig: Besieged) {
        let hostile = rig.enable(guests::HOSTILE).await;
        let expected = [
            ("loop", "failed: fuel"),
            ("grow-memory", "failed: memory"),
            ("trap", "failed: trap"),
            ("recurse", "failed: stack"),
            ("giant-log", "failed: transfer"),
            ("write-then-trap", "failed: trap"),
        ];
        for (action, wanted) in expected {
            rig.clock.advance_seconds(60);
            let error = rig.act(&hostile, action, json!({})).await.unwrap_err();
            let slow = action == "loop" && code(&error) == "failed: deadline";
            assert!(slow || code(&error) == wanted, "{action}: {error}");
        }
        rig.clock.advance_seconds(60);
        for action in ["giant-document", "deep-document", "undeclared-collection", "undeclared-field"] {
            let error = rig.act(&hostile, action, json!({})).await.unwrap_err();
            assert!(code(&error).starts_with("rejected: "), "{action}: {error}");
        }
        for action in ["many-documents", "flood-documents", "flood-reads", "flood-kv"] {
            let error = rig.act(&hostile, action, json!({})).await.unwrap_err();
            assert_eq!(code(&error), "rejected: limit", "{action}: {error}");
        }
        assert_eq!(code(&rig.act(&hostile, "write-then-refuse", json!({})).await.unwrap_err()), "rejected: changed_my_mind");
        rig.act(&hostile, "behave", json!({})).await.unwrap();

        let page = PageRequest::default();
        let junk = data::collection(&rig.core, &rig.actor, (&hostile, "junk"), &page);
        assert!(junk.await.unwrap().items.is_empty());
        let log = rig.log(&hostile).await;
        assert!(log.iter().any(|line| line.starts_with("failure fuel")), "{log:?}");
        assert!(log.iter().any(|line| line.contains("panicked at tests/guests/hostile")), "{log:?}");
        assert!(log.iter().any(|line| line.starts_with("failure trap") && line.contains("unreachable")), "{log:?}");
    }

    async fn a_flood_of_log_lines_is_cut(rig: Besieged) {
        let hostile = rig.enable(guests::HOSTILE).await;
        let flooded = rig.act(&hostile, "flood-log", json!({})).await;
        let log = rig.log(&hostile).await;
        assert!(log.len() <= 102, "{}", log.len());
        assert!(log.iter().any(|line| line.contains("more lines were dropped")), "{flooded:?} {:?}", &log[..3]);
    }

    async fn a_spinning_guest_does_not_disturb_another_tenant(rig: Rig) {
        let hostile = rig.enable(guests::HOSTILE).await;
        rig.enable_for(&rig.neighbour, guests::PROBE).await;
        let there = rig.customer_of(&rig.neighbour).await;
        let act = |who: &Actor, plugin: &'static str, action: &'static str| {
            let customer = if who.tenant == rig.neighbour.tenant { &there } else { &rig.customer };
            let (core, who, target) = (Arc::clone(&rig.core), who.clone(), Subject::Customer(customer.clone()));
            tokio::spawn(async move { actions::run(&core, &who, (plugin, action), target, json!({})).await })
        };
        assert_eq!(hostile, "hostile");
        let spinning: Vec<_> = (0..4).map(|_| act(&rig.actor, "hostile", "loop")).collect();
        for _ in 0..10 {
            act(&rig.neighbour, "probe", "echo").await.unwrap().unwrap();
        }
        for spun in spinning {
            let error = spun.await.unwrap().unwrap_err();
            assert!(matches!(error, Error::PluginFailed { .. }), "{error:?}");
        }
        act(&rig.actor, "hostile", "behave").await.unwrap().unwrap();
    }

    async fn concurrent_redeems_never_overdraw(rig: Rig) {
        let probe = rig.enable(guests::PROBE).await;
        rig.act(&probe, "add", json!({ "amount": 20 })).await.unwrap();
        let takes = join_all((0..64).map(|_| rig.act(&probe, "take", json!({ "amount": 1 })))).await;
        let refused = takes.iter().filter_map(|outcome| outcome.as_ref().err());
        assert!(refused.clone().all(|error| code(error) == "rejected: too_few"), "{:?}", refused.collect::<Vec<_>>());
        let taken = takes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(taken, 20);
        let left = rig.act(&probe, "add", json!({ "amount": 0 })).await.unwrap();
        assert_eq!(left.body["amount"], 0);
    }

    async fn the_same_run_burns_the_same_fuel(rig: Rig) {
        let hostile = rig.enable(guests::HOSTILE).await;
        let mut burnt = Vec::new();
        for _ in 0..3 {
            rig.act(&hostile, "behave", json!({})).await.unwrap();
            let health = rig.host.health(&rig.actor.tenant, &hostile);
            burnt.push(health.iter().find(|point| point.point == "actions").unwrap().last_fuel);
        }
        assert!(burnt[0] > 0 && burnt.iter().all(|fuel| *fuel == burnt[0]), "{burnt:?}");
    }

    async fn a_server_that_does_not_know_of_a_withdrawn_grant_learns_of_it_before_it_commits(rig: Rig) {
        let probe = rig.enable(guests::PROBE).await;
        let other = rig.second_server();
        let add = async || {
            let target = Subject::Customer(rig.customer.clone());
            actions::run(&other, &rig.actor, (&probe, "add"), target, json!({ "amount": 1 })).await
        };
        assert_eq!(add().await.unwrap().body["amount"], 1);
        let patch = EnablementPatch { grants: Some(requests(vec![Grant::SettingsOwn])), ..EnablementPatch::default() };
        enablement::change(&rig.core, &rig.actor, &probe, patch, None).await.unwrap();
        assert_eq!(code(&add().await.unwrap_err()), "rejected: denied");
        let page = PageRequest::default();
        let kept = data::collection(&rig.core, &rig.actor, (&probe, "tallies"), &page).await.unwrap();
        assert_eq!(kept.items[0].body["amount"], 1);
    }

    async fn hooks_patch_and_veto_a_save(rig: Rig) {
        rig.enable(guests::PROBE).await;
        let save = |name: &str| Save {
            entity: HookedEntity::Customer,
            before: None,
            after: customer_json(&rig, name),
        };
        let saved = rig.host.before_save(&rig.actor, save("Ada")).await.unwrap();
        assert_eq!(saved, customer_json(&rig, "Ada"));
        let saved = rig.host.before_save(&rig.actor, save("patch: Grace")).await.unwrap();
        assert_eq!(saved["name"], "Grace");
        let vetoed = rig.host.before_save(&rig.actor, save("reject: Eve")).await.unwrap_err();
        let Error::PluginRejected { plugin, code, faults, .. } = vetoed else { panic!("{vetoed:?}") };
        assert_eq!((plugin.as_str(), code.as_str()), ("probe", "told_to_reject"));
        assert_eq!(faults[0].pointer, "/name");
        let failed = rig.host.before_save(&rig.actor, save("trap: now")).await.unwrap_err();
        assert_eq!(crate::plugin_rig::code(&failed), "failed: trap");
    }

    async fn a_hook_that_keeps_failing_is_paused_and_tried_again(rig: Rig) {
        rig.enable(guests::PROBE).await;
        let save = |name: &str| Save {
            entity: HookedEntity::Customer,
            before: None,
            after: customer_json(&rig, name),
        };
        for _ in 0..5 {
            let failed = rig.host.before_save(&rig.actor, save("trap: again")).await.unwrap_err();
            assert_eq!(code(&failed), "failed: trap");
        }
        let paused = rig.host.before_save(&rig.actor, save("Ada")).await.unwrap_err();
        assert_eq!(code(&paused), "failed: paused");
        let health = rig.host.health(&rig.actor.tenant, "probe");
        let hooks = health.iter().find(|point| point.point == "hooks").unwrap();
        assert_eq!(hooks.failures_in_a_row, 5);
        assert!(hooks.paused_until.is_some());
        rig.clock.advance_seconds(31);
        rig.host.before_save(&rig.actor, save("Ada")).await.unwrap();
    }

    async fn a_hook_may_not_write(rig: Rig) {
        rig.enable(guests::HOSTILE).await;
        let after = customer_json(&rig, "hostile: hook writes");
        let save = Save { entity: HookedEntity::Customer, before: None, after };
        let told = rig.host.before_save(&rig.actor, save).await.unwrap_err();
        assert!(told.to_string().contains("hooks may not write"), "{told}");
    }

    async fn events_and_their_acknowledgement_commit_together_or_not_at_all(rig: Rig) {
        let hostile = rig.enable(guests::HOSTILE).await;
        let tenant = &rig.actor.tenant;
        let event = rig.event("customer.created", customer_json(&rig, "Ada"));
        let refuse: Ack = Arc::new(|_tx| Box::pin(async { Err(Error::conflict(Reason::LeaseLost, "no")) }));
        let refused = rig.host.deliver(tenant, &hostile, std::slice::from_ref(&event), refuse).await.unwrap_err();
        assert!(matches!(refused, Error::Conflict { code: Reason::LeaseLost, .. }));
        assert_eq!(junk(&rig).await, 0);

        let delivered = rig.host.deliver(tenant, &hostile, &[event.clone(), event], nothing()).await.unwrap();
        assert_eq!(delivered, Delivered::Committed(None));
        assert_eq!(junk(&rig).await, 1);

        let bad = rig.event("customer.updated", customer_json(&rig, "hostile: event traps"));
        let good = rig.event("customer.updated", customer_json(&rig, "Grace"));
        let failed = rig.host.deliver(tenant, &hostile, &[good, bad], nothing()).await.unwrap_err();
        assert_eq!(code(&failed), "failed: trap");
        assert_eq!(junk(&rig).await, 1);

        let elsewhere = rig.host.deliver(&rig.neighbour.tenant, &hostile, &[], nothing()).await.unwrap();
        assert_eq!(elsewhere, Delivered::NotEnabled);
    }

    async fn a_job_runs_in_chunks_that_commit_one_by_one(rig: Rig) {
        let probe = rig.enable(guests::PROBE).await;
        let mut cursor = None;
        let mut chunks = 0;
        loop {
            let chunk = JobChunk {
                job: "nightly".to_owned(),
                due_at: rig.core.now(),
                cursor: cursor.take(),
                attempt: 1,
            };
            let ack: JobAck = Arc::new(|_tx, _cursor| Box::pin(async { Ok(()) }));
            chunks += 1;
            match rig.host.run_job(&rig.actor.tenant, &probe, chunk, ack).await.unwrap() {
                Delivered::Committed(Some(next)) => cursor = Some(next),
                Delivered::Committed(None) => break,
                Delivered::NotEnabled => panic!("it is enabled"),
            }
        }
        assert_eq!(chunks, 3);
    }

    async fn a_panel_is_typed_blocks(rig: Rig) {
        rig.enable(guests::PROBE).await;
        let target = Subject::Customer(rig.customer.clone());
        let panels = rig.host.panels(&rig.actor, "customer", target).await.unwrap();
        assert_eq!(panels.len(), 1);
        assert_eq!(panels[0].failure, None);
        let kinds: Vec<&str> = panels[0].blocks.iter().filter_map(|block| block["type"].as_str()).collect();
        assert_eq!(
            kinds,
            [
                "heading", "text", "key_value", "stat", "table", "badge", "progress", "chart", "form", "button",
                "link", "group_start", "text", "group_end", "custom",
            ]
        );
    }
}

fn customer_json(rig: &Rig, name: &str) -> Value {
    json!({
        "id": rig.customer, "version": 1, "kind": "person", "name": name, "lifecycle_stage": "lead",
        "tags": [], "contact_points": [], "identities": [], "preferences": {}, "custom_fields": {},
        "fields": {}, "created_at": "2026-03-01T08:00:00.000000Z", "updated_at": "2026-03-01T08:00:00.000000Z",
    })
}

async fn junk(rig: &Rig) -> usize {
    let page = PageRequest::default();
    let page = data::collection(&rig.core, &rig.actor, ("hostile", "junk"), &page).await;
    page.unwrap().items.len()
}
