//! What the README promises, rule by rule.

use crate::shop::{Shop, customer, day, order};
use hospes_sdk::panels::Block;
use hospes_sdk::{
    Actions, Customer, Error, Hooks, Lifecycle, Panels, Scalar, Subject, Value, json, serde_json, settings,
    testing,
};
use retail_membership::Membership;
use retail_membership::programme::Programme;

fn act(action: &str, input: Value) -> Result<Value, Error> {
    let run = || Membership::run(action, Subject::Customer("cus_1".to_owned()), input);
    testing::invoke(run).map(|outcome| outcome.body)
}

fn code(error: &Error) -> &str {
    match error {
        Error::Rejected(rejection) => &rejection.code,
        Error::Invalid(faults) => &faults[0].code,
        Error::Denied(_)
        | Error::NotFound(_)
        | Error::Conflict(_)
        | Error::Limit(_)
        | Error::Unavailable(_) => panic!("{error}"),
    }
}

#[test]
fn the_schema_and_the_code_have_the_same_defaults() {
    Shop::open();
    let from_schema: Programme = settings::get().unwrap();
    assert_eq!(from_schema, Programme::default());
    Membership::enable().unwrap();
}

#[test]
fn a_programme_that_contradicts_itself_keeps_the_plugin_disabled() {
    Shop::open();
    let tier = |key: &str, threshold: i64| json!({"key": key, "name": {"en": key, "zh-CN": key}, "threshold": threshold});
    testing::set_settings(&json!({ "tiers": [tier("a", 10), tier("a", 10)] }));
    let Err(Error::Invalid(faults)) = Membership::enable() else {
        panic!("two tiers of one key were accepted");
    };
    assert_eq!(faults.len(), 2);
    assert_eq!(faults[0].pointer, "/tiers/1/key");
}

#[test]
fn orders_earn_points_and_a_tier_once() {
    let shop = Shop::open();
    let orders = [order("a", 1, "2025-01-05", 9_999), order("b", 1, "2025-02-05", 150)];
    for _ in 0..3 {
        shop.deliver("2025-02-06", &orders);
    }
    let member = shop.member("cus_1");
    assert_eq!((member.balance, member.lifetime, member.tier.as_str()), (100, 100, "silver"));
    assert_eq!(member.tier_since, day("2025-02-05"));
    assert_eq!(testing::field("cus_1", "tier"), Some(Scalar::Text("silver".to_owned())));
    assert_eq!(testing::field("cus_1", "points"), Some(Scalar::Integer(100)));
    assert_eq!(shop.ledger("cus_1").len(), 2);
}

#[test]
fn a_batch_of_two_hundred_events_takes_few_host_calls() {
    let shop = Shop::open();
    let orders: Vec<Value> = (0..200)
        .map(|at| {
            let id = format!("cus_x{at}");
            testing::put_customer(json!({ "id": id, "version": 1 }));
            let mut order = order(&format!("o{at}"), 1, "2025-01-05", 1_000);
            order["customer_id"] = id.into();
            order
        })
        .collect();
    let before = testing::calls();
    shop.deliver("2025-01-06", &orders);
    assert!(testing::calls() - before <= 4, "{}", testing::calls() - before);
    assert_eq!(testing::documents("members").len(), 200);
}

#[test]
fn points_expire_on_their_day_and_the_daily_job_says_so() {
    let shop = Shop::open();
    shop.deliver("2025-01-05", &[order("a", 1, "2025-01-05", 5_000)]);
    shop.daily("2026-01-04");
    assert_eq!(shop.member("cus_1").balance, 50);
    shop.daily("2026-01-05");
    let member = shop.member("cus_1");
    assert_eq!((member.balance, member.lifetime, member.rolling_spend), (0, 50, 0));
    assert_eq!(shop.ledger("cus_1")[1]["kind"], "expire");
    assert_eq!(member.due_at, None);
}

