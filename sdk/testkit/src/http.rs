//! Other people's servers, as a test has them: each request is expected, and answered as the script says.

use serde_json::{Value, json};

use crate::Host;

/// A request that is expected, in the making. It must come, and nothing else may.
#[derive(Debug)]
#[must_use = "it is expected once `answer` or `fail` says what comes of it"]
pub struct Script<'a> {
    host: &'a Host,
    expectation: Value,
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// None comes in time; the test does not wait for it.
    Timeout,
    /// Nobody accepts the connection.
    Refused,
    /// The name has no public address.
    Unreachable,
    /// The answer breaks off.
    Broken,
    /// The answer is larger than the host reads.
    TooLarge,
}

impl Failure {
    const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
            Self::TooLarge => "too_large",
        }
    }
}

impl Response {
    /// An answer of JSON.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        Self::text(status, body.to_string()).header("content-type", "application/json")
    }

    /// An answer of any text; empty for none.
    #[must_use]
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl<'a> Script<'a> {
    pub(crate) fn of(host: &'a Host, method: &str, server: &str, path: &str) -> Self {
        let expectation = json!({ "method": method, "host": server, "path": path, "headers": [] });
        Self { host, expectation }
    }

    /// It has this header, among others. A credential that the tenant keeps is a header like others.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Some(headers) = self.expectation["headers"].as_array_mut() {
            headers.push(json!([name, value]));
        }
        self
    }

    /// Its body is this JSON, however it is written.
    pub fn json(mut self, body: &Value) -> Self {
        self.expectation["body"] = json!({ "json": body });
        self
    }

    /// Its body is JSON that has at least these members, at every depth.
    pub fn json_with(mut self, members: &Value) -> Self {
        self.expectation["body"] = json!({ "json_with": members });
        self
    }

    /// Its body is this text.
    pub fn text(mut self, body: &str) -> Self {
        self.expectation["body"] = json!({ "text": body });
        self
    }

    /// It comes so often, instead of once.
    pub fn times(mut self, times: u32) -> Self {
        self.expectation["times"] = json!(times);
        self
    }

    /// Expects it from now on, and answers it.
    ///
    /// # Panics
    /// If no plugin can send this, or no server can answer it.
    #[track_caller]
    pub fn answer(mut self, response: Response) {
        let Response { status, headers, body } = response;
        self.expectation["answer"] =
            json!({ "respond": { "status": status, "headers": headers, "body": body } });
        self.host.expect_request(&self.expectation);
    }

    /// Expects it from now on, and leaves it without an answer.
    ///
    /// # Panics
    /// If no plugin can send this.
    #[track_caller]
    pub fn fail(mut self, failure: Failure) {
        self.expectation["answer"] = json!({ "fail": failure.name() });
        self.host.expect_request(&self.expectation);
    }
}
