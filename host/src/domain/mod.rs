//! Pure types and rules of the business: no input, no output, no clock of its own.

pub mod actor;
pub mod audit;
pub mod event;
pub mod ids;
pub mod money;
pub mod permission;
