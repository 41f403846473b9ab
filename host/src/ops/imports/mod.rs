//! Imports: a file goes in, and its rows become records, a batch a transaction.
//!
//! A job is made with its mapping, receives its file ([`upload`]), and is then worked
//! on by whichever node leases it ([`work`]). The job's row is the only memory: where
//! the next record begins is committed together with the records before it.

mod actor;
mod batch;
pub mod ready;
mod rows;
pub mod upload;
pub mod work;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Core, audit, require};
use crate::clock::Timestamp;
use crate::db;
use crate::db::imports::{FaultRow, JobRow, NewJob};
use crate::domain::actor::{Actor, Locale};
use crate::domain::audit::Entry;
use crate::domain::check::Faults;
use crate::domain::check::SOURCE_CHARS_MAX;
use crate::domain::code::{ImportCode, Reason, RecordKind};
use crate::domain::ids::{ImportId, TenantId};
use crate::domain::import::encoding::{Encoding, Sniffer};
use crate::domain::import::mapping::Mapping;
use crate::domain::import::plan::Plan;
use crate::domain::import::{ImportEntity, Wording};
use crate::domain::page::{Page, PageRequest};
use crate::domain::permission::Permission;
use crate::error::{Error, Result};
use crate::texts;
use actor::StoredActor;

/// Jobs of one tenant that wait for their file.
pub const RECEIVING_MAX: i64 = 20;
/// Faults on one page of the error file.
pub const FAULT_PAGE: i64 = 500;

/// What is to be imported, and how the file is to be read.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewImport {
    /// What the rows are.
    pub entity: ImportEntity,
    /// The system that the file comes from: external ids are unique within one.
    #[schema(min_length = 1, max_length = 60)]
    pub source: String,
    /// How the file is read and its columns are used.
    pub mapping: Mapping,
}

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImportState {
    /// Waits for its file, or for the rest of it.
    Receiving,
    /// Has its file and waits for a node.
    Queued,
    /// A node works on it.
    Running,
    /// Every row was looked at; some may have failed.
    Succeeded,
    /// Gave up: `failure` says why. The rows before it are imported.
    Failed,
    /// Somebody has stopped it. The rows before that are imported.
    Cancelled,
}

impl ImportState {
    fn from_stored(text: &str) -> Self {
        match text {
            "receiving" => Self::Receiving,
            "queued" => Self::Queued,
            "running" => Self::Running,
            "succeeded" => Self::Succeeded,
            "cancelled" => Self::Cancelled,
            _ => Self::Failed,
        }
    }

    /// Whether nothing will happen any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Receiving | Self::Queued | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
        }
    }
}

/// How much of the file was read, and what became of its rows; a row that is a line counts as its order does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ImportProgress {
    /// Bytes of the file that have been worked on.
    pub bytes: i64,
    /// Rows that have been worked on.
    pub rows: i64,
    /// Rows that made a record.
    pub created: i64,
    /// Rows that changed one.
    pub updated: i64,
    /// Rows whose record was already as they say.
    pub unchanged: i64,
    /// Rows that were refused.
    pub failed: i64,
}

/// Why an import gave up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ImportFailure {
    /// Stable snake_case code: `columns`, `empty`, `header`, `too_many_failed_rows`, `rights_lost`,
    /// `refused` or `internal`.
    pub code: String,
    /// For a person, in the language of the request.
    pub message: String,
}

/// An import as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Import {
    /// The import's id.
    #[schema(value_type = String)]
    pub id: ImportId,
    /// Grows with every step.
    pub version: i64,
    /// What the rows are.
    pub entity: ImportEntity,
    /// The system that the file comes from.
    pub source: String,
    /// How the file is read.
    pub mapping: Mapping,
    /// How far it is.
    pub state: ImportState,
    /// Bytes of the file that have arrived; an upload that broke off goes on here.
    pub received_bytes: i64,
    /// The encoding that the file is read with, once it is whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// How much was read, and what became of it.
    pub progress: ImportProgress,
    /// Faults in the error file.
    pub faults_kept: i64,
    /// Further faults, which are not in it.
    pub faults_dropped: i64,
    /// Why it gave up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<ImportFailure>,
    /// Whether the file is still stored.
    pub has_content: bool,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last got on.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
}

