//! `hospes plugin export`, `uninstall` and `keep`: how a plugin leaves a tenant.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Subcommand, ValueHint};

use super::admin::{finish, operator};
use super::args::Tenant;
use super::flags::StoreSettings;
use super::output::{Outcome, say};
use super::plugin::open;
use crate::domain::actor::Actor;
use crate::files::NamedFile;
use crate::ops::Core;
use crate::ops::plugins::export;
use crate::ops::plugins::uninstall::{self, KEEP_DAYS_DEFAULT, KEEP_DAYS_MAX, Uninstallation};

/// How a plugin leaves.
#[derive(Debug, Subcommand)]
pub(super) enum Departure {
    /// Write everything that a plugin keeps for a tenant into a file, as lines of JSON
    ///
    /// The last line counts the others; a file without it is not all of it.
    Export {
        /// Name of the plugin
        name: String,
        #[command(flatten)]
        tenant: Tenant,
        /// File to write, which must not be there yet
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        out: PathBuf,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Disable a plugin for a tenant and purge what it keeps after some days
    ///
    /// The running server purges. Until then `hospes plugin keep`, or enabling it again, keeps everything.
    Uninstall {
        /// Name of the plugin
        name: String,
        #[command(flatten)]
        tenant: Tenant,
        /// Days until the purge; 0 for as soon as can be
        #[arg(long, value_name = "DAYS", default_value_t = KEEP_DAYS_DEFAULT,
            value_parser = clap::value_parser!(u32).range(..=i64::from(KEEP_DAYS_MAX)))]
        keep_days: u32,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Keep what an uninstalled plugin has; it stays disabled
    Keep {
        /// Name of the plugin
        name: String,
        #[command(flatten)]
        tenant: Tenant,
        #[command(flatten)]
        settings: StoreSettings,
    },
}

/// Lets a plugin leave, or stay.
pub(super) async fn run(command: Departure) -> Outcome {
    match command {
        Departure::Export { name, tenant, out, settings } => {
            let core = open(&settings.load()?).await?;
            write(&core, &operator(&core, &tenant).await?, &name, &out).await?;
            finish(&core).await
        }
        Departure::Uninstall { name, tenant, keep_days, settings } => {
            let core = open(&settings.load()?).await?;
            let actor = operator(&core, &tenant).await?;
            let left = uninstall::uninstall(&core, &actor, &name, Uninstallation { keep_days }).await?;
            let purge_at = left.purge_at.map(|at| at.to_string()).unwrap_or_default();
            say(format_args!("disabled {name}; what it keeps is purged after {purge_at}"))?;
            finish(&core).await
        }
        Departure::Keep { name, tenant, settings } => {
            let core = open(&settings.load()?).await?;
            let actor = operator(&core, &tenant).await?;
            let kept = uninstall::keep(&core, &actor, &name).await?;
            say(format_args!("{name} is {}, and what it keeps stays", kept.state))?;
            finish(&core).await
        }
    }
}

async fn write(core: &Arc<Core>, actor: &Actor, name: &str, out: &Path) -> Outcome {
    let mut export = export::begin(core, actor, name).await?;
    let mut file = NamedFile::at(out)?.begin()?;
    let mut bytes = 0;
    while let Some(lines) = export.next().await? {
        file.append(&lines)?;
        bytes += lines.len();
    }
    file.finish()?;
    say(format_args!("wrote {bytes} bytes to {}", out.display()))
}
