//! The server tells whoever watches it how it is.

use hospes_tests::{TestApp, both_engines};

both_engines! {
    async fn a_server_with_its_database_is_ready(app: TestApp) {
        app.get("/healthz").await.expect(200);
        app.get("/readyz").await.expect(200);
    }

    async fn a_server_without_its_database_is_alive_and_not_ready(app: TestApp) {
        app.core.db.close().await;
        app.get("/healthz").await.expect(200);
        app.get("/readyz").await.expect(503);
    }
}
