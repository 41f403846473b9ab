//! Webhooks.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{
    API_PREFIX, HttpState, IfMatch, MergePatch, Page, PageQuery, Path, Record, Result, ValidJson, ValidQuery,
    Versioned,
};
use crate::clock::Timestamp;
use crate::domain::actor::Actor;
use crate::domain::ids::{WebhookId, WebhookSecretId};
use crate::domain::webhook::{Attempt, NewWebhook, WebhookPatch};
use crate::ops::webhooks::{self, MadeSecret, MadeWebhook, WebhookView};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update, delete))
        .routes(routes!(rotate))
        .routes(routes!(test))
        .routes(routes!(attempts))
}

/// A webhook that has just been made.
#[derive(Debug, Serialize, ToSchema)]
struct Made {
    /// The webhook.
    #[serde(flatten)]
    view: WebhookView,
    /// What its deliveries are signed with, as Standard Webhooks describes it. Shown this once: a
    /// repetition with the same `Idempotency-Key` answers without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl Record for WebhookView {
    fn version(&self) -> i64 {
        self.webhook.version
    }

    fn path(&self) -> String {
        format!("/webhooks/{}", self.webhook.id)
    }
}

impl Record for Made {
    fn version(&self) -> i64 {
        self.view.version()
    }

    fn path(&self) -> String {
        self.view.path()
    }
}

/// The webhooks in the order in which they were made, with how they are doing.
#[utoipa::path(get, path = "/webhooks", operation_id = "list_webhooks", tag = "webhooks", params(PageQuery),
    responses((status = 200, body = Page<WebhookView>)))]
async fn list(
    State(state): State<HttpState>,
    actor: Actor,
    ValidQuery(query): ValidQuery<PageQuery>,
) -> Result<Json<Page<WebhookView>>> {
    Ok(Json(webhooks::list(&state.core, &actor, &query.into()).await?))
}

/// Makes a webhook. From now on it is told what happens, of each event at least once and in
/// any order: a request with the event as CloudEvents 1.0, signed by Standard Webhooks 1.0.
/// Whatever is not answered 2xx within 15 seconds is tried again after 5 seconds, 5 minutes,
/// half an hour, 2, 5, 10 and 10 hours; then it is a dead letter of the consumer `webhook:<id>`.
#[utoipa::path(post, path = "/webhooks", operation_id = "create_webhook", tag = "webhooks",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes the request take effect once.")),
    request_body = NewWebhook,
    responses((status = 201, body = Made, headers(("ETag" = String), ("Location" = String)))))]
async fn create(
    State(state): State<HttpState>,
    actor: Actor,
    ValidJson(new): ValidJson<NewWebhook>,
) -> Result<Versioned<Made>> {
    let MadeWebhook { view, secret } = webhooks::create(&state.core, &actor, new).await?;
    Ok(Versioned::created(Made { view, secret }))
}

/// One webhook, with how it is doing.
#[utoipa::path(get, path = "/webhooks/{id}", operation_id = "get_webhook", tag = "webhooks",
    params(("id" = String, Path)),
    responses((status = 200, body = WebhookView, headers(("ETag" = String)))))]
async fn show(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<WebhookId>,
) -> Result<Versioned<WebhookView>> {
    Ok(Versioned::found(webhooks::find(&state.core, &actor, &id).await?))
}

/// Changes a webhook, or disables or enables it.
#[utoipa::path(patch, path = "/webhooks/{id}", operation_id = "update_webhook", tag = "webhooks",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` of the record.")),
    request_body(content = WebhookPatch, content_type = "application/merge-patch+json"),
    responses((status = 200, body = WebhookView, headers(("ETag" = String)))))]
async fn update(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<WebhookId>,
    IfMatch(version): IfMatch,
    MergePatch(patch): MergePatch<WebhookPatch>,
) -> Result<Versioned<WebhookView>> {
    Ok(Versioned::found(webhooks::change(&state.core, &actor, (&id, version), patch).await?))
}

/// Removes a webhook with its secrets, its attempts and what waits for it.
#[utoipa::path(delete, path = "/webhooks/{id}", operation_id = "delete_webhook", tag = "webhooks",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` of the record.")),
    responses((status = 204)))]
async fn delete(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<WebhookId>,
    IfMatch(version): IfMatch,
) -> Result<StatusCode> {
    webhooks::delete(&state.core, &actor, (&id, version)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How a secret is changed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rotation {
    /// For how many hours the secrets that there are sign beside the new one; 24 if absent.
    #[serde(default)]
    #[schema(value_type = u32, required = false, minimum = 0, maximum = 168)]
    overlap_hours: Option<u32>,
}

/// A secret that has just been made.
#[derive(Debug, Serialize, ToSchema)]
struct NewSecret {
    /// Its id.
    #[schema(value_type = String)]
    id: WebhookSecretId,
    /// Itself. Shown this once: a repetition with the same `Idempotency-Key` answers without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// Until when the ones before it sign too.
    #[schema(value_type = String, format = DateTime)]
    overlap_until: Timestamp,
}

/// Makes a new secret. Until the overlap is over, every delivery carries a signature of each.
#[utoipa::path(post, path = "/webhooks/{id}/secrets", operation_id = "rotate_webhook_secret", tag = "webhooks",
    params(("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes the request take effect once.")),
    request_body = Rotation,
    responses((status = 201, body = NewSecret, headers(("Location" = String)))))]
async fn rotate(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<WebhookId>,
    ValidJson(rotation): ValidJson<Rotation>,
) -> Result<Response> {
    let made = webhooks::rotate(&state.core, &actor, &id, rotation.overlap_hours).await?;
    let MadeSecret { id: secret_id, secret, overlap_until } = made;
    let location = format!("{API_PREFIX}/webhooks/{id}");
    let body = Json(NewSecret { id: secret_id, secret, overlap_until });
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], body).into_response())
}

/// Sends an event named `webhook.test` now, once, and answers how that went; also to a
/// webhook that is disabled.
#[utoipa::path(post, path = "/webhooks/{id}/test", operation_id = "test_webhook", tag = "webhooks",
    params(("id" = String, Path)),
    responses((status = 200, body = Attempt)))]
async fn test(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<WebhookId>,
) -> Result<Json<Attempt>> {
    Ok(Json(webhooks::test(&state.core, &actor, &id).await?))
}

/// The attempts to tell a webhook, the latest first; the last thousand, for thirty days.
#[utoipa::path(get, path = "/webhooks/{id}/attempts", operation_id = "list_webhook_attempts", tag = "webhooks",
    params(("id" = String, Path), PageQuery),
    responses((status = 200, body = Page<Attempt>)))]
async fn attempts(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<WebhookId>,
    ValidQuery(query): ValidQuery<PageQuery>,
) -> Result<Json<Page<Attempt>>> {
    Ok(Json(webhooks::attempts(&state.core, &actor, &id, &query.into()).await?))
}
