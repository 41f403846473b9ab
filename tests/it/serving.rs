//! Connections: their places, their time, and their end.

use std::net::SocketAddr;
use std::time::Duration;

use hospes::http::{Connections, Stopped, serve};
use hospes_tests::{Engine, Harness as _, TestApp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes, shorter than anybody waits for a test.
const WAIT: Duration = Duration::from_secs(20);
/// A time that a test waits for.
const SOON: Duration = Duration::from_millis(200);

/// A server on a socket.
struct Server {
    app: TestApp,
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<Stopped>,
}

impl Server {
    async fn start(max: usize, head_time_max: Duration, grace: Duration) -> Self {
        let app = TestApp::start(Engine::Sqlite).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = app.app.shutdown_token();
        let connections = Connections { max, head_time_max };
        let serving = tokio::spawn(serve(listener, app.router(), connections, stop.clone(), grace));
        Self { app, address, stop, serving }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A connection on which `sent` was said.
    async fn say(&self, sent: &str) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        stream
    }
}

/// Everything that comes until the server closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // One that is cut may be reset.
    drop(tokio::time::timeout(WAIT, stream.read_to_end(&mut bytes)).await.expect("it is never closed"));
    String::from_utf8(bytes).unwrap()
}

/// The answer's beginning.
async fn answer(stream: &mut TcpStream) -> String {
    let mut buffer = vec![0; 4_096];
    let count = tokio::time::timeout(WAIT, stream.read(&mut buffer)).await.expect("no answer").unwrap();
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

const ALIVE: &str = "GET /healthz HTTP/1.1\r\nhost: hospes.test\r\n\r\n";

#[tokio::test]
async fn a_client_that_sends_its_head_slowly_is_cut() {
    let server = Server::start(100, SOON, WAIT).await;
    for beginning in ["", "P", "PRI * HTTP/2.0\r\n", "GET /healthz HTTP/1.1\r\nhost: hospes.test\r\n"] {
        let mut stream = server.say(beginning).await;
        assert!(!rest(&mut stream).await.contains("200 OK"), "{beginning:?}");
    }
    // One that goes on with a byte now and then, too.
    let mut stream = server.say("GET /healthz HTTP/1.1\r\nx-slow: ").await;
    let mut pace = tokio::time::interval(SOON / 10);
    let cut = async {
        loop {
            pace.tick().await;
            let mut byte = [0];
            match stream.try_read(&mut byte) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_reset) => return,
            }
            if stream.write_all(b"a").await.is_err() {
                return;
            }
        }
    };
    tokio::time::timeout(WAIT, cut).await.expect("the client may go on for ever");
    // And one that is quick is not.
    let mut quick = server.say(ALIVE).await;
    assert!(answer(&mut quick).await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn who_comes_when_all_places_are_taken_waits() {
    let server = Server::start(1, WAIT, WAIT).await;
    let mut first = server.say(ALIVE).await;
    assert!(answer(&mut first).await.contains("200 OK"));
    let mut second = server.say(ALIVE).await;
    let early = tokio::time::timeout(SOON, second.readable()).await;
    assert!(early.is_err(), "the second connection has no place yet");
    drop(first);
    assert!(answer(&mut second).await.contains("200 OK"));
}

#[tokio::test]
async fn a_stop_ends_streams_and_idle_connections_and_waits_for_the_rest() {
    let server = Server::start(100, WAIT, WAIT).await;
    let secret = server.app.acme.secret(&[hospes::domain::permission::Role::Owner], None).await;
    let request = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: hospes.test\r\nauthorization: Bearer {secret}\r\n\r\n")
    };
    let mut stream = server.say(&request("/api/v1/events/stream")).await;
    assert!(answer(&mut stream).await.contains("text/event-stream"));
    let mut idle = server.say(ALIVE).await;
    assert!(answer(&mut idle).await.contains("200 OK"));
    server.stop.cancel();
    rest(&mut stream).await;
    rest(&mut idle).await;
    let stopped = tokio::time::timeout(WAIT, server.serving).await.expect("the server does not stop");
    assert_eq!(stopped.unwrap(), Stopped::Cleanly);
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn what_does_not_end_within_the_grace_is_cut_off() {
    let server = Server::start(100, WAIT, SOON).await;
    // A body that never comes keeps its request.
    let head = "POST /api/v1/sessions HTTP/1.1\r\nhost: hospes.test\r\ncontent-type: application/json\r\n";
    let mut stream = server.say(&format!("{head}expect: 100-continue\r\ncontent-length: 9\r\n\r\n")).await;
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 100"), "the request has begun");
    server.stop.cancel();
    let stopped = tokio::time::timeout(WAIT, server.serving).await.expect("the server does not stop");
    assert_eq!(stopped.unwrap(), Stopped::CutOff);
    rest(&mut stream).await;
}

#[tokio::test]
async fn http_2_is_spoken_to_who_begins_with_it() {
    let server = Server::start(100, WAIT, WAIT).await;
    // The preface, and settings without any.
    let mut stream = server.say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0").await;
    let mut frame = [0; 9];
    tokio::time::timeout(WAIT, stream.read_exact(&mut frame)).await.expect("no answer").unwrap();
    assert_eq!(frame[3], 4, "the server begins with its settings");
}
