//! The change feed: what has happened in a tenant, in an order that never changes behind a reader.
//!
//! A cursor names a place in that order. Events appear behind it only: what is not
//! settled yet, because an older transaction is still under way, is held back.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::clock::Timestamp;
pub use crate::db::Listener;
use crate::db::feed::{self, FeedRow, Place};
use crate::domain::actor::{Actor, Visibility};
use crate::domain::code::{FaultCode, Reason, RecordKind};
use crate::domain::event::{NAMES, Subject};
use crate::domain::field::FieldEntity;
use crate::domain::ids::{EventId, TenantId};
use crate::domain::permission::Permission;
use crate::error::{Error, Result};
use crate::ops::fields::PluginFields;
use crate::ops::{Core, fields, require};

/// Streams that follow one tenant at most, on one server.
pub const LISTENERS_MAX: u32 = 20;
/// Events on a page at most.
pub const FEED_PAGE_MAX: u32 = 200;

/// An event in the form of CloudEvents 1.0.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct CloudEvent {
    /// Always `1.0`.
    pub specversion: &'static str,
    /// The event's id.
    pub id: String,
    /// The tenant, as `/tenants/<id>`.
    pub source: String,
    /// What has happened, such as `order.created`.
    #[serde(rename = "type")]
    pub name: String,
    /// What it is about, such as `customer/cus_…`; events of one subject are in order.
    pub subject: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// Always `application/json`.
    pub datacontenttype: &'static str,
    /// Who did it: `user`, `token`, `plugin`, `operator` or `server`.
    pub actorkind: String,
    /// Their id or name.
    pub actorid: String,
    /// The event that it is a reaction to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causationid: Option<String>,
    /// How many reactions it is away from its first cause.
    pub causationdepth: i64,
    /// The record after the change.
    #[schema(value_type = Object)]
    pub data: Value,
}

impl CloudEvent {
    /// An event that nothing has caused and that says nothing, for a test.
    pub(super) fn test(actor: &Actor, id: &EventId, name: &str, at: Timestamp) -> Self {
        Self {
            specversion: "1.0",
            id: id.to_string(),
            source: source(&actor.tenant),
            name: name.to_owned(),
            subject: Subject::Tenant.kind().to_owned(),
            time: at,
            datacontenttype: "application/json",
            actorkind: actor.principal.kind().to_owned(),
            actorid: actor.principal.id().to_owned(),
            causationid: None,
            causationdepth: 0,
            data: Value::Object(Map::new()),
        }
    }
}

/// A page of the feed.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct FeedPage {
    /// The events, oldest first.
    pub items: Vec<CloudEvent>,
    /// What to send as `after` for what comes behind this page, now or later.
    pub next_cursor: String,
    /// Whether there is more already.
    pub has_more: bool,
    /// The cursor behind each event, for streams.
    #[serde(skip)]
    pub cursors: Vec<String>,
}

/// Listens for what happens in the actor's tenant.
///
/// # Errors
/// `Forbidden`, and a limit if [`LISTENERS_MAX`] follow the tenant already.
pub fn listen(core: &Core, actor: &Actor) -> Result<Listener> {
    require(actor, Permission::EventRead)?;
    core.db.doorbell().listen(&actor.tenant, LISTENERS_MAX).ok_or_else(|| Error::Limit {
        code: Reason::TooManyStreams { max: LISTENERS_MAX.to_string() },
        message: format!("a tenant may follow its events with {LISTENERS_MAX} streams at a time"),
        retry_after_s: 60,
    })
}

/// Which events.
#[derive(Clone, Debug, Default)]
pub struct FeedRequest {
    /// The cursor of an earlier page; without it, from the oldest event that is kept.
    pub after: Option<String>,
    /// Events on the page, at most [`FEED_PAGE_MAX`].
    pub limit: u32,
    /// Only these names; all that the actor may read if there are none.
    pub types: Vec<String>,
}

