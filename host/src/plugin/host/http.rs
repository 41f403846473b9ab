//! `http`: requests that the host makes for the plugin.
//!
//! A request cannot be undone, so it is made at once, wherever a guest may have effects, and never
//! while a transaction is open. What the guest says is checked here; where it may lead is checked by
//! `outbound/` when the connection is opened.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use hospes_bindings::hospes::plugin::http::{Failure, Header, Method, Request, Response};
use hospes_bindings::hospes::plugin::types;
use metrics::counter;

use super::{Access, Answered, Invocation, limit};
use crate::domain::grant::Grant;
use crate::metrics::{PLUGIN_REQUESTS, plugin_label};
use crate::ops::plugins::credentials::{self, Sendable};
use crate::outbound::{self, Excess, HeaderFault, Limits, PATH_BYTES_MAX, Purpose, Target};

const SEND: &str = "http.send-many";
/// Requests of one call.
const REQUESTS_MAX: usize = 8;
/// Bytes of a body, either way.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Milliseconds of one exchange, unless the guest says otherwise, and at most.
const TIMEOUT_MS_DEFAULT: u32 = 10_000;
const TIMEOUT_MS_MAX: u32 = 30_000;
/// What is left of an invocation's time for the guest, after its slowest request.
const TIME_LEFT: Duration = Duration::from_millis(500);
/// Headers that the host answers for: who asks, and in which coding it can read the answer.
const HOST_HEADERS: &[&str] = &["accept-encoding", "cookie", "user-agent"];
/// Headers that are about the connection, which the guest does not have.
const CONNECTION_HEADERS: &[&str] =
    &["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

pub(super) type Sent = Vec<Result<Response, Failure>>;

/// A request that may be sent, and the credential in it.
struct Ready {
    request: outbound::Request,
    credential: Option<Sendable>,
}

impl Invocation {
    pub(super) async fn http_send(&mut self, requests: Vec<Request>) -> Answered<Sent> {
        self.enter(Grant::HttpSend, SEND, Access::Read(requests.len()), REQUESTS_MAX)?;
        if !self.point.may_send() {
            let message = format!("{} may not send requests ({SEND})", self.point.as_str());
            return Err(types::Error::Denied(message).into());
        }
        if self.is_shadow {
            let message = format!("a version in the shadow sends no requests ({SEND})");
            return Err(types::Error::Unavailable(message).into());
        }
        let count = u32::try_from(requests.len()).unwrap_or(u32::MAX);
        self.usage.requests = self.usage.requests.saturating_add(count);
        if self.usage.requests > self.budget.requests {
            return Err(limit(format!("{} requests of one invocation", self.budget.requests)));
        }
        self.move_bytes(requests.iter().map(|request| request.body.len()).sum())?;
        let mut ready = Vec::with_capacity(requests.len());
        for request in requests {
            ready.push(self.http_ready(request).await?);
        }
        let sent = join_all(ready.into_iter().map(|ready| self.http_exchange(ready))).await;
        self.move_bytes(sent.iter().flatten().map(|response| response.body.len()).sum())?;
        for outcome in &sent {
            let outcome = outcome.as_ref().map_or_else(code_of, |_| "answered");
            let plugin = plugin_label(&self.enabled.plugin);
            counter!(PLUGIN_REQUESTS, "plugin" => plugin, "outcome" => outcome).increment(1);
        }
        Ok(sent)
    }

    /// A request as it is sent, or why it is not.
    async fn http_ready(&mut self, request: Request) -> Answered<Result<Ready, Failure>> {
        let Request { method, host, path, headers, body, credential, timeout_ms } = request;
        let parameters = self.enabled.grants.parameters(Grant::HttpSend);
        // A pattern is within itself, and no host.
        let is_open =
            parameters.is_some_and(|parameters| parameters.opens_host(&host)) && !host.contains('*');
        if !is_open {
            let shown = crate::plugin::invocation::clean(&host, 100);
            let told = format!("`{shown}` is not among the hosts of the grant `{}`", Grant::HttpSend);
            self.note_denied((Grant::HttpSend, SEND), &told);
            return Ok(Err(Failure::Denied(told)));
        }
        let target = match check(&host, (method, &path, &body), timeout_ms, self.core.outbound.reach()) {
            Ok(target) => target,
            Err(faults) => return Ok(Err(Failure::Invalid(faults))),
        };
        let timeout = Duration::from_millis(timeout_ms.unwrap_or(TIMEOUT_MS_DEFAULT).into());
        let left = self.wall_left().saturating_sub(TIME_LEFT);
        if left.is_zero() {
            return Ok(Err(Failure::Timeout));
        }
        let limits =
            Limits { time: timeout.min(left), answer_bytes_max: BODY_BYTES_MAX, excess: Excess::Refuse };
        let mut request = outbound::Request::new(method_of(method), target, Bytes::from(body), limits);
        if let Err(faults) = add_headers(&mut request, &headers) {
            return Ok(Err(Failure::Invalid(faults)));
        }
        let Some(name) = credential else { return Ok(Ok(Ready { request, credential: None })) };
        let owner = (&self.enabled.tenant, &*self.enabled.plugin);
        let found = credentials::open(&self.core, owner, &name).await?;
        // Whether it is for another host or not there is the tenant's business.
        let Some(found) = found.filter(|found| found.host == host) else {
            let name = crate::plugin::invocation::clean(&name, 64);
            let told = format!("the tenant keeps no credential `{name}` for `{host}`");
            self.note_denied((Grant::HttpSend, SEND), &told);
            return Ok(Err(Failure::Denied(told)));
        };
        let added = std::str::from_utf8(found.value.expose());
        let added = added.map(|value| request.set_header(&found.header, value));
        match added {
            Ok(Ok(())) => Ok(Ok(Ready { request, credential: Some(found) })),
            Ok(Err(fault)) => Ok(Err(Failure::Invalid(vec![fault_of(&fault, "/headers")]))),
            Err(_not_text) => Err(crate::error::Error::internal("a sealed credential is no text").into()),
        }
    }

    async fn http_exchange(&self, ready: Result<Ready, Failure>) -> Result<Response, Failure> {
        let Ready { request, credential } = ready?;
        let sent = self.core.outbound.send(Purpose::Plugin, &self.enabled.tenant, &request).await;
        let sent = sent.map_err(failed)?;
        if credential.is_some_and(|credential| repeats(&sent, credential.value.expose())) {
            return Err(Failure::Broken("the answer repeats the credential".to_owned()));
        }
        let outbound::Answer { status, headers, body } = sent;
        let headers = headers
            .into_iter()
            .filter(|(name, _)| !CONNECTION_HEADERS.contains(&name.as_str()))
            .map(|(name, value)| Header { name, value });
        Ok(Response { status, headers: headers.collect(), body: body.into() })
    }
}

/// The target of a request, or all that is wrong with it apart from its headers.
fn check(
    host: &str,
    (method, path, body): (Method, &str, &[u8]),
    timeout_ms: Option<u32>,
    reach: outbound::Reach,
) -> Result<Target, Vec<types::Fault>> {
    let mut faults = Vec::new();
    if path.len() > PATH_BYTES_MAX {
        faults.push(fault("/path", "too_many_bytes", format!("has at most {PATH_BYTES_MAX} bytes")));
    } else if !path.starts_with('/') {
        faults.push(fault("/path", "wrong_format", "begins with `/`".to_owned()));
    }
    if body.len() > BODY_BYTES_MAX {
        faults.push(fault("/body", "too_many_bytes", format!("has at most {BODY_BYTES_MAX} bytes")));
    }
    if matches!(method, Method::Get | Method::Head) && !body.is_empty() {
        faults.push(fault("/body", "not_here", "a GET or HEAD has no body".to_owned()));
    }
    if timeout_ms.is_some_and(|ms| ms == 0 || ms > TIMEOUT_MS_MAX) {
        faults.push(fault("/timeout-ms", "too_large", format!("is from 1 to {TIMEOUT_MS_MAX}")));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Target::of_host(host, path, reach)
        .map_err(|wrong| vec![fault("/path", "wrong_format", format!("the address {wrong}"))])
}

fn add_headers(request: &mut outbound::Request, headers: &[Header]) -> Result<(), Vec<types::Fault>> {
    let mut faults = Vec::new();
    for (position, Header { name, value }) in headers.iter().enumerate() {
        let pointer = format!("/headers/{position}");
        if HOST_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            faults.push(fault_of(&HeaderFault::Own(name.clone()), &pointer));
            continue;
        }
        match request.add_header(name, value) {
            Ok(()) => {}
            Err(wrong) => faults.push(fault_of(&wrong, &pointer)),
        }
        // One more could only say the same.
        if faults.last().is_some_and(|last| last.code == "too_many") {
            break;
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn fault_of(wrong: &HeaderFault, pointer: &str) -> types::Fault {
    let code = match wrong {
        HeaderFault::Name(_) => "wrong_format",
        HeaderFault::Own(_) => "reserved",
        HeaderFault::Value(_) => "bad_character",
        HeaderFault::TooMany => "too_many",
    };
    fault(pointer, code, wrong.to_string())
}

fn fault(pointer: &str, code: &str, message: String) -> types::Fault {
    let message = crate::plugin::invocation::clean(&message, 300);
    types::Fault { pointer: pointer.to_owned(), code: code.to_owned(), message }
}

fn method_of(method: Method) -> outbound::Method {
    match method {
        Method::Get => outbound::Method::Get,
        Method::Head => outbound::Method::Head,
        Method::Post => outbound::Method::Post,
        Method::Put => outbound::Method::Put,
        Method::Patch => outbound::Method::Patch,
        Method::Delete => outbound::Method::Delete,
    }
}

fn failed(failure: outbound::Failure) -> Failure {
    match failure {
        outbound::Failure::Busy
        | outbound::Failure::Unreachable
        | outbound::Failure::Connect(_)
        | outbound::Failure::Tls(_) => Failure::Unreachable(failure.to_string()),
        outbound::Failure::Timeout { .. } => Failure::Timeout,
        outbound::Failure::TooLarge { .. } => Failure::TooLarge,
        outbound::Failure::Broken(_) => Failure::Broken(failure.to_string()),
    }
}

fn code_of(failure: &Failure) -> &'static str {
    match failure {
        Failure::Denied(_) => "denied",
        Failure::Invalid(_) => "invalid",
        Failure::Unreachable(_) => "unreachable",
        Failure::Timeout => "timeout",
        Failure::Broken(_) => "broken",
        Failure::TooLarge => "too_large",
    }
}

/// Whether an answer has the credential in it, the whole header's value or the last word of it.
fn repeats(sent: &outbound::Answer, credential: &[u8]) -> bool {
    let word = credential.rsplit(|byte| *byte == b' ').next().unwrap_or(credential);
    // A short last word would be found everywhere.
    let needle = if word.len() >= credentials::VALUE_BYTES_MIN { word } else { credential };
    let has = |text: &[u8]| text.windows(needle.len()).any(|part| part == needle);
    has(&sent.body) || sent.headers.iter().any(|(_, value)| has(value.as_bytes()))
}
