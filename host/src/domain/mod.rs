//! Pure types and rules of the business: no input, no output, no clock of its own.

pub mod actor;
pub mod audit;
pub mod event;
pub mod grant;
pub mod ids;
pub mod import;
pub mod manifest;
pub mod money;
pub mod permission;
pub mod schema;
