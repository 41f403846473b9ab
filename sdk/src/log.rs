//! The plugin's log, which the tenant's administrator reads. A line is cut at
//! 1 KiB; after 100 lines an invocation's further lines are only counted.

use crate::bindings::imports::hospes::plugin::log::Level;
use crate::host;

/// For the author.
pub fn debug(message: &str) {
    host::log::write(Level::Debug, message);
}

/// For the record.
pub fn info(message: &str) {
    host::log::write(Level::Info, message);
}

/// Something that an administrator should know.
pub fn warn(message: &str) {
    host::log::write(Level::Warn, message);
}

/// Something that went wrong.
pub fn error(message: &str) {
    host::log::write(Level::Error, message);
}
