//! The commands as an operator types them.

use std::path::PathBuf;

use clap::builder::ValueHint;
use clap::{Args, Parser, Subcommand};

use super::flags::{ServerSettings, StoreSettings};
use super::plugin_hooks::HookRule;
use super::plugin_rollout::Rollout;
use super::plugin_trust::Trust;
use super::plugin_uninstall::Departure;
use super::recorder::args::Recorder;
use super::workshop::args::Workshop;
use crate::clock::Timestamp;
use crate::domain::actor::Locale;
use crate::domain::money::Currency;
use crate::domain::parameters::GrantRequest;
use crate::domain::permission::Role;

const LONG_ABOUT: &str = "\
A CRM server that owns customer data and hosts sandboxed WebAssembly plugins.

`hospes demo` shows it with made-up data. For real use: `hospes admin create-tenant`, then `hospes serve`.

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
    /// Serve a made-up chain of bookshop cafés, to look around
    ///
    /// Makes a tenant with 300 customers and 3,000 orders on an embedded database, enables the membership
    /// plugin, and prints the login and two commands to try. The data goes away at the end unless --data
    /// names a folder for it.
    Demo {
        /// Folder to keep the demo in; a second run goes on with what is there
        #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
        data: Option<PathBuf>,
        /// Address and port to serve on; port 0 takes a free one
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
        listen: std::net::SocketAddr,
    },
    /// Bring the database's tables up to date
    ///
    /// For PostgreSQL this needs `database.owner_url`, the URL of the role that owns the tables. The
    /// embedded database needs it only if `serve` has not run since an upgrade. Stop the servers first.
    Migrate {
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Make tenants, users and tokens
    #[command(subcommand)]
    Admin(Admin),
    /// Look at, install and enable plugins
    ///
    /// Running servers follow a change within five seconds.
    #[command(subcommand)]
    Plugin(Plugin),
    /// Copy the embedded database while the server runs
    ///
    /// The copy is one consistent state, is checked after writing, and appears under its name only when it
    /// is good. For PostgreSQL use its own tools; the README names them.
    Backup {
        /// File to write; must not exist
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        to: PathBuf,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Put a copy made by `backup` in the place of the embedded database
    ///
    /// The server must be stopped. The copy is checked first. A database that is there already is kept
    /// unless --replace is given.
    Restore {
        /// File that `backup` has written
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        from: PathBuf,
        /// Replace the database that is there
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Print the description of the API (OpenAPI 3.1, JSON)
    Openapi,
}

/// Tenants, users and tokens.
#[derive(Debug, Subcommand)]
pub(super) enum Admin {
    /// Make a tenant and its first user, an owner
    ///
    /// Prints the tenant's id, and the owner's password if one was made up: it is not shown again.
    CreateTenant {
        /// Short name, used to sign in: small letters, digits and hyphens
        #[arg(long)]
        slug: String,
        /// Name of the company
        #[arg(long)]
        name: String,
        /// Language of the tenant: en or zh-CN
        #[arg(long, default_value = "en", value_parser = locale)]
        locale: Locale,
        /// Time zone in which its days begin
        #[arg(long, default_value = "Asia/Shanghai")]
        time_zone: String,
        /// Currency of its sums, three letters
        #[arg(long, default_value = "CNY", value_parser = currency)]
        currency: Currency,
        /// What the owner types in to sign in, such as an email address
        #[arg(long, value_name = "LOGIN", default_value = "owner")]
        owner_login: String,
        /// Name of the owner
        #[arg(long, default_value = "Owner")]
        owner_name: String,
        #[command(flatten)]
        password: Password,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Make a user
    CreateUser {
        #[command(flatten)]
        tenant: Tenant,
        /// What they type in to sign in, such as an email address
        #[arg(long)]
        login: String,
        /// Name
        #[arg(long)]
        name: String,
        /// Role; may be given several times
        #[arg(long = "role", required = true)]
        roles: Vec<Role>,
        #[command(flatten)]
        password: Password,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Make a bearer token for another system; it is shown once
    CreateToken {
        #[command(flatten)]
        tenant: Tenant,
        /// What the token is for
        #[arg(long)]
        name: String,
        /// Role; may be given several times
        #[arg(long = "role", default_values = ["integration"])]
        roles: Vec<Role>,
        /// Days until it expires
        #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(i64).range(1..=366))]
        expires_days: i64,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Give a user a new password; their sessions end
    SetPassword {
        #[command(flatten)]
        tenant: Tenant,
        /// What they type in to sign in
        #[arg(long)]
        login: String,
        #[command(flatten)]
        password: Password,
        #[command(flatten)]
        settings: StoreSettings,
    },
}

/// Which tenant.
#[derive(Debug, Args)]
pub(super) struct Tenant {
    /// Short name of the tenant; may be left out if there is only one
    #[arg(long, value_name = "SLUG")]
    pub(super) tenant: Option<String>,
}

/// Where a password comes from. Never an argument: other users of the machine can read those.
#[derive(Debug, Args)]
pub(super) struct Password {
    /// Read the password from the first line of standard input; otherwise one is made up and shown once
    #[arg(long)]
    pub(super) password_stdin: bool,
}

/// Plugins.
#[derive(Debug, Subcommand)]
pub(super) enum Plugin {
    /// Show the install sheet of a component, without installing it
    ///
    /// Reads imports, exports and the manifest from the bytes; nothing of it is run.
    Inspect {
        #[command(flatten)]
        component: Component,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
        /// Language of the text: en or zh-CN
        #[arg(long, value_name = "LANGUAGE", default_value = "en", value_parser = locale)]
        language: Locale,
    },
    /// Make a publisher's key, to sign packages with
    ///
    /// Writes the secret key, readable by you alone, and beside it the public one, FILE.pub, which operators
    /// add with `hospes plugin trust add`.
    Keygen {
        /// File to write the secret key to; must not exist
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        to: PathBuf,
    },
    /// Put a manifest into a component that was built without the SDK
    Pack {
        /// File of the component (.wasm)
        #[arg(value_name = "COMPONENT", value_hint = ValueHint::FilePath)]
        component: PathBuf,
        /// Manifest (plugin.toml)
        #[arg(long, value_name = "FILE", default_value = "plugin.toml", value_hint = ValueHint::FilePath)]
        manifest: PathBuf,
        /// File to write the package to; must not exist
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        out: PathBuf,
    },
    /// Sign a package: its bytes, name, version and rights
    ///
    /// Writes PACKAGE.sig, in the place of one that is there; `install` reads it from beside the package.
    Sign {
        /// File of the package (.wasm)
        #[arg(value_name = "PACKAGE", value_hint = ValueHint::FilePath)]
        package: PathBuf,
        /// File of the secret key, as `keygen` writes it
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        key: PathBuf,
        /// Write a copy of the package with the signature behind it instead; must not exist
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        embed: Option<PathBuf>,
    },
    /// Check the signatures of a package, those in it and those beside it
    Verify {
        /// File of the package (.wasm)
        #[arg(value_name = "PACKAGE", value_hint = ValueHint::FilePath)]
        package: PathBuf,
        /// File of the public key that must have signed it [default: any]
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        key: Option<PathBuf>,
    },
    /// Keep the keys of publishers whose packages this host installs
    #[command(subcommand)]
    Trust(Trust),
    #[command(flatten)]
    Rollout(Rollout),
    /// Install a package, or all packages in a folder, so that tenants can enable them
    ///
    /// Whose packages come in is decided by the setting plugins.trust. Signatures are read from the package
    /// and from the file of its name and .sig beside it. FILE may be an address in an OCI registry, such as
    /// oci://registry.example/acme/stamps:1.0.0, if the program was built with the feature `oci`.
    Install {
        #[command(flatten)]
        component: Component,
        #[command(flatten)]
        login: RegistryLogin,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Put a package and the signature beside it into an OCI registry
    ///
    /// Needs a program that was built with the feature `oci`.
    Push {
        /// File of the package (.wasm)
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        package: PathBuf,
        /// Where it goes, such as oci://registry.example/acme/stamps:1.0.0
        #[arg(value_name = "ADDRESS")]
        address: String,
        #[command(flatten)]
        login: RegistryLogin,
    },
    #[command(flatten)]
    OfTenant(TenantPlugin),
    #[command(flatten)]
    Departure(Departure),
    #[command(flatten)]
    Recorder(Recorder),
    #[command(flatten)]
    Workshop(Workshop),
}

/// What is done with the plugins of one tenant.
#[derive(Debug, Subcommand)]
pub(super) enum TenantPlugin {
    /// List what is installed and, for a tenant, what is enabled
    List {
        /// Words that name, publisher or description have
        #[arg(value_name = "WORD")]
        words: Vec<String>,
        #[command(flatten)]
        tenant: Tenant,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Enable a plugin for a tenant, or change its grants or version
    Enable {
        /// Name of the plugin
        name: String,
        #[command(flatten)]
        tenant: Tenant,
        /// Version to enable [default: the newest that is installed]
        #[arg(long = "plugin-version", value_name = "VERSION")]
        version: Option<String>,
        /// Right to grant, such as orders:read, or 'customers:read classes=contact fields=name
        /// rate=600/minute' for a part of what is asked for; may be given several times
        #[arg(long = "grant", value_name = "RIGHT", required_unless_present = "all_grants")]
        grants: Vec<GrantRequest>,
        /// Grant every right that the plugin asks for
        #[arg(long, conflicts_with = "grants")]
        all_grants: bool,
        /// Deliver the tenant's history to it, too
        #[arg(long)]
        backfill: bool,
        /// JSON file with its settings [default: the plugin's own]
        #[arg(long = "settings", value_name = "FILE", value_hint = ValueHint::FilePath)]
        settings_file: Option<PathBuf>,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Disable a plugin for a tenant; its data stays
    Disable {
        /// Name of the plugin
        name: String,
        #[command(flatten)]
        tenant: Tenant,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Show which rights a plugin asks for and which it has
    Grants {
        /// Name of the plugin
        name: String,
        #[command(flatten)]
        tenant: Tenant,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Show a plugin's log for a tenant
    Logs {
        /// Name of the plugin
        name: String,
        #[command(flatten)]
        tenant: Tenant,
        /// Go on with what comes to it, until ctrl-c
        #[arg(short, long)]
        follow: bool,
        /// The latest lines to begin with
        #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
        lines: u32,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Show a plugin's state, limits, hooks, events that were put aside, and last failures
    ///
    /// What runs is counted by the servers: their API and metrics tell of it.
    Status {
        /// Name of the plugin
        name: String,
        #[command(flatten)]
        tenant: Tenant,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Show what becomes of saves whose hook fails or is paused, or decide it
    ///
    /// A rule is RECORD=WHAT: customer=allow lets them through, order=refuse stops them, order=declared is
    /// what the manifest says. Hooks without a rule stay as they are.
    Hooks {
        /// Name of the plugin
        name: String,
        #[command(flatten)]
        tenant: Tenant,
        /// Rule for the saves of a kind of record
        #[arg(value_name = "RECORD=WHAT")]
        rules: Vec<HookRule>,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Print what plugins have used, as CSV by day in UTC, plugin, version and extension point
    ///
    /// What running servers have counted is written down every few seconds.
    Usage {
        #[command(flatten)]
        tenant: Tenant,
        /// Print it of all tenants, with the publisher of each plugin, to bill it and share the revenue
        #[arg(long, conflicts_with = "tenant")]
        all_tenants: bool,
        /// File to write, which must not be there yet [default: standard output]
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "all_tenants")]
        out: Option<PathBuf>,
        /// First day, such as 2026-11-01 [default: the first that is kept]
        #[arg(long, value_name = "DAY", value_parser = day)]
        from: Option<String>,
        /// Last day [default: today]
        #[arg(long, value_name = "DAY", value_parser = day)]
        to: Option<String>,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Show a plugin's settings, or change them
    Settings {
        /// Name of the plugin
        name: String,
        #[command(flatten)]
        tenant: Tenant,
        /// JSON file with the new settings
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        set: Option<PathBuf>,
        #[command(flatten)]
        settings: StoreSettings,
    },
}

/// How an address in an OCI registry begins.
pub(super) const REGISTRY_SCHEME: &str = "oci://";

/// Who asks a registry.
#[derive(Debug, Args)]
pub(super) struct RegistryLogin {
    /// Name of the account at the OCI registry
    #[arg(long, value_name = "NAME", requires = "registry_password_file")]
    pub(super) registry_user: Option<String>,
    /// File with its password
    #[arg(long, value_name = "FILE", requires = "registry_user", value_hint = ValueHint::FilePath)]
    pub(super) registry_password_file: Option<PathBuf>,
}

/// A component: a file, or one that comes with the server.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Component {
    /// File of the component (.wasm)
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) file: Option<PathBuf>,
    /// Name of a plugin that comes with the server, such as retail-membership
    #[arg(long, value_name = "NAME")]
    pub(super) bundled: Option<String>,
}

fn currency(text: &str) -> Result<Currency, String> {
    Currency::parse(text).ok_or_else(|| "write three capital letters, such as CNY".to_owned())
}

fn day(text: &str) -> Result<String, String> {
    let is_day = text.len() == 10 && Timestamp::parse(&format!("{text}T00:00:00Z")).is_some();
    if is_day { Ok(text.to_owned()) } else { Err("write a day such as 2026-11-01".to_owned()) }
}

fn locale(text: &str) -> Result<Locale, String> {
    [Locale::En, Locale::ZhCn]
        .into_iter()
        .find(|locale| locale.as_str() == text)
        .ok_or_else(|| "write en or zh-CN".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory as _};

    use super::*;
    use crate::config::SETTINGS;

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
            // The name of a file is no secret.
            let is_secret = |name: &str| name.contains("password") && !name.ends_with("_file");
            for arg in command.get_arguments().filter(|arg| is_secret(arg.get_id().as_str())) {
                assert!(!arg.get_action().takes_values(), "`{}` of `{}`", arg.get_id(), command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    #[test]
    fn grants_are_named_one_by_one_or_all_together() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        assert!(parse("hospes plugin enable x --all-grants").is_ok());
        assert!(parse("hospes plugin enable x --grant orders:read --grant kv:own").is_ok());
        assert!(parse("hospes plugin enable x").is_err());
        assert!(parse("hospes plugin enable x --all-grants --grant kv:own").is_err());
    }

    #[test]
    fn usage_is_of_one_tenant_or_of_all() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        assert!(parse("hospes plugin usage --tenant shop").is_ok());
        assert!(parse("hospes plugin usage --all-tenants --out usage.csv").is_ok());
        assert!(parse("hospes plugin usage --all-tenants --tenant shop").is_err());
        assert!(parse("hospes plugin usage --out usage.csv").is_err());
    }
}
