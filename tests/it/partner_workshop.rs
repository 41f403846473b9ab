//! A newcomer's way, as the README and the guide tell it: a new plugin, its tests, a local host that takes
//! an edit, its checks, its signature, and another's host. The commands are those of the two texts.

use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::partner_guide::{GUIDE, README, blocks_of, section};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hospes-under-test");
/// How long anything that compiles may take.
const PATIENCE: Duration = Duration::from_secs(900);

/// A folder in which a newcomer works, with nothing but the program. What cargo builds of others' crates is
/// kept between runs, as on their machine.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bin")).unwrap();
        symlink(PROGRAM, folder.path().join("bin/hospes")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn plugin(&self) -> PathBuf {
        self.path("coffee-club")
    }

    /// A program that works in the folder, with `hospes` on its path.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let target = Path::new(PROGRAM).parent().unwrap().join("newcomer");
        let path = std::env::var("PATH").unwrap();
        command.current_dir(self.folder.path()).stdin(Stdio::null()).kill_on_drop(true);
        command.env("PATH", format!("{}:{path}", self.path("bin").display())).env_remove("RUSTFLAGS");
        // What the workspace has fetched is all that a new plugin needs.
        command.env("CARGO_NET_OFFLINE", "true").env("CARGO_TARGET_DIR", target);
        command.env("HOSPES_DATA", self.path("data"));
        command
    }

    /// Does what the lines of a shell say, and answers whether all of them worked, and all that they said.
    async fn try_run(&self, lines: &str) -> (bool, String) {
        let output = self.command("sh").args(["-e", "-c", lines]).output();
        let output = tokio::time::timeout(PATIENCE, output).await.unwrap().unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), said)
    }

    async fn run(&self, lines: &str) -> String {
        let (done, said) = self.try_run(lines).await;
        assert!(done, "{lines}: {said}");
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
        let mut command = desk.command("hospes");
        command.current_dir(desk.plugin()).args(["plugin", "dev", "--listen", "127.0.0.1:0"]);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
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

    /// Does what a block of the guide says, and answers what each of its calls was answered. `known` are
    /// the lines before it: a shell keeps its variables.
    async fn ask(&self, desk: &Desk, known: &str, block: &str) -> Vec<Value> {
        let variables =
            known.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()));
        let variables: Vec<&str> = variables.collect();
        // Each call on a line, and each answer.
        let lines = format!("{}\n{}", variables.join("\n"), block.replace("\\\n", " "));
        let lines = lines.replace("127.0.0.1:8080", &self.address);
        let lines = lines.lines().map(|line| {
            if line.starts_with("curl") { format!("{line}; echo\n") } else { format!("{line}\n") }
        });
        let said = desk.run(&format!("TOKEN={}\n{}", self.token, lines.collect::<String>())).await;
        said.lines().map(|line| serde_json::from_str(line).unwrap_or_default()).collect()
    }

    /// What the first panel of the tenant's first customer is called.
    async fn label(&self, desk: &Desk) -> Value {
        let answers = self.ask(desk, "", blocks_of(section(GUIDE, "See it run"), "sh")[1]).await;
        answers[0]["panels"][0]["blocks"][0]["label"].clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_with_the_readme_and_the_guide_has_a_plugin_at_work() {
    let desk = Desk::new();
    // What the README says, up to the command that does not end.
    let first = blocks_of(section(README, "A plugin of your own"), "sh")[0];
    let (make, dev) = first.trim_end().rsplit_once('\n').unwrap();
    let see = blocks_of(section(GUIDE, "See it run"), "sh");
    assert_eq!((make, dev), (blocks_of(section(GUIDE, "Make one"), "sh")[0].trim_end(), see[0].trim_end()));
    let said = desk.run(make).await;
    assert!(said.contains("hospes plugin test      run its tests"), "{said}");
    // The crate's own tests pass, natively and in the production host.
    assert!(said.contains("5 passed") && said.contains("9 passed"), "{said}");

    // A local host runs it beside customers and orders; then what the guide says, call by call.
    let mut host = LocalHost::start(&desk).await;
    let told = host.line_with("is enabled with every grant").await;
    let shown = blocks_of(section(GUIDE, "See it run"), "text")[0].trim_end();
    assert_eq!(without_numbers(&told), without_numbers(shown));
    let [overview, put, card] = &host.ask(&desk, "", see[1]).await[..] else { panic!("three calls") };
    assert_eq!(overview["panels"][0]["blocks"][0]["label"], "Orders", "{overview}");
    assert_eq!((put, card), (&Value::Null, &json!({ "orders": 0, "thanks": 2 })));
    let described = &host.ask(&desk, see[1], see[2]).await[0];
    let path = &described["paths"]["/api/v1/plugins/coffee-club/x/cards/{customer}"];
    assert_eq!(path["get"]["summary"], "A customer's card", "{path}");
    a_job_is_run_now(&desk, &host, (see[1], see[3])).await;

    // An edit arrives; one that does not compile, or that a host refuses, changes nothing.
    desk.edit("src/panels.rs", "Locale::En => \"Orders\"", "Locale::En => \"Coffees\"");
    host.line_with("is enabled with every grant").await;
    assert_eq!(host.label(&desk).await, "Coffees");
    desk.edit("src/panels.rs", "Locale::En => \"Coffees\"", "Locale::En => 7");
    host.line_with("nothing is changed").await;
    desk.edit("src/panels.rs", "Locale::En => 7", "Locale::En => \"Cups\"");
    host.line_with("is enabled with every grant").await;
    desk.edit("plugin.toml", "en = \"Orders\", ", "");
    host.line_with("nothing is changed").await;
    assert_eq!(host.label(&desk).await, "Cups");
    desk.edit("plugin.toml", "title = { zh-CN = \"订单\"", "title = { en = \"Orders\", zh-CN = \"订单\"");
    drop(host);
    it_is_checked_signed_and_installed(&desk).await;
}

/// The job that is asked for is run by itself, and keeps what it has found.
async fn a_job_is_run_now(desk: &Desk, host: &LocalHost, (known, block): (&str, &str)) {
    let looking = async {
        loop {
            let answers = host.ask(desk, known, block).await;
            assert_eq!(answers[0]["name"], "nightly", "{answers:?}");
            if let Some(night) = answers[1]["items"].get(0) {
                return night["body"].clone();
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let night = tokio::time::timeout(Duration::from_secs(60), looking).await.unwrap();
    assert_eq!(night, json!({ "cards": 1 }));
}

/// The rest of the guide's way: a host's opinion, a signature, and a tenant of a host that is no author's.
async fn it_is_checked_signed_and_installed(desk: &Desk) {
    let report: Value =
        serde_json::from_str(&desk.run("cd coffee-club; hospes plugin check --json").await).unwrap();
    assert_eq!((&report["accepted"], &report["warnings"]), (&json!(true), &json!([])), "{report}");
    let points = ["actions", "events", "functions", "hooks", "jobs", "panels", "routes", "scoring", "steps"];
    assert_eq!(report["exports"], json!(points));
    desk.run("hospes admin create-tenant --slug acme --name \"Acme Coffee\"").await;
    let blocks = blocks_of(section(GUIDE, "Bring it to a host"), "sh");
    let signed = desk.run(&format!("cd coffee-club\n{}", at_the_desk(blocks[0]))).await;
    assert!(signed.contains("coffee-club.wasm.sig"), "{signed}");
    let (done, refused) =
        desk.try_run(&at_the_desk(&format!("cd coffee-club\n{}", last_two(blocks[1])))).await;
    assert!(!done && refused.contains("sign"), "nobody trusts the publisher yet: {refused}");
    let installed = desk.run(&at_the_desk(&format!("cd coffee-club\n{}", blocks[1]))).await;
    assert!(installed.contains("enabled coffee-club 0.1.0 with:"), "{installed}");
}

/// The lines with the folder in which cargo builds at this desk.
fn at_the_desk(lines: &str) -> String {
    lines.replace("target/hospes", "\"$CARGO_TARGET_DIR\"/hospes")
}

fn last_two(lines: &str) -> String {
    let lines: Vec<&str> = lines.lines().collect();
    lines[lines.len() - 2..].join("\n")
}

/// A line that the program says, whatever it has measured.
fn without_numbers(line: &str) -> String {
    line.chars().filter(|letter| !letter.is_ascii_digit()).collect()
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
