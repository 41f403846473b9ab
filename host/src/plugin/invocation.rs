//! What one invocation is: its rights, its budget, and all that it has done so far.
//!
//! This is the data of its store; host functions get nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::ResourceLimiter;

use super::PluginHost;
use super::buffer::Buffer;
use super::engine::{CORE_INSTANCES_MAX, MEMORIES_MAX, MEMORY_BYTES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX};
use super::gate::{Gate, Refused};
use super::registry::Enabled;
use crate::clock::Timestamp;
use crate::domain::actor::Actor;
use crate::domain::point::Point;
use crate::ops::Core;

/// Lines of one invocation that are kept.
pub(super) const LOG_LINES_MAX: usize = 100;
/// Bytes of documents and values that one invocation moves, both ways together.
const BYTES_MAX: usize = 32 << 20;
/// Bytes of one line that are kept.
pub(super) const LOG_LINE_BYTES_MAX: usize = 1_024;

/// What an invocation may use. A fuel unit is about one WebAssembly instruction;
/// the same run always burns the same fuel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) fuel: u64,
    /// Epoch ticks of 10 ms on the CPU.
    pub(super) ticks: u64,
    /// With waiting for the database.
    pub(super) wall: Duration,
    pub(super) calls: u32,
    pub(super) rows_read: u32,
    pub(super) rows_written: u32,
    /// Requests to other servers.
    pub(super) requests: u32,
    /// Bytes of documents and values, read and written together.
    pub(super) bytes: usize,
}

impl Point {
    /// The budget for `items` inputs: a batch of events gets more than one event.
    pub(super) fn budget(self, items: u32) -> Budget {
        let (fuel, ticks, wall_ms, calls, rows_read, rows_written) = match self {
            Self::Hooks => (11_000_000, 10, 1_000, 20, 500, 0),
            Self::Panels => (100_000_000, 50, 2_000, 50, 2_000, 0),
            Self::Scoring => (200_000_000, 100, 5_000, 50, 2_000, 0),
            // A function has what is left of its caller's budget, and no more than an action.
            Self::Actions | Self::Routes | Self::Steps | Self::Functions => {
                (500_000_000, 200, 10_000, 200, 5_000, 2_000)
            }
            Self::Events => (200_000_000, 300, 20_000, 200, 20_000, 5_000),
            Self::Lifecycle | Self::Jobs => (4_000_000_000, 1_000, 30_000, 1_000, 20_000, 10_000),
        };
        let requests = match self {
            Self::Hooks | Self::Panels | Self::Scoring => 0,
            Self::Actions | Self::Routes | Self::Steps | Self::Functions => 20,
            Self::Events => 50,
            Self::Lifecycle | Self::Jobs => 200,
        };
        let more = if self == Self::Events { items } else { 0 };
        Budget {
            fuel: fuel + u64::from(more) * 20_000_000,
            ticks: ticks + u64::from(more),
            wall: Duration::from_millis(wall_ms),
            calls: calls + more * 20,
            rows_read,
            rows_written,
            requests: requests + more,
            bytes: BYTES_MAX,
        }
    }
}

/// What an invocation has used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) fuel: u64,
    /// From its beginning to its end, waiting included.
    pub(super) micros: u64,
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
}

/// The lines of one invocation.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) lines: Vec<Line>,
    pub(super) dropped: u32,
}

impl Log {
    /// Keeps a line, cut, on one line of text, and without control characters.
    pub(super) fn push(&mut self, level: &'static str, code: Option<&'static str>, message: &str) {
        if self.lines.len() >= LOG_LINES_MAX {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        self.lines.push(Line { level, code, message: clean(message, LOG_LINE_BYTES_MAX) });
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
    pub(super) budget: Budget,
    pub(super) usage: Usage,
    pub(super) attempt: u32,
    pub(super) now: Timestamp,
    pub(super) seed: u64,
    pub(super) buffer: Buffer,
    pub(super) log: Log,
    pub(super) limits: Limits,
    pub(super) ticks_left: u64,
    /// When its time on the wall is over.
    until: Instant,
    /// What its callees have burnt of its fuel.
    pub(super) called_fuel: u64,
    denied: BTreeMap<Refused, u64>,
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
    /// Inputs, such as the events of a batch.
    pub(super) items: u32,
    pub(super) attempt: u32,
    pub(super) now: Timestamp,
    pub(super) seed: u64,
}

impl Beginning {
    /// The same on behalf of a person or token, whose rights also bound the plugins that it calls.
    pub(super) fn of_user(mut self, actor: &Actor) -> Self {
        self.origin = Some(actor.clone());
        self
    }
}

impl Invocation {
    pub(super) fn new(beginning: &Beginning, attempt: u32) -> Self {
        let Beginning { core, gate, host, enabled, actor, origin, point, may_write, items, .. } = beginning;
        let Beginning { attempt: first, now, seed, .. } = beginning;
        let budget = point.budget(*items);
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
            budget,
            usage: Usage::default(),
            attempt: first + attempt,
            now: *now,
            seed: *seed,
            buffer: Buffer::default(),
            log: Log::default(),
            limits: Limits::default(),
            ticks_left: budget.ticks,
            until: Instant::now() + budget.wall,
            called_fuel: 0,
            denied: BTreeMap::new(),
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
        let own = Point::Functions.budget(1);
        let budget = Budget {
            fuel: own.fuel.min(fuel),
            ticks: own.ticks.min(caller.ticks_left),
            wall: own.wall.min(caller.wall_left()),
            ..caller.budget
        };
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
            budget,
            usage: Usage { fuel: 0, ..caller.usage },
            attempt: caller.attempt,
            now: caller.now,
            // Another one for each call, and the same again when the chain runs again.
            seed: caller
                .seed
                .wrapping_add(u64::from(caller.usage.calls))
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1),
            buffer,
            log: Log::default(),
            limits: Limits::default(),
            ticks_left: budget.ticks,
            until: Instant::now() + budget.wall,
            called_fuel: 0,
            denied: BTreeMap::new(),
        }
    }

    /// Counts what a callee has used as used by this invocation too.
    pub(super) fn count_callee(&mut self, callee: &Self) {
        self.usage = Usage { fuel: self.usage.fuel, ..callee.usage };
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

    /// What was refused, and how often.
    pub(super) fn denied(&self) -> impl Iterator<Item = (Refused, u64)> {
        self.denied.iter().map(|(refused, times)| (*refused, *times))
    }
}

/// What a guest may allocate; remembers why it was stopped.
#[derive(Debug, Default)]
pub(super) struct Limits {
    /// The limit that was met, for the message.
    pub(super) met: Option<&'static str>,
}

impl Limits {
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
        self.check(desired, MEMORY_BYTES_MAX, "memory")
    }

    fn table_growing(&mut self, _now: usize, desired: usize, _most: Option<usize>) -> wasmtime::Result<bool> {
        self.check(desired, TABLE_ELEMENTS_MAX, "table")
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}
