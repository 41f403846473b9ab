//! `hospes plugin upgrade`, `rollback`, `shadow`, `canary`, `stop` and `resume`: which version runs, and which may.

use clap::Subcommand;

use super::admin::{finish, operator};
use super::args::Tenant;
use super::flags::StoreSettings;
use super::output::{Outcome, say};
use super::plugin::open;
use super::plugin_canary::{self, Canary};
use super::plugin_shadow::{self, Shadow};
use crate::domain::actor::Actor;
use crate::ops::Core;
use crate::ops::plugins::upgrade::{self, Step, Upgrade};
use crate::ops::plugins::{moves, trust};
use crate::ops::tenants;

/// Tenants that are read at a time.
const TENANTS_PAGE: u32 = 100;

/// What decides which version runs.
#[derive(Debug, Subcommand)]
pub(super) enum Rollout {
    /// Move tenants to the newest version of a plugin that they run
    ///
    /// A tenant moves if the new version asks for nothing more. For the others the old version goes on
    /// until their administrators enable the new one.
    Upgrade {
        /// Name of the plugin
        name: String,
        /// Short name of the tenant [default: every tenant]
        #[arg(long, value_name = "SLUG")]
        tenant: Option<String>,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Put the version before, with its grants and settings, in the place of the enabled one
    Rollback {
        /// Name of the plugin
        name: String,
        #[command(flatten)]
        tenant: Tenant,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Run a version beside the enabled one, and see what would differ
    #[command(subcommand)]
    Shadow(Shadow),
    /// Give a newer version to a part of the records, and see how it fares
    #[command(subcommand)]
    Canary(Canary),
    /// Stop a version for every tenant on every server, within five seconds
    Stop {
        /// Name of the plugin
        name: String,
        /// Version
        version: String,
        /// Why, for the tenants' administrators
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Let a stopped version run again
    Resume {
        /// Name of the plugin
        name: String,
        /// Version
        version: String,
        #[command(flatten)]
        settings: StoreSettings,
    },
}

/// Decides which version runs.
pub(super) async fn run(command: Rollout) -> Outcome {
    match command {
        Rollout::Upgrade { name, tenant, settings } => {
            let core = open(&settings.load()?).await?;
            upgrade(&core, &name, tenant.as_deref()).await?;
            finish(&core).await
        }
        Rollout::Rollback { name, tenant, settings } => {
            let core = open(&settings.load()?).await?;
            let actor = operator(&core, &tenant).await?;
            let now = moves::roll_back(&core, &actor, &name).await?;
            say(format_args!("{name} is back at {}", now.package_version))?;
            finish(&core).await
        }
        Rollout::Stop { name, version, reason, settings } => {
            let core = open(&settings.load()?).await?;
            stop(&core, &name, &version, &reason).await?;
            finish(&core).await
        }
        Rollout::Resume { name, version, settings } => {
            let core = open(&settings.load()?).await?;
            resume(&core, &name, &version).await?;
            finish(&core).await
        }
        Rollout::Canary(command) => plugin_canary::run(command).await,
        Rollout::Shadow(command) => plugin_shadow::run(command).await,
    }
}

async fn stop(core: &Core, name: &str, version: &str, reason: &str) -> Outcome {
    trust::stop(core, name, version, reason).await?;
    say(format_args!("stopped {name} {version}; running servers follow within five seconds"))
}

async fn resume(core: &Core, name: &str, version: &str) -> Outcome {
    trust::resume(core, name, version).await?;
    say(format_args!("{name} {version} may run again"))
}

async fn upgrade(core: &Core, name: &str, tenant: Option<&str>) -> Outcome {
    if let Some(slug) = tenant {
        return upgrade_one(core, name, tenants::operator_of(core, slug).await?).await;
    }
    let mut after = None;
    loop {
        let ids = tenants::list_ids(core, after.as_ref(), TENANTS_PAGE).await?;
        let Some(last) = ids.last().cloned() else { return Ok(()) };
        for id in ids {
            upgrade_one(core, name, Actor::operator(id)).await?;
        }
        after = Some(last);
    }
}

/// A tenant whose upgrade fails keeps its old version, and does not stop the others'.
async fn upgrade_one(core: &Core, name: &str, actor: Actor) -> Outcome {
    let tenant = &actor.tenant;
    match upgrade::roll_out(core, &actor, name).await {
        Ok(Step::Nothing) => Ok(()),
        Ok(Step::Moved { from, to }) => say(format_args!("{tenant}: from {from} to {to}")),
        Ok(Step::Waits(Upgrade { version, rights, .. })) => {
            let wider: Vec<String> = rights.wider.iter().map(ToString::to_string).collect();
            say(format_args!(
                "{tenant}: {version} waits for its administrator, because it asks for {}",
                wider.join(", ")
            ))
        }
        Err(error) => say(format_args!("{tenant}: stays, because {error}")),
    }
}
