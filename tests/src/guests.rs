//! Components of `tests/guests/`, compiled by this crate's build script.

/// Touches every part of the contract and does what it is told.
pub const PROBE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest-probe.wasm"));

/// Keeps files and calls others by name, step by step as it is told.
pub const COURIER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest-courier.wasm"));

/// Misbehaves: the action's name, or the customer's, says how.
pub const HOSTILE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest-hostile.wasm"));

/// Imports an interface that no host has.
pub const STRANGER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest-stranger.wasm"));

/// Imports a function whose grant its manifest does not ask for.
pub const UNGRANTED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest-ungranted.wasm"));

/// Has the host send requests, from wherever it is called.
pub const CALLER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest-caller.wasm"));

/// Tells every byte that it is shown.
pub const SPY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest-spy.wasm"));

/// The example plugin in Rust: a small one that keeps documents, has a button, a panel and a handler
/// of events.
pub const STAMPS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stamps-rust.wasm"));

/// The same component with another manifest: wherever `from` stands in it, `to` does, which is
/// as long, so that the sections' lengths stay true.
///
/// # Panics
/// If `from` is not there, or `to` not as long.
#[must_use]
pub fn edited(component: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "`{from}` and `{to}` are of one length");
    let places = component.windows(from.len()).enumerate().filter(|(_, bytes)| *bytes == from.as_bytes());
    let places: Vec<usize> = places.map(|(place, _)| place).collect();
    assert!(!places.is_empty(), "`{from}` stands nowhere");
    let mut edited = component.to_vec();
    for place in places {
        edited[place..place + to.len()].copy_from_slice(to.as_bytes());
    }
    edited
}
