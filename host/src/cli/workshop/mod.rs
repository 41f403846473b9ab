//! What a plugin's author works with: a new crate, its compilation, its checks and tests, and a local
//! host that takes every edit.
//!
//! Nothing here is needed to run a server.

pub(super) mod args;
mod build;
mod check;
mod dev;
mod new;
mod rehearsal;
mod sources;
mod template;

use args::Workshop;

use super::output::Outcome;

/// `hospes plugin new`, `build`, `check`, `test`, `dev`.
pub(super) async fn run(command: Workshop) -> Outcome {
    match command {
        Workshop::New { folder, parts, publisher } => new::run(folder, parts, &publisher),
        Workshop::Build { project, out } => build::run(&project.folder, out),
        Workshop::Check { path, json } => check::run(&path, json),
        Workshop::Test { project, arguments } => build::test(&project.folder, &arguments),
        Workshop::Dev { project, data, listen } => dev::run(&project.folder, data, listen).await,
        Workshop::Rehearse { component, cache } => rehearsal::run(&component, cache.as_deref()).await,
    }
}
