//! What only PostgreSQL has: roles, row-level security, a network in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::future::join_all;
use hospes::db::{Config, Db, PostgresConfig};
use hospes::domain::ids::TenantId;
use hospes::error::Error;
use hospes_tests::{Cluster, Engine, Harness, Proxy, TestDb, new_postgres};
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::db_scratch::{
    INSERT, LIST_TENANTS, Scratch, cancel_after, count, find, given_up, insert, insert_args, own_cluster,
    spread, tenant,
};

/// How soon after a restart of the cluster the server serves again.
const HEALED_WITHIN: Duration = Duration::from_secs(5);

fn config(url: &str) -> PostgresConfig {
    let mut config = PostgresConfig::new(url);
    config.allow_unsafe_durability = true;
    config
}

async fn refusal(config: PostgresConfig) -> String {
    Db::open(&Config::Postgres(config)).await.map(drop).unwrap_err().to_string()
}

#[tokio::test]
async fn owner_superuser_and_strangers_may_not_serve() {
    let Some(test) = TestDb::start(Engine::Postgres).await else { return };
    let urls = test.urls.as_ref().unwrap();
    let refused = refusal(config(&urls.owner)).await;
    assert!(refused.contains("`hospes_owner` owns the tables"), "{refused}");
    let refused = refusal(config(&urls.owner.replacen("hospes_owner", "postgres", 1))).await;
    assert!(refused.contains("`postgres` is a superuser"), "{refused}");

    let mut admin = test.superuser().await;
    admin.execute("CREATE ROLE hospes_blind LOGIN BYPASSRLS").await.unwrap();
    let refused = refusal(config(&urls.owner.replacen("hospes_owner", "hospes_blind", 1))).await;
    assert!(refused.contains("`hospes_blind` bypasses row-level security"), "{refused}");

    admin.execute("CREATE ROLE hospes_half LOGIN; GRANT hospes_server TO hospes_half").await.unwrap();
    let refused = refusal(config(&urls.owner.replacen("hospes_owner", "hospes_half", 1))).await;
    assert!(refused.contains("GRANT hospes_server, hospes_directory TO hospes;"), "{refused}");
}

#[tokio::test]
async fn a_database_that_was_not_migrated_is_not_served() {
    let Some(cluster) = Cluster::shared() else { return };
    drop(TestDb::start(Engine::Postgres).await);
    let url = cluster.url("hospes_login", "postgres");
    let refused = refusal(config(&url)).await;
    assert!(refused.contains("hospes migrate"), "{refused}");
}

#[tokio::test]
async fn a_cluster_that_may_lose_writes_is_refused_without_the_override() {
    let Some(test) = TestDb::start(Engine::Postgres).await else { return };
    let refused = refusal(PostgresConfig::new(&test.urls.as_ref().unwrap().server)).await;
    assert!(refused.contains("fsync, full_page_writes off"), "{refused}");
    assert!(refused.contains("allow_unsafe_durability"), "{refused}");
}

#[tokio::test]
async fn a_password_does_not_show_in_errors() {
    let refused = Db::open(&Config::Postgres(config("postgres://hospes:hunter2@localhost:1/x"))).await;
    let refused = refused.map(drop).unwrap_err();
    assert!(!format!("{refused:?} {refused}").contains("hunter2"));
    let unreadable = refusal(config("postgres://hospes:hunter2@local host/x")).await;
    assert!(!unreadable.contains("hunter2"), "{unreadable}");
    assert!(!format!("{:?}", config("postgres://hospes:hunter2@localhost/x")).contains("hunter2"));
}

/// Many tenants share a few connections, callers are cut off wherever they stand, units
/// fail, and still nobody ever sees a row of another tenant.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_never_shows_the_tenant_that_it_served_before() {
    let Some(test) = Scratch::start(Engine::Postgres).await else { return };
    let mut config = config(&test.0.urls.as_ref().unwrap().server);
    config.connections_max = 6;
    let db = Db::open(&Config::Postgres(config)).await.unwrap();
    let tenants: Vec<TenantId> = (0..40).map(tenant).collect();
    for tenant in &tenants {
        insert(&db, tenant, "row", 1).await.unwrap();
    }
    let seen = AtomicU32::new(0);
    let callers = (0..2_000_u64).map(|call| {
        let (db, seen) = (&db, &seen);
        let tenant = &tenants[usize::try_from(spread(call, 40)).unwrap()];
        async move {
            let patience = if call % 3 == 0 { spread(call, 1_500) } else { 10_000_000 };
            let answer = cancel_after(patience, look_around(db, tenant, call)).await;
            let Some(rows) = answer else { return };
            assert!(rows.iter().all(|row| row == tenant.as_str()), "{tenant:?} saw {rows:?}");
            seen.fetch_add(u32::try_from(rows.len()).unwrap(), Ordering::Relaxed);
        }
    });
    // Twenty at a time, so that nobody waits long enough to give up.
    futures::StreamExt::for_each_concurrent(futures::stream::iter(callers), 20, |caller| caller).await;
    assert!(seen.load(Ordering::Relaxed) > 1_000, "nearly all callers were cancelled");
}

