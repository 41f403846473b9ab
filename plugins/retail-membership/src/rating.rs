//! What an order earns. Pure.
//!
//! ```text
//! points(amount) = floor( amount · W · p / (L · 100 · u) ), at least 0
//!   p points per u minor units: the rate in force when it was ordered
//!   L  sum of the lines' amounts
//!   W  sum of each line's amount times its percentage
//! ```
//! Without lines, or when they add up to nothing, W/L is the percentage of goods
//! without a class. The amount is the order's total for what it earned, and the
//! total less its refunds for what it keeps: one rounding, down, per order.

use hospes_sdk::{Line, Order, OrderStatus, Timestamp};

use crate::programme::{EarnOn, Programme, Rate};

/// What an order means for its customer's membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rating {
    /// For the whole order.
    pub earned: i64,
    /// What is left of it after refunds; never more than earned.
    pub kept: i64,
    /// The net amount, if it is in the tenant's currency. May be negative.
    pub spend: i64,
}

/// Rates an order that counts; nothing if it does not, such as a cancelled one.
pub fn rate(order: &Order, programme: &Programme, currency: &str) -> Option<Rating> {
    let counts = match order.status {
        OrderStatus::Completed => true,
        OrderStatus::Open | OrderStatus::Other => programme.earn_on == EarnOn::Placed,
        OrderStatus::Cancelled => false,
    };
    if !counts {
        return None;
    }
    let net = order.net_minor();
    let earned = points(order, order.total.amount_minor, programme, currency);
    Some(Rating {
        earned,
        kept: points(order, net, programme, currency).min(earned),
        spend: if order.total.currency == currency { net } else { 0 },
    })
}

fn points(order: &Order, amount: i64, programme: &Programme, currency: &str) -> i64 {
    let Some(rate) = rate_of(order, programme, currency) else {
        return 0;
    };
    let exact = || {
        let (weighted, sum) = weigh(order, programme)?;
        let numerator = i128::from(amount).checked_mul(weighted)?.checked_mul(i128::from(rate.points))?;
        let denominator = sum.checked_mul(100)?.checked_mul(i128::from(rate.per_minor_units))?;
        numerator.checked_div_euclid(denominator)
    };
    // An amount too large to multiply is no purchase.
    exact().map_or(0, |points| i64::try_from(points.max(0)).unwrap_or(0))
}

/// Sum of amount times percentage, and sum of amounts.
fn weigh(order: &Order, programme: &Programme) -> Option<(i128, i128)> {
    let mut weighted = 0_i128;
    let mut sum = 0_i128;
    for Line { class, amount, .. } in &order.lines {
        let percent = percentage(class.as_deref(), order.ordered_at, programme);
        let amount = i128::from(amount.amount_minor);
        weighted = weighted.checked_add(amount.checked_mul(i128::from(percent))?)?;
        sum = sum.checked_add(amount)?;
    }
    if sum > 0 {
        Some((weighted, sum))
    } else {
        Some((i128::from(percentage(None, order.ordered_at, programme)), 1))
    }
}

/// The highest percentage that applies; they do not add up. A class of 0 is
/// excluded from the programme, campaigns included.
fn percentage(class: Option<&str>, at: Timestamp, programme: &Programme) -> i64 {
    let rule = programme.classes.iter().find(|rule| class == Some(rule.class.as_str()));
    let base = rule.map_or(100, |rule| rule.percent);
    if base == 0 {
        return 0;
    }
    let campaigns = programme.campaigns.iter().filter(|campaign| {
        campaign.from <= at
            && at < campaign.until
            && campaign.class.as_deref().is_none_or(|of| class == Some(of))
    });
    campaigns.map(|campaign| campaign.percent).fold(base, i64::max)
}

