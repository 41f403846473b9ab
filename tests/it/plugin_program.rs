//! What a plugin has done, by the program: its log as it comes, and recordings of its runs.

use hospes_tests::guests;
use serde_json::json;

use crate::process::{Site, Watched};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_followed_while_the_server_runs() {
    let site = Site::on_sqlite("CNY").await;
    site.enable("caller", guests::CALLER).await;
    let server = site.start().await;
    let customer = server.post("/api/v1/customers", &json!({ "kind": "person", "name": "Ada" })).await;
    let action = format!("/api/v1/customers/{}/actions/caller/send", customer["id"].as_str().unwrap());
    server.post(&action, &json!({ "lines": 1, "requests": [] })).await;
    let mut log = site.watch(&["plugin", "logs", "caller", "-f"]);
    let old = log_line(&mut log).await;
    assert!(old.ends_with(" info  actions: line 0"), "{old}");
    // What comes later comes by itself, each line once.
    server.post(&action, &json!({ "lines": 2, "requests": [] })).await;
    let new = [log_line(&mut log).await, log_line(&mut log).await];
    assert!(new[0].ends_with("actions: line 0") && new[1].ends_with("actions: line 1"), "{new:?}");
    server.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_is_saved_shared_and_removed_and_never_over_another_file() {
    let site = Site::on_sqlite("CNY").await;
    site.enable("probe", guests::PROBE).await;
    let rules = site.command(&["plugin", "record", "probe", "routes=failures"]).await;
    assert!(rules.contains("routes=failures") && rules.contains("actions=off"), "{rules}");
    let server = site.start().await;
    assert!(!server.send("GET /api/v1/plugins/probe/x/teapot", ("", "")).await.is_success());
    let kept = server.wait("/api/v1/plugin-recordings", |page| page["items"][0].is_object()).await;
    let id = kept["items"][0]["id"].as_str().unwrap();
    server.kill().await;

    let listed = site.command(&["plugin", "recordings", "list", "probe", "--outcome", "response"]).await;
    assert!(listed.starts_with(&format!("{id} ")) && listed.contains(" routes response "), "{listed}");
    let file = |name: &str| site.path(name).to_str().unwrap().to_owned();
    let (taken, saved, shared, key) = (file("taken"), file("saved"), file("shared"), file("key"));
    std::fs::write(&taken, "mine").unwrap();
    for command in [
        vec!["plugin", "recordings", "save", id, "--out", &taken],
        vec![
            "plugin",
            "recordings",
            "share",
            id,
            "--recipient",
            "Acme",
            "--out",
            &shared,
            "--key-out",
            &taken,
        ],
        vec!["plugin", "recordings", "share", id, "--recipient", "Acme", "--out", &taken, "--key-out", &key],
    ] {
        let why = site.refused(&command).await;
        assert!(why.contains(&taken), "{why}");
    }
    let one =
        ["plugin", "recordings", "share", id, "--recipient", "Acme", "--out", &shared, "--key-out", &shared];
    let why = site.refused(&one).await;
    assert!(why.contains("--key-out"), "{why}");
    assert_eq!(std::fs::read_to_string(&taken).unwrap(), "mine");

    site.command(&["plugin", "recordings", "save", id, "--out", &saved]).await;
    site.command(&[
        "plugin",
        "recordings",
        "share",
        id,
        "--recipient",
        "Acme",
        "--out",
        &shared,
        "--key-out",
        &key,
    ])
    .await;
    let probe = file("plugin.wasm");
    let told = site.command(&["plugin", "replay", &saved, "--component", &probe]).await;
    assert!(told.contains("answer:  identical") && told.contains("the host did not take"), "{told}");
    assert_eq!(
        told,
        site.command(&["plugin", "replay", &shared, "--key", &key, "--component", &probe]).await
    );
    site.command(&["plugin", "recordings", "delete", id]).await;
    assert_eq!(site.command(&["plugin", "recordings", "list"]).await, "");
}

/// The next line of the action; that of the hook on the customer is another matter.
async fn log_line(log: &mut Watched) -> String {
    loop {
        let line = log.line().await;
        if line.contains(" actions: ") {
            return line;
        }
    }
}
