//! Both engines behind the same facade: opening, reading, writing.

use hospes_tests::{TestDb, both_engines};

both_engines! {
    async fn a_migrated_database_answers(test: TestDb) {
        test.db.ping().await.unwrap();
    }
}
