//! One call into a plugin: a fresh store, its limits, the call, and what came of it.

use hospes_bindings::exports::hospes::plugin as exports;
use hospes_bindings::hospes::plugin::types;
use serde::{Deserialize, Serialize};
use wasmtime::{Store, Trap, UpdateDeadline};

use super::acceptance;
use super::backtrace::frames;
use super::budget::Budget;
use super::host::Abort;
use super::invocation::{Invocation, Limits, clean};
use super::registry::Loaded;
use crate::domain::actor::Locale;
use crate::domain::code::FailureCode;
use crate::error::Error;
use crate::texts;

/// Bytes that host calls may copy out of a guest, in one call.
const HOSTCALL_BYTES_MAX: usize = 4 << 20;
/// Resource handles of a guest; the contract has none, so this is only a net.
const HANDLES_MAX: usize = 64;
/// Bytes of a failure's description.
const DESCRIPTION_BYTES_MAX: usize = 1_024;

/// What the store of a run holds, in production and in a replay.
pub(super) trait Running: Send + 'static {
    fn budget(&self) -> Budget;

    fn limits(&mut self) -> &mut Limits;

    /// Counts a tick on the CPU; whether there is another one.
    fn tick(&mut self) -> bool;

    /// Is told why the guest broke off, before it is said in words.
    fn broke_off(&mut self, _error: &wasmtime::Error) {}

    /// Tells what it has printed since the last line break.
    fn end_line(&mut self) -> wasmtime::Result<()>;
}

/// What is asked of a plugin.
#[derive(Clone, Serialize, Deserialize)]
pub(super) enum Call {
    Enable,
    Disable,
    Migrate {
        from: String,
        cursor: Option<String>,
    },
    Handle(Vec<exports::events::Event>),
    BeforeSave(exports::hooks::Save),
    Act {
        action: String,
        target: types::Subject,
        input: String,
    },
    Render {
        slot: String,
        target: types::Subject,
    },
    Job {
        job: String,
        due_at: i64,
        cursor: Option<String>,
    },
    Score {
        scoring: String,
        #[serde(with = "super::recorder::numbers")]
        slice: exports::scoring::Slice,
    },
    Route(exports::routes::Request),
    Step(exports::steps::Step),
    Function(exports::functions::Request),
}

/// What a plugin answers.
#[derive(Serialize)]
pub(super) enum Answer {
    Done,
    /// The cursor of the next chunk, if there is one.
    Cursor(Option<String>),
    Patch(Option<String>),
    Outcome(exports::actions::Outcome),
    Blocks(Vec<exports::panels::Block>),
    Scores(exports::scoring::Scores),
    Response(exports::routes::Response),
    Step(exports::steps::Outcome),
    Output(String),
}

impl Answer {
    /// The cursor of the next chunk; nothing if this is no answer of that kind.
    pub(super) fn into_cursor(self) -> Option<Option<String>> {
        if let Self::Cursor(cursor) = self { Some(cursor) } else { None }
    }

    /// The cursor of the next chunk, if there is a next chunk.
    pub(super) fn next_cursor(&self) -> Option<&str> {
        if let Self::Cursor(cursor) = self { cursor.as_deref() } else { None }
    }
}

/// Why there is no answer.
pub(super) enum Failure {
    /// The guest broke off or was stopped: a stable code, and a description for
    /// the tenant's administrator.
    Stopped { code: FailureCode, message: String, details: Box<Details> },
    /// The guest refuses, in its own words.
    Refused(types::Error),
    /// A hook's veto.
    Rejected(types::Rejection),
    /// Something that the guest read has changed: it must run again.
    Stale,
    /// The host itself failed.
    Host(Error),
}

/// A failure as the tenant's administrator is told of it.
#[derive(Clone, Debug)]
pub(super) struct Details {
    pub(super) description: String,
    /// The guest's functions, the innermost first; empty if it was not in one of them.
    pub(super) backtrace: Vec<String>,
}

impl Details {
    /// A failure outside of the guest's code.
    pub(super) fn plain(description: &str) -> Box<Self> {
        let description = clean(description, DESCRIPTION_BYTES_MAX);
        Box::new(Self { description, backtrace: Vec::new() })
    }

