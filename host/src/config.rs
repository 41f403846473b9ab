//! Configuration: owns every setting's name, default, meaning and check.
//!
//! A file is overruled by the environment and that by flags. All faults are reported
//! together, each with its fix, so that an operator mends a configuration once. This
//! is the only reader of the process's environment.

mod settings;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::{files, vault};
pub use settings::{SETTINGS, Setting};

/// The beginning of every environment variable that is a setting.
const PREFIX: &str = "HOSPES_";
/// Variables with our prefix that are no settings: the file's name, and what tests ask for.
const OTHER_VARIABLES: &[&str] = &["HOSPES_CONFIG", "HOSPES_REAL_DATA"];
/// Names this far from a known one are taken for a slip of the hand.
const SLIP_EDITS_MAX: usize = 3;

/// A value that must not reach a log: it prints as dots.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being printed.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The value itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where the records are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// The embedded engine, in this file.
    Sqlite(PathBuf),
    /// PostgreSQL, with the password in the URL.
    Postgres(Secret),
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person.
    Text,
    /// One JSON object a line, for a collector.
    Json,
}

/// Which packages are installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PluginTrust {
    /// Those signed with a key that the operator has added.
    KnownPublishers,
    /// Those with a signature; the first key of a publisher is remembered.
    SignedOnly,
    /// All, for development.
    UnsignedAllowed,
}

/// What one call of a plugin may use at most; what is absent is the host's own ceiling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ceilings {
    /// Units of fuel.
    pub fuel: Option<u64>,
    /// Bytes of linear memory.
    pub memory_bytes: Option<u64>,
    /// Host calls.
    pub calls: Option<u32>,
    /// Rows, read and written together.
    pub rows: Option<u32>,
    /// Bytes of documents and values, read and written together.
    pub bytes: Option<u64>,
    /// Requests to other hosts.
    pub outbound_requests: Option<u32>,
    /// Lines of the log.
    pub log_lines: Option<u32>,
}

/// A server's settings, all checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The address to serve on.
    pub listen: SocketAddr,
    /// The folder of the embedded database and the cache.
    pub data: PathBuf,
    /// The folder of plugins' files.
    pub files: PathBuf,
    /// The address by which people and systems reach the server, without a final slash.
    pub public_url: Option<String>,
    /// Whether a proxy of ours appends the client's address to `X-Forwarded-For`.
    pub trust_forwarded_for: bool,
    /// Whether cookies are for HTTPS only.
    pub secure_cookies: bool,
    /// How long requests may go on after the signal to stop, in seconds.
    pub shutdown_grace_s: u32,
    /// Where the records are.
    pub database: DatabaseUrl,
    /// The URL of PostgreSQL's owner role, for migrations.
    pub database_owner: Option<Secret>,
    /// Whether a database that may lose acknowledged writes is accepted.
    pub allow_unsafe_durability: bool,
    /// The limits on requests.
    pub limits: Limits,
    /// Secrets at rest, and requests to others.
    pub outside: Outside,
    /// Which packages are installed.
    pub plugins_trust: PluginTrust,
    /// What one call of a plugin may use at most.
    pub ceilings: Ceilings,
    /// How many days events are kept: how far back the change feed goes.
    pub event_days: u32,
    /// Where metrics are served, if on a listener of their own.
    pub metrics_listen: Option<SocketAddr>,
    /// The bearer token for `/metrics` on the main listener.
    pub metrics_token: Option<Secret>,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// Which log lines are written.
    pub log_filter: String,
}

/// The limits on requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest body of a request that is not an upload, in bytes.
    pub body_bytes_max: usize,
    /// Requests per minute of one token or person.
    pub token_requests_per_minute: u32,
    /// Requests per minute of all tokens and people of one tenant.
    pub tenant_requests_per_minute: u32,
    /// Connections at once.
    pub connections_max: u32,
    /// How long the head of a request may take, in seconds.
    pub head_s: u32,
}

/// What the server keeps secret for its tenants, and how it speaks to others' servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    /// The key under which secrets are kept, as `vault` reads it.
    pub secrets_key: Option<Secret>,
    /// The one before it.
    pub previous_secrets_key: Option<Secret>,
    /// A file of certificate authorities that are trusted beside the public ones.
    pub ca_file: Option<PathBuf>,
    /// Whether this machine and private networks are reached, without TLS too.
    pub allow_private: bool,
}

/// What settings are read from; each map is from a name to its text.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The configuration file, if one is named.
    pub file: Option<PathBuf>,
    /// Variables of the environment, by their full name.
    pub environment: BTreeMap<String, String>,
    /// Flags of the command line, by the key of their setting.
    pub flags: BTreeMap<String, String>,
}

