//! Imports: make a job, upload its file, follow it, read what was wrong.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::SignedIn;
use super::live::{self, Live, Teller};
use super::problem::ProblemKind;
use super::{HttpState, Page, PageQuery, Path, Problem, Record, Result, ValidJson, ValidQuery, Versioned};
use crate::domain::actor::{Actor, Locale};
use crate::domain::code::{Reason, RowCode};
use crate::domain::ids::ImportId;
use crate::error::Error;
use crate::ops::imports::upload::Upload;
use crate::ops::imports::{self, Import, KeptFault, NewImport};
use crate::texts;

/// How long a client may be silent in the middle of an upload.
const UPLOAD_SILENCE_MAX: Duration = Duration::from_secs(30);
/// How often a stream of progress looks at the job.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(create_import, list_imports))
        .routes(routes!(find_import))
        .routes(routes!(cancel_import))
}

impl Record for Import {
    fn version(&self) -> i64 {
        self.version
    }

    fn path(&self) -> String {
        format!("/imports/{}", self.id)
    }
}

pub(super) fn streaming_routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(upload_import))
        .routes(routes!(follow_import))
        .routes(routes!(list_import_errors))
}

/// Make an import job.
///
/// The job waits for its file: send that to `/imports/{id}/content`.
///
/// Rows of orders are one order each. With `order_rows: "lines"` they are one line each: rows that
/// follow one another and share the external id are one order of at most 500 lines, which is taken
/// whole or not at all. Its first row says what the order is; the others repeat that, or leave
/// it empty. Without a `total`, the lines' amounts add up to it. Rows of an order that do not
/// follow its first ones are refused with `not_adjacent`, and what stood before stays: sort
/// the file by order.
///
/// Contact points of customers are added to those that are known; with `contact_points: "replace"`
/// they take their place. So are tags, which a cell separates by `;` or `|`, and so do they with
/// `tags: "replace"`. Tenants' own fields are `custom_fields.<name>`.
#[utoipa::path(post, path = "/imports", tag = "imports", request_body = NewImport,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes the request take effect once.")),
    responses((status = 201, body = Import)))]
async fn create_import(
    State(state): State<HttpState>,
    actor: Actor,
    ValidJson(new): ValidJson<NewImport>,
) -> Result<Versioned<Import>> {
    Ok(Versioned::created(imports::create(&state.core, &actor, new).await?))
}

/// List imports, the newest first.
#[utoipa::path(get, path = "/imports", tag = "imports", params(PageQuery),
    responses((status = 200, body = Page<Import>)))]
async fn list_imports(
    State(state): State<HttpState>,
    actor: Actor,
    ValidQuery(page): ValidQuery<PageQuery>,
) -> Result<Json<Page<Import>>> {
    Ok(Json(imports::list(&state.core, &actor, &page.into()).await?))
}

/// Read an import: its state, its progress and its counts.
#[utoipa::path(get, path = "/imports/{id}", tag = "imports", params(("id" = String, Path)),
    responses((status = 200, body = Import)))]
async fn find_import(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<ImportId>,
) -> Result<Versioned<Import>> {
    Ok(Versioned::found(imports::find(&state.core, &actor, &id).await?))
}

/// Stop an import. What it has committed stays.
#[utoipa::path(post, path = "/imports/{id}/cancel", tag = "imports", params(("id" = String, Path)),
    responses((status = 200, body = Import)))]
async fn cancel_import(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<ImportId>,
) -> Result<Versioned<Import>> {
    Ok(Versioned::found(imports::cancel(&state.core, &actor, &id).await?))
}

/// Which part of the file a body is.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct UploadQuery {
    /// Where the body begins in the file: 0 begins again, `received_bytes` goes on.
    #[param(minimum = 0, default = 0)]
    offset: Option<u64>,
    /// Whether more is to come after this body.
    #[param(default = false)]
    partial: Option<bool>,
}

