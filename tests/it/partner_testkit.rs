//! The testkit, as a partner's tests use it: the program is the host, each test has its own.

use std::time::Duration;

use hospes_testkit::{Host, Setup, assert_fuel_below, json};
use tempfile::TempDir;

/// A host for the membership plugin; the folder must live as long as the host starts.
fn membership() -> (TempDir, Setup) {
    let folder = tempfile::tempdir().unwrap();
    let component = folder.path().join("membership.wasm");
    let bundled = hospes_bundle::PLUGINS.iter().find(|plugin| plugin.name == "retail-membership").unwrap();
    std::fs::write(&component, bundled.component).unwrap();
    let setup = Host::of(&component).program(env!("CARGO_BIN_EXE_hospes-under-test"));
    (folder, setup)
}

#[test]
fn a_plugin_earns_shows_and_refuses_in_the_production_host() {
    let (_folder, setup) = membership();
    let host = setup.enable();
    assert_eq!((host.plugin(), host.now().as_str()), ("retail-membership", "2026-03-01T08:00:00.000000Z"));
    let ada = host.customer("Ada").set("tags", json!(["regular"])).create();
    let order =
        host.order(&ada).line("LAT", "coffee", 2, 5_600).set("external_id", "R1").set("source", "till");
    order.create();
    let work = host.work();
    assert!(work.handled >= 1 && work.failed + work.dead + work.jobs_failed == 0, "{work:?}");
    assert_fuel_below!(host, "events", 50_000_000);
    // What it keeps, what it sets, what it shows.
    assert!(host.documents("members").contains_key(&ada.id));
    let points = host.field(&ada, "points").unwrap();
    assert!(points.as_i64().unwrap() > 0);
    assert!(host.panel(&ada).text().contains(&points.to_string()));
    // A refusal is the plugin's own, and changes nothing.
    let refused = host.press(&ada, "redeem", &json!({ "points": 1_000_000 })).unwrap_err();
    assert_eq!(
        (refused.status, refused.body["plugin"].as_str()),
        (422, Some("retail-membership")),
        "{refused:?}"
    );
    assert_eq!(host.field(&ada, "points"), Some(points));
    // Schedules run when their time has come, once.
    assert_eq!(host.work().jobs, 0);
    host.advance(Duration::from_secs(2 * 24 * 3600));
    assert!(host.work().jobs >= 1);
    host.set_time("2026-06-01T00:00:00Z");
    assert_eq!(host.now(), "2026-06-01T00:00:00.000000Z");
}

#[test]
fn fewer_grants_are_denied_as_in_production_and_hosts_do_not_see_each_other() {
    let (_folder, setup) = membership();
    let without = setup.grants(&["orders:read", "settings:own"]).enable();
    let ada = without.customer("Ada").create();
    without.order(&ada).line("LAT", "coffee", 1, 350).create();
    let work = without.work();
    assert!(work.failed >= 1 && work.handled == 0, "{work:?}");
    assert!(without.log().iter().any(|line| line.contains("documents:own")), "{:?}", without.log());
    let (_folder, setup) = membership();
    let other = setup.enable();
    let all = other.request("GET", "/api/v1/customers", None).good().unwrap();
    assert_eq!(all["items"], json!([]));
}

#[test]
fn what_a_host_refuses_is_told_in_its_words() {
    let (_folder, setup) = membership();
    let host = setup.start();
    let refused = host.enable(&json!({ "grants": ["http:send"] })).unwrap_err();
    assert_eq!(refused.status, 422);
    assert!(refused.body.to_string().contains("does not ask for `http:send`"), "{refused:?}");
    let refused =
        host.request("POST", "/api/v1/customers", Some(&json!({ "kind": "robot" }))).good().unwrap_err();
    assert_eq!(refused.status, 422, "{refused:?}");
    let missing = host.request("GET", "/api/v1/nowhere", None);
    assert_eq!(missing.status, 404);
}

#[test]
fn a_component_that_is_none_is_refused_before_the_test_begins() {
    let folder = tempfile::tempdir().unwrap();
    let component = folder.path().join("nothing.wasm");
    std::fs::write(&component, "nothing").unwrap();
    let setup = Host::of(&component).program(env!("CARGO_BIN_EXE_hospes-under-test"));
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| setup.start())).unwrap_err();
    let said = panic.downcast_ref::<String>().unwrap();
    assert!(said.contains("the host refuses") && said.contains("not a WebAssembly"), "{said}");
}
