//! What the plugin host remembers has a bound: nothing is kept for every tenant and plugin.
#![expect(clippy::disallowed_methods, reason = "reads the tree itself, which no product code may")]

use std::path::Path;

/// Every map and cache that lives as long as the plugin host: file, field, and what bounds it.
/// The bounds themselves are tested beside them, where they can be reached.
const KEPT: &[(&str, &str, &str)] = &[
    ("breaker.rs", "entries", "ENTRIES_MAX"),
    ("canary.rs", "Counts", "COUNTS_MAX"),
    ("engine.rs", "tenants", "TENANTS_MAX"),
    ("gate.rs", "denials", "DENIALS_MAX"),
    ("gate.rs", "plugins", "CHANGES_MAX"),
    ("gate.rs", "rates", "RATES_MAX"),
    ("meter.rs", "Meter", "ROWS_MAX"),
    ("mod.rs", "queues", "QUEUES_MAX"),
    ("registry.rs", "components", "COMPONENTS_MAX"),
    ("registry.rs", "facts", "COMPONENTS_MAX"),
    ("registry.rs", "interpreters", "INTERPRETERS_MAX"),
    ("registry.rs", "tenants", "ENABLED_MAX"),
    ("series.rs", "Calls", "plugin_label"),
];

/// Maps that are a part of one invocation, or of one plugin's manifest, which has limits of its own.
const SHORT_LIVED: &[(&str, &str)] =
    &[("registry.rs", "actions"), ("registry.rs", "functions"), ("registry.rs", "steps")];

/// The name of a field, or of a struct around a map, that a line declares.
fn kept(line: &str) -> Option<&str> {
    let code = line.split("//").next()?.trim();
    let holds = ["HashMap<", "Cache<", "DashMap<"].iter().any(|kind| code.contains(kind));
    let is_declaration =
        code.ends_with(',') || code.starts_with("pub(super) struct") || code.starts_with("struct");
    if !holds || !is_declaration || code.contains('{') || code.starts_with("use ") {
        return None;
    }
    let name = code.trim_start_matches("pub(super) ").trim_start_matches("struct ");
    name.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .next()
        .filter(|name| !name.is_empty())
}

#[test]
fn every_map_of_the_plugin_host_has_a_named_bound() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/src/plugin");
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let product = text.split("#[cfg(test)]\nmod ").next().unwrap();
        for name in product.lines().filter_map(kept) {
            if SHORT_LIVED.contains(&(file.as_str(), name)) {
                continue;
            }
            match KEPT.iter().find(|(of, field, _)| *of == file && *field == name) {
                Some((_, _, bound)) if product.matches(bound).count() > 1 => {
                    found.push((file.clone(), name.to_owned()))
                }
                Some((_, _, bound)) => wrong.push(format!("{file}: `{name}` does not use {bound}")),
                None => wrong.push(format!("{file}: `{name}` needs a bound, and a line in this test")),
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert_eq!(found.len(), KEPT.len(), "some of KEPT are gone: {found:?}");
}
