//! The extension points: implement the traits that your plugin needs and name
//! them in [`plugin!`](crate::plugin). Every method has a default.

use serde_json::Value;

use crate::panels::Blocks;
use crate::routes::{Request, Response};
use crate::scoring::{Scores, Slice};
use crate::steps::{Step, StepOutcome};
use crate::{Customer, Error, Event, Order, Rejection, Result, Subject, Timestamp};

/// Called when a tenant turns the plugin on, off or to another version.
pub trait Lifecycle {
    /// Runs before any event arrives; an error keeps the plugin disabled.
    fn enable() -> Result<()> {
        Ok(())
    }

    /// Runs when the plugin is turned off; its data stays.
    fn disable() -> Result<()> {
        Ok(())
    }

    /// Moves the plugin's data from an older version, a chunk a call. Answer a
    /// cursor to be called again with it.
    fn migrate(from_version: &str, cursor: Option<String>) -> Result<Option<String>> {
        drop((from_version, cursor));
        Ok(None)
    }
}

/// Receives what has happened in the tenant's data.
pub trait Events {
    /// Handles at most 200 events, in order per subject. All that is written
    /// commits with the acknowledgement of the batch; an error discards it and
    /// the host tries again. Override this one to read and write in batches.
    fn handle(events: Vec<Event>) -> Result<()> {
        events.into_iter().try_for_each(Self::handle_one)
    }

    /// Handles one event of the batch.
    fn handle_one(event: Event) -> Result<()> {
        drop(event);
        Ok(())
    }
}

/// A record that is about to be saved.
#[derive(Debug, Clone, PartialEq)]
pub enum Save {
    /// A customer; without `before` when it is created.
    Customer { before: Option<Customer>, after: Customer },
    /// An order; without `before` when it is created.
    Order { before: Option<Order>, after: Order },
}

/// Sees a save before it commits. A hook may read and must not write.
pub trait Hooks {
    /// Answers a JSON Merge Patch over `after`, nothing to leave it alone, or a
    /// rejection that reaches whoever saves.
    fn before_save(save: Save) -> std::result::Result<Option<Value>, Rejection> {
        match save {
            Save::Customer { before, after } => Self::before_save_customer(before, after),
            Save::Order { before, after } => Self::before_save_order(before, after),
        }
    }

    /// The same, for a customer.
    fn before_save_customer(
        before: Option<Customer>,
        after: Customer,
    ) -> std::result::Result<Option<Value>, Rejection> {
        drop((before, after));
        Ok(None)
    }

    /// The same, for an order.
    fn before_save_order(
        before: Option<Order>,
        after: Order,
    ) -> std::result::Result<Option<Value>, Rejection> {
        drop((before, after));
        Ok(None)
    }
}

/// What an action has done.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// One line for the person who pressed the button.
    pub message: String,
    /// The result for machines.
    pub body: Value,
}

/// Buttons on a record.
pub trait Actions {
    /// Runs a declared action; the input is valid by the manifest's schema.
    fn run(action: &str, target: Subject, input: Value) -> Result<Outcome> {
        drop((target, input));
        Err(Error::NotFound(format!("action `{action}`")))
    }
}

/// What the plugin shows of a record.
pub trait Panels {
    /// Renders a declared slot. A panel may read and must not write.
    fn render(slot: &str, target: Subject) -> Result<Blocks> {
        drop((slot, target));
        Ok(Blocks::new())
    }
}

/// Work on a declared schedule.
pub trait Jobs {
    /// Runs one chunk. Answer a cursor to be called again with it at once.
    fn run(job: &str, due_at: Timestamp, cursor: Option<String>) -> Result<Option<String>> {
        drop((due_at, cursor));
        Err(Error::NotFound(format!("job `{job}`")))
    }
}

/// Scores of many customers at once.
pub trait Scoring {
    /// Scores at most 1,000 customers by a declared scoring. It may read and must
    /// not write.
    fn score(scoring: &str, slice: Slice) -> Result<Scores> {
        drop(slice);
        Err(Error::NotFound(format!("scoring `{scoring}`")))
    }
}

/// REST endpoints under the plugin's prefix.
pub trait Routes {
    /// Answers a request that a declared route has let through. A `GET` may read
    /// and must not write.
    fn answer(request: Request) -> Result<Response> {
        Err(Error::NotFound(format!("route `{}`", request.path)))
    }
}

/// Types of workflow steps.
pub trait Steps {
    /// Runs a declared step. What it writes commits together with its outcome; an
    /// error discards it, and the host tries again later.
    fn run_step(step: Step) -> Result<StepOutcome> {
        Err(Error::NotFound(format!("step `{}`", step.name)))
    }
}

/// What other plugins may call.
pub trait Functions {
    /// Runs a declared function for the plugin `caller`; the input is valid by the
    /// manifest's schema.
    fn call(function: &str, caller: &str, input: Value) -> Result<Value> {
        drop((caller, input));
        Err(Error::NotFound(format!("function `{function}`")))
    }
}
