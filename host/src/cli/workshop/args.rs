//! The commands of a plugin's author, as they are typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::ValueHint;
use clap::{Args, Subcommand};

use super::template::Part;

/// What a plugin's author does.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Workshop {
    /// Make a new plugin: a crate with tests that pass
    ///
    /// Asks for the name and the extension points when it is run on a terminal without them. The SDK, the
    /// testkit and the contract are written into the crate's folder `hospes/`, so that it builds without
    /// a registry that has them.
    New {
        /// Folder to make; its last part is the plugin's name, in kebab-case
        #[arg(value_name = "FOLDER", value_hint = ValueHint::DirPath)]
        folder: Option<PathBuf>,
        /// Extension point to begin with; may be given several times [default: all of these]
        #[arg(long = "with", value_name = "POINT")]
        parts: Vec<Part>,
        /// Who publishes it
        #[arg(long, default_value = "example")]
        publisher: String,
    },
    /// Compile a plugin's crate to a component
    Build {
        #[command(flatten)]
        project: Project,
        /// File to write [default: target/hospes/NAME.wasm in the crate]
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        out: Option<PathBuf>,
    },
    /// Say whether a host takes a plugin, what it asks for and what it weighs
    ///
    /// Takes a component, or a crate, which is compiled first. Fails if a host would refuse it.
    Check {
        /// Component (.wasm) or folder of the crate
        #[arg(value_name = "PATH", default_value = ".", value_hint = ValueHint::AnyPath)]
        path: PathBuf,
        /// Say it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a plugin's tests: those of its crate, against this program as the host
    Test {
        #[command(flatten)]
        project: Project,
        /// What cargo's tests are called with, such as the name of one
        #[arg(last = true, value_name = "ARGUMENT")]
        arguments: Vec<String>,
    },
    /// Serve a local host with the plugin, and put every edit into it
    ///
    /// The host has a tenant with a few customers and orders; its data goes away at the end unless --data
    /// names a folder. An edit that does not compile, or that a host would refuse, leaves the last good
    /// one running.
    Dev {
        #[command(flatten)]
        project: Project,
        /// Folder to keep the host's data in
        #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
        data: Option<PathBuf>,
        /// Address and port to serve on; port 0 takes a free one
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
    },
    /// Be a host for a test: reads orders as lines of JSON, answers each with one
    ///
    /// What the testkit drives. The host has an embedded database of its own and a clock that stands still
    /// until it is moved; background work runs when it is asked for. It ends with its input.
    #[command(hide = true)]
    Rehearse {
        /// Component (.wasm) to install; the tenant enables it when the test says so
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        component: PathBuf,
        /// Folder that keeps compiled plugins for the next test
        #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
        cache: Option<PathBuf>,
    },
}

/// A plugin's crate.
#[derive(Debug, Args)]
pub(in crate::cli) struct Project {
    /// Folder of the crate
    #[arg(value_name = "FOLDER", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(super) folder: PathBuf,
}
