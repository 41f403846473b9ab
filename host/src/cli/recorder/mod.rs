//! The flight recorder at the command line: what is recorded, what was, and replays.

pub(super) mod args;
mod replay;

use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroize as _;

use super::admin::{finish, operator};
use super::output::{Failure, Outcome, say};
use super::plugin::open;
use crate::domain::actor::Actor;
use crate::domain::page::PageRequest;
use crate::domain::point::Point;
use crate::domain::recording::Keep;
use crate::files::NamedFile;
use crate::ops::Core;
use crate::ops::plugins::enablement::{self, EnablementPatch};
use crate::ops::plugins::recordings::{self, NewShare, RecordingFilter};
use crate::vault::KEY_BYTES;
use args::{Recorder, Recordings};

/// `POINT=WHAT`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule(Point, Keep);

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (point, keep) = text.split_once('=').ok_or("a rule is POINT=WHAT, such as actions=failures")?;
        let known = Point::ALL.iter().find(|one| one.as_str() == point);
        let points = || Point::ALL.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(", ");
        let point = known.ok_or_else(|| format!("no extension point `{point}`; there is: {}", points()))?;
        Ok(Self(*point, keep.parse().map_err(|error: crate::domain::recording::NotAKeep| error.to_string())?))
    }
}

/// Does what is asked for.
pub(super) async fn run(command: Recorder) -> Outcome {
    match command {
        Recorder::Record { name, tenant, rules, settings } => {
            let core = open(&settings.load()?).await?;
            record(&core, &operator(&core, &tenant).await?, &name, &rules).await?;
            finish(&core).await
        }
        Recorder::Recordings(command) => Box::pin(kept(command)).await,
        Recorder::Replay { file, component, key, json, profile, samples } => {
            let samples = profile.then_some(samples);
            Box::pin(replay::run(&file, (&component, key.as_deref()), (json, samples))).await
        }
    }
}

async fn record(core: &Core, actor: &Actor, name: &str, rules: &[Rule]) -> Outcome {
    let now = enablement::find(core, actor, name).await?;
    let mut recording = now.recording.0;
    if !rules.is_empty() {
        recording.0.extend(rules.iter().map(|Rule(point, keep)| (*point, *keep)));
        let patch = EnablementPatch { recording: Some(recording), ..EnablementPatch::default() };
        recording = enablement::change(core, actor, name, patch, Some(now.version)).await?.recording.0;
    }
    Point::ALL.iter().try_for_each(|point| say(format_args!("{point}={}", recording.of(*point))))
}

async fn kept(command: Recordings) -> Outcome {
    match command {
        Recordings::List { name, tenant, outcome, lines, settings } => {
            let core = open(&settings.load()?).await?;
            let actor = operator(&core, &tenant).await?;
            list(&core, &actor, RecordingFilter { plugin: name, point: None, outcome }, lines).await?;
            finish(&core).await
        }
        Recordings::Save { id, tenant, out, settings } => {
            let out = NamedFile::vacant(&out)?;
            let core = open(&settings.load()?).await?;
            let actor = operator(&core, &tenant).await?;
            let file = recordings::download(&core, &actor, &id).await?;
            out.create(&file)?;
            say(format_args!("saved {id}; the file is not sealed, and holds what the plugin has read"))?;
            finish(&core).await
        }
        Recordings::Share { id, tenant, recipient, out, key_out, settings } => {
            // The share is in the audit log for good, and its key is nowhere else.
            let (out, key_out) = (NamedFile::vacant(&out)?, NamedFile::vacant(&key_out)?);
            if out.path() == key_out.path() {
                return Err(Failure::usage(
                    "--out and --key-out name one file; the key needs one of its own",
                ));
            }
            let core = open(&settings.load()?).await?;
            let actor = operator(&core, &tenant).await?;
            let mut key = [0; KEY_BYTES];
            core.ids.fill_secret(&mut key);
            let share = NewShare { key: BASE64_STANDARD.encode(key), recipient };
            key.zeroize();
            let file = recordings::share(&core, &actor, &id, &share).await?;
            out.create(&file)?;
            key_out.create_secret(share.key.as_bytes())?;
            say(format_args!(
                "shared {id} with {}: {} and {}",
                share.recipient,
                out.path().display(),
                key_out.path().display()
            ))?;
            finish(&core).await
        }
        Recordings::Delete { id, tenant, settings } => {
            let core = open(&settings.load()?).await?;
            let actor = operator(&core, &tenant).await?;
            recordings::delete(&core, &actor, &id).await?;
            say(format_args!("removed {id}"))?;
            finish(&core).await
        }
    }
}

async fn list(core: &Core, actor: &Actor, filter: RecordingFilter, lines: u32) -> Outcome {
    let page = PageRequest::new(Some(lines), None);
    let found = recordings::list(core, actor, &filter, &page).await?;
    for row in found.items {
        let cut = if row.truncated { " truncated" } else { "" };
        say(format_args!(
            "{} {} {} {} {} {} (attempt {}, {} calls, {} fuel, {} bytes){cut}",
            row.id,
            row.at,
            row.plugin,
            row.plugin_version,
            row.point,
            row.outcome,
            row.attempt,
            row.calls,
            row.fuel,
            row.size,
        ))?;
    }
    if found.dropped > 0 {
        say(format_args!("{} more runs were not recorded: there was no room", found.dropped))?;
    }
    Ok(())
}
