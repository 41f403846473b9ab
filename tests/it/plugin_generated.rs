//! Components that nobody wrote: generated ones, and real ones with their bytes changed. Whatever
//! they are, the host says what is wrong with them or runs them within their budget.
//!
//! A case is made from a number alone. A failure names it; `HOSPES_CASE=<number>` runs it again
//! by itself, with `cargo test --workspace --test it -- plugin_generated --nocapture`.
#![expect(clippy::print_stderr, reason = "tells how many cases went how far")]

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use arbitrary::Unstructured;
use futures::FutureExt as _;
use hospes::domain::event::Subject;
use hospes::error::{Error, Result};
use hospes::ops::plugins::enablement::{self, NewEnablement};
use hospes::ops::plugins::{Plugins as _, packages};
use hospes_tests::{Engine, Harness as _, guests};
use serde_json::json;

use crate::components::{World, sections, with_manifest};
use crate::plugin_rig::Rig;

/// Cases of every run of the tests.
const CASES: u64 = 500;
/// Cases of the long run, which begins after those.
const LONG_CASES: u64 = 10_000;
/// How long one case may take, compiling included, on a machine that is busy with other tests.
const CASE_MAX: Duration = Duration::from_secs(120);
/// What the process may have grown by at the end, with whatever other tests use meanwhile.
const GROWTH_BYTES_MAX: u64 = 3 << 30;
/// Bytes of randomness that a module or component is made from.
const RANDOM_BYTES: usize = 4_096;

const WORLD: &str = "
package hospes-tests:generated;
world made {
    import hospes:plugin/context@1.0.0;
    import hospes:plugin/log@1.0.0;
    import hospes:plugin/kv@1.0.0;
    import hospes:plugin/documents@1.0.0;
    export hospes:plugin/actions@1.0.0;
    export hospes:plugin/panels@1.0.0;
}";

const GRANTS: &str = r#"
[[grants]]
name = "kv:own"
reason = { en = "To be called.", zh-CN = "供调用。" }
[[grants]]
name = "documents:own"
reason = { en = "To be called.", zh-CN = "供调用。" }
[[collections]]
name = "cards"
subject = "customer"
[[panels]]
slot = "customer"
title = { en = "Panel", zh-CN = "面板" }
[[actions]]
name = "redeem"
entity = "customer"
title = { en = "Act", zh-CN = "操作" }
roles = ["owner"]
[actions.input]
type = "object"
"#;

/// Numbers that look random, the same for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap();
        usize::try_from(self.next() % end).unwrap()
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

fn manifest(case: u64, rest: &str) -> String {
    format!(
        "name = \"made-{case}\"\nversion = \"1.0.0\"\npublisher = \"hospes-tests\"\n\
         [description]\nen = \"Nobody wrote it.\"\nzh-CN = \"没有人写过它。\"\n{rest}"
    )
}

/// What the generator may use: mostly what our engine has on, so that most of what it makes gets far.
fn config(random: &mut Random) -> wasm_smith::Config {
    let all = random.below(8) == 0;
    wasm_smith::Config {
        exceptions_enabled: all,
        gc_enabled: all,
        memory64_enabled: all,
        relaxed_simd_enabled: all,
        tail_call_enabled: all,
        threads_enabled: all,
        wide_arithmetic_enabled: all,
        compact_imports_enabled: all,
        max_memories: 1 + random.below(3),
        max_tables: 1 + random.below(3),
        max_instructions: 20 + random.below(300),
        max_memory32_bytes: 16 << 20,
        max_table_elements: 2_000,
        max_imports: if random.below(2) == 0 { 0 } else { 10 },
        ..wasm_smith::Config::default()
    }
}

/// A component as the generator makes them; every other has a manifest that asks for nothing.
fn generated(case: u64, random: &mut Random) -> Option<Vec<u8>> {
    let config = config(random);
    let bytes = random.bytes(RANDOM_BYTES);
    let component = wasm_smith::Component::new(config, &mut Unstructured::new(&bytes)).ok()?.to_bytes();
    Some(if random.below(4) == 0 { component } else { with_manifest(&component, &manifest(case, "")) })
}

/// A component with the contract's imports and exports, and code that the generator makes.
fn shaped(case: u64, random: &mut Random, world: &World) -> Option<Vec<u8>> {
    let config = wasm_smith::Config { module_shape: Some(world.module()), ..config(random) };
    let bytes = random.bytes(RANDOM_BYTES);
    let module = wasm_smith::Module::new(config, &mut Unstructured::new(&bytes)).ok()?.to_bytes();
    Some(with_manifest(&world.component(&module), &manifest(case, GRANTS)))
}

