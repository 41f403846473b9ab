//! Plugins: the catalogue, what the tenant has enabled, and the buttons on records.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{
    HttpState, IfMatch, MergePatch, Page, PageQuery, Path, Record, RequiredIfMatch, Result, ValidJson,
    ValidQuery, Versioned,
};
use crate::domain::actor::Actor;
use crate::domain::event::Subject;
use crate::domain::ids::{CustomerId, OrderId};
use crate::ops::plugins::catalogue::{self, EnablementView, PluginDetails, PluginSummary};
use crate::ops::plugins::data::{self, DocumentView, LogLine};
use crate::ops::plugins::enablement::{self, EnablementPatch, NewEnablement};
use crate::ops::plugins::jobs::{self, DueJob};
use crate::ops::plugins::moves::{self, MoveView};
use crate::ops::plugins::scoring::{self, Score, ScoreQuery};
use crate::ops::plugins::sheet::InstallSheet;
use crate::ops::plugins::{ActionOutcome, actions};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(sheet))
        .routes(routes!(sheet_text))
        .routes(routes!(show_enablement, enable, configure, disable))
        .routes(routes!(roll_back))
        .routes(routes!(migration))
        .routes(routes!(log))
        .routes(routes!(collection))
        .routes(routes!(act_on_customer))
        .routes(routes!(act_on_order))
        .routes(routes!(score))
        .routes(routes!(run_job))
}

impl Record for EnablementView {
    fn version(&self) -> i64 {
        self.version
    }

    fn path(&self) -> String {
        format!("/plugins/{}/enablement", self.plugin)
    }
}

/// What to look for in the catalogue.
#[derive(Debug, Deserialize, utoipa::ToSchema, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Search {
    /// Words that name, publisher or description have.
    #[param(max_length = 200)]
    #[schema(max_length = 200)]
    q: Option<String>,
}

/// The plugins of this host and what they ask for.
#[utoipa::path(get, path = "/plugins", operation_id = "list_plugins", tag = "plugins",
    params(Search), responses((status = 200, body = Page<PluginSummary>)))]
async fn list(
    State(state): State<HttpState>,
    actor: Actor,
    ValidQuery(search): ValidQuery<Search>,
) -> Result<Json<Page<PluginSummary>>> {
    let items = catalogue::list(&state.core, &actor, search.q.as_deref().unwrap_or_default()).await?;
    Ok(Json(Page { items, next_cursor: None }))
}

/// Which version of a plugin.
#[derive(Debug, Deserialize, utoipa::ToSchema, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct OfVersion {
    /// The version; the newest that is installed, if absent.
    #[param(max_length = 64)]
    #[schema(max_length = 64)]
    version: Option<String>,
}

/// The install sheet: everything that a version asks for, does and keeps, in both languages.
#[utoipa::path(get, path = "/plugins/{name}/sheet", operation_id = "get_plugin_sheet", tag = "plugins",
    params(("name" = String, Path), OfVersion),
    responses((status = 200, body = InstallSheet)))]
async fn sheet(
    State(state): State<HttpState>,
    actor: Actor,
    Path(name): Path<String>,
    ValidQuery(of): ValidQuery<OfVersion>,
) -> Result<Json<InstallSheet>> {
    Ok(Json(catalogue::sheet(&state.core, &actor, &name, of.version.as_deref()).await?))
}

/// The install sheet as Markdown in the reader's language.
#[utoipa::path(get, path = "/plugins/{name}/sheet/text", operation_id = "get_plugin_sheet_text", tag = "plugins",
    params(("name" = String, Path), OfVersion),
    responses((status = 200, body = String, content_type = "text/markdown")))]
async fn sheet_text(
    State(state): State<HttpState>,
    actor: Actor,
    Path(name): Path<String>,
    ValidQuery(of): ValidQuery<OfVersion>,
) -> Result<([(HeaderName, HeaderValue); 1], String)> {
    let sheet = catalogue::sheet(&state.core, &actor, &name, of.version.as_deref()).await?;
    let kind = HeaderValue::from_static("text/markdown; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], sheet.to_text(actor.locale)))
}

/// One plugin: its manifest, its state, its limits, its health, its last failures and the events that it
/// could not handle.
#[utoipa::path(get, path = "/plugins/{name}", operation_id = "get_plugin", tag = "plugins",
    params(("name" = String, Path)),
    responses((status = 200, body = PluginDetails)))]
