//! WASI 0.2 for interpreters, as far as their runtimes cannot start without it. It gives nothing:
//! no environment, no files, no sockets, a clock that stands still, random bytes that follow from
//! the invocation's seed, and a standard output that is the plugin's log. Whatever else a component
//! imports of WASI traps when it is called; it must never reach the machine.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{
    Component, ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType,
};

use super::Abort;
use super::context::split_mix;
use crate::plugin::invocation::Invocation;
use crate::plugin::replay::Player;

/// Packages of WASI that a component of the interpreter tier may import.
const PACKAGES: [&str; 6] = ["cli", "clocks", "filesystem", "io", "random", "sockets"];
/// Random bytes of one call.
const RANDOM_BYTES_MAX: u64 = 64 << 10;
/// What a stream says that it would take next.
const WRITE_BYTES_MAX: u64 = 64 << 10;
const STDOUT: u32 = 1;
const STDERR: u32 = 2;

/// All that WASI can tell a run of the machine, or take from it.
pub(in crate::plugin) trait Surroundings: Send + 'static {
    /// When it began, in microseconds since 1970.
    fn began(&self) -> i64;

    /// From what its random bytes follow.
    fn seed(&mut self) -> &mut u64;

    /// Takes what it writes to the output of a level.
    fn print(&mut self, level: &'static str, text: &[u8]) -> wasmtime::Result<()>;
}

impl Surroundings for Invocation {
    fn began(&self) -> i64 {
        self.now.as_micros()
    }

    fn seed(&mut self) -> &mut u64 {
        &mut self.seed
    }

    fn print(&mut self, level: &'static str, text: &[u8]) -> wasmtime::Result<()> {
        Self::print(self, level, text)
    }
}

impl Surroundings for Player {
    fn began(&self) -> i64 {
        Self::began(self)
    }

    fn seed(&mut self) -> &mut u64 {
        Self::seed(self)
    }

    fn print(&mut self, level: &'static str, text: &[u8]) -> wasmtime::Result<()> {
        Self::print(self, level, text)
    }
}

/// What every resource of WASI is here: a number without anything behind it.
struct Nothing;

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    Failed(Resource<Nothing>),
    #[component(name = "closed")]
    Closed,
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

/// `cli/environment` of `wasi:cli/environment@0.2.9`, if components may import it.
pub(in crate::plugin) fn interface_of(import: &str) -> Option<&str> {
    let (interface, version) = import.strip_prefix("wasi:")?.split_once('@')?;
    let (package, _) = interface.split_once('/')?;
    (version.starts_with("0.2.") && PACKAGES.contains(&package)).then_some(interface)
}

/// Defines all that `component` imports of WASI, under the very names that it uses.
pub(in crate::plugin) fn link<T: Surroundings>(
    linker: &mut Linker<T>,
    component: &Component,
) -> wasmtime::Result<()> {
    let engine = component.engine().clone();
    for (name, import) in component.component_type().imports(&engine) {
        let (Some(interface), ComponentItem::ComponentInstance(instance)) = (interface_of(name), import.ty)
        else {
            continue;
        };
        let mut at = linker.instance(name)?;
        for (item, export) in instance.exports(&engine) {
            if let ComponentItem::Resource(_) = export.ty {
                at.resource(item, ResourceType::host::<Nothing>(), |_, _| Ok(()))?;
            } else if let ComponentItem::ComponentFunc(_) = export.ty {
                link_function(&mut at, interface, item)?;
            }
        }
    }
    Ok(())
}

fn link_function<T: Surroundings>(
    at: &mut LinkerInstance<'_, T>,
    interface: &str,
    function: &str,
) -> wasmtime::Result<()> {
    let known = match interface.split_once('/').map_or(interface, |(package, _)| package) {
        "cli" | "filesystem" => link_surroundings(at, function)?,
        "clocks" => link_clocks(at, interface, function)?,
        "random" => link_random(at, function)?,
        "io" => link_streams(at, function)?,
        _ => false,
    };
    if known {
        return Ok(());
    }
    let what = format!("called `wasi:{interface}#{function}`, which gives plugins nothing");
    at.func_new(function, move |_, _, _, _| Err(misuse(what.clone())))
}

fn misuse(what: String) -> wasmtime::Error {
    wasmtime::Error::new(Abort::Misuse(what))
}

