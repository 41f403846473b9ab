//! A request to somebody else's server, and its answer.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::Target;

/// Headers of a request at most, and their bytes together.
pub const HEADERS_MAX: usize = 32;
pub const HEADER_BYTES_MAX: usize = 8 * 1024;
/// Headers that say where a message goes and where it ends: they are the client's own.
const OWN_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// What is done to the thing that an address names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Read the head alone.
    Head,
    /// Add, or do.
    Post,
    /// Replace.
    Put,
    /// Change.
    Patch,
    /// Remove.
    Delete,
}

impl Method {
    pub(super) const fn to_hyper(self) -> hyper::Method {
        match self {
            Self::Get => hyper::Method::GET,
            Self::Head => hyper::Method::HEAD,
            Self::Post => hyper::Method::POST,
            Self::Put => hyper::Method::PUT,
            Self::Patch => hyper::Method::PATCH,
            Self::Delete => hyper::Method::DELETE,
        }
    }
}

/// What happens with an answer that is larger than [`Limits::answer_bytes_max`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// It is cut there: for who only wants to see how it begins.
    Cut,
    /// It is a failure.
    Refuse,
}

/// The limits of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the lookup of the name to the last byte of the answer.
    pub time: Duration,
    /// Bytes of the answer's body.
    pub answer_bytes_max: usize,
    /// What happens with more.
    pub excess: Excess,
}

/// A request.
#[derive(Clone)]
pub struct Request {
    /// What is done.
    pub method: Method,
    /// To what.
    pub target: Target,
    /// The body; none if empty.
    pub body: Bytes,
    /// The limits.
    pub limits: Limits,
    headers: HeaderMap,
}

/// A header that cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// Not the name of a header.
    #[error("`{0}` is not the name of a header")]
    Name(String),
    /// The header is the client's own.
    #[error("the header `{0}` is set by the server")]
    Own(String),
    /// Its value has characters that no header has.
    #[error("the value of the header `{0}` has characters that headers cannot have")]
    Value(String),
    /// Too many, or too long.
    #[error("at most {HEADERS_MAX} headers with {HEADER_BYTES_MAX} bytes together can be sent")]
    TooMany,
}

impl Request {
    /// A request without headers.
    #[must_use]
    pub fn new(method: Method, target: Target, body: Bytes, limits: Limits) -> Self {
        Self { method, target, body, limits, headers: HeaderMap::new() }
    }

    /// Adds a header; one that is there already is sent twice.
    ///
    /// # Errors
    /// [`HeaderFault`].
    pub fn add_header(&mut self, name: &str, value: &str) -> Result<(), HeaderFault> {
        let parsed = header_name(name)?;
        let value = HeaderValue::from_str(value);
        let value = value.map_err(|_unprintable| HeaderFault::Value(name.to_owned()))?;
        let bytes = |name: &HeaderName, value: &HeaderValue| name.as_str().len() + value.len();
        let before: usize = self.headers.iter().map(|(name, value)| bytes(name, value)).sum();
        if self.headers.len() >= HEADERS_MAX || before + bytes(&parsed, &value) > HEADER_BYTES_MAX {
            return Err(HeaderFault::TooMany);
        }
        self.headers.append(parsed, value);
        Ok(())
    }

    /// Puts a header in the place of all of its name.
    ///
    /// # Errors
    /// [`HeaderFault`].
    pub fn set_header(&mut self, name: &str, value: &str) -> Result<(), HeaderFault> {
        self.headers.remove(header_name(name)?);
        self.add_header(name, value)
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

/// A header's name that a request may carry.
fn header_name(name: &str) -> Result<HeaderName, HeaderFault> {
    let parsed = HeaderName::from_bytes(name.as_bytes());
    let parsed = parsed.map_err(|_bad_name| HeaderFault::Name(name.to_owned()))?;
    if OWN_HEADERS.contains(&parsed.as_str()) { Err(HeaderFault::Own(name.to_owned())) } else { Ok(parsed) }
}

/// Whether a request may carry a header of this name.
#[must_use]
pub fn is_header_name(name: &str) -> bool {
    header_name(name).is_ok()
}

/// An answer. A redirection is one too: nobody follows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, names in lower case; values that are no text are left out.
    pub headers: Vec<(String, String)>,
    /// The body, as it came: nothing is decompressed.
    pub body: Bytes,
}

/// Without headers and body, which are the other side's secrets.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({}, {} bytes)", self.status, self.body.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::Reach;

    fn request() -> Request {
        let target = Target::parse("https://example.com/", Reach::Public).unwrap();
        let limits = Limits { time: Duration::from_secs(1), answer_bytes_max: 1, excess: Excess::Refuse };
        Request::new(Method::Post, target, Bytes::new(), limits)
    }

    #[test]
    fn a_header_cannot_smuggle_another_nor_a_message() {
        let mut request = request();
        for (name, value) in [
            ("x\r\nhost", "a"),
            ("x y", "a"),
            ("", "a"),
            ("x", "a\r\nhost: inner"),
            ("x", "a\nb"),
            ("x", "a\0b"),
            ("Host", "inner"),
            ("Content-Length", "0"),
            ("Transfer-Encoding", "chunked"),
            ("connection", "upgrade"),
            ("Proxy-Authorization", "x"),
        ] {
            assert!(request.add_header(name, value).is_err(), "{name}: {value}");
        }
        assert!(request.headers().is_empty());
        request.add_header("X-Mine", "a b").unwrap();
        request.set_header("x-mine", "c").unwrap();
        assert_eq!(request.headers().get_all("x-mine").iter().count(), 1);
    }

    #[test]
    fn headers_are_counted_and_weighed() {
        let mut request = request();
        for n in 0..HEADERS_MAX {
            request.add_header(&format!("x-{n}"), "a").unwrap();
        }
        assert_eq!(request.add_header("y", "a"), Err(HeaderFault::TooMany));
        let mut request = self::request();
        assert_eq!(request.add_header("y", &"a".repeat(HEADER_BYTES_MAX)), Err(HeaderFault::TooMany));
    }
}