/// A real plugin with bytes flipped or overwritten, cut short, or its sections in another order.
fn mutated(case: u64, random: &mut Random) -> Vec<u8> {
    let mut bytes = guests::edited(guests::STAMPS, "stamps-rust", &format!("made-{case:06}"));
    match random.below(4) {
        0 => bytes.truncate(random.below(bytes.len())),
        1 => {
            let mut parts: Vec<Vec<u8>> = sections(&bytes).into_iter().map(<[u8]>::to_vec).collect();
            for _ in 0..=random.below(4) {
                let (from, to) = (random.below(parts.len()), random.below(parts.len()));
                match random.below(3) {
                    0 => parts.swap(from, to),
                    1 => drop(parts.remove(from)),
                    _ => parts.insert(to, parts[from].clone()),
                }
            }
            bytes.truncate(8);
            bytes.extend(parts.concat());
        }
        kind => {
            for _ in 0..=random.below(8) {
                let place = random.below(bytes.len());
                let bits = if kind == 2 { 1 << random.below(8) } else { random.next().to_le_bytes()[0] };
                bytes[place] ^= bits;
            }
        }
    }
    bytes
}

fn made(case: u64, world: &World) -> Option<Vec<u8>> {
    let mut random = Random(case);
    match case % 3 {
        0 => Some(mutated(case, &mut random)),
        1 => shaped(case, &mut random, world),
        _ => generated(case, &mut random),
    }
}

/// How far the cases have come.
#[derive(Debug, Default)]
struct Tally {
    refused: u64,
    installed: u64,
    answered: u64,
    failed: u64,
}

impl Rig {
    /// Installs a component, and calls it if it can be installed.
    async fn meet(&self, bytes: Vec<u8>, tally: &mut Tally) {
        let package = match packages::install(&self.core, bytes).await {
            Ok(package) => package,
            Err(Error::Invalid { faults }) => {
                let clear = |text: &str| !text.trim().is_empty() && text.len() < 4_096;
                assert!(!faults.is_empty() && faults.iter().all(|fault| clear(&fault.message)), "{faults:?}");
                tally.refused += 1;
                return;
            }
            // A flipped bit may make two cases of one name and version.
            Err(Error::Conflict { .. } | Error::Refused { .. }) => return tally.refused += 1,
            Err(error) => panic!("installing ended in {error:?}"),
        };
        tally.installed += 1;
        let new = NewEnablement { version: None, grants: None, settings: None, backfill: false };
        enablement::enable(&self.core, &self.actor, &package.name, new).await.expect("it can be enabled");
        for action in &package.manifest.0.actions {
            let acted = self.act(&package.name, &action.name, json!({ "stamps": 1 })).await;
            tally.note(acted.map(drop));
        }
        let target = Subject::Customer(self.customer.clone());
        let panels =
            self.host.panels(&self.actor, "customer", target).await.expect("panels come without fail");
        assert_eq!(panels.len(), package.manifest.0.panels.len());
        enablement::disable(&self.core, &self.actor, &package.name, None).await.expect("it can be disabled");
    }
}

impl Tally {
    fn note(&mut self, result: Result<()>) {
        match result {
            Ok(()) => self.answered += 1,
            Err(
                Error::PluginFailed { .. }
                | Error::PluginRejected { .. }
                | Error::Invalid { .. }
                | Error::NotFound { .. },
            ) => self.failed += 1,
            Err(error) => panic!("a call ended in {error:?}"),
        }
    }
}

/// Bytes of memory that this process has.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

async fn run(cases: std::ops::Range<u64>) {
    let cases = match std::env::var("HOSPES_CASE") {
        Ok(case) => case.parse().map(|case| case..case + 1).expect("HOSPES_CASE is a number"),
        Err(_unset) => cases,
    };
    let rig = Rig::start(Engine::Sqlite).await.expect("SQLite is always there");
    let (world, before) = (World::of_contract(WORLD), resident_bytes());
    let mut tally = Tally::default();
    let count = cases.end - cases.start;
    for case in cases {
        let Some(bytes) = made(case, &world) else { continue };
        let meet = AssertUnwindSafe(rig.meet(bytes, &mut tally)).catch_unwind();
        let ended = tokio::time::timeout(CASE_MAX, meet).await;
        assert!(matches!(ended, Ok(Ok(()))), "case {case} failed; run it again with HOSPES_CASE={case}");
    }
    eprintln!("{count} cases: {tally:?}");
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "the process has grown by {grown} bytes");
    // Whoever was there before is served as ever.
    let stamps = rig.enable_for(&rig.neighbour, guests::STAMPS).await;
    let target = Subject::Customer(rig.customer_of(&rig.neighbour).await);
    let panels = rig.host.panels(&rig.neighbour, "customer", target).await.unwrap();
    assert_eq!((panels[0].plugin.as_str(), panels[0].failure.as_deref()), (stamps.as_str(), None));
    if count > 1 {
        assert!(tally.refused > count / 10 && tally.installed > count / 10, "one-sided: {tally:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_wrote_is_refused_or_runs_within_its_budget() {
    run(0..CASES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: ten minutes; see README.md"]
async fn ten_thousand_more_of_what_nobody_wrote() {
    run(CASES..CASES + LONG_CASES).await;
}
