//! The table of settings: what flags, variables, the file's keys and the help text are made from.

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The key in the file; a dot separates a table's name from the key in it.
    pub key: &'static str,
    /// What a value is, as it completes "is not …".
    pub kind: &'static str,
    /// A value, as the fix of a wrong one.
    pub example: &'static str,
    /// The value when none is given, if there is one.
    pub default: Option<&'static str>,
    /// Whether it may be read from the file that `<variable>_FILE` names, and is never printed.
    pub secret: bool,
    /// What it does, for an operator.
    pub help: &'static str,
}

impl Setting {
    /// The flag, without its two dashes.
    #[must_use]
    pub fn flag(&self) -> String {
        self.key.replace(['.', '_'], "-")
    }

    /// The environment variable.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{}{}", super::PREFIX, self.key.replace('.', "_").to_uppercase())
    }
}

/// The setting with this key.
pub(super) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// Every setting, in the order of the help text.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "listen",
        kind: "an address and a port",
        example: "127.0.0.1:8080",
        default: Some("127.0.0.1:8080"),
        secret: false,
        help: "Address and port to serve on; 0.0.0.0:8080 serves every interface",
    },
    Setting {
        key: "data",
        kind: "a folder",
        example: "hospes-data",
        default: Some("hospes-data"),
        secret: false,
        help: "Folder of the embedded database and of compiled plugins; made if it is missing",
    },
    Setting {
        key: "files",
        kind: "a folder",
        example: "/mnt/hospes-files",
        default: None,
        secret: false,
        help: "Folder of plugins' files, which servers on one database share [default: files in the data folder]",
    },
    Setting {
        key: "public_url",
        kind: "an http or https address",
        example: "https://crm.example.com",
        default: None,
        secret: false,
        help: "Address by which people reach the server, if a proxy stands before it",
    },
    Setting {
        key: "trust_forwarded_for",
        kind: "true or false",
        example: "true",
        default: Some("false"),
        secret: false,
        help: "A proxy of yours stands before the server and appends the client's address to X-Forwarded-For",
    },
    Setting {
        key: "secure_cookies",
        kind: "true or false",
        example: "true",
        default: None,
        secret: false,
        help: "Send session cookies over HTTPS only [default: true if public_url is https]",
    },
    Setting {
        key: "shutdown_grace_s",
        kind: "a number of seconds from 0 to 3600",
        example: "30",
        default: Some("30"),
        secret: false,
        help: "Seconds that requests may go on after the signal to stop",
    },
    Setting {
        key: "database.url",
        kind: "a URL that begins with sqlite: or postgres://",
        example: "sqlite:/var/lib/hospes/hospes.db or postgres://user:password@host/database",
        default: None,
        secret: true,
        help: "Database of the records [default: sqlite, the file hospes.db in the data folder]",
    },
    Setting {
        key: "database.owner_url",
        kind: "a URL that begins with postgres://",
        example: "postgres://owner:password@host/database",
        default: None,
        secret: true,
        help: "PostgreSQL only: URL of the role that owns the tables, used by `hospes migrate`",
    },
    Setting {
        key: "database.allow_unsafe_durability",
        kind: "true or false",
        example: "false",
        default: Some("false"),
        secret: false,
        help: "PostgreSQL only: accept a cluster that may lose acknowledged writes; for throwaway clusters",
    },
    Setting {
        key: "limits.body_bytes_max",
        kind: "a size from 1 KiB to 64 MiB",
        example: "1MiB",
        default: Some("1MiB"),
        secret: false,
        help: "Largest body of a request; uploads of imports and plugins have limits of their own",
    },
    Setting {
        key: "limits.token_requests_per_minute",
        kind: "a whole number from 1 to 100000000",
        example: "6000",
        default: Some("6000"),
        secret: false,
        help: "Requests per minute that one token or person may make; more are answered 429",
    },
    Setting {
        key: "limits.tenant_requests_per_minute",
        kind: "a whole number from 1 to 100000000",
        example: "30000",
        default: Some("30000"),
        secret: false,
        help: "Requests per minute that one tenant may make; more are answered 429",
    },
    Setting {
        key: "limits.connections_max",
        kind: "a whole number from 1 to 100000",
        example: "1000",
        default: Some("1000"),
        secret: false,
        help: "Connections at once; more wait. Each needs an open file of the process",
    },
    Setting {
        key: "limits.head_s",
        kind: "a number of seconds from 1 to 600",
        example: "30",
        default: Some("30"),
        secret: false,
        help: "Seconds that the head of a request may take, and a connection be idle",
    },
    Setting {
        key: "retention.event_days",
        kind: "a number of days from 1 to 3650",
        example: "30",
        default: Some("30"),
        secret: false,
        help: "Days that events are kept: how far back the change feed goes",
    },
    Setting {
        key: "plugins.fuel_max",
        kind: "a number of units from 1000000",
        example: "5000000000",
        default: None,
        secret: false,
        help: "Fuel that one call of a plugin may burn at most, whatever its manifest wishes",
    },
    Setting {
        key: "plugins.memory_bytes_max",
        kind: "a number of bytes, from 1 MiB",
        example: "33554432",
        default: None,
        secret: false,
        help: "Linear memory of one call of a plugin at most",
    },
    Setting {
        key: "plugins.calls_max",
        kind: "a number from 1 to 10000",
        example: "1000",
        default: None,
        secret: false,
        help: "Host calls of one call of a plugin at most",
    },
    Setting {
        key: "plugins.rows_max",
        kind: "a number from 1 to 100000",
        example: "20000",
        default: None,
        secret: false,
        help: "Rows that one call of a plugin may read and write at most",
    },
    Setting {
        key: "plugins.bytes_max",
        kind: "a number of bytes",
        example: "33554432",
        default: None,
        secret: false,
        help: "Bytes of documents and values that one call of a plugin may move at most",
    },
    Setting {
        key: "plugins.requests_max",
        kind: "a number from 0 to 1000",
        example: "50",
        default: None,
        secret: false,
        help: "Requests to other servers of one call of a plugin at most; 0 for none",
    },
    Setting {
        key: "plugins.log_lines_max",
        kind: "a number from 0 to 1000",
        example: "100",
        default: None,
        secret: false,
        help: "Lines of the log of one call of a plugin that are kept at most",
    },
    Setting {
        key: "secrets.key",
        kind: "32 bytes in base64",
        example: "what `openssl rand -base64 32` prints",
        default: None,
        secret: true,
        help: "Key under which secrets are kept, such as those that webhooks are signed with; keep a copy elsewhere",
    },
    Setting {
        key: "secrets.previous_key",
        kind: "32 bytes in base64",
        example: "the `secrets.key` of before",
        default: None,
        secret: true,
        help: "The key before this one, which still opens what it has sealed",
    },
    Setting {
        key: "outbound.ca_file",
        kind: "a file",
        example: "/etc/hospes/authorities.pem",
        default: None,
        secret: false,
        help: "File in PEM with certificate authorities that are trusted beside the public ones",
    },
    Setting {
        key: "outbound.allow_private",
        kind: "true or false",
        example: "false",
        default: Some("false"),
        secret: false,
        help: "Let webhooks and plugins reach this machine and private networks, without TLS too; for development",
    },
    Setting {
        key: "plugins.trust",
        kind: "known_publishers, signed_only or unsigned_allowed",
        example: "known_publishers",
        default: Some("known_publishers"),
        secret: false,
        help: "Which packages are installed: those signed with a key that you have added, those with any \
               signature, or all, for development",
    },
    Setting {
        key: "metrics.listen",
        kind: "an address and a port",
        example: "127.0.0.1:9100",
        default: None,
        secret: false,
        help: "Address and port that serves /metrics, and nothing else, without a token",
    },
    Setting {
        key: "metrics.token",
        kind: "a text of at least 16 bytes",
        example: "a long random text",
        default: None,
        secret: true,
        help: "Bearer token for /metrics on the main address; without one it is not served there",
    },
    Setting {
        key: "log.format",
        kind: "text or json",
        example: "json",
        default: Some("text"),
        secret: false,
        help: "Log lines for people (text) or for a collector (json)",
    },
    Setting {
        key: "log.filter",
        kind: "a list of levels by module",
        example: "info,hospes=debug",
        default: Some("info"),
        secret: false,
        help: "Which log lines are written",
    },
];
