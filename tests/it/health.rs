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

    async fn a_token_opens_its_own_tenant(app: TestApp) {
        let (here, there) = (app.tenant("here").await, app.tenant("there").await);
        let answer = here.owner.get("/api/v1/tenant").await.expect(200).json();
        assert_eq!(answer["id"], here.id().as_str());
        let answer = there.owner.get("/api/v1/tenant").await.expect(200).json();
        assert_eq!(answer["id"], there.id().as_str());
        app.get("/api/v1/tenant").await.expect(401);
    }
}
