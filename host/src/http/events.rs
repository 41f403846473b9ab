//! The change feed, live and page by page, and what could not be delivered.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{self, Sse};
use futures::Stream;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::SignedIn;
use super::live::{self, Live, Teller};
use super::{HttpState, Page, PageQuery, Path, Result, ValidJson, ValidQuery};
use crate::domain::actor::Actor;
use crate::domain::ids::EventId;
use crate::ops::dead_letters::{self, DeadLetter, LaneStatus, Replayed};
use crate::ops::feed::{self, CloudEvent, FEED_PAGE_MAX, FeedPage, FeedRequest, Listener};

/// How often a stream looks for events that another server has written.
const LOOK: Duration = Duration::from_secs(1);

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(list_lanes))
        .routes(routes!(list_dead_letters))
        .routes(routes!(replay_all))
        .routes(routes!(replay))
        .routes(routes!(discard))
        .routes(routes!(show))
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
/// Each `id` is a cursor, so that a browser that comes back with `Last-Event-ID` misses nothing.
/// A stream ends after a quarter of an hour, and within seconds of the loss of the right to it.
#[utoipa::path(get, path = "/events/stream", operation_id = "follow_events", tag = "events", params(StreamQuery),
    responses((status = 200, body = String, content_type = "text/event-stream")))]
async fn follow(
    State(state): State<HttpState>,
    signed_in: SignedIn,
    headers: HeaderMap,
    ValidQuery(query): ValidQuery<StreamQuery>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>> {
    let StreamQuery { after, types } = query;
    let live = Live::begin(state, signed_in)?;
    let core = &live.state.core;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let after = match last.or(after) {
        Some(after) => after,
        None => feed::end(core, &live.actor).await?,
    };
    let listener = feed::listen(core, &live.actor)?;
    let request = FeedRequest { after: Some(after), limit: FEED_PAGE_MAX, types: names(types.as_deref()) };
    // Refusals are answered before the stream begins.
    let first = feed::page(core, &live.actor, &request).await?;
    Ok(live::answer(Follower::new(live, request, listener, first)))
}

/// Tells one client what happens.
struct Follower {
    live: Live,
    request: FeedRequest,
    listener: Listener,
    /// What was read and is not told yet; a page at most.
    waiting: VecDeque<sse::Event>,
    has_more: bool,
}

impl Follower {
    fn new(live: Live, request: FeedRequest, listener: Listener, first: FeedPage) -> Self {
        let mut follower = Self { live, request, listener, waiting: VecDeque::new(), has_more: false };
        follower.take(first);
        follower
    }

    fn take(&mut self, page: FeedPage) {
        let FeedPage { items, next_cursor, has_more, cursors } = page;
        self.request.after = Some(next_cursor);
        self.has_more = has_more;
        self.waiting = items
            .iter()
            .zip(cursors)
            .map(|(event, cursor)| {
                let data = serde_json::to_string(event).expect("an event is plain data");
                sse::Event::default().event(&event.name).id(cursor).data(data)
            })
            .collect();
    }
}

impl Teller for Follower {
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            let goes_on = if self.has_more {
                self.live.goes_on().await
            } else {
                self.live.wait(self.listener.rung(), LOOK).await
            };
            if !goes_on {
                return None;
            }
            match feed::page(&self.live.state.core, &self.live.actor, &self.request).await {
                Ok(page) => self.take(page),
                Err(error) => {
                    tracing::warn!(?error, "a stream of events ends because the feed cannot be read");
                    return None;
                }
            }
        }
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
    tag = "events", params(("consumer" = String, Path, description = "Such as `plugin:retail-membership`"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes the request take effect once.")),
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
        ("event" = String, Path, description = "The event's id"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes the request take effect once.")),
    responses((status = 200, body = Replayed)))]
async fn replay(
    State(state): State<HttpState>,
    actor: Actor,
    Path((consumer, event)): Path<(String, EventId)>,
) -> Result<Json<Replayed>> {
    Ok(Json(dead_letters::replay(&state.core, &actor, &consumer, event).await?))
}

/// One event, as long as it is kept: what a webhook that was told of a large one can read.
#[utoipa::path(get, path = "/events/{id}", operation_id = "get_event", tag = "events",
    params(("id" = String, Path)),
    responses((status = 200, body = CloudEvent)))]
async fn show(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<EventId>,
) -> Result<Json<CloudEvent>> {
    Ok(Json(feed::find(&state.core, &actor, &id).await?))
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
        ("event" = String, Path, description = "The event's id"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes the request take effect once.")),
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
