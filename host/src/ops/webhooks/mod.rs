//! Webhooks: who is told, with which secrets, and how that went.
//!
//! A webhook is a consumer of the lanes of events. It need not be told in order, so an
//! event that fails keeps no other one waiting; every one is told at least once, with the
//! event's id as its own.

mod delivery;
mod secrets;

use serde::Serialize;
use serde_json::json;

pub use delivery::{deliver, test};
pub use secrets::{MadeSecret, rotate};

use super::{Core, access, audit, dead_letters, events, require};
use crate::clock::Timestamp;
use crate::db::{self, Tx};
use crate::domain::actor::{Actor, Visibility};
use crate::domain::audit::Entry;
use crate::domain::check::{Faults, changes};
use crate::domain::code::{FaultCode, Reason, RecordKind};
use crate::domain::event;
use crate::domain::ids::{TenantId, WebhookId, WebhookSecretId};
use crate::domain::page::{Page, PageRequest};
use crate::domain::permission::Permission;
use crate::domain::webhook::{
    ATTEMPT_DAYS_MAX, ATTEMPTS_KEPT_MAX, Attempt, NewWebhook, WEBHOOKS_MAX, Webhook, WebhookPatch,
    WebhookState,
};
use crate::error::{Error, Result};
use crate::outbound::Target;
use secrets::Sealed;

/// How often a change without a stated version is made again after it met another one.
const ATTEMPTS_MAX: u32 = 4;
/// How many webhooks a purge looks at at once; a tenant has fewer.
const PURGE_PAGE: i64 = WEBHOOKS_MAX;

/// A webhook with how it is doing.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct WebhookView {
    /// The webhook.
    #[serde(flatten)]
    pub webhook: Webhook,
    /// The secrets that sign now, the newest first.
    pub secrets: Vec<SecretView>,
    /// How it is doing.
    pub health: Health,
}

/// A secret, without itself.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SecretView {
    /// Its id.
    #[schema(value_type = String)]
    pub id: WebhookSecretId,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it no longer signs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}

/// How a webhook is doing.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Health {
    /// Events that it has still to be told of, counted up to 10,000.
    pub waiting: i64,
    /// Events that it was told of in vain for the last time, counted up to 10,000; they stand
    /// among the dead letters of the consumer `webhook:<id>` and can be replayed.
    pub dead: i64,
    /// When it is tried again, if it has failed as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub retry_at: Option<Timestamp>,
    /// The last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<Attempt>,
}

/// A webhook that has just been made.
#[derive(Clone, Debug)]
pub struct MadeWebhook {
    /// The webhook.
    pub view: WebhookView,
    /// What its deliveries are signed with; absent when the request was a repetition of one
    /// that was answered before.
    pub secret: Option<String>,
}

/// Makes a webhook, which is told of what happens from now on.
///
/// # Errors
/// `Forbidden`, also for events whose records the actor may not read; `Invalid` with every
/// fault; `Refused` with `secrets_key_missing`; `Limit` if there are too many.
pub async fn create(core: &Core, actor: &Actor, new: NewWebhook) -> Result<MadeWebhook> {
    let id = WebhookId::new(&*core.ids, core.now());
    let (secret, sealed) = match secrets::mint(core, &actor.tenant, &id) {
        Ok((secret, sealed)) => (Some(secret), Ok(sealed)),
        Err(error) => (None, Err(error)),
    };
    let prepare = async {
        require(actor, Permission::WebhookWrite)?;
        let now = core.now();
        let webhook = checked(core, actor, new.into_webhook(id.clone(), actor, now))?;
        let entry = Entry::new(
            &*core.ids,
            now,
            "webhook.create",
            "webhook",
            &id,
            changes(&json!({}), &webhook.to_json()),
        );
        Ok(Create { actor: actor.clone(), webhook, sealed: sealed?, entry })
    };
    let made: Webhook = core.write_once(actor, prepare, |tx, create| Box::pin(create.apply(tx))).await?;
    let secret = secret.filter(|_| made.id == id);
    // Who may make one may see it, also without the right to see the others.
    let view = view(core, actor, load(core, actor, (&made.id, None)).await?).await?;
    Ok(MadeWebhook { view, secret })
}

