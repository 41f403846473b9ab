//! Members, tiers and points for retail tenants.
//!
//! A member's document holds facts (what each order earned, what was spent) and
//! their result (balance, tier). The result is always computed anew from the
//! facts at a time, so it does not depend on the order or number of deliveries:
//! `account` does that and touches no host. `README.md` states the rules.

pub mod account;
mod actions;
mod card;
mod hook;
mod job;
pub mod ledger;
pub mod member;
mod panel;
pub mod programme;
mod purchases;
pub mod rating;
mod store;
pub mod tier;
mod words;

use hospes_sdk::panels::Blocks;
use hospes_sdk::{
    Actions, Customer, Event, Events, Hooks, Jobs, Lifecycle, Outcome, Panels, Rejection, Result, Subject,
    Timestamp, Value, settings,
};

use programme::Programme;

/// The plugin.
#[derive(Debug)]
pub struct Membership;

impl Lifecycle for Membership {
    fn enable() -> Result<()> {
        settings::get::<Programme>()?.check()
    }
}

impl Events for Membership {
    fn handle(events: Vec<Event>) -> Result<()> {
        purchases::handle(events)
    }
}

impl Hooks for Membership {
    fn before_save_customer(
        before: Option<Customer>,
        after: Customer,
    ) -> std::result::Result<Option<Value>, Rejection> {
        hook::before_save(before, &after)
    }
}

impl Actions for Membership {
    fn run(action: &str, target: Subject, input: Value) -> Result<Outcome> {
        actions::run(action, target, input)
    }
}

impl Panels for Membership {
    fn render(slot: &str, target: Subject) -> Result<Blocks> {
        panel::render(slot, &target)
    }
}

impl Jobs for Membership {
    fn run(job: &str, _due_at: Timestamp, cursor: Option<String>) -> Result<Option<String>> {
        job::run(job, cursor)
    }
}

hospes_sdk::plugin!(Membership: Lifecycle, Events, Hooks, Actions, Panels, Jobs);
