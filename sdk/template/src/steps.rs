//! A step of a workflow. What it writes commits together with its outcome; once it has ended, it is not
//! called again under its key.

use hospes_sdk::steps::{Step, StepOutcome};
use hospes_sdk::{Error, Rejection, Result, Steps, Subject, json};
use serde::Deserialize;

use crate::PluginType;
use crate::card::Card;

/// Thanks that workflows give to one customer.
const THANKS_MAX: u32 = 3;

#[derive(Deserialize)]
struct Reward {
    times: u32,
}

impl Steps for PluginType {
    fn run_step(step: Step) -> Result<StepOutcome> {
        let Subject::Customer(customer) = step.target else {
            let message = "This step is for workflows of customers.";
            return Ok(StepOutcome::Failed(Rejection::new("no_customer", message)));
        };
        let Reward { times } = hospes_sdk::serde_json::from_value(step.input)
            .map_err(|error| Error::invalid("", "wrong_input", error.to_string()))?;
        let mut card = Card::of(&customer)?;
        if card.thanks + times > THANKS_MAX {
            let message = "Nobody can be thanked more often.";
            // A failure that a person should read; an `Err` would be tried again later.
            return Ok(StepOutcome::Failed(Rejection::new("thanked_enough", message)));
        }
        card.thanks += times;
        card.save(&customer)?;
        Ok(StepOutcome::Done(json!({ "thanks": card.thanks })))
    }
}

#[cfg(test)]
mod tests {
    use hospes_sdk::testing;

    use super::*;

    fn reward(target: Subject, times: u32) -> StepOutcome {
        let input = json!({ "times": times });
        let step = Step { name: "reward".to_owned(), target, key: "run-1".to_owned(), input, attempt: 1 };
        testing::invoke(|| PluginType::run_step(step)).unwrap()
    }

    #[test]
    fn a_step_that_cannot_be_done_fails_and_writes_nothing() {
        testing::start(include_str!("../plugin.toml"));
        testing::put_customer(json!({ "id": "cus_1" }));
        let ada = || Subject::Customer("cus_1".to_owned());
        assert_eq!(reward(ada(), 2), StepOutcome::Done(json!({ "thanks": 2 })));
        assert!(matches!(reward(ada(), 2), StepOutcome::Failed(told) if told.code == "thanked_enough"));
        assert_eq!(testing::documents("cards")["cus_1"]["thanks"], 2);
        assert!(matches!(reward(Subject::Tenant, 1), StepOutcome::Failed(told) if told.code == "no_customer"));
    }
}
