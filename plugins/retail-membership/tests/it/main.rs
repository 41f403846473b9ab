//! The plugin's tests, through its traits, on the SDK's fake host.

mod order_of_delivery;
mod rules;
mod shop;