/// The rate that was in force: the one with the latest `from`, the later in the
/// list among equals.
fn rate_of<'a>(order: &Order, programme: &'a Programme, currency: &str) -> Option<&'a Rate> {
    programme
        .rates
        .iter()
        .filter(|rate| {
            rate.currency.as_deref().unwrap_or(currency) == order.total.currency
                && rate.from.is_none_or(|from| from <= order.ordered_at)
        })
        .max_by_key(|rate| rate.from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programme::{Campaign, ClassRule};
    use hospes_sdk::{json, serde_json};

    fn order(total: i64, refunded: i64, lines: &[(Option<&str>, i64)]) -> Order {
        let money = |amount: i64| json!({"amount_minor": amount, "currency": "USD"});
        let line = |(class, amount): &(Option<&str>, i64)| json!({"class": class, "amount": money(*amount)});
        serde_json::from_value(json!({
            "id": "ord_1", "version": 1, "customer_id": "cus_1", "status": "completed",
            "ordered_at": "2026-05-01T12:00:00Z", "total": money(total), "refunded": money(refunded),
            "lines": lines.iter().map(line).collect::<Vec<_>>(),
        }))
        .unwrap()
    }

    fn rated(order: &Order, programme: &Programme) -> (i64, i64, i64) {
        let Rating { earned, kept, spend } = rate(order, programme, "USD").unwrap();
        (earned, kept, spend)
    }

    #[test]
    fn points_are_rounded_down_once_per_order() {
        let programme = Programme::default();
        assert_eq!(rated(&order(1999, 0, &[]), &programme), (19, 19, 1999));
        assert_eq!(rated(&order(150, 0, &[(None, 75), (None, 75)]), &programme), (1, 1, 150));
        assert_eq!(rated(&order(1999, 1000, &[]), &programme), (19, 9, 999));
        assert_eq!(rated(&order(0, 0, &[]), &programme), (0, 0, 0));
        assert_eq!(rated(&order(-500, 0, &[]), &programme), (0, 0, -500));
    }

    #[test]
    fn the_highest_percentage_counts_and_an_excluded_class_earns_nothing() {
        let programme = Programme {
            classes: vec![
                ClassRule { class: "wine".to_owned(), percent: 200 },
                ClassRule { class: "tobacco".to_owned(), percent: 0 },
            ],
            campaigns: vec![Campaign {
                name: "May".to_owned(),
                from: "2026-05-01T12:00:00Z".parse().unwrap(),
                until: "2026-06-01T00:00:00Z".parse().unwrap(),
                percent: 150,
                class: None,
            }],
            ..Programme::default()
        };
        let mixed = order(3000, 0, &[(Some("wine"), 1000), (Some("tobacco"), 1000), (None, 1000)]);
        assert_eq!(rated(&mixed, &programme).0, 35);
        let mut before = mixed.clone();
        before.ordered_at = "2026-05-01T11:59:59Z".parse().unwrap();
        assert_eq!(rated(&before, &programme).0, 30);
        let discounted = order(1500, 0, &[(Some("wine"), 1000), (None, 1000)]);
        assert_eq!(rated(&discounted, &programme).0, 26);
    }

    #[test]
    fn a_rate_counts_from_its_time_and_for_its_currency() {
        let rate = |from: Option<&str>, currency: Option<&str>, points| Rate {
            from: from.map(|from| from.parse().unwrap()),
            currency: currency.map(str::to_owned),
            points,
            per_minor_units: 100,
        };
        let programme = Programme {
            rates: vec![
                rate(Some("2026-05-01T00:00:00Z"), None, 3),
                rate(None, None, 1),
                rate(Some("2026-06-01T00:00:00Z"), None, 9),
                rate(None, Some("EUR"), 2),
            ],
            ..Programme::default()
        };
        let mut order = order(1000, 0, &[]);
        assert_eq!(rated(&order, &programme).0, 30);
        order.total.currency = "EUR".to_owned();
        assert_eq!(rated(&order, &programme), (20, 20, 0));
        order.total.currency = "JPY".to_owned();
        assert_eq!(rated(&order, &programme), (0, 0, 0));
    }

    #[test]
    fn a_cancelled_order_does_not_count() {
        let mut order = order(1000, 0, &[]);
        order.status = OrderStatus::Cancelled;
        assert_eq!(rate(&order, &Programme::default(), "USD"), None);
        order.status = OrderStatus::Open;
        let completed_only = Programme { earn_on: EarnOn::Completed, ..Programme::default() };
        assert_eq!(rate(&order, &completed_only, "USD"), None);
        assert!(rate(&order, &Programme::default(), "USD").is_some());
    }
}
