//! Files of plugins: what they may be called, how much there may be, who sees them, and that a
//! failure leaves nothing behind.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hospes::domain::actor::Actor;
use hospes::domain::event::Subject;
use hospes::domain::grant::Grant;
use hospes::error::Result;
use hospes::jobs::retention::{Policy, Report, Retention};
use hospes::ops::plugins::{actions, enablement};
use hospes_tests::{both_engines, guests};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::plugin_oracles::Besieged;
use crate::plugin_rig::Rig;

const COURIER: &str = "courier-a";

impl Rig {
    /// What came of each step of a script.
    pub(crate) async fn script(&self, plugin: &str, script: Value) -> Result<Value> {
        Ok(self.act(plugin, "do", json!({ "script": script })).await?.body)
    }

    async fn script_of(&self, actor: &Actor, script: Value) -> Value {
        let target = Subject::Customer(self.customer_of(actor).await);
        let input = json!({ "script": script });
        actions::run(&self.core, actor, (COURIER, "do"), target, input).await.unwrap().body
    }

    /// The blobs that are on the disk.
    fn blobs(&self) -> Vec<PathBuf> {
        fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { walk(&path, found) } else { found.push(path) }
            }
        }
        let mut found = Vec::new();
        walk(&self.app.database.folder.path().join("files"), &mut found);
        found
    }

    async fn clean_up(&self) -> Report {
        let retention = Retention::new(Arc::clone(&self.core), Policy::default(), CancellationToken::new());
        retention.run_once().await.unwrap()
    }
}

