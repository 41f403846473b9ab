//! What no compiler checks: who imports whom, how long a file is, that documents tell the truth.
//!
//! A failure says which file breaks which rule; the rules stand in `host/ARCHITECTURE.md`.
#![expect(clippy::disallowed_methods, reason = "reads the tree itself, which no product code may")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

const FILE_LINES_MAX: usize = 600;

/// Which rooms of `host/src` each room may name. What is not listed (`app`, `cli`) wires and may name all.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("files", &["ids", "clock"]),
    ("config", &["files", "vault", "ids", "clock"]),
    ("ids", &["clock"]),
    ("vault", &["domain", "ids", "error"]),
    ("error", &["domain", "texts"]),
    ("texts", &["domain", "error"]),
    ("domain", &["clock", "ids", "error"]),
    ("db", &["domain", "clock", "ids", "error", "files"]),
    ("outbound", &["domain"]),
    ("blobs", &["domain", "error"]),
    ("ops", &["db", "blobs", "outbound", "vault", "domain", "clock", "ids", "error", "texts"]),
    ("plugin", &["ops", "db", "blobs", "outbound", "domain", "clock", "ids", "error", "texts"]),
    ("jobs", &["app", "ops", "plugin", "db", "domain", "clock", "ids", "error", "texts"]),
    ("http", &["ops", "domain", "clock", "ids", "error", "texts"]),
];

/// What is not as it should be yet; no new code may do so, and what is mended leaves the list.
const WARTS: &[&str] = &[];

/// Crates that only one room may name.
const CRATES: &[(&str, &[&str])] = &[
    ("axum", &["http"]),
    ("utoipa_axum", &["http"]),
    ("tower_http", &["http"]),
    ("hyper", &["http", "outbound"]),
    ("hyper_util", &["http", "outbound"]),
    ("rustls", &["outbound"]),
    ("tokio_rustls", &["outbound"]),
    ("sqlx", &["db"]),
    ("deadpool", &["db"]),
    ("wasmtime", &["plugin"]),
    ("hospes_bindings", &["plugin"]),
    ("chacha20poly1305", &["vault"]),
    ("hkdf", &["vault"]),
    ("cap_std", &["blobs", "files", "plugin"]),
    ("clap", &["cli"]),
];

/// Crates of input and output, which `domain` may not name.
const IO_CRATES: &[&str] = &["tokio", "sqlx", "axum", "wasmtime", "cap_std", "tower", "metrics", "tracing"];

/// Crates that must not be linked: they need a system library or an assembler at build time.
const BANNED_CRATES: &[&str] = &["openssl-sys", "aws-lc-sys", "native-tls"];
/// Crates of which two versions would be two engines, or two copies of one C library.
const SINGLE_CRATES: &[&str] = &["wasmtime", "sqlx", "libsqlite3-sys", "axum", "tokio"];
/// Licences that a part of the product may have.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT",
    "MIT-0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "BSL-1.0",
    "CC0-1.0",
    "Unicode-3.0",
    "Unlicense",
    "CDLA-Permissive-2.0",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file of the tree that people write, as its path from the root.
fn files() -> Vec<String> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            // `.git` is a file in a linked work tree.
            if matches!(name.as_str(), ".git" | "target" | "hospes-data" | "Cargo.lock") {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), root, found);
            } else {
                found.push(entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), &root(), &mut found);
    found.sort();
    found
}

/// A source without comments and without its tests, which may name what they like.
fn code(source: &str) -> String {
    let product = source.split("#[cfg(test)]\nmod ").next().unwrap();
    let lines = product.lines().map(|line| line.split("//").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// The names that follow `prefix` in a source: `crate::` or nothing.
fn names_after<'s>(code: &'s str, prefix: &str) -> BTreeSet<&'s str> {
    let ends = code.match_indices(prefix).map(|(at, _)| &code[at + prefix.len()..]);
    let names = ends.map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    });
    names.filter(|name| !name.is_empty()).collect()
}

/// Whether a source names a crate.
fn names_crate(code: &str, name: &str) -> bool {
    names_path(code, &format!("{name}::"))
}

/// Whether a path begins so; one that ends so, as in `cap_std::fs`, is another.
fn names_path(code: &str, path: &str) -> bool {
    code.match_indices(path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
    })
}

/// The room of a file in `host/src`: its first folder, or its own name.
fn room(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("host/src/")?;
    Some(inside.split('/').next().unwrap().trim_end_matches(".rs"))
}

