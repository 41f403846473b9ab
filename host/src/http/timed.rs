//! A stream that does not wait for its peer without end.
//!
//! The server's own clock for heads begins only once the version of HTTP is known, which is
//! read from the first bytes; and nothing else watches over a peer that does not read.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// What HTTP/2 begins with; anything else is HTTP/1.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream whose first bytes and whose writes have their time.
pub(super) struct Timed<S> {
    stream: S,
    beginning: Option<Beginning>,
    write_stall_max: Duration,
    /// Runs while a write waits for the peer.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// The first bytes, until it is clear which version of HTTP they speak.
struct Beginning {
    /// Bytes of the preface so far.
    read: usize,
    deadline: Pin<Box<Sleep>>,
}

impl<S> Timed<S> {
    pub(super) fn new(stream: S, beginning_max: Duration, write_stall_max: Duration) -> Self {
        let deadline = Box::pin(sleep(beginning_max));
        Self { stream, beginning: Some(Beginning { read: 0, deadline }), write_stall_max, stalled: None }
    }

    fn note_beginning(&mut self, bytes: &[u8]) {
        let Some(beginning) = &mut self.beginning else { return };
        let rest = &PREFACE[beginning.read..];
        let count = bytes.len().min(rest.len());
        beginning.read += count;
        let is_known = bytes[..count] != rest[..count] || beginning.read == PREFACE.len();
        if is_known || bytes.is_empty() {
            self.beginning = None;
        }
    }

    /// Fails a write that has waited too long.
    fn watch_write<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let until = Instant::now() + self.write_stall_max;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep_until(until)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(beginning) = &mut self.beginning
            && beginning.deadline.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not begin")));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.note_beginning(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch_write(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.watch_write(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.watch_write(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    const LATE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_peer_that_keeps_its_version_to_itself_is_cut() {
        for unclear in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\n"] {
            let (mut peer, ours) = duplex(64);
            let mut timed = Timed::new(ours, SOON, LATE);
            peer.write_all(unclear).await.unwrap();
            let error = timed.read_to_end(&mut Vec::new()).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{unclear:?}");
        }
    }

    #[tokio::test]
    async fn a_peer_that_tells_its_version_has_its_time_from_others() {
        for clear in [&b"G"[..], b"PO", PREFACE] {
            let (mut peer, ours) = duplex(64);
            let mut timed = Timed::new(ours, LATE, LATE);
            peer.write_all(clear).await.unwrap();
            timed.read_exact(&mut vec![0; clear.len()]).await.unwrap();
            assert!(timed.beginning.is_none(), "{clear:?}");
        }
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_cut() {
        let (_peer, ours) = duplex(4);
        let mut timed = Timed::new(ours, LATE, SOON);
        let error = timed.write_all(b"more than the peer takes").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_that_reads_after_all_is_not_cut() {
        let (mut peer, ours) = duplex(4);
        let mut timed = Timed::new(ours, LATE, LATE);
        let mut taken = [0; 24];
        let (wrote, read) =
            tokio::join!(timed.write_all(b"more than the peer takes"), peer.read_exact(&mut taken));
        assert!(wrote.is_ok() && read.is_ok());
        assert!(timed.stalled.is_none());
    }
}