both_engines! {
    async fn a_file_is_read_as_it_was_written_by_its_own_plugin_of_its_own_tenant(rig: Besieged) {
        rig.enable(guests::COURIER).await;
        let own = rig.script(COURIER, json!([
            ["read", "a/b.txt"], ["write", "a/b.txt", "one"], ["read", "a/b.txt"], ["write", "a/b.txt", "two"],
            ["read", "a/b.txt"], ["list", "", 10],
        ]));
        let seen = own.await.unwrap();
        let listed = json!({ "files": [["a/b.txt", 3]], "cursor": null });
        assert_eq!(seen, json!([null, "written", "one", "written", "two", listed]), "its own writes are seen");
        let later = rig.script(COURIER, json!([["read", "a/b.txt"], ["write", "a/b.txt", "three"]])).await.unwrap();
        assert_eq!(later[0], "two");
        assert_eq!(rig.script(COURIER, json!([["read", "a/b.txt"]])).await.unwrap(), json!(["three"]));

        // Another plugin of the tenant, and the same one of another tenant.
        let other = guests::edited(guests::COURIER, COURIER, "courier-z");
        rig.enable(&other).await;
        let look = json!([["read", "a/b.txt"], ["list", "", 10]]);
        let nothing = json!([null, { "files": [], "cursor": null }]);
        assert_eq!(rig.script("courier-z", look.clone()).await.unwrap(), nothing);
        rig.enable_for(&rig.neighbour, guests::COURIER).await;
        assert_eq!(rig.script_of(&rig.neighbour, look).await, nothing);
    }

    async fn a_name_that_leads_elsewhere_is_refused(rig: Besieged) {
        rig.enable(guests::COURIER).await;
        let long = "x".repeat(101);
        let names = [
            "", "/", "/etc/passwd", "..", "../other/secret", "a/../../b", "a/..", "./a", "a//b", "a/", ".ssh", "a\0b",
            "a\\b", "C:\\a", "a b", "\u{ff0e}\u{ff0e}/a", "%2e%2e/a", "a\n", &long,
        ];
        for name in names {
            for step in ["write", "read", "delete"] {
                let refused = rig.script(COURIER, json!([[step, name, "x"]])).await.unwrap();
                assert_eq!(refused, json!([{ "error": "invalid: file_name" }]), "{step} {name:?}");
            }
        }
        let listed = rig.script(COURIER, json!([["list", "../", 1], ["list", "", 0], ["list", "", 1, "../x"]]));
        let faults = ["file_name", "limit", "cursor"].map(|code| json!({ "error": format!("invalid: {code}") }));
        assert_eq!(listed.await.unwrap(), json!(faults));
        assert!(rig.blobs().is_empty(), "nothing has been written anywhere");
    }

    async fn what_breaks_off_leaves_no_file(rig: Besieged) {
        rig.enable(guests::COURIER).await;
        rig.script(COURIER, json!([["write", "kept", "one"]])).await.unwrap();
        for end in ["trap", "refuse", "unavailable"] {
            let script = json!([["write", "kept", "two"], ["write", "new", "x"], [end]]);
            rig.script(COURIER, script).await.unwrap_err();
            rig.clock.advance_seconds(60);
        }
        let seen = rig.script(COURIER, json!([["read", "kept"], ["read", "new"]])).await.unwrap();
        assert_eq!(seen, json!(["one", null]));
        assert_eq!(rig.blobs().len(), 1, "nothing is written before the guest has answered");
    }

    async fn a_content_that_no_file_names_is_removed_after_a_while(rig: Besieged) {
        rig.enable(guests::COURIER).await;
        rig.script(COURIER, json!([["write", "a", "1"], ["write", "b", "1"], ["write", "c", "1"]])).await.unwrap();
        rig.script(COURIER, json!([["write", "a", "2"], ["delete", "b"], ["delete", "no-such"]])).await.unwrap();
        assert_eq!((rig.blobs().len(), rig.clean_up().await.blobs), (4, 0), "who has just read the names is served");
        rig.clock.advance_seconds(3_601);
        assert_eq!((rig.clean_up().await.blobs, rig.blobs().len()), (2, 2));
        assert_eq!(rig.clean_up().await.blobs, 0);
        let seen = rig.script(COURIER, json!([["read", "a"], ["read", "b"], ["read", "c"]])).await.unwrap();
        assert_eq!(seen, json!(["2", null, "1"]));
    }

    async fn more_than_the_quota_is_refused(rig: Besieged) {
        rig.enable(guests::COURIER).await;
        let big = rig.script(COURIER, json!([["fill", "big", (2 << 20) + 1], ["fill", "big", 2 << 20], ["size", "big"]]));
        assert_eq!(big.await.unwrap(), json!([{ "error": "invalid: too_long" }, "written", 2 << 20]));
        let flood = rig.script(COURIER, json!([["many", "f", 101], ["list", "f", 500]])).await.unwrap();
        assert_eq!(flood[0], json!({ "error": "limit: 100 files written by one invocation" }));
        assert_eq!(flood[1]["files"].as_array().unwrap().len(), 100);

        // 12 files of 2 MiB each are as much as one invocation moves; 256 MiB are 128 of them.
        for round in 0..13 {
            let fill = (0..10).map(|count| json!(["fill", format!("q/{round}-{count}"), 2 << 20]));
            let written = rig.script(COURIER, Value::Array(fill.collect())).await.unwrap();
            if round < 12 {
                assert_eq!(written, json!(vec!["written"; 10]), "{round}");
                continue;
            }
            // 1 and 120 are there, and the flood is 100 bytes: 6 go in and not one more.
            let refused = written.as_array().unwrap().iter().filter(|result| result["error"].is_string());
            assert_eq!(refused.count(), 4, "{written}");
            let error = written[9]["error"].as_str().unwrap();
            assert!(error.starts_with("limit: a plugin keeps at most 10000 files"), "{error}");
        }
        // Room comes back with what is removed.
        let again = rig.script(COURIER, json!([["delete", "big"], ["fill", "q/again", 2 << 20]])).await.unwrap();
        assert_eq!(again, json!(["deleted", "written"]));
    }

    async fn a_page_of_files_leads_to_the_next(rig: Besieged) {
        rig.enable(guests::COURIER).await;
        rig.script(COURIER, json!([["many", "p/", 5], ["write", "q", ""]])).await.unwrap();
        // In the same invocation: one goes, one comes, one changes.
        let script = json!([
            ["delete", "p/00001"], ["write", "p/00000a", "new"], ["write", "p/00004", "longer"],
            ["list", "p/", 2], ["list", "p/", 2, "p/00000a"], ["list", "p/", 2, "p/00003"],
        ]);
        let pages = rig.script(COURIER, script).await.unwrap();
        let page = |files: Value, cursor: Value| json!({ "files": files, "cursor": cursor });
        assert_eq!(pages[3], page(json!([["p/00000", 1], ["p/00000a", 3]]), json!("p/00000a")));
        assert_eq!(pages[4], page(json!([["p/00002", 1], ["p/00003", 1]]), json!("p/00003")));
        assert_eq!(pages[5], page(json!([["p/00004", 6]]), Value::Null));
    }

    async fn files_stay_when_a_plugin_is_disabled_and_need_their_grant(rig: Besieged) {
        rig.enable(guests::COURIER).await;
        rig.script(COURIER, json!([["write", "a", "1"]])).await.unwrap();
        enablement::disable(&rig.core, &rig.actor, COURIER, None).await.unwrap();
        rig.script(COURIER, json!([["read", "a"]])).await.unwrap_err();
        rig.clock.advance_seconds(3_601);
        assert_eq!(rig.clean_up().await.blobs, 0);
        rig.enable_with(COURIER, Some(vec![Grant::KvOwn]), json!({})).await.unwrap();
        let denied = rig.script(COURIER, json!([["read", "a"], ["write", "a", "2"]])).await.unwrap();
        assert_eq!(denied, json!([{ "error": "denied: files:own" }, { "error": "denied: files:own" }]));
        rig.enable_with(COURIER, Some(vec![Grant::FilesOwn]), json!({})).await.unwrap();
        assert_eq!(rig.script(COURIER, json!([["read", "a"]])).await.unwrap(), json!(["1"]));
    }

    async fn two_that_write_one_file_do_so_one_after_the_other(rig: Besieged) {
        rig.enable(guests::COURIER).await;
        let write = |name: usize| rig.script(COURIER, json!([["read", "a"], ["write", "a", name.to_string()]]));
        let written = futures::future::join_all((0..8).map(write)).await;
        let seen: Vec<Value> = written.into_iter().map(|seen| seen.unwrap()[0].clone()).collect();
        let first = seen.iter().filter(|seen| seen.is_null());
        assert_eq!(first.count(), 1, "each has read what another has left: {seen:?}");
        assert_eq!(rig.script(COURIER, json!([["list", "", 9]])).await.unwrap()[0]["files"], json!([["a", 1]]));
    }

    async fn a_content_that_is_lost_is_told_and_not_made_up(rig: Besieged) {
        rig.enable(guests::COURIER).await;
        rig.script(COURIER, json!([["write", "a", "12345"]])).await.unwrap();
        let blob = rig.blobs().remove(0);
        std::fs::write(&blob, "123").unwrap();
        let short = rig.script(COURIER, json!([["read", "a"]])).await.unwrap();
        assert!(short[0]["error"].as_str().unwrap().starts_with("unavailable"), "{short}");
        std::fs::remove_file(&blob).unwrap();
        let lost = rig.script(COURIER, json!([["read", "a"], ["list", "", 1]])).await.unwrap();
        assert!(lost[0]["error"].as_str().unwrap().starts_with("unavailable"), "{lost}");
        assert_eq!(lost[1]["files"], json!([["a", 5]]));
        rig.script(COURIER, json!([["write", "a", "again"]])).await.unwrap();
        assert_eq!(rig.script(COURIER, json!([["read", "a"]])).await.unwrap(), json!(["again"]));
    }
}
