//! The flags of settings, made from the table of settings: all of them for a server, fewer for what
//! only opens the database.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::builder::ValueHint;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{Config, ConfigError, SETTINGS, Setting, Sources};

/// The settings of a server: all of the table.
#[derive(Debug)]
pub(super) struct ServerSettings(Flags);

/// The settings of a command that works on the database.
#[derive(Debug)]
pub(super) struct StoreSettings(Flags);

impl ServerSettings {
    /// The checked settings.
    pub(super) fn load(self) -> Result<Config, ConfigError> {
        self.0.load()
    }
}

impl StoreSettings {
    /// The checked settings.
    pub(super) fn load(self) -> Result<Config, ConfigError> {
        self.0.load()
    }
}

#[derive(Debug)]
struct Flags {
    file: Option<PathBuf>,
    values: BTreeMap<String, String>,
}

impl Flags {
    fn load(self) -> Result<Config, ConfigError> {
        crate::config::load(&Sources::of_process(self.file, self.values))
    }

    fn from_matches(matches: &ArgMatches, settings: impl Iterator<Item = &'static Setting>) -> Self {
        let values = settings.filter_map(|setting| {
            let text = matches.get_one::<String>(setting.key)?;
            Some((setting.key.to_owned(), text.clone()))
        });
        Self { file: matches.get_one::<PathBuf>("config").cloned(), values: values.collect() }
    }
}

fn all_settings() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter()
}

fn store_settings() -> impl Iterator<Item = &'static Setting> {
    let wanted = |setting: &&Setting| {
        matches!(setting.key, "data" | "plugins.trust") || setting.key.starts_with("database.")
    };
    SETTINGS.iter().filter(wanted)
}

fn augment(command: Command, settings: impl Iterator<Item = &'static Setting>) -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .value_hint(ValueHint::FilePath)
        .help_heading("Settings")
        .help("TOML file with settings [env: HOSPES_CONFIG]");
    settings.fold(command.arg(config), |command, setting| command.arg(flag(setting)))
}

fn flag(setting: &'static Setting) -> Arg {
    let default = setting.default.map(|text| format!(" [default: {text}]")).unwrap_or_default();
    let variable = setting.variable();
    let from_file = if setting.secret { format!(" or {variable}_FILE") } else { String::new() };
    Arg::new(setting.key)
        .long(setting.flag())
        .value_name("VALUE")
        .help_heading("Settings")
        .help(format!("{}{default} [file: {}] [env: {variable}{from_file}]", setting.help, setting.key))
}

macro_rules! settings_args {
    ($type:ident, $settings:ident) => {
        impl Args for $type {
            fn augment_args(command: Command) -> Command {
                augment(command, $settings())
            }

            fn augment_args_for_update(command: Command) -> Command {
                augment(command, $settings())
            }
        }

        impl FromArgMatches for $type {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                Ok(Self(Flags::from_matches(matches, $settings())))
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                self.0 = Flags::from_matches(matches, $settings());
                Ok(())
            }
        }
    };
}

settings_args!(ServerSettings, all_settings);
settings_args!(StoreSettings, store_settings);
