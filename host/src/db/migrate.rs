//! Migrations: owns the order in which the schema came to be, and who may see which row.
//!
//! Forward only, each in one transaction with the line that remembers it. One that has
//! landed is never edited: its checksum is compared. Row-level security and grants are
//! not written in migrations but applied here, so that no table can go without.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use sqlx::{PgConnection, SqliteConnection};

use super::open::OpenError;

include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

/// A step of the schema, in both dialects.
pub(super) struct Migration {
    number: u32,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

/// Two migrations at a time would trip over each other; the number is the lock's name.
const LOCK: &str = "SELECT pg_advisory_lock(4832017765210)";

const CREATE_SQLITE: &str = "
    CREATE TABLE IF NOT EXISTS schema_migrations (
        number INTEGER NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        checksum TEXT NOT NULL
    ) STRICT";
const CREATE_POSTGRES: &str = "
    CREATE TABLE IF NOT EXISTS schema_migrations (
        number BIGINT NOT NULL PRIMARY KEY,
        name TEXT COLLATE \"C\" NOT NULL,
        checksum TEXT COLLATE \"C\" NOT NULL
    )";
const LIST: &str = "SELECT number, name, checksum FROM schema_migrations ORDER BY number";
const INSERT: &str = "INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)";

/// The two group roles. They are the cluster's, so that another database's migration
/// may have made them, at this very moment even.
const CREATE_ROLES: &str = "
    DO $$
    DECLARE
        wanted TEXT;
    BEGIN
        FOREACH wanted IN ARRAY ARRAY['hospes_server', 'hospes_directory'] LOOP
            IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = wanted) THEN
                BEGIN
                    EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
                EXCEPTION WHEN duplicate_object OR unique_violation THEN
                    NULL;
                END;
            END IF;
        END LOOP;
    END
    $$";

/// Row-level security and grants for every table; changes nothing the second time.
///
/// A table with a `tenant` column shows `hospes_server` the rows of the session's
/// tenant. The directory's role reads what is listed, and nothing else.
const SECURE: &str = "
    DO $$
    DECLARE
        directory CONSTANT TEXT[] := ARRAY[
            'sessions', 'tokens', 'tenants', 'lanes', 'deliveries', 'schedules', 'import_jobs', 'plugin_moves'];
        t RECORD;
        key TEXT;
    BEGIN
        GRANT USAGE ON SCHEMA public TO hospes_server, hospes_directory;
        FOR t IN
            SELECT c.oid, CAST(c.relname AS TEXT) AS name, c.relrowsecurity AND c.relforcerowsecurity AS secured
            FROM pg_class c
            JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
            ORDER BY c.relname
        LOOP
            EXECUTE format('REVOKE ALL ON public.%I FROM PUBLIC', t.name);
            IF t.name = 'schema_migrations' THEN
                EXECUTE format('GRANT SELECT ON public.%I TO hospes_server', t.name);
                CONTINUE;
            END IF;
            -- What has happened is not rewritten; old events are purged, the audit is not.
            EXECUTE format(
                CASE t.name
                    WHEN 'audit' THEN 'GRANT SELECT, INSERT ON public.%I TO hospes_server'
                    WHEN 'events' THEN 'GRANT SELECT, INSERT, DELETE ON public.%I TO hospes_server'
                    ELSE 'GRANT SELECT, INSERT, UPDATE, DELETE ON public.%I TO hospes_server'
                END, t.name);
            SELECT CAST(a.attname AS TEXT) INTO key
            FROM pg_attribute a
            WHERE a.attrelid = t.oid AND NOT a.attisdropped
              AND (a.attname = 'tenant' OR (t.name = 'tenants' AND a.attname = 'id'))
            ORDER BY a.attname DESC
            LIMIT 1;
            IF key IS NULL THEN
                IF t.name = ANY (directory) THEN
                    EXECUTE format('GRANT SELECT ON public.%I TO hospes_directory', t.name);
                END IF;
                CONTINUE;
            END IF;
            IF NOT t.secured THEN
                EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', t.name);
                EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', t.name);
            END IF;
            IF NOT EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = t.oid AND p.polname = 'own_tenant') THEN
                EXECUTE format(
                    'CREATE POLICY own_tenant ON public.%I TO hospes_server '
                    'USING (%I = current_setting(''hospes.tenant'', true)) '
                    'WITH CHECK (%I = current_setting(''hospes.tenant'', true))',
                    t.name, key, key);
            END IF;
            IF t.name = ANY (directory) THEN
                EXECUTE format('GRANT SELECT ON public.%I TO hospes_directory', t.name);
                IF NOT EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = t.oid AND p.polname = 'directory') THEN
                    EXECUTE format(
                        'CREATE POLICY directory ON public.%I FOR SELECT TO hospes_directory USING (true)', t.name);
                END IF;
            END IF;
        END LOOP;
    END
    $$";

