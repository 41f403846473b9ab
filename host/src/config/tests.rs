use super::*;

fn sources(environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
    let owned = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    };
    Sources { file: None, environment: owned(environment), flags: owned(flags) }
}

/// A reader that has read `file` and nothing else.
fn read_file(file: &str) -> Result<Config, ConfigError> {
    let mut reader = Reader::default();
    reader.collect_file(Path::new("hospes.toml"), file);
    match reader.config() {
        Some(config) if reader.faults.is_empty() => Ok(config),
        Some(_) | None => Err(ConfigError { faults: reader.faults }),
    }
}

#[test]
fn without_any_setting_everything_has_a_value() {
    let config = load(&sources(&[], &[])).unwrap();
    assert_eq!(config.database, DatabaseUrl::Sqlite("hospes-data/hospes.db".into()));
    assert_eq!(config.listen, "127.0.0.1:8080".parse().unwrap());
    assert!(!config.secure_cookies);
}

#[test]
fn a_flag_overrules_the_environment() {
    let both = sources(&[("HOSPES_LISTEN", "127.0.0.1:1")], &[("listen", "127.0.0.1:2")]);
    assert_eq!(load(&both).unwrap().listen.port(), 2);
    let one = sources(&[("HOSPES_LISTEN", "127.0.0.1:1")], &[]);
    assert_eq!(load(&one).unwrap().listen.port(), 1);
}

#[test]
fn all_faults_are_told_together_with_their_fixes() {
    let wrong = sources(
        &[("HOSPES_LISTN", "x"), ("HOSPES_LIMITS_BODY_BYTES_MAX", "huge")],
        &[("listen", "everywhere"), ("database.owner_url", "mysql://x")],
    );
    let error = load(&wrong).unwrap_err();
    assert_eq!(
        error.faults,
        [
            "environment variable HOSPES_LISTN is no setting; did you mean `HOSPES_LISTEN`?",
            "`everywhere` of `listen` (flag --listen) is not an address and a port; write 127.0.0.1:8080",
            "the value of `database.owner_url` (flag --database-owner-url) is not a URL that begins with \
             postgres://; write postgres://owner:password@host/database",
            "`huge` of `limits.body_bytes_max` (environment HOSPES_LIMITS_BODY_BYTES_MAX) is not a size from \
             1 KiB to 64 MiB; write 1MiB",
        ]
    );
}

#[test]
fn an_unknown_key_of_the_file_is_refused_with_its_neighbour() {
    let error = read_file("[limits]\nbody_byte_max = 5\n[log]\nformat = [1]\n").unwrap_err();
    assert_eq!(
        error.faults,
        [
            "`limits.body_byte_max` in `hospes.toml` is no setting; did you mean `limits.body_bytes_max`?",
            "`log.format` in `hospes.toml` is a array; write json",
        ]
    );
}

#[test]
fn tables_and_plain_values_of_the_file_are_read() {
    let config = read_file(
        "shutdown_grace_s = 5\npublic_url = \"https://crm.example.com/\"\n[limits]\nbody_bytes_max = \"2 MiB\"\n",
    )
    .unwrap();
    assert_eq!(config.shutdown_grace_s, 5);
    assert_eq!(config.public_url.as_deref(), Some("https://crm.example.com"));
    assert!(config.secure_cookies, "an https address makes cookies secure");
    assert_eq!(config.limits.body_bytes_max, 2 << 20);
}

#[test]
fn settings_that_contradict_one_another_are_refused() {
    let wrong = sources(
        &[],
        &[
            ("database.allow_unsafe_durability", "true"),
            ("metrics.listen", "127.0.0.1:8080"),
            ("public_url", "https://crm.example.com"),
            ("secure_cookies", "false"),
        ],
    );
    assert_eq!(load(&wrong).unwrap_err().faults.len(), 3);
}

#[test]
fn a_secret_is_read_from_the_file_that_the_environment_names() {
    let ids = crate::ids::RandomIds::default();
    let unique = crate::ids::Ids::next(&ids, crate::clock::Timestamp::default());
    let folder = files::TemporaryFolder::create(unique).unwrap();
    let path = folder.folder().path().join("token");
    let named = files::NamedFile::at(&path).unwrap();
    named.folder().write(named.name(), "a-token-of-32-bytes-or-even-more\n").unwrap();
    let config = load(&sources(&[("HOSPES_METRICS_TOKEN_FILE", path.to_str().unwrap())], &[])).unwrap();
    assert_eq!(config.metrics_token.unwrap().expose(), "a-token-of-32-bytes-or-even-more");
}

#[test]
fn a_secret_is_never_printed() {
    let url = "postgres://app:hunter2@db/crm";
    let config = load(&sources(&[("HOSPES_DATABASE_URL", url)], &[])).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    let wrong = sources(&[("HOSPES_DATABASE_URL", "postgre://app:hunter2@db/crm")], &[]);
    assert!(!load(&wrong).unwrap_err().to_string().contains("hunter2"));
}

#[test]
fn a_key_of_secrets_is_32_bytes_in_base64_and_the_previous_one_needs_it() {
    let key = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
    let config = load(&sources(&[("HOSPES_SECRETS_KEY", key)], &[])).unwrap();
    assert_eq!(config.outside.secrets_key.unwrap().expose(), key);
    assert!(load(&sources(&[("HOSPES_SECRETS_KEY", "hunter2")], &[])).is_err());
    let alone = load(&sources(&[("HOSPES_SECRETS_PREVIOUS_KEY", key)], &[])).unwrap_err();
    assert_eq!(
        alone.faults,
        [
            "`secrets.previous_key` (environment HOSPES_SECRETS_PREVIOUS_KEY) is there without `secrets.key`; set that one"
        ]
    );
}

#[test]
fn every_default_and_example_of_the_table_passes_its_own_check() {
    for setting in SETTINGS {
        // A key has no example but the command that makes one: what stands in a manual would be used.
        let examples = setting.example.split(" or ").filter(|example| !example.contains('`'));
        for text in setting.default.into_iter().chain(examples) {
            let mut pairs = vec![(setting.key, text)];
            if setting.key.starts_with("database.") && setting.key != "database.url" {
                pairs.push(("database.url", "postgres://app:x@db/crm"));
            }
            load(&sources(&[], &pairs)).unwrap_or_else(|error| panic!("{}: {error}", setting.key));
        }
    }
}