/// Environment, arguments, standard streams and folders: there are none, but an output.
fn link_surroundings<T: Surroundings>(
    at: &mut LinkerInstance<'_, T>,
    function: &str,
) -> wasmtime::Result<bool> {
    match function {
        "get-environment" => at.func_wrap(function, |_, ()| Ok((Vec::<(String, String)>::new(),)))?,
        "get-arguments" => at.func_wrap(function, |_, ()| Ok((Vec::<String>::new(),)))?,
        "initial-cwd" => at.func_wrap(function, |_, ()| Ok((None::<String>,)))?,
        "exit" => at.func_wrap(function, |_, (_status,): (Result<(), ()>,)| -> wasmtime::Result<()> {
            Err(misuse("ended the process, which plugins do not have".to_owned()))
        })?,
        "get-stdin" => at.func_wrap(function, |_, ()| Ok((Resource::<Nothing>::new_own(0),)))?,
        "get-stdout" => at.func_wrap(function, |_, ()| Ok((Resource::<Nothing>::new_own(STDOUT),)))?,
        "get-stderr" => at.func_wrap(function, |_, ()| Ok((Resource::<Nothing>::new_own(STDERR),)))?,
        "get-terminal-stdin" | "get-terminal-stdout" | "get-terminal-stderr" => {
            at.func_wrap(function, |_, ()| Ok((None::<Resource<Nothing>>,)))?;
        }
        "get-directories" => {
            at.func_wrap(function, |_, ()| Ok((Vec::<(Resource<Nothing>, String)>::new(),)))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Time, which stands still.
fn link_clocks<T: Surroundings>(
    at: &mut LinkerInstance<'_, T>,
    interface: &str,
    function: &str,
) -> wasmtime::Result<bool> {
    match (interface, function) {
        ("clocks/wall-clock", "now") => at.func_wrap(function, |store, ()| {
            let micros = micros(store.data());
            let nanoseconds = u32::try_from(micros % 1_000_000 * 1_000).unwrap_or_default();
            Ok((Datetime { seconds: micros / 1_000_000, nanoseconds },))
        })?,
        ("clocks/wall-clock", "resolution") => {
            at.func_wrap(function, |_, ()| Ok((Datetime { seconds: 0, nanoseconds: 1_000 },)))?;
        }
        ("clocks/monotonic-clock", "now") => {
            at.func_wrap(function, |store, ()| Ok((micros(store.data()).saturating_mul(1_000),)))?;
        }
        ("clocks/monotonic-clock", "resolution") => at.func_wrap(function, |_, ()| Ok((1_000_u64,)))?,
        // Whoever waits has waited.
        ("clocks/monotonic-clock", "subscribe-instant" | "subscribe-duration") => {
            at.func_wrap(function, |_, (_time,): (u64,)| Ok((Resource::<Nothing>::new_own(0),)))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn micros(run: &impl Surroundings) -> u64 {
    u64::try_from(run.began()).unwrap_or_default()
}

/// Randomness, which follows from the invocation's seed; what is called secure is so no more.
fn link_random<T: Surroundings>(at: &mut LinkerInstance<'_, T>, function: &str) -> wasmtime::Result<bool> {
    match function {
        "get-random-bytes" | "get-insecure-random-bytes" => {
            at.func_wrap(function, |mut store, (length,): (u64,)| {
                if length > RANDOM_BYTES_MAX {
                    let most = format!("at most {RANDOM_BYTES_MAX} are given at once");
                    return Err(misuse(format!("asked for {length} random bytes; {most}")));
                }
                let seed = store.data_mut().seed();
                Ok(((0..length).map(|_| split_mix(seed).to_le_bytes()[0]).collect::<Vec<u8>>(),))
            })?;
        }
        "get-random-u64" | "get-insecure-random-u64" => {
            at.func_wrap(function, |mut store, ()| Ok((split_mix(store.data_mut().seed()),)))?;
        }
        "insecure-seed" => at.func_wrap(function, |mut store, ()| {
            let seed = store.data_mut().seed();
            Ok(((split_mix(seed), split_mix(seed)),))
        })?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Streams: nothing comes in, and what goes out are lines of the log.
fn link_streams<T: Surroundings>(at: &mut LinkerInstance<'_, T>, function: &str) -> wasmtime::Result<bool> {
    type Stream = (Resource<Nothing>,);
    match function {
        "[method]error.to-debug-string" => at.func_wrap(function, |_, _: Stream| Ok((String::new(),)))?,
        "[method]pollable.ready" => at.func_wrap(function, |_, _: Stream| Ok((true,)))?,
        "[method]pollable.block" => at.func_wrap(function, |_, _: Stream| Ok(()))?,
        "poll" => at.func_wrap(function, |_, (all,): (Vec<Resource<Nothing>>,)| {
            Ok(((0_u32..).zip(&all).map(|(place, _)| place).collect::<Vec<u32>>(),))
        })?,
        "[method]input-stream.read" | "[method]input-stream.blocking-read" => {
            at.func_wrap(function, |_, (_stream, _length): (Resource<Nothing>, u64)| {
                Ok((Err::<Vec<u8>, _>(StreamError::Closed),))
            })?;
        }
        "[method]input-stream.subscribe" | "[method]output-stream.subscribe" => {
            at.func_wrap(function, |_, _: Stream| Ok((Resource::<Nothing>::new_own(0),)))?;
        }
        "[method]output-stream.check-write" => {
            at.func_wrap(function, |_, _: Stream| Ok((Ok::<_, StreamError>(WRITE_BYTES_MAX),)))?;
        }
        "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush" => {
            at.func_wrap(function, |mut store, (stream, text): (Resource<Nothing>, Vec<u8>)| {
                let level = if stream.rep() == STDERR { "warn" } else { "info" };
                store.data_mut().print(level, &text)?;
                Ok((Ok::<(), StreamError>(()),))
            })?;
        }
        "[method]output-stream.flush" | "[method]output-stream.blocking-flush" => {
            at.func_wrap(function, |_, _: Stream| Ok((Ok::<(), StreamError>(()),)))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::interface_of;

    #[test]
    fn what_may_be_imported_of_wasi() {
        assert_eq!(interface_of("wasi:cli/environment@0.2.9"), Some("cli/environment"));
        for other in
            ["wasi:http/types@0.2.9", "wasi:cli/environment@0.3.0", "wasi:cli/run", "cli/environment@0.2.0"]
        {
            assert_eq!(interface_of(other), None, "{other}");
        }
    }
}
