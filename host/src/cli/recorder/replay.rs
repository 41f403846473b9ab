//! `hospes plugin replay`: no database, no settings and no network.

use std::path::Path;

use serde_json::{Value, json};

use super::super::output::{Failure, Outcome, say};
use super::args::Which;
use crate::files;
use crate::ops::plugins::recordings::{BYTES_MAX, open_file};
use crate::plugin::replay::{FuelProfile, Replay, Replayed, Verdict};
use crate::plugin::{self, Sandbox};

/// The largest file of a recording: what is noted, and what stands around it.
const FILE_BYTES_MAX: u64 = 4 * BYTES_MAX as u64;
/// The largest file of a key.
const KEY_BYTES_MAX: u64 = 1_024;
/// Characters of a value that a difference shows.
const SHOWN_CHARS_MAX: usize = 200;
/// Functions that a profile shows.
const FUNCTIONS_SHOWN_MAX: usize = 30;

/// Replays a file; an error if not everything is identical.
pub(super) async fn run(
    file: &Path,
    (which, key): (&Which, Option<&Path>),
    (as_json, samples): (bool, Option<u32>),
) -> Outcome {
    let key = key.map(|path| files::read_text(path, KEY_BYTES_MAX)).transpose()?;
    let body = open_file(&files::read(file, FILE_BYTES_MAX)?, key.as_deref().map(str::trim))?;
    let replay = Replay::read(&body)?;
    let component = component(&replay, which)?;
    let with = Replayed::new(&Sandbox::new()?, &component)?;
    let verdict = replay.run(&with).await?;
    let profile = match samples {
        Some(samples) => Some(replay.profile(&with, samples).await?),
        None => None,
    };
    if as_json {
        let identical = verdict.is_identical();
        say(format_args!("{:#}", json!({ "identical": identical, "verdict": verdict, "profile": profile })))?;
    } else {
        tell(&verdict)?;
        profile.as_ref().map_or(Ok(()), tell_profile)?;
    }
    if verdict.is_identical() { Ok(()) } else { Err(Failure::failed("the replay is not identical")) }
}

/// The component that is named, or the one that was recorded, if it is at hand.
fn component(replay: &Replay, which: &Which) -> Outcome<Vec<u8>> {
    if let Some(with) = &which.with {
        return Ok(files::read(with, files::COMPONENT_BYTES_MAX)?);
    }
    let is_it = |bytes: &[u8]| plugin::digest(bytes) == replay.digest();
    if let Some(path) = &which.component {
        let folder = files::list_ending(path, ".wasm")?;
        for path in folder.unwrap_or_else(|| vec![path.clone()]) {
            let bytes = files::read(&path, files::COMPONENT_BYTES_MAX)?;
            if is_it(&bytes) {
                return Ok(bytes);
            }
        }
    } else if let Some(bundled) = hospes_bundle::PLUGINS.iter().find(|one| is_it(one.component)) {
        return Ok(bundled.component.to_vec());
    }
    let (name, version) = replay.plugin();
    Err(Failure::failed(format!(
        "the component that was recorded is not here: {name} {version}, SHA-256 {}; name it with --component, or \
         another version with --with",
        replay.digest()
    )))
}

fn tell(verdict: &Verdict) -> Outcome {
    let Verdict { plugin, plugin_version, point, recorded_digest, replayed_digest, .. } = verdict;
    say(format_args!("{plugin} {plugin_version}, {point}"))?;
    if recorded_digest != replayed_digest {
        say(format_args!("recorded with {recorded_digest}\nreplayed with {replayed_digest}"))?;
    }
    let word = |is_same: bool| if is_same { "identical" } else { "DIFFERENT" };
    say(format_args!("answer:  {}", word(verdict.answer_identical)))?;
    if !verdict.answer_identical {
        say(format_args!("  - {}", cut(&verdict.recorded_answer)))?;
        say(format_args!("  + {}", cut(&verdict.replayed_answer)))?;
    }
    if let Some(why) = &verdict.objection {
        say(format_args!("  the host did not take the recorded answer: {why}"))?;
    }
    let (before, after) = (verdict.recorded_effects, verdict.replayed_effects);
    say(format_args!("effects: {} ({before} recorded, {after} replayed)", word(verdict.effects_identical)))?;
    verdict.effect_changes.iter().try_for_each(|change| {
        let side = |sign: &str, value: &Option<Value>| match value {
            Some(value) => say(format_args!("  {sign} {} {} {}", change.import, change.about, cut(value))),
            None => Ok(()),
        };
        if change.changes.is_empty() {
            side("-", &change.recorded)?;
            return side("+", &change.replayed);
        }
        say(format_args!("  ~ {} {}", change.import, change.about))?;
        change.changes.iter().try_for_each(|(pointer, old, new)| {
            say(format_args!("      {pointer}: {} -> {}", cut(old), cut(new)))
        })
    })?;
    let (before, after) = (verdict.recorded_fuel, verdict.replayed_fuel);
    say(format_args!("fuel:    {} ({before} recorded, {after} replayed)", word(verdict.fuel_identical)))?;
    say(format_args!("log:     {}", word(verdict.log_identical)))?;
    if verdict.assumed_writes > 0 {
        say(format_args!("{} writes were not recorded, and are taken for accepted", verdict.assumed_writes))?;
    }
    if verdict.masked {
        say(
            "the plugin has seen headers of answers that are not in the recording, because they are secrets",
        )?;
    }
    if verdict.ends_at_deadline {
        say("the recorded run was stopped by the clock: what came before is compared")?;
    }
    match &verdict.stopped_at {
        Some(call) => say(format_args!("the replay was stopped: {call}")),
        None => Ok(()),
    }
}

fn tell_profile(profile: &FuelProfile) -> Outcome {
    say(format_args!(
        "fuel by function ({} of it, {} samples): own, with callees",
        profile.fuel, profile.samples
    ))?;
    profile.functions.iter().take(FUNCTIONS_SHOWN_MAX).try_for_each(|function| {
        say(format_args!(
            "  {:>5.1} % {:>5.1} %  {}",
            function.own_percent, function.total_percent, function.name
        ))
    })
}

fn cut(value: &Value) -> String {
    let text = value.to_string();
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
