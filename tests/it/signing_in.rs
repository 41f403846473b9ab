//! Signing in: the wait after failures, the form in which passwords are kept, one's own record,
//! and the owner that a tenant must keep.

use std::future::IntoFuture;

use futures::future::join_all;
use hospes::db::Sql;
use hospes::domain::permission::Role;
use hospes_tests::{PASSWORD, TestApp, both_engines};
use serde_json::{Value, json};

/// The password of the tests, kept at a lower cost than that of today.
const CHEAP_HASH: &str =
    "$argon2id$v=19$m=8,t=1,p=1$BwcHBwcHBwcHBwcHBwcHBw$Ifvh/2yXZNM2YXLKEULqjsGR8AQJ/t7RaWEEn8uEiG4";

fn attempt(password: &str) -> Value {
    json!({ "tenant": "acme", "login": "owner", "password": password })
}

/// How a user's password is kept.
async fn kept(app: &TestApp) -> String {
    const KEPT: Sql = Sql::new("SELECT password_hash FROM users WHERE login = 'owner'");
    let mut reader = app.core.db.read(app.acme.id()).await.unwrap();
    let (kept,): (String,) = reader.fetch_one(KEPT, Vec::new()).await.unwrap();
    kept
}

both_engines! {
    async fn guesses_at_once_are_counted_before_they_are_looked_at(app: TestApp) {
        let guesses = (0..24).map(|guess| app.anonymous().post("/api/v1/sessions", attempt(&format!("wrong {guess} guess"))));
        let answers = join_all(guesses.map(IntoFuture::into_future)).await;
        let with = |status: u16| answers.iter().filter(|answer| answer.status.as_u16() == status).count();
        assert_eq!((with(401), with(429)), (5, 19));
        // The right one has to wait as well, or the answer would tell that it is right.
        let right = app.anonymous().post("/api/v1/sessions", attempt(PASSWORD)).await;
        assert_eq!((right.code(), right.header("retry-after")), ((429, "too_many_logins"), "1"));
        app.clock.advance_seconds(1);
        app.anonymous().post("/api/v1/sessions", attempt(PASSWORD)).await.expect(201);
    }

    async fn two_owners_who_demote_each_other_at_once_leave_one(app: TestApp) {
        // Only an owner takes the role from an owner, so each acts as themselves.
        let owners = [app.acme.user.clone(), app.acme.user("second", &[Role::Owner]).await];
        let (first, second) = (app.acme.sign_in("owner").await, app.acme.sign_in("second").await);
        for round in 0..8 {
            let path = |at: usize| format!("/api/v1/users/{}", owners[at].id);
            let body = json!({ "roles": ["admin"] });
            let (one, two) = tokio::join!(first.patch(&path(1), &body), second.patch(&path(0), &body));
            let mut codes = [one.status.as_u16(), two.status.as_u16()];
            codes.sort_unstable();
            // Who was too late is no owner any more, or would have left none.
            assert!(matches!(codes, [200, 403] | [200, 409]), "round {round}: {one} {two}");
            let left = if one.status == 200 { &first } else { &second };
            let users = left.all("/api/v1/users").await;
            let owning = users.iter().filter(|user| user["roles"] == json!(["owner"])).count();
            assert_eq!(owning, 1, "round {round}");
            let fallen = if one.status == 200 { path(1) } else { path(0) };
            left.patch(&fallen, json!({ "roles": ["owner"] })).await.expect(200);
        }
    }

    async fn a_password_kept_with_other_parameters_is_kept_anew_at_sign_in(app: TestApp) {
        const CHEAPEN: Sql = Sql::new("UPDATE users SET password_hash = $1 WHERE login = 'owner'");
        let before = kept(&app).await;
        app.acme.sign_in("owner").await;
        assert_eq!(kept(&app).await, before, "what is as it should be stays");
        let cheapen = app.core.db.write(app.acme.id(), (), |tx, ()| Box::pin(async move {
            tx.execute(CHEAPEN, vec![CHEAP_HASH.into()]).await.map(drop)
        }));
        cheapen.await.unwrap();
        let wrong = app.anonymous().post("/api/v1/sessions", attempt("not the password")).await;
        assert_eq!((wrong.code().0, kept(&app).await.as_str()), (401, CHEAP_HASH));
        let session = app.acme.sign_in("owner").await;
        let after = kept(&app).await;
        assert_eq!(after.rsplitn(3, '$').last(), before.rsplitn(3, '$').last());
        assert_ne!(after, before);
        session.get("/api/v1/me").await.expect(200);
        app.acme.sign_in("owner").await;
    }

    async fn people_change_their_own_name_and_language(app: TestApp) {
        app.acme.user("ada", &[Role::Agent]).await;
        let ada = app.acme.sign_in("ada").await;
        let changed = ada.patch("/api/v1/me", json!({ "name": "Ada L.", "locale": "zh-CN" })).await.expect(200);
        assert_eq!((changed.body["name"].as_str(), changed.header("etag")), (Some("Ada L."), "\"2\""));
        let me = ada.get("/api/v1/me").await.expect(200);
        assert_eq!((&me.body["user"]["name"], &me.body["locale"]), (&json!("Ada L."), &json!("zh-CN")));
        // Their answers are in their language from now on.
        assert_eq!(ada.get("/api/v1/audit").await.body["title"], "缺少权限");
        let back = ada.patch("/api/v1/me", json!({ "locale": null })).await.expect(200);
        assert_eq!(back.body.get("locale"), None);

        for (body, fault) in [
            (json!({ "roles": ["owner"] }), "/roles unknown_field"),
            (json!({ "state": "disabled" }), "/state unknown_field"),
            (json!({ "name": "" }), "/name too_short"),
        ] {
            assert_eq!(ada.patch("/api/v1/me", body).await.faults(), [fault]);
        }
        let late = ada.request(axum::http::Method::PATCH, "/api/v1/me").header("if-match", "\"1\"");
        assert_eq!(late.json(json!({ "name": "A" })).await.code(), (412, "version_mismatch"));
        assert_eq!(app.owner.patch("/api/v1/me", json!({ "name": "T" })).await.code(), (403, "not_a_user"));
        let audit = app.owner.get("/api/v1/audit?entity=user&limit=1").await.expect(200);
        assert_eq!(audit.body["items"][0]["action"], "user.update_self");
    }
}
