//! Rows of imports: jobs, the stored file, kept faults and the counters of equal rows.

use super::{Json, Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::actor::Locale;
use crate::domain::code::RecordKind;
use crate::domain::ids::{ImportId, TenantId};
use crate::domain::import::RowFault;
use crate::domain::import::mapping::Mapping;
use crate::domain::import::reader::Position;
use crate::error::{Error, Result};

statements! {
    INSERT = "
        INSERT INTO import_jobs (tenant, id, version, entity, source, mapping, actor, state, received_bytes, sniffer,
            next_offset, next_line, rows_created, rows_updated, rows_unchanged, rows_failed, faults_kept,
            faults_dropped, leased_until, has_content, created_at, updated_at)
        VALUES ($1, $2, 1, $3, $4, $5, $6, 'receiving', 0, $7, 0, 1, 0, 0, 0, 0, 0, 0, 0, $8, $9, $9)";
    FIND = "
        SELECT id, version, entity, source, mapping, actor, state, received_bytes, sniffer, encoding, header,
            next_offset, next_line, rows_created, rows_updated, rows_unchanged, rows_failed, faults_kept,
            faults_dropped, failure_code, failure_message, has_content, created_at, updated_at, finished_at
        FROM import_jobs
        WHERE tenant = $1
          AND id = $2";
    LIST = "
        SELECT id, version, entity, source, mapping, actor, state, received_bytes, sniffer, encoding, header,
            next_offset, next_line, rows_created, rows_updated, rows_unchanged, rows_failed, faults_kept,
            faults_dropped, failure_code, failure_message, has_content, created_at, updated_at, finished_at
        FROM import_jobs
        WHERE tenant = $1
          AND id < $2
        ORDER BY id DESC
        LIMIT $3";
    COUNT_RECEIVING = "
        SELECT CAST(COUNT(*) AS BIGINT) AS count
        FROM (SELECT id FROM import_jobs WHERE tenant = $1 AND state = 'receiving' LIMIT 100) AS waiting";
    INSERT_CHUNK = "
        INSERT INTO import_chunks (tenant, import, start, bytes)
        VALUES ($1, $2, $3, $4)";
    RECEIVE = "
        UPDATE import_jobs
        SET received_bytes = $4, sniffer = $5, updated_at = $6
        WHERE tenant = $1
          AND id = $2
          AND received_bytes = $3
          AND state = 'receiving'";
    COMPLETE = "
        UPDATE import_jobs
        SET state = 'queued', encoding = $4, updated_at = $5, version = version + 1
        WHERE tenant = $1
          AND id = $2
          AND received_bytes = $3
          AND state = 'receiving'";
    CANCEL = "
        UPDATE import_jobs
        SET state = 'cancelled', updated_at = $4, finished_at = $4, version = version + 1
        WHERE tenant = $1
          AND id = $2
          AND version = $3
          AND state IN ('receiving', 'queued', 'running')";
    FIND_DUE = "
        SELECT tenant, id
        FROM import_jobs
        WHERE state IN ('queued', 'running')
          AND leased_until <= $1
        ORDER BY leased_until, id
        LIMIT 1";
    LEASE = "
        UPDATE import_jobs
        SET state = 'running', lease_token = $3, leased_until = $4, updated_at = $5, version = version + 1
        WHERE tenant = $1
          AND id = $2
          AND state IN ('queued', 'running')
          AND leased_until <= $5";
    RENEW = "
        UPDATE import_jobs
        SET leased_until = $4
        WHERE tenant = $1
          AND id = $2
          AND lease_token = $3
          AND state = 'running'";
    ADVANCE = "
        UPDATE import_jobs
        SET header = $4, next_offset = $5, next_line = $6, rows_created = $7, rows_updated = $8,
            rows_unchanged = $9, rows_failed = $10, faults_kept = $11, faults_dropped = $12, state = $13,
            failure_code = $14, failure_message = $15, leased_until = $16, updated_at = $17, finished_at = $18,
            version = version + 1
        WHERE tenant = $1
          AND id = $2
          AND lease_token = $3
          AND state = 'running'";
    FIND_CHUNK = "
        SELECT start, bytes
        FROM import_chunks
        WHERE tenant = $1
          AND import = $2
          AND start <= $3
        ORDER BY start DESC
        LIMIT 1";
    INSERT_FAULT = "
        INSERT INTO import_errors (tenant, import, seq, line, place, code, message, wording, value)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    LIST_FAULTS = "
        SELECT seq, line, place, code, message, wording, value
        FROM import_errors
        WHERE tenant = $1
          AND import = $2
          AND seq > $3
        ORDER BY seq
        LIMIT $4";
    // The dialects read a list of parameters' texts by functions of their own. The
    // limit keeps PostgreSQL from walking all keys of a young table for each text.
    COUNT_SEEN = split(
        "SELECT key, seen
         FROM import_occurrences
         WHERE tenant = $1
           AND import = $2
           AND key IN (SELECT value FROM json_each($3))",
        "SELECT s.key, s.seen
         FROM json_array_elements_text(CAST($3 AS JSON)) AS keys (value)
         CROSS JOIN LATERAL (
            SELECT key, seen
            FROM import_occurrences
            WHERE tenant = $1
              AND import = $2
              AND key = keys.value
            LIMIT 1) s",
    );
    // As above. `WHERE TRUE` tells SQLite's parser that `ON` begins the conflict clause.
    SET_SEEN = split(
        "INSERT INTO import_occurrences (tenant, import, key, seen)
         SELECT $1, $2, key, value FROM json_each($3)
         WHERE TRUE
         ON CONFLICT (tenant, import, key) DO UPDATE SET seen = excluded.seen",
        "INSERT INTO import_occurrences (tenant, import, key, seen)
         SELECT $1, $2, key, CAST(value AS BIGINT) FROM json_each_text(CAST($3 AS JSON))
         ON CONFLICT (tenant, import, key) DO UPDATE SET seen = excluded.seen",
    );
    FIND_ZONE = "
        SELECT time_zone
        FROM tenants
        WHERE tenant = $1";
    FIND_OUTDATED = "
        SELECT tenant, id
        FROM import_jobs
        WHERE has_content = $1
          AND updated_at < $2
          AND (state IN ('succeeded', 'failed', 'cancelled') OR state = 'receiving' AND updated_at < $3)
        ORDER BY updated_at, id
        LIMIT 1";
    // A slice at a time: half a gigabyte in one transaction would hold up all writers.
    DELETE_CHUNKS = "
        DELETE FROM import_chunks
        WHERE tenant = $1
          AND import = $2
          AND start IN (
              SELECT start FROM import_chunks WHERE tenant = $1 AND import = $2 ORDER BY start LIMIT 64)";
    DELETE_OCCURRENCES = "
        DELETE FROM import_occurrences
        WHERE tenant = $1
          AND import = $2
          AND key IN (
              SELECT key FROM import_occurrences WHERE tenant = $1 AND import = $2 ORDER BY key LIMIT 20000)";
    FORGET_CONTENT = "
        UPDATE import_jobs
        SET has_content = $3, state = CASE state WHEN 'receiving' THEN 'cancelled' ELSE state END,
            finished_at = COALESCE(finished_at, $4)
        WHERE tenant = $1
          AND id = $2";
    RESTART = "
        UPDATE import_jobs
        SET received_bytes = 0, sniffer = $4, updated_at = $5
        WHERE tenant = $1
          AND id = $2
          AND received_bytes = $3
          AND state = 'receiving'";
    DELETE_ALL_CHUNKS = "
        DELETE FROM import_chunks
        WHERE tenant = $1
          AND import = $2";
}

/// A job as it is stored.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct JobRow {
    pub(crate) id: ImportId,
    pub(crate) version: i64,
    pub(crate) entity: String,
    pub(crate) source: String,
    pub(crate) mapping: Json<Mapping>,
    pub(crate) actor: String,
    pub(crate) state: String,
    pub(crate) received_bytes: i64,
    pub(crate) sniffer: Vec<u8>,
    pub(crate) encoding: Option<String>,
    pub(crate) header: Option<Json<Vec<String>>>,
    pub(crate) next_offset: i64,
    pub(crate) next_line: i64,
    pub(crate) rows_created: i64,
    pub(crate) rows_updated: i64,
    pub(crate) rows_unchanged: i64,
    pub(crate) rows_failed: i64,
    pub(crate) faults_kept: i64,
    pub(crate) faults_dropped: i64,
    pub(crate) failure_code: Option<String>,
    pub(crate) failure_message: Option<String>,
    pub(crate) has_content: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) finished_at: Option<Timestamp>,
}

