//! The fake host's requests to others: they go nowhere, and are answered as the test says.

use serde_json::Value;

use super::{World, with};
use crate::bindings::imports::hospes::plugin::http::{Failure, Header, Method, Request, Response};

/// What stands for the servers of others.
#[derive(Debug, Clone, Default)]
pub(super) struct Web {
    answers: Vec<(String, Result<Response, Failure>)>,
    sent: Vec<Request>,
}

/// A request that the plugin has sent.
#[derive(Debug, Clone, PartialEq)]
pub struct SentRequest {
    /// Such as `POST api.example.com/orders`.
    pub line: String,
    /// Names and values, as they were given.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The name of the credential.
    pub credential: Option<String>,
}

/// Answers requests to `host` with a status and JSON from now on.
pub fn answer_requests(host: &str, status: u16, body: &Value) {
    let headers = vec![Header { name: "content-type".to_owned(), value: "application/json".to_owned() }];
    answer(host, Ok(Response { status, headers, body: body.to_string().into_bytes() }));
}

/// Lets requests to `host` fail from now on.
pub fn fail_requests(host: &str, failure: Failure) {
    answer(host, Err(failure));
}

fn answer(host: &str, answer: Result<Response, Failure>) {
    with(|world| {
        world.web.answers.retain(|(known, _)| known != host);
        world.web.answers.push((host.to_owned(), answer));
    });
}

/// The requests that were sent, also by invocations that were undone: a request cannot be.
pub fn sent_requests() -> Vec<SentRequest> {
    let shown = |request: &Request| SentRequest {
        line: format!("{} {}{}", verb(request.method), request.host, request.path),
        headers: request.headers.iter().map(|one| (one.name.clone(), one.value.clone())).collect(),
        body: request.body.clone(),
        credential: request.credential.clone(),
    };
    with(|world| world.web.sent.iter().map(shown).collect())
}

const fn verb(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Patch => "PATCH",
        Method::Delete => "DELETE",
    }
}

impl World {
    /// The world before an invocation, with the requests that it has sent.
    pub(super) fn undone(self, failed: &Self) -> Self {
        Self { web: failed.web.clone(), ..self }
    }
}

pub(crate) mod http {
    use super::super::with;
    use crate::bindings::imports::hospes::plugin::http::{Failure, Request, Response};
    use crate::{Error, Result};

    const REQUESTS_MAX: usize = 8;

    pub(crate) fn send_many(requests: &[Request]) -> Result<Vec<std::result::Result<Response, Failure>>> {
        with(|world| {
            world.calls += 1;
            if world.read_only {
                return Err(Error::Denied("this invocation may not send requests".to_owned()));
            }
            if requests.len() > REQUESTS_MAX {
                return Err(Error::Limit(format!("requests: {} of at most {REQUESTS_MAX}", requests.len())));
            }
            world.web.sent.extend_from_slice(requests);
            let answer = |request: &Request| {
                let known = world.web.answers.iter().find(|(host, _)| *host == request.host);
                known.map_or_else(
                    || Err(Failure::Denied(format!("no test answers for `{}`", request.host))),
                    |(_, answer)| answer.clone(),
                )
            };
            Ok(requests.iter().map(answer).collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::{self, Request};
    use crate::testing::{invoke, invoke_read_only, start};
    use crate::{Error, Result, kv};

    #[test]
    fn a_request_is_answered_as_told_and_stays_sent() {
        start(r#"name = "caller""#);
        answer_requests("api.example.com", 201, &json!({ "id": 7 }));
        let undone: Result<()> = invoke(|| {
            let request = Request::post("api.example.com", "/orders").json(&json!({ "n": 1 }))?;
            let response = http::send(request.credential("key"))?;
            assert_eq!((response.status, response.json::<Value>()?), (201, json!({ "id": 7 })));
            kv::set("seen", &1)?;
            Err(Error::rejected("no", "changed my mind"))
        });
        assert!(undone.is_err());
        assert_eq!(kv::get::<i64>("seen").unwrap(), None);
        let sent = sent_requests();
        assert_eq!((sent.len(), &*sent[0].line), (1, "POST api.example.com/orders"));
        assert_eq!((sent[0].credential.as_deref(), &*sent[0].body), (Some("key"), &br#"{"n":1}"#[..]));
    }

    #[test]
    fn failures_are_errors_of_their_own_kind() {
        start(r#"name = "caller""#);
        let send = || http::send(Request::get("api.example.com", "/"));
        assert!(matches!(send(), Err(Error::Denied(_))));
        fail_requests("api.example.com", Failure::Timeout);
        assert!(matches!(send(), Err(Error::Unavailable(_))));
        assert!(matches!(invoke_read_only(send), Err(Error::Denied(_))));
    }
}
