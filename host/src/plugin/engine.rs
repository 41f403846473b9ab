//! The sandbox: one wasmtime engine for each tier of plugins, their limits and their slots.
//!
//! Everything that a guest may use of the machine is bounded here or in `call.rs`.
//! The profile switches off what our contract does not need, because what cannot
//! be reached cannot be broken: see `decisions/0007-sandbox-profile.md`.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::{Component, Linker};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OperatorCost, OptLevel, PoolingAllocationConfig,
    Strategy, VariableOperatorCost, WasmBacktraceDetails,
};

use super::backtrace;
use super::host::wasi;
use super::invocation::Invocation;
use super::registry;
use crate::domain::manifest::Tier;
use crate::error::{Error, Result};

/// How often the epoch moves: the granularity of deadlines and of yielding.
pub(super) const TICK: Duration = Duration::from_millis(10);
/// Slots of the pool; an invocation takes one, and each function that is called by another plugin.
const SLOTS: u32 = 80;
/// Invocations at once. With [`NESTED_MAX`] below [`SLOTS`], because an exhausted pool is an error,
/// not a wait.
const CONCURRENT_MAX: usize = 56;
/// Invocations of one tenant at once, so that none can take all slots.
const CONCURRENT_PER_TENANT_MAX: usize = 24;
/// Functions that run at once because another plugin calls them. They have slots of their own and
/// never wait for one: the caller keeps its slot meanwhile, and callers that wait for one another
/// would wait for ever.
const NESTED_MAX: usize = 16;
/// Those of one tenant.
const NESTED_PER_TENANT_MAX: usize = 8;
/// How long an invocation waits for a slot.
const SLOT_WAIT: Duration = Duration::from_secs(5);
/// Tenants whose slots are remembered.
const TENANTS_MAX: u64 = 10_000;

/// Interpreters that run at once, with a call of one by another plugin beside each.
const INTERPRETERS_MAX: usize = 8;
/// Those of one tenant.
const INTERPRETERS_PER_TENANT_MAX: usize = 4;

/// What a component may have.
#[derive(Debug)]
pub(super) struct Shape {
    /// Its own size.
    pub(super) component_bytes: usize,
    /// The linear memory of one instance, in bytes.
    pub(super) memory_bytes: usize,
    /// Elements of one table.
    pub(super) table_elements: usize,
    pub(super) core_instances: usize,
    pub(super) memories: usize,
    pub(super) tables: usize,
}

const COMPILED: Shape = Shape {
    component_bytes: 8 << 20,
    memory_bytes: 64 << 20,
    table_elements: 10_000,
    core_instances: 8,
    memories: 4,
    tables: 8,
};

/// Interpreters link their libraries when they start, each of which is an instance.
const INTERPRETER: Shape = Shape {
    component_bytes: 32 << 20,
    memory_bytes: 128 << 20,
    table_elements: 100_000,
    core_instances: 64,
    memories: 8,
    tables: 64,
};

impl Shape {
    pub(super) const fn of(tier: Tier) -> &'static Self {
        match tier {
            Tier::Compiled => &COMPILED,
            Tier::Interpreter => &INTERPRETER,
        }
    }
}

/// The guest's stack; the rest of the fiber's stack is for host functions.
const WASM_STACK_BYTES: usize = 512 << 10;
const FIBER_STACK_BYTES: usize = 2 << 20;
/// Memory that a slot keeps from one invocation to the next, wiped. Measured:
/// with `PAGEMAP_SCAN` this doubles the rate of fresh invocations.
const KEEP_RESIDENT_BYTES: usize = 256 << 10;

/// The engines and what is shared by all their invocations.
pub struct Sandbox {
    compiled: Lane,
    interpreter: Lane,
    pooling: bool,
}

/// Where the plugins of one tier run.
struct Lane {
    engine: Engine,
    linker: Linker<Invocation>,
    slots: Slots,
    of_tenant: fn() -> Slots,
    tenants: Cache<String, Slots>,
}

