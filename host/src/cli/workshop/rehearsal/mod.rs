//! `hospes plugin rehearse`: the production host for one test, driven by lines of JSON.
//!
//! `protocol.rs` is what the lines say, `stage.rs` is the host, `script.rs` the rest of the world. decisions/0015 says why
//! the testkit drives the program instead of linking it.

mod protocol;
mod script;
mod stage;

use std::io::{self, BufRead as _, Read as _};
use std::path::Path;

use super::super::output::{Failure, Outcome, say};
use crate::files;
use protocol::{Line, Order, Reply};
use stage::Stage;

/// Bytes of a line that is read.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// Answers orders until standard input ends.
pub(super) async fn run(component: &Path, cache: Option<&Path>) -> Outcome {
    let component = files::read(component, files::COMPONENT_BYTES_MAX)?;
    let stage = Stage::open(component, cache).await;
    let ready = stage.as_ref().map(Stage::ready).map_err(|failure| failure.message().to_owned());
    tell(ready, Vec::new())?;
    let stage = stage?;
    // Nothing else happens between two orders, so this thread may wait for the next one.
    while let Some(line) = read_line()? {
        let reply = match serde_json::from_str::<Order>(&line) {
            Ok(order) => stage.obey(order).await.map_err(|failure| failure.message().to_owned()),
            Err(error) => Err(format!("this is no order: {error}")),
        };
        tell(reply, stage.take_unscripted())?;
    }
    stage.close().await;
    Ok(())
}

fn read_line() -> Outcome<Option<String>> {
    let mut line = String::new();
    if io::stdin().lock().take(LINE_BYTES_MAX).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    if line.ends_with('\n') {
        return Ok(Some(line));
    }
    Err(Failure::usage(format!("a line ends, and has at most {LINE_BYTES_MAX} bytes")))
}

fn tell(reply: Result<Reply, String>, unscripted: Vec<String>) -> Outcome {
    let line = Line { reply: reply.unwrap_or_else(Reply::Refused), unscripted };
    say(serde_json::to_string(&line).map_err(Failure::failed)?)
}
