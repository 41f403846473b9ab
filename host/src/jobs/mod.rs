//! Background work: loops around a public `run_once()`, which tests call themselves.
//!
//! A loop holds no state that matters: whatever it was doing when the server
//! ended is found again in the database.

pub mod backoff;
pub mod dispatch;