impl Sources {
    /// The environment of this process, with these flags.
    ///
    /// The file is the one that `file` names, or else `HOSPES_CONFIG`.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, flags: BTreeMap<String, String>) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
        let variables = std::env::vars_os();
        let environment: BTreeMap<String, String> = variables
            .filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
            })
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        let file = file.or_else(|| environment.get("HOSPES_CONFIG").map(PathBuf::from));
        Self { file, environment, flags }
    }
}

/// Every fault of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// One sentence each, with the fix.
    pub faults: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} fault(s):", self.faults.len())?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n  - {fault}"))
    }
}

/// Reads and checks the settings.
///
/// # Errors
/// Every fault at once.
pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
    let mut reader = Reader::default();
    reader.collect(sources);
    let config = reader.config();
    match config {
        Some(config) if reader.faults.is_empty() => Ok(config),
        Some(_) | None => Err(ConfigError { faults: reader.faults }),
    }
}

/// A value and where it was found, for messages.
struct Found {
    text: String,
    origin: String,
}

/// Collects values, then faults.
#[derive(Default)]
struct Reader {
    values: BTreeMap<&'static str, Found>,
    faults: Vec<String>,
}

impl Reader {
    fn collect(&mut self, sources: &Sources) {
        if let Some(path) = &sources.file {
            match files::read_text(path, files::CONFIG_BYTES_MAX) {
                Ok(text) => self.collect_file(path, &text),
                Err(error) => self.faults.push(format!("{}; check --config", chain(&error))),
            }
        }
        self.collect_environment(&sources.environment);
        for (key, text) in &sources.flags {
            let setting = settings::find(key).expect("flags are made from the table of settings");
            let origin = format!("flag --{}", setting.flag());
            self.values.insert(setting.key, Found { text: text.clone(), origin });
        }
    }

