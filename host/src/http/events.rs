//! The change feed, live and page by page, and what could not be delivered.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{self, KeepAlive, Sse};
use futures::Stream;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{HttpState, Page, PageQuery, Path, Result, ValidJson, ValidQuery};
use crate::db::Listener;
use crate::domain::actor::Actor;
use crate::domain::code::Reason;
use crate::domain::ids::EventId;
use crate::error::Error;
use crate::ops::dead_letters::{self, DeadLetter, LaneStatus, Replayed};
use crate::ops::feed::{self, FEED_PAGE_MAX, FeedPage, FeedRequest};

/// Streams of one tenant at most, on one server.
const STREAMS_MAX: u32 = 20;
/// Events that wait for a slow client at most.
const STREAM_BUFFER: usize = 256;
/// How long a client may let them wait.
const SLOW_CLIENT: Duration = Duration::from_secs(30);
/// How often a quiet stream shows that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How often a stream looks for events that another server has written.
const LOOK: Duration = Duration::from_secs(1);
/// How long a stream lasts; the client comes back with a fresh proof of who it is.
const STREAM_TIME_MAX: Duration = Duration::from_secs(15 * 60);

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(list_lanes))
        .routes(routes!(list_dead_letters))
        .routes(routes!(replay_all))
        .routes(routes!(replay))
        .routes(routes!(discard))
}

/// The one route that does not end by itself.
pub(super) fn streaming_routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(follow))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct FeedQuery {
    /// The `next_cursor` of an earlier page; without it, from the oldest event that is kept.
    #[param(max_length = 200)]
    after: Option<String>,
    /// Events on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// Only these names of events, separated by commas.
    #[param(max_length = 500)]
    types: Option<String>,
}

fn names(types: Option<&str>) -> Vec<String> {
    let names = types.unwrap_or_default().split(',').map(str::trim);
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// What has happened, oldest first, in the form of CloudEvents 1.0.
///
/// Keep `next_cursor` and ask again with it: no event is skipped and none comes twice.
/// A cursor whose events are no longer kept is answered with 410.
#[utoipa::path(get, path = "/events", operation_id = "list_events", tag = "events", params(FeedQuery),
    responses((status = 200, body = FeedPage)))]
async fn list(
    State(state): State<HttpState>,
    actor: Actor,
    ValidQuery(query): ValidQuery<FeedQuery>,
) -> Result<Json<FeedPage>> {
    let FeedQuery { after, limit, types } = query;
    let request = FeedRequest { after, limit: limit.unwrap_or(50), types: names(types.as_deref()) };
    Ok(Json(feed::page(&state.core, &actor, &request).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct StreamQuery {
    /// A cursor to begin behind; without it and without `Last-Event-ID`, from now on.
    #[param(max_length = 200)]
    after: Option<String>,
    /// Only these names of events, separated by commas.
    #[param(max_length = 500)]
    types: Option<String>,
}

/// What happens, as it happens: server-sent events whose `data` are CloudEvents 1.0.
///
/// Each `id` is a cursor, so that a browser that comes back with `Last-Event-ID`
/// misses nothing. A stream ends after a quarter of an hour, and when the client is too slow.
#[utoipa::path(get, path = "/events/stream", operation_id = "follow_events", tag = "events", params(StreamQuery),
    responses((status = 200, body = String, content_type = "text/event-stream")))]
async fn follow(
    State(state): State<HttpState>,
    actor: Actor,
    headers: HeaderMap,
    ValidQuery(query): ValidQuery<StreamQuery>,
) -> Result<Sse<impl Stream<Item = std::result::Result<sse::Event, Infallible>>>> {
    let StreamQuery { after, types } = query;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let after = match last.or(after) {
        Some(after) => after,
        None => feed::end(&state.core, &actor).await?,
    };
    let listener =
        state.core.db.doorbell().listen(&actor.tenant, STREAMS_MAX).ok_or_else(|| Error::Limit {
            code: Reason::TooManyStreams { max: STREAMS_MAX.to_string() },
            message: format!("a tenant may follow its events with {STREAMS_MAX} streams at a time"),
            retry_after_s: 60,
        })?;
    let request = FeedRequest { after: Some(after), limit: FEED_PAGE_MAX, types: names(types.as_deref()) };
    // Refusals are answered before the stream begins.
    let first = feed::page(&state.core, &actor, &request).await?;
    let (sender, receiver) = mpsc::channel(STREAM_BUFFER);
    let follower = Follower { state, actor, request, listener, sender };
    #[expect(
        clippy::disallowed_methods,
        reason = "ends with its client, its time, or the server's shutdown"
    )]
    tokio::spawn(follower.run(first));
    Ok(Sse::new(ReceiverStream::new(receiver)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// Feeds one stream.
struct Follower {
    state: HttpState,
    actor: Actor,
    request: FeedRequest,
    listener: Listener,
    sender: mpsc::Sender<std::result::Result<sse::Event, Infallible>>,
}

impl Follower {
    async fn run(mut self, first: FeedPage) {
        let shutdown = self.state.shutdown.clone();
        let sender = self.sender.clone();
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(STREAM_TIME_MAX) => {}
            () = sender.closed() => {}
            () = self.send_all(first) => {}
        }
    }

    /// Returns when the client is too slow or the feed cannot be read.
    async fn send_all(&mut self, mut page: FeedPage) {
        loop {
            let has_more = page.has_more;
            self.request.after = Some(page.next_cursor.clone());
            if !self.send_page(page).await {
                return;
            }
            if !has_more {
                tokio::select! {
                    () = self.listener.rung() => {}
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
            page = match feed::page(&self.state.core, &self.actor, &self.request).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(?error, "a stream of events ends because the feed cannot be read");
                    return;
                }
            };
        }
    }

    async fn send_page(&self, page: FeedPage) -> bool {
        for (event, cursor) in page.items.iter().zip(page.cursors) {
            let data = serde_json::to_string(event).expect("an event is plain data");
            let event = sse::Event::default().event(&event.name).id(cursor).data(data);
            if !matches!(tokio::time::timeout(SLOW_CLIENT, self.sender.send(Ok(event))).await, Ok(Ok(()))) {
                tracing::info!("a stream of events ends because its client is too slow or gone");
                return false;
            }
        }
        true
    }
}

/// The consumers of events and how they are doing.
#[utoipa::path(get, path = "/events/lanes", operation_id = "list_event_lanes", tag = "events", params(PageQuery),
    responses((status = 200, body = Page<LaneStatus>)))]