/// Brings a SQLite file up to date and answers what it has applied.
pub(super) async fn sqlite(connection: &mut SqliteConnection) -> Result<Vec<&'static str>, OpenError> {
    let failed = || OpenError::database("keep its migrations");
    sqlx::query(CREATE_SQLITE).execute(&mut *connection).await.map_err(failed())?;
    let applied = sqlx::query_as(LIST).fetch_all(&mut *connection).await.map_err(failed())?;
    let pending = pending(applied)?;
    for migration in &pending {
        apply_sqlite(connection, migration).await.map_err(migration_failed(migration))?;
    }
    Ok(pending.into_iter().map(|migration| migration.name).collect())
}

/// Refuses a database on which migrations are missing, because a server is using it.
pub(super) async fn check_sqlite(connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let applied = sqlx::query_as(LIST).fetch_all(connection).await.map_err(OpenError::database("answer"))?;
    match pending(applied)?.first() {
        None => Ok(()),
        Some(first) => Err(OpenError::Refused(format!(
            "the running server is older than this program: its database lacks the migration `{}`; restart the \
             server with this version first",
            first.name
        ))),
    }
}

/// Refuses a file that this program does not know: damaged, or of a newer version.
pub(super) async fn refuse_unknown_sqlite(connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let applied = sqlx::query_as(LIST).fetch_all(connection).await.map_err(not_ours)?;
    pending(applied).map(drop)
}

/// The names of the migrations that a file has.
pub(super) async fn applied_to_sqlite(connection: &mut SqliteConnection) -> Result<Vec<String>, OpenError> {
    let applied: Vec<Applied> = sqlx::query_as(LIST).fetch_all(connection).await.map_err(not_ours)?;
    Ok(applied.into_iter().map(|(_number, name, _checksum)| name).collect())
}

fn not_ours(source: sqlx::Error) -> OpenError {
    OpenError::Database { verb: "show its migrations; it may not be one of ours", source }
}

async fn apply_sqlite(connection: &mut SqliteConnection, migration: &Migration) -> Result<(), sqlx::Error> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    let applied = async {
        sqlx::raw_sql(migration.sqlite).execute(&mut *connection).await?;
        sqlx::query(INSERT)
            .bind(i64::from(migration.number))
            .bind(migration.name)
            .bind(migration.checksum())
            .execute(&mut *connection)
            .await?;
        sqlx::query("COMMIT").execute(&mut *connection).await
    }
    .await;
    if let Err(error) = applied {
        if let Err(rollback) = sqlx::query("ROLLBACK").execute(connection).await {
            tracing::debug!(%rollback, "nothing was left to roll back");
        }
        return Err(error);
    }
    Ok(())
}

