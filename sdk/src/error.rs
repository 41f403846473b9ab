//! Helpers of the contract's error type.

use serde::de::DeserializeOwned;

use crate::{Error, Fault, Rejection};

/// What every call of the host answers.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The plugin refuses, for a reason that a person should read.
    pub fn rejected(code: &str, message: impl Into<String>) -> Self {
        Self::Rejected(Rejection::new(code, message))
    }

    /// One thing is wrong with the input, at a JSON pointer into it.
    pub fn invalid(pointer: &str, code: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![Fault::new(pointer, code, message)])
    }
}

impl Rejection {
    /// A refusal without faults in the input.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), faults: Vec::new() }
    }

    /// The same refusal, naming one more place of the input that is wrong.
    #[must_use]
    pub fn at(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }
}

impl Fault {
    /// What is wrong at a JSON pointer.
    pub fn new(pointer: &str, code: &str, message: impl Into<String>) -> Self {
        Self { pointer: pointer.to_owned(), code: code.to_owned(), message: message.into() }
    }
}

/// Reads a document; `what` names it if it has another shape than expected.
pub(crate) fn decode<T: DeserializeOwned>(what: &str, document: &str) -> Result<T> {
    serde_json::from_str(document)
        .map_err(|error| Error::invalid("", "undecodable", format!("{what}: {error}")))
}

/// Writes a document.
pub(crate) fn encode<T: serde::Serialize>(what: &str, value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::invalid("", "unencodable", format!("{what}: {error}")))
}