struct Create {
    actor: Actor,
    webhook: Webhook,
    sealed: Sealed,
    entry: Entry,
}

impl Create {
    async fn apply(&self, tx: &mut Tx) -> Result<Webhook> {
        let Self { actor, webhook, sealed, entry } = self;
        let (tenant, now) = (&actor.tenant, webhook.created_at);
        db::tenants::lock(tx, tenant).await?;
        access::recheck(tx, actor, Permission::WebhookWrite, now).await?;
        if db::webhooks::count(tx, tenant).await? >= WEBHOOKS_MAX {
            let message = format!("a tenant has at most {WEBHOOKS_MAX} webhooks; remove one first");
            let code = Reason::Webhooks { max: WEBHOOKS_MAX.to_string() };
            return Err(Error::Limit { code, message, retry_after_s: 0 });
        }
        db::webhooks::insert(tx, tenant, webhook).await?;
        db::webhooks::insert_secret(tx, tenant, &webhook.id, sealed.row(), now).await?;
        events::subscribe_unordered(tx, tenant, &webhook.consumer(), &names(webhook), now).await?;
        audit::append(tx, actor, now, entry).await?;
        Ok(webhook.clone())
    }
}

/// The names that a webhook asks for.
fn names(webhook: &Webhook) -> Vec<String> {
    if webhook.events.is_empty() {
        return event::NAMES.iter().map(|(name, _)| (*name).to_owned()).collect();
    }
    webhook.events.clone()
}

/// The record, if its address can be reached and the actor may read what it asks for.
fn checked(core: &Core, actor: &Actor, mut webhook: Webhook) -> Result<Webhook> {
    let mut faults = Faults::default();
    match Target::parse(&webhook.url, core.outbound.reach()) {
        Ok(target) => webhook.url = target.to_string(),
        Err(fault) => faults.plain("/url", fault.code()),
    }
    webhook.check(&mut faults);
    for (at, name) in webhook.events.iter().enumerate() {
        if !event::NAMES.iter().any(|(known, _)| known == name) {
            let known = event::NAMES.iter().map(|(name, _)| *name);
            faults.plain(format!("/events/{at}"), FaultCode::not_allowed(known));
        }
    }
    faults.finish()?;
    for name in names(&webhook) {
        let needed = event::NAMES.iter().find(|(known, _)| *known == name).map(|(_, needed)| *needed);
        let needed = needed.unwrap_or(Permission::EventRead);
        // Nobody sends elsewhere what they may not read themselves.
        if actor.visibility(needed) != Some(Visibility::All) {
            return Err(Error::Forbidden(needed));
        }
    }
    Ok(webhook)
}

/// A webhook.
///
/// # Errors
/// `Forbidden`, `NotFound`.
pub async fn find(core: &Core, actor: &Actor, id: &WebhookId) -> Result<WebhookView> {
    require(actor, Permission::WebhookRead)?;
    let webhook = {
        let mut reader = core.db.read(&actor.tenant).await?;
        db::webhooks::find(&mut reader, &actor.tenant, id).await?
    };
    view(core, actor, webhook.ok_or_else(|| not_found(id))?).await
}

/// Webhooks in the order in which they were made.
///
/// # Errors
/// `Forbidden`, and `Invalid` for a bad cursor.
pub async fn list(core: &Core, actor: &Actor, request: &PageRequest) -> Result<Page<WebhookView>> {
    require(actor, Permission::WebhookRead)?;
    let after: String = request.after()?.unwrap_or_default();
    let rows = {
        let mut reader = core.db.read(&actor.tenant).await?;
        db::webhooks::list(&mut reader, &actor.tenant, &after, request.fetch()).await?
    };
    let page = Page::of(request, rows, |webhook| webhook.id.to_string());
    let mut items = Vec::with_capacity(page.items.len());
    for webhook in page.items {
        items.push(view(core, actor, webhook).await?);
    }
    Ok(Page { items, next_cursor: page.next_cursor })
}

