//! What of a request and its answer never enters a recording: the values of headers that are secrets.
//!
//! Credentials that the tenant keeps are added behind this, and are in no answer: see `host/http.rs`.

use hospes_bindings::hospes::plugin::http::{Failure, Header, Request, Response};
use hospes_bindings::hospes::plugin::types::Error;

/// What stands in the place of a value.
const MASK: &str = "(not recorded)";
/// Headers that are secrets by their nature.
const SECRETS: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "authentication-info",
    "cookie",
    "set-cookie",
    "x-api-key",
    "api-key",
    "x-auth-token",
    "x-csrf-token",
];
/// What the name of a header has in it whose value is taken for a secret.
const HINTS: &[&str] = &["token", "secret", "password", "signature"];

type Sent = Result<Vec<Result<Response, Failure>>, Error>;

fn is_secret(header: &Header) -> bool {
    let name = header.name.to_ascii_lowercase();
    SECRETS.contains(&name.as_str()) || HINTS.iter().any(|hint| name.contains(hint))
}

fn masked(headers: &mut [Header]) {
    for header in headers.iter_mut().filter(|header| is_secret(header)) {
        MASK.clone_into(&mut header.value);
    }
}

/// Requests as they are recorded.
pub(in crate::plugin) fn requests(requests: &[Request]) -> Vec<Request> {
    let mut shown = requests.to_vec();
    shown.iter_mut().for_each(|request| masked(&mut request.headers));
    shown
}

/// Their answers as they are recorded.
pub(in crate::plugin) fn answers(sent: &Sent) -> Sent {
    let mut shown = sent.clone();
    if let Ok(answers) = &mut shown {
        answers.iter_mut().flatten().for_each(|response| masked(&mut response.headers));
    }
    shown
}

/// Whether an answer is recorded otherwise than the guest has seen it.
pub(in crate::plugin) fn has_secrets(sent: &Sent) -> bool {
    sent.iter().flatten().flatten().any(|response| response.headers.iter().any(is_secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_headers_that_are_secrets_are_left_out() {
        let header = |name: &str| Header { name: name.to_owned(), value: "s3cret".to_owned() };
        for name in ["Authorization", "COOKIE", "x-api-key", "X-My-Token", "webhook-signature"] {
            let mut headers = [header(name)];
            masked(&mut headers);
            assert_eq!(headers[0].value, MASK, "{name}");
        }
        let mut headers = [header("content-type")];
        masked(&mut headers);
        assert_eq!(headers[0].value, "s3cret");
    }
}
