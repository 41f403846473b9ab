//! The other people's servers of a test: which requests are expected, what they are answered, and which
//! have come that nobody expects.

use std::fmt::Write as _;
use std::mem;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use serde_json::Value;

use super::protocol::{Body, Expectation, Failing, Scripted};
use crate::cli::output::{Failure, Outcome};
use crate::outbound::{self, Answer, Seen, Understudy, is_header_name};

/// Expected requests of one test.
const SCRIPTS_MAX: usize = 1_000;
/// Unexpected requests that are told at once; more only repeat the first.
const STRANGERS_MAX: usize = 20;
/// Bytes of a body that are shown.
const SHOWN_BYTES_MAX: usize = 2_000;
/// The methods that a plugin may use.
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
/// How much further another method, host or path takes a request away than another header or body.
const OTHER_ADDRESS: u32 = 8;
/// Seconds in the words of a timeout: a test does not wait for one.
const TIMEOUT_S: u64 = 10;

/// What a test has said about requests.
#[derive(Debug, Default)]
pub(super) struct Script(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    expected: Vec<Expected>,
    strangers: Vec<String>,
}

#[derive(Debug)]
struct Expected {
    wanted: Expectation,
    came: u32,
}

impl Script {
    /// Expects one more request; answers how many there are.
    pub(super) fn expect(&self, mut wanted: Expectation) -> Outcome<usize> {
        check(&wanted).map_err(Failure::usage)?;
        lower_names(&mut wanted.headers);
        if let Scripted::Respond { headers, .. } = &mut wanted.answer {
            lower_names(headers);
        }
        let mut state = self.state();
        if state.expected.len() >= SCRIPTS_MAX {
            return Err(Failure::usage(format!("a test expects at most {SCRIPTS_MAX} requests")));
        }
        state.expected.push(Expected { wanted, came: 0 });
        Ok(state.expected.len())
    }

    /// The expected requests that have not come, or not often enough.
    pub(super) fn outstanding(&self) -> Vec<String> {
        let state = self.state();
        let open = state.expected.iter().filter(|expected| expected.came < expected.wanted.times);
        let tell = |Expected { wanted, came }: &Expected| {
            format!("{} is expected {}, and came {}", line(wanted), times(wanted.times), times(*came))
        };
        open.map(tell).collect()
    }

