//! The API's description (OpenAPI 3.1), and a page to browse it that needs no network.

use std::sync::{Arc, LazyLock};

use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, License, OpenApi, OpenApiBuilder, Ref, ResponseBuilder,
    SecurityRequirement,
};
use utoipa::{PartialSchema as _, ToSchema as _};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::{API_PREFIX, HttpState, ProblemDocument};

/// The bundled page's own script is allowed, nothing from elsewhere; it sets styles on elements.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
);

/// The description of the whole API.
#[must_use]
pub fn document() -> OpenApi {
    let routes = super::ordinary_routes().merge(super::streaming_routes());
    finish(super::described(routes).into_openapi())
}

/// The same as JSON, for what is added to it.
pub(super) fn document_as_json() -> Value {
    static DOCUMENT: LazyLock<Value> =
        LazyLock::new(|| serde_json::to_value(document()).expect("a description is plain data"));
    DOCUMENT.clone()
}

/// The response of an operation that fails.
pub(super) fn problem_as_json() -> Value {
    serde_json::to_value(problem()).expect("a description is plain data")
}

/// The description without its operations.
pub(super) fn frame() -> OpenApi {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A token made with `POST /api/v1/tokens`."))
        .build();
    let cookie = ApiKey::Cookie(ApiKeyValue::with_description(
        "hospes",
        "The cookie that `POST /api/v1/sessions` sets; `__Host-hospes` over HTTPS.",
    ));
    let components = ComponentsBuilder::new()
        .security_scheme("token", SecurityScheme::Http(bearer))
        .security_scheme("session", SecurityScheme::ApiKey(cookie))
        .build();
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Hospes")
                .version("1")
                .description(Some(include_str!("openapi.md")))
                .license(Some(License::new("Apache-2.0")))
                .build(),
        )
        .components(Some(components))
        .security(Some([
            SecurityRequirement::new::<_, [&str; 0], &str>("token", []),
            SecurityRequirement::new::<_, [&str; 0], &str>("session", []),
        ]))
        .build()
}

/// Adds to every operation the problem documents that it may answer.
fn finish(mut document: OpenApi) -> OpenApi {
    let problem = problem();
    if let Some(components) = document.components.as_mut() {
        let mut schemas = Vec::new();
        ProblemDocument::schemas(&mut schemas);
        schemas.push((ProblemDocument::name().into_owned(), ProblemDocument::schema()));
        components.schemas.extend(schemas);
    }
    for path in document.paths.paths.values_mut() {
        let operations = [&mut path.get, &mut path.post, &mut path.put, &mut path.patch, &mut path.delete];
        for operation in operations.into_iter().flatten() {
            operation
                .responses
                .responses
                .entry("default".to_owned())
                .or_insert_with(|| problem.clone().into());
        }
    }
    document
}

fn problem() -> utoipa::openapi::Response {
    ResponseBuilder::new()
        .description("A problem document that says what is wrong.")
        .content(
            "application/problem+json",
            ContentBuilder::new().schema(Some(Ref::from_schema_name("ProblemDocument"))).build(),
        )
        .build()
}

/// `/api/v1/openapi.json` and `/docs`.
pub(super) fn routes(document: OpenApi) -> Router<HttpState> {
    let document = Arc::new(finish(document));
    let address = format!("{API_PREFIX}/openapi.json");
    let tenants = format!("{API_PREFIX}/tenant/openapi.json");
    let page = Router::from(SwaggerUi::new("/docs").config(Config::new([address.clone(), tenants])));
    Router::new()
        .route(&address, get(move || std::future::ready(Json(Arc::clone(&document)))))
        .merge(page.layer(middleware::from_fn(allow_page)))
}

async fn allow_page(request: axum::extract::Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, PAGE_POLICY);
    response.into_response()
}
