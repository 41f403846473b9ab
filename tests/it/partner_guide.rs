//! The partner's guide tells the truth: its manifests are manifests, its commands are commands.
//!
//! Its Rust is compiled by the doctests of `hospes-testkit`.

use std::process::Command;

use hospes::domain::manifest::Manifest;

/// The guide, and what a newcomer has read before.
pub(crate) const GUIDE: &str = include_str!("../../sdk/GUIDE.md");
pub(crate) const README: &str = include_str!("../../README.md");

/// The blocks of one language in a text, in their order.
pub(crate) fn blocks_of(text: &'static str, language: &str) -> Vec<&'static str> {
    let opening = format!("```{language}\n");
    text.split(opening.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// What stands under a heading of a text.
pub(crate) fn section(text: &'static str, heading: &str) -> &'static str {
    let (_, rest) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    rest.split("\n## ").next().unwrap()
}

fn blocks(language: &str) -> Vec<&'static str> {
    blocks_of(GUIDE, language)
}

#[test]
fn every_manifest_of_the_guide_is_taken() {
    let head = "name = \"coffee-club\"\nversion = \"1.0.0\"\npublisher = \"example\"\n\
                [description]\nen = \"A stamp.\"\nzh-CN = \"印章。\"\n";
    let parts = blocks("toml");
    assert!(parts.len() >= 6, "{}", parts.len());
    for part in &parts {
        let manifest = Manifest::parse(&format!("{head}{part}"));
        assert!(manifest.is_ok(), "{part}: {:?}", manifest.err());
    }
    let all = Manifest::parse(&format!("{head}{}", parts.concat()));
    assert!(all.is_ok(), "they fit together: {:?}", all.err());
}

#[test]
fn every_command_of_the_guide_is_one() {
    let lines = blocks("sh").concat();
    let commands: Vec<&str> = lines.lines().filter(|line| line.starts_with("hospes ")).collect();
    assert!(commands.len() >= 8, "{commands:?}");
    for line in commands {
        // The help of a command is shown only if all that stands before it is understood.
        let mut command = Command::new(env!("CARGO_BIN_EXE_hospes-under-test"));
        let output = command.args(line.split(' ').skip(1)).arg("--help").output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        let help = String::from_utf8(output.stdout).unwrap();
        for flag in line.split(' ').filter(|word| word.starts_with("--")) {
            assert!(help.contains(flag), "{line}: no {flag} in {help}");
        }
    }
}

#[test]
fn the_guide_has_a_task_for_every_part_of_a_new_plugin() {
    let code = blocks("rust").concat();
    for point in ["Events", "Panels", "Actions", "Jobs", "Hooks", "Routes", "Scoring", "Steps", "Functions"] {
        assert!(code.contains(&format!("impl {point} for")), "{point}");
    }
}
