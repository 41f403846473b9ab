//! Copies of SQLite's file: taken while the server writes, checked, and put back.

use std::path::Path;

use hospes::db::backup::{Existing, backup, restore};
use hospes::db::{Config, Db};
use hospes_tests::{Engine, Harness};
use sqlx::{Connection as _, Executor as _, SqliteConnection};

use crate::db_scratch::{Scratch, count, insert, tenant};

async fn scratch() -> (Scratch, std::path::PathBuf) {
    let test = Scratch::start(Engine::Sqlite).await.expect("SQLite is always there");
    let Config::Sqlite { file } = test.0.config.clone() else { unreachable!("the engine is SQLite") };
    (test, file)
}

async fn rows(file: &Path) -> i64 {
    let db = Db::open(&Config::Sqlite { file: file.to_owned() }).await.unwrap();
    let rows = count(&mut db.read(&tenant(1)).await.unwrap(), &tenant(1)).await;
    db.close().await;
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_running_server_has_all_that_was_acknowledged_before() {
    let (test, file) = scratch().await;
    let copy = test.0.folder.path().join("copy.db");
    for number in 0..100 {
        insert(&test.0.db, &tenant(1), format!("row{number}"), number).await.unwrap();
    }
    let db = test.0.db.clone();
    let writer = tokio::task::spawn(async move {
        for number in 100.. {
            if insert(&db, &tenant(1), format!("row{number}"), number).await.is_err() {
                return;
            }
        }
    });
    let copied = backup(&file, &copy).await.unwrap();
    test.0.db.close().await;
    writer.await.unwrap();
    assert!(copied.rows["scratch"] >= 100, "{copied:?}");
    assert_eq!(u64::try_from(rows(&copy).await).unwrap(), copied.rows["scratch"]);
    assert!(!test.0.folder.path().join("copy.db.partial").exists());
}

#[tokio::test]
async fn a_restored_copy_is_what_the_server_had() {
    let (test, file) = scratch().await;
    let copy = test.0.folder.path().join("copy.db");
    insert(&test.0.db, &tenant(1), "kept", 1).await.unwrap();
    backup(&file, &copy).await.unwrap();
    insert(&test.0.db, &tenant(1), "later", 1).await.unwrap();

    let running = restore(&copy, &file, Existing::Replace).await.unwrap_err().to_string();
    assert!(running.contains("another server"), "{running}");
    test.0.db.close().await;
    let there = restore(&copy, &file, Existing::Keep).await.unwrap_err().to_string();
    assert!(there.contains("already"), "{there}");
    assert_eq!(rows(&file).await, 2);

    let restored = restore(&copy, &file, Existing::Replace).await.unwrap();
    assert_eq!(restored.rows["scratch"], 1);
    assert_eq!(rows(&file).await, 1);
    assert_eq!(rows(&test.0.folder.path().join("hospes.db.replaced")).await, 2);
}

#[tokio::test]
async fn a_copy_never_replaces_a_file() {
    let (test, file) = scratch().await;
    let copy = test.0.folder.path().join("copy.db");
    std::fs::File::create(&copy).unwrap();
    let refused = backup(&file, &copy).await.unwrap_err().to_string();
    assert!(refused.contains("never replaces"), "{refused}");
    assert_eq!(std::fs::metadata(&copy).unwrap().len(), 0);
}

#[tokio::test]
async fn a_damaged_copy_is_refused_and_the_database_stays() {
    use std::os::unix::fs::FileExt as _;
    let (test, file) = scratch().await;
    let copy = test.0.folder.path().join("copy.db");
    for number in 0..2_000 {
        insert(&test.0.db, &tenant(1), format!("row{number}"), number).await.unwrap();
    }
    let copied = backup(&file, &copy).await.unwrap();
    test.0.db.close().await;
    let damage = std::fs::OpenOptions::new().write(true).open(&copy).unwrap();
    damage.write_all_at(&[0x5a; 4096], copied.bytes / 4096 / 2 * 4096).unwrap();
    let refused = restore(&copy, &file, Existing::Replace).await.unwrap_err().to_string();
    assert!(refused.contains("no sound database"), "{refused}");
    assert_eq!(rows(&file).await, 2_000);
}

#[tokio::test]
async fn a_copy_of_a_newer_version_is_refused() {
    let (test, file) = scratch().await;
    let copy = test.0.folder.path().join("copy.db");
    backup(&file, &copy).await.unwrap();
    test.0.db.close().await;
    let mut newer = SqliteConnection::connect(copy.to_str().unwrap()).await.unwrap();
    newer
        .execute("INSERT INTO schema_migrations (number, name, checksum) VALUES (9999, '9999_future', 'x')")
        .await
        .unwrap();
    newer.close().await.unwrap();
    let refused = restore(&copy, &file, Existing::Replace).await.unwrap_err().to_string();
    assert!(refused.contains("newer version"), "{refused}");
    let opened = Db::open(&Config::Sqlite { file: copy }).await.map(drop).unwrap_err().to_string();
    assert!(opened.contains("newer version"), "{opened}");
}

#[tokio::test]
async fn an_edited_migration_is_refused() {
    let (test, file) = scratch().await;
    test.0.db.close().await;
    let mut edited = SqliteConnection::connect(file.to_str().unwrap()).await.unwrap();
    edited.execute("UPDATE schema_migrations SET checksum = 'other'").await.unwrap();
    edited.close().await.unwrap();
    let refused = Db::open(&test.0.config).await.map(drop).unwrap_err().to_string();
    assert!(refused.contains("never edited"), "{refused}");
}
