//! Whose packages come in, and how the operator stops a version: attack 31 of the threat model and its kin.

use std::time::{Duration, Instant};

use hospes::domain::package::{SIGNATURE_SECTION, with_section};
use hospes::domain::rights::Rights;
use hospes::domain::trust::{SecretKey, Statement, TrustPolicy};
use hospes::error::Error;
use hospes::ops::Core;
use hospes::ops::plugins::{packages, trust};
use hospes::plugin;
use hospes_tests::{Client, TestApp, TestResponse, both_engines, guests};
use serde_json::{Value, json};

use crate::process::Site;

/// How soon every server has stopped a version.
const STOPPED_WITHIN: Duration = Duration::from_secs(5);
/// How often a server is asked whether it has.
const LOOK: Duration = Duration::from_millis(50);
const ENABLEMENT: &str = "/api/v1/plugins/probe/enablement";
const PUBLISHER: &str = "hospes-tests";

fn key(seed: u8) -> SecretKey {
    SecretKey::of_seed([seed; 32])
}

/// The text of a `.sig` file over these bytes.
fn sign(key: &SecretKey, component: &[u8]) -> String {
    let found = plugin::inspect(component).unwrap();
    let rights = Rights::of(&found.manifest, &found.imports, &found.exports);
    let statement = Statement {
        name: &found.manifest.name,
        version: &found.manifest.version,
        publisher: &found.manifest.publisher,
        digest: &found.digest,
        rights: &rights,
    };
    key.sign(&statement).to_string()
}

fn version(number: &str) -> Vec<u8> {
    guests::edited(guests::PROBE, "version = \"1.0.0\"", &format!("version = \"{number}\""))
}

/// The code with which an installation is refused.
async fn refusal(core: &Core, component: &[u8], signatures: &[String]) -> &'static str {
    let answer = packages::install_signed(core, component.to_vec(), signatures).await;
    match answer.expect_err("this must not come in") {
        Error::Invalid { faults } => {
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert_eq!(faults[0].code, "bad_signature");
            "bad_signature"
        }
        error => error.reason().as_str(),
    }
}

async fn act(client: &Client, customer: &str, action: &str, input: Value) -> TestResponse {
    client.post(&format!("/api/v1/customers/{customer}/actions/probe/{action}"), input).await
}

async fn signers(app: &TestApp) -> Value {
    app.owner.get("/api/v1/plugins/probe").await.expect(200).body["signed_by"].clone()
}