/// Reads a page of the feed.
///
/// # Errors
/// `Forbidden` without the right to read every record that the wanted events show,
/// `Invalid` for a cursor or name that is none, and `Gone` for a cursor whose events
/// are no longer kept.
pub async fn page(core: &Core, actor: &Actor, request: &FeedRequest) -> Result<FeedPage> {
    require(actor, Permission::EventRead)?;
    let names = readable(actor, &request.types)?;
    let after = request.after.as_deref().map(decode).transpose()?;
    let mut reader = core.db.read(&actor.tenant).await?;
    let horizon = feed::horizon(&mut reader).await?;
    let purged = feed::purged(&mut reader, &actor.tenant).await?;
    let after = start(after, purged, horizon)?;
    let limit = request.limit.clamp(1, FEED_PAGE_MAX);
    let mut rows = feed::page(&mut reader, &actor.tenant, (&after, horizon), limit, Some(&names)).await?;
    fields::show(&mut reader, actor, rows.iter_mut().filter_map(plugin_fields).collect()).await?;
    let has_more = u32::try_from(rows.len()).is_ok_and(|count| count >= limit);
    // A page that is not full has seen everything below the horizon, whatever its names.
    let end = match rows.last() {
        Some(last) if has_more => place_of(last),
        _ => Place { position: horizon - 1, event: "~".to_owned() }.max(after),
    };
    let cursors = rows.iter().map(|row| encode(&place_of(row))).collect();
    let items = rows.into_iter().map(|row| cloud_event(&actor.tenant, row)).collect();
    Ok(FeedPage { items, next_cursor: encode(&end), has_more, cursors })
}

/// One event, as long as it is kept.
///
/// # Errors
/// `Forbidden` without the right to read every record that events of its name show, and
/// `NotFound`.
pub async fn find(core: &Core, actor: &Actor, id: &EventId) -> Result<CloudEvent> {
    require(actor, Permission::EventRead)?;
    let event = of_event(core, actor, id).await?;
    readable(actor, std::slice::from_ref(&event.name))?;
    Ok(event)
}

/// One event with the plugins' fields that `reader` may read, for use cases that have checked
/// whether it is for them.
///
/// # Errors
/// `NotFound`, and those of the database.
pub(super) async fn of_event(core: &Core, reader: &Actor, id: &EventId) -> Result<CloudEvent> {
    let mut tx = core.db.read(&reader.tenant).await?;
    let row = feed::find(&mut tx, &reader.tenant, id).await?;
    let mut row = row.ok_or_else(|| Error::not_found(RecordKind::Event, id))?;
    fields::show(&mut tx, reader, plugin_fields(&mut row).into_iter().collect()).await?;
    Ok(cloud_event(&reader.tenant, row))
}

/// Where an event can be read; without a host if the operator has not told it.
pub(super) fn address(core: &Core, id: &str) -> String {
    format!("{}/api/v1/events/{id}", core.public_url.as_deref().unwrap_or_default())
}

/// The cursor behind everything that has happened and is settled.
///
/// # Errors
/// As for [`page`].
pub async fn end(core: &Core, actor: &Actor) -> Result<String> {
    require(actor, Permission::EventRead)?;
    let mut reader = core.db.read(&actor.tenant).await?;
    let horizon = feed::horizon(&mut reader).await?;
    Ok(encode(&Place { position: horizon - 1, event: "~".to_owned() }))
}

/// The wanted names, all of which the actor may read in the whole tenant.
fn readable<'n>(actor: &Actor, wanted: &'n [String]) -> Result<Vec<&'n str>>
where
    'static: 'n,
{
    let may = |permission| actor.visibility(permission) == Some(Visibility::All);
    if wanted.is_empty() {
        let names: Vec<_> = NAMES.iter().filter(|(_, needed)| may(*needed)).map(|(name, _)| *name).collect();
        return if names.is_empty() { Err(Error::Forbidden(Permission::CustomerRead)) } else { Ok(names) };
    }
    for name in wanted {
        let Some((_, needed)) = NAMES.iter().find(|(known, _)| known == name) else {
            let known: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
            let message = format!("`{name}` is not the name of an event: {}", known.join(", "));
            return Err(Error::invalid("/types", FaultCode::not_allowed(known), message));
        };
        if !may(*needed) {
            return Err(Error::Forbidden(*needed));
        }
    }
    Ok(wanted.iter().map(String::as_str).collect())
}

