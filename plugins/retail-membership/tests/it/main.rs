//! The plugin's tests, through its traits, on the SDK's fake host.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod order_of_delivery;
mod rules;
mod shop;