    fn collect_file(&mut self, path: &Path, text: &str) {
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(error) => {
                let error = error.to_string();
                self.faults.push(format!("`{}` is not TOML: {}", path.display(), error.trim_end()));
                return;
            }
        };
        let mut flat = Vec::new();
        flatten("", &table, &mut flat);
        for (key, value) in flat {
            let origin = format!("in `{}`", path.display());
            let Some(setting) = settings::find(&key) else {
                let fix = suggestion(&key, SETTINGS.iter().map(|s| s.key.to_owned()));
                self.faults.push(format!("`{key}` {origin} is no setting; {fix}"));
                continue;
            };
            match plain_text(value) {
                Some(text) => drop(self.values.insert(setting.key, Found { text, origin })),
                None => self.faults.push(format!(
                    "`{key}` {origin} is a {}; write {}",
                    value.type_str(),
                    setting.example
                )),
            }
        }
    }

    fn collect_environment(&mut self, environment: &BTreeMap<String, String>) {
        for (name, text) in environment {
            if OTHER_VARIABLES.contains(&name.as_str()) || !name.starts_with(PREFIX) {
                continue;
            }
            let origin = format!("environment {name}");
            if let Some(setting) = SETTINGS.iter().find(|s| s.variable() == *name) {
                self.values.insert(setting.key, Found { text: text.clone(), origin });
                continue;
            }
            let secret = name.strip_suffix("_FILE");
            let secret = secret.and_then(|bare| SETTINGS.iter().find(|s| s.secret && s.variable() == bare));
            let Some(setting) = secret else {
                let known = SETTINGS.iter().map(Setting::variable);
                let fix = suggestion(name, known);
                self.faults.push(format!("environment variable {name} is no setting; {fix}"));
                continue;
            };
            if environment.contains_key(&setting.variable()) {
                self.faults.push(format!("{} and {name} are both set; unset one", setting.variable()));
                continue;
            }
            match files::read_text(Path::new(text), files::SECRET_BYTES_MAX) {
                Ok(text) => {
                    let text = text.trim_end_matches(['\r', '\n']).to_owned();
                    self.values.insert(setting.key, Found { text, origin });
                }
                Err(error) => self.faults.push(format!("{}; check {name}", chain(&error))),
            }
        }
    }

    /// The settings; `None` if one could not be read, which is then among the faults.
    fn config(&mut self) -> Option<Config> {
        let listen = self.read("listen", |text| text.parse().ok());
        let data: Option<PathBuf> = self.read("data", |text| (!text.is_empty()).then(|| text.into()));
        let files: Option<Option<PathBuf>> =
            self.read_optional("files", |text| (!text.is_empty()).then(|| text.into()));
        let public_url = self.read_optional("public_url", parse_public_url);
        let https = matches!(&public_url, Some(Some(url)) if url.starts_with("https://"));
        let trust_forwarded_for = self.read("trust_forwarded_for", |text| text.parse().ok());
        let secure_cookies = self.read_optional("secure_cookies", |text| text.parse().ok());
        let shutdown_grace_s = self.read("shutdown_grace_s", |text| bounded(text, 0, 3_600));
        let database = self.read_optional("database.url", parse_database_url);
        let owner = self.read_optional("database.owner_url", parse_postgres_url);
        let unsafe_durability = self.read("database.allow_unsafe_durability", |text| text.parse().ok());
        let limits = self.limits();
        let outside = self.outside();
        let ceilings = self.ceilings();
        let event_days = self.read("retention.event_days", |text| bounded(text, 1, 3_650));
        let plugins_trust = self.read("plugins.trust", parse_trust);
        let metrics_listen = self.read_optional("metrics.listen", |text| text.parse().ok());
        let metrics_token = self
            .read_optional("metrics.token", |text| (text.len() >= 16).then(|| Secret::new(text.to_owned())));
        let log_format = self.read("log.format", parse_log_format);
        let log_filter = self.read("log.filter", |text| {
            text.parse::<tracing_subscriber::EnvFilter>().is_ok().then(|| text.to_owned())
        });
        let data = data?;
        let config = Config {
            listen: listen?,
            database: database?.unwrap_or_else(|| DatabaseUrl::Sqlite(data.join("hospes.db"))),
            files: files?.unwrap_or_else(|| data.join("files")),
            data,
            public_url: public_url?,
            trust_forwarded_for: trust_forwarded_for?,
            secure_cookies: secure_cookies?.unwrap_or(https),
            shutdown_grace_s: shutdown_grace_s?,
            database_owner: owner?,
            allow_unsafe_durability: unsafe_durability?,
            limits: limits?,
            outside: outside?,
            plugins_trust: plugins_trust?,
            ceilings: ceilings?,
            event_days: event_days?,
            metrics_listen: metrics_listen?,
            metrics_token: metrics_token?,
            log_format: log_format?,
            log_filter: log_filter?,
        };
        self.check_together(&config, https);
        Some(config)
    }

    fn limits(&mut self) -> Option<Limits> {
        let body = self.read("limits.body_bytes_max", |text| {
            parse_bytes(text).filter(|bytes| (1_024..=(64 << 20)).contains(bytes))
        });
        let token = self.read("limits.token_requests_per_minute", |text| bounded(text, 1, 100_000_000));
        let tenant = self.read("limits.tenant_requests_per_minute", |text| bounded(text, 1, 100_000_000));
        let connections = self.read("limits.connections_max", |text| bounded(text, 1, 100_000));
        let head = self.read("limits.head_s", |text| bounded(text, 1, 600));
        Some(Limits {
            body_bytes_max: body?,
            token_requests_per_minute: token?,
            tenant_requests_per_minute: tenant?,
            connections_max: connections?,
            head_s: head?,
        })
    }

    fn ceilings(&mut self) -> Option<Ceilings> {
        let bytes = |text: &str| parse_bytes(text).and_then(|bytes| u64::try_from(bytes).ok());
        let memory = |text: &str| bytes(text).filter(|bytes| *bytes >= 1 << 20);
        let fuel = |text: &str| text.parse().ok().filter(|fuel: &u64| *fuel >= 1_000_000);
        let fuel = self.read_optional("plugins.fuel_max", fuel);
        let memory_bytes = self.read_optional("plugins.memory_bytes_max", memory);
        let calls = self.read_optional("plugins.calls_max", |text| bounded(text, 1, 10_000));
        let rows = self.read_optional("plugins.rows_max", |text| bounded(text, 1, 100_000));
        let bytes = self.read_optional("plugins.bytes_max", bytes);
        let outbound_requests = self.read_optional("plugins.requests_max", |text| bounded(text, 0, 1_000));
        let log_lines = self.read_optional("plugins.log_lines_max", |text| bounded(text, 0, 1_000));
        Some(Ceilings {
            fuel: fuel?,
            memory_bytes: memory_bytes?,
            calls: calls?,
            rows: rows?,
            bytes: bytes?,
            outbound_requests: outbound_requests?,
            log_lines: log_lines?,
        })
    }

    fn outside(&mut self) -> Option<Outside> {
        let key = |text: &str| vault::parse_key(text).map(|_key| Secret::new(text.to_owned()));
        let secrets_key = self.read_optional("secrets.key", key);
        let previous_secrets_key = self.read_optional("secrets.previous_key", key);
        let ca_file =
            self.read_optional("outbound.ca_file", |text| (!text.is_empty()).then(|| PathBuf::from(text)));
        let allow_private = self.read("outbound.allow_private", |text| text.parse().ok());
        Some(Outside {
            secrets_key: secrets_key?,
            previous_secrets_key: previous_secrets_key?,
            ca_file: ca_file?,
            allow_private: allow_private?,
        })
    }

    /// What no setting shows alone.
    fn check_together(&mut self, config: &Config, https: bool) {
        if matches!(config.database, DatabaseUrl::Sqlite(_)) {
            for key in ["database.owner_url", "database.allow_unsafe_durability"] {
                if let Some(found) = self.values.get(key) {
                    self.faults.push(format!(
                        "`{key}` ({}) is for PostgreSQL, but `database.url` names none; remove one of them",
                        found.origin
                    ));
                }
            }
        }
        if let Some(found) =
            self.values.get("secrets.previous_key").filter(|_| config.outside.secrets_key.is_none())
        {
            self.faults.push(format!(
                "`secrets.previous_key` ({}) is there without `secrets.key`; set that one",
                found.origin
            ));
        }
        if config.metrics_listen == Some(config.listen) && config.listen.port() != 0 {
            self.faults.push(format!(
                "`metrics.listen` and `listen` are both {}; give metrics a port of their own, or set \
                 `metrics.token` instead",
                config.listen
            ));
        }
        if https && !config.secure_cookies {
            self.faults.push(
                "`secure_cookies` is false, but `public_url` is https: sessions could be overheard; remove it"
                    .to_owned(),
            );
        }
    }

    /// A setting that has a default.
    fn read<T>(&mut self, key: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let setting = settings::find(key).expect("the key is in the table of settings");
        match self.read_optional(key, &parse)? {
            Some(value) => Some(value),
            None => parse(setting.default.expect("a setting that must have a value has a default")),
        }
    }

    /// `None` after a fault, `Some(None)` if the setting is not there.
    fn read_optional<T>(&mut self, key: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
        let setting = settings::find(key).expect("the key is in the table of settings");
        let Some(found) = self.values.get(setting.key) else { return Some(None) };
        let value = parse(found.text.trim());
        if value.is_none() {
            let shown = if setting.secret { "the value".to_owned() } else { format!("`{}`", found.text) };
            self.faults.push(format!(
                "{shown} of `{key}` ({}) is not {}; write {}",
                found.origin, setting.kind, setting.example
            ));
        }
        value.map(Some)
    }
}

