//! A plugin's crate: where it is, and its way through cargo to a component.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use hospes_plugin_build::{Speed, TARGET, encode, ensure_target, guest_cargo};
use serde_json::Value;

use super::super::output::{Failure, Outcome, say};
use crate::files;

/// The largest core module that is read; a component may be smaller still.
const MODULE_BYTES_MAX: u64 = 64 << 20;
/// The variable that tells the testkit which program is the host.
const PROGRAM_VARIABLE: &str = "HOSPES_BIN";

/// A plugin's crate on this machine.
#[derive(Debug)]
pub(super) struct Crate {
    /// Its folder.
    pub(super) folder: PathBuf,
    /// Its name.
    pub(super) name: String,
    target: PathBuf,
}

/// `hospes plugin build`.
pub(super) fn run(folder: &Path, out: Option<PathBuf>) -> Outcome {
    let found = Crate::find(folder)?;
    let component = found.compile(Speed::Release)?;
    let out = out.unwrap_or_else(|| found.component_path());
    files::write(&out, &component)?;
    say(format_args!("{} ({} bytes)", out.display(), component.len()))
}

/// `hospes plugin test`.
pub(super) fn test(folder: &Path, arguments: &[String]) -> Outcome {
    let found = Crate::find(folder)?;
    let mut tests = Command::new(cargo());
    tests.current_dir(&found.folder).arg("test").env(PROGRAM_VARIABLE, std::env::current_exe()?);
    if !arguments.is_empty() {
        tests.arg("--").args(arguments);
    }
    let ended = tests.status().map_err(cannot_run_cargo)?;
    if ended.success() { Ok(()) } else { Err(Failure::failed("the tests have failed")) }
}

impl Crate {
    /// The crate in `folder`.
    pub(super) fn find(folder: &Path) -> Outcome<Self> {
        if files::last_change(&folder.join("Cargo.toml")).is_none() {
            return Err(Failure::usage(format!(
                "there is no Cargo.toml in `{}`; name the folder of a plugin's crate, or make one with `hospes plugin new`",
                folder.display()
            )));
        }
        let mut metadata = Command::new(cargo());
        metadata.current_dir(folder).args(["metadata", "--no-deps", "--format-version", "1"]);
        let output = metadata.output().map_err(cannot_run_cargo)?;
        if !output.status.success() {
            return Err(Failure::failed(String::from_utf8_lossy(&output.stderr).trim()));
        }
        let said: Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| Failure::failed(format!("cargo's metadata cannot be read: {error}")))?;
        let folder = absolute(folder)?;
        let manifest = folder.join("Cargo.toml");
        let is_this = |package: &&Value| {
            package["manifest_path"].as_str().is_some_and(|path| Path::new(path) == manifest)
        };
        let package = said["packages"].as_array().into_iter().flatten().find(is_this);
        let name = package.and_then(|package| package["name"].as_str());
        let (Some(package), Some(name)) = (package, name) else {
            return Err(Failure::failed(format!("`{}` is no package", folder.display())));
        };
        let is_cdylib = |target: &Value| {
            target["crate_types"].as_array().into_iter().flatten().any(|kind| kind == "cdylib")
        };
        if !package["targets"].as_array().into_iter().flatten().any(is_cdylib) {
            return Err(Failure::failed(format!(
                "`{name}` is no cdylib; write this into its Cargo.toml:\n\n    [lib]\n    crate-type = [\"cdylib\", \"rlib\"]\n"
            )));
        }
        let target = said["target_directory"].as_str().unwrap_or("target").into();
        Ok(Self { folder, name: name.to_owned(), target })
    }

    /// Where its component is put.
    pub(super) fn component_path(&self) -> PathBuf {
        self.target.join("hospes").join(format!("{}.wasm", self.name))
    }

    /// Compiles it. What the compiler says goes to standard error.
    pub(super) fn compile(&self, speed: Speed) -> Outcome<Vec<u8>> {
        ensure_target(&rustc()).map_err(Failure::failed)?;
        // The two speeds do not throw away each other's work.
        let target = self.target.join("hospes").join(match speed {
            Speed::Release => "build",
            Speed::Quick => "dev",
        });
        let mut cargo = guest_cargo(&cargo(), speed);
        cargo.current_dir(&self.folder).args(["--quiet", "--package", &self.name]);
        let ended = cargo.arg("--target-dir").arg(&target).status().map_err(cannot_run_cargo)?;
        if !ended.success() {
            return Err(Failure::failed(format!("`{}` does not compile", self.name)));
        }
        let file = format!("{}.wasm", self.name.replace('-', "_"));
        let module = files::read(&target.join(TARGET).join("release").join(file), MODULE_BYTES_MAX)?;
        encode(&module).map_err(|failure| Failure::failed(format!("`{}`: {failure}", self.name)))
    }
}

/// The path as cargo writes it.
fn absolute(folder: &Path) -> Outcome<PathBuf> {
    Ok(folder.canonicalize()?)
}

fn cargo() -> OsString {
    "cargo".into()
}

fn rustc() -> OsString {
    "rustc".into()
}

fn cannot_run_cargo(error: std::io::Error) -> Failure {
    Failure::failed(format!("cannot run cargo: {error}; install it from https://rustup.rs"))
}
