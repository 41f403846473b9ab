//! Listening: answers requests until told to stop, then lets those that run finish.
//!
//! Every connection has its place and its time: who sends a head slowly, or does not read
//! the answer, loses the connection; who comes when all places are taken waits.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::timed::Timed;

/// How long to wait after an address could not be accepted: no more files may be open.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// How long a client may leave what is sent to it unread.
const WRITE_STALL_MAX: Duration = Duration::from_secs(60);
/// How often a quiet connection of HTTP/2 is asked whether it lives, and how long it may be silent then.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Requests at once on one connection of HTTP/2.
const STREAMS_MAX: u32 = 64;
/// Bytes of a request's head at most.
const HEAD_BYTES_MAX: u32 = 64 * 1024;

/// The bounds of a listener's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// Open at once; more wait until one ends.
    pub max: usize,
    /// How long the head of a request may take, and a connection be idle between requests.
    pub head_time_max: Duration,
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Every request that had begun was answered.
    Cleanly,
    /// Some still ran when the grace time was over.
    CutOff,
}

/// Answers requests on `listener` until `stop`; those that run then may go on for `grace`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    connections: Connections,
    stop: CancellationToken,
    grace: Duration,
) -> Stopped {
    let places = Arc::new(Semaphore::new(connections.max));
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            (stream, address, place) = accept(&listener, &places) => {
                let client = Client { stream, address, _place: place };
                running.spawn(client.answer(router.clone(), connections.head_time_max, stop.clone()));
            }
            Some(_ended) = running.join_next() => {}
        }
    }
    drop(listener);
    let all_ended = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, all_ended).await.is_ok() {
        return Stopped::Cleanly;
    }
    running.shutdown().await;
    Stopped::CutOff
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let place = Arc::clone(places).acquire_owned().await.expect("the places are never closed");
    loop {
        match listener.accept().await {
            Ok((stream, address)) => return (stream, address, place),
            Err(error) => {
                tracing::error!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection.
struct Client {
    stream: TcpStream,
    address: SocketAddr,
    _place: OwnedSemaphorePermit,
}

impl Client {
    async fn answer(self, router: Router, head_time_max: Duration, stop: CancellationToken) {
        let Self { stream, address, _place } = self;
        // Answers are written whole: waiting for more to send would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
        let stream = TokioIo::new(Timed::new(stream, head_time_max, WRITE_STALL_MAX));
        let service = service_fn(move |request| respond(router.clone(), address, request));
        let builder = builder(head_time_max);
        let mut connection = std::pin::pin!(builder.serve_connection(stream, service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, %address, "a connection broke off");
        }
    }
}

fn builder(head_time_max: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(head_time_max)
        .max_buf_size(usize::try_from(HEAD_BYTES_MAX).unwrap_or(usize::MAX));
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX);
    builder
}

async fn respond(
    router: Router,
    address: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(address));
    router.oneshot(request).await
}
