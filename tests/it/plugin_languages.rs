//! Plugins in other languages: the example of `examples/plugins`, once in each, in the same host.
//!
//! What the tools of npm and PyPI make is taken from the folder that `EXAMPLE_COMPONENTS`
//! names, which `examples/build` fills, as `.ci/run` does. Without it only Rust's is looked at.
#![expect(clippy::print_stderr, reason = "says what is passed over, and what examples cost")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hospes::domain::event::Subject;
use hospes::domain::package::with_section;
use hospes::domain::recording::Keep;
use hospes::error::Error;
use hospes::ops::plugins::{Plugins as _, actions, packages};
use hospes::plugin::replay::{Replay, Replayed};
use hospes_tests::{Engine, Harness as _, TestApp, both_engines, guests};
use serde_json::{Value, json};

use crate::components::{World, with_manifest};
use crate::plugin_rig::{Rig, code};
use crate::recorder_replay::sandbox;

/// Calls of each kind that are timed.
const CALLS: u32 = 20;

/// An example as it is given to a host.
struct Example {
    name: &'static str,
    component: Vec<u8>,
}

/// The folder of what `examples/build` has made.
fn built() -> Option<PathBuf> {
    std::env::var_os("EXAMPLE_COMPONENTS").map(PathBuf::from)
}

fn examples() -> Vec<Example> {
    let mut all = vec![Example { name: "stamps-rust", component: guests::STAMPS.to_vec() }];
    let Some(folder) = built() else {
        eprintln!("EXAMPLE_COMPONENTS is not set: the examples in other languages are passed over");
        return all;
    };
    for (name, language) in [("stamps-javascript", "javascript"), ("stamps-python", "python")] {
        let bare = std::fs::read(folder.join(format!("{language}.wasm"))).expect("examples/build has run");
        all.push(Example { name, component: with_manifest(&bare, &manifest(language)) });
    }
    all
}

fn manifest(language: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/plugins").join(language);
    std::fs::read_to_string(path.join("plugin.toml")).expect("the example has a manifest")
}

impl Rig {
    async fn stamps_shown(&self, plugin: &str) -> Value {
        let target = Subject::Customer(self.customer.clone());
        let panels =
            self.host.panels(&self.actor, "customer", target).await.expect("panels come without fail");
        let panel =
            panels.into_iter().find(|panel| panel.plugin == plugin).expect("the plugin fills the slot");
        assert_eq!(panel.failure, None, "{plugin}");
        json!(panel.blocks)
    }

    async fn redeem(&self, plugin: &str) -> Result<Value, String> {
        let target = Subject::Customer(self.customer.clone());
        let input = json!({ "stamps": 1 });
        let pressed = actions::run(&self.core, &self.actor, (plugin, "redeem"), target, input).await;
        pressed.map(|outcome| json!(outcome)).map_err(|error| code(&error))
    }

    async fn earn_stamp(&self, external: u32) {
        let order = json!({
            "customer_id": self.customer, "channel": format!("web-{external}"),
            "ordered_at": "2026-02-01T00:00:00Z", "total": { "amount_minor": 100, "currency": "CNY" },
        });
        self.app.owner.post("/api/v1/orders", order).await.expect(201);
    }

    /// Everything that can be seen of the example.
    async fn seen(&self, plugin: &str) -> Value {
        for external in 0..2 {
            self.earn_stamp(external).await;
        }
        assert_eq!(self.app.run_jobs().await.dispatch.failed, 0, "{plugin}: {:?}", self.log(plugin).await);
        let before = self.stamps_shown(plugin).await;
        let pressed = [self.redeem(plugin).await, self.redeem(plugin).await, self.redeem(plugin).await];
        let after = self.stamps_shown(plugin).await;
        json!({ "before": before, "pressed": pressed, "after": after, "log": self.log(plugin).await })
    }