/// Upload the file of an import.
///
/// The body is the file, at most 512 MiB, not compressed. What has arrived is kept if the
/// connection breaks: `received_bytes` of the import says where to go on with `offset`.
/// When the file is whole, the import is queued.
#[utoipa::path(put, path = "/imports/{id}/content", tag = "imports",
    params(("id" = String, Path), UploadQuery),
    request_body(content((String = "text/csv"), (String = "application/x-ndjson"))),
    responses((status = 202, body = Import, description = "The file, or this part of it, has arrived.")))]
async fn upload_import(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<ImportId>,
    ValidQuery(query): ValidQuery<UploadQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let import = imports::find(&state.core, &actor, &id).await?;
    check_headers(&headers, import.mapping.format.media_type())?;
    let mut upload = imports::upload::begin(&state.core, &actor, &id, query.offset.unwrap_or(0)).await?;
    if let Err(problem) = receive(&mut upload, body).await {
        // What has arrived is worth keeping; the client asks for `received_bytes`.
        if problem.code() == Reason::UploadBroken.as_str() {
            upload.pause().await?;
        }
        return Err(problem);
    }
    let import = if query.partial == Some(true) { upload.pause().await? } else { upload.finish().await? };
    Ok((StatusCode::ACCEPTED, Json(import)).into_response())
}

fn check_headers(headers: &HeaderMap, wanted: &'static str) -> Result<()> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let sent = text(header::CONTENT_TYPE);
    let essence = sent.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let encoding = text(header::CONTENT_ENCODING).to_ascii_lowercase();
    if essence == wanted && matches!(encoding.as_str(), "" | "identity") {
        return Ok(());
    }
    Err(Problem::unsupported_media_type(wanted))
}

async fn receive(upload: &mut Upload<'_>, body: Body) -> Result<()> {
    let broken = || Problem::new(StatusCode::BAD_REQUEST, ProblemKind::UploadBroken, Reason::UploadBroken);
    let mut pieces = body.into_data_stream();
    loop {
        match tokio::time::timeout(UPLOAD_SILENCE_MAX, pieces.next()).await {
            Ok(Some(Ok(piece))) => upload.push(&piece).await?,
            Ok(None) => return Ok(()),
            Ok(Some(Err(_))) | Err(_) => return Err(broken()),
        }
    }
}

/// Follow an import as server-sent events.
///
/// An event `progress` with the import comes at once and with every step; the stream ends with the
/// import, after a quarter of an hour, and within seconds of the loss of the right to it.
#[utoipa::path(get, path = "/imports/{id}/progress", tag = "imports", params(("id" = String, Path)),
    responses((status = 200, content_type = "text/event-stream", body = String)))]
async fn follow_import(
    State(state): State<HttpState>,
    signed_in: SignedIn,
    Path(id): Path<ImportId>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let live = Live::begin(state, signed_in)?;
    // Refused here with a status, not in the middle of the stream.
    let first = imports::find(&live.state.core, &live.actor, &id).await?;
    Ok(live::answer(Follower { live, id, seen: None, next: Some(first) }))
}

/// Tells one client how an import gets on.
struct Follower {
    live: Live,
    id: ImportId,
    /// The version that was told last.
    seen: Option<i64>,
    /// What was read already; none after the end.
    next: Option<Import>,
}

impl Teller for Follower {
    async fn next(&mut self) -> Option<Event> {
        let mut import = self.next.take()?;
        while self.seen == Some(import.version) {
            if !self.live.wait(std::future::pending(), PROGRESS_INTERVAL).await {
                return None;
            }
            import = match imports::find(&self.live.state.core, &self.live.actor, &self.id).await {
                Ok(import) => import,
                Err(error) => {
                    tracing::warn!(import = %self.id, error = ?error, "a stream of progress ends early");
                    return None;
                }
            };
        }
        self.seen = Some(import.version);
        let event = event(&import);
        if !import.state.is_final() {
            self.next = Some(import);
        }
        Some(event)
    }
}

