//! What other plugins may call by name. Here they learn what is known of a customer; the host has checked
//! the input against `plugin.toml`, and checks the output.

use hospes_sdk::{Error, Functions, Result, Value, json};
use serde::Deserialize;

use crate::PluginType;
use crate::card::Card;

#[derive(Deserialize)]
struct Wanted {
    customer: String,
}

impl Functions for PluginType {
    fn call(_function: &str, _caller: &str, input: Value) -> Result<Value> {
        let Wanted { customer } = hospes_sdk::serde_json::from_value(input)
            .map_err(|error| Error::invalid("", "wrong_input", error.to_string()))?;
        let Card { orders, thanks } = Card::of(&customer)?;
        Ok(json!({ "orders": orders.len(), "thanks": thanks }))
    }
}

#[cfg(test)]
mod tests {
    use hospes_sdk::testing;

    use super::*;

    #[test]
    fn another_plugin_learns_what_is_on_a_card() {
        testing::start(include_str!("../plugin.toml"));
        testing::put_customer(json!({ "id": "cus_1" }));
        let card = Card { orders: vec!["ord_1".to_owned()], thanks: 2 };
        testing::invoke(|| card.save("cus_1")).unwrap();
        let wanted = json!({ "customer": "cus_1" });
        let told = testing::invoke_read_only(|| PluginType::call("card", "another", wanted)).unwrap();
        assert_eq!(told, json!({ "orders": 1, "thanks": 2 }));
    }
}
