//! The plugin contract stays what it is: within 1.x nothing that a component was built against changes.

use std::fmt::Write as _;
use std::path::Path;

use hospes_tests::assert_golden;

const GOLDEN: &str = "tests/golden/contract.txt";

/// The lines of a WIT file without what is written for readers: no comments, one blank, no indentation.
fn bare(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.split("//").next().unwrap());
    let lines = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty()).collect()
}

/// If this fails, the contract has changed. A record, variant or enum, a function's signature, or
/// an exported interface may not change within 1.x: take it back, and write the wish into
/// `wit/PENDING.md`. A new function of an imported interface, or a new interface, is an
/// addition: write it into `wit/CHANGELOG.md`, and renew the golden file.
#[test]
fn what_components_are_built_against_does_not_change() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".wit"))
        .collect();
    names.sort();
    let mut page = String::new();
    for name in names {
        writeln!(page, "# {name}").unwrap();
        for line in bare(&std::fs::read_to_string(folder.join(&name)).unwrap()) {
            writeln!(page, "{line}").unwrap();
        }
    }
    assert_golden(GOLDEN, &page);
}

#[test]
fn every_change_that_a_component_would_notice_is_seen() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/types.wit")).unwrap();
    let changes = [
        ("record fault {", "record fault {\n severity: u32,"),
        ("pointer: string,", "pointer: option<string>,"),
        ("        code: string,\n", ""),
        ("denied(string),", "denied(string),\n refused,"),
        ("not-found(string),", "not-found,"),
        ("enum comparison {", "enum comparison {\n like,"),
        ("type timestamp = s64;", "type timestamp = u64;"),
        ("package hospes:plugin@1.0.0;", "package hospes:plugin@2.0.0;"),
    ];
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        assert_ne!(bare(&text), bare(&text.replacen(from, to, 1)), "{from}");
    }
    let function = "get: func() -> string;";
    assert_ne!(bare(function), bare("get: func(of: u32) -> string;"));
    assert_ne!(bare(function), bare("get: func() -> u32;"));
    // What only readers see is free.
    assert_eq!(bare(&text), bare(&text.replace("/// ", "    /// In other words: ")));
}
