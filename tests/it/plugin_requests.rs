//! Requests that the host makes for plugins: to whom, with what, and what comes back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use axum::http::StatusCode;
use hospes::db::Sql;
use hospes::ops::plugins::packages;
use hospes::outbound::{Options, Outbound, Reach, read_authorities};
use hospes_tests::{Received, Receiver, Reply, TestApp, TestDb, both_engines, guests};
use serde_json::{Value, json};

use crate::outbound::{Scripted, authority};
use crate::plugin_oracles::Besieged;
use crate::plugin_rig::Rig;

pub(crate) const HOST: &str = "api.example.com:28443";
const PARTNER: &str = "eu.partner.example.com:28443";
pub(crate) const SECRET: &str = "Bearer sk-ed7c1b0f5a";

/// An address of this machine for one test: the port stands in the guest's manifest.
fn own_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = NEXT.fetch_add(1, Ordering::SeqCst).to_be_bytes();
    let process = u8::try_from(std::process::id() % 200).unwrap() + 16;
    SocketAddr::from(([127, process, high, low], 28_443))
}

/// A server with the guest enabled, and the server of others that every name means.
pub(crate) struct Scene {
    pub(crate) rig: Besieged,
    pub(crate) receiver: Receiver,
}

impl Scene {
    pub(crate) async fn start(
        database: TestDb,
        script: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let address = own_address();
        let resolver = Scripted::new(&[&[&*address.ip().to_string()]]);
        Self::reaching(database, (address, Reach::Private, resolver), script).await
    }

    async fn reaching(
        database: TestDb,
        (address, reach, resolver): (SocketAddr, Reach, Arc<Scripted>),
        script: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let (pem, acceptor) = authority(&["api.example.com", "eu.partner.example.com"]);
        let receiver = Receiver::start_tls_at(address, acceptor, script).await;
        let authorities = read_authorities(pem.as_bytes()).unwrap();
        let outbound = Outbound::new(Options { reach, authorities, resolver });
        let rig = Besieged::of(Rig::of(TestApp::reaching(database, outbound).await).await).await;
        rig.enable(guests::CALLER).await;
        Self { rig, receiver }
    }

    /// What the guest is answered.
    async fn send(&self, requests: Value) -> Value {
        let outcome = self.rig.act("caller", "send", json!({ "requests": requests })).await;
        outcome.expect("the guest has an answer").body
    }

    /// What the guest is answered for one request.
    pub(crate) async fn send_one(&self, request: Value) -> Value {
        self.send(json!([request])).await["answers"][0].clone()
    }

    pub(crate) async fn keep(&self, name: &str, credential: Value) -> StatusCode {
        let path = format!("/api/v1/plugins/caller/credentials/{name}");
        self.rig.app.owner.put(&path, credential).await.status
    }
}

fn well(_: &Received) -> Reply {
    Reply::Answer(200, "well")
}

