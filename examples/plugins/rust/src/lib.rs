//! A stamp for every order, and a gift for a full card.
//!
//! The same plugin stands beside in JavaScript and in Python.

use hospes_sdk::documents::Collection;
use hospes_sdk::panels::{Blocks, Tone};
use hospes_sdk::{
    Actions, Error, Event, EventBody, Events, Locale, Outcome, Panels, Result, Subject, Value, context, json,
    log, serde_json,
};
use serde::{Deserialize, Serialize};

const CARDS: Collection<Card> = Collection::new("cards");
/// Orders that a card remembers, the latest: an event may come twice, but not months later.
const ORDERS_MAX: usize = 200;

/// A customer's card.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Card {
    stamps: u64,
    /// The orders that have been counted.
    orders: Vec<String>,
}

#[derive(Deserialize)]
struct Redeem {
    stamps: u64,
}

/// The plugin.
pub struct Stamps;

impl Events for Stamps {
    fn handle_one(event: Event) -> Result<()> {
        let EventBody::OrderCreated(order) = event.body else { return Ok(()) };
        let mut card = card_of(&order.customer_id)?;
        if card.orders.contains(&order.id) {
            return Ok(());
        }
        card.stamps += 1;
        card.orders.push(order.id);
        if card.orders.len() > ORDERS_MAX {
            card.orders.remove(0);
        }
        log::info(&format!("{} stamps", card.stamps));
        save(&order.customer_id, &card)
    }
}

impl Actions for Stamps {
    fn run(_action: &str, target: Subject, input: Value) -> Result<Outcome> {
        let Subject::Customer(customer) = target else {
            return Err(Error::NotFound("action of this record".to_owned()));
        };
        let Redeem { stamps } = serde_json::from_value(input)
            .map_err(|error| Error::invalid("", "wrong_input", error.to_string()))?;
        let mut card = card_of(&customer)?;
        if card.stamps < stamps {
            let message = format!("The card has {} of {stamps} stamps.", card.stamps);
            return Err(Error::rejected("too_few_stamps", message));
        }
        card.stamps -= stamps;
        save(&customer, &card)?;
        Ok(Outcome { message: "Enjoy!".to_owned(), body: json!({ "stamps": card.stamps }) })
    }
}

impl Panels for Stamps {
    fn render(_slot: &str, target: Subject) -> Result<Blocks> {
        let Subject::Customer(customer) = target else { return Ok(Blocks::new()) };
        let label = match context::get().language() {
            Locale::En => "Stamps",
            Locale::ZhCn => "印章",
        };
        let stamps = card_of(&customer)?.stamps.to_string();
        Ok(Blocks::new().stat(label, stamps, None, Tone::Neutral))
    }
}

fn card_of(customer: &str) -> Result<Card> {
    Ok(CARDS.get(customer)?.map(|found| found.value).unwrap_or_default())
}

fn save(customer: &str, card: &Card) -> Result<()> {
    CARDS.put(customer, &Subject::Customer(customer.to_owned()), card)
}

hospes_sdk::plugin!(Stamps: Events, Actions, Panels);

#[cfg(test)]
mod tests {
    use hospes_sdk::testing;

    use super::*;

    #[test]
    fn an_order_is_one_stamp_and_a_gift_costs_what_it_says() {
        testing::start(include_str!("../plugin.toml"));
        testing::put_customer(json!({ "id": "cus_1" }));
        let price = json!({ "amount_minor": 350, "currency": "USD" });
        let order = json!({
            "id": "ord_1", "customer_id": "cus_1", "ordered_at": "2026-05-01T08:00:00Z",
            "total": price, "lines": [],
        });
        for delivery in ["evt_1", "evt_2"] {
            let event = testing::event(delivery, "order.created", &order).unwrap();
            testing::invoke(|| Stamps::handle(vec![event])).unwrap();
        }
        let redeem = || Stamps::run("redeem", Subject::Customer("cus_1".into()), json!({ "stamps": 1 }));
        assert_eq!(testing::invoke(redeem).unwrap().body, json!({ "stamps": 0 }));
        assert!(testing::invoke(redeem).is_err());
    }
}
