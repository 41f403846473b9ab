//! Recordings as they are kept: sealed, bounded, shown to whoever may see them, and replayed elsewhere.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use futures::future::join_all;
use hospes::db::Sql;
use hospes::domain::permission::Role;
use hospes::domain::recording::Keep;
use hospes::error::Error;
use hospes::jobs::retention::{Policy, Retention};
use hospes::ops::plugins::enablement::{self, EnablementPatch};
use hospes::ops::plugins::recordings::{self, open_file};
use hospes::plugin::replay::Replay;
use hospes_tests::{Received, Reply, TestDb, both_engines, guests};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::plugin_requests::{HOST, SECRET, Scene};
use crate::plugin_rig::Rig;
use crate::recorder_replay::{all, replay};

const ADDRESS: &str = "/api/v1/plugin-recordings";
const NAME: &str = "Ottoline-Secretname";
/// 32 bytes in base64.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

#[derive(sqlx::FromRow)]
struct Bytes {
    body: Vec<u8>,
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

impl Rig {
    /// Records a run of the probe that reads and writes the customer's name, and keeps it.
    async fn renamed(&self) -> Value {
        self.act("probe", "rename", json!({ "name": NAME })).await.unwrap();
        recordings::write_down(&self.core).await.unwrap();
        self.recordings().await[0].clone()
    }

    async fn recordings(&self) -> Vec<Value> {
        self.app.owner.all(ADDRESS).await
    }

    /// Every byte that is kept of recordings.
    async fn stored(&self) -> Vec<u8> {
        const CHUNKS: Sql = Sql::new("SELECT body FROM recording_chunks");
        const ROWS: Sql = Sql::new("SELECT plugin, digest, point, outcome, customers FROM recordings");
        let mut reader = self.core.db.read(&self.actor.tenant).await.unwrap();
        let chunks: Vec<Bytes> = reader.fetch_all(CHUNKS, Vec::new()).await.unwrap();
        let rows: Vec<(String, String, String, String, String)> =
            reader.fetch_all(ROWS, Vec::new()).await.unwrap();
        let mut all: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.body).collect();
        all.extend(format!("{rows:?}").into_bytes());
        all
    }

    async fn audited(&self, action: &str) -> Vec<Value> {
        let lines = self.app.owner.all("/api/v1/audit").await;
        lines.into_iter().filter(|line| line["action"] == action).collect()
    }

    async fn probe_recorded(&self) {
        self.enable(guests::PROBE).await;
        self.record("probe", Keep::All).await;
    }

    async fn file_of(&self, recording: &Value) -> Vec<u8> {
        let id = recording["id"].as_str().unwrap().parse().unwrap();
        recordings::download(&self.core, &self.actor, &id).await.unwrap()
    }
}

fn program(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hospes-under-test"));
    command.env_clear().args(["plugin", "replay"]).args(arguments).output().unwrap()
}

