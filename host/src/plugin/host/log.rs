//! `log`: the plugin's lines, kept with the invocation and written with its effects.

use hospes_bindings::hospes::plugin::log::{Host, Level};

use super::Invocation;

impl Host for Invocation {
    async fn write(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
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