async fn show(
    State(state): State<HttpState>,
    actor: Actor,
    Path(name): Path<String>,
) -> Result<Json<PluginDetails>> {
    Ok(Json(catalogue::find(&state.core, &actor, &name).await?))
}

/// What the tenant has decided about a plugin.
#[utoipa::path(get, path = "/plugins/{name}/enablement", operation_id = "get_plugin_enablement", tag = "plugins",
    params(("name" = String, Path)),
    responses((status = 200, body = EnablementView, headers(("ETag" = String)))))]
async fn show_enablement(
    State(state): State<HttpState>,
    actor: Actor,
    Path(name): Path<String>,
) -> Result<Versioned<EnablementView>> {
    Ok(Versioned::found(enablement::find(&state.core, &actor, &name).await?.into()))
}

/// Enables a plugin, or moves it to another version.
#[utoipa::path(post, path = "/plugins/{name}/enablement", operation_id = "enable_plugin", tag = "plugins",
    params(("name" = String, Path)),
    request_body = NewEnablement,
    responses((status = 201, body = EnablementView, headers(("ETag" = String), ("Location" = String)))))]
async fn enable(
    State(state): State<HttpState>,
    actor: Actor,
    Path(name): Path<String>,
    ValidJson(new): ValidJson<NewEnablement>,
) -> Result<Versioned<EnablementView>> {
    Ok(Versioned::created(enablement::enable(&state.core, &actor, &name, new).await?.into()))
}

/// Changes grants or settings of a plugin; takes effect at once.
#[utoipa::path(patch, path = "/plugins/{name}/enablement", operation_id = "configure_plugin", tag = "plugins",
    params(("name" = String, Path), ("If-Match" = String, Header, description = "The `ETag` of the record, or `*`.")),
    request_body(content = EnablementPatch, content_type = "application/merge-patch+json"),
    responses((status = 200, body = EnablementView, headers(("ETag" = String)))))]
async fn configure(
    State(state): State<HttpState>,
    actor: Actor,
    Path(name): Path<String>,
    RequiredIfMatch(expected): RequiredIfMatch,
    MergePatch(patch): MergePatch<EnablementPatch>,
) -> Result<Versioned<EnablementView>> {
    Ok(Versioned::found(enablement::change(&state.core, &actor, &name, patch, expected).await?.into()))
}