#[test]
fn a_refund_of_spent_points_is_a_debt_that_later_points_pay() {
    let shop = Shop::open();
    shop.deliver("2025-01-05", &[order("a", 1, "2025-01-05", 10_000)]);
    act("redeem", json!({ "points": 80 })).unwrap();
    let mut refunded = order("a", 2, "2025-01-05", 10_000);
    refunded["refunded"] = json!({ "amount_minor": 10_000, "currency": "USD" });
    shop.deliver("2025-01-06", &[refunded]);
    let member = shop.member("cus_1");
    assert_eq!((member.balance, member.debt, member.lifetime), (0, 80, 0));
    let reversal = &shop.ledger("cus_1")[2];
    assert_eq!((&reversal["points"], &reversal["debt"]), (&json!(-20), &json!(80)));
    shop.deliver("2025-01-07", &[order("b", 1, "2025-01-07", 10_000)]);
    let member = shop.member("cus_1");
    assert_eq!((member.balance, member.debt), (20, 0));
}

#[test]
fn a_cancelled_order_takes_its_points_back() {
    let shop = Shop::open();
    shop.deliver("2025-01-05", &[order("a", 1, "2025-01-05", 20_000)]);
    let mut cancelled = order("a", 2, "2025-01-05", 20_000);
    cancelled["status"] = json!("cancelled");
    shop.deliver("2025-01-06", &[cancelled]);
    let member = shop.member("cus_1");
    assert_eq!((member.balance, member.rolling_spend, member.tier.as_str()), (0, 0, "standard"));
}

#[test]
fn redeeming_more_than_the_balance_is_refused_and_names_it() {
    let shop = Shop::open();
    shop.deliver("2025-01-05", &[order("a", 1, "2025-01-05", 5_000)]);
    let Err(Error::Rejected(rejection)) = act("redeem", json!({ "points": 51 })) else {
        panic!("the balance was overdrawn");
    };
    assert_eq!(rejection.code, "not_enough_points");
    assert!(rejection.message.contains("50"), "{}", rejection.message);
    assert_eq!(shop.member("cus_1").balance, 50);
    assert!(testing::timeline().is_empty());
}

#[test]
fn a_reward_has_its_price() {
    let shop = Shop::open();
    shop.deliver("2025-01-05", &[order("a", 1, "2025-01-05", 15_000)]);
    let wrong = act("redeem", json!({ "reward": "voucher-5", "points": 1 })).unwrap_err();
    assert_eq!(code(&wrong), "not_the_price");
    assert_eq!(code(&act("redeem", json!({ "reward": "moon" })).unwrap_err()), "unknown_reward");
    assert_eq!(code(&act("redeem", json!({})).unwrap_err()), "required");
    assert_eq!(code(&act("redeem", json!({ "points": -5 })).unwrap_err()), "not_positive");
    let body = act("redeem", json!({ "reward": "voucher-5" })).unwrap();
    assert_eq!(body["balance"], 50);
    let timeline = testing::timeline();
    assert_eq!(timeline[0].kind, "retail-membership.points_redeemed");
    assert_eq!(timeline[0].summary, "Redeemed 100 points for Voucher of 5.");
}

#[test]
fn an_adjustment_needs_a_reason_and_never_overdraws() {
    let shop = Shop::open();
    assert_eq!(code(&act("adjust", json!({"points": 5, "reason": "x"})).unwrap_err()), "not_a_member");
    act("join", json!({})).unwrap();
    assert_eq!(code(&act("join", json!({})).unwrap_err()), "already_member");
    assert_eq!(code(&act("adjust", json!({"points": 5, "reason": " "})).unwrap_err()), "required");
    act("adjust", json!({"points": 30, "reason": "apology"})).unwrap();
    let refused = act("adjust", json!({"points": -31, "reason": "oops"})).unwrap_err();
    assert_eq!(code(&refused), "not_enough_points");
    act("adjust", json!({"points": -10, "reason": "oops"})).unwrap();
    assert_eq!(shop.member("cus_1").balance, 20);
    let reasons: Vec<Value> = shop.ledger("cus_1").iter().map(|entry| entry["reason"].clone()).collect();
    assert_eq!(reasons, [json!("apology"), json!("oops")]);
}

