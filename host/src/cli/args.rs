//! The commands as an operator types them; the flags of settings are made from the table of settings.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::builder::ValueHint;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, Parser, Subcommand};

use crate::config::{Config, ConfigError, SETTINGS, Setting, Sources};

const LONG_ABOUT: &str = "\
A CRM server that owns customer data and hosts sandboxed WebAssembly plugins.

Settings come from a TOML file (--config), are overruled by the environment (HOSPES_...) and that by flags; \
`hospes serve --help` lists them all.";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "hospes", version, about = "A CRM server with sandboxed plugins", long_about = LONG_ABOUT)]
#[command(max_term_width = 100, arg_required_else_help = true)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Serve the API until a signal to stop
    ///
    /// The embedded database is made and brought up to date by itself. For PostgreSQL run `hospes migrate`
    /// first. SIGTERM or ctrl-c stops it: no new requests are accepted, those that run may finish.
    Serve {
        #[command(flatten)]
        settings: ServerSettings,
    },
    /// Bring the database's tables up to date
    ///
    /// For PostgreSQL this needs `database.owner_url`, the URL of the role that owns the tables. The
    /// embedded database needs it only if `serve` has not run since an upgrade. Stop the servers first.
    Migrate {
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Print the description of the API (OpenAPI 3.1, JSON)
    Openapi,
}

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
    let wanted = |setting: &&Setting| setting.key == "data" || setting.key.starts_with("database.");
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_commands_are_well_formed_and_every_one_explains_itself() {
        let command = Cli::command();
        command.clone().debug_assert();
        explain(&command);
    }

    fn explain(command: &Command) {
        assert!(command.get_about().is_some(), "`{}` has no help", command.get_name());
        for arg in command.get_arguments() {
            let of_clap = matches!(arg.get_id().as_str(), "help" | "version");
            assert!(of_clap || arg.get_help().is_some(), "`{}` of `{}`", arg.get_id(), command.get_name());
        }
        command.get_subcommands().for_each(explain);
    }

    #[test]
    fn the_help_of_serve_names_every_setting_in_its_three_forms() {
        let mut command = Cli::command();
        let help = command.find_subcommand_mut("serve").unwrap().render_long_help().to_string();
        let help: String = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for setting in SETTINGS {
            for form in
                [format!("--{}", setting.flag()), setting.variable(), format!("[file: {}]", setting.key)]
            {
                assert!(help.contains(&form), "{form} is missing in: {help}");
            }
        }
    }

    #[test]
    fn no_command_takes_a_password_as_an_argument() {
        fn check(command: &Command) {
            for arg in command.get_arguments().filter(|arg| arg.get_id().as_str().contains("password")) {
                assert!(!arg.get_action().takes_values(), "`{}` of `{}`", arg.get_id(), command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