    /// The requests that nobody expects, since this was asked last.
    pub(super) fn take_unscripted(&self) -> Vec<String> {
        mem::take(&mut self.state().strangers)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Understudy for Script {
    fn answer(&self, request: &Seen) -> Result<Answer, outbound::Failure> {
        let mut state = self.state();
        let fits = |expected: &&mut Expected| {
            expected.came < expected.wanted.times && differences(&expected.wanted, request).is_empty()
        };
        if let Some(expected) = state.expected.iter_mut().find(fits) {
            expected.came += 1;
            return play(&expected.wanted.answer, request);
        }
        let told = tell_stranger(&state.expected, request);
        if state.strangers.len() < STRANGERS_MAX {
            state.strangers.push(told);
        }
        Err(outbound::Failure::Unreachable)
    }
}

/// What is wrong with an expectation that no request can meet, or an answer that no server gives.
fn check(wanted: &Expectation) -> Result<(), String> {
    let Expectation { method, path, headers, times, answer, .. } = wanted;
    if !METHODS.contains(&method.as_str()) {
        return Err(format!("the method `{method}` is none of {}", METHODS.join(", ")));
    }
    if !path.starts_with('/') {
        return Err(format!("the path `{path}` does not begin with `/`"));
    }
    if *times == 0 {
        return Err(format!("{} is expected no time: leave the script out", line(wanted)));
    }
    if let Some((name, _)) = headers.iter().find(|(name, _)| !is_header_name(name)) {
        return Err(format!("no request of a plugin has the header `{name}`"));
    }
    match answer {
        Scripted::Respond { status, .. } if !(200..=599).contains(status) => {
            Err(format!("the status {status} is not from 200 to 599"))
        }
        Scripted::Respond { .. } | Scripted::Fail(_) => Ok(()),
    }
}

fn lower_names(headers: &mut [(String, String)]) {
    headers.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
}

/// The answer of the script; `HEAD` is answered without a body.
fn play(answer: &Scripted, request: &Seen) -> Result<Answer, outbound::Failure> {
    match answer {
        Scripted::Respond { status, headers, body } => {
            let body = if request.method == "HEAD" { Bytes::new() } else { Bytes::from(body.clone()) };
            Ok(Answer { status: *status, headers: headers.clone(), body })
        }
        Scripted::Fail(failing) => Err(match failing {
            Failing::Timeout => outbound::Failure::Timeout { seconds: TIMEOUT_S },
            Failing::Refused => outbound::Failure::Connect("the script refuses the connection".into()),
            Failing::Unreachable => outbound::Failure::Unreachable,
            Failing::Broken => outbound::Failure::Broken("the script breaks the answer off".into()),
            Failing::TooLarge => outbound::Failure::TooLarge { max: 1 << 20 },
        }),
    }
}

/// How far a request is from the expected one.
fn distance(wanted: &Expectation, request: &Seen) -> u32 {
    let Expectation { method, host, path, .. } = wanted;
    let address = [method == &request.method, host == &request.host, path == &request.path];
    let others = address.iter().filter(|same| !**same).map(|_| OTHER_ADDRESS);
    others.sum::<u32>() + u32::try_from(differences(wanted, request).len()).unwrap_or(u32::MAX / 2)
}

/// In which points a request is not the expected one.
fn differences(wanted: &Expectation, request: &Seen) -> Vec<String> {
    let Expectation { method, host, path, headers, body, times: _, answer: _ } = wanted;
    let mut found = Vec::new();
    let parts =
        [("method", method, &request.method), ("host", host, &request.host), ("path", path, &request.path)];
    for (name, wanted, seen) in parts {
        if wanted != seen {
            found.push(format!("the {name} is `{seen}`, expected is `{wanted}`"));
        }
    }
    for (name, value) in headers {
        let mut seen = request.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value);
        if !seen.clone().any(|seen| seen == value) {
            found.push(match seen.next() {
                Some(seen) => format!("the header `{name}` is `{seen}`, expected is `{value}`"),
                None => format!("the header `{name}` is missing, expected is `{value}`"),
            });
        }
    }
    found.extend(body.as_ref().and_then(|body| body_difference(body, &request.body)));
    found
}

fn body_difference(wanted: &Body, seen: &[u8]) -> Option<String> {
    let json = || serde_json::from_slice::<Value>(seen).ok();
    let (is_it, wanted) = match wanted {
        Body::Json(value) => (json().as_ref() == Some(value), value.to_string()),
        Body::JsonWith(value) => {
            (json().is_some_and(|seen| has_members(&seen, value)), format!("JSON with {value}"))
        }
        Body::Text(text) => (seen == text.as_bytes(), text.clone()),
    };
    (!is_it).then(|| format!("the body is `{}`, expected is `{}`", shown(seen), shown(wanted.as_bytes())))
}

/// Whether `seen` has all that `wanted` has; lists are as long as each other.
fn has_members(seen: &Value, wanted: &Value) -> bool {
    match (seen, wanted) {
        (Value::Object(seen), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| seen.get(name).is_some_and(|seen| has_members(seen, wanted)))
        }
        (Value::Array(seen), Value::Array(wanted)) => {
            seen.len() == wanted.len()
                && seen.iter().zip(wanted).all(|(seen, wanted)| has_members(seen, wanted))
        }
        _ => seen == wanted,
    }
}

/// A request that nobody expects, and the script that it comes nearest to.
fn tell_stranger(expected: &[Expected], request: &Seen) -> String {
    let Seen { method, host, path, headers, body } = request;
    let mut told = format!("no script expects this request:\n  {method} {host}{path}");
    for (name, value) in headers {
        write!(told, "\n  {name}: {value}").expect("writing to a string cannot fail");
    }
    if !body.is_empty() {
        write!(told, "\n  {}", shown(body)).expect("writing to a string cannot fail");
    }
    let Some(nearest) = expected.iter().min_by_key(|expected| distance(&expected.wanted, request)) else {
        told.push_str("\nthis test expects none");
        return told;
    };
    let differences = differences(&nearest.wanted, request);
    write!(told, "\nnearest is the script of {}:", line(&nearest.wanted))
        .expect("writing to a string cannot fail");
    for difference in &differences {
        write!(told, "\n  {difference}").expect("writing to a string cannot fail");
    }
    if differences.is_empty() {
        let often = times(nearest.wanted.times);
        write!(told, "\n  it is expected {often}, and has come as often before")
            .expect("writing to a string cannot fail");
    }
    told
}

fn line(wanted: &Expectation) -> String {
    format!("{} {}{}", wanted.method, wanted.host, wanted.path)
}

fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// A body, as far as it is shown.
fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES_MAX)]).into_owned();
    if body.len() > SHOWN_BYTES_MAX { format!("{text}… ({} bytes)", body.len()) } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_looked_for_at_every_depth() {
        let seen = json!({ "a": { "b": [1, { "c": 2, "d": 3 }] }, "e": null });
        for wanted in
            [json!({}), json!({ "a": {} }), json!({ "a": { "b": [1, { "d": 3 }] } }), json!({ "e": null })]
        {
            assert!(has_members(&seen, &wanted), "{wanted}");
        }
        for wanted in [json!([]), json!({ "f": null }), json!({ "a": { "b": [1] } }), json!({ "e": 0 })] {
            assert!(!has_members(&seen, &wanted), "{wanted}");
        }
    }
}
