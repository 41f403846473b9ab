//! The museum: components built with every released SDK, which every later host must run.
//!
//! `tests/museum/README.md` says how an exhibit is added.

use std::path::{Path, PathBuf};

use hospes::domain::event::Subject;
use hospes::error::Error;
use hospes::ops::plugins::{Plugins as _, actions, packages};
use hospes_tests::{both_engines, guests};
use serde_json::json;

use crate::components::{World, with_manifest};
use crate::plugin_rig::{Rig, code};

/// Bytes of one exhibit, so that the museum stays small.
const EXHIBIT_BYTES_MAX: u64 = 300 << 10;
/// The version of the contract in `wit/`.
const CONTRACT: &str = "1.0.0";

const MANIFEST: &str = r#"
name = "from-the-future"
version = "1.0.0"
publisher = "hospes-tests"
panels = [{ slot = "customer", title = { en = "Panel", zh-CN = "面板" } }]
[description]
en = "Built with a newer SDK."
zh-CN = "使用更新的 SDK 构建。"
"#;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("museum")
}

/// The exhibits by name, each with its bytes.
fn exhibits() -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder()).expect("the museum is there") {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "wasm") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            found.push((name, std::fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn the_present_contract_is_in_the_museum() {
    let file = folder().join(format!("{CONTRACT}.wasm"));
    if std::env::var("HOSPES_ADD_EXHIBIT").is_ok() {
        std::fs::write(&file, guests::STAMPS).unwrap();
    }
    let wit = std::fs::read_to_string(folder().join("../../wit/world.wit")).unwrap();
    assert!(wit.starts_with(&format!("package hospes:plugin@{CONTRACT};")), "wit/ is of another version");
    let size = std::fs::metadata(&file).map(|data| data.len()).unwrap_or_default();
    assert!(size > 0, "add the exhibit: see tests/museum/README.md");
    assert!(size <= EXHIBIT_BYTES_MAX, "an exhibit has at most {EXHIBIT_BYTES_MAX} bytes");
}

both_engines! {
    async fn every_exhibit_runs_as_on_its_first_day(rig: Rig) {
        for (number, (version, bytes)) in exhibits().into_iter().enumerate() {
            // All of them are the example plugin: each gets a name of its own.
            let name = format!("stamps-{number:04}");
            let plugin = rig.enable(&guests::edited(&bytes, "stamps-rust", &name)).await;
            assert_eq!(plugin, name, "{version}");
            let customer = rig.app.acme.customer("Grace").await.id;
            let order = json!({
                "customer_id": customer, "channel": "web", "ordered_at": "2026-02-01T00:00:00Z",
                "total": { "amount_minor": 100, "currency": "CNY" },
            });
            rig.app.owner.post("/api/v1/orders", order).await.expect(201);
            assert_eq!(rig.app.run_jobs().await.dispatch.failed, 0, "{version}");

            let target = || Subject::Customer(customer.clone());
            let panels = rig.host.panels(&rig.actor, "customer", target()).await.unwrap();
            let shown = panels.iter().find(|panel| panel.plugin == plugin).unwrap();
            assert_eq!((&shown.failure, &shown.blocks[0]["value"]), (&None, &json!("1")), "{version}: {shown:?}");
            let redeem = || {
                let (name, input) = ((plugin.as_str(), "redeem"), json!({ "stamps": 1 }));
                actions::run(&rig.core, &rig.actor, name, target(), input)
            };
            assert_eq!(redeem().await.unwrap().body, json!({ "stamps": 0 }), "{version}");
            assert_eq!(code(&redeem().await.unwrap_err()), "rejected: too_few_stamps", "{version}");
            assert_eq!(rig.log(&plugin).await, ["info : 1 stamps"], "{version}");
        }
    }

    async fn what_a_newer_sdk_exports_beyond_is_never_called(rig: Rig) {
        let world = World::of_contract("
            package later:things;
            interface portal { open: func() -> u32; }
            world made { export hospes:plugin/panels@1.0.0; export portal; export greet: func(); }
        ");
        let component = with_manifest(&world.component(&world.module()), MANIFEST);
        let package = packages::install(&rig.core, component).await.unwrap();
        assert_eq!(package.exports.0, ["panels"]);
    }

    async fn what_a_newer_sdk_imports_beyond_is_refused_by_name(rig: Rig) {
        let beyond = async |text: &str| {
            let world = World::alone(text);
            let component = with_manifest(&world.component(&world.module()), MANIFEST);
            let Err(Error::Invalid { faults }) = packages::install(&rig.core, component).await else {
                panic!("it cannot be installed");
            };
            (faults[0].code.clone().into_owned(), faults[0].message.clone())
        };
        let (unknown, says) = beyond("
            package hospes:plugin@1.4.0;
            interface weather { today: func() -> string; }
            world made { import weather; }
        ").await;
        assert_eq!(unknown, "unknown_import");
        assert_eq!(says, "imports `hospes:plugin/weather@1.4.0`, which this host does not offer");
        let (unknown, says) = beyond("
            package hospes:plugin@1.4.0;
            interface settings { get: func() -> string; watch: func() -> u32; }
            world made { import settings; }
        ").await;
        assert_eq!(unknown, "unknown_import");
        assert_eq!(says, "imports `hospes:plugin/settings@1.4.0#watch`, which this host does not offer");
    }
}
