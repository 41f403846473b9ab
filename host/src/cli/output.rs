//! What a command says: answers on standard output, faults on standard error, an exit code.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::db::OpenError;
use crate::error::{Error, Fault};
use crate::files::FileError;

/// The command could not do its work.
const CODE_FAILED: u8 = 1;
/// The command line or the configuration is wrong; nothing was tried.
const CODE_USAGE: u8 = 2;

/// Why a command ends without having done its work.
#[derive(Debug)]
pub(super) struct Failure {
    message: String,
    code: u8,
}

/// The result of a command.
pub(super) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// The work failed.
    pub(super) fn failed(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), code: CODE_FAILED }
    }

    /// What was asked for cannot be meant.
    pub(super) fn usage(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), code: CODE_USAGE }
    }

    /// What it says.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Says the failure and answers its exit code.
    pub(super) fn report(&self) -> ExitCode {
        // If standard error is closed, the exit code still tells.
        drop(writeln!(io::stderr(), "error: {}", self.message));
        ExitCode::from(self.code)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error)
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::failed(Chain(&error))
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::failed(Chain(&error))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::failed(Chain(&error))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match &error {
            Error::Invalid { faults } => Self::failed(list(faults)),
            Error::PluginRejected { faults, .. } if !faults.is_empty() => {
                Self::failed(format!("{error}\n{}", list(faults)))
            }
            Error::NotFound { .. }
            | Error::Gone { .. }
            | Error::Conflict { .. }
            | Error::VersionMismatch { .. }
            | Error::Unauthenticated(_)
            | Error::Forbidden(_)
            | Error::Refused { .. }
            | Error::Limit { .. }
            | Error::PluginRejected { .. }
            | Error::PluginFailed { .. } => Self::failed(&error),
            // The operator is the one who may see the cause.
            Error::Unavailable(_) | Error::Internal(_) => Self::failed(Chain(&error)),
        }
    }
}

fn list(faults: &[Fault]) -> String {
    let lines: Vec<String> = faults
        .iter()
        .map(|fault| match fault.pointer.as_str() {
            "" => format!("  - {}", fault.message),
            pointer => format!("  - {pointer}: {}", fault.message),
        })
        .collect();
    format!("this is refused:\n{}", lines.join("\n"))
}

/// An error and its causes in one line.
struct Chain<'e>(&'e dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let causes = std::iter::successors(self.0.source(), |cause| cause.source());
        let mut said = self.0.to_string();
        for cause in causes {
            // Libraries often repeat their source's text in their own.
            let cause = cause.to_string();
            if !said.contains(&cause) {
                write!(f, ": {cause}")?;
                said = cause;
            }
        }
        Ok(())
    }
}

/// Writes a line of a command's answer.
pub(super) fn say(line: impl fmt::Display) -> Outcome {
    match writeln!(io::stdout(), "{line}") {
        // Whoever read this has seen enough, as in `hospes openapi | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
