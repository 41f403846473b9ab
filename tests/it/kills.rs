//! Servers that are killed without warning: what they have answered stays, and what plugins do is done once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hospes_tests::{Engine, Proxy, guests};
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::process::{Caller, Server, Site};

/// How often the server is killed.
const ROUNDS: usize = 4;
/// Clients that write at the same time.
const WRITERS: usize = 4;
/// Answers of one round after which the server is killed.
const ANSWERS: usize = 40;
/// How often a test looks whether something has come to pass, and how long it waits in between.
const LOOKS_MAX: u32 = 6_000;
const LOOK: Duration = Duration::from_millis(10);

/// Waits until something has come to pass.
async fn until(what: &str, mut has_come: impl AsyncFnMut() -> bool) {
    for _ in 0..LOOKS_MAX {
        if has_come().await {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
    panic!("{what} does not come to pass");
}

/// Writes customers until the server is gone, and answers which of them it has acknowledged.
async fn write(client: Caller, prefix: String, answers: Arc<AtomicUsize>) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let id = format!("{prefix}-{number}");
        let body = json!({"kind": "person", "name": id}).to_string();
        let request = format!("PUT /api/v1/sources/till/customers/{id}");
        let Ok(reply) = client.send(&request, ("application/json", &body)).await else { break };
        if reply.is_success() {
            acknowledged.push(id);
            answers.fetch_add(1, Ordering::SeqCst);
        }
    }
    acknowledged
}

/// Lets a lane's leases expire and waits until the plugin has handled everything.
async fn settle(site: &Site, server: &Server) {
    site.expire_leases().await;
    let is_empty = |lanes: &Value| {
        let lane = &lanes["items"][0];
        assert_eq!(lane["dead"], 0, "{lane}");
        lane["waiting"] == 0
    };
    server.wait("/api/v1/events/lanes", is_empty).await;
}

/// Every customer's event has reached the plugin once: in its documents, its field and its count.
async fn assert_handled_once(server: &Server, customers: &[Value]) {
    let seen = server.all("/api/v1/plugins/probe/collections/seen").await;
    let twice: Vec<_> = seen.iter().filter(|one| one["body"]["count"] != 1).collect();
    assert!(twice.is_empty(), "handled twice: {twice:#?}");
    let owners: BTreeSet<&str> = seen.iter().map(|one| one["subject_id"].as_str().unwrap()).collect();
    assert_eq!((seen.len(), owners.len()), (customers.len(), customers.len()));
    let wrong: Vec<_> = customers.iter().filter(|customer| customer["fields"]["probe.events"] != 1).collect();
    assert!(wrong.is_empty(), "not handled once: {wrong:#?}");
}

/// Kills the server again and again while clients write and a plugin handles what they have written.
async fn kill_and_look(engine: Engine) {
    let Some(site) = Site::on(engine, "CNY").await else { return };
    site.enable("probe", guests::PROBE).await;
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let server = site.start().await;
        site.expire_leases().await;
        let answers = Arc::new(AtomicUsize::new(0));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                tokio::spawn(write(server.client.clone(), format!("{round}-{writer}"), Arc::clone(&answers)))
            })
            .collect();
        until("the answers", async || answers.load(Ordering::SeqCst) >= ANSWERS).await;
        server.kill().await;
        for writer in writers {
            acknowledged.extend(writer.await.unwrap());
        }
    }
    assert!(acknowledged.len() >= ROUNDS * ANSWERS);

    let server = site.start().await;
    let customers = server.all("/api/v1/customers").await;
    let kept: BTreeMap<&str, &str> = customers
        .iter()
        .map(|one| (one["identities"][0]["external_id"].as_str().unwrap(), one["id"].as_str().unwrap()))
        .collect();
    let lost: Vec<_> = acknowledged.iter().filter(|id| !kept.contains_key(id.as_str())).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(kept.len() <= acknowledged.len() + ROUNDS * WRITERS, "{} of {}", acknowledged.len(), kept.len());
    // Also what nobody was told of is whole: the record, its audit line and its event.
    let lines = server.all("/api/v1/audit").await;
    let lines: BTreeSet<&str> = lines
        .iter()
        .filter(|line| line["action"] == "customer.create")
        .map(|line| line["record"].as_str().unwrap())
        .collect();
    assert_eq!(lines, kept.values().copied().collect::<BTreeSet<_>>());
    settle(&site, &server).await;
    let customers = server.all("/api/v1/customers").await;
    assert_handled_once(&server, &customers).await;
    server.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_server_has_acknowledged_is_kept_and_handled_once_on_sqlite() {
    kill_and_look(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_server_has_acknowledged_is_kept_and_handled_once_on_postgres() {
    kill_and_look(Engine::Postgres).await;
}

/// How many deliveries wait, and how many documents the plugin has.
async fn progress(admin: &mut PgConnection) -> (i64, i64) {
    const PROGRESS: &str = "SELECT (SELECT COUNT(*) FROM deliveries), (SELECT COUNT(*) FROM documents)";
    sqlx::query_as(PROGRESS).fetch_one(admin).await.unwrap()
}

/// Kills the server at the commit of a plugin's effects: after it if it `reaches` the database, or just before.
async fn kill_at_the_commit_of_effects(reaches: bool) {
    let Some(site) = Site::on(Engine::Postgres, "CNY").await else { return };
    site.enable("probe", guests::PROBE).await;
    let database = site.postgres.as_ref().unwrap();
    let proxy = Proxy::start(database.urls.as_ref().unwrap()).await;
    let acknowledging = "DELETE FROM deliveries";
    if reaches {
        proxy.cut_after_commit_of(acknowledging);
    } else {
        proxy.cut_before_commit_of(acknowledging);
    }
    let server = site.start_through(proxy.url()).await;
    let made = server.post("/api/v1/customers", &json!({"kind": "person", "name": "Ada"})).await;
    until("the commit", async || proxy.times_cut() == 1).await;
    // The process has had no answer: it does not know what has become of its work.
    server.kill().await;

    let mut admin = database.superuser().await;
    let (waiting, documents) = progress(&mut admin).await;
    if reaches {
        assert_eq!(waiting, 0, "the acknowledgement is kept with the effects");
        assert!(documents > 0);
    } else {
        assert_eq!((waiting, documents), (1, 0), "the effects are gone with the acknowledgement");
    }
    let server = site.start().await;
    settle(&site, &server).await;
    let customers = server.all("/api/v1/customers").await;
    assert_eq!(customers[0]["id"], made["id"]);
    assert_handled_once(&server, &customers).await;
    server.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_whose_server_dies_after_its_commit_is_not_called_again() {
    kill_at_the_commit_of_effects(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_whose_server_dies_before_its_commit_is_called_again() {
    kill_at_the_commit_of_effects(false).await;
}

/// A command beside a running server: the server follows what it has changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_server_follows_what_a_command_has_disabled() {
    let site = Site::on_sqlite("CNY").await;
    site.enable("probe", guests::PROBE).await;
    let server = site.start().await;
    let reject = json!({"kind": "person", "name": "reject: Eve"}).to_string();
    let save =
        async || server.send("POST /api/v1/customers", ("application/json", &reject)).await.is_success();
    assert!(!save().await, "the plugin's hook refuses");
    site.command(&["plugin", "disable", "probe"]).await;
    let disabled = std::time::Instant::now();
    until("the end of the hook", save).await;
    assert!(disabled.elapsed() < Duration::from_secs(5), "{:?}", disabled.elapsed());
    server.kill().await;
}
