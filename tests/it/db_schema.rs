//! The schema: twins that are alike, tables that are secured, statements that fit both.

use std::collections::{BTreeMap, BTreeSet};

use hospes::db::{Config, catalogue, plugin_data};
use hospes_tests::{Engine, Harness, TestDb};
use sqlx::{
    Connection as _, Either, Executor as _, PgConnection, SqlSafeStr as _, SqliteConnection, Statement as _,
};

/// Columns by table and name: their kind, and whether they may be missing.
type Columns = BTreeMap<(String, String), (String, bool)>;
/// Unique keys: their table, their columns in order, whether they hold for some rows only.
type Keys = BTreeSet<(String, Vec<String>, bool)>;

/// Keys that only one engine has, with the reason beside each. Only ever shrinks.
const LONE_KEYS: &[(&str, &str)] = &[
    // SQLite counts positions itself; on PostgreSQL several events share a transaction's.
    ("events", "position"),
];

/// Keys of secrets, by which a tenant is found.
const KEYS_BEFORE_THE_TENANT: &[(&str, &str)] = &[("tenants", "slug"), ("sessions", "id"), ("tokens", "id")];

async fn sqlite() -> (TestDb, SqliteConnection) {
    let test = TestDb::start(Engine::Sqlite).await.expect("SQLite is always there");
    let Config::Sqlite { file } = &test.config else { unreachable!("the engine is SQLite") };
    let connection = SqliteConnection::connect(file.to_str().unwrap()).await.unwrap();
    (test, connection)
}

async fn postgres() -> Option<(TestDb, PgConnection)> {
    let test = TestDb::start(Engine::Postgres).await?;
    let connection = test.superuser().await;
    Some((test, connection))
}

async fn columns_of_sqlite(connection: &mut SqliteConnection) -> Columns {
    let rows: Vec<(String, String, String, bool)> = sqlx::query_as(
        "SELECT m.name, c.name, c.type, c.\"notnull\" = 0 AND c.pk = 0
         FROM sqlite_schema m
         JOIN pragma_table_info(m.name) c
         WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%'",
    )
    .fetch_all(connection)
    .await
    .unwrap();
    rows.into_iter().map(|(table, column, kind, nullable)| ((table, column), (kind, nullable))).collect()
}

async fn columns_of_postgres(connection: &mut PgConnection) -> Columns {
    let rows: Vec<(String, String, String, bool)> = sqlx::query_as(
        "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT),
            CASE CAST(data_type AS TEXT)
                WHEN 'text' THEN 'TEXT'
                WHEN 'bigint' THEN 'INTEGER'
                WHEN 'boolean' THEN 'INTEGER'
                WHEN 'double precision' THEN 'REAL'
                WHEN 'bytea' THEN 'BLOB'
                ELSE 'unwanted ' || CAST(data_type AS TEXT)
            END,
            is_nullable = 'YES'
         FROM information_schema.columns
         WHERE table_schema = 'public'",
    )
    .fetch_all(connection)
    .await
    .unwrap();
    rows.into_iter().map(|(table, column, kind, nullable)| ((table, column), (kind, nullable))).collect()
}

fn split_keys(rows: Vec<(String, String, bool)>) -> Keys {
    rows.into_iter()
        .map(|(table, columns, partial)| (table, columns.split(',').map(str::to_owned).collect(), partial))
        .collect()
}

async fn keys_of_sqlite(connection: &mut SqliteConnection) -> Keys {
    let indexes = "
        SELECT m.name, (SELECT group_concat(coalesce(i.name, '(expression)'), ',' ORDER BY i.seqno)
            FROM pragma_index_info(x.name) i), x.partial
        FROM sqlite_schema m
        JOIN pragma_index_list(m.name) x
        WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' AND x.\"unique\" = 1";
    let mut keys = split_keys(sqlx::query_as(indexes).fetch_all(&mut *connection).await.unwrap());
    let primary = "
        SELECT m.name, (SELECT group_concat(c.name, ',' ORDER BY c.pk)
            FROM pragma_table_info(m.name) c WHERE c.pk > 0), FALSE
        FROM sqlite_schema m
        WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%'";
    keys.extend(split_keys(sqlx::query_as(primary).fetch_all(connection).await.unwrap()));
    keys
}

