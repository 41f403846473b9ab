//! Hospes: a CRM server that owns customer data and hosts sandboxed WebAssembly plugins.
//!
//! Start with `ARCHITECTURE.md` beside this crate's manifest.

pub mod app;
pub mod blobs;
pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod domain;
pub mod error;
pub mod files;
pub mod http;
pub mod ids;
pub mod jobs;
pub mod metrics;
pub mod ops;
pub mod outbound;
pub mod plugin;
pub mod texts;
pub mod vault;

/// A server allocates on many threads, where the system's own allocator spends more time on it.
/// It stands here so that tests and benchmarks run with what the program runs with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
