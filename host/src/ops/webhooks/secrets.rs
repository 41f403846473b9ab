//! The secrets that sign for webhooks: shown once, kept sealed, changed with an overlap.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::not_found;
use crate::clock::Timestamp;
use crate::db::{self, Tx, webhooks::SecretRow};
use crate::domain::actor::Actor;
use crate::domain::audit::Entry;
use crate::domain::code::Reason;
use crate::domain::ids::{TenantId, WebhookId, WebhookSecretId};
use crate::domain::permission::Permission;
use crate::domain::webhook::{self, OVERLAP_HOURS_DEFAULT, OVERLAP_HOURS_MAX, SECRETS_MAX};
use crate::error::{Error, Result};
use crate::ops::{Core, access, audit, require};
use crate::vault::{Opened, Place};

const HOUR_SECONDS: i64 = 60 * 60;

/// A secret as it is written.
pub(super) struct Sealed {
    id: WebhookSecretId,
    bytes: Vec<u8>,
}

impl Sealed {
    pub(super) fn row(&self) -> (&WebhookSecretId, &[u8]) {
        (&self.id, &self.bytes)
    }
}

/// A new secret: as it is shown, and as it is written.
pub(super) fn mint(core: &Core, tenant: &TenantId, webhook: &WebhookId) -> Result<(String, Sealed)> {
    let secret = webhook::mint(&*core.ids);
    let id = WebhookSecretId::new(&*core.ids, core.now());
    let row = row(webhook, &id);
    let bytes = core.vault.seal(&*core.ids, Place { tenant, row: &row }, secret.as_bytes())?;
    Ok((secret, Sealed { id, bytes }))
}

/// The keys of secrets.
pub(super) fn open(
    core: &Core,
    tenant: &TenantId,
    webhook: &WebhookId,
    rows: &[SecretRow],
) -> Result<Vec<Vec<u8>>> {
    let key = |opened: &Opened| {
        let secret = std::str::from_utf8(opened.expose()).ok()?;
        webhook::signing_key(secret)
    };
    rows.iter()
        .map(|secret| {
            let place = row(webhook, &secret.id);
            let opened = core.vault.open(Place { tenant, row: &place }, &secret.sealed)?;
            key(&opened).ok_or_else(|| Error::internal("a sealed secret signs nothing"))
        })
        .collect()
}

fn row(webhook: &WebhookId, id: &WebhookSecretId) -> String {
    format!("webhook_secrets/{webhook}/{id}")
}

/// A secret that has just been made.
#[derive(Clone, Debug)]
pub struct MadeSecret {
    /// Its id.
    pub id: WebhookSecretId,
    /// Itself; absent when the request was a repetition of one that was answered before.
    pub secret: Option<String>,
    /// Until when the ones before it sign too.
    pub overlap_until: Timestamp,
}

/// What is kept under the key of the request.
#[derive(Clone, Serialize, Deserialize)]
struct Rotated {
    id: WebhookSecretId,
    overlap_until: Timestamp,
}

/// Makes a new secret. Those that there are sign beside it for `overlap_hours`, 24 if absent.
///
/// # Errors
/// `Forbidden`, `NotFound`, `Invalid`, `secrets_key_missing`, and a limit if too many still sign.
pub async fn rotate(
    core: &Core,
    actor: &Actor,
    id: &WebhookId,
    overlap_hours: Option<u32>,
) -> Result<MadeSecret> {
    require(actor, Permission::WebhookWrite)?;
    let (secret, sealed) = mint(core, &actor.tenant, id)?;
    let made = sealed.id.clone();
    let prepare = async {
        let now = core.now();
        let hours = overlap_hours.unwrap_or(OVERLAP_HOURS_DEFAULT).min(OVERLAP_HOURS_MAX);
        let until = now.plus_seconds(i64::from(hours) * HOUR_SECONDS);
        let changes = json!({ "secret": sealed.id, "overlap_until": until });
        let entry = Entry::new(&*core.ids, now, "webhook.rotate_secret", "webhook", id, changes);
        Ok(Rotate { actor: actor.clone(), id: id.clone(), sealed, now, until, entry })
    };
    let rotated: Rotated = core.write_once(actor, prepare, |tx, rotate| Box::pin(rotate.apply(tx))).await?;
    let Rotated { id, overlap_until } = rotated;
    Ok(MadeSecret { secret: (id == made).then_some(secret), id, overlap_until })
}

struct Rotate {
    actor: Actor,
    id: WebhookId,
    sealed: Sealed,
    now: Timestamp,
    until: Timestamp,
    entry: Entry,
}

impl Rotate {
    async fn apply(&self, tx: &mut Tx) -> Result<Rotated> {
        let Self { actor, id, sealed, now, until, entry } = self;
        let tenant = &actor.tenant;
        db::tenants::lock(tx, tenant).await?;
        access::recheck(tx, actor, Permission::WebhookWrite, *now).await?;
        let found = db::webhooks::find(tx, tenant, id).await?;
        found.ok_or_else(|| not_found(id))?;
        db::webhooks::expire_secrets(tx, tenant, id, *until).await?;
        let live = db::webhooks::secrets(tx, tenant, id, *now).await?;
        if live.len() >= SECRETS_MAX {
            let message = format!("at most {SECRETS_MAX} secrets sign at the same time; shorten the overlap");
            let code = Reason::WebhookSecrets { max: SECRETS_MAX.to_string() };
            return Err(Error::Limit { code, message, retry_after_s: 0 });
        }
        db::webhooks::insert_secret(tx, tenant, id, sealed.row(), *now).await?;
        audit::append(tx, actor, *now, entry).await?;
        Ok(Rotated { id: sealed.id.clone(), overlap_until: *until })
    }
}