async fn list_lanes(
    State(state): State<HttpState>,
    actor: Actor,
    ValidQuery(query): ValidQuery<PageQuery>,
) -> Result<Json<Page<LaneStatus>>> {
    Ok(Json(dead_letters::lanes(&state.core, &actor, &query.into()).await?))
}

/// What a consumer has failed on for the last time, oldest first.
#[utoipa::path(get, path = "/events/lanes/{consumer}/dead-letters", operation_id = "list_dead_letters",
    tag = "events", params(("consumer" = String, Path, description = "Such as `plugin:retail-membership`"), PageQuery),
    responses((status = 200, body = Page<DeadLetter>)))]
async fn list_dead_letters(
    State(state): State<HttpState>,
    actor: Actor,
    Path(consumer): Path<String>,
    ValidQuery(query): ValidQuery<PageQuery>,
) -> Result<Json<Page<DeadLetter>>> {
    Ok(Json(dead_letters::list(&state.core, &actor, &consumer, &query.into()).await?))
}

/// Tries the oldest dead letters of a consumer again, at most 1,000 with one request.
#[utoipa::path(post, path = "/events/lanes/{consumer}/dead-letters/replay", operation_id = "replay_dead_letters",
    tag = "events", params(("consumer" = String, Path, description = "Such as `plugin:retail-membership`")),
    responses((status = 200, body = Replayed)))]
async fn replay_all(
    State(state): State<HttpState>,
    actor: Actor,
    Path(consumer): Path<String>,
) -> Result<Json<Replayed>> {
    Ok(Json(dead_letters::replay_all(&state.core, &actor, &consumer).await?))
}

/// Tries one dead letter again.
#[utoipa::path(post, path = "/events/lanes/{consumer}/dead-letters/{event}/replay",
    operation_id = "replay_dead_letter", tag = "events",
    params(("consumer" = String, Path, description = "Such as `plugin:retail-membership`"),
        ("event" = String, Path, description = "The event's id")),
    responses((status = 200, body = Replayed)))]
async fn replay(
    State(state): State<HttpState>,
    actor: Actor,
    Path((consumer, event)): Path<(String, EventId)>,
) -> Result<Json<Replayed>> {
    Ok(Json(dead_letters::replay(&state.core, &actor, &consumer, event).await?))
}

/// Why a dead letter is dropped.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Discard {
    /// For the audit log.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

/// Drops a dead letter: the consumer will never handle that event.
#[utoipa::path(post, path = "/events/lanes/{consumer}/dead-letters/{event}/discard",
    operation_id = "discard_dead_letter", tag = "events", request_body = Discard,
    params(("consumer" = String, Path, description = "Such as `plugin:retail-membership`"),
        ("event" = String, Path, description = "The event's id")),
    responses((status = 204)))]
async fn discard(
    State(state): State<HttpState>,
    actor: Actor,
    Path((consumer, event)): Path<(String, EventId)>,
    ValidJson(body): ValidJson<Discard>,
) -> Result<StatusCode> {
    dead_letters::discard(&state.core, &actor, &consumer, event, &body.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}