#[test]
fn without_automatic_enrolment_orders_count_from_joining() {
    let shop = Shop::open();
    testing::set_settings(&json!({ "enrol": "on_join" }));
    let early = order("a", 1, "2025-01-05", 5_000);
    shop.deliver("2025-01-05", std::slice::from_ref(&early));
    assert!(testing::documents("members").is_empty());
    testing::set_now(day("2025-02-01"));
    act("join", json!({})).unwrap();
    shop.deliver("2025-02-03", &[early, order("b", 1, "2025-02-02", 700)]);
    assert_eq!(shop.member("cus_1").balance, 7);
}

#[test]
fn a_changed_programme_reaches_every_member_with_the_daily_job() {
    let shop = Shop::open();
    shop.deliver("2025-01-05", &[order("a", 1, "2025-01-05", 5_000)]);
    shop.daily("2025-01-06");
    testing::set_settings(&json!({ "tiers": [
        { "key": "base", "name": { "en": "Base", "zh-CN": "基础" }, "threshold": 0 },
        { "key": "top", "name": { "en": "Top", "zh-CN": "顶级" }, "threshold": 5000 },
    ]}));
    shop.daily("2025-01-07");
    assert_eq!(shop.member("cus_1").tier, "top");
    assert_eq!(testing::field("cus_1", "tier"), Some(Scalar::Text("top".to_owned())));
}

#[test]
fn a_member_with_very_many_orders_stays_within_a_document() {
    let shop = Shop::open();
    let start = day("2020-01-01");
    for batch in 0..10 {
        let orders: Vec<Value> = (0..190)
            .map(|at| {
                let number = batch * 190 + at;
                let mut order = order(&format!("order_with_a_long_id_{number}"), 1, "2020-01-01", 300);
                order["ordered_at"] = json!(start.add_days(number));
                order
            })
            .collect();
        let now = start.add_days((batch + 1) * 190).display_date();
        shop.deliver(&now, &orders);
    }
    let member = shop.member("cus_1");
    // One order a day up to yesterday; the one of this day last year has expired.
    assert_eq!((member.balance, member.lifetime), (364 * 3, 1_900 * 3));
    assert!(member.lots.len() <= 800, "{}", member.lots.len());
    assert_eq!(shop.ledger_sum("cus_1", "points"), member.balance);
}

fn panel(locale: &str) -> Vec<Block> {
    testing::set_locale(locale);
    let render = || Membership::render("customer", Subject::Customer("cus_1".to_owned()));
    testing::invoke_read_only(render).unwrap().into_vec()
}

#[test]
fn the_panel_offers_to_join_and_then_shows_the_member() {
    let shop = Shop::open();
    assert!(matches!(&panel("en")[..], [Block::Text(_), Block::Button(join)] if join.action == "join"));
    shop.deliver("2025-01-05", &[order("a", 1, "2025-01-05", 15_000)]);
    let english = panel("en");
    assert!(matches!(&english[0], Block::Badge(badge) if badge.text == "Silver"));
    assert!(matches!(&english[1], Block::Stat(stat) if stat.value == "150"));
    assert!(
        english
            .iter()
            .any(|block| matches!(block, Block::Progress(bar) if bar.label == "USD 350.00 to Gold"))
    );
    assert!(english.iter().any(|block| matches!(block, Block::Table(table) if table.rows.len() == 1)));
    assert!(matches!(&panel("zh-CN")[0], Block::Badge(badge) if badge.text == "银卡会员"));
}

#[test]
fn only_a_member_may_not_lose_the_last_contact_point() {
    let shop = Shop::open();
    let with: Customer = serde_json::from_value(customer("cus_1")).unwrap();
    let without = Customer { contact_points: Vec::new(), ..with.clone() };
    let save = |before: &Customer, after: &Customer| {
        let (before, after) = (before.clone(), after.clone());
        testing::invoke_read_only(|| Membership::before_save_customer(Some(before), after))
    };
    assert_eq!(save(&with, &without), Ok(None));
    shop.deliver("2025-01-05", &[order("a", 1, "2025-01-05", 100)]);
    let rejection = save(&with, &without).unwrap_err();
    assert_eq!(rejection.code, "member_needs_contact_point");
    assert_eq!(rejection.faults[0].pointer, "/contact_points");
    assert_eq!(save(&with, &with), Ok(None));
    assert_eq!(save(&without, &without), Ok(None));
}
