//! Plugins and core records: what they read, write and see of their own writes, and
//! never more than the acting person may.

use std::sync::Arc;

use hospes::domain::actor::{Actor, Principal};
use hospes::domain::code::{Reason, RecordKind};
use hospes::domain::event::Subject;
use hospes::domain::grant::Grant;
use hospes::domain::ids::UserId;
use hospes::domain::page::PageRequest;
use hospes::domain::permission::Role;
use hospes::error::Error;
use hospes::ops::plugins::enablement::{self, EnablementPatch};
use hospes::ops::plugins::{Plugins as _, actions};
use hospes::ops::{customers, timeline};
use hospes_tests::{both_engines, guests};
use serde_json::{Value, json};

use crate::plugin_oracles::Besieged;
use crate::plugin_rig::{code, nothing, requests};

both_engines! {
    async fn an_invocation_sees_its_own_writes_and_they_commit_together(rig: Besieged) {
        let probe = rig.enable(guests::PROBE).await;
        let renamed = rig.act(&probe, "rename", json!({ "name": "Grace" })).await.unwrap();
        assert_eq!(renamed.body["customer"]["name"], "Grace");
        let stored = customers::get(&rig.core, &rig.actor, &rig.customer).await.unwrap();
        assert_eq!((stored.name.as_str(), stored.version), ("Grace", 2));

        let noted = rig.act(&probe, "note", json!({ "text": "hello", "key": "k1" })).await.unwrap();
        assert_eq!(noted.body["entries"].as_array().unwrap().len(), 1);
        rig.act(&probe, "note", json!({ "text": "hello again", "key": "k1" })).await.unwrap();
        let page = PageRequest::default();
        let filter = Default::default();
        let entries = timeline::list(&rig.core, &rig.actor, &rig.customer, &filter, &page).await.unwrap().items;
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].kind, "probe.noted");
    }

    async fn a_patch_of_another_version_is_a_conflict_that_the_plugin_is_told(rig: Besieged) {
        let probe = rig.enable(guests::PROBE).await;
        let stale = rig.act(&probe, "rename", json!({ "name": "Eve", "version": 7 })).await.unwrap_err();
        assert_eq!(code(&stale), "rejected: conflict");
        let stored = customers::get(&rig.core, &rig.actor, &rig.customer).await.unwrap();
        assert_eq!(stored.name, "Ada");
    }

    async fn a_plugin_makes_customers_and_sets_its_own_fields(rig: Besieged) {
        let probe = rig.enable(guests::PROBE).await;
        let made = rig.act(&probe, "create", json!({ "name": "Lin" })).await.unwrap();
        let id = made.body["ids"][0].as_str().unwrap().parse().unwrap();
        assert_eq!(customers::get(&rig.core, &rig.actor, &id).await.unwrap().name, "Lin");

        rig.act(&probe, "label", json!({ "label": "vip" })).await.unwrap();
        let stored = customers::get(&rig.core, &rig.actor, &rig.customer).await.unwrap();
        assert_eq!(stored.fields["probe.label"], "vip");
        rig.act(&probe, "label", json!({})).await.unwrap();
        let stored = customers::get(&rig.core, &rig.actor, &rig.customer).await.unwrap();
        assert!(!stored.fields.contains_key("probe.label"));
    }

    async fn a_plugin_never_does_more_than_the_acting_person_may(rig: Besieged) {
        let probe = rig.enable(guests::PROBE).await;
        let user = UserId::new(&*rig.core.ids, rig.core.now());
        // An agent without a unit reaches only records of their own.
        let stranger = Actor {
            principal: Principal::User(user),
            roles: vec![Role::Agent],
            ..rig.actor.clone()
        };
        let target = Subject::Customer(rig.customer.clone());
        let hidden = actions::run(&rig.core, &stranger, (&probe, "read"), target.clone(), json!({})).await;
        assert!(matches!(hidden.unwrap_err(), Error::NotFound { kind: RecordKind::Customer, .. }));

        // An owner whose token is left with reading and buttons cannot write through a plugin either.
        use hospes::domain::permission::Permission;
        let allowed: Arc<[Permission]> = Arc::new([Permission::CustomerRead, Permission::PluginAct]);
        let reader = Actor { allowed: Some(allowed), ..rig.actor.clone() };
        let run = actions::run(&rig.core, &reader, (&probe, "rename"), target, json!({ "name": "Eve" })).await;
        let denied = run.unwrap_err();
        assert_eq!(code(&denied), "rejected: denied");
        assert_eq!(customers::get(&rig.core, &rig.actor, &rig.customer).await.unwrap().name, "Ada");
    }

    async fn an_action_is_only_for_the_roles_that_its_manifest_names(rig: Besieged) {
        let probe = rig.enable(guests::PROBE).await;
        let manager = Actor { roles: vec![Role::Integration], ..rig.actor.clone() };
        let target = Subject::Customer(rig.customer.clone());
        let refused = actions::run(&rig.core, &manager, (&probe, "add"), target, json!({ "amount": 1 })).await;
        assert!(matches!(refused.unwrap_err(), Error::Refused { code: Reason::Role { .. }, .. }));
    }

    async fn events_reach_documents_and_fields_once(rig: Besieged) {
        let probe = rig.enable(guests::PROBE).await;
        let ada = customers::get(&rig.core, &rig.actor, &rig.customer).await.unwrap();
        let body = serde_json::to_value(&ada).unwrap();
        let events: Vec<_> = (0..20).map(|_| rig.event("customer.updated", body.clone())).collect();
        rig.host.deliver(&rig.actor.tenant, &probe, &events, nothing()).await.unwrap();
        let read = rig.act(&probe, "read", json!({})).await.unwrap();
        assert_eq!(read.body["tally"], 20);
        assert_eq!(read.body["seen"].as_array().unwrap().len(), 20);
        assert_eq!(read.body["seen_again"], 0);
        let stored = customers::get(&rig.core, &rig.actor, &rig.customer).await.unwrap();
        assert_eq!(stored.fields["probe.events"], 20);
    }

    async fn what_a_plugin_may_no_longer_read_is_not_delivered_to_it(rig: Besieged) {
        let probe = rig.enable(guests::PROBE).await;
        let granted = enablement::find(&rig.core, &rig.actor, &probe).await.unwrap().grants.0;
        let without = granted.iter().filter(|grant| *grant != Grant::CustomersRead).collect();
        let patch = EnablementPatch { grants: Some(requests(without)), ..EnablementPatch::default() };
        enablement::change(&rig.core, &rig.actor, &probe, patch, None).await.unwrap();
        let ada = customers::get(&rig.core, &rig.actor, &rig.customer).await.unwrap();
        let event = rig.event("customer.updated", serde_json::to_value(&ada).unwrap());
        rig.host.deliver(&rig.actor.tenant, &probe, &[event], nothing()).await.unwrap();
        let collection = ("probe", "seen");
        let page = PageRequest::default();
        let seen = hospes::ops::plugins::data::collection(&rig.core, &rig.actor, collection, &page).await;
        assert!(seen.unwrap().items.is_empty());
    }

    async fn a_save_passes_the_hooks_of_plugins(rig: Besieged) {
        rig.enable(guests::PROBE).await;
        let rename = async |name: &str| {
            let patch: Value = json!({ "name": name });
            let patch = serde_json::from_value(patch).unwrap();
            customers::update(&rig.core, &rig.actor, (&rig.customer, None), patch).await
        };
        assert_eq!(rename("patch: Grace").await.unwrap().name, "Grace");
        let vetoed = rename("reject: Eve").await.unwrap_err();
        assert_eq!(code(&vetoed), "rejected: told_to_reject");
        let stored = customers::get(&rig.core, &rig.actor, &rig.customer).await.unwrap();
        assert_eq!(stored.name, "Grace");
    }

    async fn a_hook_that_leaves_no_customer_stops_the_save(rig: Besieged) {
        rig.enable(guests::HOSTILE).await;
        let patch = serde_json::from_value(json!({ "name": "hostile: hook patches badly" })).unwrap();
        let refused = customers::update(&rig.core, &rig.actor, (&rig.customer, None), patch).await.unwrap_err();
        assert!(matches!(refused, Error::Invalid { .. }), "{refused:?}");
    }
}
