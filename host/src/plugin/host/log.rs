//! `log`: the plugin's lines, kept with the invocation and written with its effects.

use hospes_bindings::hospes::plugin::log::Level;

use super::{Abort, Invocation};

impl Invocation {
    pub(super) async fn log_write(&mut self, level: Level, message: String) -> Result<(), Abort> {
        let level = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        self.log.push(level, None, &message);
        Ok(())
    }
}
