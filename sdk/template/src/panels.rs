//! Shows the count on a customer. A panel may read and must not write.

use hospes_sdk::panels::{Blocks, Tone};
use hospes_sdk::{Locale, Panels, Result, Subject, context};

use crate::PluginType;
use crate::card::Card;

impl Panels for PluginType {
    fn render(_slot: &str, target: Subject) -> Result<Blocks> {
        let Subject::Customer(customer) = target else { return Ok(Blocks::new()) };
        let card = Card::of(&customer)?;
        let label = match context::get().language() {
            Locale::En => "Orders",
            Locale::ZhCn => "订单数",
        };
        Ok(Blocks::new().stat(label, card.orders.len().to_string(), None, Tone::Neutral))
    }
}
