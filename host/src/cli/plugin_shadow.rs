//! `hospes plugin shadow`: a version beside the enabled one, and what would differ.

use std::path::PathBuf;

use clap::{Subcommand, ValueHint};

use super::admin::{finish, operator};
use super::args::Tenant;
use super::flags::StoreSettings;
use super::output::{Outcome, say};
use super::plugin::{open, read_json};
use crate::domain::actor::Actor;
use crate::domain::page::{PAGE_MAX, PageRequest};
use crate::ops::Core;
use crate::ops::plugins::shadow::{self, NewShadow, ShadowView};

/// A version in the shadow of the enabled one.
#[derive(Debug, Subcommand)]
pub(super) enum Shadow {
    /// Run a version, or other settings, beside the enabled one and discard what it would write
    Start {
        /// Name of the plugin
        name: String,
        #[command(flatten)]
        tenant: Tenant,
        /// Version to run in the shadow [default: the newest that is installed]
        #[arg(long = "plugin-version", value_name = "VERSION")]
        version: Option<String>,
        /// File with a JSON Merge Patch over the settings of the enabled version
        #[arg(long = "settings", value_name = "FILE", value_hint = ValueHint::FilePath)]
        settings_file: Option<PathBuf>,
        /// Hours until it ends by itself [default: 24]
        #[arg(long, value_name = "HOURS")]
        hours: Option<u32>,
        /// Events until it ends by itself [default: 10000]
        #[arg(long, value_name = "COUNT")]
        events: Option<u32>,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Show how far it is, and every difference as a line: record, effect, enabled version, shadow
    Show {
        /// Name of the plugin
        name: String,
        #[command(flatten)]
        tenant: Tenant,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// End it; its report stays until the next one starts
    Stop {
        /// Name of the plugin
        name: String,
        #[command(flatten)]
        tenant: Tenant,
        #[command(flatten)]
        settings: StoreSettings,
    },
}

/// `hospes plugin shadow …`.
pub(super) async fn run(command: Shadow) -> Outcome {
    match command {
        Shadow::Start { name, tenant, version, settings_file, hours, events, settings } => {
            let core = open(&settings.load()?).await?;
            let actor = operator(&core, &tenant).await?;
            let settings = settings_file.as_deref().map(read_json).transpose()?;
            let new = NewShadow { version, grants: None, settings, hours, events };
            standing(&shadow::start(&core, &actor, &name, new).await?)?;
            finish(&core).await
        }
        Shadow::Show { name, tenant, settings } => {
            let core = open(&settings.load()?).await?;
            show(&core, &operator(&core, &tenant).await?, &name).await?;
            finish(&core).await
        }
        Shadow::Stop { name, tenant, settings } => {
            let core = open(&settings.load()?).await?;
            let actor = operator(&core, &tenant).await?;
            standing(&shadow::stop(&core, &actor, &name).await?)?;
            finish(&core).await
        }
    }
}

fn standing(shadow: &ShadowView) -> Outcome {
    let ShadowView { plugin, shadow_version, live_version, state, ended_because, ends_at, .. } = shadow;
    let ShadowView { deliveries, events, saves, saves_left_out, failures, fuel, .. } = shadow;
    let ShadowView { differences, last_error, .. } = shadow;
    let because = ended_because.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    say(format_args!("{plugin} {shadow_version} beside {live_version}: {state}{because}, until {ends_at}"))?;
    say(format_args!(
        "{events} events in {deliveries} deliveries and {saves} saves, {failures} failed, {fuel} fuel, {differences} differences"
    ))?;
    if *saves_left_out > 0 {
        say(format_args!(
            "{saves_left_out} saves were not compared: more came than it could be called with"
        ))?;
    }
    match last_error {
        Some(error) => say(format_args!("the last failure: {error}")),
        None => Ok(()),
    }
}

async fn show(core: &Core, actor: &Actor, plugin: &str) -> Outcome {
    standing(&shadow::find(core, actor, plugin).await?)?;
    let mut page = PageRequest { limit: PAGE_MAX, cursor: None };
    loop {
        let found = shadow::differences(core, actor, plugin, &page).await?;
        for one in &found.items {
            let shown = |effect: &Option<String>| effect.clone().unwrap_or_else(|| "-".to_owned());
            let (live, shadow) = (shown(&one.live), shown(&one.shadow));
            say(format_args!("{} {}\t{}\t{live}\t{shadow}", one.subject_kind, one.subject_id, one.what))?;
        }
        if found.next_cursor.is_none() {
            return Ok(());
        }
        page.cursor = found.next_cursor;
    }
}
