//! A man in the middle of a PostgreSQL connection: counts round trips and cuts answers.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use crate::cluster::PostgresUrls;

/// The name of PostgreSQL's socket in its folder.
const SOCKET: &str = ".s.PGSQL.5432";

/// Stands between a server and its cluster; ends with the test's runtime.
pub struct Proxy {
    url: String,
    state: Arc<State>,
    _folder: TempDir,
}

#[derive(Default)]
struct State {
    round_trips: AtomicU32,
    plan: Mutex<Option<Plan>>,
    cuts: AtomicU32,
}

/// Which connection is cut, and where; once.
#[derive(Clone, Copy)]
struct Plan {
    /// What must have been in a request of the connection before.
    after: Option<&'static str>,
    /// What is in the request at which it is cut.
    at: &'static str,
    /// Whether that request still reaches the server.
    reaches: bool,
}

impl Proxy {
    /// A proxy to the database of `urls`.
    ///
    /// # Panics
    /// If it cannot listen.
    pub async fn start(urls: &PostgresUrls) -> Self {
        let folder = tempfile::tempdir().expect("there is room for temporary files");
        let listener = UnixListener::bind(folder.path().join(SOCKET)).expect("a socket can be made");
        let (address, target) = urls.server.split_once("?host=").expect("our URLs name the socket's folder");
        let target = PathBuf::from(target).join(SOCKET);
        let url = format!("{address}?host={}", folder.path().display());
        let state = Arc::new(State::default());
        let accepting = Arc::clone(&state);
        #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
        tokio::spawn(async move {
            while let Ok((client, _address)) = listener.accept().await {
                let server = UnixStream::connect(&target).await.expect("the cluster listens");
                #[expect(clippy::disallowed_methods, reason = "ends with the connection")]
                tokio::spawn(relay(client, server, Arc::clone(&accepting)));
            }
        });
        Self { url, state, _folder: folder }
    }

    /// The server's URL through the proxy.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How often the client has waited for an answer so far.
    #[must_use]
    pub fn round_trips(&self) -> u32 {
        self.state.round_trips.load(Ordering::SeqCst)
    }

    /// Lets the next request with `text` through, and cuts the connection in place of its answer.
    ///
    /// # Panics
    /// If a task of the proxy has.
    pub fn cut_answer_to(&self, text: &'static str) {
        self.plan(Plan { after: None, at: text, reaches: true });
    }

    /// Cuts the connection whose transaction has a statement with `text` just after its
    /// commit has reached the server.
    ///
    /// # Panics
    /// If a task of the proxy has.
    pub fn cut_after_commit_of(&self, text: &'static str) {
        self.plan(Plan { after: Some(text), at: "COMMIT", reaches: true });
    }

    /// As [`Proxy::cut_after_commit_of`], just before it reaches the server.
    ///
    /// # Panics
    /// If a task of the proxy has.
    pub fn cut_before_commit_of(&self, text: &'static str) {
        self.plan(Plan { after: Some(text), at: "COMMIT", reaches: false });
    }

    fn plan(&self, plan: Plan) {
        *self.state.plan.lock().expect("no task panics while it holds this") = Some(plan);
    }

    /// How many answers were cut.
    #[must_use]
    pub fn times_cut(&self) -> u32 {
        self.state.cuts.load(Ordering::SeqCst)
    }
}

async fn relay(client: UnixStream, server: UnixStream, state: Arc<State>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (cut, asked) = (AtomicBool::new(false), AtomicBool::new(false));
    let requests = async {
        let mut buffer = vec![0; 64 * 1024];
        let mut is_marked = false;
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            let request = &buffer[..length];
            asked.store(true, Ordering::SeqCst);
            if let Some(plan) = state.cut_by(request, &mut is_marked) {
                if !plan.reaches {
                    return;
                }
                cut.store(true, Ordering::SeqCst);
            }
            if to_server.write_all(request).await.is_err() {
                return;
            }
        }
    };
    let answers = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            if cut.load(Ordering::SeqCst) {
                return;
            }
            // The first part of an answer ends the client's wait.
            if asked.swap(false, Ordering::SeqCst) {
                state.round_trips.fetch_add(1, Ordering::SeqCst);
            }
            if to_client.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    // Whichever end closes first, both sockets close with this task.
    tokio::select! {
        () = requests => {}
        () = answers => {}
    }
}

impl State {
    /// The plan by which this request of a connection is the last, if it is.
    fn cut_by(&self, request: &[u8], is_marked: &mut bool) -> Option<Plan> {
        let has = |text: &str| request.windows(text.len()).any(|window| window == text.as_bytes());
        let mut planned = self.plan.lock().expect("no task panics while it holds this");
        let plan = (*planned)?;
        *is_marked |= plan.after.is_none_or(has);
        if !*is_marked || !has(plan.at) {
            return None;
        }
        *planned = None;
        self.cuts.fetch_add(1, Ordering::SeqCst);
        Some(plan)
    }
}
