//! What one invocation is: its rights, its budget, and all that it has done so far.
//!
//! This is the data of its store; host functions get nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::ResourceLimiter;

use super::PluginHost;
use super::budget::Budget;
use super::buffer::Buffer;
use super::call::Running;
use super::engine::Shape;
use super::gate::{Gate, Refused};
use super::host::imports::PRINT;
use super::printed::Printed;
use super::recorder::{Keep, Tape};
use super::registry::Enabled;
use crate::clock::Timestamp;
use crate::domain::actor::Actor;
use crate::domain::manifest::Tier;
use crate::domain::point::Point;
use crate::ops::Core;
use crate::ops::plugins::rates::RateReached;

/// Lines of one invocation that are kept, unless its budget says otherwise.
pub(super) const LOG_LINES_MAX: u32 = 100;
/// Bytes of one line that are kept.
pub(super) const LOG_LINE_BYTES_MAX: usize = 1_024;

/// What an invocation has used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) fuel: u64,
    /// From its beginning to its end, waiting included.
    pub(super) micros: u64,
    /// What it might have burnt.
    pub(super) fuel_budget: u64,
    pub(super) calls: u32,
    pub(super) rows_read: u32,
    pub(super) rows_written: u32,
    pub(super) requests: u32,
    pub(super) bytes: usize,
}

/// A line that the guest, or the host about it, has written.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) level: &'static str,
    pub(super) code: Option<&'static str>,
    pub(super) message: String,
    /// The guest's functions of a failure, the innermost first.
    pub(super) backtrace: Vec<String>,
}

impl Line {
    /// What the host says about a run that failed.
    pub(super) const fn failure(code: &'static str, message: String, backtrace: Vec<String>) -> Self {
        Self { level: "failure", code: Some(code), message, backtrace }
    }
}

/// The lines of one invocation.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) lines: Vec<Line>,
    pub(super) dropped: u32,
    lines_max: usize,
}

impl Default for Log {
    fn default() -> Self {
        Self::of(LOG_LINES_MAX)
    }
}

impl Log {
    fn of(lines_max: u32) -> Self {
        let lines_max = usize::try_from(lines_max).unwrap_or(usize::MAX);
        Self { lines: Vec::new(), dropped: 0, lines_max }
    }

    /// Keeps a line, cut, on one line of text, and without control characters.
    pub(super) fn push(&mut self, level: &'static str, code: Option<&'static str>, message: &str) {
        if self.lines.len() >= self.lines_max {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let message = clean(message, LOG_LINE_BYTES_MAX);
        self.lines.push(Line { level, code, message, backtrace: Vec::new() });
    }
}

/// `text` cut at `most` bytes, with control characters but line breaks made visible as spaces.
pub(super) fn clean(text: &str, most: usize) -> String {
    let end = text.floor_char_boundary(most.min(text.len()));
    let kept = text.get(..end).unwrap_or_default();
    kept.chars().map(|letter| if letter.is_control() && letter != '\n' { ' ' } else { letter }).collect()
}

/// The data of an invocation's store.
pub(super) struct Invocation {
    pub(super) core: Arc<Core>,
    pub(super) gate: Arc<Gate>,
    pub(super) host: Arc<PluginHost>,
    pub(super) enabled: Arc<Enabled>,
    /// With the rights that are left: the tenant's grants, and the acting user's permissions.
    pub(super) actor: Actor,
    /// Who acts, with all rights; absent if the plugin acts of its own accord.
    pub(super) origin: Option<Actor>,
    /// The plugins that call one another, this one the last.
    pub(super) chain: Vec<Arc<str>>,
    pub(super) point: Point,
    /// Whether writing calls are allowed.
    pub(super) may_write: bool,
    /// Whether its effects are discarded: it sends nothing, and uses nothing of others' rates.
    pub(super) is_shadow: bool,
    pub(super) budget: Budget,
    pub(super) usage: Usage,
    pub(super) attempt: u32,
    pub(super) now: Timestamp,
    pub(super) seed: u64,
    pub(super) buffer: Buffer,
    pub(super) log: Log,
    /// What of it is kept to run it again, if anything is.
    pub(super) tape: Option<Box<Tape>>,
    pub(super) limits: Limits,
    /// What it has written to its standard output or error since the last line break.
    printed: Printed,
    pub(super) ticks_left: u64,
    /// When its time on the wall is over.
    until: Instant,
    /// What its callees have burnt of its fuel.
    pub(super) called_fuel: u64,
    denied: BTreeMap<Refused, u64>,
    /// Rates that it has used up, of which somebody is to be told; at most one for each grant.
    pub(super) reached: Vec<RateReached>,
}

/// With what an invocation begins.
#[derive(Clone)]
pub(super) struct Beginning {
    pub(super) core: Arc<Core>,
    pub(super) gate: Arc<Gate>,
    pub(super) host: Arc<PluginHost>,
    pub(super) enabled: Arc<Enabled>,
    pub(super) actor: Actor,
    /// Who acts, with all rights; absent if the plugin acts of its own accord.
    pub(super) origin: Option<Actor>,
    pub(super) point: Point,
    /// Whether writing calls are allowed: those of the point, or less.
    pub(super) may_write: bool,
    /// Whether its effects are discarded, so that it may have none that cannot be.
    pub(super) is_shadow: bool,
    /// Inputs, such as the events of a batch.
    pub(super) items: u32,
    pub(super) attempt: u32,
    pub(super) now: Timestamp,
    pub(super) seed: u64,
    /// Whether its runs are recorded.
    pub(super) keep: Option<Keep>,
}

impl Beginning {
    /// The same on behalf of a person or token, whose rights also bound the plugins that it calls.
    pub(super) fn of_user(mut self, actor: &Actor) -> Self {
        self.origin = Some(actor.clone());
        self
    }
}

impl Running for Invocation {
    fn budget(&self) -> Budget {
        self.budget
    }