    /// Says what the example costs here: for the table in `sdk/GUIDE.md`.
    async fn tell_costs(&self, example: &Example, installed: Duration) {
        let mut times = Vec::new();
        for _ in 0..CALLS {
            let begun = Instant::now();
            self.stamps_shown(example.name).await;
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        let kib = example.component.len() >> 10;
        let fuel = self.host.health(&self.actor.tenant, example.name);
        let fuel: Vec<_> = fuel.iter().map(|point| format!("{} {}", point.point, point.last_fuel)).collect();
        let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
        eprintln!(
            "{}: {kib} KiB, installed in {installed:?}, a panel in {median:?} (at most {slowest:?}), fuel: {}",
            example.name,
            fuel.join(", ")
        );
    }
}

const WASI: &str = "
package hospes-tests:wasi;
package wasi:io@0.2.9 {
    interface streams { resource output-stream; }
}
package wasi:cli@0.2.9 {
    interface environment { get-environment: func() -> list<tuple<string, string>>; }
    interface stdout { use wasi:io/streams@0.2.9.{output-stream}; get-stdout: func() -> output-stream; }
}
package wasi:sockets@0.2.9 {
    interface network { resource network; }
    interface instance-network { use network.{network}; instance-network: func() -> network; }
}
package wasi:http@0.2.9 {
    interface handler { handle: func(); }
}
";

/// A component that imports of WASI what `imports` says, with a manifest whose last lines are `rest`.
fn importer(imports: &str, rest: &str) -> Vec<u8> {
    let world = World::alone(&format!("{WASI} world made {{ {imports} }}"));
    let manifest = format!(
        "name = \"importer\"\nversion = \"1.0.0\"\npublisher = \"hospes-tests\"\n\
         {rest}\n[description]\nen = \"Imports.\"\nzh-CN = \"导入。\"\n"
    );
    with_manifest(&world.component(&world.module()), &manifest)
}

/// The codes of the faults for which a component is refused.
async fn refused(rig: &Rig, component: Vec<u8>) -> Vec<String> {
    match packages::install(&rig.core, component).await {
        Err(Error::Invalid { faults }) => faults.into_iter().map(|fault| fault.code.into_owned()).collect(),
        other => panic!("it must be refused: {other:?}"),
    }
}

/// An interpreter draws randomness, reads the clock and prints by WASI, and replays all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_replays_in_every_language() {
    let app = TestApp::start(Engine::Sqlite).await.expect("SQLite is always there");
    let rig = Rig::of(app).await;
    for example in examples() {
        let plugin = rig.enable(&example.component).await;
        rig.record(&plugin, Keep::All).await;
        rig.seen(&plugin).await;
        let recordings = rig.recorded();
        let with = Replayed::new(&sandbox(), &example.component).expect("it compiles");
        let mut points = BTreeSet::new();
        for recording in recordings.iter().filter(|recording| recording.plugin == plugin) {
            points.insert(recording.point);
            let replay = Replay::read(&recording.body).expect("it can be read");
            let verdict = replay.run(&with).await.expect("it runs");
            assert!(verdict.is_identical(), "{}", serde_json::to_string_pretty(&verdict).unwrap());
        }
        assert_eq!(points, BTreeSet::from(["actions", "events", "panels"]), "{plugin}");
    }
}

both_engines! {
    async fn wasi_is_for_interpreters_and_only_a_part_of_it(rig: Rig) {
        const TIER: &str = "tier = \"interpreter\"";
        let imports = "import wasi:cli/environment@0.2.9; import wasi:cli/stdout@0.2.9;
            import wasi:sockets/instance-network@0.2.9;";
        assert_eq!(refused(&rig, importer(imports, "")).await[0], "unknown_import");
        let http = importer("import wasi:http/handler@0.2.9;", TIER);
        assert_eq!(refused(&rig, http).await, ["unknown_import"]);
        let package = packages::install(&rig.core, importer(imports, TIER)).await.unwrap();
        assert_eq!(package.imports.0, Vec::<String>::new(), "none of it is a right");
    }

    async fn what_a_component_may_weigh_depends_on_its_tier(rig: Rig) {
        let heavy = |tier: &str, bytes: usize| with_section(&importer("", tier), "ballast", &vec![0; bytes]);
        assert_eq!(refused(&rig, heavy("", 8 << 20)).await, ["too_many_bytes"]);
        assert_eq!(refused(&rig, heavy("tier = \"interpreter\"", 32 << 20)).await, ["too_many_bytes"]);
        packages::install(&rig.core, heavy("tier = \"interpreter\"", 8 << 20)).await.unwrap();
    }

    async fn a_save_does_not_wait_for_an_interpreter(rig: Rig) {
        let hook = "tier = \"interpreter\"\nhooks = [{ entity = \"customer\", on_failure = \"allow\" }]";
        let codes = refused(&rig, importer("", hook)).await;
        assert_eq!(codes[0], "not_for_interpreters");
    }

    async fn the_same_plugin_does_the_same_in_every_language(rig: Rig) {
        let (mut rig, mut first) = (rig, None);
        for example in examples() {
            // Each on a customer of its own, so that each sees the same.
            rig.customer = rig.customer_of(&rig.actor).await;
            let begun = Instant::now();
            let plugin = rig.enable(&example.component).await;
            let installed = begun.elapsed();
            assert_eq!(plugin, example.name);
            let seen = rig.seen(&plugin).await;
            rig.tell_costs(&example, installed).await;
            assert_eq!(seen["pressed"][2], json!({ "Err": "rejected: too_few_stamps" }), "{plugin}");
            assert_eq!(seen["log"], json!(["info : 2 stamps", "info : 1 stamps"]), "{plugin}");
            assert_eq!(first.get_or_insert_with(|| seen.clone()), &seen, "{plugin}");
        }
    }
}
