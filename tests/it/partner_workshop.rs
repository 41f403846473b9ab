//! A newcomer's way: a new plugin, its tests, its checks, and a local host that takes an edit.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hospes-under-test");
/// How long anything that compiles may take.
const PATIENCE: Duration = Duration::from_secs(900);

/// A folder in which a newcomer works. What cargo builds is kept between runs, as on their machine.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn plugin(&self) -> PathBuf {
        self.folder.path().join("coffee-club")
    }

    fn program(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        let target = Path::new(PROGRAM).parent().unwrap().join("newcomer");
        command.current_dir(self.folder.path()).stdin(Stdio::null()).kill_on_drop(true);
        // What the workspace has fetched is all that a new plugin needs.
        command.env("CARGO_NET_OFFLINE", "true").env("CARGO_TARGET_DIR", target).env_remove("RUSTFLAGS");
        command
    }

    /// Runs a command line and answers whether it did its work, and all that it said.
    async fn try_run(&self, line: &str) -> (bool, String) {
        let arguments = line.split(' ').skip(1);
        let output = self.program().args(arguments).output();
        let output = tokio::time::timeout(PATIENCE, output).await.unwrap().unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), said)
    }

    async fn run(&self, line: &str) -> String {
        let (done, said) = self.try_run(line).await;
        assert!(done, "{line}: {said}");
        said
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.plugin().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no `{from}`: {text}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
    }
}

/// A local host of `hospes plugin dev`.
struct LocalHost {
    _process: Child,
    said: Lines<BufReader<ChildStdout>>,
    address: String,
    token: String,
}

impl LocalHost {
    async fn start(desk: &Desk) -> Self {
        let mut command = desk.program();
        command.args(["plugin", "dev", "coffee-club", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let said = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut host = Self { _process: process, said, address: String::new(), token: String::new() };
        let first = host.line_with("serving http://").await;
        host.address = first.split(['/', ' ']).nth(3).unwrap().to_owned();
        host.token = host.line_with("token").await.split_whitespace().nth(1).unwrap().to_owned();
        host
    }

    /// The next line with these words; those before it are passed over.
    async fn line_with(&mut self, words: &str) -> String {
        let looking = async {
            while let Some(line) = self.said.next_line().await.unwrap() {
                if line.contains(words) {
                    return line;
                }
            }
            panic!("the host has ended before it said {words:?}");
        };
        tokio::time::timeout(PATIENCE, looking).await.unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        let mut socket = TcpStream::connect(&self.address).await.unwrap();
        let (address, token) = (&self.address, &self.token);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        serde_json::from_str(body).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_makes_tests_and_edits_a_plugin() {
    let desk = Desk::new();
    let said = desk.run("hospes plugin new coffee-club --publisher example").await;
    assert!(said.contains("hospes plugin test"), "{said}");
    // The crate's own tests pass, in the production host.
    let said = desk.run("hospes plugin test coffee-club").await;
    assert!(said.contains("5 passed"), "{said}");
    // A host takes it, and says what it may do.
    let report: Value =
        serde_json::from_str(&desk.run("hospes plugin check coffee-club --json").await).unwrap();
    assert_eq!(
        (&report["accepted"], &report["warnings"]),
        (&true.into(), &serde_json::json!([])),
        "{report}"
    );
    assert_eq!(report["exports"], serde_json::json!(["actions", "events", "hooks", "jobs", "panels"]));
    let out = desk.run("hospes plugin build coffee-club --out club.wasm").await;
    assert!(out.starts_with("club.wasm ("), "{out}");

    // A local host runs it beside customers and orders.
    let mut host = LocalHost::start(&desk).await;
    host.line_with("is enabled with every grant").await;
    let customers = host.get("/api/v1/customers").await;
    let customer = customers["items"][0]["id"].as_str().unwrap();
    let overview = format!("/api/v1/customers/{customer}/overview");
    assert_eq!(host.get(&overview).await["panels"][0]["blocks"][0]["label"], "Orders");
    // An edit arrives; one that does not compile, or that a host refuses, changes nothing.
    desk.edit("src/panels.rs", "Locale::En => \"Orders\"", "Locale::En => \"Coffees\"");
    host.line_with("is enabled with every grant").await;
    assert_eq!(host.get(&overview).await["panels"][0]["blocks"][0]["label"], "Coffees");
    desk.edit("src/panels.rs", "Locale::En => \"Coffees\"", "Locale::En => 7");
    host.line_with("nothing is changed").await;
    desk.edit("src/panels.rs", "Locale::En => 7", "Locale::En => \"Cups\"");
    host.line_with("is enabled with every grant").await;
    desk.edit("plugin.toml", "en = \"Orders\", ", "");
    host.line_with("nothing is changed").await;
    assert_eq!(host.get(&overview).await["panels"][0]["blocks"][0]["label"], "Cups");
}

#[tokio::test]
async fn a_folder_that_is_there_is_not_written_into() {
    let desk = Desk::new();
    desk.run("hospes plugin new coffee-club --with panels").await;
    desk.edit("src/panels.rs", "Orders", "Mine");
    let (done, said) = desk.try_run("hospes plugin new coffee-club").await;
    assert!(!done && said.contains("coffee-club"), "{said}");
    assert!(std::fs::read_to_string(desk.plugin().join("src/panels.rs")).unwrap().contains("Mine"));
    // Only what was asked for is there.
    assert!(!desk.plugin().join("src/events.rs").exists());
}