impl Import {
    /// A stored import, in the language of who sees it.
    fn shown(row: JobRow, locale: Locale) -> Self {
        let rows = row.rows_created + row.rows_updated + row.rows_unchanged + row.rows_failed;
        let failure = row.failure_code.zip(row.failure_message);
        Self {
            id: row.id,
            version: row.version,
            entity: ImportEntity::from_name(&row.entity).unwrap_or(ImportEntity::Orders),
            source: row.source,
            mapping: row.mapping.0,
            state: ImportState::from_stored(&row.state),
            received_bytes: row.received_bytes,
            encoding: row.encoding.as_deref().and_then(Encoding::from_name),
            progress: ImportProgress {
                bytes: row.next_offset,
                rows,
                created: row.rows_created,
                updated: row.rows_updated,
                unchanged: row.rows_unchanged,
                failed: row.rows_failed,
            },
            faults_kept: row.faults_kept,
            faults_dropped: row.faults_dropped,
            failure: failure.map(|(code, message)| ImportFailure {
                message: texts::say(locale, &ImportCode::from_stored(&code, message)),
                code,
            }),
            has_content: row.has_content,
            created_at: row.created_at,
            updated_at: row.updated_at,
            finished_at: row.finished_at,
        }
    }
}

/// A kept fault of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFault {
    /// Its number; the next page begins after it.
    pub seq: i64,
    /// The line in the file.
    pub line: i64,
    /// The column, if the fault is in one.
    pub column: Option<String>,
    /// What stood there.
    pub value: Option<String>,
    /// What is said of it.
    pub wording: Wording,
}

impl KeptFault {
    /// What it says in a language.
    #[must_use]
    pub fn text(&self, locale: Locale) -> String {
        self.wording.text(locale)
    }
}

impl From<FaultRow> for KeptFault {
    fn from(row: FaultRow) -> Self {
        let FaultRow { seq, line, place, code, message, wording, value } = row;
        let wording = Wording::from_stored(code, message, wording.as_deref());
        Self { seq, line, column: place, value, wording }
    }
}

/// A job that is about to be made.
#[derive(Debug)]
pub struct PreparedImport {
    actor: Actor,
    job: NewJob,
    entry: Entry,
    import: Import,
}

/// Makes a job that waits for its file.
///
/// # Errors
/// `Forbidden` without the right to import or to write such records, `Invalid` with
/// every fault of the mapping, `Limit` beyond [`RECEIVING_MAX`].
pub async fn create(core: &Core, actor: &Actor, new: NewImport) -> Result<Import> {
    core.write_once(actor, prepare_new(core, actor, new), |tx, new| Box::pin(apply_new(tx, new))).await
}

async fn prepare_new(core: &Core, actor: &Actor, new: NewImport) -> Result<PreparedImport> {
    require_import(actor, new.entity)?;
    let zone = {
        let mut reader = core.db.read(&actor.tenant).await?;
        if db::imports::count_receiving(&mut reader, &actor.tenant).await? >= RECEIVING_MAX {
            return Err(Error::Limit {
                code: Reason::ImportsReceiving { max: RECEIVING_MAX.to_string() },
                message: format!(
                    "{RECEIVING_MAX} imports already wait for their file; upload or cancel them"
                ),
                retry_after_s: 60,
            });
        }
        db::imports::find_time_zone(&mut reader, &actor.tenant).await?
    };
    let NewImport { entity, source, mut mapping } = new;
    check(entity, &source, &mapping, &zone)?;
    // Written down, so that the import ends as it began if the tenant moves.
    mapping.time.time_zone.get_or_insert(zone);
    let now = core.now();
    let id = ImportId::new(&*core.ids, now);
    let changes = json!({"entity": entity.as_str(), "source": source});
    Ok(PreparedImport {
        actor: actor.clone(),
        job: NewJob {
            id: id.clone(),
            entity: entity.as_str(),
            source: source.clone(),
            mapping: serde_json::to_value(&mapping).map_err(Error::internal)?,
            actor: serde_json::to_value(StoredActor::of(actor)).map_err(Error::internal)?,
            at: now,
        },
        entry: Entry::new(&*core.ids, now, "import.create", "import", &id, changes),
        import: Import {
            id,
            version: 1,
            entity,
            source,
            mapping,
            state: ImportState::Receiving,
            received_bytes: 0,
            encoding: None,
            progress: ImportProgress { bytes: 0, rows: 0, created: 0, updated: 0, unchanged: 0, failed: 0 },
            faults_kept: 0,
            faults_dropped: 0,
            failure: None,
            has_content: true,
            created_at: now,
            updated_at: now,
            finished_at: None,
        },
    })
}

