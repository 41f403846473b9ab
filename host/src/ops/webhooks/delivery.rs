//! Telling a webhook of an event: one request, signed, and what is kept of how it went.
//!
//! The request is made between two transactions. A server that dies after the request and
//! before the second one tells again, with the same `webhook-id`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};

use super::{not_found, secrets};
use crate::clock::Timestamp;
use crate::db::{self, Tx};
use crate::domain::actor::Actor;
use crate::domain::audit::Entry;
use crate::domain::code::Reason;
use crate::domain::event::{Event, Subject};
use crate::domain::ids::{EventId, TenantId, WebhookAttemptId, WebhookId};
use crate::domain::permission::Permission;
use crate::domain::webhook::{
    Attempt, BODY_BYTES_MAX, DisabledReason, FAILING_SECONDS_MAX, TEST_EVENT, Verdict, Webhook, WebhookState,
    excerpt, sign,
};
use crate::error::{Error, Result};
use crate::ops::events::{Acknowledgement, DeliveredEvent};
use crate::ops::{Core, audit, events, feed, require};
use crate::outbound::{self, Excess, Failure, Limits, Method, Purpose, Request, Target};

/// The limits of one delivery. Of the answer only the beginning is of interest.
const LIMITS: Limits =
    Limits { time: Duration::from_secs(15), answer_bytes_max: 64 * 1024, excess: Excess::Cut };
const CONTENT_TYPE: &str = "application/cloudevents+json";
/// How long a lane waits whose requests have no place to go on.
const BUSY_SECONDS: u32 = 5;

/// A webhook and the keys that sign for it now.
struct Signer {
    webhook: Webhook,
    keys: Vec<Vec<u8>>,
}

impl Signer {
    async fn load(core: &Core, tenant: &TenantId, id: &WebhookId) -> Result<Self> {
        let (webhook, rows) = {
            let mut reader = core.db.read(tenant).await?;
            let webhook = db::webhooks::find(&mut reader, tenant, id).await?;
            let webhook = webhook.ok_or_else(|| not_found(id))?;
            (webhook, db::webhooks::secrets(&mut reader, tenant, id, core.now()).await?)
        };
        let keys = secrets::open(core, tenant, id, &rows)?;
        Ok(Self { webhook, keys })
    }

    fn request(&self, core: &Core, event: &EventId, body: Bytes) -> Result<Request> {
        let now = core.now();
        let target = Target::parse(&self.webhook.url, core.outbound.reach());
        // What may be reached has been narrowed since it was registered.
        let target = target.map_err(|fault| refused(format!("the address of the webhook {fault}")))?;
        let keys = self.keys.iter().map(Vec::as_slice);
        let signature = sign(keys, (event.as_str(), now), &body);
        let mut request = Request::new(Method::Post, target, body, LIMITS);
        let seconds = now.as_micros().div_euclid(1_000_000).to_string();
        for (name, value) in [
            ("content-type", CONTENT_TYPE),
            ("webhook-id", event.as_str()),
            ("webhook-timestamp", &seconds),
            ("webhook-signature", &signature),
        ] {
            request.add_header(name, value).map_err(Error::internal)?;
        }
        Ok(request)
    }
}

/// Makes one attempt to tell the webhook `id` of `event`, and keeps how it went; a success
/// together with the acknowledgement.
///
/// # Errors
/// `Refused` if the event was not taken, `Limit` and `Unavailable` if nothing shall be
/// sent for a while.
pub async fn deliver(
    core: &Core,
    tenant: &TenantId,
    id: &WebhookId,
    event: &DeliveredEvent,
    acknowledgement: &Acknowledgement,
) -> Result<()> {
    let signer = Signer::load(core, tenant, id).await?;
    if signer.webhook.state == WebhookState::Disabled {
        return Err(Error::unavailable("the webhook is disabled"));
    }
    let reader = Actor { roles: signer.webhook.roles.clone(), ..Actor::server(tenant.clone()) };
    let told = feed::of_event(core, &reader, &event.id).await?;
    let body = body_of(core, told)?;
    let request = signer.request(core, &event.id, body)?;
    let number = event.attempts + 1;
    let (attempt, verdict) = attempt(core, tenant, &request, (&event.id, &event.name, number)).await;
    match verdict {
        Ok(Verdict::Delivered) => {
            keep_success(core, tenant, &signer.webhook, attempt, Some(acknowledgement.clone())).await
        }
        Ok(verdict) => {
            let message = attempt.message.clone().unwrap_or_default();
            let disabled = keep_failure(core, tenant, &signer.webhook, attempt, verdict).await?;
            Err(match verdict {
                _ if disabled => Error::unavailable("the webhook was disabled"),
                Verdict::Later(retry_after_s) => {
                    let code = Reason::WebhookLater { seconds: retry_after_s.to_string() };
                    Error::Limit { code, message, retry_after_s }
                }
                Verdict::Refused | Verdict::Gone | Verdict::Delivered => refused(message),
            })
        }
        // Nothing was sent, and the receiver is not to blame.
        Err(Failure::Busy) => {
            let message = Failure::Busy.to_string();
            Err(Error::Limit { code: Reason::WebhookBusy, message, retry_after_s: BUSY_SECONDS })
        }
        Err(failure) => {
            let disabled = keep_failure(core, tenant, &signer.webhook, attempt, Verdict::Refused).await?;
            if disabled {
                Err(Error::unavailable("the webhook was disabled"))
            } else {
                Err(refused(failure.to_string()))
            }
        }
    }
}

