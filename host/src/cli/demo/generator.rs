//! The demo's history, made from a seed: the same customers and orders in every run.
//!
//! Pure: it knows the tables and the present, nothing of the database.

use super::catalogue::{
    BEHAVIOURS, COMPANY_NAMES, CONTACTS, DRINKS, FAMILY_NAMES, FOODS, FOREIGN_NAMES, GIVEN_NAMES, TAKEN_HOME,
    UNITS, WARES,
};
use crate::clock::Timestamp;

/// Customers of the demo.
pub(super) const CUSTOMERS: usize = 300;
/// Orders of the demo.
pub(super) const ORDERS: usize = 3_000;
/// How far the history goes back.
const HISTORY_DAYS: i64 = 548;
const DAY_S: i64 = 86_400;
/// Shanghai's offset from UTC, which has been the same since 1991.
const SHANGHAI_S: i64 = 8 * 3_600;

/// Everything that the demo's chain has ever recorded.
pub(super) struct History {
    pub(super) customers: Vec<Person>,
    /// In the order of their time.
    pub(super) orders: Vec<Purchase>,
    pub(super) contacts: Vec<Contact>,
    pub(super) behaviours: Vec<Behaviour>,
}

/// A customer.
pub(super) struct Person {
    pub(super) name: String,
    pub(super) is_company: bool,
    pub(super) email: String,
    pub(super) phone: String,
    pub(super) tags: Vec<&'static str>,
    /// The place of their usual store in the table of units.
    pub(super) unit: usize,
}

/// An order.
pub(super) struct Purchase {
    /// The number on the receipt.
    pub(super) number: String,
    /// The buyer's place among the customers.
    pub(super) customer: usize,
    pub(super) unit: usize,
    pub(super) at: Timestamp,
    /// The wares' places in the table, and how many of each.
    pub(super) lines: Vec<(usize, i64)>,
    /// What is given back of it, in fen; 0 for most orders.
    pub(super) refund_fen: i64,
}

impl Purchase {
    /// The sum of the lines, in fen.
    pub(super) fn total_fen(&self) -> i64 {
        self.lines.iter().map(|(ware, quantity)| WARES[*ware].price_fen * quantity).sum()
    }
}

/// An interaction.
pub(super) struct Contact {
    pub(super) customer: usize,
    pub(super) at: Timestamp,
    /// The place in the table of contacts.
    pub(super) kind: usize,
}

/// Something that a customer did on the shop's pages.
pub(super) struct Behaviour {
    pub(super) customer: usize,
    pub(super) at: Timestamp,
    pub(super) name: &'static str,
}

/// The history up to `now`.
pub(super) fn generate(seed: u64, now: Timestamp) -> History {
    let mut dice = Dice(seed);
    let customers: Vec<Person> = (0..CUSTOMERS).map(|number| person(&mut dice, number)).collect();
    // A few come daily, most once in a while: the weight falls with the rank.
    let weights: Vec<u64> = (0..CUSTOMERS as u64).map(|rank| 4_000 / (rank + 8) + 1).collect();
    let mut orders: Vec<Purchase> = (0..ORDERS)
        .map(|_| {
            let customer = dice.weighted(&weights);
            purchase(&mut dice, customer, &customers[customer], now)
        })
        .collect();
    orders.sort_by_key(|order| order.at);
    for (number, order) in orders.iter_mut().enumerate() {
        order.number = format!("R{:06}", number + 1);
    }
    let contacts = (0..CUSTOMERS)
        .map(|_| Contact {
            customer: dice.below(CUSTOMERS),
            at: moment(&mut dice, now),
            kind: dice.below(CONTACTS.len()),
        })
        .collect();
    let behaviours = (0..CUSTOMERS * 2)
        .map(|_| Behaviour {
            customer: dice.below(CUSTOMERS),
            at: moment(&mut dice, now),
            name: dice.pick(BEHAVIOURS),
        })
        .collect();
    History { customers, orders, contacts, behaviours }
}

fn person(dice: &mut Dice, number: usize) -> Person {
    // Every 25th is a company, so that all of the table appear.
    let company = (number % 25 == 24).then(|| COMPANY_NAMES[number / 25 % COMPANY_NAMES.len()]);
    let name = match company {
        Some(company) => company.to_owned(),
        None if dice.one_in(7) => dice.pick(FOREIGN_NAMES).to_owned(),
        None => format!("{}{}", dice.pick(FAMILY_NAMES), dice.pick(GIVEN_NAMES)),
    };
    let stores: Vec<usize> = (0..UNITS.len()).filter(|unit| UNITS[*unit].store.is_some()).collect();
    let mut tags = Vec::new();
    for (tag, odds) in [("student", 6), ("book-club", 8), ("newsletter", 3), ("office-nearby", 5)] {
        if dice.one_in(odds) {
            tags.push(tag);
        }
    }
    Person {
        name,
        is_company: company.is_some(),
        email: format!("customer{:03}@mail.example", number + 1),
        phone: format!("+86138{:08}", dice.below(100_000_000)),
        tags,
        unit: dice.pick(&stores),
    }
}