both_engines! {
    async fn only_what_a_known_key_of_its_publisher_has_signed_comes_in(app: TestApp) {
        let core = app.installer(TrustPolicy::KnownPublishers);
        let good = sign(&key(1), guests::PROBE);
        assert_eq!(refusal(&core, guests::PROBE, &[]).await, "unsigned");
        assert_eq!(refusal(&core, guests::PROBE, std::slice::from_ref(&good)).await, "unknown_key");
        trust::add_key(&core, "somebody else", &key(2).public()).await.unwrap();
        assert_eq!(refusal(&core, guests::PROBE, &[sign(&key(2), guests::PROBE)]).await, "wrong_publisher");

        trust::add_key(&core, PUBLISHER, &key(1).public()).await.unwrap();
        let next = version("1.1.0");
        // A signature over other bytes, another version, or no signature at all.
        for wrong in [sign(&key(1), &next), good.replace("value ", "value A"), "signed, honestly".to_owned()] {
            assert_eq!(refusal(&core, guests::PROBE, &[good.clone(), wrong]).await, "bad_signature");
        }
        packages::install_signed(&core, guests::PROBE.to_vec(), std::slice::from_ref(&good)).await.unwrap();
        assert_eq!(signers(&app).await, json!([{ "key": key(1).public().id(), "standing": "known" }]));

        // Behind the component is as good as beside it, and the component stays the same.
        let embedded = with_section(&next, SIGNATURE_SECTION, sign(&key(1), &next).as_bytes());
        let installed = packages::install(&core, embedded).await.unwrap();
        assert_eq!(installed.digest, plugin::inspect(&next).unwrap().digest);
    }

    async fn what_a_revoked_key_signs_stays_out(app: TestApp) {
        let core = app.installer(TrustPolicy::KnownPublishers);
        let stolen = trust::add_key(&core, PUBLISHER, &key(1).public()).await.unwrap();
        packages::install_signed(&core, guests::PROBE.to_vec(), &[sign(&key(1), guests::PROBE)]).await.unwrap();
        app.owner.post(ENABLEMENT, json!({})).await.expect(201);
        trust::revoke_key(&core, &stolen.id).await.unwrap();

        let update = version("1.1.0");
        let by_thief = sign(&key(1), &update);
        for policy in TrustPolicy::ALL {
            let core = app.installer(*policy);
            assert_eq!(refusal(&core, &update, std::slice::from_ref(&by_thief)).await, "revoked_key", "{policy:?}");
        }
        let again = trust::add_key(&core, PUBLISHER, &key(1).public()).await.unwrap_err();
        assert_eq!(again.reason().as_str(), "revoked_key");
        trust::add_key(&core, PUBLISHER, &key(3).public()).await.unwrap();
        packages::install_signed(&core, update.clone(), &[sign(&key(3), &update)]).await.unwrap();
        // What was there goes on running.
        let row = app.owner.get(ENABLEMENT).await.expect(200);
        assert_eq!(row.body["plugin_version"], "1.0.0");
        assert_eq!(signers(&app).await, json!([{ "key": stolen.id, "standing": "revoked" }]));
    }

    async fn the_first_key_of_a_publisher_is_remembered(app: TestApp) {
        let core = app.installer(TrustPolicy::SignedOnly);
        assert_eq!(refusal(&core, guests::PROBE, &[]).await, "unsigned");
        packages::install_signed(&core, guests::PROBE.to_vec(), &[sign(&key(1), guests::PROBE)]).await.unwrap();
        assert_eq!(signers(&app).await[0]["standing"], "first_use");
        let next = version("1.1.0");
        assert_eq!(refusal(&core, &next, &[sign(&key(2), &next)]).await, "unknown_key");
        packages::install_signed(&core, next.clone(), &[sign(&key(1), &next)]).await.unwrap();
        // The operator's word makes of it a known one.
        let strict = app.installer(TrustPolicy::KnownPublishers);
        let third = version("1.2.0");
        assert_eq!(refusal(&strict, &third, &[sign(&key(1), &third)]).await, "unknown_key");
        let known = trust::add_key(&strict, PUBLISHER, &key(1).public()).await.unwrap();
        assert_eq!(known.standing, "known");
        packages::install_signed(&strict, third.clone(), &[sign(&key(1), &third)]).await.unwrap();
    }

    async fn a_version_never_changes_and_versions_only_go_up(app: TestApp) {
        packages::install(&app.core, version("1.1.0")).await.unwrap();
        // The same bytes again are the same package; an older version and other bytes are not.
        packages::install(&app.core, version("1.1.0")).await.unwrap();
        assert_eq!(refusal(&app.core, guests::PROBE, &[]).await, "older_version");
        let other_bytes = with_section(&version("1.1.0"), "note", b"another build");
        assert_eq!(refusal(&app.core, &other_bytes, &[]).await, "version_exists");
        let others = guests::edited(&version("1.2.0"), "publisher = \"hospes-tests\"", "publisher = \"hospes-thief\"");
        assert_eq!(refusal(&app.core, &others, &[]).await, "other_publisher");
        packages::install(&app.core, version("1.2.0")).await.unwrap();
        let listed = app.owner.get("/api/v1/plugins?q=probe").await.expect(200).body;
        assert_eq!(listed["items"][0]["versions"], json!(["1.1.0", "1.2.0"]));
    }

    async fn a_stopped_version_runs_for_nobody_until_it_is_let_run(app: TestApp) {
        let ada = app.acme.customer("Ada").await.id;
        app.enable(guests::PROBE).await;
        let elsewhere = app.second_server().client(&app.owner);
        let tallies = async || {
            app.owner.get("/api/v1/plugins/probe/collections/tallies").await.expect(200).body["items"].clone()
        };
        for client in [&app.owner, &elsewhere] {
            act(client, ada.as_str(), "add", json!({"amount": 1})).await.expect(200);
        }
        let missing = trust::stop(&app.core, "probe", "9.9.9", "stolen key").await.unwrap_err();
        assert_eq!(missing.reason().as_str(), "not_found");
        trust::stop(&app.core, "probe", "1.0.0", "stolen key").await.unwrap();

        let stopped = Instant::now();
        let before = tallies().await;
        act(&app.owner, ada.as_str(), "add", json!({"amount": 1})).await.expect(404);
        // The other server may still begin something, but nothing of it is ever committed.
        while act(&elsewhere, ada.as_str(), "add", json!({"amount": 1})).await.status != 404 {
            assert!(stopped.elapsed() < STOPPED_WITHIN, "still running");
            tokio::time::sleep(LOOK).await;
        }
        assert_eq!(tallies().await, before);
        // Saves pass without its hooks, which would have refused this one.
        app.owner.post("/api/v1/customers", json!({"kind": "person", "name": "reject: Eve"})).await.expect(201);
        let shown = app.owner.get("/api/v1/plugins/probe").await.expect(200).body;
        assert_eq!(shown["stopped"][0]["version"], "1.0.0");
        assert_eq!(shown["stopped"][0]["reason"], "stolen key");
        let again = app.owner.post(ENABLEMENT, json!({})).await;
        assert_eq!(again.code(), (403, "version_stopped"));
        assert!(again.body["detail"].as_str().unwrap().contains("stolen key"), "{again}");

        trust::resume(&app.core, "probe", "1.0.0").await.unwrap();
        act(&app.owner, ada.as_str(), "add", json!({"amount": 1})).await.expect(200);
        // A mended version is enabled past the one that is stopped.
        trust::stop(&app.core, "probe", "1.0.0", "stolen key").await.unwrap();
        packages::install(&app.core, version("1.0.1")).await.unwrap();
        app.owner.post(ENABLEMENT, json!({})).await.expect(201);
        act(&app.owner, ada.as_str(), "add", json!({"amount": 1})).await.expect(200);
    }
}

