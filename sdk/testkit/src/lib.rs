//! The production host in your tests: the same sandbox, rights, budgets and transactions that a
//! server has, on an embedded database that goes away, with a clock that you move.
//!
//! The testkit drives the `hospes` program: the variable `HOSPES_BIN` names it, as `hospes plugin
//! test` sets it, or it is found on the path. The plugin is compiled once for each run of the
//! tests; every test has a host of its own.
//!
//! # A complete test
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use hospes_testkit::{Host, assert_fuel_below, json};
//!
//! #[test]
//! fn two_coffees_are_two_stamps() {
//!     // Compiles this crate, installs it and enables it with every grant that it asks for.
//!     let host = hospes_testkit::host!();
//!
//!     // Records are made through the REST API, so they are what production would let in.
//!     let ada = host.customer("Ada").create();
//!     host.order(&ada).line("LAT", "coffee", 2, 700).create();
//!     // Background work is done when it is asked for, and until nothing is left.
//!     assert_eq!(host.work().handled, 1);
//!
//!     assert_eq!(host.documents("cards")[&ada.id]["stamps"], 2);
//!     assert_eq!(host.field(&ada, "stamps"), Some(json!(2)));
//!     assert!(host.panel(&ada).text().contains("Stamps"));
//!
//!     // A button, and what the plugin refuses.
//!     let refused = host.press(&ada, "free-coffee", &json!({})).unwrap_err();
//!     assert_eq!(refused.code, "too_few_stamps");
//!
//!     // Schedules run when their time has come.
//!     host.advance(Duration::from_secs(24 * 3600));
//!     assert_eq!(host.work().jobs, 1);
//!
//!     // Fuel is deterministic: this number is what production meters and enforces.
//!     assert_fuel_below!(host, "events", 2_000_000);
//! }
//!
//! #[test]
//! fn without_a_grant_the_call_is_denied_and_the_log_says_what_to_grant() {
//!     let host = Host::of(env!("CARGO_MANIFEST_DIR")).grants(&["orders:read"]).enable();
//!     let ada = host.customer("Ada").create();
//!     host.order(&ada).line("LAT", "coffee", 2, 700).create();
//!     assert_eq!(host.work().failed, 1);
//!     assert!(host.log().iter().any(|line| line.contains("documents:own")));
//! }
//! ```
//!
//! A failing assertion shows the host's whole answer. What is not here is one
//! [`Host::request`] away: the whole REST API is there.

#![expect(
    clippy::disallowed_methods,
    reason = "a test reads its environment, and its files beside the crate's"
)]

#[cfg(doctest)]
#[doc = include_str!("../../GUIDE.md")]
struct Guide;

mod host;
mod http;
mod process;
mod records;

pub use host::{Host, Panel, Setup, Work};
pub use http::{Failure, Response, Script};
pub use records::{Answer, NewOrder, NewRecord, Outcome, Record, Rejection};
pub use serde_json::{Value, json};

/// A host with the plugin of the crate that this is written in, enabled with every grant that it
/// asks for and the default settings.
#[macro_export]
macro_rules! host {
    () => {
        $crate::Host::of(env!("CARGO_MANIFEST_DIR")).enable()
    };
}

/// Fails if the last successful call at an extension point (`"events"`, `"panels"`, …) burned this much fuel or
/// more. The message says how much it was.
#[macro_export]
macro_rules! assert_fuel_below {
    ($host:expr, $point:expr, $most:expr $(,)?) => {{
        let (burned, most): (u64, u64) = ($host.fuel($point), $most);
        assert!(burned < most, "`{}` burned {burned} units of fuel, which is not below {most}", $point);
    }};
}