/// Places for invocations, and for functions that they call.
#[derive(Clone)]
struct Slots {
    outer: Arc<Semaphore>,
    nested: Arc<Semaphore>,
}

impl Slots {
    fn new(outer: usize, nested: usize) -> Self {
        Self { outer: Arc::new(Semaphore::new(outer)), nested: Arc::new(Semaphore::new(nested)) }
    }
}

/// The right to run one invocation; gives the slot back when dropped.
pub(super) struct Slot {
    _own: OwnedSemaphorePermit,
    _shared: OwnedSemaphorePermit,
}

impl Sandbox {
    /// Builds the engines and starts their clocks. One is enough for a process.
    ///
    /// # Errors
    /// [`Error::Internal`] if this machine cannot run them.
    pub fn new() -> Result<Self> {
        let (engine, pooling) = build_engine()?;
        let compiled = Lane::new(engine, Slots::new(CONCURRENT_MAX, NESTED_MAX), || {
            Slots::new(CONCURRENT_PER_TENANT_MAX, NESTED_PER_TENANT_MAX)
        })?;
        // Without a pool: its slots would all have to be as large as an interpreter.
        let engine = Engine::new(&profile()).map_err(internal)?;
        let interpreter = Lane::new(engine, Slots::new(INTERPRETERS_MAX, INTERPRETERS_MAX), || {
            Slots::new(INTERPRETERS_PER_TENANT_MAX, INTERPRETERS_PER_TENANT_MAX)
        })?;
        Ok(Self { compiled, interpreter, pooling })
    }

    /// The engine of compiled plugins, past which a benchmark measures what the host adds.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.engine_of(Tier::Compiled)
    }

    pub(super) fn engine_of(&self, tier: Tier) -> &Engine {
        &self.lane(tier).engine
    }

    /// The host's side of every import of a component.
    pub(super) fn linker(
        &self,
        component: &Component,
        tier: Tier,
    ) -> wasmtime::Result<Cow<'_, Linker<Invocation>>> {
        let linker = &self.lane(tier).linker;
        Ok(match tier {
            Tier::Compiled => Cow::Borrowed(linker),
            Tier::Interpreter => {
                let mut linker = linker.clone();
                wasi::link(&mut linker, component)?;
                Cow::Owned(linker)
            }
        })
    }

    /// Whether instances of compiled plugins come from a pool; without it the server is slower.
    #[must_use]
    pub fn pooling(&self) -> bool {
        self.pooling
    }

    /// Invocations of compiled plugins that could begin now.
    #[must_use]
    pub fn free_slots(&self) -> usize {
        self.compiled.slots.outer.available_permits()
    }

    /// Waits for a slot.
    pub(super) async fn slot(&self, enabled: &registry::Enabled) -> Result<Slot> {
        self.lane(enabled.facts.manifest.tier).slot(enabled.tenant.as_str()).await
    }

    /// A slot for a function that a running invocation calls, if one is free now.
    pub(super) async fn nested_slot(&self, enabled: &registry::Enabled) -> Option<Slot> {
        self.lane(enabled.facts.manifest.tier).nested_slot(enabled.tenant.as_str()).await
    }

    const fn lane(&self, tier: Tier) -> &Lane {
        match tier {
            Tier::Compiled => &self.compiled,
            Tier::Interpreter => &self.interpreter,
        }
    }
}

impl Lane {
    fn new(engine: Engine, slots: Slots, of_tenant: fn() -> Slots) -> Result<Self> {
        let linker = build_linker(&engine).map_err(internal)?;
        start_clock(&engine)?;
        Ok(Self { engine, linker, slots, of_tenant, tenants: Cache::new(TENANTS_MAX) })
    }

    async fn slot(&self, tenant: &str) -> Result<Slot> {
        let own = self.slots_of(tenant).await.outer;
        let wait = async {
            let own = own.acquire_owned().await.map_err(Error::unavailable)?;
            let shared = Arc::clone(&self.slots.outer).acquire_owned().await.map_err(Error::unavailable)?;
            Ok(Slot { _own: own, _shared: shared })
        };
        match tokio::time::timeout(SLOT_WAIT, wait).await {
            Ok(slot) => slot,
            Err(elapsed) => Err(Error::unavailable(elapsed)),
        }
    }

