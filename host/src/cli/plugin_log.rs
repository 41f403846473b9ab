//! `hospes plugin logs`: a plugin's log, and what comes to it while somebody looks.

use std::collections::HashSet;
use std::time::Duration;

use super::output::{Outcome, say};
use super::server::stop_signal;
use crate::domain::actor::Actor;
use crate::domain::page::{PAGE_MAX, PageRequest};
use crate::ops::Core;
use crate::ops::plugins::data::{self, LogLine};

/// How often the log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Says the latest lines, the oldest of them first; with `follow`, also every later one, until the
/// signal to stop.
pub(super) async fn tell(core: &Core, actor: &Actor, plugin: &str, lines: u32, follow: bool) -> Outcome {
    let page = PageRequest { limit: lines.clamp(1, PAGE_MAX), cursor: None };
    let shown = data::log(core, actor, plugin, &page).await?.items;
    shown.iter().rev().try_for_each(line)?;
    if !follow {
        return Ok(());
    }
    let stop = stop_signal()?;
    let mut seen: HashSet<String> = shown.into_iter().map(|line| line.id.to_string()).collect();
    let page = PageRequest { limit: PAGE_MAX, cursor: None };
    while tokio::time::timeout(LOOK_EVERY, stop.cancelled()).await.is_err() {
        // Invocations end in another order than they have begun, so that a line may come before one
        // that was seen: each is told once, whatever its place.
        let latest = data::log(core, actor, plugin, &page).await?.items;
        latest.iter().rev().filter(|one| !seen.contains(&one.id.to_string())).try_for_each(line)?;
        seen = latest.into_iter().map(|line| line.id.to_string()).collect();
    }
    Ok(())
}

/// A line, and below it where the guest broke off.
pub(super) fn line(line: &LogLine) -> Outcome {
    let code = line.code.as_deref().map(|code| format!(" [{code}]")).unwrap_or_default();
    say(format_args!("{} {:<5} {}{code}: {}", line.at, line.level, line.point, line.message))?;
    let frames = line.backtrace.iter().flat_map(|frames| &frames.0);
    frames.map(|frame| format!("    in {frame}")).try_for_each(say)
}