    fn limits(&mut self) -> &mut Limits {
        &mut self.limits
    }

    fn tick(&mut self) -> bool {
        self.ticks_left = self.ticks_left.saturating_sub(1);
        self.ticks_left > 0
    }

    /// Puts what it has written since the last line break into the log.
    fn end_line(&mut self) -> wasmtime::Result<()> {
        std::mem::take(&mut self.printed).end(&mut |level, line| self.say(level, line))
    }
}

impl Invocation {
    pub(super) fn new(beginning: &Beginning, attempt: u32) -> Self {
        let Beginning { core, gate, host, enabled, actor, origin, point, may_write, items, .. } = beginning;
        let Beginning { attempt: first, now, seed, keep, is_shadow, .. } = beginning;
        let budget = Budget::of_plugin(enabled, *point, *items, core);
        Self {
            core: Arc::clone(core),
            gate: Arc::clone(gate),
            host: Arc::clone(host),
            enabled: Arc::clone(enabled),
            actor: actor.clone(),
            origin: origin.clone(),
            chain: vec![Arc::clone(&enabled.plugin)],
            point: *point,
            may_write: *may_write,
            is_shadow: *is_shadow,
            budget,
            usage: Usage { fuel_budget: budget.fuel, ..Usage::default() },
            attempt: first + attempt,
            now: *now,
            seed: *seed,
            buffer: Buffer::default(),
            log: Log::of(budget.log_lines),
            tape: keep.map(|keep| Tape::new(keep, *seed)),
            limits: Limits::of(enabled.facts.manifest.tier, &budget),
            printed: Printed::default(),
            ticks_left: budget.ticks,
            until: Instant::now() + budget.wall,
            called_fuel: 0,
            denied: BTreeMap::new(),
            reached: Vec::new(),
        }
    }

    /// Notes how long it has run, with waiting.
    pub(super) fn took(&mut self, time: Duration) {
        self.usage.micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    }

