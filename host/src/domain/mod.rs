//! Pure types and rules of the business: no input, no output, no clock of its own.

pub mod actor;
pub mod audit;
pub mod check;
pub(crate) mod contract;
pub mod credential;
pub mod customer;
pub mod event;
pub mod field;
pub mod grant;
pub mod ids;
pub mod import;
pub mod manifest;
pub mod money;
pub mod order;
pub mod org_unit;
pub mod page;
pub mod patch;
pub mod permission;
pub mod product;
pub mod query;
pub mod schedule;
pub mod schema;
pub mod tenant;
pub mod timeline;
pub mod token;
pub mod user;
