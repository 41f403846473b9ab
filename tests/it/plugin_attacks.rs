//! Plugins that were written by hand to hurt: in the parts of a component that no SDK lets an author
//! write, and in the shape of the component itself. Whatever they do, it ends within its budget, the
//! answer is a failure with a code, and the neighbour is served as ever.

use hospes::domain::event::Subject;
use hospes::error::Error;
use hospes::ops::plugins::{Plugins as _, packages};
use hospes_tests::both_engines;
use serde_json::json;

use crate::components::{World, with_manifest};
use crate::plugin_oracles::Besieged;
use crate::plugin_rig::{Rig, code, nothing};

const WORLD: &str = "
package hospes-tests:attack;
world made {
    export hospes:plugin/panels@1.0.0;
}";

const MANIFEST: &str = r#"
name = "attacker"
version = "VERSION"
publisher = "hospes-tests"
panels = [{ slot = "customer", title = { en = "Panel", zh-CN = "面板" } }]
[description]
en = "Does what it must not."
zh-CN = "做不该做的事。"
"#;

const SPIN: &str = "(loop $again (br $again))";
/// Where an answer stands that is an empty list of blocks: nothing but zeros.
const NOTHING: &str = "(i32.const 1024)";

/// What an interpreter imports that looks at the time and asks for randomness.
const WATCHER: &str = "
package hospes-tests:watcher;
package wasi:clocks@0.2.9 {
    interface wall-clock {
        record datetime { seconds: u64, nanoseconds: u32 }
        now: func() -> datetime;
    }
    interface monotonic-clock { now: func() -> u64; }
}
world made {
    import wasi:clocks/wall-clock@0.2.9;
    import wasi:clocks/monotonic-clock@0.2.9;
    export hospes:plugin/events@1.0.0;
}";

const WATCHERS_MANIFEST: &str = r#"
name = "watcher"
version = "VERSION"
publisher = "hospes-tests"
tier = "interpreter"
events = { subscribe = ["customer.updated"] }
[description]
en = "Looks at the clocks."
zh-CN = "查看时钟。"
[[grants]]
name = "customers:read"
reason = { en = "To be used by tests.", zh-CN = "供测试使用。" }
"#;

/// How often each clock is looked at in one call.
const LOOKS: u32 = 1_000_000;

/// A handler of the interpreter tier that looks at both clocks again and again, and traps as soon as a look is
/// not like the first one in the way that `differs` says.
fn watcher(version: usize, differs: &str) -> Vec<u8> {
    let module = format!(
        r#"(module
            (import "wasi:clocks/wall-clock@0.2.9" "now" (func $wall (param i32)))
            (import "wasi:clocks/monotonic-clock@0.2.9" "now" (func $monotonic (result i64)))
            (memory (export "memory") 16)
            (global $free (mut i32) (i32.const 65536))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $place i32)
                (local.set $place (i32.and
                    (i32.add (global.get $free) (i32.sub (local.get 2) (i32.const 1)))
                    (i32.sub (i32.const 0) (local.get 2))))
                (global.set $free (i32.add (local.get $place) (local.get 3)))
                (local.get $place))
            (func (export "hospes:plugin/events@1.0.0#handle") (param i32 i32) (result i32)
                (local $looks i32) (local $first i64)
                (local.set $first (call $monotonic))
                (call $wall (i32.const 512))
                (loop $again
                    (call $wall (i32.const 528))
                    (if (i64.ne (i64.load (i32.const 512)) (i64.load (i32.const 528))) (then unreachable))
                    (if (i32.ne (i32.load (i32.const 520)) (i32.load (i32.const 536))) (then unreachable))
                    (if ({differs} (call $monotonic) (local.get $first)) (then unreachable))
                    (local.set $looks (i32.add (local.get $looks) (i32.const 1)))
                    (br_if $again (i32.lt_u (local.get $looks) (i32.const {LOOKS}))))
                (i32.const 1024))
            (func (export "cabi_post_hospes:plugin/events@1.0.0#handle") (param i32)))"#
    );
    let module = wat::parse_str(&module).expect("the test writes a module");
    let component = World::of_contract(WATCHER).component(&module);
    with_manifest(&component, &WATCHERS_MANIFEST.replace("VERSION", &format!("1.0.{version}")))
}

/// The parts of a module that the canonical ABI calls, each with its code.
struct Parts<'a> {
    start: &'a str,
    realloc: &'a str,
    render: &'a str,
    post_return: &'a str,
    /// Further fields of the module.
    rest: &'a str,
}

