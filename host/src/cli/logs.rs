//! Log lines: their format and filter, set once at the start of a command.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// Writes log lines to standard error from now on, as the settings say.
///
/// Only the first call of a process counts.
pub(super) fn start(config: &Config) {
    let filter = EnvFilter::new(&config.log_filter);
    let colours = std::io::stderr().is_terminal();
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    let started = match config.log_format {
        LogFormat::Text => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    if started.is_err() {
        tracing::debug!("log lines are already written somewhere");
    }
}