fn path(folder: &Path, name: &str, content: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

both_engines! {
    async fn a_recording_is_kept_sealed_and_read_by_whoever_may(rig: Rig) {
        rig.probe_recorded().await;
        let recording = rig.renamed().await;
        assert_eq!(
            (&recording["plugin"], &recording["point"], &recording["outcome"], &recording["attempt"]),
            (&json!("probe"), &json!("actions"), &json!("ok"), &json!(1)),
        );
        assert!(recording["fuel"].as_i64().unwrap() > 1_000 && recording["truncated"] == json!(false));
        assert!(recording.get("customers").is_none(), "{recording}");
        let stored = rig.stored().await;
        assert!(stored.len() > 1_000 && !has(&stored, NAME) && !has(&stored, "Secretname"));

        let id = recording["id"].as_str().unwrap();
        let one = format!("{ADDRESS}/{id}");
        assert_eq!(rig.app.owner.get(&one).await.expect(200).body, recording);
        let file = rig.app.owner.get(&format!("{one}/file")).await.expect(200);
        assert_eq!(file.header("content-type"), "application/vnd.hospes.recording");
        let file = rig.file_of(&recording).await;
        assert!(file.starts_with(b"hospes-recording 1 plain sha256=") && has(&file, NAME));
        assert!(Replay::read(&open_file(&file, None).unwrap()).is_ok());
        assert_eq!(rig.audited("recording.download").await.len(), 2);

        for role in [Role::Manager, Role::Agent, Role::Analyst, Role::Auditor, Role::Integration] {
            let client = rig.app.acme.token(&[role]).await;
            for path in [ADDRESS, &one, &format!("{one}/file")] {
                assert_eq!(client.get(path).await.code(), (403, "forbidden"), "{role} {path}");
            }
            assert_eq!(client.delete(&one).await.code(), (403, "forbidden"), "{role}");
        }
        let there = &rig.there.owner;
        assert_eq!(there.all(ADDRESS).await, Vec::<Value>::new());
        assert_eq!(there.get(&format!("{one}/file")).await.code(), (404, "not_found"));
        assert_eq!(there.delete(&one).await.code(), (404, "not_found"));

        rig.app.owner.delete(&one).await.expect(204);
        assert_eq!(rig.app.owner.get(&one).await.code(), (404, "not_found"));
        assert_eq!((rig.audited("recording.delete").await.len(), rig.stored().await.len()), (1, 2));
    }

    async fn recordings_are_listed_page_by_page_and_by_what_they_are(rig: Rig) {
        rig.probe_recorded().await;
        for _ in 0..3 {
            rig.act("probe", "add", json!({ "amount": 1 })).await.unwrap();
        }
        rig.act("probe", "refuse", json!({})).await.unwrap_err();
        assert_eq!(recordings::write_down(&rig.core).await.unwrap(), 4);
        assert_eq!(recordings::write_down(&rig.core).await.unwrap(), 0);
        let page = rig.app.owner.get(&format!("{ADDRESS}?limit=3")).await.expect(200).body;
        assert_eq!((page["items"].as_array().unwrap().len(), &page["dropped"]), (3, &json!(0)));
        assert!(page["next_cursor"].is_string(), "{page}");
        let ids: Vec<Value> = rig.recordings().await.into_iter().map(|one| one["id"].clone()).collect();
        let mut sorted = ids.clone();
        sorted.sort_by_key(|id| std::cmp::Reverse(id.as_str().unwrap().to_owned()));
        assert_eq!((ids.len(), &ids), (4, &sorted));
        for (filter, count) in [("outcome=refused", 1), ("outcome=ok", 3), ("plugin=probe", 4), ("plugin=no", 0), ("point=jobs", 0)] {
            assert_eq!(rig.app.owner.all(&format!("{ADDRESS}?{filter}")).await.len(), count, "{filter}");
        }
    }

    async fn what_is_recorded_is_decided_with_the_enablement(rig: Rig) {
        rig.enable(guests::PROBE).await;
        let address = "/api/v1/plugins/probe/enablement";
        let owner = &rig.app.owner;
        assert_eq!(owner.get(address).await.body["recording"], json!({}));
        for wrong in [json!({ "actions": "some" }), json!({ "actions": "sample:0" }), json!({ "nowhere": "all" })] {
            assert!(owner.patch(address, json!({ "recording": wrong })).await.status.is_client_error(), "{wrong}");
        }
        let rules = json!({ "actions": "sample:50%", "events": "failures" });
        let changed = owner.patch(address, json!({ "recording": rules })).await.expect(200);
        assert_eq!((&changed.body["recording"], &changed.body["version"]), (&rules, &json!(2)));
        assert_eq!(rig.audited("plugin.configure").await[0]["changes"]["recording"], rules);
        for _ in 0..4 {
            rig.act("probe", "add", json!({ "amount": 1 })).await.unwrap();
        }
        assert_eq!(rig.recorded().len(), 2);
        let manager = rig.app.acme.token(&[Role::Manager]).await;
        assert_eq!(manager.patch(address, json!({ "recording": {} })).await.code(), (403, "forbidden"));

        // What is moved to another version, or enabled again, stays as it was decided.
        rig.enable(guests::PROBE).await;
        assert_eq!(owner.get(address).await.body["recording"], rules);
        let mut bare = hospes::ops::Core::new(rig.core.db.clone(), rig.clock.clone(), Arc::clone(&rig.core.ids));
        bare.vault = hospes::vault::Vault::default();
        let patch = EnablementPatch { recording: Some(all(Keep::All)), ..EnablementPatch::default() };
        let refused = enablement::change(&bare, &rig.actor, "probe", patch, None).await;
        assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    }

    async fn a_share_is_sealed_with_a_key_of_its_own_and_is_in_the_audit_log(rig: Rig) {
        rig.probe_recorded().await;
        let recording = rig.renamed().await;
        let id = recording["id"].as_str().unwrap();
        let address = format!("{ADDRESS}/{id}/share");
        for (wrong, pointer) in [(json!({ "key": "short", "recipient": "partner" }), "/key"), (json!({ "key": KEY, "recipient": "" }), "/recipient")] {
            let refused = rig.app.owner.post(&address, wrong).await;
            assert!(refused.status == 422 && refused.body.to_string().contains(pointer), "{}", refused.body);
        }
        assert!(rig.audited("recording.share").await.is_empty());
        let share = json!({ "key": KEY, "recipient": "partner@example.com" });
        rig.app.owner.post(&address, share.clone()).await.expect(200);
        let share = serde_json::from_value(share).unwrap();
        let file = recordings::share(&rig.core, &rig.actor, &id.parse().unwrap(), &share).await.unwrap();
        assert!(file.starts_with(b"hospes-recording 1 sealed sha256="));
        assert!(!has(&file, NAME) && !has(&file, rig.customer.as_str()) && !has(&file, KEY));
        let opened = open_file(&file, Some(KEY)).unwrap();
        assert!(has(&opened, NAME) && Replay::read(&opened).is_ok());
        let other = KEY.replace("AAEC", "AAED");
        for key in [None, Some(other.as_str()), Some("short")] {
            assert!(open_file(&file, key).is_err(), "{key:?}");
        }
        let lines = rig.audited("recording.share").await;
        assert_eq!((lines.len(), &lines[0]["changes"]["recipient"]), (2, &json!("partner@example.com")));
        assert!(!json!(lines).to_string().contains(KEY));
    }

    async fn who_is_erased_is_erased_from_every_recording(rig: Rig) {
        rig.probe_recorded().await;
        let about = rig.renamed().await;
        let tenant = rig.actor.tenant.clone();
        let other = rig.app.acme.customer("Grace").await.id;
        let path = format!("/api/v1/customers/{other}/actions/probe/add");
        rig.app.owner.post(&path, json!({ "amount": 1 })).await.expect(200);
        recordings::write_down(&rig.core).await.unwrap();
        let of_other = rig.recordings().await[0].clone();
        let state = (tenant.clone(), rig.customer.clone());
        let erased = rig.core.db.write(&tenant, state, |tx, (tenant, customer)| {
            Box::pin(recordings::forget_customer(tx, tenant, customer))
        });
        assert!(erased.await.unwrap());
        let file = |recording: &Value| format!("{ADDRESS}/{}/file", recording["id"].as_str().unwrap());
        assert_eq!(rig.app.owner.get(&file(&about)).await.code(), (410, "recording_erased"));
        rig.app.owner.get(&file(&of_other)).await.expect(200);
        // Whoever is recorded again later has another key.
        rig.renamed().await;
        assert_eq!(rig.app.owner.get(&file(&about)).await.code(), (410, "recording_erased"));
    }

    async fn recordings_are_kept_for_a_month_and_what_has_no_room_is_counted(rig: Rig) {
        rig.probe_recorded().await;
        for _ in 0..540 {
            rig.act("probe", "refuse", json!({})).await.unwrap_err();
        }
        assert_eq!(recordings::write_down(&rig.core).await.unwrap(), 512);
        let page = rig.app.owner.get(&format!("{ADDRESS}?plugin=probe&limit=1")).await.body;
        assert_eq!(page["dropped"], json!(28), "{page}");
        for _ in 0..500 {
            rig.act("probe", "refuse", json!({})).await.unwrap_err();
        }
        recordings::write_down(&rig.core).await.unwrap();
        assert_eq!(rig.recordings().await.len(), recordings::COUNT_MAX);
        let retention = Retention::new(Arc::clone(&rig.core), Policy::default(), CancellationToken::new());
        rig.clock.advance_seconds(recordings::DAYS_KEPT * 24 * 60 * 60);
        assert_eq!(retention.run_once().await.unwrap().recordings, 0);
        rig.clock.advance_seconds(1);
        assert_eq!(retention.run_once().await.unwrap().recordings, 1_000);
        assert_eq!(rig.recordings().await, Vec::<Value>::new());
    }

    async fn no_secret_of_a_request_is_recorded(database: TestDb) {
        let scene = Scene::start(database, |_: &Received| {
            Reply::Raw(b"HTTP/1.1 200 Ok\r\nset-cookie: sid=c00kie\r\nx-plain: seen\r\ncontent-length: 2\r\n\r\nok".to_vec())
        })
        .await;
        let rig = &scene.rig;
        rig.record("caller", Keep::All).await;
        assert_eq!(scene.keep("key", json!({ "host": HOST, "value": SECRET })).await.as_u16(), 200);
        let told = scene.send_one(json!({ "credential": "key", "path": "/a",
            "headers": [["x-access-token", "guests0wn"], ["x-one", "plain-one"]] })).await;
        assert_eq!(told["status"], 200, "{told}");
        let recordings = rig.recorded();
        let [recording] = recordings.as_slice() else { panic!("{recordings:?}") };
        // What the guest itself was told to send by its caller stands in its input.
        let body: Value = serde_json::from_slice(&recording.body).unwrap();
        let calls = body["calls"].to_string();
        for secret in ["sk-ed7c1b0f5a", "guests0wn", "c00kie"] {
            assert!(!calls.contains(secret), "{calls}");
        }
        assert!(!has(&recording.body, "sk-ed7c1b0f5a"));
        assert!(calls.contains("plain-one") && calls.contains("seen") && body["masked"] == json!(true), "{calls}");
        let verdict = replay(recording, guests::CALLER).await;
        assert!(verdict.effects_identical && verdict.masked && verdict.stopped_at.is_none(), "{verdict:?}");
    }

    async fn every_attempt_of_a_conflict_is_a_recording_of_its_own(rig: Rig) {
        rig.probe_recorded().await;
        let adds = (0..12).map(|_| rig.act("probe", "add", json!({ "amount": 1 })));
        assert!(join_all(adds).await.iter().all(Result::is_ok));
        let recordings = rig.recorded();
        assert!(recordings.len() >= 12 && recordings.iter().any(|one| one.attempt > 1), "{}", recordings.len());
        for recording in &recordings {
            assert!(replay(recording, guests::PROBE).await.is_identical(), "attempt {}", recording.attempt);
        }
    }

    async fn a_run_of_the_retail_plugin_replays_in_a_fresh_process(rig: Rig) {
        let retail = hospes_bundle::PLUGINS.iter().find(|one| one.name == "retail-membership").unwrap();
        rig.enable(retail.component).await;
        rig.record("retail-membership", Keep::All).await;
        let order = json!({ "customer_id": rig.customer, "channel": "store", "status": "completed",
            "ordered_at": "2026-02-01T00:00:00Z", "total": { "amount_minor": 123_400, "currency": "CNY" } });
        rig.app.owner.post("/api/v1/orders", order).await.expect(201);
        rig.app.run_jobs().await;
        recordings::write_down(&rig.core).await.unwrap();
        let kept = rig.app.owner.all(&format!("{ADDRESS}?point=events")).await;
        let folder = tempfile::tempdir().unwrap();
        assert!(!kept.is_empty());
        for (position, recording) in kept.iter().enumerate() {
            let file = path(folder.path(), &format!("{position}.recording"), &rig.file_of(recording).await);
            let output = program(&[&file, "--json"]);
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
            let told: Value = serde_json::from_str(&told).unwrap();
            assert_eq!((&told["identical"], &told["verdict"]["effects_identical"]), (&json!(true), &json!(true)));
        }
        let with_effects = path(folder.path(), "last", &rig.file_of(kept.last().unwrap()).await);
        let output = program(&[&with_effects, "--profile", "--samples", "40"]);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && told.contains("fuel by function") && told.contains(" %  "), "{told}");

        // A version that gives other names to what it keeps has other effects.
        let other = guests::edited(retail.component, "members", "numbers");
        let other = path(folder.path(), "other.wasm", &other);
        let output = program(&[&with_effects, "--with", &other]);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("replayed with") && (told.contains("DIFFERENT") || told.contains("was stopped")), "{told}");

        let damaged = std::fs::read(&with_effects).unwrap();
        let damaged = path(folder.path(), "damaged", &damaged[..damaged.len() - 1]);
        let output = program(&[&damaged]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && told.contains("damaged"), "{told}");
    }
}
