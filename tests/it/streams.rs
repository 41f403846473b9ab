//! Server-sent events: the change feed as it happens, and the progress of an import.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{Method, Response, StatusCode};
use futures::StreamExt as _;
use hospes::domain::permission::Role;
use hospes::jobs::retention::{Policy, Retention};
use hospes_tests::{Client, Engine, Harness as _, TestApp, TestRequest, both_engines};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Longer than a stream needs for anything, shorter than anybody waits for a test.
const WAIT: Duration = Duration::from_secs(20);
const FEED: &str = "/api/v1/events/stream";
/// A stream of a token or person at most.
const STREAMS_MAX: usize = 8;

/// What a server tells.
struct Told {
    id: String,
    name: String,
    data: Value,
}

/// A stream that is read.
struct Stream {
    body: BodyDataStream,
    text: String,
}

impl Stream {
    async fn open(request: TestRequest) -> Self {
        Self::read(request.stream().await)
    }

    fn read(response: Response<Body>) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next thing that is told; `None` at the end.
    async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let line = |name: &str| {
                    let lines = event.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                    lines.collect::<String>()
                };
                // A comment only shows that the stream is alive.
                if !line("data").is_empty() {
                    let data = serde_json::from_str(&line("data")).unwrap();
                    return Some(Told { id: line("id"), name: line("event"), data });
                }
                continue;
            }
            let piece = tokio::time::timeout(WAIT, self.body.next()).await.expect("the stream stands still");
            self.text.push_str(std::str::from_utf8(&piece?.unwrap()).unwrap());
        }
    }

    async fn ends(mut self) -> bool {
        self.next().await.is_none()
    }
}

async fn make(client: &Client, name: &str) -> String {
    let body = json!({ "kind": "person", "name": name });
    let made = client.post("/api/v1/customers", body).await.expect(201);
    made.body["id"].as_str().unwrap().to_owned()
}

/// A token of its own, as its id and a client.
async fn token(app: &TestApp, role: &str) -> (String, Client) {
    let body = json!({ "name": "follower", "roles": [role] });
    let made = app.owner.post("/api/v1/tokens", body).await.expect(201).body;
    (made["id"].as_str().unwrap().to_owned(), app.bearer(made["secret"].as_str().unwrap()))
}

async fn new_import(app: &TestApp) -> String {
    let body = json!({
        "entity": "customers", "source": "till", "mapping": { "format": "csv", "fields": {
            "external_id": { "column": "id" }, "name": { "column": "name" }, "kind": { "constant": "person" },
        }},
    });
    let made = app.owner.post("/api/v1/imports", body).await.expect(201);
    made.body["id"].as_str().unwrap().to_owned()
}

