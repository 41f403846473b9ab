//! Where in its code a guest broke off: names of functions, and never an address, a path or a value.

use wasmtime::WasmBacktrace;

use super::invocation::clean;

/// Frames that are kept, the innermost first.
pub(super) const FRAMES_MAX: usize = 20;
/// Bytes of a frame's name that are kept; those of generic functions have no end.
const FRAME_BYTES_MAX: usize = 200;

/// The functions in which a guest broke off, the innermost first; none if it was not the guest that did.
///
/// A component without names has numbers instead.
pub(super) fn frames(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    parse(&backtrace.to_string())
}

/// The engine prints names as people write them, one line a frame: `0: 0x5c - module!function`.
fn parse(printed: &str) -> Vec<String> {
    let names = printed.lines().filter_map(|line| line.split_once(" - ")?.1.split_once('!'));
    names.take(FRAMES_MAX).map(|(_module, name)| clean(without_hash(name.trim()), FRAME_BYTES_MAX)).collect()
}

/// A name without the hash that the compiler puts behind it, which is another one in each build.
fn without_hash(name: &str) -> &str {
    let is_hash = |end: &str| end.len() == 16 && end.bytes().all(|byte| byte.is_ascii_hexdigit());
    match name.rsplit_once("::h") {
        Some((name, end)) if is_hash(end) => name,
        Some(_) | None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_a_name_and_nothing_else() {
        let printed = "error while executing at wasm backtrace:\n    0:   0x5c - guest.wasm!rust_panic\n    \
                       1: 0x1234 - <unknown>!<guest::Shop as hospes_sdk::Events>::handle::h0123456789abcdef\n    \
                       2:   0x99 - guest.wasm!<wasm function 37>\n";
        let wanted = ["rust_panic", "<guest::Shop as hospes_sdk::Events>::handle", "<wasm function 37>"];
        assert_eq!(parse(printed), wanted);
    }

    #[test]
    fn a_backtrace_has_an_end_and_so_has_a_frame() {
        let printed: String =
            (0..100).map(|at| format!("  {at}: 0x1 - m!{}\n", "deep::".repeat(100))).collect();
        let frames = parse(&printed);
        assert_eq!(frames.len(), FRAMES_MAX);
        assert!(frames.iter().all(|frame| frame.len() <= FRAME_BYTES_MAX));
        assert_eq!(parse("no frames at all"), Vec::<String>::new());
    }
}
