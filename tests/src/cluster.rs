//! Throwaway PostgreSQL clusters: owns their processes and folders.
//!
//! A shell script keeps each cluster and obeys lines on its standard input. When the
//! test process ends, however it ends, that input closes, and the script stops the
//! cluster and removes its folder.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};

/// Keeps a cluster: `$1` is the folder of PostgreSQL's programs, `$2` the cluster's settings.
const KEEPER: &str = r#"
trap '' INT TERM HUP
set -e
bin=$1
# What a killed keeper has left behind, once nobody can be using it any more.
find "${TMPDIR:-/tmp}" -maxdepth 1 -name 'hospes-pg.*' -user "$(id -un)" -mmin +600 -exec rm -rf {} + 2>/dev/null || true
folder=$(mktemp -d "${TMPDIR:-/tmp}/hospes-pg.XXXXXX")
start() { "$bin/pg_ctl" -D "$folder/data" -l "$folder/log" -w -t 60 -s start </dev/null >/dev/null 2>&1; }
stop() { "$bin/pg_ctl" -D "$folder/data" -m "$1" -w -s stop </dev/null >/dev/null 2>&1; }
"$bin/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$folder/log" 2>&1 || {
    cat "$folder/log" >&2
    rm -rf "$folder"
    exit 1
}
printf '%s\n' "unix_socket_directories = '$folder'" "$2" >>"$folder/data/postgresql.conf"
start || { cat "$folder/log" >&2; rm -rf "$folder"; exit 1; }
echo "$folder"
set +e
while read -r order; do
    case $order in
        crash) stop immediate ;;
        stop) stop fast ;;
        start) start ;;
    esac
    echo $?
done
stop immediate
rm -rf "$folder"
"#;

/// Small, and with nothing that a test does not need. Every connection of every test
/// comes over the socket.
const SETTINGS: &str = "
listen_addresses = ''
max_connections = 100
shared_buffers = 32MB
max_wal_size = 256MB
wal_level = minimal
max_wal_senders = 0
max_worker_processes = 2
jit = off
";

/// Faster, for data that nobody will miss; the host is told to accept it.
const UNSAFE_DURABILITY: &str = "
fsync = off
full_page_writes = off
";

/// A running cluster.
pub struct Cluster {
    keeper: Mutex<Keeper>,
    folder: String,
}

struct Keeper {
    child: Child,
    answers: BufReader<ChildStdout>,
}

/// The URLs of one database.
#[derive(Clone, Debug)]
pub struct PostgresUrls {
    /// The role that owns the tables.
    pub owner: String,
    /// The server's role.
    pub server: String,
}

impl Cluster {
    /// The cluster that this process's tests share, started at its first use; `None` if
    /// PostgreSQL is not installed.
    ///
    /// # Panics
    /// If it cannot be started, or is not installed in CI.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(false)).as_ref()
    }

    /// A cluster of one test's own, which it may stop and crash, with fsync on.
    ///
    /// # Panics
    /// As for [`Cluster::shared`].
    pub fn own() -> Option<Self> {
        Self::start(true)
    }

    fn start(durable: bool) -> Option<Self> {
        let Some(programs) = find_programs() else {
            assert!(
                std::env::var_os("CI").is_none(),
                "PostgreSQL's `initdb` was not found; CI must have it: apt-get install postgresql"
            );
            eprintln!("PostgreSQL's `initdb` was not found: the tests on PostgreSQL are skipped");
            return None;
        };
        let settings = if durable { SETTINGS.to_owned() } else { format!("{SETTINGS}{UNSAFE_DURABILITY}") };
        let mut child = keeper_command()
            .args(["sh", "-c", KEEPER, "keeper"])
            .arg(programs)
            .arg(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Out of the terminal's group, so that Ctrl-C leaves the keeper to clean up.
            .process_group(0)
            .current_dir("/")
            .spawn()
            .expect("a shell starts");
        let mut answers = BufReader::new(child.stdout.take().expect("its output is piped"));
        let mut folder = String::new();
        answers.read_line(&mut folder).expect("the keeper's output is text");
        let folder = folder.trim().to_owned();
        assert!(!folder.is_empty(), "PostgreSQL did not start; what it says stands above");
        Some(Self { keeper: Mutex::new(Keeper { child, answers }), folder })
    }

    /// A URL of `database` for `role`.
    #[must_use]
    pub fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@localhost/{database}?host={}", self.folder)
    }

    /// Stops the cluster without warning, as a crash would.
    pub fn crash(&self) {
        self.order("crash");
    }

    /// Stops the cluster; open transactions are rolled back.
    pub fn stop(&self) {
        self.order("stop");
    }

    /// Starts the cluster again.
    pub fn restart(&self) {
        self.order("start");
    }

    fn order(&self, order: &str) {
        let mut keeper = self.keeper.lock().expect("no test panics while it holds the keeper");
        let mut orders = keeper.child.stdin.take().expect("its input is piped");
        writeln!(orders, "{order}").expect("the keeper listens");
        keeper.child.stdin = Some(orders);
        let mut answer = String::new();
        keeper.answers.read_line(&mut answer).expect("the keeper answers");
        assert_eq!(answer.trim(), "0", "the cluster did not {order}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut keeper = match self.keeper.lock() {
            Ok(keeper) => keeper,
            Err(poisoned) => poisoned.into_inner(),
        };
        drop(keeper.child.stdin.take());
        if let Err(error) = keeper.child.wait() {
            eprintln!("the keeper of a cluster did not end: {error}");
        }
    }
}

/// PostgreSQL refuses to run as root: then the keeper runs as its own user.
fn keeper_command() -> Command {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !is_root {
        return Command::new("env");
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "env", "-u", "TMPDIR"]);
    command
}

/// The folder of `initdb` and its kin.
fn find_programs() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&on_path).collect::<Vec<_>>();
    let mut installed: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .collect();
    installed.sort();
    // A link on the path may stand alone: the folder must have both programs.
    let folders = on_path.into_iter().chain(installed.into_iter().rev());
    folders.into_iter().find(|folder| folder.join("initdb").is_file() && folder.join("pg_ctl").is_file())
}
