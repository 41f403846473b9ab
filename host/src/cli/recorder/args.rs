//! The commands of the flight recorder, as they are typed.

use std::path::PathBuf;

use clap::builder::ValueHint;
use clap::{Args, Subcommand};

use super::super::args::Tenant;
use super::super::flags::StoreSettings;
use super::Rule;
use crate::domain::ids::RecordingId;

/// What is done with recordings of plugins' runs.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Recorder {
    /// Show which runs of a plugin are recorded, or change it
    ///
    /// A rule is POINT=WHAT: actions=failures, events=sample:100 (the first of every hundred),
    /// hooks=sample:5%, jobs=all, panels=off. Extension points without a rule stay as they are; at the
    /// beginning nothing is recorded. Recordings hold what the plugin has read.
    Record {
        /// Name of the plugin
        name: String,
        #[command(flatten)]
        tenant: Tenant,
        /// Rule for an extension point
        #[arg(value_name = "POINT=WHAT")]
        rules: Vec<Rule>,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// List, save, share and remove recordings of plugins' runs
    #[command(subcommand)]
    Recordings(Recordings),
    /// Run a recorded run again, offline, and compare answer, effects and fuel
    ///
    /// Needs the component that was recorded, or another version to compare it with. The plugins that come
    /// with this program are at hand. Ends with 0 if everything is identical, with 1 if not.
    Replay {
        /// File of the recording
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
        #[command(flatten)]
        component: Which,
        /// File with the key of a recording that was shared
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        key: Option<PathBuf>,
        /// Say it as JSON
        #[arg(long)]
        json: bool,
        /// Also say which functions burn the fuel: the run is repeated with less and less of it, and
        /// where it stops is where fuel was burnt
        #[arg(long)]
        profile: bool,
        /// Repetitions for --profile
        #[arg(long, value_name = "NUMBER", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        samples: u32,
    },
}

/// What runs in a replay.
#[derive(Debug, Args)]
pub(in crate::cli) struct Which {
    /// The component that was recorded, or a folder that has it
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath, conflicts_with = "with")]
    pub(in crate::cli) component: Option<PathBuf>,
    /// Another version of the plugin (.wasm), to see what it would have done
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) with: Option<PathBuf>,
}

/// Recordings that are kept.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Recordings {
    /// List the latest recordings
    List {
        /// Name of the plugin [default: all]
        name: Option<String>,
        #[command(flatten)]
        tenant: Tenant,
        /// Outcome, such as ok, refused or trap [default: any]
        #[arg(long, value_name = "OUTCOME")]
        outcome: Option<String>,
        /// How many
        #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
        lines: u32,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Save a recording with all that the plugin has seen; the audit log tells of it
    Save {
        /// Id of the recording
        id: RecordingId,
        #[command(flatten)]
        tenant: Tenant,
        /// File to write; must not exist
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        out: PathBuf,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Share a recording with somebody else; the audit log tells of it
    ///
    /// Writes a file that is sealed with a new key, and the key into another file. Give them to the
    /// recipient by two ways.
    Share {
        /// Id of the recording
        id: RecordingId,
        #[command(flatten)]
        tenant: Tenant,
        /// Whom it is for, for the audit log
        #[arg(long, value_name = "WHO")]
        recipient: String,
        /// File to write; must not exist
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        out: PathBuf,
        /// File to write the key to; must not exist
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        key_out: PathBuf,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Remove a recording
    Delete {
        /// Id of the recording
        id: RecordingId,
        #[command(flatten)]
        tenant: Tenant,
        #[command(flatten)]
        settings: StoreSettings,
    },
}