fn refused(message: String) -> Error {
    Error::Refused { code: Reason::WebhookFailed { reason: message.clone() }, message }
}

/// The event as it is sent: whole, or with its address if it is too large.
fn body_of(core: &Core, event: feed::CloudEvent) -> Result<Bytes> {
    let address = feed::address(core, &event.id);
    let mut event = serde_json::to_value(event).map_err(Error::internal)?;
    let whole = event.to_string();
    if whole.len() < BODY_BYTES_MAX {
        return Ok(Bytes::from(whole));
    }
    if let Some(members) = event.as_object_mut() {
        members.shift_remove("data");
        members.shift_remove("datacontenttype");
        // The name that CloudEvents' claim check gives it.
        members.insert("dataref".to_owned(), Value::from(address));
    }
    Ok(Bytes::from(event.to_string()))
}

/// Sends a request and says how it went.
async fn attempt(
    core: &Core,
    tenant: &TenantId,
    request: &Request,
    (event, name, number): (&EventId, &str, i64),
) -> (Attempt, Result<Verdict, Failure>) {
    let at = core.now();
    let begun = Instant::now();
    let answer = core.outbound.send(Purpose::Webhook, tenant, request).await;
    let mut attempt = Attempt {
        id: WebhookAttemptId::new(&*core.ids, at),
        event: event.clone(),
        name: name.to_owned(),
        number,
        at,
        duration_ms: i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX),
        outcome: String::new(),
        status: None,
        message: None,
        answer: None,
    };
    let verdict = match answer {
        Ok(answer) => Ok(note_answer(&mut attempt, &answer)),
        Err(failure) => {
            failure.code().clone_into(&mut attempt.outcome);
            attempt.message = Some(failure.to_string());
            Err(failure)
        }
    };
    (attempt, verdict)
}

fn note_answer(attempt: &mut Attempt, answer: &outbound::Answer) -> Verdict {
    let retry_after = answer.headers.iter().find(|(name, _)| name == "retry-after");
    let verdict = Verdict::of(answer.status, retry_after.map(|(_, value)| value.as_str()));
    attempt.status = Some(i64::from(answer.status));
    attempt.answer = excerpt(&answer.body);
    if verdict == Verdict::Delivered {
        "delivered".clone_into(&mut attempt.outcome);
    } else {
        "refused".clone_into(&mut attempt.outcome);
        attempt.message = Some(format!("the receiver has answered {}", answer.status));
    }
    verdict
}

async fn keep_success(
    core: &Core,
    tenant: &TenantId,
    webhook: &Webhook,
    attempt: Attempt,
    acknowledgement: Option<Acknowledgement>,
) -> Result<()> {
    let state = (tenant.clone(), webhook.clone(), attempt, acknowledgement);
    core.db
        .write(tenant, state, |tx, (tenant, webhook, attempt, acknowledgement)| {
            Box::pin(async move {
                db::webhooks::insert_attempt(tx, tenant, &webhook.id, attempt).await?;
                // Read again: a delivery beside this one may have failed meanwhile.
                let now = db::webhooks::find(tx, tenant, &webhook.id).await?;
                if now.is_some_and(|now| now.failing_since.is_some()) {
                    db::webhooks::set_failing(tx, tenant, &webhook.id, None).await?;
                }
                match acknowledgement {
                    Some(acknowledgement) => acknowledgement.apply(tx).await,
                    None => Ok(()),
                }
            })
        })
        .await
}

