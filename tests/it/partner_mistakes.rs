//! The most likely mistakes of a plugin's author, made: each is refused by its name, with a text
//! that says what to do. The texts are golden, so that a change of one is read.

use std::fmt::Write as _;

use hospes::domain::package::with_section;
use hospes::error::Error;
use hospes::ops::plugins::packages;
use hospes_tests::{TestApp, assert_golden, both_engines, guests};
use serde_json::json;

const GOLDEN: &str = "tests/golden/partner_mistakes.txt";

/// A manifest without a fault, to which mistakes are made.
const MANIFEST: &str = r#"name = "coffee-club"
version = "1.0.0"
publisher = "example"
[description]
en = "A stamp for every coffee."
zh-CN = "每杯咖啡一个印章。"
"#;

/// The least component: nothing but a manifest.
fn component(manifest: &str) -> Vec<u8> {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    custom_section(&mut bytes, "hospes:manifest", manifest.as_bytes());
    bytes
}

fn custom_section(bytes: &mut Vec<u8>, name: &str, content: &[u8]) {
    let mut body = Vec::new();
    length(&mut body, name.len());
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(content);
    bytes.push(0);
    length(bytes, body.len());
    bytes.extend(body);
}

/// LEB128.
fn length(bytes: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            return bytes.push(low);
        }
        bytes.push(low | 0x80);
    }
}

/// A component that imports an empty instance of this name, as one for another target does.
fn importing(name: &str) -> Vec<u8> {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    // One type: an instance without members.
    bytes.extend([7, 3, 1, 0x42, 0]);
    let mut import = vec![1, 0];
    length(&mut import, name.len());
    import.extend_from_slice(name.as_bytes());
    import.extend([5, 0]);
    bytes.push(10);
    length(&mut bytes, import.len());
    bytes.extend(import);
    custom_section(&mut bytes, "hospes:manifest", MANIFEST.as_bytes());
    bytes
}

fn with(more: &str) -> Vec<u8> {
    component(&format!("{MANIFEST}{more}"))
}

fn instead(from: &str, to: &str) -> Vec<u8> {
    assert!(MANIFEST.contains(from), "{from}");
    component(&MANIFEST.replace(from, to))
}

/// What was done, what came of it, and the code by which machines know it.
fn mistakes() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    vec![
        ("a file that is no WebAssembly", b"[package]".to_vec(), "not_a_component"),
        ("the core module instead of the component", b"\0asm\x01\0\0\0".to_vec(), "core_module"),
        ("a component that is cut off", guests::UNGRANTED[..20_000].to_vec(), "malformed"),
        ("a component larger than a host takes", heavy(), "too_many_bytes"),
        ("the macro `plugin!` forgotten", b"\0asm\x0d\0\x01\0".to_vec(), "no_manifest"),
        ("the target wasm32-wasip2", importing("wasi:cli/environment@0.2.0"), "unknown_import"),
        ("a contract of the future", importing("hospes:plugin/kv@2.0.0"), "unknown_import"),
        ("an interface that no host has", guests::STRANGER.to_vec(), "unknown_import"),
        ("a call whose grant is not asked for", guests::UNGRANTED.to_vec(), "missing_grant"),
        ("an extension point that no manifest declares", idle_export(), "idle_export"),
        ("a manifest that is no TOML", instead("name = ", "name: "), "not_toml"),
        ("a key that does not exist", with("\n[panel]\nslot = \"customer\"\n"), "unknown_field"),
        ("a key that is missing", instead("publisher = \"example\"\n", ""), "required"),
        ("a text in one language only", instead("zh-CN = \"每杯咖啡一个印章。\"\n", ""), "required"),
        ("a name in capitals", instead("coffee-club", "CoffeeClub"), "wrong_format"),
        ("a version of two numbers", instead("1.0.0", "1.0"), "wrong_format"),
        ("a grant that does not exist", with(&grant("order:read")), "not_allowed"),
        ("a grant that nothing needs", with(&grant("orders:read")), "idle_grant"),
        (
            "an event without the grant that reads it",
            with("\n[events]\nsubscribe = [\"order.created\"]\n"),
            "missing_grant",
        ),
        ("an event that does not exist", with("\n[events]\nsubscribe = [\"order.made\"]\n"), "not_allowed"),
        ("a panel that the crate does not export", with(PANEL), "missing_export"),
        ("the same thing declared twice", with(&PANEL.repeat(2)), "not_unique"),
        (
            "a collection of nobody's",
            with("\n[[collections]]\nname = \"cards\"\nsubject = \"shop\"\n"),
            "not_allowed",
        ),
        (
            "a schedule that never comes",
            with("\n[[jobs]]\nname = \"never\"\nschedule = { cron = \"0 0 30 2 *\" }\n"),
            "cron",
        ),
        ("settings whose schema is none", with("\n[settings.schema]\ntype = \"thing\"\n"), "not_a_schema"),
    ]
}