fn misdirected(path: &str, code: &str) -> Vec<String> {
    let Some(room) = room(path) else { return Vec::new() };
    let mut wrong = Vec::new();
    if let Some((_, allowed)) = DIRECTIONS.iter().find(|(from, _)| *from == room) {
        let rooms: BTreeSet<&str> = DIRECTIONS.iter().map(|(name, _)| *name).chain(["app", "cli"]).collect();
        for named in names_after(code, "crate::") {
            if rooms.contains(named) && named != room && !allowed.contains(&named) {
                wrong.push(format!("{path} names crate::{named}, which `{room}` must not know"));
            }
        }
    }
    for (name, owners) in CRATES {
        if !owners.contains(&room) && names_crate(code, name) {
            wrong.push(format!("{path} names the crate {name}, which belongs to {}", owners.join(", ")));
        }
    }
    if room == "domain" {
        for name in IO_CRATES.iter().filter(|name| names_crate(code, name)) {
            wrong.push(format!("{path} names the crate {name}, but `domain` does no input or output"));
        }
    }
    if room != "files" && names_path(code, "std::fs") {
        wrong.push(format!("{path} uses std::fs, which is for host/src/files.rs alone"));
    }
    wrong
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Compares with the warts that have `word` in them, in both directions, so that the list only shrinks.
fn assert_only_warts(found: &[String], word: &str) {
    let mut found: Vec<&str> = found.iter().map(String::as_str).collect();
    found.sort_unstable();
    let warts: Vec<&str> = WARTS.iter().copied().filter(|wart| wart.contains(word)).collect();
    assert_eq!(
        found, warts,
        "left: the tree, right: WARTS; mend the tree, or take what is mended off the list"
    );
}

#[test]
fn rooms_of_the_host_import_in_one_direction() {
    let wrong: Vec<String> = files()
        .iter()
        .filter(|path| path.starts_with("host/src/") && path.ends_with(".rs") && !path.ends_with("tests.rs"))
        .flat_map(|path| misdirected(path, &code(&read(&root().join(path)))))
        .collect();
    assert_only_warts(&wrong, "names");
}

#[test]
fn the_check_of_directions_finds_what_it_looks_for() {
    let found = |path, text| misdirected(path, &code(text)).len();
    assert_eq!(found("host/src/ops/x.rs", "use crate::http::Thing;"), 1);
    assert_eq!(found("host/src/ops/x.rs", "use crate::db::Tx; // crate::http::Thing"), 0);
    assert_eq!(found("host/src/ops/x.rs", "fn f(e: sqlx::Error) {}"), 1);
    assert_eq!(found("host/src/domain/x.rs", "use tokio::time;"), 1);
    assert_eq!(found("host/src/db/x.rs", "use std::fs::File;"), 1);
    assert_eq!(found("host/src/plugin/x.rs", "use cap_std::fs::Dir;"), 0);
    assert_eq!(
        found("host/src/db/x.rs", "sqlx::query(a)\n#[cfg(test)]\nmod tests { use crate::http::X; }"),
        0
    );
}

#[test]
fn no_source_file_is_longer_than_a_reader_can_hold() {
    let wrong: Vec<String> = files()
        .iter()
        .filter(|path| [".rs", ".sql", ".wit", ".toml"].iter().any(|end| path.ends_with(end)))
        .map(|path| (path, read(&root().join(path)).lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(path, _)| format!("{path} is too long: split it"))
        .collect();
    assert_only_warts(&wrong, "too long");
}

#[test]
fn every_file_of_tests_is_a_part_of_the_one_binary() {
    let main = read(&root().join("tests/it/main.rs"));
    let wrong: Vec<String> = files()
        .iter()
        .filter_map(|path| path.strip_prefix("tests/it/")?.strip_suffix(".rs"))
        .filter(|name| !name.contains('/') && *name != "main")
        .filter(|name| !main.lines().any(|line| line == format!("mod {name};")))
        .map(|name| format!("tests/it/{name}.rs never runs: write `mod {name};` into tests/it/main.rs"))
        .collect();
    assert_none(&wrong);
}

#[test]
fn nothing_is_left_for_later_and_nothing_names_the_machine() {
    // Written in parts, so that this file does not find itself.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("unimplemented", "!("),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/wo", "rk/"),
        concat!("crates", ".io"),
        concat!("Cla", "ude"),
        concat!("sub", "agent"),
    ];
    let mut wrong = Vec::new();
    for path in files() {
        let Ok(text) = String::from_utf8(std::fs::read(root().join(&path)).unwrap()) else { continue };
        for (number, line) in text.lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{path}:{} has `{word}`", number + 1));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_migration_has_its_twin() {
    let of = |engine: &str| -> BTreeSet<String> {
        let prefix = format!("migrations/{engine}/");
        files().iter().filter_map(|path| path.strip_prefix(&prefix)).map(str::to_owned).collect()
    };
    assert_eq!(of("sqlite"), of("postgres"));
    assert!(!of("sqlite").is_empty());
}

/// The folders that the README's map must name, each with a slash at its end.
fn folders() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in files() {
        let parts: Vec<&str> = path.split('/').collect();
        // The top, then two steps down in the host, one in plugins.
        let depth = match parts[0] {
            "host" => 3,
            "plugins" => 2,
            name if name.starts_with('.') => 0,
            _ => 1,
        };
        for end in 1..=depth.min(parts.len() - 1) {
            found.insert(format!("{}/", parts[..end].join("/")));
        }
    }
    // Rooms of the host are named, not the folders of its texts and tests.
    found.retain(|path| {
        !path.starts_with("host/") || path.matches('/').count() < 3 || path.starts_with("host/src/")
    });
    found
}

#[test]
fn the_map_of_the_readme_is_the_tree() {
    let readme = read(&root().join("README.md"));
    let map = readme.split("## Map").nth(1).expect("README.md has a section `## Map`");
    let map = map.split("```").nth(1).expect("the map stands between fences");
    let named: BTreeSet<String> = map
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| word.ends_with('/'))
        .map(str::to_owned)
        .collect();
    assert_eq!(named, folders(), "left: README.md, right: the tree; mend the map");
}

