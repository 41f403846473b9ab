//! How a plugin leaves a tenant: what it keeps as a file, the days in which the decision can be taken
//! back, and the purge, after which nothing of it is left but what is the tenant's.

use std::collections::BTreeSet;
use std::sync::Arc;

use hospes::db::{Arg, Sql, plugin_data};
use hospes::error::Error;
use hospes::jobs::retention::{Policy, Report, Retention};
use hospes_tests::{both_engines, guests};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::plugin_rig::Rig;
use crate::process::Site;

const DAY: i64 = 24 * 60 * 60;
const COURIER: &str = "courier-a";

fn address(plugin: &str, what: &str) -> String {
    format!("/api/v1/plugins/{plugin}/{what}")
}

#[derive(sqlx::FromRow)]
struct Count {
    count: i64,
}

impl Rig {
    /// A plugin that has a document, a field on the customer and on nobody else, and a timeline entry.
    async fn probe_with_data(&self) {
        self.enable(guests::PROBE).await;
        self.act("probe", "add", json!({ "amount": 5 })).await.unwrap();
        self.act("probe", "label", json!({ "label": "gold", "margin": 7 })).await.unwrap();
        self.act("probe", "note", json!({ "text": "was here" })).await.unwrap();
    }

    async fn exported(&self, plugin: &str) -> Vec<Value> {
        let file = self.app.owner.get(&address(plugin, "export")).await.expect(200);
        assert_eq!(file.header("content-type"), "application/x-ndjson");
        file.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn look(&self) -> Report {
        let retention = Retention::new(Arc::clone(&self.core), Policy::default(), CancellationToken::new());
        retention.run_once().await.unwrap()
    }

    async fn uninstalled(&self, plugin: &str, keep_days: u32) -> Value {
        let body = json!({ "keep_days": keep_days });
        self.app.owner.post(&address(plugin, "uninstall"), body).await.expect(200).body
    }

    async fn told(&self, action: &str) -> Vec<Value> {
        let lines = self.app.owner.all("/api/v1/audit").await;
        lines.into_iter().filter(|line| line["action"] == action).collect()
    }

    async fn customer_now(&self) -> Value {
        self.app.owner.get(&format!("/api/v1/customers/{}", self.customer)).await.expect(200).body
    }

    async fn documents(&self) -> i64 {
        const COUNT: Sql = Sql::new("SELECT COUNT(*) AS count FROM documents WHERE plugin = 'probe'");
        let mut reader = self.core.db.read(&self.actor.tenant).await.unwrap();
        reader.fetch_one::<Count>(COUNT, Vec::new()).await.unwrap().count
    }
}

fn of_kind<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["kind"] == kind).collect()
}

