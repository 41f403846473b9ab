//! Components of `tests/guests/`, compiled by this crate's build script.

/// Touches every part of the contract and does what it is told.
pub const PROBE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest-probe.wasm"));

/// Misbehaves: the action's name, or the customer's, says how.
pub const HOSTILE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest-hostile.wasm"));

/// Imports an interface that no host has.
pub const STRANGER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest-stranger.wasm"));

/// Imports a function whose grant its manifest does not ask for.
pub const UNGRANTED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest-ungranted.wasm"));