const PANEL: &str = "\n[[panels]]\nslot = \"customer\"\ntitle = { en = \"Club\", zh-CN = \"俱乐部\" }\n";

fn grant(name: &str) -> String {
    format!("\n[[grants]]\nname = \"{name}\"\nreason = {{ en = \"Why.\", zh-CN = \"原因。\" }}\n")
}

/// A plugin without a mistake but its weight.
fn heavy() -> Vec<u8> {
    with_section(guests::STAMPS, "ballast", &vec![0; 8 << 20])
}

/// The ungranted guest, whose manifest has its panel commented out.
fn idle_export() -> Vec<u8> {
    let once = guests::edited(guests::UNGRANTED, "[[panels]]", "#[panels]]");
    let twice = guests::edited(&once, "slot = \"customer\"", "#lot = \"customer\"");
    guests::edited(&twice, "title = { en = \"Ungranted\"", "#itle = { en = \"Ungranted\"")
}

#[test]
fn every_mistake_in_a_plugin_is_told_by_its_name_and_with_what_to_do() {
    let mut page = String::new();
    let all = mistakes();
    assert!(all.len() >= 20, "{}", all.len());
    for (mistake, bytes, code) in all {
        let Err(Error::Invalid { faults }) = hospes::plugin::inspect(&bytes) else {
            panic!("{mistake} is not refused");
        };
        assert!(faults.iter().any(|fault| fault.code == code), "{mistake}: {faults:?}");
        writeln!(page, "{mistake}").unwrap();
        for fault in faults {
            // Where in its bytes a component ends too early is the compiler's matter.
            let message = fault.message.split(" (at offset").next().unwrap();
            writeln!(page, "  {:<16} {} {message}", fault.code, fault.pointer).unwrap();
        }
    }
    assert_golden(GOLDEN, &page);
}

#[test]
fn the_manifest_without_a_mistake_is_taken() {
    assert_eq!(hospes::plugin::inspect(&component(MANIFEST)).unwrap().manifest.name, "coffee-club");
}

both_engines! {
    async fn mistakes_at_a_host_are_told_too(app: TestApp) {
        packages::install(&app.core, component(MANIFEST)).await.unwrap();
        // Other bytes under a number that is given away.
        let other = component(&format!("{MANIFEST}# edited\n"));
        let refused = packages::install(&app.core, other).await.unwrap_err().to_string();
        assert!(refused.contains("a version never changes, so raise its number"), "{refused}");
        let address = "/api/v1/plugins/coffee-club/enablement";
        // A grant that it does not ask for, settings that it does not have.
        let wrong = json!({ "grants": [{ "name": "orders:read" }], "settings": { "colour": "red" } });
        let refused = app.owner.post(address, wrong).await.expect(422);
        assert_eq!(refused.faults(), ["/grants/0 not_asked_for", "/settings/colour unknown_field"]);
        // A plugin that is not installed, a version that is not.
        app.owner.post("/api/v1/plugins/tea-club/enablement", json!({})).await.expect(404);
        app.owner.post(address, json!({ "version": "9.9.9" })).await.expect(404);
        app.owner.post(address, json!({})).await.expect(201);
    }
}
