//! Golden files: what the product says of itself, kept beside the tests and compared.

/// Compares `text` with the file at `path` (from the workspace's root), or writes the
/// file when the variable `HOSPES_UPDATE_GOLDEN` is set.
///
/// # Panics
/// If they differ.
#[expect(clippy::disallowed_methods, reason = "tests have no files.rs, and their settings are variables")]
pub fn assert_golden(path: &str, text: &str) {
    let file = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var("HOSPES_UPDATE_GOLDEN").is_ok() {
        std::fs::write(&file, text).unwrap_or_else(|error| panic!("cannot write {path}: {error}"));
        return;
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = golden.lines().zip(text.lines()).position(|(golden, text)| golden != text);
    let line = differs.unwrap_or_else(|| golden.lines().count().min(text.lines().count()));
    assert!(
        golden == text,
        "{path} is not what the product says, first in line {}:\n- {}\n+ {}\n\
         If the change is meant, run the test again with HOSPES_UPDATE_GOLDEN=1 and review the difference.",
        line + 1,
        golden.lines().nth(line).unwrap_or("(the end)"),
        text.lines().nth(line).unwrap_or("(the end)"),
    );
}
