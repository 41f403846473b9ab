//! What one invocation may use: the host's default for its extension point, the manifest's wish
//! instead of it, and above both the ceilings of the operator and of the host.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::engine::{Shape, TICK};
use super::invocation::LOG_LINES_MAX;
use super::registry::Enabled;
use crate::domain::manifest::{BudgetWish, Manifest, Tier};
use crate::domain::point::Point;
use crate::ops::Core;
use crate::ops::plugins::status::PointLimit;

/// Bytes of documents and values that one invocation moves, both ways together.
const BYTES_DEFAULT: usize = 32 << 20;
/// What no manifest and no operator goes beyond. Time has no wish, so that a great deal of fuel does not
/// hold up a save.
const FUEL_MAX: u64 = 20_000_000_000;
const CALLS_MAX: u32 = 10_000;
const ROWS_MAX: u32 = 100_000;
const BYTES_MAX: usize = 256 << 20;
const REQUESTS_MAX: u32 = 1_000;
const LOG_LINES_CEILING: u32 = 1_000;

/// Limits of an invocation, of which seven can be wished for.
const LIMITS: usize = 11;

/// What an invocation may use. A fuel unit is about one WebAssembly instruction;
/// the same run always burns the same fuel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Budget {
    pub(super) fuel: u64,
    /// Epoch ticks of 10 ms on the CPU.
    pub(super) ticks: u64,
    /// With waiting for the database.
    pub(super) wall: Duration,
    /// Bytes of each linear memory.
    pub(super) memory: usize,
    pub(super) calls: u32,
    pub(super) rows_read: u32,
    pub(super) rows_written: u32,
    /// Both together.
    pub(super) rows: u32,
    /// Requests to other servers.
    pub(super) requests: u32,
    /// Bytes of documents and values, read and written together.
    pub(super) bytes: usize,
    /// Lines of the log that are kept.
    pub(super) log_lines: u32,
}

impl Budget {
    /// The budget of a tenant's plugin for `items` inputs at an extension point.
    pub(super) fn of_plugin(enabled: &Enabled, point: Point, items: u32, core: &Core) -> Self {
        let manifest = &enabled.facts.manifest;
        Self::of((manifest.tier, point), items, manifest.budgets.get(&point), &core.ceilings)
    }

    /// The budget for `items` inputs at an extension point: a batch of events gets more than one event.
    fn of(
        (tier, point): (Tier, Point),
        items: u32,
        wish: Option<&BudgetWish>,
        ceilings: &BudgetWish,
    ) -> Self {
        let mut budget = Self::default_of(point).in_tier(tier);
        if let Some(wish) = wish {
            budget.grant(wish);
        }
        if point == Point::Events {
            let times = slowness(tier);
            budget.fuel = budget.fuel.saturating_add(u64::from(items) * 20_000_000 * times);
            budget.ticks += u64::from(items) * times;
            budget.calls = budget.calls.saturating_add(items.saturating_mul(20));
            budget.requests = budget.requests.saturating_add(items);
        }
        budget.lower(ceilings, Shape::of(tier).memory_bytes);
        budget
    }

    /// What limits a plugin at an extension point, and who says so, whether it has ever run or not.
    pub(super) fn explain(manifest: &Manifest, point: Point, ceilings: &BudgetWish) -> Vec<PointLimit> {
        let key = (manifest.tier, point);
        let wish = manifest.budgets.get(&point);
        let numbers =
            |wish: Option<&BudgetWish>, ceilings: &BudgetWish| Self::of(key, 1, wish, ceilings).numbers();
        let defaults = numbers(None, &BudgetWish::default());
        let effective = numbers(wish, ceilings);
        let asked = wish.map(wished).unwrap_or_default().into_iter().zip(wished(ceilings));
        let limits = defaults.into_iter().zip(effective).zip(asked);
        let limit = |(((limit, default), (_, effective)), (wish, ceiling))| PointLimit {
            limit,
            effective,
            default,
            wish,
            ceiling,
        };
        limits.map(limit).collect()
    }

