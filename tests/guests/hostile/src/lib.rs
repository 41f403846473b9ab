//! Misbehaves on purpose: how is said by the action's name, or by the name of
//! the customer that a hook, an event or a panel sees.

use std::hint::black_box;

use hospes_sdk::documents::{self, Collection, Expectation};
use hospes_sdk::panels::Blocks;
use hospes_sdk::routes::{Request, Response};
use hospes_sdk::scoring::{Scores, Slice};
use hospes_sdk::steps::{Step, StepOutcome};
use hospes_sdk::{
    Actions, Customer, Error, Event, EventBody, Events, Hooks, Outcome, Panels, Rejection, Result, Routes,
    Scoring, Steps, Subject, Timestamp, Value, context, customers, json, kv, log,
};

const JUNK: Collection<Value> = Collection::new("junk");

struct Hostile;

impl Actions for Hostile {
    fn run(action: &str, target: Subject, input: Value) -> Result<Outcome> {
        match action {
            "behave" => {}
            "peek" => {
                let kept = kv::get::<Value>(input["key"].as_str().unwrap_or_default())?;
                return Ok(Outcome { message: "peeked".to_owned(), body: json!(kept) });
            }
            "loop" => spin(),
            "grow-memory" => grow(),
            "trap" => panic!("trapped on purpose"),
            "recurse" => {
                black_box(recurse(0));
            }
            "giant-log" => log::info(&giant(16 << 20)),
            "giant-result" => {
                return Ok(Outcome { message: giant(2 << 20), body: json!({ "giant": giant(2 << 20) }) });
            }
            "giant-document" => JUNK.put("giant", &target, &json!({ "giant": giant(1 << 20) }))?,
            "deep-document" => JUNK.put("deep", &target, &deep(100))?,
            "many-documents" => many_documents(&target)?,
            "flood-log" => (0..1_000_000).for_each(|line| log::info(&format!("line {line}"))),
            "flood-documents" => loop {
                JUNK.put("flood", &target, &json!({}))?;
            },
            "flood-reads" => loop {
                black_box(JUNK.get("flood")?);
            },
            "flood-kv" => {
                for key in 0..u64::MAX {
                    kv::set(&format!("flood-{key}"), &giant(60 << 10))?;
                }
            }
            "write-then-trap" => {
                JUNK.put("left-behind", &target, &input)?;
                panic!("trapped after a write");
            }
            "write-then-refuse" => {
                JUNK.put("left-behind", &target, &input)?;
                return Err(Error::rejected("changed_my_mind", "refused after a write"));
            }
            "undeclared-collection" => {
                Collection::<Value>::new("not-mine").put("a", &target, &input)?;
            }
            "undeclared-field" => customers::set_fields(&[customers::field("x", "not-mine", 1)])?,
            _ => return Err(Error::NotFound(format!("action `{action}`"))),
        }
        Ok(Outcome { message: "done".to_owned(), body: json!({}) })
    }
}

impl Hooks for Hostile {
    fn before_save_customer(
        _before: Option<Customer>,
        after: Customer,
    ) -> std::result::Result<Option<Value>, Rejection> {
        match after.name.as_str() {
            "hostile: hook loops" => spin(),
            "hostile: hook grows" => grow(),
            "hostile: hook traps when new" if is_new() => panic!("the new version's hook trapped"),
            "hostile: hook traps" => panic!("the hook trapped on purpose"),
            "hostile: hook writes" => {
                let written = kv::set("from-a-hook", &1);
                return Err(Rejection::new("tried_to_write", format!("{written:?}")));
            }
            "hostile: hook patches badly" => {
                return Ok(Some(json!({ "kind": 7, "no_such_field": true })));
            }
            _ => {}
        }
        Ok(None)
    }
}

/// Whether this is another version than the first.
fn is_new() -> bool {
    context::get().plugin_version != "1.0.0"
}

impl Events for Hostile {
    fn handle_one(event: Event) -> Result<()> {
        let (EventBody::CustomerCreated(customer) | EventBody::CustomerUpdated(customer)) = event.body else {
            return Ok(());
        };
        match customer.name.as_str() {
            "hostile: event loops" => spin(),
            "hostile: event traps when new" if is_new() => panic!("the new version trapped"),
            "hostile: event traps" => panic!("the event trapped on purpose"),
            "hostile: event fails" => {
                return Err(Error::Unavailable("never available".to_owned()));
            }
            _ => JUNK.put(&event.id, &event.subject, &json!({ "name": customer.name }))?,
        }
        Ok(())
    }
}