fn event(import: &Import) -> Event {
    let data = serde_json::to_string(import).expect("an import is plain data");
    Event::default().event("progress").id(import.version.to_string()).data(data)
}

/// Download what was wrong with the rows of an import.
///
/// A CSV file in UTF-8 with a byte-order mark and the columns line, column, code, message and
/// value. The messages are in the language of the request, as `Accept-Language` asks for it; the
/// codes are the same in all. Values that a spreadsheet would take for a formula begin with an
/// apostrophe.
/// At most 10,000 faults are kept; the last row says how many more there were.
#[utoipa::path(get, path = "/imports/{id}/errors", tag = "imports", params(("id" = String, Path)),
    responses((status = 200, content_type = "text/csv", body = String)))]
async fn list_import_errors(
    State(state): State<HttpState>,
    actor: Actor,
    Path(id): Path<ImportId>,
) -> Result<Response> {
    let import = imports::find(&state.core, &actor, &id).await?;
    let name = format!("attachment; filename=\"{id}-errors.csv\"");
    let name = HeaderValue::from_str(&name).map_err(Error::internal)?;
    let head = stream::once(async { Ok(Bytes::from("\u{feff}line,column,code,message,value\r\n")) });
    let locale = actor.locale;
    let tail = stream::once(async move { more(import.faults_dropped, locale) });
    let pages = stream::try_unfold((state, actor, id, -1), |(state, actor, id, after)| async move {
        let faults = imports::faults(&state.core, &actor, &id, after).await?;
        let Some(last) = faults.last().map(|fault| fault.seq) else {
            return Ok(None);
        };
        Ok(Some((written(&faults, actor.locale)?, (state, actor, id, last))))
    });
    let body = head.chain(pages).chain(tail).map_err(|error: Error| {
        tracing::error!(error = ?error, "an error file broke off");
        error
    });
    let content_type = HeaderValue::from_static("text/csv; charset=utf-8");
    let headers = [(header::CONTENT_TYPE, content_type), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// The last row, if faults were dropped.
fn more(dropped: i64, locale: Locale) -> Result<Bytes, Error> {
    if dropped == 0 {
        return Ok(Bytes::new());
    }
    let code = RowCode::FurtherFaults { count: dropped.to_string() };
    rows(&[["", "", code.as_str(), &texts::say(locale, &code), ""].map(str::to_owned)])
}

fn written(faults: &[KeptFault], locale: Locale) -> Result<Bytes, Error> {
    let row = |fault: &KeptFault| {
        let KeptFault { seq: _, line, column, value, wording } = fault;
        let text = |text: &Option<String>| text.as_deref().map(defused).unwrap_or_default();
        let message = defused(&fault.text(locale));
        [line.to_string(), text(column), wording.code.clone(), message, text(value)]
    };
    rows(&faults.iter().map(row).collect::<Vec<_>>())
}

fn rows(rows: &[[String; 5]]) -> Result<Bytes, Error> {
    let mut writer = csv::WriterBuilder::new()
        .has_headers(false)
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).map_err(Error::internal)?;
    }
    let written = writer.into_inner().map_err(|error| Error::internal(error.to_string()))?;
    Ok(Bytes::from(written))
}

/// Text that no spreadsheet takes for a formula.
fn defused(text: &str) -> String {
    let dangerous = ['=', '+', '-', '@', '\t', '\r', '\n', '\0', '＝', '＋', '－', '＠'];
    if text.trim_start_matches([' ', '\u{a0}']).starts_with(dangerous) {
        return format!("'{text}");
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spreadsheet_would_run_is_defused() {
        for text in ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "＝1", " =1"] {
            assert!(defused(text).starts_with('\''), "{text}");
        }
        assert_eq!(defused("1-1=0"), "1-1=0");
    }
}