    /// What is left of its time, with waiting.
    pub(super) fn wall_left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// The invocation of a function that `caller` calls: with what is left of its budget, and at
    /// most with that of a function.
    pub(super) fn of_callee(
        caller: &Self,
        (enabled, actor): (Arc<Enabled>, Actor),
        buffer: Buffer,
        fuel: u64,
    ) -> Self {
        let own = Budget::of_plugin(&enabled, Point::Functions, 1, &caller.core);
        let budget = Budget {
            fuel: own.fuel.min(fuel),
            ticks: own.ticks.min(caller.ticks_left),
            wall: own.wall.min(caller.wall_left()),
            memory: own.memory,
            log_lines: own.log_lines,
            ..caller.budget
        };
        let limits = Limits::of(enabled.facts.manifest.tier, &budget);
        let is_real = !caller.is_shadow;
        let keep = is_real.then(|| caller.host.recorder.decide(&enabled, Point::Functions)).flatten();
        // Another one for each call, and the same again when the chain runs again.
        let seed = caller
            .seed
            .wrapping_add(u64::from(caller.usage.calls))
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let mut chain = caller.chain.clone();
        chain.push(Arc::clone(&enabled.plugin));
        Self {
            core: Arc::clone(&caller.core),
            gate: Arc::clone(&caller.gate),
            host: Arc::clone(&caller.host),
            enabled,
            actor,
            origin: caller.origin.clone(),
            chain,
            point: Point::Functions,
            may_write: caller.may_write,
            is_shadow: caller.is_shadow,
            budget,
            usage: Usage { fuel: 0, fuel_budget: budget.fuel, ..caller.usage },
            attempt: caller.attempt,
            now: caller.now,
            seed,
            buffer,
            log: Log::of(budget.log_lines),
            tape: keep.map(|keep| Tape::new(keep, seed)),
            limits,
            printed: Printed::default(),
            ticks_left: budget.ticks,
            until: Instant::now() + budget.wall,
            called_fuel: 0,
            denied: BTreeMap::new(),
            reached: Vec::new(),
        }
    }

    /// Counts what a callee has used as used by this invocation too.
    pub(super) fn count_callee(&mut self, callee: &Self) {
        let Usage { fuel, fuel_budget, micros, .. } = self.usage;
        self.usage = Usage { fuel, fuel_budget, micros, ..callee.usage };
        self.ticks_left =
            self.ticks_left.saturating_sub(callee.budget.ticks.saturating_sub(callee.ticks_left));
        self.called_fuel =
            self.called_fuel.saturating_add(callee.usage.fuel).saturating_add(callee.called_fuel);
    }

    /// Notes a refused right for the tenant's administrator: every time in the count, and once in
    /// the log, with what to grant.
    pub(super) fn note_denied(&mut self, refused: Refused, why: &str) {
        let times = self.denied.entry(refused).or_default();
        *times += 1;
        if *times == 1 {
            let message = format!("{} was refused: {why}", refused.1);
            self.log.push("warn", Some("denied"), &message);
        }
    }

    /// Takes what it writes to an output of a level: each line becomes one of the log.
    pub(super) fn print(&mut self, level: &'static str, text: &[u8]) -> wasmtime::Result<()> {
        let mut printed = std::mem::take(&mut self.printed);
        let taken = printed.take(level, text, |level, line| self.say(level, line));
        self.printed = printed;
        taken
    }

    fn say(&mut self, level: &'static str, line: &str) -> wasmtime::Result<()> {
        let heard = self.hear(PRINT, || (level, line));
        self.log.push(level, None, line);
        self.note(heard, &Ok(()));
        Ok(())
    }

    /// What was refused, and how often.
    pub(super) fn denied(&self) -> impl Iterator<Item = (Refused, u64)> {
        self.denied.iter().map(|(refused, times)| (*refused, *times))
    }
}

/// What a guest may allocate; remembers why it was stopped.
#[derive(Debug)]
pub(super) struct Limits {
    shape: &'static Shape,
    /// Bytes of each linear memory.
    memory: usize,
    /// The limit that was met, for the message.
    pub(super) met: Option<&'static str>,
}

impl Limits {
    pub(super) fn of(tier: Tier, budget: &Budget) -> Self {
        Self { shape: Shape::of(tier), memory: budget.memory, met: None }
    }

    fn check(&mut self, desired: usize, most: usize, what: &'static str) -> wasmtime::Result<bool> {
        if desired <= most {
            return Ok(true);
        }
        self.met = Some(what);
        Err(wasmtime::format_err!("{what} may not grow beyond {most}"))
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        _now: usize,
        desired: usize,
        _most: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.check(desired, self.memory, "memory")
    }

    fn table_growing(&mut self, _now: usize, desired: usize, _most: Option<usize>) -> wasmtime::Result<bool> {
        self.check(desired, self.shape.table_elements, "table")
    }

    fn instances(&self) -> usize {
        self.shape.core_instances
    }

    fn tables(&self) -> usize {
        self.shape.tables
    }

    fn memories(&self) -> usize {
        self.shape.memories
    }
}
