//! Compiles plugin crates to components.
//!
//! The build scripts of `plugins/bundle` and `tests` compile what is in this
//! workspace with a [`Builder`]; `hospes plugin build` compiles a partner's crate
//! with the same [`guest_cargo`], [`Speed`] and [`encode`]. Cargo builds the crate for
//! `wasm32-unknown-unknown`; `wit-component` wraps the core module. It needs no tool
//! but rustup's cargo, and no network once the crates in `Cargo.lock` have been fetched.
#![expect(clippy::disallowed_methods, reason = "a build script reads its environment and writes to OUT_DIR")]

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use wit_component::ComponentEncoder;

/// What guests are compiled for: it has no system calls, so a guest imports nothing but the contract.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// What guests may use beyond the target's own instructions: vectors of 128 bits, which every host of the
/// contract has. Columns of numbers are where they tell.
const FEATURES: &str = "-Ctarget-feature=+simd128";

/// The profile of every guest that is installed. Speed before size: fuel counts executed
/// instructions, so what the optimiser saves, a tenant's budget gains; the
/// module is compiled once per install. It is passed on the command line so that
/// the workspace's own release profile stays the server's. The names of functions
/// stay, so that a failure's backtrace and a fuel profile say where.
const PROFILE: [&str; 6] = [
    "profile.release.opt-level=3",
    "profile.release.lto=\"fat\"",
    "profile.release.codegen-units=1",
    "profile.release.panic=\"abort\"",
    "profile.release.strip=\"debuginfo\"",
    "profile.release.debug=false",
];

/// The profile while its author edits it: compiled as fast as possible.
const QUICK_PROFILE: [&str; 7] = [
    "profile.release.opt-level=1",
    "profile.release.lto=\"off\"",
    "profile.release.codegen-units=16",
    "profile.release.incremental=true",
    "profile.release.panic=\"abort\"",
    "profile.release.strip=\"debuginfo\"",
    "profile.release.debug=false",
];

/// What a guest is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
    /// To run fast.
    Release,
    /// To be compiled fast, while its author edits it.
    Quick,
}

impl Speed {
    /// What cargo is told, as values of `--config`.
    #[must_use]
    pub const fn profile(self) -> &'static [&'static str] {
        match self {
            Self::Release => &PROFILE,
            Self::Quick => &QUICK_PROFILE,
        }
    }
}

/// What the outer cargo sets for a build script or for its own children and what
/// would change or break the build of a guest: a clippy wrapper, coverage flags,
/// another target folder, another profile.
const UNSET_PREFIXES: [&str; 11] = [
    "CARGO_BUILD_",
    "CARGO_CFG_",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_FEATURE_",
    "CARGO_INCREMENTAL",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PROFILE_",
    "CARGO_TARGET_",
    "RUSTC_W",
    "RUSTFLAGS",
];

/// Why a guest could not be built. The text says what to do.
pub struct Failure(String);

/// What cargo prints when a build script's `main` answers an error.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// Builds the guests of one build script.
#[derive(Debug)]
pub struct Builder {
    workspace: PathBuf,
    out_dir: PathBuf,
}

impl Builder {
    /// For the running build script, whose crate lies so many folders below the
    /// workspace's root. Tells cargo to run it again when the contract, the SDK
    /// or a dependency changes, and adds the wasm target if it is missing.
    pub fn new(depth: usize) -> Result<Self, Failure> {
        let folder = variable("CARGO_MANIFEST_DIR")?;
        let workspace = Path::new(&folder)
            .ancestors()
            .nth(depth)
            .ok_or_else(|| Failure(format!("{folder} is not {depth} folders deep")))?
            .to_owned();
        for path in ["wit", "sdk/src", "sdk/Cargo.toml", "Cargo.toml", "Cargo.lock"] {
            rerun_if_changed(&workspace.join(path));
        }
        ensure_target(OsStr::new(&variable("RUSTC")?))?;
        Ok(Self { workspace, out_dir: variable("OUT_DIR")?.into() })
    }

    /// Compiles a package of the workspace, which lies in this folder of it, and
    /// answers where in `OUT_DIR` its component is.
    pub fn component(&self, package: &str, folder: &str) -> Result<PathBuf, Failure> {
        for part in ["src", "Cargo.toml", "plugin.toml"] {
            rerun_if_changed(&self.workspace.join(folder).join(part));
        }
        let core = read(&self.core_module(package)?)?;
        let component = encode(&core).map_err(|error| Failure(format!("`{package}`: {error}")))?;
        let path = self.out_dir.join(format!("{package}.wasm"));
        fs::write(&path, component)
            .map_err(|error| Failure(format!("cannot write {}: {error}", path.display())))?;
        Ok(path)
    }