/// A job to insert.
#[derive(Clone, Debug)]
pub(crate) struct NewJob {
    pub(crate) id: ImportId,
    pub(crate) entity: &'static str,
    pub(crate) source: String,
    pub(crate) mapping: serde_json::Value,
    pub(crate) actor: serde_json::Value,
    pub(crate) at: Timestamp,
}

/// Which job, and who works on it.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) tenant: TenantId,
    pub(crate) import: ImportId,
    pub(crate) token: String,
}

/// What a batch leaves behind.
#[derive(Clone, Debug)]
pub(crate) struct Advance {
    pub(crate) header: Option<Vec<String>>,
    pub(crate) next: Position,
    pub(crate) created: i64,
    pub(crate) updated: i64,
    pub(crate) unchanged: i64,
    pub(crate) failed: i64,
    pub(crate) faults_kept: i64,
    pub(crate) faults_dropped: i64,
    pub(crate) state: &'static str,
    pub(crate) failure: Option<(String, String)>,
    pub(crate) leased_until: Timestamp,
    pub(crate) at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct Count {
    count: i64,
}

#[derive(sqlx::FromRow)]
struct DueRow {
    tenant: TenantId,
    id: ImportId,
}

#[derive(sqlx::FromRow)]
struct ChunkRow {
    start: i64,
    bytes: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct SeenRow {
    key: String,
    seen: i64,
}

/// A kept fault.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct FaultRow {
    pub(crate) seq: i64,
    pub(crate) line: i64,
    pub(crate) place: Option<String>,
    pub(crate) code: String,
    pub(crate) message: String,
    /// By what its texts are found; none of old faults, and where the words are a plugin's.
    pub(crate) wording: Option<String>,
    pub(crate) value: Option<String>,
}

/// Inserts a job that waits for its file.
pub(crate) async fn insert(tx: &mut Tx, tenant: &TenantId, job: &NewJob, sniffer: &[u8]) -> Result<()> {
    let NewJob { id, entity, source, mapping, actor, at } = job;
    let args = args![tenant, id, *entity, source, mapping, actor, sniffer, true, *at];
    tx.execute(INSERT, args).await.map(drop)
}

/// A job of a tenant.
pub(crate) async fn find(tx: &mut Tx, tenant: &TenantId, id: &ImportId) -> Result<Option<JobRow>> {
    tx.fetch_optional(FIND, args![tenant, id]).await
}

/// Jobs that are older than `before`, the newest first.
pub(crate) async fn list(tx: &mut Tx, tenant: &TenantId, before: &str, limit: i64) -> Result<Vec<JobRow>> {
    tx.fetch_all(LIST, args![tenant, before, limit]).await
}

/// How many jobs wait for their file; stops counting at 100.
pub(crate) async fn count_receiving(tx: &mut Tx, tenant: &TenantId) -> Result<i64> {
    tx.fetch_one::<Count>(COUNT_RECEIVING, args![tenant]).await.map(|row| row.count)
}

/// Appends a chunk that begins at `start`; false if that is not where the file ends so far.
pub(crate) async fn receive(
    tx: &mut Tx,
    job: (&TenantId, &ImportId),
    start: i64,
    bytes: &[u8],
    (sniffer, at): (&[u8], Timestamp),
) -> Result<bool> {
    let (tenant, id) = job;
    let end = start + i64::try_from(bytes.len()).map_err(Error::internal)?;
    if tx.execute(RECEIVE, args![tenant, id, start, end, sniffer, at]).await? == 0 {
        return Ok(false);
    }
    tx.execute(INSERT_CHUNK, args![tenant, id, start, bytes]).await?;
    Ok(true)
}

/// Throws away what has arrived; false if the file is no longer as long as `received`.
pub(crate) async fn restart(
    tx: &mut Tx,
    job: (&TenantId, &ImportId),
    received: i64,
    sniffer: &[u8],
    at: Timestamp,
) -> Result<bool> {
    let (tenant, id) = job;
    if tx.execute(RESTART, args![tenant, id, received, sniffer, at]).await? == 0 {
        return Ok(false);
    }
    tx.execute(DELETE_ALL_CHUNKS, args![tenant, id]).await?;
    Ok(true)
}

/// Says that the file is whole; false if it is not `received` bytes long.
pub(crate) async fn complete(
    tx: &mut Tx,
    job: (&TenantId, &ImportId),
    received: i64,
    encoding: &str,
    at: Timestamp,
) -> Result<bool> {
    let (tenant, id) = job;
    Ok(tx.execute(COMPLETE, args![tenant, id, received, encoding, at]).await? > 0)
}

/// Cancels a job that is not finished; false if it is, or is no longer at `version`.
pub(crate) async fn cancel(
    tx: &mut Tx,
    job: (&TenantId, &ImportId),
    version: i64,
    at: Timestamp,
) -> Result<bool> {
    let (tenant, id) = job;
    Ok(tx.execute(CANCEL, args![tenant, id, version, at]).await? > 0)
}

/// A job that nobody works on, of any tenant.
pub(crate) async fn find_due(tx: &mut Tx, now: Timestamp) -> Result<Option<(TenantId, ImportId)>> {
    let row = tx.fetch_optional::<DueRow>(FIND_DUE, args![now]).await?;
    Ok(row.map(|DueRow { tenant, id }| (tenant, id)))
}

/// Takes a job; false if somebody else was faster.
pub(crate) async fn lease(tx: &mut Tx, claim: &Claim, until: Timestamp, now: Timestamp) -> Result<bool> {
    let Claim { tenant, import, token } = claim;
    Ok(tx.execute(LEASE, args![tenant, import, token, until, now]).await? > 0)
}

/// Keeps a job; false if it was cancelled or taken over.
pub(crate) async fn renew(tx: &mut Tx, claim: &Claim, until: Timestamp) -> Result<bool> {
    let Claim { tenant, import, token } = claim;
    Ok(tx.execute(RENEW, args![tenant, import, token, until]).await? > 0)
}

/// Writes a job's progress; false if it was cancelled or taken over.
pub(crate) async fn advance(tx: &mut Tx, claim: &Claim, advance: &Advance) -> Result<bool> {
    let Claim { tenant, import, token } = claim;
    let Advance {
        header,
        next,
        created,
        updated,
        unchanged,
        failed,
        faults_kept,
        faults_dropped,
        state,
        failure,
        leased_until,
        at,
    } = advance;
    let header = header.as_ref().map(|header| serde_json::Value::from(header.clone()).to_string());
    let (code, message) = failure.clone().unzip();
    let finished_at = (*state != "running").then_some(*at);
    let args = args![
        tenant,
        import,
        token,
        header,
        i64::try_from(next.offset).map_err(Error::internal)?,
        i64::try_from(next.line).map_err(Error::internal)?,
        *created,
        *updated,
        *unchanged,
        *failed,
        *faults_kept,
        *faults_dropped,
        *state,
        code,
        message,
        *leased_until,
        *at,
        finished_at,
    ];
    Ok(tx.execute(ADVANCE, args).await? > 0)
}

/// The stored bytes from `offset` to the end of their chunk; empty at the end of the file.
pub(crate) async fn read_content(
    tx: &mut Tx,
    tenant: &TenantId,
    id: &ImportId,
    offset: u64,
) -> Result<Vec<u8>> {
    let offset = i64::try_from(offset).map_err(Error::internal)?;
    let chunk = tx.fetch_optional::<ChunkRow>(FIND_CHUNK, args![tenant, id, offset]).await?;
    let Some(ChunkRow { start, mut bytes }) = chunk else {
        return Ok(Vec::new());
    };
    let skipped = usize::try_from(offset - start).map_err(Error::internal)?.min(bytes.len());
    bytes.drain(..skipped);
    Ok(bytes)
}

/// Keeps faults, numbered from `first` on.
pub(crate) async fn insert_faults(
    tx: &mut Tx,
    tenant: &TenantId,
    id: &ImportId,
    first: i64,
    faults: &[RowFault],
) -> Result<()> {
    for (seq, fault) in (first..).zip(faults) {
        let RowFault { line, column, value, wording } = fault;
        let line = i64::try_from(*line).map_err(Error::internal)?;
        let (message, stored) = (wording.text(Locale::En), wording.to_stored());
        let (column, value) = (column.as_deref(), value.as_deref());
        let args = args![tenant, id, seq, line, column, &wording.code, &message, stored.as_deref(), value];
        tx.execute(INSERT_FAULT, args).await?;
    }
    Ok(())
}

/// Kept faults after the one with the number `after`.
pub(crate) async fn list_faults(
    tx: &mut Tx,
    tenant: &TenantId,
    id: &ImportId,
    after: i64,
    limit: i64,
) -> Result<Vec<FaultRow>> {
    tx.fetch_all(LIST_FAULTS, args![tenant, id, after, limit]).await
}

/// How often rows with these keys were seen, where they were.
pub(crate) async fn count_seen(
    tx: &mut Tx,
    tenant: &TenantId,
    id: &ImportId,
    keys: &[&str],
) -> Result<Vec<(String, i64)>> {
    let keys = serde_json::Value::from(keys.to_vec());
    let rows = tx.fetch_all::<SeenRow>(COUNT_SEEN, args![tenant, id, keys]).await?;
    Ok(rows.into_iter().map(|SeenRow { key, seen }| (key, seen)).collect())
}

/// Writes down how often rows were seen; `seen` is an object of keys and numbers.
pub(crate) async fn set_seen(
    tx: &mut Tx,
    tenant: &TenantId,
    id: &ImportId,
    seen: &serde_json::Value,
) -> Result<()> {
    tx.execute(SET_SEEN, args![tenant, id, seen]).await.map(drop)
}

/// A job whose file is kept for nothing: finished before `finished`, or abandoned before `abandoned`.
pub(crate) async fn find_outdated(
    tx: &mut Tx,
    finished: Timestamp,
    abandoned: Timestamp,
) -> Result<Option<(TenantId, ImportId)>> {
    let row = tx.fetch_optional::<DueRow>(FIND_OUTDATED, args![true, finished, abandoned]).await?;
    Ok(row.map(|DueRow { tenant, id }| (tenant, id)))
}

/// Deletes some of a job's file and counters; false when nothing is left.
pub(crate) async fn delete_some_content(
    tx: &mut Tx,
    job: (&TenantId, &ImportId),
    at: Timestamp,
) -> Result<bool> {
    let (tenant, id) = job;
    let chunks = tx.execute(DELETE_CHUNKS, args![tenant, id]).await?;
    let counters = tx.execute(DELETE_OCCURRENCES, args![tenant, id]).await?;
    if chunks + counters > 0 {
        return Ok(true);
    }
    tx.execute(FORGET_CONTENT, args![tenant, id, false, at]).await?;
    Ok(false)
}

#[derive(sqlx::FromRow)]
struct ZoneRow {
    time_zone: String,
}

/// The tenant's time zone.
pub(crate) async fn find_time_zone(tx: &mut Tx, tenant: &TenantId) -> Result<String> {
    let row = tx.fetch_optional::<ZoneRow>(FIND_ZONE, args![tenant]).await?;
    row.map(|row| row.time_zone).ok_or_else(|| Error::not_found(RecordKind::Tenant, tenant))
}
