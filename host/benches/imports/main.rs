//! Rows per second of a CSV file that a job imports, against raw batched inserts of the
//! rows that came of it, in as many commits.
//!
//! The file holds orders of a shop, two of three by customers that it has named before.
//! Every order and every customer leaves an audit line, an event and a delivery.

#![expect(clippy::unwrap_used, reason = "a benchmark may stop at the first error")]
#![expect(clippy::disallowed_types, reason = "raw inserts are what the host's rules keep out of it")]

#[path = "../support/host.rs"]
mod host;
mod raw;
#[path = "../support/mod.rs"]
mod support;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use hospes::db::{Config, Db, PostgresConfig};
use hospes::domain::actor::Actor;
use hospes::jobs::imports::{BATCH_ROWS_MAX, run_once};
use hospes::ops::Core;
use hospes::ops::imports::{self, ImportState, NewImport, upload};
use hospes::plugin::Sandbox;
use hospes_tests::{Cluster, PostgresUrls, new_postgres};
use raw::{Raw, Source, Table, tables};
use serde_json::{Value, json};
use support::{Contender, compare, rate};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

const ROWS: usize = 5_000;
/// The tenant of the raw rows.
const RAW_TENANT: &str = "ten_00000000000000000000000raw";
const EVENTS: [&str; 2] = ["customer.created", "order.created"];

/// What takes turns on one engine.
struct Pair {
    core: Arc<Core>,
    actor: Actor,
    source: Source,
    raw: Raw,
}

/// The rows of the last import by table, and the last key of each.
#[derive(Default)]
struct Written {
    rows: [Vec<Vec<Value>>; 6],
    after: [String; 6],
}

fn main() {
    let runtime = Runtime::new().unwrap();
    let sandbox = Arc::new(Sandbox::new().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let pair = runtime.block_on(open_sqlite(folder.path(), &sandbox));
    run(&runtime, "SQLite", pair);
    // With fsync on, as a server insists.
    if let Some(cluster) = Cluster::own() {
        let urls = runtime.block_on(new_postgres(&cluster));
        let pair = runtime.block_on(open_postgres(&urls, &sandbox));
        run(&runtime, "PostgreSQL", pair);
    }
}

fn run(runtime: &Runtime, engine: &str, pair: Pair) {
    let Pair { core, actor, mut source, mut raw } = pair;
    let tables = tables(&raw);
    let written = RefCell::new(Written::default());
    let mut round = 0;
    let job = || {
        round += 1;
        runtime.block_on(upload_file(&core, &actor, &file(round)));
        let stop = CancellationToken::new();
        let imported = rate(ROWS, || {
            assert!(runtime.block_on(run_once(&core, &stop)).unwrap(), "a job was waiting");
        });
        runtime.block_on(check(&core, &actor));
        let mut written = written.borrow_mut();
        let Written { rows, after } = &mut *written;
        for ((table, rows), after) in tables.iter().zip(rows).zip(after) {
            *rows = runtime.block_on(source.rows(table, actor.tenant.as_str(), after));
        }
        imported
    };
    let inserts = || {
        let written = written.borrow();
        assert_eq!(written.rows[2].len(), ROWS, "every row of the file became an order");
        rate(ROWS, || runtime.block_on(insert(&mut raw, &tables, &written.rows)))
    };
    compare(
        &format!("an import of orders, {engine}, {BATCH_ROWS_MAX} rows a commit"),
        "rows",
        Some(0.50),
        vec![Contender::new("the job", job), Contender::new("raw batched inserts", inserts)],
    );
}

/// The same rows in as many commits as the job has made.
async fn insert(raw: &mut Raw, tables: &[Table], rows: &[Vec<Vec<Value>>; 6]) {
    let commits = ROWS.div_ceil(BATCH_ROWS_MAX);
    for commit in 0..commits {
        let part =
            |rows: &Vec<Vec<Value>>| rows.len() * commit / commits..rows.len() * (commit + 1) / commits;
        let parts: Vec<&[Vec<Value>]> = rows.iter().map(|rows| &rows[part(rows)]).collect();
        raw.commit(tables, &parts, RAW_TENANT).await;
    }
}

async fn upload_file(core: &Core, actor: &Actor, file: &str) {
    let new: NewImport = serde_json::from_value(json!({
        "entity": "orders", "source": "shop",
        "mapping": {"format": "csv", "time": {"time_zone": "UTC"}, "fields": {
            "external_id": {"column": "order"}, "customer.external_id": {"column": "customer"},
            "customer.kind": {"constant": "person"}, "ordered_at": {"column": "day"},
            "currency": {"constant": "CNY"}, "total": {"column": "paid"}, "channel": {"constant": "shop"},
        }},
    }))
    .unwrap();
    let import = imports::create(core, actor, new).await.unwrap();
    let mut upload = upload::begin(core, actor, &import.id, 0).await.unwrap();
    upload.push(file.as_bytes()).await.unwrap();
    upload.finish().await.unwrap();
}

async fn check(core: &Core, actor: &Actor) {
    let page = hospes::domain::page::PageRequest::new(Some(1), None);
    let last = imports::list(core, actor, &page).await.unwrap().items.remove(0);
    assert_eq!((last.state, last.progress.created), (ImportState::Succeeded, 5_000), "{:?}", last.failure);
}

/// Orders that no other round has, a third of them by new customers.
fn file(round: usize) -> String {
    let mut file = String::from("order,customer,day,paid\n");
    for row in 0..ROWS {
        let (customer, day) = (row / 3, 1 + row % 28);
        let paid = format!("{}.{:02}", 5 + row % 90, row % 100);
        writeln!(file, "R{round}-{row},C{round}-{customer},2026-02-{day:02},{paid}").unwrap();
    }
    file
}

async fn open_sqlite(folder: &Path, sandbox: &Arc<Sandbox>) -> Pair {
    let [ours, theirs] = ["host.db", "raw.db"].map(|name| folder.join(name));
    let config = Config::Sqlite { file: ours.clone() };
    let (core, actor, _token) = host::open(&config, sandbox, &EVENTS).await;
    Db::migrate(&Config::Sqlite { file: theirs.clone() }).await.unwrap();
    Pair { core, actor, source: Source::sqlite(&ours).await, raw: Raw::sqlite(&theirs).await }
}

async fn open_postgres(urls: &PostgresUrls, sandbox: &Arc<Sandbox>) -> Pair {
    let config = Config::Postgres(PostgresConfig::new(&urls.server));
    let (core, actor, _token) = host::open(&config, sandbox, &EVENTS).await;
    let source = Source::postgres(&urls.server, actor.tenant.as_str()).await;
    Pair { core, actor, source, raw: Raw::postgres(&urls.server, RAW_TENANT).await }
}