both_engines! {
    async fn the_feed_tells_what_happens_and_goes_on_behind_the_last_event(app: TestApp) {
        make(&app.owner, "Before").await;
        let mut stream = Stream::open(app.owner.get(&format!("{FEED}?types=customer.created"))).await;
        let first = make(&app.owner, "First").await;
        let told = stream.next().await.unwrap();
        assert_eq!((told.name.as_str(), &told.data["subject"]), ("customer.created", &json!(format!("customer/{first}"))));
        assert_eq!((&told.data["specversion"], &told.data["data"]["name"]), (&json!("1.0"), &json!("First")));
        drop(stream);

        let second = make(&app.owner, "Second").await;
        let again = app.owner.get(FEED).header("last-event-id", &told.id);
        let mut stream = Stream::open(again).await;
        assert_eq!(stream.next().await.unwrap().data["subject"], json!(format!("customer/{second}")));
        let third = make(&app.owner, "Third").await;
        assert_eq!(stream.next().await.unwrap().data["subject"], json!(format!("customer/{third}")));
    }

    async fn a_stream_ends_with_the_right_to_it(app: TestApp) {
        // A revoked token.
        let (id, follower) = token(&app, "admin").await;
        let import = new_import(&app).await;
        let feed = Stream::open(follower.get(FEED)).await;
        let mut progress = Stream::open(follower.get(&format!("/api/v1/imports/{import}/progress"))).await;
        assert_eq!(progress.next().await.unwrap().data["state"], "receiving");
        app.owner.delete(&format!("/api/v1/tokens/{id}")).await.expect(204);
        assert!(feed.ends().await && progress.ends().await);
        assert_eq!(follower.get(FEED).await.code(), (401, "unauthenticated"));

        // A session that was signed out, and a person whose role was taken.
        let ada = app.acme.user("ada", &[Role::Admin]).await;
        let (session, other) = (app.acme.sign_in("ada").await, app.acme.sign_in("ada").await);
        let (signed_out, demoted) = (Stream::open(session.get(FEED)).await, Stream::open(other.get(FEED)).await);
        session.delete("/api/v1/sessions/current").await.expect(204);
        assert!(signed_out.ends().await);
        app.owner.patch(&format!("/api/v1/users/{}", ada.id), json!({ "roles": ["sales"] })).await.expect(200);
        assert!(demoted.ends().await);
        assert_eq!(other.get(FEED).await.code(), (403, "forbidden"));
    }

    async fn progress_is_told_at_every_step_until_the_end(app: TestApp) {
        let import = new_import(&app).await;
        let mut stream = Stream::open(app.owner.get(&format!("/api/v1/imports/{import}/progress"))).await;
        let told = stream.next().await.unwrap();
        assert_eq!((told.name.as_str(), &told.data["state"]), ("progress", &json!("receiving")));
        let upload = app.owner.request(Method::PUT, &format!("/api/v1/imports/{import}/content"));
        upload.body("text/csv", "id,name\n1,Lin\n2,Wang\n").await.expect(202);
        app.run_jobs().await;
        let mut last = told.data;
        while let Some(told) = stream.next().await {
            last = told.data;
        }
        assert_eq!((&last["state"], &last["progress"]["created"]), (&json!("succeeded"), &json!(2)));
    }

    async fn a_cursor_behind_which_events_are_gone_is_answered_410(app: TestApp) {
        make(&app.owner, "Old").await;
        let oldest = settled(&app, 1).await;
        make(&app.owner, "Older than two days").await;
        settled(&app, 2).await;
        app.clock.advance_seconds(3 * 24 * 60 * 60);
        make(&app.owner, "Young").await;
        settled(&app, 3).await;
        let retention = Retention::new(app.core.clone(), Policy { event_days: 2 }, CancellationToken::new());
        while retention.run_once().await.unwrap().events == 0 {
            // Transactions of other tests of the same cluster have to end first.
            tokio::task::yield_now().await;
        }
        for path in ["/api/v1/events", FEED] {
            let gone = app.owner.get(&format!("{path}?after={oldest}")).header("accept-language", "zh").await;
            assert_eq!(gone.code(), (410, "cursor_expired"));
            assert!(gone.body["detail"].as_str().unwrap().contains("游标"), "{gone}");
        }
        let kept = app.owner.get("/api/v1/events?types=customer.created").await.expect(200).body;
        assert_eq!(kept["items"].as_array().unwrap().len(), 1);
        let bad = app.owner.get("/api/v1/events?after=nonsense").await;
        assert_eq!((bad.code(), bad.faults()), ((400, "bad_query"), vec!["/after bad_cursor".to_owned()]));
    }
}

/// The cursor behind the first event, once the feed shows `count` of them.
async fn settled(app: &TestApp, count: usize) -> String {
    loop {
        let page = app.owner.get("/api/v1/events?types=customer.created").await.expect(200).body;
        if page["items"].as_array().unwrap().len() >= count {
            let first = app.owner.get("/api/v1/events?types=customer.created&limit=1").await.expect(200).body;
            return first["next_cursor"].as_str().unwrap().to_owned();
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nobody_has_more_streams_than_their_places() {
    let app = TestApp::start(Engine::Sqlite).await.unwrap();
    let mut open = Vec::new();
    for _ in 0..STREAMS_MAX {
        open.push(Stream::open(app.owner.get(FEED)).await);
    }
    let import = new_import(&app).await;
    let refused = app.owner.get(&format!("/api/v1/imports/{import}/progress")).await;
    assert_eq!((refused.code(), refused.header("retry-after")), ((429, "too_many_streams"), "60"));
    let (_, other) = token(&app, "admin").await;
    Stream::open(other.get(FEED)).await;
    open.pop();
    open.push(Stream::open(app.owner.get(FEED)).await);
}

#[tokio::test]
async fn a_stream_ends_when_the_server_stops() {
    let app = TestApp::start(Engine::Sqlite).await.unwrap();
    let stream = Stream::open(app.owner.get(FEED)).await;
    app.app.shutdown_token().cancel();
    assert!(stream.ends().await);
}
