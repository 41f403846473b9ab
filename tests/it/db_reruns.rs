//! Units that must run again, and commits that fail: nobody is told "done" of what is not kept, and the other way round.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::future::join_all;
use hospes::db::{Arg, Config, Db, Sql, UNIT_RERUNS_MAX};
use hospes::error::{Error, Result};
use hospes_tests::{Engine, Harness as _};
use sqlx::{Connection as _, Executor as _, PgConnection, SqliteConnection};
use tokio::sync::{Mutex, Notify};

use crate::db_scratch::{INSERT, Scratch, UPDATE, count, find, insert, insert_args, tenant};

/// What a unit and the test around it share.
struct Interference {
    runs: AtomicU32,
    /// In how many runs somebody else comes in between.
    times: u32,
    other: Mutex<PgConnection>,
}

/// Adds 1 to the row `counter` of the first tenant, while somebody else adds 100 in between.
async fn add_with_interference(db: &Db, interference: &Arc<Interference>) -> Result<()> {
    let here = tenant(1);
    let state = (here.clone(), Arc::clone(interference));
    db.write(&here, state, |tx, (here, interference)| {
        Box::pin(async move {
            let value = find(tx, here, "counter").await?.expect("it was inserted");
            if interference.runs.fetch_add(1, Ordering::SeqCst) < interference.times {
                let mut other = interference.other.lock().await;
                other.execute("UPDATE scratch SET value = value + 100 WHERE id = 'counter'").await.unwrap();
            }
            tx.execute(UPDATE, insert_args(here, "counter", value + 1)).await.map(drop)
        })
    })
    .await
}

async fn interfere(times: u32) -> Option<(Scratch, Result<()>, u32)> {
    let test = Scratch::start(Engine::Postgres).await?;
    insert(&test.0.db, &tenant(1), "counter", 0).await.unwrap();
    let other = Mutex::new(test.0.superuser().await);
    let interference = Arc::new(Interference { runs: AtomicU32::new(0), times, other });
    let outcome = add_with_interference(&test.0.db, &interference).await;
    let runs = interference.runs.load(Ordering::SeqCst);
    Some((test, outcome, runs))
}

