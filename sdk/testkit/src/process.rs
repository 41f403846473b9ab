//! The host's process: one line of JSON there, one back.

use std::env;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// The variable that names the host's program.
const PROGRAM_VARIABLE: &str = "HOSPES_BIN";

/// The program that is the host.
pub(crate) fn program() -> OsString {
    env::var_os(PROGRAM_VARIABLE).unwrap_or_else(|| "hospes".into())
}

fn command(program: &OsString) -> Command {
    let mut command = Command::new(program);
    // Settings of a server on this machine are none of a test's.
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("HOSPES_") {
            command.env_remove(name);
        }
    }
    command
}

fn cannot_run(program: &OsString, error: &std::io::Error) -> String {
    format!(
        "cannot run the host, `{}`: {error}\n\
         Run the tests with `hospes plugin test`, put the program on the path, or name it in {PROGRAM_VARIABLE}.",
        Path::new(program).display()
    )
}

/// Compiles the crate in `folder` and answers where its component is: once for each folder and process.
pub(crate) fn compile(program: &OsString, folder: &Path) -> PathBuf {
    static COMPILED: Mutex<Vec<(PathBuf, PathBuf)>> = Mutex::new(Vec::new());
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, component)) = compiled.iter().find(|(known, _)| known == folder) {
        return component.clone();
    }
    let output = command(program).args(["plugin", "build"]).arg(folder).stderr(Stdio::inherit()).output();
    let output = output.unwrap_or_else(|error| panic!("{}", cannot_run(program, &error)));
    assert!(output.status.success(), "the plugin in {} does not compile", folder.display());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let path = said.trim().rsplit_once(" (").map(|(path, _)| PathBuf::from(path));
    let path = path.unwrap_or_else(|| panic!("`hospes plugin build` said {said:?}"));
    compiled.push((folder.to_owned(), path.clone()));
    path
}

/// What the host has said to an order.
#[derive(Debug)]
pub(crate) struct Said {
    /// What came of it, with the name of its kind taken off.
    pub(crate) reply: Value,
    /// The requests to others' servers that no script expects, in words.
    pub(crate) unscripted: Vec<String>,
}

/// A running host.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Nothing once the host has been told to end.
    orders: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
}

impl Process {
    /// Starts a host for the component and answers what it said first.
    pub(crate) fn start(program: &OsString, component: &Path) -> (Self, Value) {
        let mut rehearse = command(program);
        rehearse.args(["plugin", "rehearse"]).arg(component);
        if let Some(folder) = component.parent() {
            rehearse.arg("--cache").arg(folder.join("cache"));
        }
        rehearse.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = rehearse.spawn().unwrap_or_else(|error| panic!("{}", cannot_run(program, &error)));
        let orders = child.stdin.take();
        let replies = BufReader::new(child.stdout.take().expect("its output is piped"));
        let mut process = Self { child, orders, replies };
        let ready = process.read().reply;
        (process, ready)
    }

    /// Gives one order and waits for what comes of it.
    pub(crate) fn order(&mut self, order: &Value) -> Said {
        let orders = self.orders.as_mut().expect("the host runs until it is dropped");
        writeln!(orders, "{order}").expect("the host takes orders");
        self.read()
    }

    fn read(&mut self) -> Said {
        let mut line = String::new();
        let read = self.replies.read_line(&mut line).expect("the host answers");
        assert!(read > 0, "the host has ended: {:?}", self.child.wait());
        let reply: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the host said {line:?}"));
        if let Some(reason) = reply["refused"].as_str() {
            panic!("the host refuses: {reason}");
        }
        let mut reply = reply.as_object().cloned().unwrap_or_default();
        let unscripted = reply.remove("unscripted").unwrap_or_default();
        let unscripted = unscripted.as_array().into_iter().flatten().filter_map(Value::as_str);
        let unscripted = unscripted.map(str::to_owned).collect();
        let reply = reply.into_iter().next().map(|(_, told)| told).unwrap_or_default();
        Said { reply, unscripted }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The host ends with its input, and takes its files away.
        drop(self.orders.take());
        drop(self.child.wait());
    }
}
