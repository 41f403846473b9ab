//! Counts every order. What an event writes commits with its acknowledgement, or not at all.

use hospes_sdk::{Event, EventBody, Events, Result};

use crate::PluginType;
use crate::card::Card;

impl Events for PluginType {
    fn handle_one(event: Event) -> Result<()> {
        let EventBody::OrderCreated(order) = event.body else { return Ok(()) };
        let mut card = Card::of(&order.customer_id)?;
        if card.orders.contains(&order.id) {
            return Ok(());
        }
        card.orders.push(order.id);
        card.save(&order.customer_id)
    }
}