    async fn nested_slot(&self, tenant: &str) -> Option<Slot> {
        let own = self.slots_of(tenant).await.nested.try_acquire_owned().ok()?;
        let shared = Arc::clone(&self.slots.nested).try_acquire_owned().ok()?;
        Some(Slot { _own: own, _shared: shared })
    }

    async fn slots_of(&self, tenant: &str) -> Slots {
        if let Some(known) = self.tenants.get(tenant).await {
            return known;
        }
        let fresh = async { (self.of_tenant)() };
        self.tenants.get_with(tenant.to_owned(), fresh).await
    }
}

pub(super) fn internal(error: wasmtime::Error) -> Error {
    Error::internal(format!("{error:#}"))
}

/// The pooling engine, or one that allocates on demand where the address space
/// does not suffice for a pool.
fn build_engine() -> Result<(Engine, bool)> {
    let pool = InstanceAllocationStrategy::Pooling(pool());
    match Engine::new(profile().allocation_strategy(pool)) {
        Ok(engine) => Ok((engine, true)),
        Err(error) => {
            tracing::warn!(%error, "no address space for a pool of instances: plugins will run slower");
            let config = profile();
            Ok((Engine::new(&config).map_err(internal)?, false))
        }
    }
}

fn profile() -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .consume_fuel(true)
        .operator_cost(costs())
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        .async_stack_zeroing(true)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(NonZeroUsize::new(backtrace::FRAMES_MAX))
        .concurrency_support(false)
        .shared_memory(false)
        .wasm_threads(false)
        .wasm_memory64(false)
        .wasm_tail_call(false)
        .wasm_relaxed_simd(false)
        .wasm_custom_page_sizes(false)
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        // Wasmtime's own glue between the parts of a component needs it; the
        // number of memories is bounded instead.
        .wasm_multi_memory(true);
    config
}

/// The price list of fuel. It is part of what partners are promised, so the
/// prices that wasmtime changes between versions stand here.
fn costs() -> OperatorCost {
    let variable = VariableOperatorCost {
        memory_copy_per_byte: 1,
        memory_fill_per_byte: 1,
        memory_init_per_byte: 1,
        memory_grow_per_page: 100,
        table_copy_per_element: 1,
        table_fill_per_element: 1,
        table_init_per_element: 1,
        table_grow_per_element: 1,
        ..VariableOperatorCost::new()
    };
    OperatorCost { variable, ..OperatorCost::new() }
}

fn pool() -> PoolingAllocationConfig {
    let per_slot = |count: usize| SLOTS * u32::try_from(count).expect("limits are small");
    let cap = |count: usize| u32::try_from(count).expect("limits are small");
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(SLOTS)
        .total_stacks(SLOTS)
        .total_core_instances(per_slot(COMPILED.core_instances))
        .total_memories(per_slot(COMPILED.memories))
        .total_tables(per_slot(COMPILED.tables))
        .max_core_instances_per_component(cap(COMPILED.core_instances))
        .max_memories_per_component(cap(COMPILED.memories))
        .max_tables_per_component(cap(COMPILED.tables))
        .max_tables_per_module(cap(COMPILED.tables))
        .max_memory_size(COMPILED.memory_bytes)
        .table_elements(COMPILED.table_elements)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .pagemap_scan(Enabled::Auto);
    pool
}

fn build_linker(engine: &Engine) -> wasmtime::Result<Linker<Invocation>> {
    let mut linker = Linker::new(engine);
    super::host::imports::link(&mut linker)?;
    Ok(linker)
}

/// Moves the epoch from a thread of its own, so that a busy runtime cannot stop
/// it; the thread ends with the engine.
fn start_clock(engine: &Engine) -> Result<()> {
    let engine = engine.weak();
    let tick = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    };
    std::thread::Builder::new().name("plugin-clock".into()).spawn(tick).map(drop).map_err(Error::internal)
}
