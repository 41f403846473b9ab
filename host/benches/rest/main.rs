//! REST create, read, list and update of customers: the whole router behind a socket
//! against a bare axum and sqlx server that runs the same transactions.
//!
//! Both answer over loopback, to the same clients, from the same tables: on SQLite
//! from a file each, on PostgreSQL from one database. For information, writes are
//! compared with a bare server that writes the customer's row and nothing else, too.

#![expect(clippy::unwrap_used, reason = "a benchmark may stop at the first error")]
#![expect(clippy::disallowed_methods, reason = "the bare server is what the host's rules keep out of it")]

mod bare;
#[path = "../support/choice.rs"]
mod choice;
mod client;
#[path = "../support/host.rs"]
mod host;
mod store;
#[path = "../support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bare::Writes;
use choice::is_wanted;
use client::{Client, Request};
use hospes::db::{Config, Db, PostgresConfig};
use hospes::http::{self, Connections, HttpState, Options, RateLimit};
use hospes::plugin::Sandbox;
use hospes_tests::{Cluster, PostgresUrls, new_postgres};
use serde_json::Value;
use store::{Arg, Store};
use support::{Contender, compare, rate};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// What every server holds before it is measured.
const CUSTOMERS: usize = 1_200;
/// Customers whose names begin in the same way: what a list answers.
const FAMILY: usize = 30;
const CLIENTS_MAX: usize = 8;
/// What the product shall reach of the bare server.
const AIM: Option<f64> = Some(0.80);
const EVENTS: [&str; 2] = ["customer.created", "customer.updated"];
/// The tenants of the bare servers.
const BARE: &str = "ten_0000000000000000000000bare";
const ONE_ROW: &str = "ten_00000000000000000000000one";
const BARE_TOKEN: &str = "a-token-that-is-compared-and-nothing-else";

/// A server that is measured.
struct Server {
    name: &'static str,
    clients: Vec<Client>,
    ids: Vec<String>,
}

#[derive(Clone, Copy)]
enum Operation {
    Create,
    Read,
    List,
    Update,
}

fn main() {
    let runtime = Runtime::new().unwrap();
    let sandbox = Arc::new(Sandbox::new().unwrap());
    let folder = tempfile::tempdir().unwrap();
    run("SQLite", runtime.block_on(start_sqlite(folder.path(), &sandbox)));
    // With fsync on, as a server insists.
    if let Some(cluster) = Cluster::own() {
        let urls = runtime.block_on(new_postgres(&cluster));
        run("PostgreSQL", runtime.block_on(start_postgres(&urls, &sandbox)));
        runtime.shutdown_timeout(Duration::from_secs(5));
    }
}

