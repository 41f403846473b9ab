//! What a plugin has done, by the program: its log as it comes.

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

/// The next line of the action; that of the hook on the customer is another matter.
async fn log_line(log: &mut Watched) -> String {
    loop {
        let line = log.line().await;
        if line.contains(" actions: ") {
            return line;
        }
    }
}
