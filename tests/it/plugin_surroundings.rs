//! What an interpreter is told by WASI and what it prints, in a run and when the run is replayed.

use std::time::Duration;

use hospes::domain::recording::Keep;
use hospes_tests::both_engines;
use serde_json::{Value, json};

use crate::components::{World, with_manifest};
use crate::plugin_rig::Rig;
use crate::recorder_replay::replay;

const WORLD: &str = "
package hospes-tests:printer;
package wasi:io@0.2.9 {
    interface error { resource error; }
    interface streams {
        use error.{error};
        variant stream-error { last-operation-failed(error), closed }
        resource output-stream {
            blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
        }
    }
}
package wasi:cli@0.2.9 {
    interface stdout { use wasi:io/streams@0.2.9.{output-stream}; get-stdout: func() -> output-stream; }
    interface stderr { use wasi:io/streams@0.2.9.{output-stream}; get-stderr: func() -> output-stream; }
}
package wasi:clocks@0.2.9 {
    interface wall-clock { record datetime { seconds: u64, nanoseconds: u32 } now: func() -> datetime; }
}
package wasi:random@0.2.9 {
    interface random { get-random-u64: func() -> u64; }
}
world made {
    import wasi:cli/stdout@0.2.9;
    import wasi:cli/stderr@0.2.9;
    import wasi:clocks/wall-clock@0.2.9;
    import wasi:random/random@0.2.9;
    import hospes:plugin/context@1.0.0;
    export hospes:plugin/actions@1.0.0;
}
";

/// Draws eight bytes by the contract and two numbers by WASI, asks for the time, answers the numbers and
/// the seconds in hexadecimal, and prints the first number to one output and `tail` to the other.
const MODULE: &str = r#"(module
    (import "wasi:cli/stdout@0.2.9" "get-stdout" (func $stdout (result i32)))
    (import "wasi:cli/stderr@0.2.9" "get-stderr" (func $stderr (result i32)))
    (import "wasi:io/streams@0.2.9" "[method]output-stream.blocking-write-and-flush"
        (func $write (param i32 i32 i32 i32)))
    (import "wasi:clocks/wall-clock@0.2.9" "now" (func $now (param i32)))
    (import "wasi:random/random@0.2.9" "get-random-u64" (func $random (result i64)))
    (import "hospes:plugin/context@1.0.0" "random" (func $draw (param i32 i32)))
    (memory (export "memory") 1)
    (data (i32.const 64) "0123456789abcdef")
    (data (i32.const 80) "printed\0atail")
    (data (i32.const 128) "\"")
    (data (i32.const 177) "\"")
    (global $free (mut i32) (i32.const 4096))
    (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
        (local $at i32)
        (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
        (global.set $free (i32.add (local.get $at) (local.get $size)))
        (local.get $at))
    (func $hex (param $value i64) (param $to i32)
        (local $place i32)
        (loop $digits
            (i32.store8
                (i32.add (local.get $to) (local.get $place))
                (i32.load8_u offset=64 (i32.and (i32.const 15) (i32.wrap_i64
                    (i64.shr_u (local.get $value)
                        (i64.extend_i32_u (i32.sub (i32.const 60) (i32.mul (local.get $place) (i32.const 4)))))))))
            (local.set $place (i32.add (local.get $place) (i32.const 1)))
            (br_if $digits (i32.lt_u (local.get $place) (i32.const 16)))))
    (func (export "hospes:plugin/actions@1.0.0#run")
        (param i32 i32 i32 i32 i32 i32 i32) (result i32)
        (call $draw (i32.const 8) (i32.const 16))
        (call $hex (call $random) (i32.const 129))
        (call $hex (call $random) (i32.const 145))
        (call $now (i32.const 32))
        (call $hex (i64.load (i32.const 32)) (i32.const 161))
        (call $write (call $stdout) (i32.const 129) (i32.const 16) (i32.const 48))
        (call $write (call $stderr) (i32.const 80) (i32.const 12) (i32.const 48))
        (i32.store8 (i32.const 256) (i32.const 0))
        (i32.store (i32.const 260) (i32.const 80))
        (i32.store (i32.const 264) (i32.const 7))
        (i32.store (i32.const 268) (i32.const 128))
        (i32.store (i32.const 272) (i32.const 50))
        (i32.const 256))
)"#;

fn printer() -> Vec<u8> {
    let manifest = r#"
        name = "printer"
        version = "1.0.0"
        publisher = "hospes-tests"
        tier = "interpreter"
        [description]
        en = "Prints."
        zh-CN = "打印。"
        [[actions]]
        name = "print"
        entity = "customer"
        title = { en = "Print", zh-CN = "打印" }
        roles = ["owner"]
        [actions.input]
        type = "object"
    "#;
    let module = wat::parse_str(MODULE).expect("the test writes WAT");
    with_manifest(&World::of_contract(WORLD).component(&module), manifest)
}

both_engines! {
    async fn a_replay_tells_an_interpreter_the_same_as_its_run(rig: Rig) {
        let component = printer();
        let plugin = rig.enable(&component).await;
        rig.record(&plugin, Keep::All).await;
        let mut answers = Vec::new();
        for _ in 0..2 {
            rig.clock.advance_seconds(60);
            let answer = rig.act(&plugin, "print", json!({})).await.unwrap().body;
            let [recording] = rig.recorded().try_into().unwrap();
            let verdict = replay(&recording, &component).await;
            assert!(verdict.is_identical(), "{}", serde_json::to_string_pretty(&verdict).unwrap());
            answers.push(answer.as_str().unwrap().to_owned());
        }
        let numbers: Vec<_> = answers.iter().flat_map(|answer| [&answer[..16], &answer[16..32]]).collect();
        assert!((1..4).all(|at| !numbers[..at].contains(&numbers[at])), "each is another: {answers:?}");
        let seconds = |answer: &str| Duration::from_secs(u64::from_str_radix(&answer[32..], 16).unwrap());
        assert_eq!(seconds(&answers[1]) - seconds(&answers[0]), Duration::from_secs(60));
        let log = rig.app.owner.get("/api/v1/plugins/printer/log").await.expect(200);
        let lines: Vec<_> = log.body["items"].as_array().unwrap().iter().map(|line| (&line["level"], &line["message"])).collect();
        let lines_of = |answer: &str| [(json!("info"), json!(answer[..16])), (json!("warn"), json!("printed")), (json!("warn"), json!("tail"))];
        for (level, message) in answers.iter().flat_map(|answer| lines_of(answer)) {
            assert!(lines.contains(&(&level, &message)), "{message}: {log}");
        }
    }

    async fn a_replay_that_prints_something_else_is_another(rig: Rig) {
        let component = printer();
        let plugin = rig.enable(&component).await;
        rig.record(&plugin, Keep::All).await;
        rig.act(&plugin, "print", json!({})).await.unwrap();
        let [recording] = rig.recorded().try_into().unwrap();
        let other = hospes_tests::guests::edited(&component, "tail", "nail");
        let verdict = replay(&recording, &other).await;
        assert!(!verdict.log_identical && verdict.answer_identical, "{}", serde_json::to_string(&verdict).unwrap());
        let mut body: Value = serde_json::from_slice(&recording.body).unwrap();
        body["calls"].as_array_mut().unwrap().retain(|call| call["import"] != "log.print");
        let silent = hospes::ops::plugins::recordings::NewRecording {
            body: body.to_string().into_bytes(),
            ..recording
        };
        let stopped = replay(&silent, &component).await.stopped_at.expect("what was not recorded stops it");
        assert!(stopped.contains("log.print"), "{stopped}");
    }
}