fn run(engine: &str, addresses: [(&'static str, SocketAddr, String); 3]) {
    let mut servers = addresses.map(|(name, address, token)| Server::prepare(name, address, &token));
    for (what, operation, requests) in [
        ("read", Operation::Read, 250),
        ("list", Operation::List, 60),
        ("update", Operation::Update, 60),
        ("create", Operation::Create, 60),
    ] {
        if !is_wanted(what) {
            continue;
        }
        for clients in [CLIENTS_MAX, 1] {
            let is_write = matches!(operation, Operation::Create | Operation::Update);
            let measured = if is_write { servers.as_mut_slice() } else { &mut servers[..2] };
            let contenders = measured.iter_mut().map(|server| {
                let Server { name, clients: connected, ids } = server;
                let connected = &mut connected[..clients];
                Contender::new(name, move || {
                    rate(clients * requests, || {
                        client::run(connected, requests, |_| operation.request(ids));
                    })
                })
            });
            let title = format!("{what} a customer, {engine}, {clients} client(s)");
            compare(&title, "requests", AIM, contenders.collect());
        }
    }
}

impl Server {
    /// Connects the clients and makes the customers.
    fn prepare(name: &'static str, address: SocketAddr, token: &str) -> Self {
        let mut clients: Vec<Client> = (0..CLIENTS_MAX).map(|_| Client::connect(address, token)).collect();
        let named = |number: usize| new_customer(&format!("Family{:03} Member{number}", number / FAMILY));
        client::run(&mut clients, CUSTOMERS / CLIENTS_MAX, named);
        let mut ids = Vec::with_capacity(CUSTOMERS);
        for family in 0..CUSTOMERS / FAMILY {
            let page: Value = serde_json::from_slice(clients[0].send(&list_family(family))).unwrap();
            let items = page["items"].as_array().unwrap();
            ids.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        }
        assert_eq!(ids.len(), CUSTOMERS, "{name} answers every customer that it was given");
        Self { name, clients, ids }
    }
}

impl Operation {
    /// The next request; what is asked for moves on evenly, and never twice at once.
    fn request(self, ids: &[String]) -> Request {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        // A step that shares no factor with the number of customers.
        let id = &ids[next * 7_919 % ids.len()];
        match self {
            Self::Create => new_customer(&format!("New Customer {next}")),
            Self::Read => Request { method: "GET", path: format!("/customers/{id}"), body: String::new() },
            Self::List => list_family(next % (CUSTOMERS / FAMILY)),
            Self::Update => Request {
                method: "PATCH",
                path: format!("/customers/{id}"),
                body: format!(r#"{{"name":"Updated Customer {next}"}}"#),
            },
        }
    }
}

fn new_customer(name: &str) -> Request {
    let body = format!(
        r#"{{"kind":"person","name":"{name}","tags":["vip"],"preferences":{{"language":"zh-CN"}},
        "contact_points":[{{"kind":"email","value":"somebody@example.com","primary":true}}]}}"#
    );
    Request { method: "POST", path: "/customers".to_owned(), body }
}

fn list_family(family: usize) -> Request {
    let path = format!("/customers?name_prefix=Family{family:03}&limit=50");
    Request { method: "GET", path, body: String::new() }
}

async fn start_sqlite(folder: &Path, sandbox: &Arc<Sandbox>) -> [(&'static str, SocketAddr, String); 3] {
    let file = |name: &str| folder.join(name);
    let host = start_host(&Config::Sqlite { file: file("host.db") }, sandbox).await;
    let bare = start_bare(&sqlite(file("bare.db")).await, Writes::Everything).await;
    let one_row = start_bare(&sqlite(file("one-row.db")).await, Writes::OneRow).await;
    [host, bare, one_row]
}

/// A migrated file with a bare writer on it.
async fn sqlite(file: std::path::PathBuf) -> Store {
    Db::migrate(&Config::Sqlite { file: file.clone() }).await.unwrap();
    Store::sqlite(&file).await
}

async fn start_postgres(
    urls: &PostgresUrls,
    sandbox: &Arc<Sandbox>,
) -> [(&'static str, SocketAddr, String); 3] {
    let host = start_host(&Config::Postgres(PostgresConfig::new(&urls.server)), sandbox).await;
    let bare = start_bare(&Store::postgres(&urls.server, BARE).await, Writes::Everything).await;
    let one_row = start_bare(&Store::postgres(&urls.server, ONE_ROW).await, Writes::OneRow).await;
    [host, bare, one_row]
}

async fn start_host(config: &Config, sandbox: &Arc<Sandbox>) -> (&'static str, SocketAddr, String) {
    let (core, _actor, token) = host::open(config, sandbox, &EVENTS).await;
    // Counted, but never reached.
    let limit = RateLimit::new(1_000_000_000, 60);
    let options = Options { principal_limit: limit, tenant_limit: limit, ..Options::default() };
    let router = http::router(HttpState::new(core, options, CancellationToken::new()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // A client waits for its turn longer than a server lets a connection be idle.
    let connections = Connections { max: 1_024, head_time_max: Duration::from_secs(600) };
    tokio::spawn(http::serve(listener, router, connections, CancellationToken::new(), Duration::ZERO));
    ("the product", address, token)
}

async fn start_bare(store: &Store, writes: Writes) -> (&'static str, SocketAddr, String) {
    let (name, tenant) = match writes {
        Writes::Everything => ("bare server, same transactions", BARE),
        Writes::OneRow => ("bare server, one row", ONE_ROW),
    };
    for event in EVENTS {
        let args = vec![Arg::from(tenant), Arg::from(event), Arg::from("bench:subscriber")];
        store.write(vec![(bare::SUBSCRIBE, args)]).await;
    }
    let address = bare::start(store.clone(), writes, tenant, BARE_TOKEN).await;
    (name, address, BARE_TOKEN.to_owned())
}
