//! The command line: what an operator types, and what they are told.
//!
//! It wires and prints; rules are in `ops`. Every command works through the same use
//! cases as the API, as the operator.

mod admin;
mod args;
mod data;
mod demo;
mod flags;
mod logs;
mod output;
mod packing;
mod plugin;
mod plugin_canary;
mod plugin_hooks;
mod plugin_log;
mod plugin_rollout;
mod plugin_shadow;
mod plugin_status;
mod plugin_trust;
mod plugin_uninstall;
mod recorder;
#[cfg(feature = "oci")]
mod registry;
#[cfg(not(feature = "oci"))]
#[path = "no_registry.rs"]
mod registry;
mod server;
mod workshop;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Verb};
use output::{Failure, Outcome};

/// Runs one command line, the program's name first, and answers its exit code:
/// 0 done, 1 failed or refused, 2 a wrong command line or configuration.
#[must_use]
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Also the way of --help and --version, which print to standard output and are no failure.
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(Box::pin(dispatch(cli.command))),
        Err(error) => Err(Failure::from(error)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn dispatch(command: Verb) -> Outcome {
    match command {
        Verb::Serve { settings } => server::serve(settings.load()?).await,
        Verb::Migrate { settings } => data::migrate(&settings.load()?).await,
        Verb::Demo { data, listen } => demo::run(data, listen).await,
        Verb::Backup { to, settings } => data::backup(&settings.load()?, &to).await,
        Verb::Restore { from, replace, settings } => data::restore(&settings.load()?, &from, replace).await,
        Verb::Admin(command) => admin::run(command).await,
        Verb::Plugin(command) => Box::pin(plugin::run(command)).await,
        Verb::Openapi => data::openapi(),
    }
}