/// Keeps a failed attempt; true if it was one too many, and the webhook is disabled.
async fn keep_failure(
    core: &Core,
    tenant: &TenantId,
    webhook: &Webhook,
    attempt: Attempt,
    verdict: Verdict,
) -> Result<bool> {
    let now = core.now();
    let failed_for = webhook.failing_since.map_or(0, |since| now.as_micros() - since.as_micros());
    let reason = match verdict {
        Verdict::Gone => Some(DisabledReason::Gone),
        Verdict::Delivered | Verdict::Refused | Verdict::Later(_) => {
            (failed_for >= FAILING_SECONDS_MAX * 1_000_000).then_some(DisabledReason::Failing)
        }
    };
    let disable = reason.map(|reason| Disable::new(core, webhook, reason, now));
    let disables = disable.is_some();
    let state = (tenant.clone(), webhook.id.clone(), attempt, disable);
    core.db
        .write(tenant, state, |tx, (tenant, id, attempt, disable)| {
            Box::pin(async move {
                // The webhook may be gone, and its attempts with it.
                let Some(now) = db::webhooks::find(tx, tenant, id).await? else { return Ok(()) };
                db::webhooks::insert_attempt(tx, tenant, id, attempt).await?;
                match disable {
                    Some(disable) => disable.apply(tx, tenant).await,
                    None if now.failing_since.is_none() => {
                        db::webhooks::set_failing(tx, tenant, id, Some(attempt.at)).await
                    }
                    None => Ok(()),
                }
            })
        })
        .await?;
    if disables {
        tracing::warn!(%tenant, webhook = %webhook.id, ?reason, "a webhook was disabled");
    }
    Ok(disables)
}

/// The end of a webhook that has failed for too long, or does not want to be told.
struct Disable {
    before: Webhook,
    after: Webhook,
    entry: Entry,
    event: Event,
}

impl Disable {
    fn new(core: &Core, before: &Webhook, reason: DisabledReason, now: Timestamp) -> Self {
        let mut after = before.clone();
        after.disable(reason, now);
        after.version += 1;
        after.updated_at = now;
        let changes = json!({ "state": ["enabled", "disabled"], "disabled_reason": [null, reason] });
        let entry = Entry::new(&*core.ids, now, "webhook.disable", "webhook", &before.id, changes);
        let body = after.to_json();
        let event = Event::new(&*core.ids, now, "webhook.disabled", Subject::Tenant, body);
        Self { before: before.clone(), after, entry, event }
    }

    async fn apply(&self, tx: &mut Tx, tenant: &TenantId) -> Result<()> {
        let Self { before, after, entry, event } = self;
        // Somebody has changed it while it was being told: theirs counts.
        if !db::webhooks::update(tx, tenant, before.version, after).await? {
            return Ok(());
        }
        let server = Actor::server(tenant.clone());
        events::silence(tx, tenant, &after.consumer()).await?;
        audit::append(tx, &server, after.updated_at, entry).await?;
        events::append_many(tx, &server, after.updated_at, &[event]).await
    }
}

/// Sends an event that says nothing, and answers how that went. A webhook may be tested
/// while it is disabled; a success does not enable it.
///
/// # Errors
/// `Forbidden`, `NotFound`, and `Unavailable` if its secrets cannot be opened.
pub async fn test(core: &Core, actor: &Actor, id: &WebhookId) -> Result<Attempt> {
    require(actor, Permission::WebhookWrite)?;
    let tenant = &actor.tenant;
    let signer = Signer::load(core, tenant, id).await?;
    let now = core.now();
    let event = EventId::new(&*core.ids, now);
    let told = feed::CloudEvent::test(actor, &event, TEST_EVENT, now);
    let request = signer.request(core, &event, body_of(core, told)?)?;
    let (attempt, _verdict) = attempt(core, tenant, &request, (&event, TEST_EVENT, 1)).await;
    let state = (tenant.clone(), id.clone(), attempt.clone());
    core.db
        .write(tenant, state, |tx, (tenant, id, attempt)| {
            Box::pin(async move {
                if db::webhooks::find(tx, tenant, id).await?.is_none() {
                    return Err(not_found(id));
                }
                db::webhooks::insert_attempt(tx, tenant, id, attempt).await
            })
        })
        .await?;
    Ok(attempt)
}