impl Default for Parts<'_> {
    /// A panel without blocks, and memory that is given out from 64 KiB on.
    fn default() -> Self {
        Self {
            start: "",
            realloc: "(global.get $free)
                (global.set $free (i32.add (global.get $free) (local.get 3)))",
            render: NOTHING,
            post_return: "",
            rest: "",
        }
    }
}

impl Parts<'_> {
    fn component(&self, version: usize) -> Vec<u8> {
        let Self { start, realloc, render, post_return, rest } = self;
        let module = format!(
            r#"(module
                (memory (export "memory") 4)
                (table $slots 10 funcref)
                (global $free (mut i32) (i32.const 65536))
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc})
                (func $render (export "hospes:plugin/panels@1.0.0#render")
                    (param i32 i32 i32 i32 i32) (result i32) {render})
                (func (export "cabi_post_hospes:plugin/panels@1.0.0#render") (param i32) {post_return})
                (func $start {start})
                (start $start)
                {rest})"#
        );
        let module = wat::parse_str(&module).expect("the test writes a module");
        let component = World::of_contract(WORLD).component(&module);
        with_manifest(&component, &MANIFEST.replace("VERSION", &format!("1.0.{version}")))
    }
}

/// What is done, and codes of which one is what becomes of it.
type Attack<'a> = (&'static str, Parts<'a>, &'static [&'static str]);

const TRAP: &[&str] = &["trap"];

/// Code that does not come to an end, or takes what it is not given.
fn endless() -> Vec<Attack<'static>> {
    let of = Parts::default;
    const TIME: &[&str] = &["fuel", "deadline"];
    vec![
        ("start loops", Parts { start: SPIN, ..of() }, TIME),
        ("realloc loops", Parts { realloc: "(loop $again (br $again)) (i32.const 0)", ..of() }, TIME),
        ("a call loops", Parts { render: "(loop $again (br $again)) (i32.const 0)", ..of() }, TIME),
        ("post-return loops", Parts { post_return: SPIN, ..of() }, TIME),
        ("start traps", Parts { start: "unreachable", ..of() }, TRAP),
        ("realloc traps", Parts { realloc: "unreachable", ..of() }, TRAP),
        ("post-return traps", Parts { post_return: "unreachable", ..of() }, TRAP),
        (
            "memory grows in the start function until that traps",
            Parts {
                start: "(loop $again (br_if $again (i32.ge_s (memory.grow (i32.const 16)) (i32.const 0))))
                    unreachable",
                ..of()
            },
            &["memory"],
        ),
        (
            "a table grows for ever",
            Parts {
                start: "(loop $again
                    (br_if $again (i32.ge_s (table.grow $slots (ref.null func) (i32.const 1000)) (i32.const 0))))
                    unreachable",
                ..of()
            },
            &["memory"],
        ),
        ("it calls itself", Parts { render: "(call $render (local.get 0) (local.get 1) (local.get 2)
            (local.get 3) (local.get 4))", ..of() }, &["stack"]),
    ]
}

/// Answers that are none. What a panel shows stands from byte 1,024 on: `result<list<block>, error>`.
fn lies() -> Vec<Attack<'static>> {
    let of = Parts::default;
    vec![
        ("realloc hands out memory that there is not", Parts { realloc: "(i32.const -65536)", ..of() }, TRAP),
        ("realloc hands out odd memory", Parts { realloc: "(i32.const 65537)", ..of() }, &["trap", "none"]),
        ("the answer is beyond the memory", Parts { render: "(i32.const 262143)", ..of() }, TRAP),
        ("the answer is nowhere aligned", Parts { render: "(i32.const 1025)", ..of() }, TRAP),
        (
            "the answer is of no case",
            Parts { render: "(i32.store8 (i32.const 1024) (i32.const 9)) (i32.const 1024)", ..of() },
            TRAP,
        ),
        (
            "a list is longer than all memory",
            Parts {
                render: "(i32.store (i32.const 1028) (i32.const 0))
                    (i32.store (i32.const 1032) (i32.const -1)) (i32.const 1024)",
                ..of()
            },
            &["trap", "transfer"],
        ),
        // Each of 1,400 blocks, of 40 bytes, is a heading of one and the same 200,000 bytes.
        (
            "a small list means 280 MB of text",
            Parts {
                render: "(local $at i32)
                    (local.set $at (i32.const 2048))
                    (loop $next
                        (i32.store offset=12 (local.get $at) (i32.const 200000))
                        (local.set $at (i32.add (local.get $at) (i32.const 40)))
                        (br_if $next (i32.lt_u (local.get $at) (i32.const 58048))))
                    (i32.store (i32.const 1028) (i32.const 2048))
                    (i32.store (i32.const 1032) (i32.const 1400)) (i32.const 1024)",
                ..of()
            },
            &["transfer"],
        ),
        (
            "text that is no UTF-8",
            Parts {
                render: "(i32.store (i32.const 1028) (i32.const 2048))
                    (i32.store (i32.const 1032) (i32.const 1))
                    (i32.store (i32.const 2056) (i32.const 4096))
                    (i32.store (i32.const 2060) (i32.const 4))
                    (i32.store (i32.const 4096) (i32.const -1)) (i32.const 1024)",
                ..of()
            },
            TRAP,
        ),
    ]
}

