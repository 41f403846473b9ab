//! `http`: requests that the host makes for the plugin.

use hospes_bindings::hospes::plugin::http::{Failure, Host, Request, Response};
use hospes_bindings::hospes::plugin::types;

use super::{Access, Answered, Invocation, answer};
use crate::domain::grant::Grant;
use crate::error::Error;

const REQUESTS_MAX: usize = 8;

type Sent = Vec<Result<Response, Failure>>;

impl Host for Invocation {
    async fn send_many(&mut self, requests: Vec<Request>) -> wasmtime::Result<Result<Sent, types::Error>> {
        answer(self.http_send(&requests))
    }
}

impl Invocation {
    /// The host makes no requests yet.
    fn http_send(&mut self, requests: &[Request]) -> Answered<Sent> {
        self.enter(Grant::HttpSend, "http.send-many", Access::Read(requests.len()), REQUESTS_MAX)?;
        Err(Error::unavailable("this host sends no requests").into())
    }
}