fn flatten<'t>(prefix: &str, table: &'t toml::Table, flat: &mut Vec<(String, &'t toml::Value)>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value.as_table() {
            Some(inner) if settings::find(&key).is_none() => flatten(&key, inner, flat),
            Some(_) | None => flat.push((key, value)),
        }
    }
}

fn plain_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => {
            None
        }
    }
}

fn suggestion(name: &str, known: impl Iterator<Item = String>) -> String {
    let nearest = known.map(|known| (edits(name, &known), known)).min();
    match nearest {
        Some((distance, known)) if distance <= SLIP_EDITS_MAX => format!("did you mean `{known}`?"),
        Some(_) | None => "remove it, or see `hospes serve --help` for all settings".to_owned(),
    }
}

/// How many letters must be changed, added or removed to turn `a` into `b`.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn bounded(text: &str, min: u32, max: u32) -> Option<u32> {
    text.parse().ok().filter(|number| (min..=max).contains(number))
}

/// A number of bytes, alone or with `KiB` or `MiB`.
fn parse_bytes(text: &str) -> Option<usize> {
    let (number, unit) = match text {
        text if text.ends_with("KiB") => (text.strip_suffix("KiB")?, 1 << 10),
        text if text.ends_with("MiB") => (text.strip_suffix("MiB")?, 1 << 20),
        text => (text, 1),
    };
    number.trim().parse::<usize>().ok()?.checked_mul(unit)
}

fn parse_public_url(text: &str) -> Option<String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    let plain = !host.is_empty() && !host.contains(['?', '#', ' ', '@']);
    plain.then(|| text.trim_end_matches('/').to_owned())
}

fn parse_database_url(text: &str) -> Option<DatabaseUrl> {
    if let Some(path) = text.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return (!path.is_empty() && !path.contains('?')).then(|| DatabaseUrl::Sqlite(path.into()));
    }
    parse_postgres_url(text).map(DatabaseUrl::Postgres)
}

fn parse_postgres_url(text: &str) -> Option<Secret> {
    let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"))?;
    (!rest.is_empty()).then(|| Secret::new(text.to_owned()))
}

fn parse_trust(text: &str) -> Option<PluginTrust> {
    match text {
        "known_publishers" => Some(PluginTrust::KnownPublishers),
        "signed_only" => Some(PluginTrust::SignedOnly),
        "unsigned_allowed" => Some(PluginTrust::UnsignedAllowed),
        _ => None,
    }
}

fn parse_log_format(text: &str) -> Option<LogFormat> {
    match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

/// An error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests;
