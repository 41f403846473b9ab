//! Who answers in the place of other people's servers when a plugin is rehearsed.

use bytes::Bytes;

use super::{Answer, Excess, Failure, Request};

/// A request as the other side would see it, but for the headers that are about the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Such as `POST`.
    pub method: String,
    /// The host, with the port if it is not 443.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case, and values; those that are no text are left out.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// What knows the answers.
pub trait Understudy: Send + Sync {
    /// Answers a request at once.
    ///
    /// # Errors
    /// Those that the other side, or the way to it, would cause.
    fn answer(&self, request: &Seen) -> Result<Answer, Failure>;
}

/// Asks for an answer, within the limits of the request.
pub(super) fn ask(understudy: &dyn Understudy, request: &Request) -> Result<Answer, Failure> {
    let text = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    let seen = Seen {
        method: request.method.to_hyper().to_string(),
        host: request.target.authority(),
        path: request.target.path().to_owned(),
        headers: request.headers().iter().filter_map(text).collect(),
        body: request.body.clone(),
    };
    let mut answer = understudy.answer(&seen)?;
    let max = request.limits.answer_bytes_max;
    if answer.body.len() > max {
        match request.limits.excess {
            Excess::Cut => answer.body.truncate(max),
            Excess::Refuse => return Err(Failure::TooLarge { max }),
        }
    }
    Ok(answer)
}