async fn keys_of_postgres(connection: &mut PgConnection) -> Keys {
    let indexes = "
        SELECT CAST(c.relname AS TEXT), CAST(string_agg(COALESCE(CAST(a.attname AS TEXT), '(expression)'), ',' ORDER BY k.place) AS TEXT),
            x.indpred IS NOT NULL
        FROM pg_index x
        JOIN pg_class c ON c.oid = x.indrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        CROSS JOIN LATERAL unnest(x.indkey) WITH ORDINALITY k (attnum, place)
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
        WHERE n.nspname = 'public' AND x.indisunique AND k.place <= x.indnkeyatts
        GROUP BY x.indexrelid, c.relname, x.indpred IS NOT NULL";
    split_keys(sqlx::query_as(indexes).fetch_all(connection).await.unwrap())
}

#[tokio::test]
async fn the_twin_schemas_are_alike() {
    let Some((_pg, mut postgres)) = postgres().await else { return };
    let (_lite, mut sqlite) = sqlite().await;
    let (lite, pg) = (columns_of_sqlite(&mut sqlite).await, columns_of_postgres(&mut postgres).await);
    let mut faults = Vec::new();
    for name in lite.keys().chain(pg.keys()).collect::<BTreeSet<_>>() {
        if lite.get(name) != pg.get(name) {
            faults.push(format!("{name:?}: SQLite {:?}, PostgreSQL {:?}", lite.get(name), pg.get(name)));
        }
    }
    let (lite, pg) = (keys_of_sqlite(&mut sqlite).await, keys_of_postgres(&mut postgres).await);
    for (table, columns, partial) in lite.symmetric_difference(&pg) {
        if !LONE_KEYS.contains(&(table, &columns.join(","))) {
            faults.push(format!("{table} is unique by {columns:?} (partial: {partial}) on one engine only"));
        }
    }
    assert!(faults.is_empty(), "mend the twin migrations:\n{}", faults.join("\n"));
}

#[tokio::test]
async fn every_key_of_a_tenants_table_begins_with_the_tenant() {
    let (_test, mut connection) = sqlite().await;
    let columns = columns_of_sqlite(&mut connection).await;
    for (table, key, _partial) in keys_of_sqlite(&mut connection).await {
        let is_tenants = columns.contains_key(&(table.clone(), "tenant".to_owned()));
        let joined = key.join(",");
        let is_known =
            LONE_KEYS.iter().chain(KEYS_BEFORE_THE_TENANT).any(|known| *known == (&table, &joined));
        assert!(!is_tenants || is_known || key[0] == "tenant", "{table}: {key:?}");
    }
}

/// A new table with a plugin's rows is added to `db/plugin_data.rs`: to those that a purge deletes, or with
/// a reason to those that stay.
#[tokio::test]
async fn a_purge_knows_every_table_with_rows_of_a_plugin() {
    let (_test, mut connection) = sqlite().await;
    let columns = columns_of_sqlite(&mut connection).await;
    let of_plugins = columns.keys().filter(|(_, column)| column == "plugin").map(|(table, _)| table.as_str());
    let of_plugins: BTreeSet<&str> = of_plugins.collect();
    let stay = plugin_data::STAY.iter().map(|(table, _why)| *table);
    let known: Vec<&str> = plugin_data::purged_tables().chain(stay).collect();
    assert_eq!(known.iter().copied().collect::<BTreeSet<_>>(), of_plugins);
    assert_eq!(known.len(), of_plugins.len(), "a table is named once: {known:?}");
}