    /// Runs cargo, in a target folder of the guests' own: the outer cargo holds
    /// the lock of the workspace's.
    fn core_module(&self, package: &str) -> Result<PathBuf, Failure> {
        let target_dir = self.target_dir();
        let mut cargo = guest_cargo(OsStr::new(&variable("CARGO")?), Speed::Release);
        cargo
            .current_dir(&self.workspace)
            .args(["--locked", "--package", package])
            .arg("--target-dir")
            .arg(&target_dir);
        let output = run(&mut cargo)?;
        if !output.status.success() {
            let log = String::from_utf8_lossy(&output.stderr);
            return Err(Failure(format!("`{package}` does not compile:\n{log}")));
        }
        let file = format!("{}.wasm", package.replace('-', "_"));
        Ok(target_dir.join(TARGET).join("release").join(file))
    }

    /// One folder for the guests of all build scripts and profiles, so that what
    /// they share is compiled once: beside the profiles, two above cargo's
    /// `build` folder. In a layout without one, `OUT_DIR`.
    fn target_dir(&self) -> PathBuf {
        let build = self.out_dir.ancestors().find(|folder| folder.ends_with("build"));
        let shared = build.and_then(|folder| folder.ancestors().nth(2));
        shared.unwrap_or(&self.out_dir).join("guests")
    }
}

/// A cargo that builds a guest's library; the caller says which, and where it puts it.
///
/// What an outer cargo has set for its own children is taken away.
#[must_use]
pub fn guest_cargo(program: &OsStr, speed: Speed) -> Command {
    let mut cargo = Command::new(program);
    cargo.args(["build", "--lib", "--release", "--target", TARGET]);
    for setting in speed.profile() {
        cargo.args(["--config", setting]);
    }
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if UNSET_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            cargo.env_remove(name);
        }
    }
    let flags: Vec<String> = iter::once(FEATURES.to_owned()).chain(remapped()).collect();
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    cargo
}

/// Flags that shorten the names of source files, which panics carry: what is given away must tell neither
/// whose machine has built it nor where its dependencies came from.
fn remapped() -> Vec<String> {
    let Some(home) = cargo_home() else { return Vec::new() };
    let registries = fs::read_dir(home.join("registry/src")).into_iter().flatten().flatten();
    // Of several that fit, the last one counts.
    let folders = iter::once((home, "cargo")).chain(registries.map(|folder| (folder.path(), "crates")));
    folders.map(|(folder, name)| format!("--remap-path-prefix={}={name}", folder.display())).collect()
}

/// Where cargo keeps the sources of dependencies.
fn cargo_home() -> Option<PathBuf> {
    let named = env::var_os("CARGO_HOME").map(PathBuf::from);
    named.or_else(|| env::home_dir().map(|home| home.join(".cargo")))
}

/// Wraps a core module, which carries its WIT in custom sections.
///
/// # Errors
/// If the module has no such sections, or they do not fit.
pub fn encode(core: &[u8]) -> Result<Vec<u8>, Failure> {
    let encode = || {
        let mut encoder = ComponentEncoder::default();
        encoder.validate(true);
        encoder.module(core)?;
        encoder.encode()
    };
    encode().map_err(|error| Failure(format!("it cannot be made a component: {error:?}")))
}

/// Adds the target of guests to the toolchain of `rustc` if it is missing.
///
/// # Errors
/// If it is missing and cannot be added; the text says what to do.
pub fn ensure_target(rustc: &OsStr) -> Result<(), Failure> {
    if target_is_installed(rustc)? {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", TARGET]);
    let outcome = run(&mut rustup);
    if target_is_installed(rustc)? {
        return Ok(());
    }
    let cause = match outcome {
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(failure) => failure.to_string(),
    };
    Err(Failure(format!(
        "plugins need Rust's standard library for {TARGET}, and adding it failed.\n\
         Run this, then build again:\n\n    rustup target add {TARGET}\n\n{cause}"
    )))
}

fn target_is_installed(rustc: &OsStr) -> Result<bool, Failure> {
    let mut rustc = Command::new(rustc);
    rustc.args(["--print", "target-libdir", "--target", TARGET]);
    let output = run(&mut rustc)?;
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(output.status.success() && Path::new(&folder).is_dir())
}

fn run(command: &mut Command) -> Result<Output, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.output().map_err(|error| Failure(format!("cannot run {name}: {error}")))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure(format!("cannot read {}: {error}", path.display())))
}

fn variable(name: &str) -> Result<String, Failure> {
    env::var(name).map_err(|_missing| Failure(format!("cargo sets {name} for build scripts")))
}

#[expect(clippy::print_stdout, reason = "this is how a build script talks to cargo")]
fn rerun_if_changed(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}
