//! Whatever the order, the batches and the time of deliveries: the result is a
//! function of orders, programme and clock.

use crate::shop::{Shop, day, order};
use hospes_sdk::{Actions, Subject, Timestamp, Value, json, testing};
use proptest::prelude::*;
use retail_membership::Membership;
use retail_membership::member::Member;

/// An order and the versions it went through, the last one final.
#[derive(Debug, Clone)]
struct History {
    id: usize,
    /// Days after 2023-01-01.
    day: i64,
    versions: Vec<(i64, i64, &'static str)>,
}

impl History {
    fn at(&self) -> Timestamp {
        day("2023-01-01").add_days(self.day)
    }

    fn version(&self, number: usize) -> Value {
        let (total, refunded, status) = self.versions[number];
        let version = i64::try_from(number).unwrap() + 1;
        let mut order = order(&format!("o{}", self.id), version, "2023-01-01", total);
        order["ordered_at"] = json!(self.at());
        order["refunded"]["amount_minor"] = refunded.into();
        order["status"] = status.into();
        order
    }

    fn last(&self) -> Value {
        self.version(self.versions.len() - 1)
    }
}

fn histories() -> impl Strategy<Value = Vec<History>> {
    let status = prop_oneof![4 => Just("completed"), 1 => Just("open"), 1 => Just("cancelled")];
    let version = (-2_000_i64..30_000, 0_i64..100, status)
        .prop_map(|(total, percent, status)| (total, total.max(0) * (percent - 50).max(0) / 50, status));
    let order = (0_i64..900, prop::collection::vec(version, 1..4));
    prop::collection::vec(order, 1..14).prop_map(|orders| {
        let history = |(id, (day, versions))| History { id, day, versions };
        orders.into_iter().enumerate().map(history).collect()
    })
}

/// What must not depend on the deliveries.
fn result(shop: &Shop) -> Value {
    let Member {
        card,
        joined_at,
        balance,
        debt,
        lifetime,
        tier,
        tier_since,
        tier_until,
        rolling_spend,
        rolling_points,
        next_expiry,
        due_at,
        ..
    } = shop.member("cus_1");
    assert_eq!(shop.ledger_sum("cus_1", "points"), balance);
    assert_eq!(shop.ledger_sum("cus_1", "debt"), debt);
    for entry in shop.ledger("cus_1") {
        assert!(entry["balance"].as_i64().unwrap() >= 0);
    }
    assert!(balance >= 0 && debt >= 0 && (balance == 0 || debt == 0));
    json!([
        card,
        joined_at,
        balance,
        debt,
        lifetime,
        tier,
        tier_since,
        tier_until,
        rolling_spend,
        rolling_points,
        next_expiry,
        due_at
    ])
}

/// Every version on its day, one by one, with the daily job between.
fn live(histories: &[History], end: &str) -> Value {
    let shop = Shop::open();
    let mut by_day: Vec<&History> = histories.iter().collect();
    by_day.sort_by_key(|history| history.day);
    for history in by_day {
        let today = history.at().display_date();
        for number in 0..history.versions.len() {
            shop.deliver(&today, &[history.version(number)]);
        }
        shop.daily(&history.at().add_days(3).display_date());
    }
    shop.daily(end);
    result(&shop)
}

fn backfilled(histories: &[History], end: &str) -> Value {
    let shop = Shop::open();
    let orders: Vec<Value> = histories.iter().map(History::last).collect();
    shop.deliver(end, &orders);
    shop.daily(end);
    result(&shop)
}

/// All versions in any order and batches, some twice, then the last ones.
fn shuffled(histories: &[History], picks: &[(usize, usize)], end: &str) -> Value {
    let shop = Shop::open();
    for chunk in picks.chunks(3) {
        let pick = |(order, version): &(usize, usize)| {
            let history = &histories[order % histories.len()];
            history.version(version % history.versions.len())
        };
        shop.deliver(end, &chunk.iter().map(pick).collect::<Vec<_>>());
    }
    let lasts: Vec<Value> = histories.iter().rev().map(History::last).collect();
    shop.deliver(end, &lasts);
    shop.deliver(end, &[histories[0].version(0)]);
    shop.daily(end);
    result(&shop)
}

/// An independent reckoning of the balance: no spending, default programme.
fn reckoned(histories: &[History], end: &str) -> i64 {
    let counts = |history: &&History| {
        let (_, _, status) = history.versions[history.versions.len() - 1];
        status != "cancelled" && history.at().add_months(12) > day(end)
    };
    let points = |history: &History| {
        let (total, refunded, _) = history.versions[history.versions.len() - 1];
        (total - refunded).max(0) / 100
    };
    histories.iter().filter(counts).map(points).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_way_of_delivery_changes_nothing(
        histories in histories(),
        picks in prop::collection::vec((0_usize..20, 0_usize..5), 0..20),
    ) {
        let end = "2025-07-15";
        let expected = backfilled(&histories, end);
        prop_assert_eq!(&expected[2], &json!(reckoned(&histories, end)));
        prop_assert_eq!(&live(&histories, end), &expected);
        prop_assert_eq!(&shuffled(&histories, &picks, end), &expected);
    }

    #[test]
    fn a_redemption_between_deliveries_is_paid_by_the_oldest_points(
        histories in histories(),
        share in 0_i64..=100,
        order in prop::collection::vec(0_usize..20, 14),
    ) {
        let redeemed = "2024-03-01";
        let run = |reverse: bool, steps: bool| {
            let shop = Shop::open();
            let (mut early, mut late): (Vec<&History>, Vec<&History>) =
                histories.iter().partition(|history| history.at() < day(redeemed));
            if reverse {
                early.reverse();
                late.sort_by_key(|history| order[history.id]);
            }
            for history in early {
                shop.deliver(redeemed, &[history.last()]);
            }
            testing::set_now(day(redeemed));
            let balance = testing::documents("members").get("cus_1").map_or(0, |member| member["balance"].as_i64().unwrap());
            let points = balance * share / 100;
            if points > 0 {
                let customer = Subject::Customer("cus_1".to_owned());
                testing::invoke(|| Membership::run("redeem", customer, json!({ "points": points }))).unwrap();
            }
            for history in late {
                let at = if steps { history.at().display_date() } else { "2025-07-15".to_owned() };
                shop.deliver(&at.max(redeemed.to_owned()), &[history.last()]);
            }
            shop.daily("2025-07-15");
            result(&shop)
        };
        let expected = run(false, false);
        prop_assert_eq!(&run(true, false), &expected);
        prop_assert_eq!(&run(true, true), &expected);
    }
}