    /// All of it with names; those that can be wished for come first, in the order of [`wished`].
    fn numbers(&self) -> [(&'static str, u64); LIMITS] {
        let Self {
            fuel,
            ticks,
            wall,
            memory,
            calls,
            rows_read,
            rows_written,
            rows,
            requests,
            bytes,
            log_lines,
        } = *self;
        let many = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        [
            ("fuel", fuel),
            ("memory_bytes", many(memory)),
            ("calls", calls.into()),
            ("rows", rows.into()),
            ("bytes", many(bytes)),
            ("outbound_requests", requests.into()),
            ("log_lines", log_lines.into()),
            ("rows_read", rows_read.into()),
            ("rows_written", rows_written.into()),
            ("cpu_ms", ms(TICK).saturating_mul(ticks)),
            ("wall_ms", ms(wall)),
        ]
    }

    fn default_of(point: Point) -> Self {
        let (fuel, ticks, wall_ms, calls, rows_read, rows_written) = match point {
            Point::Hooks => (11_000_000, 10, 1_000, 20, 500, 0),
            Point::Panels => (100_000_000, 50, 2_000, 50, 2_000, 0),
            Point::Scoring => (200_000_000, 100, 5_000, 50, 2_000, 0),
            // A function has what is left of its caller's budget, and no more than an action.
            Point::Actions | Point::Routes | Point::Steps | Point::Functions => {
                (500_000_000, 200, 10_000, 200, 5_000, 2_000)
            }
            Point::Events => (200_000_000, 300, 20_000, 200, 20_000, 5_000),
            Point::Lifecycle | Point::Jobs => (4_000_000_000, 1_000, 30_000, 1_000, 20_000, 10_000),
        };
        let requests = match point {
            Point::Hooks | Point::Panels | Point::Scoring => 0,
            Point::Actions | Point::Routes | Point::Steps | Point::Functions => 20,
            Point::Events => 50,
            Point::Lifecycle | Point::Jobs => 200,
        };
        Self {
            fuel,
            ticks,
            wall: Duration::from_millis(wall_ms),
            memory: Shape::of(Tier::Compiled).memory_bytes,
            calls,
            rows_read,
            rows_written,
            rows: rows_read + rows_written,
            requests,
            bytes: BYTES_DEFAULT,
            log_lines: LOG_LINES_MAX,
        }
    }

    /// The same for what takes more instructions, and memory, for everything that it does.
    fn in_tier(mut self, tier: Tier) -> Self {
        self.fuel = self.fuel.saturating_mul(slowness(tier));
        self.ticks = self.ticks.saturating_mul(slowness(tier));
        self.memory = Shape::of(tier).memory_bytes;
        self
    }

    /// Takes what a manifest wishes instead of the defaults. Where nothing may be written or sent, no
    /// wish changes that.
    fn grant(&mut self, wish: &BudgetWish) {
        let BudgetWish { fuel, memory_bytes, calls, rows, bytes, outbound_requests, log_lines } = *wish;
        self.fuel = fuel.unwrap_or(self.fuel);
        self.memory = memory_bytes.map_or(self.memory, whole);
        self.calls = calls.unwrap_or(self.calls);
        if let Some(rows) = rows {
            self.rows = rows;
            self.rows_read = rows;
            self.rows_written = if self.rows_written == 0 { 0 } else { rows };
        }
        self.bytes = bytes.map_or(self.bytes, whole);
        if self.requests > 0 {
            self.requests = outbound_requests.unwrap_or(self.requests);
        }
        self.log_lines = log_lines.unwrap_or(self.log_lines);
    }

    /// Stays below the ceilings.
    fn lower(&mut self, ceilings: &BudgetWish, memory_max: usize) {
        let BudgetWish { fuel, memory_bytes, calls, rows, bytes, outbound_requests, log_lines } = *ceilings;
        let rows_max = rows.unwrap_or(ROWS_MAX).min(ROWS_MAX);
        self.fuel = self.fuel.min(fuel.unwrap_or(FUEL_MAX)).min(FUEL_MAX);
        self.memory = self.memory.min(memory_bytes.map_or(memory_max, whole)).min(memory_max);
        self.calls = self.calls.min(calls.unwrap_or(CALLS_MAX)).min(CALLS_MAX);
        self.rows = self.rows.min(rows_max);
        self.rows_read = self.rows_read.min(rows_max);
        self.rows_written = self.rows_written.min(rows_max);
        self.bytes = self.bytes.min(bytes.map_or(BYTES_MAX, whole)).min(BYTES_MAX);
        self.requests = self.requests.min(outbound_requests.unwrap_or(REQUESTS_MAX)).min(REQUESTS_MAX);
        self.log_lines = self.log_lines.min(log_lines.unwrap_or(LOG_LINES_CEILING)).min(LOG_LINES_CEILING);
    }
}

/// What a manifest wishes or an operator allows, in the order of [`Budget::numbers`].
fn wished(wish: &BudgetWish) -> [Option<u64>; LIMITS] {
    let BudgetWish { fuel, memory_bytes, calls, rows, bytes, outbound_requests, log_lines } = *wish;
    let whole = |count: Option<u32>| count.map(u64::from);
    let (calls, rows, log_lines) = (whole(calls), whole(rows), whole(log_lines));
    let requests = whole(outbound_requests);
    [fuel, memory_bytes, calls, rows, bytes, requests, log_lines, None, None, None, None]
}

/// How much more an interpreter is given for the same work; its time on the wall is everybody's.
const fn slowness(tier: Tier) -> u64 {
    match tier {
        Tier::Compiled => 1,
        Tier::Interpreter => 5,
    }
}

fn whole(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: BudgetWish = BudgetWish {
        fuel: None,
        memory_bytes: None,
        calls: None,
        rows: None,
        bytes: None,
        outbound_requests: None,
        log_lines: None,
    };

    #[test]
    fn a_wish_replaces_the_default_and_a_ceiling_both() {
        let plain = Budget::of((Tier::Compiled, Point::Jobs), 1, None, &NONE);
        let wish =
            BudgetWish { fuel: Some(8_000_000_000), calls: Some(7), memory_bytes: Some(1 << 20), ..NONE };
        let wished = Budget::of((Tier::Compiled, Point::Jobs), 1, Some(&wish), &NONE);
        assert_eq!((wished.fuel, wished.calls, wished.memory), (8_000_000_000, 7, 1 << 20));
        assert_eq!((wished.rows, wished.requests, wished.wall), (plain.rows, plain.requests, plain.wall));
        let ceilings = BudgetWish { fuel: Some(5_000_000_000), calls: Some(3), rows: Some(10), ..NONE };
        let capped = Budget::of((Tier::Compiled, Point::Jobs), 1, Some(&wish), &ceilings);
        assert_eq!((capped.fuel, capped.calls, capped.memory), (5_000_000_000, 3, 1 << 20));
        assert_eq!((capped.rows, capped.rows_read, capped.rows_written), (10, 10, 10));
        // A ceiling lowers what nobody has wished, too.
        assert_eq!(Budget::of((Tier::Compiled, Point::Jobs), 1, None, &ceilings).calls, 3);
    }

    #[test]
    fn limits_are_explained_with_who_says_so() {
        const WISHING: &str = r#"
            name = "wishing"
            version = "1.0.0"
            publisher = "example"
            description = { en = "p", zh-CN = "p" }
            jobs = [{ name = "j", schedule = { daily = "03:30" } }]
            budgets.jobs = { fuel = 8000000000, calls = 7 }
        "#;
        let wishing = Manifest::parse(WISHING).unwrap();
        let ceilings = BudgetWish { fuel: Some(5_000_000_000), rows: Some(10), ..NONE };
        let limits = Budget::explain(&wishing, Point::Jobs, &ceilings);
        let of = |name: &str| limits.iter().find(|limit| limit.limit == name).unwrap();
        let fuel = of("fuel");
        assert_eq!((fuel.effective, fuel.default), (5_000_000_000, 4_000_000_000));
        assert_eq!((fuel.wish, fuel.ceiling), (Some(8_000_000_000), Some(5_000_000_000)));
        assert_eq!((of("calls").effective, of("calls").wish, of("calls").ceiling), (7, Some(7), None));
        assert_eq!((of("rows").effective, of("rows").wish, of("rows").ceiling), (10, None, Some(10)));
        assert_eq!((of("rows_read").effective, of("wall_ms").effective), (10, 30_000));
        assert_eq!(limits.len(), LIMITS);
    }

    #[test]
    fn nobody_goes_beyond_the_hosts_own_ceilings() {
        let all = BudgetWish {
            fuel: Some(u64::MAX),
            memory_bytes: Some(u64::MAX),
            calls: Some(u32::MAX),
            rows: Some(u32::MAX),
            bytes: Some(u64::MAX),
            outbound_requests: Some(u32::MAX),
            log_lines: Some(u32::MAX),
        };
        let most = Budget::of((Tier::Compiled, Point::Events), u32::MAX, Some(&all), &all);
        assert_eq!(
            (most.fuel, most.memory, most.calls),
            (FUEL_MAX, Shape::of(Tier::Compiled).memory_bytes, CALLS_MAX)
        );
        assert_eq!((most.rows, most.bytes, most.requests), (ROWS_MAX, BYTES_MAX, REQUESTS_MAX));
        assert_eq!(most.log_lines, LOG_LINES_CEILING);
    }

    #[test]
    fn no_wish_lets_a_hook_write_or_send() {
        let wish = BudgetWish { rows: Some(9), outbound_requests: Some(9), ..NONE };
        for point in [Point::Hooks, Point::Panels, Point::Scoring] {
            let budget = Budget::of((Tier::Compiled, point), 1, Some(&wish), &NONE);
            assert_eq!((budget.rows_read, budget.rows_written, budget.requests), (9, 0, 0), "{point}");
        }
    }

    #[test]
    fn a_batch_of_events_gets_more_than_one() {
        let [one, many] =
            [1, 100].map(|items| Budget::of((Tier::Compiled, Point::Events), items, None, &NONE));
        assert!(many.fuel > one.fuel && many.calls > one.calls && many.requests > one.requests);
        assert_eq!(
            Budget::of((Tier::Compiled, Point::Actions), 100, None, &NONE),
            Budget::of((Tier::Compiled, Point::Actions), 1, None, &NONE)
        );
    }

    #[test]
    fn an_interpreter_gets_more_by_default_and_goes_no_further_than_its_own_ceiling() {
        let [compiled, interpreter] =
            [Tier::Compiled, Tier::Interpreter].map(|tier| Budget::of((tier, Point::Panels), 1, None, &NONE));
        assert!(interpreter.fuel > compiled.fuel && interpreter.ticks > compiled.ticks);
        assert!(interpreter.memory > compiled.memory);
        assert_eq!((interpreter.wall, interpreter.calls), (compiled.wall, compiled.calls));
        let wish = BudgetWish { memory_bytes: Some(u64::MAX), fuel: Some(u64::MAX), ..NONE };
        let most = Budget::of((Tier::Interpreter, Point::Panels), 1, Some(&wish), &NONE);
        assert_eq!((most.fuel, most.memory), (FUEL_MAX, interpreter.memory));
    }
}