fn purchase(dice: &mut Dice, customer: usize, person: &Person, now: Timestamp) -> Purchase {
    let stores: Vec<usize> = (0..UNITS.len()).filter(|unit| UNITS[*unit].store.is_some()).collect();
    let unit = if dice.one_in(5) { dice.pick(&stores) } else { person.unit };
    let many: i64 = if person.is_company { 6 } else { 1 };
    let mut lines = vec![(dice.below(DRINKS), many)];
    if dice.one_in(3) {
        lines.push((FOODS.start + dice.below(FOODS.len()), many));
    }
    if dice.one_in(4) {
        lines.push((TAKEN_HOME.start + dice.below(TAKEN_HOME.len()), 1));
    }
    if dice.one_in(9) {
        let ware = TAKEN_HOME.start + dice.below(TAKEN_HOME.len());
        if lines.iter().all(|(other, _)| *other != ware) {
            lines.push((ware, 1));
        }
    }
    let mut purchase =
        Purchase { number: String::new(), customer, unit, at: moment(dice, now), lines, refund_fen: 0 };
    if dice.one_in(60) {
        // Half of these bring everything back, half one thing of the last line.
        let (ware, _) = purchase.lines[purchase.lines.len() - 1];
        purchase.refund_fen = if dice.one_in(2) { purchase.total_fen() } else { WARES[ware].price_fen };
    }
    purchase
}

/// A moment in the opening hours of one of the history's days.
fn moment(dice: &mut Dice, now: Timestamp) -> Timestamp {
    let today = (now.as_micros() / 1_000_000 + SHANGHAI_S) / DAY_S;
    let day = today - 1 - dice.between(0, HISTORY_DAYS - 1);
    // From eight to ten in the evening; two throws gather the visits around midday and the afternoon.
    let second = 8 * 3_600 + dice.between(0, 7 * 3_600) + dice.between(0, 7 * 3_600 - 1);
    Timestamp::from_micros((day * DAY_S + second - SHANGHAI_S) * 1_000_000)
}

/// SplitMix64: small, the same everywhere, and no secret.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        let number = self.roll() % end as u64;
        usize::try_from(number).expect("less than a usize")
    }

    fn between(&mut self, first: i64, last: i64) -> i64 {
        first + i64::try_from(self.roll() % (last - first + 1).unsigned_abs()).expect("less than an i64")
    }

    fn one_in(&mut self, odds: u64) -> bool {
        self.roll().is_multiple_of(odds)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut left = self.roll() % weights.iter().sum::<u64>();
        for (place, weight) in weights.iter().enumerate() {
            if left < *weight {
                return place;
            }
            left -= weight;
        }
        unreachable!("the number is less than the sum of the weights")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> History {
        generate(7, Timestamp::parse("2026-06-01T00:00:00Z").unwrap())
    }

    #[test]
    fn the_same_seed_makes_the_same_history() {
        let (one, other) = (history(), history());
        for (a, b) in one.orders.iter().zip(&other.orders) {
            assert_eq!((a.at, a.customer, &a.lines), (b.at, b.customer, &b.lines));
        }
    }

    #[test]
    fn orders_lie_in_the_eighteen_months_before_now_and_in_their_order() {
        let history = history();
        let now = Timestamp::parse("2026-06-01T00:00:00Z").unwrap();
        assert!(history.orders.is_sorted_by_key(|order| order.at));
        assert!(history.orders.iter().all(|order| order.at < now));
        assert!(history.orders[0].at > now.plus_seconds(-(HISTORY_DAYS + 2) * DAY_S));
        assert_eq!(history.orders.len(), ORDERS);
    }

    #[test]
    fn no_refund_is_larger_than_its_order() {
        let history = history();
        assert!(history.orders.iter().any(|order| order.refund_fen > 0));
        assert!(history.orders.iter().all(|order| order.refund_fen <= order.total_fen()));
    }

    #[test]
    fn most_customers_have_bought_and_a_few_buy_much() {
        let history = history();
        let mut counts = vec![0; CUSTOMERS];
        for order in &history.orders {
            counts[order.customer] += 1;
        }
        assert!(counts.iter().filter(|count| **count > 0).count() > CUSTOMERS * 8 / 10);
        assert!(*counts.iter().max().unwrap() > 50);
    }
}
