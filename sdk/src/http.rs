//! Requests that the host makes for the plugin, to the hosts that the tenant has named in the
//! grant `http:send`.
//!
//! A request is made at once and cannot be undone: it stays made when the invocation fails, and is
//! made again when the invocation runs again. Give it a key by which the other side knows it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::imports::hospes::plugin::http as wit;
pub use crate::bindings::imports::hospes::plugin::http::{Failure, Method};
use crate::error::encode;
use crate::{Error, Result, host};

/// A request to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Request(wit::Request);

/// What the other side has answered; a redirect is an answer like others, and is not followed.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// A request to `path` of `host`, which has `:port` if it is not 443.
    #[must_use]
    pub fn new(method: Method, host: &str, path: &str) -> Self {
        Self(wit::Request {
            method,
            host: host.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            credential: None,
            timeout_ms: None,
        })
    }

    /// Reads.
    #[must_use]
    pub fn get(host: &str, path: &str) -> Self {
        Self::new(Method::Get, host, path)
    }

    /// Adds, or does.
    #[must_use]
    pub fn post(host: &str, path: &str) -> Self {
        Self::new(Method::Post, host, path)
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.0.headers.push(wit::Header { name: name.to_owned(), value: value.to_owned() });
        self
    }

    /// With a body of at most 1 MiB.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.0.body = body.into();
        self
    }

    /// With a body of JSON.
    pub fn json<T: Serialize>(self, value: &T) -> Result<Self> {
        let body = encode("a request's body", value)?;
        Ok(self.header("content-type", "application/json").body(body))
    }

    /// With a credential that the tenant keeps for this host; the host adds it.
    #[must_use]
    pub fn credential(mut self, name: &str) -> Self {
        self.0.credential = Some(name.to_owned());
        self
    }

    /// With so much time for the whole exchange; at most 30,000.
    #[must_use]
    pub fn timeout_ms(mut self, ms: u32) -> Self {
        self.0.timeout_ms = Some(ms);
        self
    }
}

impl Response {
    /// Whether the status is 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of this name, which is in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        let read = serde_json::from_slice(&self.body);
        read.map_err(|error| Error::invalid("", "undecodable", format!("the answer: {error}")))
    }
}

/// Sends one request.
///
/// A host or credential that the tenant does not allow is [`Error::Denied`], and what has no answer
/// is [`Error::Unavailable`]; [`send_many`] tells more of why.
pub fn send(request: Request) -> Result<Response> {
    let answer = send_many(vec![request])?.pop();
    let answer = answer.ok_or_else(|| Error::Unavailable("the host has not answered".to_owned()))?;
    answer.map_err(|failure| match failure {
        Failure::Denied(what) => Error::Denied(what),
        Failure::Invalid(faults) => Error::Invalid(faults),
        Failure::Unreachable(why) | Failure::Broken(why) => Error::Unavailable(why),
        Failure::Timeout => Error::Unavailable("no answer came in time".to_owned()),
        Failure::TooLarge => Error::Limit("1 MiB of an answer".to_owned()),
    })
}

/// Sends at most 8 requests at the same time; the answers are in their order.
pub fn send_many(requests: Vec<Request>) -> Result<Vec<std::result::Result<Response, Failure>>> {
    let requests: Vec<_> = requests.into_iter().map(|request| request.0).collect();
    let answers = host::http::send_many(&requests)?;
    Ok(answers.into_iter().map(|answer| answer.map(read)).collect())
}

fn read(response: wit::Response) -> Response {
    let wit::Response { status, headers, body } = response;
    let headers = headers.into_iter().map(|header| (header.name, header.value)).collect();
    Response { status, headers, body }
}
