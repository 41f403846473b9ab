//! Somebody else's server on loopback: counts connections, keeps requests, and misbehaves as told.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A free port of loopback.
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Bytes of a request's head that a test sends at most.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// A request as it has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The first line, such as `POST /x HTTP/1.1`.
    pub line: String,
    /// Headers in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Received {
    /// A header's value; empty if it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the request's body is JSON")
    }
}

/// What the server does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Answers with this status and body.
    Answer(u16, &'static str),
    /// Sends these bytes and closes.
    Raw(Vec<u8>),
    /// Sends these bytes and then this piece again and again, until the other side gives up.
    Endless(Vec<u8>, Vec<u8>),
    /// Sends these bytes, then one more byte now and then.
    Drip(Vec<u8>),
    /// Sends these bytes and resets the connection.
    Reset(Vec<u8>),
    /// Keeps the connection and never answers.
    Silence,
    /// Answers with this status when the test allows it with [`Receiver::release`].
    Held(u16),
}

type Script = Arc<dyn Fn(&Received) -> Reply + Send + Sync>;

/// A server on loopback; stops with this value.
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    connections: AtomicUsize,
    received: Mutex<Vec<Received>>,
    news: Notify,
    released: Notify,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// Answers every request as `script` says.
    pub async fn start(script: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(ANYWHERE, Arc::new(script), None).await
    }

    /// As above, behind TLS.
    pub async fn start_tls(
        acceptor: TlsAcceptor,
        script: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_tls_at(ANYWHERE, acceptor, script).await
    }

    /// As above, where the test says.
    pub async fn start_tls_at(
        address: SocketAddr,
        acceptor: TlsAcceptor,
        script: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::listen(address, Arc::new(script), Some(acceptor)).await
    }

    async fn listen(address: SocketAddr, script: Script, acceptor: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(address).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _peer)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let (state, script, acceptor) = (Arc::clone(&shared), Arc::clone(&script), acceptor.clone());
                connections.spawn(async move {
                    // So that dropping a connection resets it.
                    stream.set_zero_linger().expect("sockets have a linger time");
                    match acceptor {
                        None => serve(stream, &state, &script).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, &state, &script).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, state, task }
    }

    /// Its address as a URL.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many connections it has accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// What has arrived so far.
    ///
    /// # Panics
    /// Never: nobody panics while holding the list.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.state.received.lock().expect("nobody panics with the list").clone()
    }

    /// Waits until `count` requests have arrived.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        loop {
            let news = self.state.news.notified();
            let received = self.received();
            if received.len() >= count {
                return received;
            }
            news.await;
        }
    }

    /// Lets one held request be answered.
    pub fn release(&self) {
        self.state.released.notify_one();
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: &State, script: &Script) {
    let Some(received) = read(&mut stream).await else { return };
    let reply = script(&received);
    state.received.lock().expect("nobody panics with the list").push(received);
    state.news.notify_waiters();
    // The other side may be gone at any time, which ends the connection and nothing else.
    drop(answer(&mut stream, state, reply).await);
}

async fn answer(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    state: &State,
    reply: Reply,
) -> std::io::Result<()> {
    match reply {
        Reply::Answer(status, body) => stream.write_all(&head_and(status, body)).await?,
        Reply::Raw(bytes) => stream.write_all(&bytes).await?,
        Reply::Endless(begin, piece) => {
            stream.write_all(&begin).await?;
            loop {
                stream.write_all(&piece).await?;
            }
        }
        Reply::Drip(begin) => {
            stream.write_all(&begin).await?;
            loop {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                stream.write_all(b"x").await?;
                stream.flush().await?;
            }
        }
        Reply::Reset(begin) => {
            stream.write_all(&begin).await?;
            stream.flush().await?;
            // Without a linger time, dropping resets; otherwise the end is orderly.
            return Ok(());
        }
        Reply::Silence => std::future::pending::<()>().await,
        Reply::Held(status) => {
            state.released.notified().await;
            stream.write_all(&head_and(status, "")).await?;
        }
    }
    stream.shutdown().await?;
    // Until the other side has read it: with no linger time, closing now could discard it.
    let mut rest = [0; 64];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

fn head_and(status: u16, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Told\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Received> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if bytes.len() > HEAD_BYTES_MAX || stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes.get(..end)?.to_vec()).ok()?;
    let mut lines = head.split("\r\n");
    let line = lines.next()?.to_owned();
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Received { line, headers, body })
}