#[test]
fn the_commands_of_the_readme_are_those_that_ci_runs() {
    let readme = read(&root().join("README.md"));
    let ci = read(&root().join(".ci/run"));
    for command in ["cargo test", "cargo run --release -- demo"] {
        let lines: Vec<&str> = readme.lines().filter(|line| line.starts_with(command)).collect();
        assert_eq!(lines, [command], "README.md tells `{command}` once, as a line of its own");
        assert!(
            ci.contains(&format!("readme_command '{command}'")),
            ".ci/run takes `{command}` from README.md"
        );
    }
}

#[test]
fn a_decision_has_its_four_parts() {
    let decisions: Vec<String> =
        files().into_iter().filter(|path| path.starts_with("host/decisions/")).collect();
    assert!(decisions.len() >= 5);
    let parts = ["## Situation", "## Choice", "## Price", "## What would change our mind"];
    let wrong: Vec<String> = decisions
        .iter()
        .flat_map(|path| {
            let text = read(&root().join(path));
            let missing = parts.iter().filter(move |part| !text.contains(**part));
            missing.map(move |part| format!("{path} has no `{part}`")).collect::<Vec<_>>()
        })
        .collect();
    assert_none(&wrong);
}

#[test]
fn no_dependency_is_banned_or_there_twice() {
    let lock: toml::Table = read(&root().join("Cargo.lock")).parse().unwrap();
    let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
    for package in lock["package"].as_array().unwrap() {
        *versions.entry(package["name"].as_str().unwrap()).or_default() += 1;
    }
    let mut wrong = Vec::new();
    for name in BANNED_CRATES.iter().filter(|name| versions.contains_key(**name)) {
        wrong.push(format!("{name} is linked: find out by what with `cargo tree -i {name}`"));
    }
    for name in SINGLE_CRATES.iter().filter(|name| versions.get(**name) != Some(&1)) {
        wrong.push(format!("{name} should be there once: see `cargo tree -d`"));
    }
    assert_none(&wrong);
}

#[test]
fn every_dependency_has_a_licence_that_we_may_ship() {
    let rustc = Command::new("rustc").arg("-vV").output().unwrap();
    let rustc = String::from_utf8(rustc.stdout).unwrap();
    let target = rustc.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--locked", "--format-version", "1", "--filter-platform", target])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let licence = package["license"].as_str().unwrap_or_default();
        if !is_allowed(licence) {
            wrong.push(format!("{} has the licence `{licence}`", package["name"]));
        }
    }
    assert_none(&wrong);
}

/// Whether a licence expression leaves us a choice that we allow.
fn is_allowed(expression: &str) -> bool {
    // In such expressions AND binds tighter than OR, and no crate nests deeper than one pair of brackets.
    if let Some((before, rest)) = expression.split_once('(') {
        let Some((inner, after)) = rest.split_once(')') else { return false };
        let inner = if is_allowed(inner) { "MIT" } else { "refused" };
        return is_allowed(&format!("{before}{inner}{after}"));
    }
    expression
        .replace('/', " OR ")
        .split(" OR ")
        .any(|all| all.split(" AND ").all(|one| LICENCES.contains(&one.trim())))
}

#[test]
fn a_licence_expression_is_read_as_it_is_meant() {
    assert!(is_allowed("MIT OR GPL-3.0"));
    assert!(is_allowed("MIT/Apache-2.0"));
    assert!(is_allowed("(MIT OR Apache-2.0) AND Unicode-3.0"));
    assert!(!is_allowed("MIT AND GPL-3.0"));
    assert!(!is_allowed("(MIT OR Apache-2.0) AND GPL-3.0"));
    assert!(!is_allowed(""));
}
