//! Embeds the migrations, and the sources that `hospes plugin new` writes beside a new
//! plugin: lists the files of `migrations/`, `sdk/` and `wit/` as constants.

#![expect(clippy::disallowed_methods, reason = "a build script reads and writes where cargo tells it")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    println!("cargo::rerun-if-env-changed=CARGO_MANIFEST_DIR");
    embed_migrations()?;
    embed_sources()
}

/// The checkout that is being built. It is asked for when the script runs: two checkouts that share a
/// target folder share the compiled script too, and must not embed each other's files.
fn workspace() -> Result<PathBuf, Failure> {
    let host = std::env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo names CARGO_MANIFEST_DIR")?;
    Ok(Path::new(&host).join("..").canonicalize()?)
}

/// The sources of the SDK, the testkit and the contract, by their path in the workspace.
fn embed_sources() -> Result<(), Failure> {
    let root = workspace()?;
    let mut files = BTreeMap::new();
    for folder in ["sdk", "wit"] {
        collect(&root, &root.join(folder), &mut files)?;
    }
    for file in ["Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(file).display());
        files.insert(file.to_owned(), root.join(file));
    }
    let mut code = String::from(
        "/// Path and text of every embedded source.\npub(super) const FILES: &[(&str, &str)] = &[\n",
    );
    for (name, path) in files {
        writeln!(code, "    ({name:?}, include_str!({path:?})),")?;
    }
    code.push_str("];\n");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo names OUT_DIR")?);
    std::fs::write(out.join("sources.rs"), code)?;
    Ok(())
}

fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<String, PathBuf>) -> Result<(), Failure> {
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(root, &entry.path(), found)?;
            continue;
        }
        let path = entry.path();
        let name = path.strip_prefix(root)?.to_str().ok_or("a source's name is not text")?;
        found.insert(name.replace('\\', "/"), path.clone());
    }
    Ok(())
}

fn embed_migrations() -> Result<(), Failure> {
    let migrations = workspace()?.join("migrations");
    println!("cargo::rerun-if-changed={}", migrations.display());
    let sqlite = list(&migrations.join("sqlite"))?;
    let postgres = list(&migrations.join("postgres"))?;
    let mut code =
        String::from("/// Every migration, by number.\npub(super) const EMBEDDED: &[Migration] = &[\n");
    for (name, file) in &sqlite {
        let Some(twin) = postgres.get(name) else {
            return Err(format!("`migrations/sqlite/{name}.sql` has no twin in `migrations/postgres`").into());
        };
        let number: u32 = name
            .split('_')
            .next()
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| format!("`{name}` does not begin with a number such as `0001_`"))?;
        writeln!(
            code,
            "    Migration {{ number: {number}, name: {name:?}, sqlite: include_str!({file:?}), \
             postgres: include_str!({twin:?}) }},"
        )?;
    }
    if let Some(name) = postgres.keys().find(|name| !sqlite.contains_key(*name)) {
        return Err(format!("`migrations/postgres/{name}.sql` has no twin in `migrations/sqlite`").into());
    }
    code.push_str("];\n");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo names OUT_DIR")?);
    std::fs::write(out.join("migrations.rs"), code)?;
    Ok(())
}

/// The migrations of a folder, from their name without `.sql` to their file.
fn list(folder: &Path) -> Result<BTreeMap<String, PathBuf>, Failure> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            let name =
                path.file_stem().and_then(|stem| stem.to_str()).ok_or("a migration's name is not text")?;
            found.insert(name.to_owned(), path.clone());
        }
    }
    Ok(found)
}
