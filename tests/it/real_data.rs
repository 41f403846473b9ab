//! Real purchases, if `HOSPES_REAL_DATA` names the folder that has them: eighteen months of an online
//! music shop, counted by the server and by this file alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hospes::db::Sql;
use hospes::ops::plugins::packages;
use hospes_tests::{JobsReport, TestApp, both_engines};
use jiff::ToSpan as _;
use jiff::civil::{Date, date};
use serde_json::{Value, json};

use crate::imports::Importer;
use crate::process::{Server, Site};

/// How many orders, customers and cents the file has, as those say who publish it.
const TOTALS: (usize, usize, i64) = (6_919, 2_357, 24_409_194);
/// When the file is imported: after the last purchase.
const IMPORTED_AT: &str = "1998-06-30T12:00:00Z";
/// The midnight for which members are compared; the daily job has become due since the import, and so
/// has what was bought a year ago to the day.
const JUDGED_AT: &str = "1998-07-01T00:00:00Z";
const JUDGED_ON: Date = date(1998, 7, 1);
const GRACE_DAYS: i64 = 30;
/// Thresholds in cents, the highest first.
const TIERS: [(&str, i64); 3] = [("gold", 50_000), ("silver", 10_000), ("standard", 0)];
/// The file; nothing where there is none.
#[expect(clippy::print_stdout, reason = "says that a test was skipped")]
fn file() -> Option<String> {
    let Some(folder) = std::env::var_os("HOSPES_REAL_DATA") else {
        println!("HOSPES_REAL_DATA names no folder: the tests on real data are skipped");
        return None;
    };
    let file = Path::new(&folder).join("cdnow_sample.csv");
    Some(std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
}

/// How the file is written. It has no ids of orders, and purchases that look alike.
fn mapping() -> Value {
    json!({
        "format": "csv",
        "time": {"time_zone": "UTC"},
        "fields": {
            "external_id": {"columns": ["customer", "ordered_on", "quantity", "amount_usd"], "occurrence": true},
            "customer.external_id": {"column": "customer"},
            "customer.kind": {"constant": "person"},
            "ordered_at": {"column": "ordered_on"},
            "currency": {"constant": "USD"},
            "total": {"column": "amount_usd"},
            "channel": {"constant": "web"},
        },
    })
}

/// Points and tier.
type Standing = (i64, &'static str);

/// What the members of the file must have, by the rules of the programme and nothing else.
fn expected(file: &str) -> BTreeMap<String, Standing> {
    let mut purchases: BTreeMap<String, Vec<(Date, i64)>> = BTreeMap::new();
    for line in file.lines().skip(1) {
        let [customer, day, _quantity, amount] = <[&str; 4]>::try_from(line.split(',').collect::<Vec<_>>())
            .unwrap_or_else(|columns| panic!("{columns:?}"));
        let (dollars, cents) = amount.split_once('.').unwrap();
        let cents: i64 = format!("{dollars}{cents:0<2}").parse().unwrap();
        purchases.entry(customer.to_owned()).or_default().push((day.parse().unwrap(), cents));
    }
    purchases.into_iter().map(|(customer, bought)| (customer, standing(&bought))).collect()
}

fn standing(bought: &[(Date, i64)]) -> Standing {
    // A day that a month lacks becomes its last one.
    let leaves = |day: Date| day.checked_add(12.months()).unwrap();
    let points =
        bought.iter().filter(|(day, _)| leaves(*day) > JUDGED_ON).map(|(_, cents)| cents / 100).sum();
    // Everything happens at midnights, so that nothing changes between two of them.
    let midnights = (0..=GRACE_DAYS).map(|days| JUDGED_ON.checked_sub(days.days()).unwrap());
    let spent = |at: Date| -> i64 {
        bought.iter().filter(|(day, _)| *day <= at && at < leaves(*day)).map(|(_, cents)| cents).sum()
    };
    let highest = midnights.map(spent).max().unwrap();
    let (tier, _) = TIERS.into_iter().find(|(_, threshold)| highest >= *threshold).unwrap();
    (points, tier)
}

/// What the server says that they have, by the shop's own number.
fn members(customers: &[Value]) -> BTreeMap<String, (i64, String)> {
    let members = customers.iter().map(|customer| {
        let identity = &customer["identities"][0];
        assert_eq!(identity["source"], "shop", "{customer}");
        let fields = &customer["fields"];
        let points = fields["retail-membership.points"].as_i64();
        let tier = fields["retail-membership.tier"].as_str();
        let (Some(points), Some(tier)) = (points, tier) else { panic!("no member: {customer}") };
        (identity["external_id"].as_str().unwrap().to_owned(), (points, tier.to_owned()))
    });
    members.collect()
}

/// Orders, customers and cents.
fn totals(orders: &[Value], customers: &[Value]) -> (usize, usize, i64) {
    let cents = orders.iter().map(|order| {
        assert_eq!(order["total"]["currency"], "USD", "{order}");
        order["total"]["amount_minor"].as_i64().unwrap()
    });
    (orders.len(), customers.len(), cents.sum())
}

/// State, and rows made, changed, left as they were and failed.
fn outcome(import: &Value) -> (&str, [i64; 4]) {
    let counts = ["created", "updated", "unchanged", "failed"];
    (import["state"].as_str().unwrap(), counts.map(|count| import["progress"][count].as_i64().unwrap()))
}

const ALL_MADE: (&str, [i64; 4]) = ("succeeded", [6_919, 0, 0, 0]);
const NOTHING_CHANGED: (&str, [i64; 4]) = ("succeeded", [0, 0, 6_919, 0]);

/// A shop that imports its history, and the server that it is a tenant of.
struct Shop<'a> {
    app: &'a TestApp,
    importer: Importer<'a>,
}

impl<'a> Shop<'a> {
    async fn open(app: &'a TestApp) -> Self {
        app.set_time(IMPORTED_AT);
        let importer = Importer::new(app, "shop").await;
        packages::install_bundled(&app.core).await.unwrap();
        Self { app, importer }
    }

    async fn enable_membership(&self, backfill: bool) {
        let address = "/api/v1/plugins/retail-membership/enablement";
        let request = self.app.post(address).token(&self.importer.token);
        request.json(json!({"backfill": backfill})).await.expect(201);
    }

    async fn import(&self, file: &str) -> Value {
        self.importer.import("orders", &mapping(), file).await
    }

    /// Delivers until nothing is left, and answers how many backfills and jobs have ended.
    async fn deliver(&self) -> (u32, u32) {
        let JobsReport { dispatch, backfill, schedules } = self.app.run_jobs().await;
        assert_eq!((dispatch.failed, dispatch.dead, schedules.failed), (0, 0, 0));
        (backfill.finished, schedules.finished)
    }

    /// Lets the time come for which members are compared, and with it the daily job.
    async fn pass_the_night(&self) {
        self.app.set_time(JUDGED_AT);
        assert_eq!(self.deliver().await, (0, 1));
    }

    async fn orders(&self) -> Vec<Value> {
        self.importer.all("/api/v1/orders").await
    }

    async fn customers(&self) -> Vec<Value> {
        self.importer.all("/api/v1/customers").await
    }

    /// How many events there are; the feed would show only what no open transaction of the cluster may precede.
    async fn events(&self) -> i64 {
        #[derive(sqlx::FromRow)]
        struct Row {
            events: i64,
        }
        const EVENTS: Sql = Sql::new("SELECT COUNT(*) AS events FROM events");
        let mut reader = self.app.core.db.read(self.importer.tenant.id()).await.unwrap();
        let row: Row = reader.fetch_one(EVENTS, Vec::new()).await.unwrap();
        row.events
    }

    /// Compares totals and every member with the file.
    async fn check(&self, file: &str) {
        let customers = self.customers().await;
        assert_eq!(totals(&self.orders().await, &customers), TOTALS);
        let expected = expected(file);
        let tiers: BTreeSet<&str> = expected.values().map(|(_, tier)| *tier).collect();
        assert_eq!(tiers.len(), TIERS.len(), "every tier has members: {tiers:?}");
        let found = members(&customers);
        assert_eq!(found.len(), expected.len());
        let wrong: Vec<_> = expected
            .iter()
            .filter(|(number, (points, tier))| found.get(*number) != Some(&(*points, (*tier).to_owned())))
            .map(|(number, wanted)| (number, wanted, found.get(number)))
            .collect();
        assert!(wrong.is_empty(), "{} members are wrong: {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    }
}

both_engines! {
    async fn real_purchases_make_members_and_a_second_import_changes_nothing(app: TestApp) {
        let Some(file) = file() else { return };
        let shop = Shop::open(&app).await;
        shop.enable_membership(false).await;
        assert_eq!(outcome(&shop.import(&file).await), ALL_MADE);
        assert_eq!(shop.deliver().await, (0, 0));
        shop.pass_the_night().await;
        shop.check(&file).await;

        let before = (shop.orders().await, shop.customers().await, shop.events().await);
        assert_eq!(outcome(&shop.import(&file).await), NOTHING_CHANGED);
        assert_eq!(shop.deliver().await, (0, 0));
        let after = (shop.orders().await, shop.customers().await, shop.events().await);
        assert!(before == after, "a second import changed something: {} and {} events", before.2, after.2);
    }

    async fn a_membership_that_comes_after_the_purchases_makes_the_same_members(app: TestApp) {
        let Some(file) = file() else { return };
        let shop = Shop::open(&app).await;
        assert_eq!(outcome(&shop.import(&file).await), ALL_MADE);
        shop.enable_membership(true).await;
        assert_eq!(shop.deliver().await, (1, 0));
        shop.pass_the_night().await;
        shop.check(&file).await;
    }
}

/// Uploads the file and answers the address of the import.
async fn upload(server: &Server, file: &str) -> String {
    let body = json!({"entity": "orders", "source": "shop", "mapping": mapping()});
    let made = server.post("/api/v1/imports", &body).await;
    let job = format!("/api/v1/imports/{}", made["id"].as_str().unwrap());
    server.send(&format!("PUT {job}/content"), ("text/csv", file)).await.expect_success();
    job
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_in_an_import_ends_it_after_its_restart() {
    let Some(file) = file() else { return };
    let site = Site::on_sqlite("USD").await;

    let server = site.start().await;
    let job = upload(&server, &file).await;
    server.wait(&job, |import| outcome(import).1[0] > 0).await;
    server.kill().await;

    let server = site.start().await;
    let import = server.get(&job).await;
    let (state, counts) = outcome(&import);
    assert_eq!(state, "running", "the server was killed too late: {counts:?}");
    let kept = server.all("/api/v1/orders").await.len();
    assert_eq!(counts, [i64::try_from(kept).unwrap(), 0, 0, 0], "rows and progress are kept together");
    assert!(0 < kept && kept < TOTALS.0, "{kept}");
    assert_eq!(site.expire_leases().await, 1, "the import was leased");
    let ended = |import: &Value| !matches!(outcome(import).0, "queued" | "running");
    assert_eq!(outcome(&server.wait(&job, ended).await), ALL_MADE);
    let before = (server.all("/api/v1/orders").await, server.all("/api/v1/customers").await);
    assert_eq!(totals(&before.0, &before.1), TOTALS);

    let job = upload(&server, &file).await;
    assert_eq!(outcome(&server.wait(&job, ended).await), NOTHING_CHANGED);
    let after = (server.all("/api/v1/orders").await, server.all("/api/v1/customers").await);
    assert!(before == after, "a second import changed something");
    server.kill().await;
}
