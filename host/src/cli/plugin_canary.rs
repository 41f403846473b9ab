//! `hospes plugin canary`: a newer version for a part of the records, and how it fares.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::admin::{finish, operator};
use super::args::Tenant;
use super::flags::StoreSettings;
use super::output::{Outcome, say};
use super::plugin::{open, read_json};
use crate::domain::ids::OrgUnitId;
use crate::ops::plugins::canary::{self, CanaryPatch, CanaryView, NewCanary, SideView};

/// A newer version for a part of the records.
#[derive(Debug, Subcommand)]
pub(super) enum Canary {
    /// Let a part of the records meet a newer version; everybody else meets the enabled one
    Start {
        /// Name of the plugin
        name: String,
        #[command(flatten)]
        tenant: Tenant,
        #[command(flatten)]
        part: Part,
        /// Newer version [default: the newest that is installed]
        #[arg(long = "plugin-version", value_name = "VERSION")]
        version: Option<String>,
        /// File with a JSON Merge Patch over the settings of the enabled version
        #[arg(long = "settings", value_name = "FILE", value_hint = ValueHint::FilePath)]
        settings_file: Option<PathBuf>,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Show whom it is for, and how both versions have fared since it was started
    Show(OfTenant),
    /// Change whom it is for
    Change {
        /// Name of the plugin
        name: String,
        #[command(flatten)]
        tenant: Tenant,
        #[command(flatten)]
        part: Part,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Give the newer version to everybody
    Promote(OfTenant),
    /// End it: every record meets the enabled version again, at once
    Abort(OfTenant),
}

/// A plugin of a tenant.
#[derive(Debug, Args)]
pub(super) struct OfTenant {
    /// Name of the plugin
    name: String,
    #[command(flatten)]
    tenant: Tenant,
    #[command(flatten)]
    settings: StoreSettings,
}

/// Which part of the records.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Part {
    /// Of 100 customers, how many
    #[arg(long, value_name = "COUNT")]
    percent: Option<u32>,
    /// Ids of org units, separated by commas: the customers whom they look after
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    org_units: Option<Vec<OrgUnitId>>,
}

impl Part {
    fn into_share(self) -> (Option<u32>, Option<Vec<OrgUnitId>>) {
        (self.percent, self.org_units)
    }
}

/// `hospes plugin canary …`.
pub(super) async fn run(command: Canary) -> Outcome {
    match command {
        Canary::Start { name, tenant, part, version, settings_file, settings } => {
            let core = open(&settings.load()?).await?;
            let actor = operator(&core, &tenant).await?;
            let settings = settings_file.as_deref().map(read_json).transpose()?;
            let (percent, org_units) = part.into_share();
            let new = NewCanary { version, percent, org_units, settings };
            standing(&canary::start(&core, &actor, &name, new).await?)?;
            finish(&core).await
        }
        Canary::Show(OfTenant { name, tenant, settings }) => {
            let core = open(&settings.load()?).await?;
            let actor = operator(&core, &tenant).await?;
            standing(&canary::find(&core, &actor, &name).await?)?;
            finish(&core).await
        }
        Canary::Change { name, tenant, part, settings } => {
            let core = open(&settings.load()?).await?;
            let actor = operator(&core, &tenant).await?;
            let (percent, org_units) = part.into_share();
            let patch = CanaryPatch { percent, org_units };
            standing(&canary::change(&core, &actor, &name, patch).await?)?;
            finish(&core).await
        }
        Canary::Promote(OfTenant { name, tenant, settings }) => {
            let core = open(&settings.load()?).await?;
            let actor = operator(&core, &tenant).await?;
            let now = canary::promote(&core, &actor, &name).await?;
            say(format_args!("{name} is at {} for everybody", now.package_version))?;
            finish(&core).await
        }
        Canary::Abort(OfTenant { name, tenant, settings }) => {
            let core = open(&settings.load()?).await?;
            let actor = operator(&core, &tenant).await?;
            standing(&canary::abort(&core, &actor, &name).await?)?;
            finish(&core).await
        }
    }
}

fn standing(view: &CanaryView) -> Outcome {
    let CanaryView { plugin, state, ended_because, percent, org_units, live, canary, last_error, .. } = view;
    let because = ended_because.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let part = match (percent, org_units) {
        (Some(percent), _) => format!("{percent} % of the customers"),
        (None, units) => {
            let units = units.iter().flatten().map(ToString::to_string).collect::<Vec<_>>();
            format!("the customers of {}", units.join(", "))
        }
    };
    say(format_args!("{plugin} {} for {part}: {state}{because}", canary.version))?;
    for SideView { version, runs, failures, fuel, p50_us, p99_us } in [live, canary] {
        say(format_args!(
            "{version}: {runs} runs, {failures} failed, {fuel} fuel, half within {p50_us} us, 99 % within {p99_us} us"
        ))?;
    }
    match last_error {
        Some(error) => say(format_args!("the last failure: {error}")),
        None => Ok(()),
    }
}
