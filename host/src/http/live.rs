//! Server-sent events: what every stream owes, whatever it tells.
//!
//! A stream is a part of its answer and no task of its own: it ends with its client, with its
//! time, with the server, and with the right to it. A client that reads too slowly is ended
//! by its connection.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, stream};
use tokio::time::Instant;

use super::auth::SignedIn;
use super::{HttpState, Result};
use crate::domain::actor::Actor;
use crate::domain::code::Reason;
use crate::error::Error;
use crate::ops::access::{self, Authenticated};

/// Streams of one token or person at most, on one server.
const STREAMS_OF_PRINCIPAL_MAX: usize = 8;
/// How long a stream lasts; the client comes back with a fresh proof of who it is.
const STREAM_TIME_MAX: Duration = Duration::from_secs(15 * 60);
/// How often a quiet stream shows that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// When a client that has too many streams may try again.
const RETRY_AFTER_S: u32 = 60;

/// The streams of a server by whose they are.
#[derive(Debug, Default)]
pub(super) struct Streams(Mutex<HashMap<String, usize>>);

impl Streams {
    fn take_place(self: &Arc<Self>, actor: &Actor) -> Result<Place, Error> {
        let whose = format!("{}:{}", actor.tenant, actor.principal.id());
        let mut open = self.0.lock().expect("no code panics while it holds this lock");
        let count = open.entry(whose.clone()).or_default();
        if *count >= STREAMS_OF_PRINCIPAL_MAX {
            return Err(Error::Limit {
                code: Reason::TooManyStreams { max: STREAMS_OF_PRINCIPAL_MAX.to_string() },
                message: format!("at most {STREAMS_OF_PRINCIPAL_MAX} streams may be open at a time"),
                retry_after_s: RETRY_AFTER_S,
            });
        }
        *count += 1;
        Ok(Place { streams: Arc::clone(self), whose })
    }
}

/// One stream's place among those of its owner.
#[derive(Debug)]
struct Place {
    streams: Arc<Streams>,
    whose: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.0.lock().expect("no code panics while it holds this lock");
        if let Entry::Occupied(mut count) = open.entry(std::mem::take(&mut self.whose)) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// A stream's right to go on.
pub(super) struct Live {
    pub(super) state: HttpState,
    /// Whose stream it is, with the rights of now.
    pub(super) actor: Actor,
    authenticated: Arc<Authenticated>,
    ends_at: Instant,
    _place: Place,
}

impl Live {
    /// Begins a stream.
    ///
    /// # Errors
    /// [`Error::Limit`] for one that has too many.
    pub(super) fn begin(state: HttpState, signed_in: SignedIn) -> Result<Self> {
        let SignedIn { actor, authenticated } = signed_in;
        let place = state.streams.take_place(&actor)?;
        let ends_at = Instant::now() + STREAM_TIME_MAX;
        Ok(Self { state, actor, authenticated, ends_at, _place: place })
    }

    /// Waits for `woken`, but no longer than `at_most`; false if the stream must end.
    pub(super) async fn wait(&mut self, woken: impl Future<Output = ()>, at_most: Duration) -> bool {
        let until = self.ends_at.min(Instant::now() + at_most);
        tokio::select! {
            () = self.state.shutdown.cancelled() => {}
            () = tokio::time::sleep_until(until) => {}
            () = woken => {}
        }
        self.goes_on().await
    }

    /// Whether the stream may go on: its time is not over, and its owner's credential is
    /// still good. The owner's rights are those of now from here on.
    pub(super) async fn goes_on(&mut self) -> bool {
        if self.state.shutdown.is_cancelled() || Instant::now() >= self.ends_at {
            return false;
        }
        match access::again(&self.state.core, &self.authenticated).await {
            Ok(authenticated) => {
                let Actor { locale, request_id, .. } = &self.actor;
                let (locale, request_id) = (*locale, request_id.clone());
                self.actor = Actor { locale, request_id, ..authenticated.actor.clone() };
                self.authenticated = authenticated;
                true
            }
            Err(error) => {
                tracing::info!(%error, "a stream ends with the right to it");
                false
            }
        }
    }
}

/// What a stream tells.
pub(super) trait Teller: Send + 'static {
    /// The next thing; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Option<Event>> + Send;
}

/// The answer that tells what `teller` has to tell.
pub(super) fn answer<T: Teller>(
    teller: T,
) -> Sse<impl Stream<Item = Result<Event, Infallible>> + Send + 'static> {
    let events = stream::unfold(teller, |mut teller| async move {
        let event = teller.next().await?;
        Some((Ok(event), teller))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}