/// Brings PostgreSQL up to date, then secures every table.
pub(super) async fn postgres(connection: &mut PgConnection) -> Result<Vec<&'static str>, OpenError> {
    let failed = || OpenError::database("keep its migrations");
    // Held until the connection closes.
    sqlx::query(LOCK).execute(&mut *connection).await.map_err(failed())?;
    sqlx::raw_sql(CREATE_ROLES).execute(&mut *connection).await.map_err(roles_failed)?;
    sqlx::query(CREATE_POSTGRES).execute(&mut *connection).await.map_err(failed())?;
    let applied = sqlx::query_as(LIST).fetch_all(&mut *connection).await.map_err(failed())?;
    let pending = pending(applied)?;
    for migration in &pending {
        apply_postgres(connection, migration).await.map_err(migration_failed(migration))?;
    }
    sqlx::raw_sql(SECURE)
        .execute(connection)
        .await
        .map_err(OpenError::database("grant the server's rights"))?;
    Ok(pending.into_iter().map(|migration| migration.name).collect())
}

/// A failure leaves the transaction open; the connection is then dropped, which ends it.
async fn apply_postgres(connection: &mut PgConnection, migration: &Migration) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("BEGIN").execute(&mut *connection).await?;
    sqlx::raw_sql(migration.postgres).execute(&mut *connection).await?;
    sqlx::query(INSERT)
        .bind(i64::from(migration.number))
        .bind(migration.name)
        .bind(migration.checksum())
        .execute(&mut *connection)
        .await?;
    sqlx::raw_sql("COMMIT").execute(connection).await.map(drop)
}

/// Refuses a database on which migrations are missing.
pub(super) async fn check_postgres(connection: &mut PgConnection) -> Result<(), OpenError> {
    let failed = || OpenError::database("answer");
    let (exists,): (bool,) = sqlx::query_as("SELECT to_regclass('public.schema_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed())?;
    let applied = if exists {
        sqlx::raw_sql("SET ROLE hospes_server").execute(&mut *connection).await.map_err(failed())?;
        sqlx::query_as(LIST).fetch_all(connection).await.map_err(failed())?
    } else {
        Vec::new()
    };
    match pending(applied)?.first() {
        None => Ok(()),
        Some(first) => Err(OpenError::Refused(format!(
            "the database lacks the migration `{}`; run `hospes migrate` with the owner's URL, then start again",
            first.name
        ))),
    }
}

type Applied = (i64, String, String);

/// What is not yet applied; refuses a database that this program does not know.
fn pending(applied: Vec<Applied>) -> Result<Vec<&'static Migration>, OpenError> {
    let mut embedded: BTreeMap<i64, &Migration> =
        EMBEDDED.iter().map(|migration| (i64::from(migration.number), migration)).collect();
    for (number, name, checksum) in applied {
        let Some(migration) = embedded.remove(&number) else {
            return Err(OpenError::Refused(format!(
                "the database has the migration `{name}`, which this program does not know: it was last used by a \
                 newer version; start that version"
            )));
        };
        if migration.name != name || migration.checksum() != checksum {
            return Err(OpenError::Refused(format!(
                "the migration `{name}` of the database differs from this program's `{}`: a migration is never \
                 edited after it has landed; start the version that has made this database",
                migration.name
            )));
        }
    }
    Ok(embedded.into_values().collect())
}

impl Migration {
    /// Over both dialects, so that twins stay twins.
    fn checksum(&self) -> String {
        let digest =
            Sha256::new().chain_update(self.sqlite).chain_update([0]).chain_update(self.postgres).finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn migration_failed(migration: &Migration) -> impl FnOnce(sqlx::Error) -> OpenError {
    let name = migration.name;
    move |source| OpenError::Migration { name, source }
}

fn roles_failed(source: sqlx::Error) -> OpenError {
    let denied = source.as_database_error().and_then(|e| e.code()).is_some_and(|code| code == "42501");
    if !denied {
        return OpenError::Database { verb: "make the server's roles", source };
    }
    OpenError::Refused(
        "the owner's role may not make roles; let an administrator of the cluster run\n  \
         CREATE ROLE hospes_server NOLOGIN;\n  CREATE ROLE hospes_directory NOLOGIN;\nand run `hospes migrate` again"
            .to_owned(),
    )
}