    fn of(error: &wasmtime::Error) -> Box<Self> {
        Box::new(Self { backtrace: frames(error), ..*Self::plain(&error.root_cause().to_string()) })
    }

    /// All of it as a text of several lines.
    pub(super) fn to_text(&self) -> String {
        let Self { description, backtrace } = self;
        backtrace.iter().fold(description.clone(), |text, frame| text + "\n  in " + frame)
    }
}

/// Runs `call` in a fresh instance. The invocation comes back with what it has
/// read, buffered, logged and used.
pub(super) async fn invoke(
    loaded: &Loaded,
    invocation: Invocation,
    call: &Call,
) -> (Invocation, Result<Answer, Failure>) {
    let (mut invocation, left, outcome) = drive(loaded, invocation, call).await;
    // What its callees have burnt is theirs.
    let burnt = invocation.budget.fuel.saturating_sub(left);
    invocation.usage.fuel = burnt.saturating_sub(invocation.called_fuel);
    let objection = outcome.as_ref().ok().and_then(|answer| acceptance::objection(&invocation, call, answer));
    super::recorder::finish(&mut invocation, call, (&outcome, objection.as_ref()));
    (invocation, objection.map_or(outcome, |code| Err(acceptance::failure(code))))
}

/// Runs `call` in a fresh instance with `data`, which comes back with the fuel that is left.
pub(super) async fn drive<T: Running>(
    loaded: &Loaded<T>,
    data: T,
    call: &Call,
) -> (T, u64, Result<Answer, Failure>) {
    let budget = data.budget();
    let mut store = Store::new(loaded.pre.engine(), data);
    let outcome = match prepare(&mut store, budget.fuel) {
        Ok(()) => tokio::time::timeout(budget.wall, run(&mut store, loaded, call)).await,
        Err(error) => Ok(Err(Failure::Host(super::engine::internal(error)))),
    };
    let left = store.get_fuel().unwrap_or(0);
    let outcome = outcome.unwrap_or_else(|_elapsed| {
        let ms = budget.wall.as_millis().to_string();
        let message = format!("it took longer than {ms} ms");
        Err(Failure::Stopped {
            code: FailureCode::Deadline { ms },
            details: Details::plain(&message),
            message,
        })
    });
    // The store goes away with its instance, whatever state that is in.
    let mut data = store.into_data();
    let outcome = match data.end_line() {
        Ok(()) => outcome,
        Err(error) => Err(classify(&budget, None, &error)),
    };
    (data, left, outcome)
}

fn prepare<T: Running>(store: &mut Store<T>, fuel: u64) -> wasmtime::Result<()> {
    store.limiter(|data| data.limits());
    store.set_fuel(fuel)?;
    store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
    store.set_max_component_handles(HANDLES_MAX);
    store.epoch_deadline_callback(|mut store| {
        if !store.data_mut().tick() {
            return Ok(UpdateDeadline::Interrupt);
        }
        // Others of this thread get their turn at every tick.
        Ok(UpdateDeadline::Yield(1))
    });
    store.set_epoch_deadline(1);
    Ok(())
}

async fn run<T: Running>(store: &mut Store<T>, loaded: &Loaded<T>, call: &Call) -> Result<Answer, Failure> {
    match enter(store, loaded, call).await {
        Ok(answer) => answer,
        Err(error) => {
            let budget = store.data().budget();
            store.data_mut().broke_off(&error);
            let met = store.data_mut().limits().met;
            Err(classify(&budget, met, &error))
        }
    }
}

macro_rules! guest {
    ($store:ident, $loaded:ident, $point:ident) => {{
        let indices = $loaded.$point.as_ref().ok_or_else(|| {
            wasmtime::format_err!(concat!("the plugin does not export ", stringify!($point)))
        })?;
        let instance = $loaded.pre.instantiate_async(&mut *$store).await?;
        indices.load(&mut *$store, &instance)?
    }};
}