both_engines! {
    async fn an_export_has_all_that_a_plugin_keeps_and_says_how_much_that_is(rig: Rig) {
        rig.probe_with_data().await;
        rig.enable(guests::COURIER).await;
        let long = "x".repeat(300_000);
        let script = json!([["write", "a/long.txt", long], ["write", "b.txt", "short"], ["count", "visits"]]);
        rig.script(COURIER, script).await.unwrap();

        let lines = rig.exported("probe").await;
        assert_eq!((&lines[0]["kind"], &lines[0]["version"]), (&json!("plugin"), &json!("1.0.0")));
        assert_eq!(lines[0]["settings"]["greeting"], "hello");
        let documents = of_kind(&lines, "document");
        let tally = documents.iter().find(|line| line["collection"] == "tallies").unwrap();
        assert_eq!((&tally["body"]["amount"], &tally["subject_id"]), (&json!(5), &json!(rig.customer)));
        let mut fields: Vec<(&Value, &Value)> =
            of_kind(&lines, "field").iter().map(|line| (&line["field"], &line["value"])).collect();
        fields.sort_by_key(|(field, _)| field.to_string());
        assert_eq!(fields, [(&json!("label"), &json!("gold")), (&json!("margin"), &json!(7))]);
        let end = &lines.last().unwrap()["lines"];
        assert_eq!((&end["document"], &end["field"]), (&json!(documents.len()), &json!(2)), "{end}");

        // Also when it is disabled.
        rig.app.owner.delete(&address(COURIER, "enablement")).await.expect(204);
        let lines = rig.exported(COURIER).await;
        assert_eq!(lines[0]["state"], "disabled");
        let files: Vec<&str> = of_kind(&lines, "file").iter().map(|file| file["name"].as_str().unwrap()).collect();
        assert_eq!(files, ["a/long.txt", "b.txt"]);
        let pieces = of_kind(&lines, "file_piece");
        assert_eq!(pieces.len(), 3, "the long one has two");
        let base64: String = pieces[..2].iter().map(|piece| piece["content"].as_str().unwrap()).collect();
        assert_eq!(base64, "eHh4".repeat(100_000));
        assert_eq!(pieces[2]["content"], "c2hvcnQ=");
        assert_eq!(of_kind(&lines, "kv").len(), 1, "{lines:?}");
        assert_eq!(lines.last().unwrap()["lines"]["file"], 2);

        assert_eq!(rig.told("plugin.export").await.len(), 2);
        let there = &rig.there.owner;
        assert_eq!(there.get(&address("probe", "export")).await.code(), (404, "not_found"));
    }

    async fn an_uninstalled_plugin_does_nothing_and_can_be_kept_until_its_time_is_over(rig: Rig) {
        rig.probe_with_data().await;
        let left = rig.uninstalled("probe", 7).await;
        assert_eq!((&left["state"], &left["purging"]), (&json!("disabled"), &json!(false)));
        assert_eq!(left["purge_at"], json!(rig.app.now().plus_seconds(7 * DAY)));
        rig.act("probe", "echo", json!({})).await.unwrap_err();
        let told = rig.told("plugin.uninstall").await;
        assert_eq!(told[0]["changes"]["purge_at"], left["purge_at"]);
        // Said again, the days count from now.
        assert_eq!(rig.uninstalled("probe", 365).await["purge_at"], json!(rig.app.now().plus_seconds(365 * DAY)));
        let more = rig.app.owner.post(&address("probe", "uninstall"), json!({ "keep_days": 366 })).await;
        assert_eq!(more.code(), (422, "invalid"), "{more}");
        let default = rig.app.owner.post(&address("probe", "uninstall"), json!({})).await.expect(200).body;
        assert_eq!(default["purge_at"], json!(rig.app.now().plus_seconds(30 * DAY)));

        let kept = rig.app.owner.delete(&address("probe", "uninstall")).await.expect(200).body;
        assert_eq!((&kept["state"], &kept["purge_at"]), (&json!("disabled"), &Value::Null));
        assert_eq!(rig.told("plugin.keep").await.len(), 1);
        // To enable it is to keep it, too.
        rig.uninstalled("probe", 7).await;
        rig.app.owner.post(&address("probe", "enablement"), json!({})).await.expect(201);
        rig.clock.advance_seconds(8 * DAY);
        assert_eq!(rig.look().await.plugins, 0);
        assert!(rig.documents().await > 0);
        assert_eq!(rig.customer_now().await["fields"]["probe.label"], "gold");
    }

    async fn a_purge_leaves_nothing_of_a_plugin_but_what_is_the_tenants(rig: Rig) {
        rig.probe_with_data().await;
        rig.enable(guests::COURIER).await;
        rig.script(COURIER, json!([["write", "b.txt", "short"], ["count", "visits"]])).await.unwrap();
        rig.enable_for(&rig.neighbour, guests::PROBE).await;
        let before = rig.customer_now().await;
        rig.uninstalled("probe", 1).await;
        rig.clock.advance_seconds(DAY - 1);
        assert_eq!(rig.look().await.plugins, 0, "a second too early");
        rig.clock.advance_seconds(1);
        assert_eq!(rig.look().await.plugins, 1);

        assert_eq!(rig.app.owner.get(&address("probe", "enablement")).await.code(), (404, "not_found"));
        assert_eq!(rig.documents().await, 0);
        let after = rig.customer_now().await;
        assert_eq!(after["fields"], json!({}), "{after}");
        assert!(after["version"].as_i64() > before["version"].as_i64(), "nobody saves over it what was before");
        let model = rig.app.owner.get("/api/v1/fields").await.expect(200).text();
        assert!(!model.contains("probe"), "{model}");
        let timeline = rig.app.owner.get(&format!("/api/v1/customers/{}/timeline", rig.customer)).await.expect(200);
        assert!(timeline.text().contains("was here"), "the tenant's history stays");
        let told = rig.told("plugin.purge").await;
        let deleted = &told[0]["changes"]["deleted"];
        assert_eq!((&told[0]["actor_kind"], &told[0]["record"]), (&json!("server"), &json!("probe")));
        assert!(deleted["documents"].as_i64() > Some(0) && deleted["customers_with_fields"] == 1, "{deleted}");
        // Others are as they were.
        assert_eq!(rig.script(COURIER, json!([["read", "b.txt"]])).await.unwrap(), json!(["short"]));
        rig.there.owner.get(&address("probe", "enablement")).await.expect(200);

        // As if it had never been there.
        rig.enable(guests::PROBE).await;
        let added = rig.act("probe", "add", json!({ "amount": 1 })).await.unwrap();
        assert_eq!(added.body["amount"], 1);
    }

    async fn files_and_their_contents_go_with_a_purge(rig: Rig) {
        rig.enable(guests::COURIER).await;
        rig.script(COURIER, json!([["write", "b.txt", "short"], ["count", "visits"]])).await.unwrap();
        rig.uninstalled(COURIER, 0).await;
        assert_eq!(rig.look().await.plugins, 1, "as soon as can be");
        rig.clock.advance_seconds(2 * 60 * 60);
        assert_eq!(rig.look().await.blobs, 1);
        rig.enable(guests::COURIER).await;
        let seen = rig.script(COURIER, json!([["read", "b.txt"], ["peek", "visits"]])).await.unwrap();
        assert_eq!(seen, json!([null, null]));
    }

    async fn more_than_one_page_is_exported_and_more_than_one_chunk_is_purged(rig: Rig) {
        const ROWS: usize = 1_201;
        // The probe writes one itself when it is enabled.
        const KEPT: usize = ROWS + 1;
        const ENTRY: Sql = Sql::new("INSERT INTO plugin_kv (tenant, plugin, key, value) VALUES ($1, 'probe', $2, $3)");
        rig.enable(guests::PROBE).await;
        let tenant = rig.actor.tenant.clone();
        let written = rig.core.db.write(&tenant, tenant.clone(), |tx, tenant| {
            Box::pin(async move {
                for row in 0..ROWS {
                    let key = Arg::Text(Some(format!("row-{row}")));
                    let entry = vec![Arg::Text(Some(tenant.to_string())), key, Arg::Bytes(Some(b"one".to_vec()))];
                    tx.execute(ENTRY, entry).await?;
                }
                Ok::<_, Error>(())
            })
        });
        written.await.unwrap();
        let lines = rig.exported("probe").await;
        let keys: BTreeSet<String> = of_kind(&lines, "kv").iter().map(|line| line["key"].to_string()).collect();
        assert_eq!((keys.len(), &lines.last().unwrap()["lines"]["kv"]), (KEPT, &json!(KEPT)));
        rig.uninstalled("probe", 0).await;
        assert_eq!(rig.look().await.plugins, 1);
        // And one more when it is disabled.
        assert_eq!(rig.told("plugin.purge").await[0]["changes"]["deleted"]["plugin_kv"], KEPT + 1);
    }

    async fn a_purge_goes_on_where_a_server_has_stopped_and_has_no_way_back(rig: Rig) {
        const LEAVE: Sql = Sql::new("UPDATE plugin_enablements SET purged = '{\"plugin_log\":1000}'");
        rig.probe_with_data().await;
        rig.uninstalled("probe", 0).await;
        let left = rig.core.db.write(&rig.actor.tenant, (), |tx, ()| Box::pin(tx.execute(LEAVE, Vec::new())));
        assert_eq!(left.await.unwrap(), 1);
        assert_eq!(rig.app.owner.get(&address("probe", "enablement")).await.body["purging"], true);
        let enable = rig.app.owner.post(&address("probe", "enablement"), json!({})).await;
        assert_eq!(enable.body["code"], "plugin_purging", "{enable}");
        let keep = rig.app.owner.delete(&address("probe", "uninstall")).await;
        assert_eq!(keep.body["code"], "plugin_purging", "{keep}");

        assert_eq!(rig.look().await.plugins, 1);
        let deleted = rig.told("plugin.purge").await[0]["changes"]["deleted"].clone();
        assert!(deleted["plugin_log"].as_i64() >= Some(1000), "what was counted before counts: {deleted}");
        assert_eq!(rig.look().await.plugins, 0);
    }
}

#[test]
fn what_stays_has_a_reason() {
    assert!(plugin_data::STAY.iter().all(|(_table, why)| !why.is_empty()));
}

#[tokio::test]
async fn an_operator_exports_uninstalls_and_keeps_on_the_command_line() {
    let site = Site::on_sqlite("CNY").await;
    let out = site.path("probe.ndjson").to_str().unwrap().to_owned();
    site.enable("probe", guests::PROBE).await;
    let left = site.command(&["plugin", "uninstall", "probe", "--keep-days", "3"]).await;
    assert!(left.contains("disabled probe") && left.contains("purged after"), "{left}");
    site.command(&["plugin", "export", "probe", "--out", &out]).await;
    let exported = std::fs::read_to_string(&out).unwrap();
    assert!(exported.lines().last().unwrap().contains("\"end\""), "{exported}");
    assert!(site.refused(&["plugin", "export", "probe", "--out", &out]).await.contains("probe.ndjson"));
    assert!(site.command(&["plugin", "keep", "probe"]).await.contains("what it keeps stays"));
}
