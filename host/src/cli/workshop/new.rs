//! `hospes plugin new`: writes a crate whose tests pass.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::super::output::{Failure, Outcome, say};
use super::sources;
use super::template::{Part, Template};
use crate::files;

/// Bytes of an answer that is typed in.
const ANSWER_BYTES_MAX: u64 = 4_096;
/// Bytes of a plugin's name, as the manifest's schema has them.
const NAME_BYTES: std::ops::RangeInclusive<usize> = 3..=40;

/// Writes the crate and says what to do with it.
pub(super) fn run(folder: Option<PathBuf>, parts: Vec<Part>, publisher: &str) -> Outcome {
    let asks = folder.is_none() && io::stdin().is_terminal();
    let folder = match folder {
        Some(folder) => folder,
        None if asks => PathBuf::from(ask("name of the plugin, such as coffee-club")?),
        None => {
            return Err(Failure::usage("name the folder to make, such as: hospes plugin new coffee-club"));
        }
    };
    let parts = if asks && parts.is_empty() { ask_parts()? } else { parts };
    let mut parts = if parts.is_empty() { Part::ALL.to_vec() } else { parts };
    parts.sort_unstable();
    parts.dedup();
    let name = name_of(&folder)?;
    let mut content = Template { name, publisher, parts: &parts }.files();
    let vendored = sources::vendored()?.into_iter();
    content.extend(vendored.map(|(path, text)| (format!("hospes/{path}"), text)));
    files::write_new_tree(&folder, content.iter().map(|(path, text)| (path.as_str(), text.as_bytes())))?;
    let shown = folder.display();
    say(format_args!("made {shown}"))?;
    say("next:")?;
    say(format_args!("  cd {shown}"))?;
    say("  hospes plugin test      run its tests against this program")?;
    say("  hospes plugin dev       serve a local host that takes every edit")?;
    say("  hospes plugin check     what a host would say of it")
}

/// The plugin's name: the last part of its folder.
fn name_of(folder: &Path) -> Outcome<&str> {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let words = name.split('-').all(|word| !word.is_empty() && word.bytes().all(is_letter));
    if words && NAME_BYTES.contains(&name.len()) && name.starts_with(|first: char| first.is_ascii_lowercase())
    {
        return Ok(name);
    }
    Err(Failure::usage(format!(
        "`{name}` is no name of a plugin; write 3 to 40 small letters, digits and hyphens, a letter first, such as coffee-club"
    )))
}

fn ask_parts() -> Outcome<Vec<Part>> {
    let names: Vec<&str> = Part::ALL.iter().map(|part| part.name()).collect();
    let told = ask(&format!("extension points, of {} [all]", names.join(", ")))?;
    let words = told.split([',', ' ']).filter(|word| !word.is_empty());
    words
        .map(|word| {
            let found = Part::ALL.into_iter().find(|part| part.name() == word);
            found.ok_or_else(|| Failure::usage(format!("`{word}` is none of {}", names.join(", "))))
        })
        .collect()
}

fn ask(question: &str) -> Outcome<String> {
    let mut out = io::stdout();
    write!(out, "{question}: ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().take(ANSWER_BYTES_MAX).read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_named_after_its_folder() {
        assert_eq!(name_of(Path::new("some/where/coffee-club")).unwrap(), "coffee-club");
        for wrong in
            ["Coffee", "coffee_club", "coffee--club", "-coffee", "ab", "2coffees", "..", "", &"a".repeat(41)]
        {
            assert!(name_of(Path::new(wrong)).is_err(), "{wrong}");
        }
    }
}
