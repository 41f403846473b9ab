//! The operator's commands for versions and recordings of plugins, as they are typed.

use hospes_tests::guests;
use serde_json::json;

use crate::process::Site;

/// A site with the guest at 1.0.0, and 1.1.0 installed.
async fn site_with_two_versions() -> Site {
    let site = Site::on_sqlite("CNY").await;
    site.enable("hostile", guests::HOSTILE).await;
    let next = site.path("next.wasm");
    std::fs::write(&next, guests::edited(guests::HOSTILE, "version = \"1.0.0\"", "version = \"1.1.0\""))
        .unwrap();
    site.command(&["plugin", "install", next.to_str().unwrap()]).await;
    site
}

#[tokio::test]
async fn an_operator_tries_a_version_beside_the_enabled_one() {
    let site = site_with_two_versions().await;
    assert!(site.refused(&["plugin", "shadow", "show", "hostile"]).await.contains("shadow"));
    let started =
        site.command(&["plugin", "shadow", "start", "hostile", "--hours", "2", "--events", "50"]).await;
    assert!(started.contains("hostile 1.1.0 beside 1.0.0: running, until "), "{started}");
    let shown = site.command(&["plugin", "shadow", "show", "hostile"]).await;
    assert!(
        shown.contains("0 events in 0 deliveries and 0 saves, 0 failed, 0 fuel, 0 differences"),
        "{shown}"
    );
    let none = site.refused(&["plugin", "shadow", "start", "hostile", "--events", "0"]).await;
    assert!(none.contains("events"), "{none}");
    let stopped = site.command(&["plugin", "shadow", "stop", "hostile"]).await;
    assert!(stopped.contains("ended (stopped)"), "{stopped}");
}

#[tokio::test]
async fn an_operator_gives_a_version_to_a_part_of_the_customers_to_all_and_takes_it_back() {
    let site = site_with_two_versions().await;
    assert!(site.refused(&["plugin", "canary", "start", "hostile"]).await.contains("--percent"));
    let started = site.command(&["plugin", "canary", "start", "hostile", "--percent", "20"]).await;
    assert!(started.contains("hostile 1.1.0 for 20 % of the customers: running"), "{started}");
    let server = site.start().await;
    let mut units = Vec::new();
    for name in ["North", "South"] {
        let made = server.post("/api/v1/org-units", &json!({ "kind": "region", "name": name })).await;
        units.push(made["id"].as_str().unwrap().to_owned());
    }
    server.kill().await;
    let both = units.join(",");
    let changed = site.command(&["plugin", "canary", "change", "hostile", "--org-units", &both]).await;
    assert!(changed.contains(&format!("for the customers of {}: running", units.join(", "))), "{changed}");
    let wrong = site.refused(&["plugin", "canary", "change", "hostile", "--org-units", "north"]).await;
    assert!(wrong.contains("org_"), "{wrong}");
    let nobodys = "org_00000000000000000000000001";
    let unknown = site.refused(&["plugin", "canary", "change", "hostile", "--org-units", nobodys]).await;
    assert!(unknown.contains("/org_units/0") && unknown.contains(nobodys), "{unknown}");
    let shown = site.command(&["plugin", "canary", "show", "hostile"]).await;
    assert!(
        shown.contains("1.0.0: 0 runs, 0 failed") && shown.contains("1.1.0: 0 runs, 0 failed"),
        "{shown}"
    );
    let ended = site.command(&["plugin", "canary", "abort", "hostile"]).await;
    assert!(ended.contains("ended (aborted)"), "{ended}");
    assert!(site.refused(&["plugin", "canary", "promote", "hostile"]).await.contains("no canary"));

    site.command(&["plugin", "canary", "start", "hostile", "--percent", "5", "--plugin-version", "1.1.0"])
        .await;
    let promoted = site.command(&["plugin", "canary", "promote", "hostile"]).await;
    assert!(promoted.contains("hostile is at 1.1.0 for everybody"), "{promoted}");
    let back = site.command(&["plugin", "rollback", "hostile"]).await;
    assert!(back.contains("hostile is back at 1.0.0"), "{back}");
    assert!(site.refused(&["plugin", "rollback", "hostile"]).await.contains("to go back to"));
}

#[tokio::test]
async fn an_operator_lists_saves_shares_and_removes_recordings() {
    let site = Site::on_sqlite("CNY").await;
    site.enable("hostile", guests::HOSTILE).await;
    let rules = site.command(&["plugin", "record", "hostile", "actions=all"]).await;
    assert!(rules.contains("actions=all") && rules.contains("hooks=off"), "{rules}");
    let server = site.start().await;
    let customer = server.post("/api/v1/customers", &json!({"kind": "person", "name": "Ada"})).await;
    let behave = format!("/api/v1/customers/{}/actions/hostile/behave", customer["id"].as_str().unwrap());
    server.post(&behave, &json!({})).await;
    let kept = server.wait("/api/v1/plugin-recordings", |page| page["items"][0]["id"].is_string()).await;
    let id = kept["items"][0]["id"].as_str().unwrap();
    server.kill().await;

    let file = |name: &str| site.path(name).to_str().unwrap().to_owned();
    let (open, sealed, key, component) =
        (file("open.rec"), file("sealed.rec"), file("rec.key"), file("plugin.wasm"));
    assert!(site.command(&["plugin", "recordings", "list", "hostile"]).await.contains(id));
    assert!(!site.command(&["plugin", "recordings", "list", "--outcome", "trap"]).await.contains(id));
    site.command(&["plugin", "recordings", "save", id, "--out", &open]).await;
    assert!(std::fs::read(&open).unwrap().starts_with(b"hospes-recording"));
    assert!(site.refused(&["plugin", "recordings", "save", id, "--out", &open]).await.contains("open.rec"));
    let share =
        ["plugin", "recordings", "share", id, "--recipient", "partner", "--out", &sealed, "--key-out", &key];
    site.command(&share).await;
    site.refused(&["plugin", "replay", &sealed, "--component", &component]).await;
    site.command(&["plugin", "replay", &sealed, "--component", &component, "--key", &key]).await;
    site.command(&["plugin", "replay", &open, "--component", &component]).await;
    site.command(&["plugin", "recordings", "delete", id]).await;
    assert!(!site.command(&["plugin", "recordings", "list"]).await.contains(id));
    let gone = site.refused(&["plugin", "recordings", "save", id, "--out", &file("late.rec")]).await;
    assert!(gone.contains(id), "{gone}");
}
