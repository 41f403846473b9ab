//! Rows of webhooks, of the secrets that sign for them, and of the attempts to tell them.

use serde::Serialize;
use serde_json::Value;

use super::{Json, Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::ids::{EventId, TenantId, WebhookAttemptId, WebhookId, WebhookSecretId};
use crate::domain::permission::Role;
use crate::domain::webhook::{Attempt, Webhook};
use crate::error::{Error, Result};

statements! {
    FIND = "
        SELECT id, version, url, description, events, state, disabled_reason, disabled_at, failing_since,
            roles, created_by, created_at, updated_at
        FROM webhooks
        WHERE tenant = $1
          AND id = $2";
    LIST = "
        SELECT id, version, url, description, events, state, disabled_reason, disabled_at, failing_since,
            roles, created_by, created_at, updated_at
        FROM webhooks
        WHERE tenant = $1
          AND id > $2
        ORDER BY id
        LIMIT $3";
    COUNT = "SELECT COUNT(*) FROM webhooks WHERE tenant = $1";
    INSERT = "
        INSERT INTO webhooks (tenant, id, version, url, description, events, state, disabled_reason, disabled_at,
            failing_since, roles, created_by, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
    UPDATE = "
        UPDATE webhooks
        SET version = $4, url = $5, description = $6, events = $7, state = $8, disabled_reason = $9,
            disabled_at = $10, failing_since = $11, roles = $12, updated_at = $13
        WHERE tenant = $1
          AND id = $2
          AND version = $3";
    SET_FAILING = "UPDATE webhooks SET failing_since = $3 WHERE tenant = $1 AND id = $2";
    DELETE = "DELETE FROM webhooks WHERE tenant = $1 AND id = $2 AND version = $3";
    LIST_SECRETS = "
        SELECT id, sealed, created_at, expires_at
        FROM webhook_secrets
        WHERE tenant = $1
          AND webhook = $2
          AND (expires_at IS NULL OR expires_at > $3)
        ORDER BY id DESC";
    INSERT_SECRET = "
        INSERT INTO webhook_secrets (tenant, webhook, id, sealed, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, NULL)";
    // One that ends sooner already still does.
    EXPIRE_SECRETS = "
        UPDATE webhook_secrets
        SET expires_at = $3
        WHERE tenant = $1
          AND webhook = $2
          AND (expires_at IS NULL OR expires_at > $3)";
    DELETE_SECRETS = "DELETE FROM webhook_secrets WHERE tenant = $1 AND webhook = $2";
    DELETE_EXPIRED_SECRETS = "DELETE FROM webhook_secrets WHERE tenant = $1 AND expires_at <= $2";
    INSERT_ATTEMPT = "
        INSERT INTO webhook_attempts (tenant, webhook, id, event, name, number, at, duration_ms, outcome, status,
            message, answer)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    LIST_ATTEMPTS = "
        SELECT id, event, name, number, at, duration_ms, outcome, status, message, answer
        FROM webhook_attempts
        WHERE tenant = $1
          AND webhook = $2
          AND id < $3
        ORDER BY id DESC
        LIMIT $4";
    DELETE_ATTEMPTS = "DELETE FROM webhook_attempts WHERE tenant = $1 AND webhook = $2";
    DELETE_OLD_ATTEMPTS = "DELETE FROM webhook_attempts WHERE tenant = $1 AND webhook = $2 AND at < $3";
    DELETE_SURPLUS_ATTEMPTS = "
        DELETE FROM webhook_attempts
        WHERE tenant = $1
          AND webhook = $2
          AND id <= (
            SELECT id
            FROM webhook_attempts
            WHERE tenant = $1
              AND webhook = $2
            ORDER BY id DESC
            LIMIT 1
            OFFSET $3)";
}

#[derive(sqlx::FromRow)]
struct WebhookRow {
    id: WebhookId,
    version: i64,
    url: String,
    description: Option<String>,
    events: Json<Vec<String>>,
    state: String,
    disabled_reason: Option<String>,
    disabled_at: Option<Timestamp>,
    failing_since: Option<Timestamp>,
    roles: Json<Vec<Role>>,
    created_by: String,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl WebhookRow {
    fn into_webhook(self) -> Result<Webhook> {
        Ok(Webhook {
            id: self.id,
            version: self.version,
            url: self.url,
            description: self.description,
            events: self.events.0,
            state: serde_json::from_value(Value::from(self.state)).map_err(Error::internal)?,
            disabled_reason: serde_json::from_value(Value::from(self.disabled_reason))
                .map_err(Error::internal)?,
            disabled_at: self.disabled_at,
            failing_since: self.failing_since,
            roles: self.roles.0,
            created_by: self.created_by,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

/// The name of a unit variant, as it is shown and kept.
fn name(variant: impl Serialize) -> Result<Option<String>> {
    let value = serde_json::to_value(variant).map_err(Error::internal)?;
    Ok(value.as_str().map(str::to_owned))
}

/// A webhook.
pub(crate) async fn find(tx: &mut Tx, tenant: &TenantId, id: &WebhookId) -> Result<Option<Webhook>> {
    let row: Option<WebhookRow> = tx.fetch_optional(FIND, args![tenant, id]).await?;
    row.map(WebhookRow::into_webhook).transpose()
}

/// The next webhooks by id.
pub(crate) async fn list(tx: &mut Tx, tenant: &TenantId, after: &str, limit: i64) -> Result<Vec<Webhook>> {
    let rows: Vec<WebhookRow> = tx.fetch_all(LIST, args![tenant, after, limit]).await?;
    rows.into_iter().map(WebhookRow::into_webhook).collect()
}

/// How many a tenant has.
pub(crate) async fn count(tx: &mut Tx, tenant: &TenantId) -> Result<i64> {
    let (count,): (i64,) = tx.fetch_one(COUNT, args![tenant]).await?;
    Ok(count)
}

/// Inserts a webhook.
pub(crate) async fn insert(tx: &mut Tx, tenant: &TenantId, webhook: &Webhook) -> Result<()> {
    let args = args![
        tenant,
        &webhook.id,
        webhook.version,
        &webhook.url,
        webhook.description.as_deref(),
        serde_json::to_value(&webhook.events).map_err(Error::internal)?,
        name(webhook.state)?,
        name(webhook.disabled_reason)?,
        webhook.disabled_at,
        webhook.failing_since,
        serde_json::to_value(&webhook.roles).map_err(Error::internal)?,
        &webhook.created_by,
        webhook.created_at,
        webhook.updated_at,
    ];
    tx.execute(INSERT, args).await.map(drop)
}

/// Replaces a webhook that is still at version `before`; false if it is not.
pub(crate) async fn update(tx: &mut Tx, tenant: &TenantId, before: i64, after: &Webhook) -> Result<bool> {
    let args = args![
        tenant,
        &after.id,
        before,
        after.version,
        &after.url,
        after.description.as_deref(),
        serde_json::to_value(&after.events).map_err(Error::internal)?,
        name(after.state)?,
        name(after.disabled_reason)?,
        after.disabled_at,
        after.failing_since,
        serde_json::to_value(&after.roles).map_err(Error::internal)?,
        after.updated_at,
    ];
    Ok(tx.execute(UPDATE, args).await? > 0)
}

/// Notes since when a webhook fails, or that it no longer does. That is no change of the record.
pub(crate) async fn set_failing(
    tx: &mut Tx,
    tenant: &TenantId,
    id: &WebhookId,
    since: Option<Timestamp>,
) -> Result<()> {
    tx.execute(SET_FAILING, args![tenant, id, since]).await.map(drop)
}

/// Removes a webhook that is still at version `before`, with its secrets and attempts; false if it is not.
pub(crate) async fn delete(tx: &mut Tx, tenant: &TenantId, id: &WebhookId, before: i64) -> Result<bool> {
    if tx.execute(DELETE, args![tenant, id, before]).await? == 0 {
        return Ok(false);
    }
    tx.execute(DELETE_SECRETS, args![tenant, id]).await?;
    tx.execute(DELETE_ATTEMPTS, args![tenant, id]).await?;
    Ok(true)
}

/// A secret, sealed.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct SecretRow {
    pub(crate) id: WebhookSecretId,
    pub(crate) sealed: Vec<u8>,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
}

/// The secrets that sign at `now`, the newest first.
pub(crate) async fn secrets(
    tx: &mut Tx,
    tenant: &TenantId,
    id: &WebhookId,
    now: Timestamp,
) -> Result<Vec<SecretRow>> {
    tx.fetch_all(LIST_SECRETS, args![tenant, id, now]).await
}

/// Adds a secret.
pub(crate) async fn insert_secret(
    tx: &mut Tx,
    tenant: &TenantId,
    webhook: &WebhookId,
    (id, sealed): (&WebhookSecretId, &[u8]),
    at: Timestamp,
) -> Result<()> {
    tx.execute(INSERT_SECRET, args![tenant, webhook, id, sealed, at]).await.map(drop)
}

/// Lets the secrets that there are sign until `until` and no longer.
pub(crate) async fn expire_secrets(
    tx: &mut Tx,
    tenant: &TenantId,
    id: &WebhookId,
    until: Timestamp,
) -> Result<()> {
    tx.execute(EXPIRE_SECRETS, args![tenant, id, until]).await.map(drop)
}

/// Keeps an attempt.
pub(crate) async fn insert_attempt(
    tx: &mut Tx,
    tenant: &TenantId,
    webhook: &WebhookId,
    attempt: &Attempt,
) -> Result<()> {
    let Attempt { id, event, name, number, at, duration_ms, outcome, status, message, answer } = attempt;
    let args = args![
        tenant,
        webhook,
        id,
        event,
        name,
        *number,
        *at,
        *duration_ms,
        outcome,
        *status,
        message.as_deref(),
        answer.as_deref(),
    ];
    tx.execute(INSERT_ATTEMPT, args).await.map(drop)
}

#[derive(sqlx::FromRow)]
struct AttemptRow {
    id: WebhookAttemptId,
    event: EventId,
    name: String,
    number: i64,
    at: Timestamp,
    duration_ms: i64,
    outcome: String,
    status: Option<i64>,
    message: Option<String>,
    answer: Option<String>,
}

impl From<AttemptRow> for Attempt {
    fn from(row: AttemptRow) -> Self {
        let AttemptRow { id, event, name, number, at, duration_ms, outcome, status, message, answer } = row;
        Self { id, event, name, number, at, duration_ms, outcome, status, message, answer }
    }
}

/// The attempts before the one with the id `before`, the latest first.
pub(crate) async fn attempts(
    tx: &mut Tx,
    tenant: &TenantId,
    webhook: &WebhookId,
    before: &str,
    limit: i64,
) -> Result<Vec<Attempt>> {
    let rows: Vec<AttemptRow> = tx.fetch_all(LIST_ATTEMPTS, args![tenant, webhook, before, limit]).await?;
    Ok(rows.into_iter().map(Attempt::from).collect())
}

/// Deletes attempts from before `before`, and the oldest beyond `kept_max`; answers how many.
pub(crate) async fn purge_attempts(
    tx: &mut Tx,
    tenant: &TenantId,
    webhook: &WebhookId,
    before: Timestamp,
    kept_max: u32,
) -> Result<u64> {
    let old = tx.execute(DELETE_OLD_ATTEMPTS, args![tenant, webhook, before]).await?;
    Ok(old + tx.execute(DELETE_SURPLUS_ATTEMPTS, args![tenant, webhook, kept_max]).await?)
}

/// Deletes the secrets that no longer sign at `now`.
pub(crate) async fn purge_secrets(tx: &mut Tx, tenant: &TenantId, now: Timestamp) -> Result<u64> {
    tx.execute(DELETE_EXPIRED_SECRETS, args![tenant, now]).await
}