async fn apply_new(tx: &mut db::Tx, new: &PreparedImport) -> Result<Import> {
    let PreparedImport { actor, job, entry, import } = new;
    super::access::recheck(tx, actor, Permission::ImportWrite, job.at).await?;
    db::imports::insert(tx, &actor.tenant, job, &Sniffer::default().to_bytes()).await?;
    audit::append(tx, actor, job.at, entry).await?;
    Ok(import.clone())
}

fn check(entity: ImportEntity, source: &str, mapping: &Mapping, zone: &str) -> Result<()> {
    let mut faults = Faults::default();
    faults.text("/source", source, SOURCE_CHARS_MAX);
    if let Err(found) = Plan::new(entity, mapping.clone(), zone) {
        faults.extend(found.into_iter().map(|mut fault| {
            fault.pointer.insert_str(0, "/mapping");
            fault
        }));
    }
    faults.finish()
}

fn require_import(actor: &Actor, entity: ImportEntity) -> Result<()> {
    require(actor, Permission::ImportWrite)?;
    require(actor, entity.permission())
}

/// The job, as stored.
async fn find_row(core: &Core, tenant: &TenantId, id: &ImportId) -> Result<JobRow> {
    let mut reader = core.db.read(tenant).await?;
    db::imports::find(&mut reader, tenant, id).await?.ok_or_else(|| Error::not_found(RecordKind::Import, id))
}

/// One import.
///
/// # Errors
/// `Forbidden`, `NotFound`.
pub async fn find(core: &Core, actor: &Actor, id: &ImportId) -> Result<Import> {
    require(actor, Permission::ImportRead)?;
    let row = find_row(core, &actor.tenant, id).await?;
    Ok(Import::shown(row, actor.locale))
}

/// The tenant's imports, the newest first.
///
/// # Errors
/// `Forbidden`, and `Invalid` for a cursor of another list.
pub async fn list(core: &Core, actor: &Actor, page: &PageRequest) -> Result<Page<Import>> {
    require(actor, Permission::ImportRead)?;
    // No id sorts after a tilde.
    let before = page.after::<String>()?.unwrap_or_else(|| "~".to_owned());
    let mut reader = core.db.read(&actor.tenant).await?;
    let rows = db::imports::list(&mut reader, &actor.tenant, &before, page.fetch()).await?;
    Ok(Page::of(page, rows, |row| row.id.to_string()).map(|row| Import::shown(row, actor.locale)))
}

/// The next [`FAULT_PAGE`] kept faults after the one with the number `after`.
///
/// # Errors
/// `Forbidden`, `NotFound`.
pub async fn faults(core: &Core, actor: &Actor, id: &ImportId, after: i64) -> Result<Vec<KeptFault>> {
    require(actor, Permission::ImportRead)?;
    find_row(core, &actor.tenant, id).await?;
    let mut reader = core.db.read(&actor.tenant).await?;
    let rows = db::imports::list_faults(&mut reader, &actor.tenant, id, after, FAULT_PAGE).await?;
    Ok(rows.into_iter().map(KeptFault::from).collect())
}

/// Stops an import that has not ended. What it has committed stays.
///
/// # Errors
/// `Forbidden`, `NotFound`, and a conflict if it has ended.
pub async fn cancel(core: &Core, actor: &Actor, id: &ImportId) -> Result<Import> {
    require(actor, Permission::ImportWrite)?;
    loop {
        let row = find_row(core, &actor.tenant, id).await?;
        let import = Import::shown(row, actor.locale);
        require(actor, import.entity.permission())?;
        if import.state.is_final() {
            return Err(Error::conflict(Reason::ImportEnded, format!("import `{id}` has ended already")));
        }
        let now = core.now();
        let entry = Entry::new(&*core.ids, now, "import.cancel", "import", id, json!({}));
        let state = (actor.clone(), id.clone(), import.version, entry, now);
        let cancelled = core
            .db
            .write(&actor.tenant, state, |tx, (actor, id, version, entry, now)| {
                Box::pin(async move {
                    let cancelled = db::imports::cancel(tx, (&actor.tenant, id), *version, *now).await?;
                    if cancelled {
                        audit::append(tx, actor, *now, entry).await?;
                    }
                    Ok(cancelled)
                })
            })
            .await?;
        // A batch may have been committed in between: then the job is as willing as before.
        if cancelled {
            return find(core, actor, id).await;
        }
    }
}
