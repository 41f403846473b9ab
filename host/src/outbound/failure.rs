//! Why a request to somebody else's server has no answer.

use std::error::Error as StdError;

/// A request that has no usable answer. What is shown of it names no address: a name that does
/// not exist and one that means a machine inside look the same.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Too many requests are under way.
    #[error("too many requests are under way; try again later")]
    Busy,
    /// The name has no address that may be reached.
    #[error("the host has no public address")]
    Unreachable,
    /// Nobody accepts the connection.
    #[error("the host does not accept the connection")]
    Connect(#[source] Cause),
    /// The certificate is not good for the host, or it does not speak TLS.
    #[error("the secure connection failed: {0}")]
    Tls(String),
    /// It took too long.
    #[error("no complete answer within {seconds} s")]
    Timeout {
        /// The limit.
        seconds: u64,
    },
    /// The answer is too large.
    #[error("the answer has more than {max} bytes")]
    TooLarge {
        /// The limit.
        max: usize,
    },
    /// The answer broke off, or is none.
    #[error("the answer broke off, or is not HTTP")]
    Broken(#[source] Cause),
}

/// The private cause, for the log.
pub(super) type Cause = Box<dyn StdError + Send + Sync>;

impl Failure {
    /// Stable snake_case code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Unreachable => "unreachable",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::Timeout { .. } => "timeout",
            Self::TooLarge { .. } => "too_large",
            Self::Broken(_) => "broken",
        }
    }

    /// Whether the request was certainly not sent.
    #[must_use]
    pub const fn is_unsent(&self) -> bool {
        match self {
            Self::Busy | Self::Unreachable | Self::Connect(_) | Self::Tls(_) => true,
            Self::Timeout { .. } | Self::TooLarge { .. } | Self::Broken(_) => false,
        }
    }
}