impl Rig {
    /// Renders the attacker's panel; the code of its failure, or `none`.
    async fn provoke_panel(&self) -> String {
        let target = Subject::Customer(self.customer.clone());
        let panels = self.host.panels(&self.actor, "customer", target).await.expect("panels never fail");
        let panel = panels.iter().find(|panel| panel.plugin == "attacker").expect("it has a panel");
        if panel.failure.is_none() {
            return "none".to_owned();
        }
        let log = self.log("attacker").await;
        let code = log.first().and_then(|line| line.strip_prefix("failure ")?.split(':').next());
        code.unwrap_or_else(|| panic!("no line of the log says why: {log:?}")).to_owned()
    }
}

/// A component nested in a component, and so on.
fn nested(depth: usize) -> Vec<u8> {
    const PREAMBLE: &[u8] = b"\0asm\x0d\0\x01\0";
    const SECTION_OF_A_COMPONENT: u8 = 4;
    (0..depth).fold(PREAMBLE.to_vec(), |inner, _| {
        let mut outer = PREAMBLE.to_vec();
        outer.push(SECTION_OF_A_COMPONENT);
        let mut length = inner.len();
        while length > 0x7f {
            outer.push(0x80 | u8::try_from(length & 0x7f).unwrap());
            length >>= 7;
        }
        outer.push(u8::try_from(length).unwrap());
        outer.extend(inner);
        outer
    })
}

fn repeated(count: usize, part: &str) -> Vec<u8> {
    component(&part.repeat(count))
}

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {text})")).expect("the test writes a component")
}

both_engines! {
    async fn code_that_no_sdk_writes_ends_within_its_budget(rig: Besieged) {
        for (version, (what, parts, wanted)) in endless().into_iter().chain(lies()).enumerate() {
            let component = parts.component(version);
            rig.enable(&component).await;
            // A breaker that has opened would answer in its place.
            rig.clock.advance_seconds(60);
            let became = rig.provoke_panel().await;
            assert!(wanted.contains(&became.as_str()), "{what}: {became}");
        }
    }

    async fn an_interpreter_that_looks_at_the_clocks_sees_them_stand_still(rig: Besieged) {
        // Many events, because they are what gives it the time to look so often.
        let events: Vec<_> = (0..200).map(|_| rig.event("customer.updated", json!({}))).collect();
        rig.enable(&watcher(0, "i64.ne")).await;
        let watched = rig.host.deliver(&rig.actor.tenant, "watcher", &events, nothing()).await;
        assert!(watched.is_ok(), "each of {LOOKS} looks is like the first: {watched:?}");
        // That it looks at all is seen where the same time is what it traps at.
        rig.enable(&watcher(1, "i64.eq")).await;
        let watched = rig.host.deliver(&rig.actor.tenant, "watcher", &events, nothing()).await;
        assert_eq!(code(&watched.unwrap_err()), "failed: trap");
    }
}

/// The shapes are refused before anything is compiled, and with what is wrong.
#[tokio::test]
async fn a_component_of_a_monstrous_shape_is_refused() {
    let rig =
        <Rig as hospes_tests::Harness>::start(hospes_tests::Engine::Sqlite).await.expect("SQLite is there");
    let instances = "(core module $m) ".to_owned() + &"(core instance (instantiate $m))".repeat(10_000);
    let shapes = [
        ("components 1,000 deep", nested(1_000)),
        ("10,000 tables", repeated(10_000, "(core module (table 1 funcref))")),
        ("10,000 memories", repeated(10_000, "(core module (memory 1))")),
        ("10,000 instances", component(&instances)),
        ("a memory of 4 GiB", repeated(1, "(core module (memory 65536))")),
        ("10,000 types", repeated(10_000, "(type (func (param \"x\" string)))")),
    ];
    for (what, component) in shapes {
        let component = with_manifest(&component, &MANIFEST.replace("VERSION", "1.0.0"));
        let refused = packages::install(&rig.core, component).await.expect_err(what);
        let Error::Invalid { faults } = refused else { panic!("{what}: {refused:?}") };
        assert!(!faults.is_empty() && faults.len() < 100, "{what}: {faults:?}");
        assert!(faults.iter().all(|fault| fault.message.len() < 4_096), "{what}: {faults:?}");
    }
}
