//! What the plugin keeps of a customer: a document of its own collection `cards`.

use hospes_sdk::documents::Collection;
use hospes_sdk::{Result, Subject};
use serde::{Deserialize, Serialize};

/// Declared in `plugin.toml`.
pub const CARDS: Collection<Card> = Collection::new("cards");

/// A customer's card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Card {
    /// The orders that have been counted: an event may come twice, and must count once.
    pub orders: Vec<String>,
    /// How often the customer was thanked.
    pub thanks: u32,
}

impl Card {
    /// The card of a customer, who may have none yet.
    pub fn of(customer: &str) -> Result<Self> {
        Ok(CARDS.get(customer)?.map(|document| document.value).unwrap_or_default())
    }

    /// Writes it. It is the customer's, and goes when the customer's data does.
    pub fn save(&self, customer: &str) -> Result<()> {
        CARDS.put(customer, &Subject::Customer(customer.to_owned()), self)
    }
}