#[tokio::test]
async fn every_table_with_a_tenant_is_under_a_forced_policy() {
    let Some((_test, mut connection)) = postgres().await else { return };
    let open: Vec<(String,)> = sqlx::query_as(
        "SELECT CAST(c.relname AS TEXT)
         FROM pg_class c
         JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')
           AND EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped
                AND (a.attname = 'tenant' OR c.relname = 'tenants'))
           AND NOT (c.relrowsecurity AND c.relforcerowsecurity
                AND EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'own_tenant'))",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert!(open.is_empty(), "these show every tenant's rows: {open:?}");
    let unordered: Vec<(String, String)> = sqlx::query_as(
        "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT) FROM information_schema.columns
         WHERE table_schema = 'public' AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert!(unordered.is_empty(), "text sorts otherwise than on SQLite without COLLATE \"C\": {unordered:?}");
    let deferred: (i64,) = sqlx::query_as("SELECT COUNT(*) FROM pg_constraint WHERE condeferrable")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(deferred.0, 0, "a constraint that fails at commit fails every unit of a group");
}

#[tokio::test]
async fn history_is_not_rewritten_and_the_directory_reads_only_its_list() {
    let Some((_test, mut connection)) = postgres().await else { return };
    let grants: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT CAST(grantee AS TEXT), CAST(table_name AS TEXT), CAST(privilege_type AS TEXT)
         FROM information_schema.role_table_grants
         WHERE table_schema = 'public' AND grantee <> 'hospes_owner'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let has = |role: &str, table: &str, right: &str| {
        grants.contains(&(role.to_owned(), table.to_owned(), right.to_owned()))
    };
    assert!(has("hospes_server", "subscriptions", "UPDATE"));
    assert!(has("hospes_server", "events", "INSERT") && !has("hospes_server", "events", "UPDATE"));
    assert!(has("hospes_server", "audit", "INSERT"));
    assert!(!has("hospes_server", "audit", "UPDATE") && !has("hospes_server", "audit", "DELETE"));
    assert!(!has("hospes_server", "schema_migrations", "INSERT"));
    let listed =
        ["sessions", "tokens", "tenants", "lanes", "deliveries", "schedules", "import_jobs", "plugin_moves"];
    for (role, table, right) in &grants {
        assert!(["hospes_server", "hospes_directory"].contains(&role.as_str()), "{role} may {right} {table}");
        let may = role != "hospes_directory" || (listed.contains(&table.as_str()) && right == "SELECT");
        assert!(may, "the directory's role may {right} {table}");
    }
}

/// The highest `$n` of a text, and whether every number below it is used.
fn arguments(text: &str) -> (usize, bool) {
    let numbers: BTreeSet<usize> = text
        .split('$')
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
        .collect();
    let highest = numbers.last().copied().unwrap_or_default();
    (highest, numbers.len() == highest)
}

#[tokio::test]
async fn every_statement_fits_both_engines() {
    let (_lite, mut sqlite) = sqlite().await;
    let mut postgres = postgres().await;
    let mut faults = Vec::new();
    let mut fault =
        |name: &str, engine: &str, what: String| faults.push(format!("{name} on {engine}: {what}"));
    for (name, sql) in catalogue::statements() {
        let (expected, whole) = arguments(sql.postgres());
        let is_alone = sql.sqlite().is_empty();
        if !whole || !is_alone && arguments(sql.sqlite()) != (expected, true) {
            fault(&name, "both", "the arguments are not $1, $2, … alike".to_owned());
        }
        match (&mut sqlite).prepare(sql.sqlite().into_sql_str()).await {
            _ if is_alone => {}
            Ok(statement) if matches!(statement.parameters(), Some(Either::Right(n)) if n == expected) => {}
            Ok(statement) => fault(&name, "SQLite", format!("{:?} arguments", statement.parameters())),
            Err(error) => fault(&name, "SQLite", error.to_string()),
        }
        let Some((_test, postgres)) = &mut postgres else { continue };
        match postgres.prepare(sql.postgres().into_sql_str()).await {
            Ok(statement) => match statement.parameters() {
                Some(Either::Left(types)) if types.len() == expected => {}
                other => fault(&name, "PostgreSQL", format!("{other:?} arguments")),
            },
            Err(error) => fault(&name, "PostgreSQL", error.to_string()),
        }
    }
    assert!(faults.is_empty(), "{} statement(s) do not fit:\n{}", faults.len(), faults.join("\n"));
}