/// Disables a plugin; its data, settings and grants stay.
#[utoipa::path(delete, path = "/plugins/{name}/enablement", operation_id = "disable_plugin", tag = "plugins",
    params(("name" = String, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` of the record, or `*`.")),
    responses((status = 204)))]
async fn disable(
    State(state): State<HttpState>,
    actor: Actor,
    Path(name): Path<String>,
    IfMatch(expected): IfMatch,
) -> Result<StatusCode> {
    enablement::disable(&state.core, &actor, &name, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Puts the version before, with the grants and settings that it had, in the place of the enabled one, at
/// once. Refused if the plugin's data was changed on the way; the version that is left is not kept.
#[utoipa::path(post, path = "/plugins/{name}/rollback", operation_id = "roll_back_plugin", tag = "plugins",
    params(("name" = String, Path)),
    responses((status = 200, body = EnablementView, headers(("ETag" = String)))))]
async fn roll_back(
    State(state): State<HttpState>,
    actor: Actor,
    Path(name): Path<String>,
) -> Result<Versioned<EnablementView>> {
    Ok(Versioned::found(moves::roll_back(&state.core, &actor, &name).await?.into()))
}

/// The last move of a plugin's data to another version: how far it is, or why it failed.
#[utoipa::path(get, path = "/plugins/{name}/migration", operation_id = "get_plugin_migration", tag = "plugins",
    params(("name" = String, Path)),
    responses((status = 200, body = MoveView)))]
async fn migration(
    State(state): State<HttpState>,
    actor: Actor,
    Path(name): Path<String>,
) -> Result<Json<MoveView>> {
    Ok(Json(moves::find(&state.core, &actor, &name).await?))
}

/// A plugin's log, the latest line first.
#[utoipa::path(get, path = "/plugins/{name}/log", operation_id = "list_plugin_log", tag = "plugins",
    params(("name" = String, Path), PageQuery),
    responses((status = 200, body = Page<LogLine>)))]
async fn log(
    State(state): State<HttpState>,
    actor: Actor,
    Path(name): Path<String>,
    ValidQuery(page): ValidQuery<PageQuery>,
) -> Result<Json<Page<LogLine>>> {
    Ok(Json(data::log(&state.core, &actor, &name, &page.into()).await?))
}

/// What a plugin keeps in one of its collections, by key.
#[utoipa::path(get, path = "/plugins/{name}/collections/{collection}", operation_id = "list_plugin_documents",
    tag = "plugins",
    params(("name" = String, Path), ("collection" = String, Path), PageQuery),
    responses((status = 200, body = Page<DocumentView>)))]
async fn collection(
    State(state): State<HttpState>,
    actor: Actor,
    Path((name, collection)): Path<(String, String)>,
    ValidQuery(page): ValidQuery<PageQuery>,
) -> Result<Json<Page<DocumentView>>> {
    let documents = data::collection(&state.core, &actor, (&name, &collection), &page.into()).await?;
    Ok(Json(documents))
}

/// The input of an action, by the schema that the plugin's manifest gives it.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
struct ActionInput(Map<String, Value>);

/// Presses a plugin's button on a customer.
#[utoipa::path(post, path = "/customers/{id}/actions/{plugin}/{action}", operation_id = "act_on_customer",
    tag = "plugins",
    params(("id" = String, Path), ("plugin" = String, Path), ("action" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes the request take effect once.")),
    request_body = ActionInput,
    responses((status = 200, body = ActionOutcome)))]
async fn act_on_customer(
    State(state): State<HttpState>,
    actor: Actor,
    Path((id, plugin, action)): Path<(CustomerId, String, String)>,
    ValidJson(ActionInput(input)): ValidJson<ActionInput>,
) -> Result<Json<ActionOutcome>> {
    let (action, input) = ((plugin.as_str(), action.as_str()), Value::Object(input));
    Ok(Json(actions::run(&state.core, &actor, action, Subject::Customer(id), input).await?))
}

/// Presses a plugin's button on an order.
#[utoipa::path(post, path = "/orders/{id}/actions/{plugin}/{action}", operation_id = "act_on_order",
    tag = "plugins",
    params(("id" = String, Path), ("plugin" = String, Path), ("action" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes the request take effect once.")),
    request_body = ActionInput,
    responses((status = 200, body = ActionOutcome)))]
async fn act_on_order(
    State(state): State<HttpState>,
    actor: Actor,
    Path((id, plugin, action)): Path<(OrderId, String, String)>,
    ValidJson(ActionInput(input)): ValidJson<ActionInput>,
) -> Result<Json<ActionOutcome>> {
    let (action, input) = ((plugin.as_str(), action.as_str()), Value::Object(input));
    Ok(Json(actions::run(&state.core, &actor, action, Subject::Order(id), input).await?))
}

/// Lets a plugin score customers: those that are named, or a page of those that conditions hold for.
/// Changes nothing. Customers that the sender does not see are left out.
#[utoipa::path(post, path = "/plugins/{name}/scoring/{scoring}", operation_id = "score_customers", tag = "plugins",
    params(("name" = String, Path), ("scoring" = String, Path)),
    request_body = ScoreQuery,
    responses((status = 200, body = Page<Score>)))]
async fn score(
    State(state): State<HttpState>,
    actor: Actor,
    Path((name, scoring)): Path<(String, String)>,
    ValidJson(query): ValidJson<ScoreQuery>,
) -> Result<Json<Page<Score>>> {
    Ok(Json(scoring::score(&state.core, &actor, (&name, &scoring), query).await?))
}

/// Makes a plugin's job due now, whatever its schedule says: a server runs it within seconds, and its next
/// time is then the next of its schedule. A job that is due already, or runs, is left as it is.
#[utoipa::path(post, path = "/plugins/{name}/jobs/{job}/run", operation_id = "run_plugin_job", tag = "plugins",
    params(("name" = String, Path), ("job" = String, Path)),
    responses((status = 202, body = DueJob)))]
async fn run_job(
    State(state): State<HttpState>,
    actor: Actor,
    Path((name, job)): Path<(String, String)>,
) -> Result<(StatusCode, Json<DueJob>)> {
    let due = jobs::run_now(&state.core, &actor, &name, &job).await?;
    Ok((StatusCode::ACCEPTED, Json(due)))
}
