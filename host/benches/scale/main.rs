//! What many plugins of many tenants cost one process: memory, start-up from the cache of
//! compiled plugins, and calls of random pairs.
//!
//! `cargo bench --bench scale -- 10 50 500` takes 10 plugins, 50 tenants and 500 calls instead.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and may stop at the first error"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark reads its arguments and what the system knows of it"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use futures::StreamExt as _;
use hospes::clock::SystemClock;
use hospes::db::{Config, Db};
use hospes::domain::actor::{Actor, Locale};
use hospes::domain::customer::{CustomerKind, NewCustomer};
use hospes::domain::event::Subject;
use hospes::domain::ids::CustomerId;
use hospes::domain::money::Currency;
use hospes::domain::tenant::NewTenant;
use hospes::domain::user::Password;
use hospes::error::Error;
use hospes::ids::RandomIds;
use hospes::ops::plugins::enablement::{self, NewEnablement};
use hospes::ops::plugins::{actions, packages};
use hospes::ops::{Core, customers, tenants};
use hospes::plugin::{Artifacts, PluginHost, Sandbox};
use hospes_tests::guests::{STAMPS, edited};
use serde_json::json;
use tempfile::TempDir;

/// Plugins, tenants and calls, unless arguments say otherwise.
const SIZES: [usize; 3] = [100, 1_000, 20_000];
/// Tenants that are made, and plugins that are enabled, at once: SQLite shares their commits.
const AT_ONCE: usize = 64;

/// A tenant as the calls see it.
struct Home {
    operator: Actor,
    customer: CustomerId,
}

/// A server: use cases, and the host that they keep weakly.
struct Server {
    core: Arc<Core>,
    _plugins: Arc<PluginHost>,
}

impl Server {
    async fn start(folder: &TempDir) -> Self {
        let db = Db::open(&Config::Sqlite { file: folder.path().join("scale.db") }).await.unwrap();
        let core = Arc::new(Core::new(db, Arc::new(SystemClock), Arc::new(RandomIds::default())));
        let compiled = folder.path().join("compiled");
        std::fs::create_dir_all(&compiled).unwrap();
        let compiled = Dir::open_ambient_dir(compiled, ambient_authority()).unwrap();
        let sandbox = Arc::new(Sandbox::new().unwrap());
        let plugins = PluginHost::connect(&core, sandbox, Artifacts::new(Some(compiled), [0; 32]));
        Self { core, _plugins: plugins }
    }

    async fn make_home(&self, number: usize) -> Home {
        let new = NewTenant {
            slug: format!("tenant-{number}"),
            name: format!("Tenant {number}"),
            locale: Locale::En,
            time_zone: "Asia/Shanghai".to_owned(),
            currency: Currency::parse("CNY").unwrap(),
            owner_login: "owner".to_owned(),
            owner_name: "Owner".to_owned(),
            owner_password: Password::new("correct horse battery"),
        };
        let (tenant, _owner) = tenants::create(&self.core, new).await.unwrap();
        let operator = Actor::operator(tenant.id);
        let new = NewCustomer::named(CustomerKind::Person, "Ada");
        let customer = customers::create(&self.core, &operator, new).await.unwrap().id;
        Home { operator, customer }
    }

    async fn enable(&self, home: &Home, plugin: usize) {
        let new = NewEnablement { version: None, grants: None, settings: None, backfill: false };
        enablement::enable(&self.core, &home.operator, &name(plugin), new).await.unwrap();
    }

    /// One invocation, which reads a document and refuses.
    async fn call(&self, home: &Home, plugin: usize) -> Duration {
        let (name, target) = (name(plugin), Subject::Customer(home.customer.clone()));
        let begun = Instant::now();
        let input = json!({ "stamps": 1 });
        let refused = actions::run(&self.core, &home.operator, (&name, "redeem"), target, input).await;
        assert!(matches!(refused, Err(Error::PluginRejected { .. })), "{refused:?}");
        begun.elapsed()
    }
}

fn name(plugin: usize) -> String {
    format!("scale-{plugin:05}")
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let given: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let [plugins, tenants, calls] = <[usize; 3]>::try_from(given).unwrap_or(SIZES);
    println!("{plugins} plugins, {tenants} tenants, {} pairs, one process", plugins * tenants);

    let server = Server::start(&folder).await;
    told("before", Duration::ZERO);
    let begun = Instant::now();
    for plugin in 0..plugins {
        let component = edited(STAMPS, "stamps-rust", &name(plugin));
        packages::install(&server.core, component).await.unwrap();
    }
    told("installed and compiled", begun.elapsed());
    let begun = Instant::now();
    let homes = futures::stream::iter(0..tenants).map(|number| server.make_home(number));
    let homes: Vec<Home> = homes.buffer_unordered(AT_ONCE).collect().await;
    let pairs = homes.iter().flat_map(|home| (0..plugins).map(move |plugin| (home, plugin)));
    let enabled = futures::stream::iter(pairs).map(|(home, plugin)| server.enable(home, plugin));
    enabled.buffer_unordered(AT_ONCE).for_each(|()| async {}).await;
    told("enabled for every tenant", begun.elapsed());
    drop(server);

    let begun = Instant::now();
    let server = Server::start(&folder).await;
    for plugin in 0..plugins {
        server.call(&homes[plugin % tenants], plugin).await;
    }
    told("another server, each plugin called once", begun.elapsed());
    let mut seed = 1_u64;
    for part in 1..=4 {
        let mut times = Vec::with_capacity(calls / 4);
        for _ in 0..calls / 4 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let pair = usize::try_from(seed >> 33).unwrap();
            times.push(server.call(&homes[pair % tenants], pair / tenants % plugins).await);
        }
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
        println!("  calls of random pairs, part {part}: p50 {:?}, p99 {:?}", at(50), at(99));
        told("afterwards", times.iter().sum());
    }
}

/// Prints what has been done, how long it took and what memory the process has.
fn told(what: &str, took: Duration) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    println!("  {what:<42} {:>8.1} s {:>8} MiB", took.as_secs_f64(), kib.unwrap_or_default() >> 10);
}