async fn view(core: &Core, actor: &Actor, webhook: Webhook) -> Result<WebhookView> {
    let tenant = &actor.tenant;
    let lane = dead_letters::lane_status(core, actor, &webhook.consumer()).await?;
    let mut reader = core.db.read(tenant).await?;
    let rows = db::webhooks::secrets(&mut reader, tenant, &webhook.id, core.now()).await?;
    let last = db::webhooks::attempts(&mut reader, tenant, &webhook.id, LAST, 1).await?;
    let secrets = rows.into_iter().map(|row| SecretView {
        id: row.id,
        created_at: row.created_at,
        expires_at: row.expires_at,
    });
    let (waiting, dead, retry_at) =
        lane.map(|lane| (lane.waiting, lane.dead, lane.retry_at)).unwrap_or_default();
    let health = Health { waiting, dead, retry_at, last_attempt: last.into_iter().next() };
    Ok(WebhookView { webhook, secrets: secrets.collect(), health })
}

/// No id is greater than this text.
const LAST: &str = "~";

/// The attempts to tell a webhook, the latest first.
///
/// # Errors
/// `Forbidden`, `NotFound`, and `Invalid` for a bad cursor.
pub async fn attempts(
    core: &Core,
    actor: &Actor,
    id: &WebhookId,
    request: &PageRequest,
) -> Result<Page<Attempt>> {
    require(actor, Permission::WebhookRead)?;
    let before: String = request.after()?.unwrap_or_else(|| LAST.to_owned());
    let mut reader = core.db.read(&actor.tenant).await?;
    let found = db::webhooks::find(&mut reader, &actor.tenant, id).await?;
    found.ok_or_else(|| not_found(id))?;
    let rows = db::webhooks::attempts(&mut reader, &actor.tenant, id, &before, request.fetch()).await?;
    Ok(Page::of(request, rows, |attempt| attempt.id.to_string()))
}

/// Changes a webhook. Without `expected`, a concurrent change is no error.
///
/// # Errors
/// `NotFound`, `VersionMismatch`, and those of [`create`].
pub async fn change(
    core: &Core,
    actor: &Actor,
    (id, expected): (&WebhookId, Option<i64>),
    patch: WebhookPatch,
) -> Result<WebhookView> {
    require(actor, Permission::WebhookWrite)?;
    let mut attempt = 1;
    loop {
        let now = core.now();
        let before = load(core, actor, (id, expected)).await?;
        let mut after = before.clone();
        patch.clone().apply(&mut after, now);
        let mut after = checked(core, actor, after)?;
        if after == before {
            return view(core, actor, before).await;
        }
        after.roles.clone_from(&actor.roles);
        after.version += 1;
        after.updated_at = now;
        let differences = changes(&before.to_json(), &after.to_json());
        let entry = Entry::new(&*core.ids, now, "webhook.update", "webhook", id, differences);
        let state = Change { actor: actor.clone(), before, after: after.clone(), entry };
        match core.db.write(&actor.tenant, state, |tx, change| Box::pin(change.apply(tx))).await {
            Err(Error::VersionMismatch { .. }) if expected.is_none() && attempt < ATTEMPTS_MAX => {
                attempt += 1
            }
            Err(error) => return Err(error),
            Ok(()) => return view(core, actor, after).await,
        }
    }
}

async fn load(core: &Core, actor: &Actor, (id, expected): (&WebhookId, Option<i64>)) -> Result<Webhook> {
    let mut reader = core.db.read(&actor.tenant).await?;
    let found = db::webhooks::find(&mut reader, &actor.tenant, id).await?;
    let webhook = found.ok_or_else(|| not_found(id))?;
    super::check_version(RecordKind::Webhook, id, expected, webhook.version)?;
    Ok(webhook)
}

struct Change {
    actor: Actor,
    before: Webhook,
    after: Webhook,
    entry: Entry,
}