async fn counter(test: &Scratch) -> Option<i64> {
    find(&mut test.0.db.read(&tenant(1)).await.unwrap(), &tenant(1), "counter").await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_that_cannot_be_serialized_runs_again_on_what_the_other_has_left() {
    let Some((test, outcome, runs)) = interfere(2).await else { return };
    outcome.unwrap();
    assert_eq!((runs, counter(&test).await), (3, Some(201)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_that_never_wins_gives_up_and_keeps_nothing() {
    let Some((test, outcome, runs)) = interfere(u32::MAX).await else { return };
    assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
    assert_eq!(runs, UNIT_RERUNS_MAX + 1);
    assert_eq!(counter(&test).await, Some(i64::from(runs) * 100));
    // The row is free again.
    insert(&test.0.db, &tenant(1), "afterwards", 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_that_lock_each_other_out_both_come_through() {
    let Some(test) = Scratch::start(Engine::Postgres).await else { return };
    let here = tenant(1);
    for id in ["a", "b"] {
        insert(&test.0.db, &here, id, 0).await.unwrap();
    }
    let runs = Arc::new(AtomicU32::new(0));
    let both = Arc::new(tokio::sync::Barrier::new(2));
    let cross = |first: &'static str, second: &'static str| {
        let state = (here.clone(), Arc::clone(&runs), Arc::clone(&both));
        test.0.db.write(&here, state, move |tx, (here, runs, both)| {
            Box::pin(async move {
                tx.execute(UPDATE, insert_args(here, first, 1)).await?;
                // Only the first two runs meet here; whoever comes again finds nobody.
                if runs.fetch_add(1, Ordering::SeqCst) < 2 {
                    both.wait().await;
                }
                tx.execute(UPDATE, insert_args(here, second, 1)).await.map(drop)
            })
        })
    };
    let (one, other) = tokio::join!(cross("a", "b"), cross("b", "a"));
    one.unwrap();
    other.unwrap();
    assert!(runs.load(Ordering::SeqCst) > 2, "nobody was locked out");
    let mut reader = test.0.db.read(&here).await.unwrap();
    for id in ["a", "b"] {
        assert_eq!(find(&mut reader, &here, id).await.unwrap(), Some(1));
    }
}

/// Units for SQLite's writer that are all in one group, because the writer is busy while they queue.
async fn in_one_group(db: &Db, units: Vec<(String, &'static str)>) -> Vec<Result<()>> {
    let here = tenant(1);
    let (busy, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let state = (Arc::clone(&busy), Arc::clone(&go));
    let first = db.write(&here, state, |_tx, (busy, go)| {
        Box::pin(async move {
            busy.notify_one();
            go.notified().await;
            Ok(())
        })
    });
    let queued = units.into_iter().map(|(id, sql)| {
        let state = (here.clone(), id, Sql::new(sql));
        db.write(&here, state, |tx, (here, id, sql)| {
            Box::pin(async move {
                tx.execute(INSERT, insert_args(here, id, 1)).await?;
                tx.execute(*sql, Vec::<Arg>::new()).await.map(drop)
            })
        })
    });
    let queued = async {
        busy.notified().await;
        // Each is polled once, and so queued, before the writer goes on.
        let mut queued = Box::pin(join_all(queued));
        assert!(futures::poll!(&mut queued).is_pending());
        go.notify_one();
        queued.await
    };
    let (first, outcomes) = tokio::join!(first, queued);
    first.unwrap();
    outcomes
}

/// Compares what the callers were told with what a fresh look at the file finds.
async fn assert_told_the_truth(test: &Scratch, outcomes: &[Result<()>]) -> usize {
    test.0.db.close().await;
    let db = Db::open(&test.0.config).await.unwrap();
    let mut reader = db.read(&tenant(1)).await.unwrap();
    let mut kept = 0;
    for (number, outcome) in outcomes.iter().enumerate() {
        let found = find(&mut reader, &tenant(1), &format!("row{number}")).await.unwrap().is_some();
        assert_eq!(found, outcome.is_ok(), "row{number}: {outcome:?}");
        kept += usize::from(found);
    }
    drop(reader);
    insert(&db, &tenant(1), "afterwards", 1).await.unwrap();
    db.close().await;
    kept
}

async fn sqlite() -> Scratch {
    let test = Scratch::start(Engine::Sqlite).await.expect("SQLite is always there");
    test.0.db.close().await;
    let Config::Sqlite { file } = &test.0.config else { unreachable!("the engine is SQLite") };
    let mut tool = SqliteConnection::connect(file.to_str().unwrap()).await.unwrap();
    // What the reference names is looked for at the commit, not before.
    tool.execute(
        "CREATE TABLE parents (id INTEGER PRIMARY KEY) STRICT;
         CREATE TABLE children (parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED) STRICT;
         CREATE TABLE ballast (bytes BLOB) STRICT",
    )
    .await
    .unwrap();
    tool.close().await.unwrap();
    let db = Db::open(&test.0.config).await.unwrap();
    Scratch(hospes_tests::TestDb { db, ..test.0 })
}

const GOOD: &str = "INSERT INTO parents DEFAULT VALUES";
/// Nothing is wrong with it until the commit.
const ORPHAN: &str = "INSERT INTO children (parent) VALUES (-1)";
/// More than the file may grow by, once it is told so.
const HEAVY: &str = "INSERT INTO ballast (bytes) VALUES (zeroblob(10000000))";

fn units(count: usize, special: &[(usize, &'static str)]) -> Vec<(String, &'static str)> {
    let sql = |number| special.iter().find(|(place, _)| *place == number).map_or(GOOD, |(_, sql)| *sql);
    (0..count).map(|number| (format!("row{number}"), sql(number))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_that_no_commit_takes_fails_alone() {
    let test = sqlite().await;
    let outcomes = in_one_group(&test.0.db, units(40, &[(17, ORPHAN)])).await;
    let failed: Vec<usize> = (0..40).filter(|place| outcomes[*place].is_err()).collect();
    assert_eq!(failed, [17], "{outcomes:?}");
    // The next group does not inherit it.
    let mut next = in_one_group(&test.0.db, vec![("next".to_owned(), GOOD)]).await;
    assert!(next.pop().unwrap().is_ok());
    assert_eq!(count(&mut test.0.db.read(&tenant(1)).await.unwrap(), &tenant(1)).await, 40);
    assert_eq!(assert_told_the_truth(&test, &outcomes).await, 39);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_for_which_the_disk_is_too_full_fails_and_the_rest_of_its_group_is_kept() {
    let test = sqlite().await;
    const FULL: Sql = Sql::new("PRAGMA max_page_count = 1");
    test.0
        .db
        .write(&tenant(1), (), |tx, ()| {
            Box::pin(async move { tx.fetch_one::<(i64,)>(FULL, Vec::new()).await.map(drop) })
        })
        .await
        .unwrap();
    let outcomes = in_one_group(&test.0.db, units(20, &[(7, HEAVY)])).await;
    assert!(outcomes[7].is_err(), "{:?}", outcomes[7]);
    let kept = assert_told_the_truth(&test, &outcomes).await;
    assert_eq!(kept, 19, "{outcomes:?}");
}
