//! A button on a customer. Its input is valid by the schema in `plugin.toml`.

use hospes_sdk::{Actions, Error, Outcome, Result, Subject, Value, context, json, timeline};
use serde::Deserialize;

use crate::PluginType;
use crate::card::Card;

/// Thanks that one customer is given.
const THANKS_MAX: u32 = 3;

#[derive(Deserialize)]
struct Thank {
    words: String,
}

impl Actions for PluginType {
    fn run(_action: &str, target: Subject, input: Value) -> Result<Outcome> {
        let Subject::Customer(customer) = target else {
            return Err(Error::NotFound("action of this record".to_owned()));
        };
        let Thank { words } = hospes_sdk::serde_json::from_value(input)
            .map_err(|error| Error::invalid("", "wrong_input", error.to_string()))?;
        let mut card = Card::of(&customer)?;
        if card.thanks >= THANKS_MAX {
            return Err(Error::rejected("thanked_enough", "Nobody can be thanked more often."));
        }
        card.thanks += 1;
        card.save(&customer)?;
        timeline::append(vec![timeline::Entry {
            customer,
            kind: "thanks".to_owned(),
            occurred_at: context::get().started_at(),
            summary: words,
            details: json!({}),
            external_id: None,
        }])?;
        Ok(Outcome { message: "Thanked.".to_owned(), body: json!({ "thanks": card.thanks }) })
    }
}
