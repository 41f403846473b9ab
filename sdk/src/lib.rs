#![doc = include_str!("../README.md")]

#[doc(hidden)]
pub mod bindings;
pub mod context;
pub mod customers;
pub mod documents;
mod entities;
mod error;
mod event;
mod extension;
pub mod files;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod glue;
mod host;
pub mod http;
pub mod kv;
pub mod log;
mod macros;
mod money;
pub mod orders;
pub mod panels;
pub mod plugins;
pub mod routes;
pub mod scoring;
pub mod settings;
pub mod steps;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod time;
pub mod timeline;

pub use bindings::types::{Comparison, Condition, Error, Fault, Rejection, Scalar, Subject};
pub use context::{Locale, Text};
pub use entities::{
    Behaviour, ContactPoint, Customer, Identity, Interaction, Line, Order, OrderStatus, Refund,
};
pub use error::Result;
pub use event::{Event, EventBody};
pub use extension::{
    Actions, Events, Functions, Hooks, Jobs, Lifecycle, Outcome, Panels, Routes, Save, Scoring, Steps,
};
pub use money::Money;
pub use serde;
pub use serde_json::{self, Value, json};
pub use time::Timestamp;

/// The version of this SDK, which a component carries in `hospes:sdk-version`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The bytes of `text`, for a custom section: it holds an array, no reference.
#[doc(hidden)]
pub const fn section<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let source = text.as_bytes();
    let mut at = 0;
    while at < N {
        bytes[at] = source[at];
        at += 1;
    }
    bytes
}
