//! The sources that the program carries: SDK, testkit and contract as they were when it was built,
//! and the template of a new plugin.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::super::output::{Failure, Outcome};

include!(concat!(env!("OUT_DIR"), "/sources.rs"));

/// The folder of a new plugin's template.
const TEMPLATE: &str = "sdk/template/";
/// The packages that a plugin is built and tested with.
const PACKAGES: [&str; 2] = ["sdk", "sdk/testkit"];

/// One embedded file; the build script embeds them all.
pub(super) fn file(path: &str) -> &'static str {
    let found = FILES.iter().find(|(name, _)| *name == path);
    found.map(|(_, text)| *text).expect("the build script embeds the file")
}

/// One file of the template.
pub(super) fn template(path: &str) -> &'static str {
    file(&format!("{TEMPLATE}{path}"))
}

/// The files of the folder `hospes/` in a new plugin: a workspace of its own, so that the packages
/// in it stay as they are in ours.
pub(super) fn vendored() -> Outcome<Vec<(String, String)>> {
    let wanted =
        |name: &str| (name.starts_with("sdk/") || name.starts_with("wit/")) && !name.starts_with(TEMPLATE);
    let mut files: Vec<(String, String)> = FILES
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect();
    files.push(("Cargo.toml".to_owned(), workspace()?));
    Ok(files)
}

/// Our workspace's manifest, with what the packages inherit and nothing else.
fn workspace() -> Outcome<String> {
    let parse = |name: &str| file(name).parse::<Table>().map_err(Failure::failed);
    let ours = parse("Cargo.toml")?;
    let ours = ours.get("workspace").and_then(Value::as_table).expect("our own manifest is a workspace");
    let mut inherited = BTreeSet::new();
    for package in PACKAGES {
        names_inherited(&parse(&format!("{package}/Cargo.toml"))?, &mut inherited);
    }
    let mut dependencies = Table::new();
    for (name, dependency) in ours["dependencies"].as_table().into_iter().flatten() {
        if inherited.contains(name) {
            dependencies.insert(name.clone(), dependency.clone());
        }
    }
    let members = PACKAGES.into_iter().map(Value::from).collect::<Vec<_>>();
    let mut workspace = Table::new();
    workspace.insert("members".to_owned(), Value::Array(members));
    for key in ["resolver", "package", "lints"] {
        workspace.insert(key.to_owned(), ours[key].clone());
    }
    workspace.insert("dependencies".to_owned(), Value::Table(dependencies));
    let manifest = Table::from_iter([("workspace".to_owned(), Value::Table(workspace))]);
    toml::to_string(&manifest).map_err(Failure::failed)
}

/// The dependencies that a manifest inherits, wherever they stand in it.
fn names_inherited(table: &Table, found: &mut BTreeSet<String>) {
    for (name, value) in table {
        let Some(inner) = value.as_table() else { continue };
        if inner.get("workspace").and_then(Value::as_bool) == Some(true) {
            found.insert(name.clone());
        }
        names_inherited(inner, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendored_workspace_has_what_its_packages_inherit() {
        let manifest: Table = workspace().unwrap().parse().unwrap();
        let workspace = manifest["workspace"].as_table().unwrap();
        let dependencies: Vec<&str> =
            workspace["dependencies"].as_table().unwrap().keys().map(String::as_str).collect();
        assert_eq!(dependencies, ["hospes-sdk", "serde", "toml", "wit-bindgen"]);
        let names: BTreeSet<String> = vendored().unwrap().into_iter().map(|(name, _)| name).collect();
        for name in ["sdk/src/lib.rs", "sdk/testkit/src/lib.rs", "wit/world.wit", "wit/MANIFEST.md"] {
            assert!(names.contains(name), "{name}");
        }
        assert!(!names.iter().any(|name| name.contains("template")));
    }
}