/// Where to begin, or why nothing can be read from there.
fn start(after: Option<Place>, purged: Option<Place>, horizon: i64) -> Result<Place> {
    let oldest = purged.unwrap_or(Place { position: 0, event: String::new() });
    let Some(after) = after else { return Ok(oldest) };
    if after < oldest {
        return Err(Error::Gone {
            code: Reason::CursorExpired,
            message: "the events behind this cursor are no longer kept: read the records again, then begin \
                      without a cursor"
                .to_owned(),
        });
    }
    if after.position >= horizon {
        return Err(Error::Gone {
            code: Reason::CursorUnknown,
            message: "this cursor is ahead of the feed, as after a restored backup: read the records again, \
                      then begin without a cursor"
                .to_owned(),
        });
    }
    Ok(after)
}

/// The plugins' fields of the record that an event carries.
fn plugin_fields(row: &mut FeedRow) -> Option<PluginFields<'_>> {
    let entity = match row.name.split_once('.')?.0 {
        "customer" => FieldEntity::Customer,
        "order" => FieldEntity::Order,
        _ => return None,
    };
    Some((entity, row.body.0.get_mut("fields")?.as_object_mut()?))
}

fn place_of(row: &FeedRow) -> Place {
    Place { position: row.position, event: row.id.to_string() }
}

fn encode(place: &Place) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{}:{}", place.position, place.event))
}

fn decode(cursor: &str) -> Result<Place> {
    let bad = || {
        Error::invalid("/after", FaultCode::BadCursor, "not a cursor of the change feed; begin without one")
    };
    let text = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|text| String::from_utf8(text).ok());
    let text = text.filter(|text| !text.contains('\0')).ok_or_else(bad)?;
    let (position, event) = text.split_once(':').ok_or_else(bad)?;
    let position = position.parse().ok().filter(|position| *position >= 0).ok_or_else(bad)?;
    Ok(Place { position, event: event.to_owned() })
}

fn source(tenant: &TenantId) -> String {
    format!("/tenants/{tenant}")
}

fn cloud_event(tenant: &TenantId, row: FeedRow) -> CloudEvent {
    let subject = if row.subject_id.is_empty() {
        row.subject_kind
    } else {
        format!("{}/{}", row.subject_kind, row.subject_id)
    };
    CloudEvent {
        specversion: "1.0",
        id: row.id.to_string(),
        source: source(tenant),
        name: row.name,
        subject,
        time: row.occurred_at,
        datacontenttype: "application/json",
        actorkind: row.actor_kind,
        actorid: row.actor_id,
        causationid: row.cause,
        causationdepth: row.depth,
        data: row.body.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(position: i64, event: &str) -> Place {
        Place { position, event: event.to_owned() }
    }

    #[test]
    fn a_cursor_reads_itself_back_and_others_are_refused() {
        let cursor = encode(&place(7, "evt_a"));
        assert_eq!(decode(&cursor).unwrap(), place(7, "evt_a"));
        for bad in ["", "%", "bm8", &BASE64_URL_SAFE_NO_PAD.encode("-1:a")] {
            assert!(matches!(decode(bad), Err(Error::Invalid { .. })), "{bad}");
        }
    }

    #[test]
    fn a_cursor_before_the_purge_or_ahead_of_the_feed_is_gone() {
        let purged = || Some(place(5, "evt_b"));
        assert_eq!(start(None, purged(), 9).unwrap(), place(5, "evt_b"));
        assert_eq!(start(Some(place(5, "evt_b")), purged(), 9).unwrap(), place(5, "evt_b"));
        assert!(matches!(start(Some(place(5, "evt_a")), purged(), 9), Err(Error::Gone { .. })));
        assert!(matches!(start(Some(place(9, "")), None, 9), Err(Error::Gone { .. })));
    }
}
