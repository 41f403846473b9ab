//! Listening: answers requests until told to stop, then lets those that run finish.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Every request that had begun was answered.
    Cleanly,
    /// Some still ran when the grace time was over.
    CutOff,
}

/// Answers requests on `listener` until `stop`; those that run then may go on for `grace`.
///
/// # Errors
/// Those of the listener.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
    grace: Duration,
) -> io::Result<Stopped> {
    let listener = listener.tap_io(|stream| {
        // Answers are written whole: waiting for more to send would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
    });
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let serving =
        axum::serve(listener, service).with_graceful_shutdown(stop.clone().cancelled_owned()).into_future();
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return ended.map(|()| Stopped::Cleanly),
        () = stop.cancelled() => {}
    }
    match tokio::time::timeout(grace, serving).await {
        Ok(ended) => ended.map(|()| Stopped::Cleanly),
        Err(_elapsed) => Ok(Stopped::CutOff),
    }
}