both_engines! {
    async fn the_host_adds_a_credential_that_the_guest_never_sees(database: TestDb) {
        let scene = Scene::start(database, |received| match received.line.as_str() {
            "GET /echo HTTP/1.1" => Reply::Raw(
                format!("HTTP/1.1 200 Ok\r\nx-you: {SECRET}\r\ncontent-length: 0\r\n\r\n").into_bytes()),
            "GET /word HTTP/1.1" => Reply::Answer(200, "your key is sk-ed7c1b0f5a, is it not"),
            _ => Reply::Answer(200, "well"),
        })
        .await;
        assert_eq!(scene.keep("key", json!({ "host": HOST, "value": SECRET })).await, StatusCode::OK);
        let sent = scene.send_one(json!({ "credential": "key", "path": "/a?b=c", "method": "POST", "body": "{}",
            "headers": [["authorization", "Bearer mine"], ["x-one", "1"]] })).await;
        assert_eq!((&sent["status"], &sent["body"]), (&json!(200), &json!("well")));
        let received = scene.receiver.received();
        assert_eq!((&*received[0].line, received[0].header("host")), ("POST /a?b=c HTTP/1.1", HOST));
        assert_eq!((received[0].header("authorization"), received[0].header("x-one")), (SECRET, "1"));
        assert_eq!(received[0].headers.iter().filter(|(name, _)| name == "authorization").count(), 1);

        for path in ["/echo", "/word"] {
            let told = scene.send_one(json!({ "credential": "key", "path": path })).await;
            assert_eq!(told["failure"], "broken", "{told}");
        }
        for asked in [json!({ "credential": "key", "host": PARTNER }), json!({ "credential": "other" })] {
            assert_eq!(scene.send_one(asked).await["failure"], "denied");
        }
        assert_eq!(scene.receiver.connections(), 3);
        let owner = &scene.rig.app.owner;
        let mut seen = vec![scene.rig.log("caller").await.join("\n")];
        for path in ["plugins/caller/credentials", "plugins/caller", "plugins/caller/log", "audit", "events"] {
            seen.push(owner.get(&format!("/api/v1/{path}")).await.expect(200).body.to_string());
        }
        assert!(seen[1].contains(r#""name":"key""#) && seen[4].contains("plugin.set_credential"), "{seen:?}");
        assert!(!seen.iter().any(|text| text.contains("sk-ed7c")), "{seen:?}");

        #[derive(sqlx::FromRow)]
        struct Row {
            sealed: Vec<u8>,
        }
        const SEALED: Sql = Sql::new("SELECT sealed FROM plugin_credentials");
        let mut reader = scene.rig.core.db.read(&scene.rig.actor.tenant).await.unwrap();
        let rows: Vec<Row> = reader.fetch_all(SEALED, Vec::new()).await.unwrap();
        drop(reader);
        assert!(rows.len() == 1 && !rows[0].sealed.windows(7).any(|part| part == b"sk-ed7c"));

        owner.delete("/api/v1/plugins/caller/credentials/key").await.expect(204);
        assert_eq!(scene.send_one(json!({ "credential": "key" })).await["failure"], "denied");
        assert_eq!(owner.delete("/api/v1/plugins/caller/credentials/key").await.code(), (404, "not_found"));
    }

    async fn a_credential_is_for_one_host_and_one_tenants_plugin(database: TestDb) {
        let scene = Scene::start(database, well).await;
        scene.rig.enable_for(&scene.rig.neighbour, guests::CALLER).await;
        assert_eq!(scene.keep("key", json!({ "host": HOST, "value": SECRET })).await, StatusCode::OK);
        let there = &scene.rig.there.owner;
        assert_eq!(there.get("/api/v1/plugins/caller/credentials").await.expect(200).body["items"], json!([]));
        assert_eq!(there.delete("/api/v1/plugins/caller/credentials/key").await.code(), (404, "not_found"));
        let guest = scene.rig.customer_of(&scene.rig.neighbour).await;
        let path = format!("/api/v1/customers/{guest}/actions/caller/send");
        let told = there.post(&path, json!({ "requests": [{ "credential": "key" }] })).await.expect(200);
        assert_eq!(told.body["body"]["answers"][0]["failure"], "denied", "{}", told.body);
        for (wrong, fault) in [
            (json!({ "host": "127.0.0.1/", "value": SECRET }), "/host url_host"),
            (json!({ "host": "user@api.example.com", "value": SECRET }), "/host url_user"),
            (json!({ "host": HOST, "value": "Bearer\r\nhost: inner" }), "/value bad_character"),
            (json!({ "host": HOST, "value": SECRET, "header": "host" }), "/header reserved"),
            (json!({ "host": HOST, "value": SECRET, "header": "x\r\ny" }), "/header reserved"),
        ] {
            let refused = scene.rig.app.owner.put("/api/v1/plugins/caller/credentials/key", wrong).await;
            assert_eq!(refused.faults(), [fault]);
        }
        assert_eq!(scene.receiver.connections(), 0);
    }

    async fn only_the_hosts_of_the_grant_are_reached(database: TestDb) {
        let scene = Scene::start(database, well).await;
        for host in [HOST, PARTNER] {
            assert_eq!(scene.send_one(json!({ "host": host })).await["status"], 200, "{host}");
        }
        let address = scene.receiver.address;
        let (ip, before) = (address.ip(), scene.receiver.connections());
        let literal = address.to_string();
        let decimal = match ip {
            std::net::IpAddr::V4(ip) => format!("{}:28443", u32::from(ip)),
            std::net::IpAddr::V6(_) => unreachable!("the address is of IPv4"),
        };
        let mapped = format!("[::ffff:{ip}]:28443");
        for host in [
            "api.example.com", "api.example.com:443", "api.example.com:28444", "api.example.com:028443",
            "API.example.com:28443", "api.example.com.:28443", "api.example.com:28443:28443", "api.example.com:28443/",
            "evil.com#api.example.com:28443", "evil.com?api.example.com:28443", "evil.com\\@api.example.com:28443",
            "user@api.example.com:28443", "api.example.com:28443@evil.com", "api.example.com:28443\r\nhost: evil.com",
            "api.example.com:28443\thost", " api.example.com:28443", "api.example.com:28443 ", "apixexample.com:28443",
            "evilapi.example.com:28443", "partner.example.com:28443", "evilpartner.example.com:28443",
            ".partner.example.com:28443", "*.partner.example.com:28443", "a..partner.example.com:28443",
            "x.partner.example.com.evil.com:28443", "ａpi.example.com:28443", "localhost:28443", "127.1:28443",
            "0x7f.0.0.1:28443", "0177.0.0.1:28443", "[::1]:28443", "169.254.169.254:28443", "metadata.internal:28443",
            "", ":28443", "//api.example.com:28443", "https://api.example.com:28443", &literal, &decimal, &mapped,
        ] {
            let told = scene.send_one(json!({ "host": host })).await;
            assert_eq!(told["failure"], "denied", "{host:?}: {told}");
        }
        assert_eq!(scene.receiver.connections(), before);
        let denied = scene.rig.app.owner.get("/api/v1/plugins/caller").await.body;
        assert!(denied["denials"].to_string().contains("http:send"), "{denied}");

        // Narrowed, and then taken away: both at once.
        let configure = async |grants: Value| {
            let path = "/api/v1/plugins/caller/enablement";
            let request = scene.rig.app.owner.request(axum::http::Method::PATCH, path).header("if-match", "*");
            request.json(json!({ "grants": grants })).await.expect(200);
        };
        configure(json!([{ "name": "http:send", "parameters": { "hosts": [PARTNER] } }])).await;
        assert_eq!(scene.send_one(json!({ "host": HOST })).await["failure"], "denied");
        assert_eq!(scene.send_one(json!({ "host": PARTNER })).await["status"], 200);
        configure(json!([])).await;
        let told = scene.send(json!([{ "host": PARTNER }])).await;
        assert!(told["refused"].as_str().unwrap().contains("Denied"), "{told}");
        assert_eq!(scene.receiver.connections(), before + 1);
    }

    async fn an_allowed_name_that_means_an_inner_address_is_not_connected_to(database: TestDb) {
        let address = own_address();
        let here = address.ip().to_string();
        let resolver = Scripted::new(&[&[&*here], &["::1"], &["10.0.0.1"], &["169.254.169.254", &here],
            &["100.64.0.1"], &["192.168.1.1"], &["::ffff:127.0.0.1"], &["fd00::1"], &["64:ff9b::7f00:1"], &["0.0.0.0"], &[]]);
        let scene = Scene::reaching(database, (address, Reach::Public, Arc::clone(&resolver)), well).await;
        for _ in 0..11 {
            let told = scene.send(json!(vec![json!({}); 8])).await;
            for told in told["answers"].as_array().unwrap() {
                assert_eq!(told["failure"], "unreachable", "{told}");
                assert!(!told.to_string().contains(&here), "{told}");
            }
        }
        assert_eq!((scene.receiver.connections(), resolver.lookups()), (0, 88));
    }

    async fn a_request_cannot_smuggle_another(database: TestDb) {
        let scene = Scene::start(database, well).await;
        let header = |name: &str, value: &str| json!({ "headers": [[name, value]] });
        let many: Vec<_> = (0..33).map(|n| json!([format!("x-{n}"), "1"])).collect();
        for asked in [
            header("host", "inner"), header("Host", "inner"), header("content-length", "7"),
            header("transfer-encoding", "chunked"), header("connection", "upgrade"), header("upgrade", "h2c"),
            header("proxy-authorization", "x"), header("expect", "100-continue"), header("cookie", "a=b"),
            header("accept-encoding", "gzip"), header("user-agent", "curl"), header("te", "trailers"),
            header("x\r\nhost", "inner"), header("x: y\r\nhost", "inner"), header("", "x"), header("x y", "z"),
            header("x", "a\r\nhost: inner"), header("x", "a\nb"), header("x", "a\0b"), json!({ "headers": many }),
            header("x", &"a".repeat(9_000)), json!({ "path": "" }), json!({ "path": "inner/" }),
            json!({ "path": "@inner/" }), json!({ "path": "/ HTTP/1.1\r\nhost: inner\r\n\r\nGET /" }),
            json!({ "path": "/a b" }), json!({ "path": "/\\inner" }), json!({ "path": "/a/../b" }),
            json!({ "path": "/a/%2e%2e/b" }), json!({ "path": "/#x" }), json!({ "path": "/é" }),
            json!({ "path": format!("/{}", "a".repeat(9_000)) }), json!({ "body": "x" }),
            json!({ "method": "HEAD", "body": "x" }), json!({ "timeout_ms": 0 }), json!({ "timeout_ms": 30_001 }),
            json!({ "method": "POST", "body_bytes": (1 << 20) + 1 }),
        ] {
            let told = scene.send_one(asked.clone()).await;
            assert_eq!(told["failure"], "invalid", "{asked}: {told}");
        }
        assert_eq!(scene.receiver.connections(), 0);
        // Every fault at once, and where it is.
        let told = scene.send_one(json!({ "headers": [["host", "a"], ["x", "1"], ["cookie", "b"]] })).await;
        let words = told["words"].as_str().unwrap();
        assert!(words.contains("/headers/0") && words.contains("/headers/2") && !words.contains("/headers/1"), "{words}");
        // What may be said arrives as it was said.
        let path = format!("//inner/%2F?u=https://inner/{}", "a".repeat(7_000));
        let told = scene.send_one(json!({ "method": "PUT", "path": path, "body_bytes": 1 << 20 })).await;
        assert_eq!(told["status"], 200, "{told}");
        let received = scene.receiver.received();
        assert_eq!((&*received[0].line, received[0].header("host")), (&*format!("PUT {path} HTTP/1.1"), HOST));
        assert_eq!((received[0].body.len(), received[0].header("content-length")), (1 << 20, "1048576"));
    }

    async fn a_redirect_is_an_answer_and_nobody_follows_it(database: TestDb) {
        let scene = Scene::start(database, |received| {
            let status = &received.line[5..8];
            let head = format!("HTTP/1.1 {status} Away\r\nlocation: http://169.254.169.254/\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            Reply::Raw(head.into_bytes())
        })
        .await;
        for status in [301, 302, 303, 307, 308] {
            let told = scene.send_one(json!({ "path": format!("/{status}") })).await;
            assert_eq!((&told["status"], &told["headers"]["location"]), (&json!(status), &json!("http://169.254.169.254/")));
            assert_eq!(told["headers"]["connection"], Value::Null);
        }
        assert_eq!(scene.receiver.connections(), 5);
    }

    async fn a_server_that_misbehaves_costs_one_answer(database: TestDb) {
        let scene = Scene::start(database, |received| {
            let raw = |text: &str| Reply::Raw(text.as_bytes().to_vec());
            match received.line.split(' ').nth(1).unwrap_or_default() {
                "/short" => raw("HTTP/1.1 200 Ok\r\ncontent-length: 10\r\n\r\nabc"),
                "/two" => raw("HTTP/1.1 200 Ok\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd"),
                "/none" => raw("SSH-2.0-OpenSSH_9.2\r\n"),
                "/big" => raw(&format!("HTTP/1.1 200 Ok\r\ncontent-length: {}\r\n\r\n", (1 << 20) + 1)),
                "/endless" => Reply::Endless(b"HTTP/1.1 200 Ok\r\n\r\n".to_vec(), vec![b'x'; 65_536]),
                "/reset" => Reply::Reset(b"HTTP/1.1 200 Ok\r\ncontent-length: 9\r\n\r\nabc".to_vec()),
                "/drip" => Reply::Drip(b"HTTP/1.1 200 Ok\r\ncontent-length: 9999\r\n\r\n".to_vec()),
                "/silence" => Reply::Silence,
                _ => Reply::Answer(200, "well"),
            }
        })
        .await;
        let paths = ["/short", "/two", "/none", "/big", "/endless", "/reset", "/drip", "/silence"];
        let asked = |path: &&str| json!({ "path": path, "timeout_ms": 2_000 });
        let told = scene.send(json!(paths.iter().map(asked).collect::<Vec<_>>())).await;
        let failures: Vec<_> = told["answers"].as_array().unwrap().iter().map(|told| told["failure"].clone()).collect();
        assert_eq!(json!(failures), json!(["broken", "broken", "broken", "too_large", "too_large", "broken", "timeout", "timeout"]));
        assert_eq!(scene.send_one(json!({})).await["body"], "well");
    }

    async fn what_only_looks_or_holds_up_a_save_may_not_send(database: TestDb) {
        let scene = Scene::start(database, well).await;
        let path = format!("/api/v1/customers/{}", scene.rig.customer);
        let owner = &scene.rig.app.owner;
        owner.patch(&path, json!({ "name": "Grace" })).await.expect(200);
        owner.get(&format!("{path}/overview")).await.expect(200);
        let log = scene.rig.log("caller").await.join("\n");
        assert!(log.contains("hook: Err") && log.contains("panel: Err") && log.contains("may not send"), "{log}");
        assert_eq!(scene.receiver.connections(), 0);

        // An event may, with a key by which the other side knows a repetition.
        scene.rig.app.run_jobs().await;
        let received = scene.receiver.received();
        assert_eq!((received.len(), &*received[0].line, &*received[0].body), (1, "POST /events HTTP/1.1", &b"customer.updated"[..]));
        assert!(received[0].header("idempotency-key").starts_with("evt_"));
    }

    async fn a_request_stays_made_when_its_event_is_delivered_again(database: TestDb) {
        let count = AtomicU16::new(0);
        let scene = Scene::start(database, move |_| match count.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::Reset(Vec::new()),
            _ => Reply::Answer(200, ""),
        })
        .await;
        let path = format!("/api/v1/customers/{}", scene.rig.customer);
        scene.rig.app.owner.patch(&path, json!({ "name": "Grace" })).await.expect(200);
        while scene.receiver.received().len() < 2 {
            scene.rig.app.run_jobs().await;
            scene.rig.clock.advance_seconds(60);
        }
        let received = scene.receiver.received();
        assert_eq!(received[0].header("idempotency-key"), received[1].header("idempotency-key"));
    }

    async fn requests_are_counted_and_go_at_the_same_time(database: TestDb) {
        let scene = Scene::start(database, |received| {
            if received.line.contains("/held") { Reply::Held(204) } else { Reply::Answer(200, "") }
        })
        .await;
        let told = scene.send(json!(vec![json!({}); 9])).await;
        assert!(told["refused"].as_str().unwrap().contains("Limit"), "{told}");
        assert_eq!(scene.receiver.connections(), 0);
        let held = scene.send(json!(vec![json!({ "path": "/held" }); 8]));
        let release = async {
            // All are there before one is answered.
            scene.receiver.wait_for(8).await;
            for _ in 0..8 {
                scene.receiver.release();
                tokio::task::yield_now().await;
            }
        };
        let (told, ()) = tokio::join!(held, release);
        assert!(told["answers"].as_array().unwrap().iter().all(|told| told["status"] == 204), "{told}");
    }

    async fn a_manifest_says_how_much_one_call_may_use(database: TestDb) {
        let scene = Scene::start(database, well).await;
        let body = json!({ "requests": vec![json!({}); 8], "rounds": 2, "lines": 5 });
        let told = scene.rig.act("caller", "send", body).await.unwrap().body;
        assert!(told["refused"].as_str().unwrap().contains("12 requests"), "{told}");
        assert_eq!(scene.receiver.connections(), 8);
        let log = scene.rig.log("caller").await;
        assert_eq!(log.iter().filter(|line| line.contains("line ")).count(), 3, "{log:?}");
        assert!(log.iter().any(|line| line.contains("log_limit")), "{log:?}");
    }

    async fn without_the_operators_key_no_credential_is_kept(database: TestDb) {
        let app = TestApp::reaching(database, Outbound::default()).await;
        let mut core = hospes::ops::Core::new(app.database.db.clone(), app.clock.clone(), Arc::new(hospes::ids::RandomIds::default()));
        core.vault = hospes::vault::Vault::default();
        packages::install(&app.core, guests::CALLER.to_vec()).await.unwrap();
        let new = serde_json::from_value(json!({ "host": "api.example.com", "value": SECRET })).unwrap();
        let actor = app.acme.operator();
        let refused = hospes::ops::plugins::credentials::put(&core, &actor, ("caller", "key"), new).await;
        assert!(matches!(refused, Err(hospes::error::Error::Refused { .. })), "{refused:?}");
    }
}
