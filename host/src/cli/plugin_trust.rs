//! `hospes plugin trust`: the keys of publishers whose packages this host installs.

use std::path::PathBuf;

use clap::{Subcommand, ValueHint};

use super::admin::finish;
use super::flags::StoreSettings;
use super::output::{Outcome, say};
use super::packing;
use super::plugin::open;
use crate::ops::plugins::trust;

/// Keys of publishers.
#[derive(Debug, Subcommand)]
pub(super) enum Trust {
    /// List the keys
    List {
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Install what this publisher signs with this key
    Add {
        /// Publisher, as the packages' manifests name it
        #[arg(value_name = "PUBLISHER")]
        publisher: String,
        /// File of the public key
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        key: PathBuf,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Let a key count no more, for ever; what it has signed goes on until it is stopped
    Revoke {
        /// Id of the key, as `list` shows it
        #[arg(value_name = "KEY")]
        key: String,
        #[command(flatten)]
        settings: StoreSettings,
    },
}

/// `hospes plugin trust …`.
pub(super) async fn run(command: Trust) -> Outcome {
    match command {
        Trust::List { settings } => {
            let core = open(&settings.load()?).await?;
            for key in trust::list_keys(&core).await? {
                say(format_args!("{} {:<10} {}", key.id, key.standing, key.publisher))?;
            }
            finish(&core).await
        }
        Trust::Add { publisher, key, settings } => {
            let core = open(&settings.load()?).await?;
            let added = trust::add_key(&core, &publisher, &packing::read_public(&key)?).await?;
            say(format_args!("packages of {} that {} has signed may come in", added.publisher, added.id))?;
            finish(&core).await
        }
        Trust::Revoke { key, settings } => {
            let core = open(&settings.load()?).await?;
            trust::revoke_key(&core, &key).await?;
            say(format_args!("revoked {key}; what it has signed runs until `hospes plugin stop`"))?;
            finish(&core).await
        }
    }
}