async fn enter<T: Running>(
    store: &mut Store<T>,
    loaded: &Loaded<T>,
    call: &Call,
) -> wasmtime::Result<Result<Answer, Failure>> {
    Ok(match call {
        Call::Enable => {
            let guest = guest!(store, loaded, lifecycle);
            guest.call_enable(store).await?.map(|()| Answer::Done).map_err(refused)
        }
        Call::Disable => {
            let guest = guest!(store, loaded, lifecycle);
            guest.call_disable(store).await?.map(|()| Answer::Done).map_err(refused)
        }
        Call::Migrate { from, cursor } => {
            let guest = guest!(store, loaded, lifecycle);
            guest.call_migrate(store, from, cursor.as_deref()).await?.map(Answer::Cursor).map_err(refused)
        }
        Call::Handle(events) => {
            let guest = guest!(store, loaded, events);
            guest.call_handle(store, events).await?.map(|()| Answer::Done).map_err(refused)
        }
        Call::BeforeSave(save) => {
            let guest = guest!(store, loaded, hooks);
            guest.call_before_save(store, save).await?.map(Answer::Patch).map_err(Failure::Rejected)
        }
        Call::Act { action, target, input } => {
            let guest = guest!(store, loaded, actions);
            guest.call_run(store, action, target, input).await?.map(Answer::Outcome).map_err(refused)
        }
        Call::Render { slot, target } => {
            let guest = guest!(store, loaded, panels);
            guest.call_render(store, slot, target).await?.map(Answer::Blocks).map_err(refused)
        }
        Call::Job { job, due_at, cursor } => {
            let guest = guest!(store, loaded, jobs);
            let next = guest.call_run(store, job, *due_at, cursor.as_deref()).await?;
            next.map(Answer::Cursor).map_err(refused)
        }
        Call::Score { scoring, slice } => {
            let guest = guest!(store, loaded, scoring);
            guest.call_score(store, scoring, slice).await?.map(Answer::Scores).map_err(refused)
        }
        Call::Route(request) => {
            let guest = guest!(store, loaded, routes);
            guest.call_handle(store, request).await?.map(Answer::Response).map_err(refused)
        }
        Call::Step(step) => {
            let guest = guest!(store, loaded, steps);
            guest.call_run(store, step).await?.map(Answer::Step).map_err(refused)
        }
        Call::Function(request) => {
            let guest = guest!(store, loaded, functions);
            guest.call_call(store, request).await?.map(Answer::Output).map_err(refused)
        }
    })
}

/// A guest's own error. One that has what it needs refuses; one that has not has
/// failed, and its health shows it.
fn refused(told: types::Error) -> Failure {
    let types::Error::Unavailable(what) = told else { return Failure::Refused(told) };
    let reason = clean(&what, 500);
    let code = FailureCode::Unavailable { reason: reason.clone() };
    Failure::Stopped { message: texts::say(Locale::En, &code), code, details: Details::plain(&reason) }
}

/// What a failed call means. Every kind has a code that partners may rely on.
fn classify(budget: &Budget, met: Option<&'static str>, error: &wasmtime::Error) -> Failure {
    match error.downcast_ref::<Abort>() {
        Some(Abort::Stale) => return Failure::Stale,
        Some(Abort::Host(error)) => return Failure::Host(error.clone()),
        Some(Abort::Callee { plugin, reason }) => {
            let code = FailureCode::Callee { plugin: plugin.clone(), reason: reason.clone() };
            return Failure::Stopped {
                message: texts::say(Locale::En, &code),
                code,
                details: Details::of(error),
            };
        }
        Some(Abort::Misuse(_)) | None => {}
    }
    let reason = || clean(&error.root_cause().to_string(), 500);
    let code = match (error.downcast_ref::<Trap>(), met) {
        (_, Some(what)) => FailureCode::MemoryGrowth { what: what.to_owned() },
        (Some(Trap::OutOfFuel), None) => FailureCode::Fuel { units: budget.fuel.to_string() },
        (Some(Trap::Interrupt), None) => FailureCode::Deadline { ms: (budget.ticks * 10).to_string() },
        (Some(Trap::StackOverflow), None) => FailureCode::Stack,
        (Some(trap), None) => FailureCode::Trap { reason: trap.to_string() },
        (None, None) if error.downcast_ref::<Abort>().is_some() => FailureCode::Misuse { reason: reason() },
        (None, None) if format!("{error:#}").contains("hostcalls") => {
            FailureCode::Transfer { mib: (HOSTCALL_BYTES_MAX >> 20).to_string() }
        }
        (None, None) => FailureCode::Trap { reason: reason() },
    };
    Failure::Stopped { message: texts::say(Locale::En, &code), code, details: Details::of(error) }
}
