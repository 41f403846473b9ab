//! Which parts of a benchmark are run: all, or those that the command line names.

/// Whether a part is run: `cargo bench --bench rest -- read` names one, and cargo adds a flag of its own.
pub(crate) fn is_wanted(part: &str) -> bool {
    let mut named = std::env::args().skip(1).filter(|word| !word.starts_with('-')).peekable();
    named.peek().is_none() || named.any(|name| name == part)
}