impl Change {
    async fn apply(&self, tx: &mut Tx) -> Result<()> {
        let Self { actor, before, after, entry } = self;
        let (tenant, now) = (&actor.tenant, after.updated_at);
        access::recheck(tx, actor, Permission::WebhookWrite, now).await?;
        replace(tx, tenant, before, after).await?;
        let consumer = after.consumer();
        match after.state {
            WebhookState::Enabled => {
                events::subscribe_unordered(tx, tenant, &consumer, &names(after), now).await?;
                if before.state == WebhookState::Disabled {
                    events::resume(tx, tenant, &consumer).await?;
                }
            }
            WebhookState::Disabled => events::silence(tx, tenant, &consumer).await?,
        }
        audit::append(tx, actor, now, entry).await
    }
}

/// Writes the record if it still is what it was, apart from whether it fails.
async fn replace(tx: &mut Tx, tenant: &TenantId, before: &Webhook, after: &Webhook) -> Result<()> {
    if db::webhooks::update(tx, tenant, before.version, after).await? {
        return Ok(());
    }
    let found = db::webhooks::find(tx, tenant, &after.id).await?;
    let found = found.ok_or_else(|| not_found(&after.id))?;
    Err(super::changed_meanwhile(RecordKind::Webhook, &after.id, found.version))
}

/// Removes a webhook with its secrets, its attempts, and what waits for it.
///
/// # Errors
/// `Forbidden`, `NotFound`, `VersionMismatch`.
pub async fn delete(core: &Core, actor: &Actor, (id, expected): (&WebhookId, Option<i64>)) -> Result<()> {
    require(actor, Permission::WebhookWrite)?;
    let webhook = load(core, actor, (id, expected)).await?;
    let now = core.now();
    let entry = Entry::new(&*core.ids, now, "webhook.delete", "webhook", id, webhook.to_json());
    let state = (actor.clone(), webhook, now, entry);
    core.db
        .write(&actor.tenant, state, |tx, (actor, webhook, now, entry)| {
            Box::pin(async move {
                let tenant = &actor.tenant;
                access::recheck(tx, actor, Permission::WebhookWrite, *now).await?;
                if !db::webhooks::delete(tx, tenant, &webhook.id, webhook.version).await? {
                    let found = db::webhooks::find(tx, tenant, &webhook.id).await?;
                    let found = found.ok_or_else(|| not_found(&webhook.id))?;
                    return Err(super::changed_meanwhile(RecordKind::Webhook, &webhook.id, found.version));
                }
                events::unsubscribe(tx, tenant, &webhook.consumer()).await?;
                audit::append(tx, actor, *now, entry).await
            })
        })
        .await
}

/// Deletes what has been kept long enough: attempts, and secrets that no longer sign. Answers
/// how many rows.
///
/// # Errors
/// Those of the database.
pub async fn purge(core: &Core, tenant: &TenantId) -> Result<u64> {
    let webhooks = {
        let mut reader = core.db.read(tenant).await?;
        db::webhooks::list(&mut reader, tenant, "", PURGE_PAGE).await?
    };
    if webhooks.is_empty() {
        return Ok(0);
    }
    let now = core.now();
    let ids: Vec<_> = webhooks.into_iter().map(|webhook| webhook.id).collect();
    let before = now.plus_seconds(-ATTEMPT_DAYS_MAX * 24 * 60 * 60);
    core.db
        .write(tenant, (tenant.clone(), ids, before, now), |tx, (tenant, ids, before, now)| {
            Box::pin(async move {
                let mut deleted = db::webhooks::purge_secrets(tx, tenant, *now).await?;
                for id in ids {
                    deleted +=
                        db::webhooks::purge_attempts(tx, tenant, id, *before, ATTEMPTS_KEPT_MAX).await?;
                }
                Ok(deleted)
            })
        })
        .await
}

fn not_found(id: &WebhookId) -> Error {
    Error::not_found(RecordKind::Webhook, id)
}