#[tokio::test]
async fn a_publisher_signs_and_an_operator_trusts_and_stops_on_the_command_line() {
    let site = Site::on_sqlite("CNY").await;
    let file = |name: &str| site.path(name).to_str().unwrap().to_owned();
    std::fs::write(site.path("probe.wasm"), guests::PROBE).unwrap();
    let (package, secret, public) = (file("probe.wasm"), file("my.key"), file("my.key.pub"));
    site.command(&["plugin", "keygen", &secret]).await;
    assert!(
        site.refused(&["plugin", "keygen", &secret]).await.contains("my.key"),
        "a key is never overwritten"
    );
    assert!(site.refused(&["plugin", "verify", &package]).await.contains("nobody has signed"));
    let strict = ["plugin", "install", &package, "--plugins-trust", "known_publishers"];
    assert!(site.refused(&strict).await.contains("nobody has signed"));

    // A signature of an earlier build gives way.
    std::fs::write(format!("{package}.sig"), "of something else").unwrap();
    site.command(&["plugin", "sign", &package, "--key", &secret]).await;
    let verified = site.command(&["plugin", "verify", &package, "--key", &public]).await;
    assert!(verified.starts_with("signed with "), "{verified}");
    assert!(site.refused(&strict).await.contains("has not added"));
    site.command(&["plugin", "trust", "add", PUBLISHER, &public]).await;
    assert!(site.command(&strict).await.contains("installed probe 1.0.0"));

    let listed = site.command(&["plugin", "trust", "list"]).await;
    assert!(listed.contains("known") && listed.contains(PUBLISHER), "{listed}");
    let key = listed.split_whitespace().next().unwrap();
    site.command(&["plugin", "trust", "revoke", key]).await;
    assert!(site.command(&["plugin", "trust", "list"]).await.contains("revoked"));
    site.command(&["plugin", "stop", "probe", "1.0.0", "--reason", "stolen key"]).await;
    assert!(site.refused(&["plugin", "enable", "probe", "--all-grants"]).await.contains("stolen key"));
    site.command(&["plugin", "resume", "probe", "1.0.0"]).await;
    site.command(&["plugin", "enable", "probe", "--all-grants"]).await;
}

#[tokio::test]
async fn a_component_without_a_manifest_is_packed_and_a_folder_is_installed() {
    let site = Site::on_sqlite("CNY").await;
    let file = |name: &str| site.path(name).to_str().unwrap().to_owned();
    std::fs::create_dir(site.path("packages")).unwrap();
    std::fs::write(site.path("bare.wasm"), b"\0asm\x0d\0\x01\0").unwrap();
    let manifest = "name = \"bare\"\nversion = \"1.0.0\"\npublisher = \"hospes-tests\"\n\
        [description]\nen = \"Does nothing.\"\nzh-CN = \"什么也不做。\"\n";
    std::fs::write(site.path("plugin.toml"), manifest).unwrap();
    let (bare, manifest, out) = (file("bare.wasm"), file("plugin.toml"), file("packages/bare.wasm"));
    site.command(&["plugin", "pack", &bare, "--manifest", &manifest, "--out", &out]).await;
    std::fs::write(site.path("packages/probe.wasm"), guests::PROBE).unwrap();
    let said = site.command(&["plugin", "install", &file("packages")]).await;
    assert!(said.contains("installed bare 1.0.0") && said.contains("installed probe 1.0.0"), "{said}");
    std::fs::create_dir(site.path("empty")).unwrap();
    assert!(site.refused(&["plugin", "install", &file("empty")]).await.contains("no .wasm files"));
}