impl Panels for Hostile {
    fn render(_slot: &str, target: Subject) -> Result<Blocks> {
        let Subject::Customer(id) = target else {
            return Ok(Blocks::new());
        };
        let name = customers::get(&id)?.map_or_else(String::new, |customer| customer.name);
        match name.as_str() {
            "hostile: panel loops" => spin(),
            "hostile: panel traps" => panic!("the panel trapped on purpose"),
            "hostile: panel writes" => kv::set("from-a-panel", &1)?,
            "hostile: panel is huge" => {
                return Ok((0..100_000).fold(Blocks::new(), |blocks, _| blocks.text("again")));
            }
            "hostile: panel is markup" => {
                return Ok(Blocks::new().text("<script>alert(1)</script>"));
            }
            _ => {}
        }
        Ok(Blocks::new().text("harmless"))
    }
}

impl Scoring for Hostile {
    fn score(scoring: &str, slice: Slice) -> Result<Scores> {
        let rows = slice.rows();
        match scoring {
            "loop" => spin(),
            "traps-when-new" if is_new() => panic!("the new version's scoring trapped"),
            "version" => return Ok(Scores::new(vec![f64::from(u8::from(is_new())); rows])),
            "write" => kv::set("from-a-score", &1)?,
            "too-few" => return Ok(Scores::new(vec![0.0; rows.saturating_sub(1)])),
            "infinite" => return Ok(Scores::new(vec![f64::INFINITY; rows])),
            "undeclared-reason" => return Ok(Scores::new(vec![0.0; rows]).because("whim", vec![1.0; rows])),
            "huge" => return Ok(Scores::new(vec![0.0; 4 << 20])),
            _ => {}
        }
        Ok(Scores::new(vec![0.0; rows]))
    }
}

impl Routes for Hostile {
    fn answer(request: Request) -> Result<Response> {
        let how = request.param("how");
        kv::set("from-a-route", &how)?;
        match how {
            "loop" => spin(),
            "trap" => panic!("the route trapped on purpose"),
            "traps-when-new" if is_new() => panic!("the new version's route trapped"),
            who if who == "who" || who.starts_with("cus_") || who.starts_with("ord_") => {
                return Ok(Response::ok(json!(context::get().plugin_version)));
            }
            "huge" => return Ok(Response::ok(json!(giant(3 << 20)))),
            "huger" => return Ok(Response::ok(json!(giant(8 << 20)))),
            "deep" => return Ok(Response::ok(deep(200))),
            "redirect" => return Ok(Response { status: 302, body: Some(json!("https://evil.example")) }),
            "continue" => return Ok(Response { status: 100, body: None }),
            "zero" => return Ok(Response { status: 0, body: None }),
            "most" => return Ok(Response { status: u16::MAX, body: None }),
            "no-content" => return Ok(Response { status: 204, body: Some(json!("smuggled")) }),
            "injecting" => {
                let text = "x\r\nSet-Cookie: stolen=1\r\n\r\n<script>alert(1)</script>";
                return Err(Error::rejected(text, text));
            }
            "many-faults" => {
                let fault = |at: usize| hospes_sdk::Fault::new(&format!("/{at}"), "x", giant(10_000));
                return Err(Error::Invalid((0..300).map(fault).collect()));
            }
            _ => {}
        }
        Ok(Response::ok(json!(how)))
    }
}

impl Steps for Hostile {
    fn run_step(step: Step) -> Result<StepOutcome> {
        let how = step.input["how"].as_str().unwrap_or_default();
        kv::set("from-a-step", &how)?;
        match how {
            "loop" => spin(),
            "huge" => return Ok(StepOutcome::Done(json!({ "giant": giant(3 << 20) }))),
            "deep" => return Ok(StepOutcome::Done(deep(200))),
            "undeclared-output" => return Ok(StepOutcome::Done(json!({ "more": 1 }))),
            "for-ever" => return Ok(StepOutcome::WaitUntil(Timestamp::from_micros(i64::MAX))),
            "injecting" => {
                let text = giant(100_000) + "\r\n\0";
                return Ok(StepOutcome::Failed(Rejection::new(&text, text.as_str())));
            }
            _ => {}
        }
        Ok(StepOutcome::Done(json!({})))
    }
}

fn spin() {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn grow() {
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    loop {
        hoard.push(black_box(vec![1; 1 << 20]));
    }
}

fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    if black_box(depth) == u64::MAX {
        return 0;
    }
    let below = recurse(depth + 1);
    black_box(&frame).iter().sum::<u64>().wrapping_add(below)
}

fn giant(bytes: usize) -> String {
    "x".repeat(bytes)
}

fn deep(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

fn many_documents(target: &Subject) -> Result<()> {
    for round in 0..1_000 {
        let puts = (0..500)
            .map(|at| {
                let key = format!("{round}-{at}");
                JUNK.write(&key, target, Expectation::Nothing, &json!({ "at": at }))
            })
            .collect::<Result<Vec<_>>>()?;
        documents::put_all(&puts)?;
    }
    Ok(())
}

hospes_sdk::plugin!(Hostile: Actions, Hooks, Events, Panels, Scoring, Routes, Steps);
