//! The server as a process that a test may kill, on a database that outlives it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use hospes_tests::{Engine, Harness as _, TestDb};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Executor as _};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

/// How long anything of another process may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is asked whether something has come to pass.
const LOOK: Duration = Duration::from_millis(20);

/// The data of a server that is not always running, with the tenant `shop` in it.
pub(crate) struct Site {
    folder: TempDir,
    /// PostgreSQL's, if it is not a file in the folder.
    pub(crate) postgres: Option<TestDb>,
    token: String,
}

impl Site {
    /// On SQLite, in its own folder.
    pub(crate) async fn on_sqlite(currency: &str) -> Self {
        Self::on(Engine::Sqlite, currency).await.expect("SQLite is always there")
    }

    /// On a database of its own; nothing if the engine is not installed.
    pub(crate) async fn on(engine: Engine, currency: &str) -> Option<Self> {
        let postgres = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(TestDb::start(engine).await?),
        };
        let folder = tempfile::tempdir().unwrap();
        let mut site = Self { folder, postgres, token: String::new() };
        let tenant = ["admin", "create-tenant", "--slug", "shop", "--name", "Shop", "--currency", currency];
        site.command(&tenant).await;
        let said = site.command(&["admin", "create-token", "--name", "test", "--role", "owner"]).await;
        let token = said.lines().find_map(|line| line.strip_prefix("token, not shown again: "));
        site.token = token.unwrap().to_owned();
        Some(site)
    }

    /// Installs a plugin and enables it with all that it asks for.
    pub(crate) async fn enable(&self, name: &str, component: &[u8]) {
        let file = self.folder.path().join("plugin.wasm");
        std::fs::write(&file, component).unwrap();
        self.command(&["plugin", "install", file.to_str().unwrap()]).await;
        self.command(&["plugin", "enable", name, "--all-grants"]).await;
    }

    fn program(&self, url: Option<&str>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hospes-under-test"));
        command.stdin(Stdio::null()).kill_on_drop(true).env("HOSPES_DATA", self.folder.path());
        command.env("HOSPES_PLUGINS_TRUST", "unsigned_allowed");
        command.env("HOSPES_SECRETS_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
        for limit in ["TOKEN", "TENANT"] {
            command.env(format!("HOSPES_LIMITS_{limit}_REQUESTS_PER_MINUTE"), "1000000");
        }
        let own = self.postgres.as_ref().map(|test| test.urls.as_ref().unwrap().server.as_str());
        if let Some(url) = url.or(own) {
            command.env("HOSPES_DATABASE_URL", url).env("HOSPES_DATABASE_ALLOW_UNSAFE_DURABILITY", "true");
        }
        command
    }

    /// Runs one command to its end and answers what it said.
    pub(crate) async fn command(&self, arguments: &[&str]) -> String {
        let mut command = self.program(None);
        command.args(arguments);
        let output = tokio::time::timeout(PATIENCE, command.output()).await.unwrap().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    /// Runs one command that must fail, and answers why it says that it has.
    pub(crate) async fn refused(&self, arguments: &[&str]) -> String {
        let mut command = self.program(None);
        command.args(arguments);
        let output = tokio::time::timeout(PATIENCE, command.output()).await.unwrap().unwrap();
        assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }

    /// Starts a command that does not end by itself.
    pub(crate) fn watch(&self, arguments: &[&str]) -> Watched {
        let mut command = self.program(None);
        let mut process = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(process.stdout.take().unwrap()).lines();
        Watched { _process: process, said }
    }

    /// A file in the site's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the server, which listens when this answers.
    pub(crate) async fn start(&self) -> Server {
        self.serve(None).await
    }

    /// As [`Site::start`], with another way to the database.
    pub(crate) async fn start_through(&self, url: &str) -> Server {
        self.serve(Some(url)).await
    }

    async fn serve(&self, url: Option<&str>) -> Server {
        let mut command = self.program(url);
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-filter", "error"]).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        tokio::time::timeout(PATIENCE, said.read_line(&mut line)).await.unwrap().unwrap();
        let address = line.trim().strip_prefix("listening on http://");
        let address = address.unwrap_or_else(|| panic!("the server said {line:?}")).to_owned();
        Server { process, _said: said, client: Caller { address, token: self.token.clone() } }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("hospes.db")
    }

    /// Lets the time go by after which what a dead server had leased may be taken over; answers how
    /// much that was.
    pub(crate) async fn expire_leases(&self) -> u64 {
        const TABLES: [&str; 4] = ["import_jobs", "lanes", "backfills", "schedules"];
        let mut expired = 0;
        if let Some(test) = &self.postgres {
            let mut admin = test.superuser().await;
            for table in TABLES {
                let expire = format!("UPDATE {table} SET leased_until = 0 WHERE leased_until > 0");
                expired += admin.execute(sqlx::AssertSqlSafe(expire)).await.unwrap().rows_affected();
            }
            return expired;
        }
        let options = SqliteConnectOptions::new().filename(self.file());
        let options = options.busy_timeout(Duration::from_secs(10));
        let mut database = SqliteConnection::connect_with(&options).await.unwrap();
        for table in TABLES {
            let expire = format!("UPDATE {table} SET leased_until = 0 WHERE leased_until > 0");
            expired += database.execute(sqlx::AssertSqlSafe(expire)).await.unwrap().rows_affected();
        }
        database.close().await.unwrap();
        expired
    }
}

/// A command that goes on, and what it says.
pub(crate) struct Watched {
    _process: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Watched {
    /// The next line.
    pub(crate) async fn line(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.said.next_line()).await.unwrap();
        line.unwrap().expect("the command goes on")
    }
}

/// A running server, and a client of it.
pub(crate) struct Server {
    process: Child,
    /// Open, so that the process has somebody to speak to.
    _said: BufReader<ChildStdout>,
    pub(crate) client: Caller,
}

impl Server {
    /// Ends the process as a power cut does, without a chance to tidy up.
    pub(crate) async fn kill(mut self) {
        self.process.kill().await.unwrap();
    }

    pub(crate) async fn send(&self, request: &str, content: (&str, &str)) -> Reply {
        self.client.send(request, content).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.send(&format!("GET {path}"), ("application/json", "")).await.expect_success()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        self.send(&format!("POST {path}"), ("application/json", &body)).await.expect_success()
    }

    /// Every item of a list, page by page.
    pub(crate) async fn all(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("{path}?limit=200{cursor}")).await;
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }

    /// Asks until the answer is as wanted.
    pub(crate) async fn wait(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let asked = async {
            loop {
                let answer = self.get(path).await;
                if wanted(&answer) {
                    return answer;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, asked)
            .await
            .unwrap_or_else(|_elapsed| panic!("{path} does not change"))
    }
}

/// Sends requests to a server's address, each over a connection of its own.
#[derive(Clone)]
pub(crate) struct Caller {
    address: String,
    token: String,
}

impl Caller {
    /// The whole answer, or why there is none: the server may be gone.
    pub(crate) async fn send(&self, request: &str, (kind, body): (&str, &str)) -> std::io::Result<Reply> {
        let mut stream = TcpStream::connect(&self.address).await?;
        let Self { address, token } = self;
        let length = body.len();
        let head = format!(
            "{request} HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await??;
        let cut = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(cut)?;
        let header = |line: &str| {
            line.to_lowercase().strip_prefix("content-length:").map(|value| value.trim().to_owned())
        };
        if head.lines().find_map(header).is_some_and(|length| length != body.len().to_string()) {
            return Err(cut());
        }
        let status = head.split(' ').nth(1).ok_or_else(cut)?.to_owned();
        Ok(Reply { request: request.to_owned(), status, body: body.to_owned() })
    }
}

/// What a server has answered.
pub(crate) struct Reply {
    request: String,
    status: String,
    body: String,
}

impl Reply {
    pub(crate) fn is_success(&self) -> bool {
        self.status.starts_with('2')
    }

    /// The body of a success.
    #[track_caller]
    pub(crate) fn expect_success(self) -> Value {
        let Self { request, status, body } = &self;
        assert!(self.is_success(), "{request} was answered {status} {body}");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{request}: {error}: {body}"))
    }
}
