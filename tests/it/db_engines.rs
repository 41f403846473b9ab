//! Both engines behind the same facade: units of work, readers, snapshots.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::future::join_all;
use hospes::db::{Arg, Config, Db};
use hospes::error::Error;
use hospes_tests::both_engines;

use crate::db_scratch::{
    FIND, INSERT, Scratch, UPDATE, cancel_after, count, find, given_up, insert, insert_args, is_given_up,
    spread, tenant,
};

both_engines! {
    async fn what_is_acknowledged_is_read_at_once(test: Scratch) {
        let db = &test.0.db;
        let here = tenant(1);
        db.ping().await.unwrap();
        for value in 0..50 {
            insert(db, &here, format!("row{value}"), value).await.unwrap();
            let mut reader = db.read(&here).await.unwrap();
            assert_eq!(find(&mut reader, &here, &format!("row{value}")).await.unwrap(), Some(value));
        }
    }

    async fn a_reader_cannot_write(test: Scratch) {
        let db = &test.0.db;
        let here = tenant(1);
        for mut reader in [db.read(&here).await.unwrap(), db.snapshot(&here).await.unwrap()] {
            reader.execute(INSERT, insert_args(&here, "sneaked", 1)).await.unwrap_err();
        }
        assert_eq!(count(&mut db.read(&here).await.unwrap(), &here).await, 0);
    }

    async fn an_error_takes_the_whole_unit_back(test: Scratch) {
        let db = &test.0.db;
        let here = tenant(1);
        let refused = db.write(&here, here.clone(), |tx, here| Box::pin(async move {
            tx.execute(INSERT, insert_args(here, "first", 1)).await?;
            tx.execute(INSERT, insert_args(here, "second", 2)).await?;
            Err::<(), _>(given_up())
        })).await;
        assert!(is_given_up(&refused.unwrap_err()));
        assert_eq!(count(&mut db.read(&here).await.unwrap(), &here).await, 0);
    }

    async fn units_that_fail_or_panic_do_not_touch_their_neighbours(test: Scratch) {
        let db = &test.0.db;
        let here = tenant(1);
        insert(db, &here, "taken", 0).await.unwrap();
        let units = (0..200).map(|number: i64| {
            let state = (here.clone(), number);
            db.write(&here, state, |tx, (here, number)| Box::pin(async move {
                tx.execute(INSERT, insert_args(here, &format!("row{number}"), *number)).await?;
                match number % 4 {
                    0 => Ok(()),
                    1 => Err(given_up()),
                    2 => panic!("the unit panics"),
                    // Refused by the primary key.
                    _ => tx.execute(INSERT, insert_args(here, "taken", 1)).await.map(drop),
                }
            }))
        });
        let outcomes = join_all(units).await;
        let mut reader = db.read(&here).await.unwrap();
        for (number, outcome) in (0_i64..).zip(&outcomes) {
            let kept = find(&mut reader, &here, &format!("row{number}")).await.unwrap().is_some();
            assert_eq!(outcome.is_ok(), number % 4 == 0, "{number}: {outcome:?}");
            assert_eq!(kept, number % 4 == 0, "{number}");
        }
        drop(reader);
        insert(db, &here, "afterwards", 1).await.unwrap();
    }

    async fn a_unit_that_goes_on_after_a_refused_statement_keeps_nothing(test: Scratch) {
        let db = &test.0.db;
        let here = tenant(1);
        insert(db, &here, "taken", 0).await.unwrap();
        let outcome = db.write(&here, here.clone(), |tx, here| Box::pin(async move {
            tx.execute(INSERT, insert_args(here, "before", 1)).await?;
            tx.execute(INSERT, insert_args(here, "taken", 1)).await.unwrap_err();
            tx.execute(INSERT, insert_args(here, "after", 1)).await.unwrap_err();
            Ok(())
        })).await;
        assert!(matches!(outcome, Err(Error::Internal(_))), "{outcome:?}");
        assert_eq!(count(&mut db.read(&here).await.unwrap(), &here).await, 1);
    }

    async fn a_cancelled_caller_loses_no_acknowledged_write_and_halves_none(test: Scratch) {
        let db = &test.0.db;
        let here = tenant(1);
        let mut acknowledged = Vec::new();
        for round in 0..50_u64 {
            let callers = (0..10_u64).map(|caller| {
                let name = format!("{round}-{caller}");
                let state = (here.clone(), name.clone());
                let unit = db.write(&here, state, |tx, (here, name)| Box::pin(async move {
                    tx.execute(INSERT, insert_args(here, name, 1)).await?;
                    tx.execute(INSERT, insert_args(here, &format!("{name}-twin"), 2)).await.map(drop)
                }));
                let patience = spread(round * 10 + caller, 10_000);
                async move { matches!(cancel_after(patience, unit).await, Some(Ok(()))).then_some(name) }
            });
            acknowledged.extend(join_all(callers).await.into_iter().flatten());
            // What was cancelled is still under way: this one goes behind or between.
            insert(db, &here, format!("{round}-calm"), 0).await.unwrap();
            acknowledged.push(format!("{round}-calm"));
        }
        db.close().await;
        let db = Db::open(&test.0.config).await.unwrap();
        let mut reader = db.read(&here).await.unwrap();
        for name in &acknowledged {
            assert!(find(&mut reader, &here, name).await.unwrap().is_some(), "{name} was acknowledged and is lost");
        }
        for round in 0..50_u64 {
            for caller in 0..10_u64 {
                let one = find(&mut reader, &here, &format!("{round}-{caller}")).await.unwrap();
                let twin = find(&mut reader, &here, &format!("{round}-{caller}-twin")).await.unwrap();
                assert_eq!(one.is_some(), twin.is_some(), "{round}-{caller} is halved");
            }
        }
        assert!(acknowledged.len() > 50, "nearly all callers were cancelled: {}", acknowledged.len());
    }

    async fn a_unit_that_loses_a_conflict_runs_again(test: Scratch) {
        let db = &test.0.db;
        let here = tenant(1);
        insert(db, &here, "counter", 0).await.unwrap();
        let runs = Arc::new(AtomicU32::new(0));
        let increments = (0..64).map(|_| {
            let state = (here.clone(), Arc::clone(&runs));
            db.write(&here, state, |tx, (here, runs)| Box::pin(async move {
                runs.fetch_add(1, Ordering::Relaxed);
                let value = find(tx, here, "counter").await?.expect("it was inserted");
                tx.execute(UPDATE, insert_args(here, "counter", value + 1)).await.map(drop)
            }))
        });
        for outcome in join_all(increments).await {
            outcome.unwrap();
        }
        let mut reader = db.read(&here).await.unwrap();
        assert_eq!(find(&mut reader, &here, "counter").await.unwrap(), Some(64));
        assert!(runs.load(Ordering::Relaxed) >= 64);
    }

    async fn a_snapshot_sees_one_state(test: Scratch) {
        let db = &test.0.db;
        let here = tenant(1);
        insert(db, &here, "before", 1).await.unwrap();
        let mut snapshot = db.snapshot(&here).await.unwrap();
        assert_eq!(count(&mut snapshot, &here).await, 1);
        insert(db, &here, "after", 2).await.unwrap();
        assert_eq!(count(&mut snapshot, &here).await, 1);
        assert_eq!(find(&mut snapshot, &here, "after").await.unwrap(), None);
        drop(snapshot);
        assert_eq!(count(&mut db.snapshot(&here).await.unwrap(), &here).await, 2);
    }

    async fn dropped_snapshots_and_readers_leave_their_connections_usable(test: Scratch) {
        let db = &test.0.db;
        let here = tenant(1);
        insert(db, &here, "row", 7).await.unwrap();
        for round in 0..200_u64 {
            let patience = spread(round, 800);
            drop(cancel_after(patience, async {
                let mut snapshot = db.snapshot(&here).await?;
                find(&mut snapshot, &here, "row").await?;
                let mut reader = db.read(&here).await?;
                find(&mut reader, &here, "row").await
            }).await);
        }
        // A snapshot that held on would still see the old value.
        db.write(&here, here.clone(), |tx, here| Box::pin(async move {
            tx.execute(UPDATE, insert_args(here, "row", 8)).await.map(drop)
        })).await.unwrap();
        let readers = (0..40).map(|_| async {
            let mut reader = db.read(&here).await.unwrap();
            find(&mut reader, &here, "row").await.unwrap()
        });
        assert!(join_all(readers).await.into_iter().all(|value| value == Some(8)));
    }

    async fn a_closed_database_refuses_and_opens_again(test: Scratch) {
        let here = tenant(1);
        insert(&test.0.db, &here, "row", 1).await.unwrap();
        test.0.db.close().await;
        let refused = insert(&test.0.db, &here, "late", 1).await.unwrap_err();
        assert!(matches!(refused, Error::Unavailable(_)), "{refused:?}");
        test.0.db.read(&here).await.map(drop).unwrap_err();
        test.0.db.ping().await.unwrap_err();
        let again = Db::open(&test.0.config).await.unwrap();
        assert_eq!(count(&mut again.read(&here).await.unwrap(), &here).await, 1);
    }

    async fn a_missing_text_is_a_typed_null(test: Scratch) {
        let here = tenant(1);
        let mut reader = test.0.db.read(&here).await.unwrap();
        let absent: Option<(i64,)> = reader.fetch_optional(FIND, vec![Arg::from(&here), Arg::Text(None)]).await.unwrap();
        assert_eq!(absent, None);
    }
}

#[tokio::test]
async fn a_second_server_on_one_sqlite_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::Sqlite { file: folder.path().join("hospes.db") };
    let first = Db::open(&config).await.unwrap();
    let refused = Db::open(&config).await.map(drop).unwrap_err().to_string();
    assert!(refused.contains("another server"), "{refused}");
    first.close().await;
    Db::open(&config).await.unwrap();
}