/// The tenants of the rows that one call sees, by one of the ways to look.
async fn look_around(db: &Db, tenant: &TenantId, call: u64) -> Vec<String> {
    let rows: Vec<(String,)> = match call % 4 {
        0 => db.read(tenant).await.unwrap().fetch_all(LIST_TENANTS, Vec::new()).await.unwrap(),
        1 => db.snapshot(tenant).await.unwrap().fetch_all(LIST_TENANTS, Vec::new()).await.unwrap(),
        2 => db
            .write(tenant, (), |tx, ()| Box::pin(async move { tx.fetch_all(LIST_TENANTS, Vec::new()).await }))
            .await
            .unwrap(),
        _ => {
            let failed = db.write(tenant, tenant.clone(), |tx, tenant| {
                Box::pin(async move {
                    tx.execute(INSERT, insert_args(tenant, "row", 1)).await?;
                    Err::<(), _>(given_up())
                })
            });
            failed.await.unwrap_err();
            Vec::new()
        }
    };
    rows.into_iter().map(|(tenant,)| tenant).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_level_security_stands_behind_the_statements() {
    let Some(test) = Scratch::start(Engine::Postgres).await else { return };
    let db = &test.0.db;
    let (here, there) = (tenant(1), tenant(2));
    insert(db, &there, "theirs", 1).await.unwrap();
    let mut reader = db.read(&here).await.unwrap();
    assert_eq!(find(&mut reader, &there, "theirs").await.unwrap(), None);
    let foreign = db
        .write(&here, there.clone(), |tx, there| {
            Box::pin(async move { tx.execute(INSERT, insert_args(there, "planted", 1)).await })
        })
        .await;
    assert!(matches!(foreign, Err(Error::Internal(_))), "{foreign:?}");
    assert_eq!(count(&mut db.read_host().await.unwrap(), &there).await, 0);
    // The directory's role has no right to a table that is not listed.
    let mut directory = db.directory().await.unwrap();
    directory.fetch_all::<(String,)>(LIST_TENANTS, Vec::new()).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_snapshots_leave_no_transaction_open() {
    let Some(test) = Scratch::start(Engine::Postgres).await else { return };
    let here = tenant(1);
    for round in 0..60 {
        drop(
            cancel_after(spread(round, 2_000), async {
                let mut snapshot = test.0.db.snapshot(&here).await?;
                find(&mut snapshot, &here, "row").await
            })
            .await,
        );
    }
    let mut admin = test.0.superuser().await;
    for _ in 0..100 {
        let idle: (i64,) = sqlx::query_as(
            "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'",
        )
        .fetch_one(&mut admin)
        .await
        .unwrap();
        if idle.0 == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("a dropped snapshot still holds its transaction");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_heals_after_the_cluster_has_crashed_and_loses_nothing_acknowledged() {
    let Some((cluster, urls)) = own_cluster().await else { return };
    let db = Db::open(&Config::Postgres(PostgresConfig::new(&urls.server))).await.unwrap();
    let here = tenant(1);
    insert(&db, &here, "warm", 0).await.unwrap();
    let writers = (0..8_i64).map(|writer| {
        let (db, here) = (db.clone(), here.clone());
        tokio::task::spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                let name = format!("{writer}-{number}");
                match insert(&db, &here, &name, number).await {
                    Ok(()) => acknowledged.push(name),
                    Err(error) => {
                        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
                        return acknowledged;
                    }
                }
            }
            acknowledged
        })
    });
    let writers: Vec<_> = writers.collect();
    tokio::time::sleep(Duration::from_millis(700)).await;
    tokio::task::block_in_place(|| cluster.crash());
    let acknowledged: Vec<String> = join_all(writers).await.into_iter().flat_map(Result::unwrap).collect();
    db.ping().await.unwrap_err();
    tokio::task::block_in_place(|| cluster.restart());

    let mut reader = tokio::time::timeout(HEALED_WITHIN, db.read(&here)).await.unwrap().unwrap();
    for name in &acknowledged {
        assert!(
            find(&mut reader, &here, name).await.unwrap().is_some(),
            "{name} was acknowledged and is lost"
        );
    }
    assert!(acknowledged.len() > 50, "the writers hardly wrote: {}", acknowledged.len());
    insert(&db, &here, "afterwards", 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_died_while_idle_cost_nobody_an_error() {
    let Some((cluster, urls)) = own_cluster().await else { return };
    let db = Db::open(&Config::Postgres(PostgresConfig::new(&urls.server))).await.unwrap();
    let here = tenant(1);
    for number in 0..8 {
        insert(&db, &here, format!("row{number}"), number).await.unwrap();
    }
    let readers = join_all((0..8).map(|_| db.read(&here))).await;
    drop(readers);
    tokio::task::block_in_place(|| {
        cluster.stop();
        cluster.restart();
    });
    assert_eq!(count(&mut db.read(&here).await.unwrap(), &here).await, 8);
    assert_eq!(count(&mut db.snapshot(&here).await.unwrap(), &here).await, 8);
    insert(&db, &here, "afterwards", 1).await.unwrap();
    db.directory().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_whose_connection_breaks_before_its_commit_runs_again() {
    let Some(test) = Scratch::start(Engine::Postgres).await else { return };
    let here = tenant(1);
    let runs = Arc::new(AtomicU32::new(0));
    let state =
        (here.clone(), Arc::clone(&runs), Arc::new(tokio::sync::Mutex::new(test.0.superuser().await)));
    test.0
        .db
        .write(&here, state, |tx, (here, runs, admin)| {
            Box::pin(async move {
                tx.execute(INSERT, insert_args(here, "row", 1)).await?;
                if runs.fetch_add(1, Ordering::Relaxed) == 0 {
                    terminate_transactions(&mut *admin.lock().await).await;
                }
                tx.execute(INSERT, insert_args(here, "twin", 1)).await.map(drop)
            })
        })
        .await
        .unwrap();
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    assert_eq!(count(&mut test.0.db.read(&here).await.unwrap(), &here).await, 2);
}

async fn terminate_transactions(admin: &mut PgConnection) {
    admin
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND state = 'idle in transaction'",
        )
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_not_called_a_success_nor_repeated() {
    let Some(test) = Scratch::start(Engine::Postgres).await else { return };
    let proxy = Proxy::start(test.0.urls.as_ref().unwrap()).await;
    let db = Db::open(&Config::Postgres(config(proxy.url()))).await.unwrap();
    let here = tenant(1);
    insert(&db, &here, "warm", 1).await.unwrap();
    proxy.cut_answer_to("COMMIT");
    let unknown = insert(&db, &here, "unknown", 1).await.unwrap_err();
    assert!(matches!(unknown, Error::Unavailable(_)), "{unknown:?}");
    assert_eq!(proxy.times_cut(), 1, "a commit may not be tried again");
    // The server did commit: the caller asks, and finds out.
    assert_eq!(count(&mut db.read(&here).await.unwrap(), &here).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_costs_one_round_trip_when_the_connection_last_served_the_tenant() {
    let Some(test) = Scratch::start(Engine::Postgres).await else { return };
    let proxy = Proxy::start(test.0.urls.as_ref().unwrap()).await;
    let db = Db::open(&Config::Postgres(config(proxy.url()))).await.unwrap();
    let (here, there) = (tenant(1), tenant(2));
    for tenant in [&here, &here, &there] {
        find(&mut db.read(tenant).await.unwrap(), tenant, "row").await.unwrap();
    }
    let before = proxy.round_trips();
    find(&mut db.read(&there).await.unwrap(), &there, "row").await.unwrap();
    assert_eq!(proxy.round_trips() - before, 1, "the same tenant again");
    let before = proxy.round_trips();
    find(&mut db.read(&here).await.unwrap(), &here, "row").await.unwrap();
    assert_eq!(proxy.round_trips() - before, 2, "another tenant: the setting, then the statement");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_migrations_at_once_do_not_trip_over_each_other() {
    let Some(cluster) = Cluster::own() else { return };
    let urls = new_postgres(&cluster).await;
    let mut admin = PgConnection::connect(&cluster.url("postgres", "postgres")).await.unwrap();
    admin.execute("CREATE DATABASE twice OWNER hospes_owner").await.unwrap();
    let owner = Config::Postgres(PostgresConfig::new(cluster.url("hospes_owner", "twice")));
    let migrations = join_all((0..4).map(|_| Db::migrate(&owner))).await;
    let applied: Vec<usize> = migrations.into_iter().map(|applied| applied.unwrap().len()).collect();
    assert_eq!(applied.iter().filter(|count| **count > 0).count(), 1, "{applied:?}");
    drop(urls);
}
