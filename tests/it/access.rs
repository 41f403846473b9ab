//! Tenants, units, users and sessions.

use axum::http::{Method, StatusCode};
use hospes::domain::permission::Role;
use hospes_tests::{PASSWORD, TestApp, TestResponse, both_engines};
use serde_json::{Value, json};

fn id(answer: &TestResponse) -> String {
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    answer.body["id"].as_str().unwrap().to_owned()
}

fn new_user(login: &str, roles: &[&str]) -> Value {
    json!({"login": login, "name": login, "password": PASSWORD, "roles": roles})
}

both_engines! {
    async fn an_owner_changes_the_tenant_and_a_late_change_is_refused(app: TestApp) {
        let before = app.owner.get("/api/v1/tenant").await;
        assert_eq!((before.header("etag"), before.body["slug"].as_str()), ("\"1\"", Some("acme")));
        let patch = |version: &'static str| app
            .owner
            .request(Method::PATCH, "/api/v1/tenant")
            .header("if-match", version)
            .json(json!({"name": "Acme", "time_zone": "Europe/Berlin"}));
        let after = patch("\"1\"").await;
        assert_eq!((after.status, after.header("etag")), (StatusCode::OK, "\"2\""));
        assert_eq!(after.body["time_zone"], "Europe/Berlin");
        assert_eq!(patch("\"1\"").await.code(), (412, "version_mismatch"));
        let absent = app.owner.request(Method::PATCH, "/api/v1/tenant").json(json!({})).await;
        assert_eq!(absent.code(), (428, "version_required"));
        let wrong = app.owner.patch("/api/v1/tenant", json!({"time_zone": "Mars/Olympus"})).await;
        assert_eq!(wrong.faults(), ["/time_zone bad_time_zone"]);
        let audit = app.owner.get("/api/v1/audit?entity=tenant&limit=1").await;
        assert_eq!(audit.body["items"][0]["changes"]["name"], "Acme");
        assert_eq!(audit.body["items"][0]["request_id"], after.header("x-request-id"));
    }

    async fn a_unit_moves_with_all_below_it_but_not_below_itself(app: TestApp) {
        let unit = async |name: &str, parent: Option<&str>| {
            let body = json!({"kind": "region", "name": name, "parent_id": parent});
            id(&app.owner.post("/api/v1/org-units", body).await)
        };
        let a = unit("A", None).await;
        let b = unit("B", Some(&a)).await;
        let c = unit("C", Some(&b)).await;
        let d = unit("D", None).await;
        let circle = app.owner.patch(&format!("/api/v1/org-units/{a}"), json!({"parent_id": c})).await;
        assert_eq!(circle.code(), (409, "unit_cycle"));
        let moved = app.owner.patch(&format!("/api/v1/org-units/{b}"), json!({"parent_id": d})).await;
        assert_eq!(moved.body["path"], format!("{d}/{b}/"));
        let below = app.owner.get(&format!("/api/v1/org-units/{c}")).await;
        assert_eq!(below.body["path"], format!("{d}/{b}/{c}/"));
        assert_eq!(app.owner.delete(&format!("/api/v1/org-units/{b}")).await.code(), (409, "unit_not_empty"));
        assert_eq!(app.owner.delete(&format!("/api/v1/org-units/{c}")).await.status, StatusCode::NO_CONTENT);
        let gone = app.owner.get(&format!("/api/v1/org-units/{c}")).await;
        assert_eq!(gone.code(), (404, "not_found"));
    }

    async fn paging_shows_each_unit_once(app: TestApp) {
        for name in 0..7 {
            app.owner.post("/api/v1/org-units", json!({"kind": "store", "name": name.to_string()})).await;
        }
        let (mut names, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = app.owner.get(&format!("/api/v1/org-units?limit=3{cursor}")).await;
            names.extend(page.body["items"].as_array().unwrap().iter().map(|unit| unit["name"].clone()));
            let Some(next) = page.body["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        names.sort_by_key(ToString::to_string);
        assert_eq!(names, ["0", "1", "2", "3", "4", "5", "6"]);
    }

    async fn a_user_signs_in_works_and_signs_out(app: TestApp) {
        app.acme.user("ada", &[Role::Agent]).await;
        let ada = app.acme.sign_in("ADA").await;
        let me = ada.get("/api/v1/me").await;
        assert_eq!((me.body["user"]["login"].as_str(), me.body["roles"].clone()), (Some("ada"), json!(["agent"])));
        assert_eq!(ada.get("/api/v1/audit").await.code(), (403, "forbidden"));
        assert_eq!(ada.delete("/api/v1/sessions/current").await.status, StatusCode::NO_CONTENT);
        assert_eq!(ada.get("/api/v1/me").await.code(), (401, "unauthenticated"));
    }

    async fn unknown_names_and_wrong_passwords_are_answered_alike(app: TestApp) {
        let sign_in = async |tenant: &str, login: &str| {
            let body = json!({"tenant": tenant, "login": login, "password": "wrong password"});
            let mut answer = app.anonymous().post("/api/v1/sessions", body).await;
            answer.body["request_id"].take();
            (answer.status.as_u16(), answer.body)
        };
        let wrong = sign_in("acme", "owner").await;
        assert_eq!((wrong.0, &wrong.1["code"]), (401, &json!("bad_credentials")));
        assert_eq!(sign_in("acme", "nobody").await, wrong);
        assert_eq!(sign_in("nowhere", "owner").await, wrong);
        for _ in 0..4 {
            sign_in("acme", "owner").await;
        }
        assert_eq!(sign_in("acme", "owner").await.0, 429);
        app.clock.advance_seconds(5);
        assert_eq!(sign_in("acme", "owner").await.0, 401);
    }

    async fn a_disabled_user_is_out_at_once(app: TestApp) {
        let user = app.acme.user("bob", &[Role::Admin]).await.id;
        let bob = app.acme.sign_in("bob").await;
        assert_eq!(bob.get("/api/v1/users").await.status, StatusCode::OK);
        let disabled = app.owner.patch(&format!("/api/v1/users/{user}"), json!({"state": "disabled"})).await;
        assert_eq!(disabled.status, StatusCode::OK, "{}", disabled.body);
        assert_eq!(bob.get("/api/v1/users").await.code(), (401, "unauthenticated"));
    }

    async fn a_role_that_is_taken_away_is_gone_at_once(app: TestApp) {
        let user = app.acme.user("bob", &[Role::Admin]).await.id;
        let bob = app.acme.sign_in("bob").await;
        assert_eq!(bob.get("/api/v1/audit").await.status, StatusCode::OK);
        app.owner.patch(&format!("/api/v1/users/{user}"), json!({"roles": ["sales"]})).await;
        assert_eq!(bob.get("/api/v1/audit").await.code(), (403, "forbidden"));
    }

    async fn the_last_owner_stays_and_nobody_gives_more_than_they_have(app: TestApp) {
        let users = app.owner.get("/api/v1/users?login=owner").await;
        let owner = users.body["items"][0]["id"].as_str().unwrap().to_owned();
        let path = format!("/api/v1/users/{owner}");
        assert_eq!(app.owner.patch(&path, json!({"state": "disabled"})).await.code(), (409, "last_owner"));
        assert_eq!(app.owner.patch(&path, json!({"roles": ["admin"]})).await.code(), (409, "last_owner"));
        let admin = app.acme.token(&[Role::Admin]).await;
        let wide = admin.post("/api/v1/users", new_user("eve", &["owner"])).await;
        assert_eq!(wide.code(), (403, "wider_than_own"));
        assert_eq!(admin.patch(&path, json!({"name": "Eve"})).await.code(), (403, "wider_than_own"));
        let reset = admin.post(&format!("{path}/password"), json!({"password": "another password"})).await;
        assert_eq!(reset.code(), (403, "wider_than_own"));
    }

    async fn a_new_password_ends_the_other_sessions(app: TestApp) {
        app.acme.user("ada", &[Role::Sales]).await;
        let (here, elsewhere) = (app.acme.sign_in("ada").await, app.acme.sign_in("ada").await);
        let change = |old: &str, new: &str| {
            here.post("/api/v1/me/password", json!({"old_password": old, "new_password": new}))
        };
        let wrong = change("not this one", "a better password").await;
        assert_eq!(wrong.faults(), ["/old_password wrong_password"]);
        assert_eq!(change(PASSWORD, "password123").await.faults(), ["/new_password common_password"]);
        assert_eq!(change(PASSWORD, "a better password").await.status, StatusCode::NO_CONTENT);
        assert_eq!(here.get("/api/v1/me").await.status, StatusCode::OK);
        assert_eq!(elsewhere.get("/api/v1/me").await.status, StatusCode::UNAUTHORIZED);
    }

    async fn a_session_ends_when_it_is_not_used_and_when_its_time_is_over(app: TestApp) {
        app.acme.user("ada", &[Role::Sales]).await;
        let idle = app.acme.sign_in("ada").await;
        app.clock.advance_seconds(12 * 3_600);
        assert_eq!(idle.get("/api/v1/me").await.status, StatusCode::UNAUTHORIZED);
        let busy = app.acme.sign_in("ada").await;
        for _ in 0..(14 * 3 - 1) {
            app.clock.advance_seconds(8 * 3_600);
            assert_eq!(busy.get("/api/v1/me").await.status, StatusCode::OK);
        }
        app.clock.advance_seconds(8 * 3_600);
        assert_eq!(busy.get("/api/v1/me").await.status, StatusCode::UNAUTHORIZED);
    }

    async fn another_sites_page_cannot_use_the_cookie(app: TestApp) {
        app.acme.user("ada", &[Role::Admin]).await;
        let ada = app.acme.sign_in("ada").await;
        let send = async |name: &str, value: &str| {
            let request = ada.request(Method::POST, "/api/v1/org-units").header(name, value);
            let answer = request.json(json!({"kind": "store", "name": "X"})).await;
            answer.code().0
        };
        assert_eq!(send("sec-fetch-site", "cross-site").await, 403);
        assert_eq!(send("sec-fetch-site", "same-site").await, 403);
        assert_eq!(send("origin", "https://evil.test").await, 403);
        assert_eq!(send("origin", "null").await, 403);
        assert_eq!(send("sec-fetch-site", "same-origin").await, 201);
        assert_eq!(send("origin", "http://hospes.test").await, 201);
        let read = ada.request(Method::GET, "/api/v1/me").header("sec-fetch-site", "cross-site").await;
        assert_eq!(read.status, StatusCode::OK);
    }

    async fn another_tenants_records_look_like_missing_ones(app: TestApp) {
        let other = app.tenant("other").await.owner;
        let unit = id(&other.post("/api/v1/org-units", json!({"kind": "store", "name": "X"})).await);
        let user = id(&other.post("/api/v1/users", new_user("eve", &["sales"])).await);
        let missing = app.owner.get("/api/v1/org-units/org_00000000000000000000000000").await;
        let foreign = app.owner.get(&format!("/api/v1/org-units/{unit}")).await;
        assert_eq!(foreign.code(), missing.code());
        assert_eq!(app.owner.delete(&format!("/api/v1/org-units/{unit}")).await.code(), (404, "not_found"));
        assert_eq!(app.owner.patch(&format!("/api/v1/users/{user}"), json!({})).await.code(), (404, "not_found"));
        let body = json!({"kind": "store", "name": "Y", "parent_id": unit});
        let below = app.owner.post("/api/v1/org-units", body).await;
        assert_eq!(below.faults(), ["/parent_id unknown_reference"]);
        // The same login in two tenants: names do not tell of one another.
        assert_eq!(app.owner.post("/api/v1/users", new_user("eve", &["sales"])).await.status, StatusCode::CREATED);
        assert_eq!(app.owner.post("/api/v1/users", new_user("eve", &["sales"])).await.code(), (409, "already_exists"));
    }
}
