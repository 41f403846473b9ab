//! Attempts to tell a webhook of an event, as they are kept for its tenant to see.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::domain::ids::{EventId, WebhookAttemptId};

/// Characters of an answer that are kept.
const ANSWER_CHARS_MAX: usize = 500;
/// Attempts of one webhook that are kept, and for how many days.
pub const ATTEMPTS_KEPT_MAX: u32 = 1_000;
/// As above, in days.
pub const ATTEMPT_DAYS_MAX: i64 = 30;
/// The longest wait that an answer may ask for.
const RETRY_AFTER_SECONDS_MAX: u32 = 60 * 60;

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Attempt {
    /// Its id; later attempts have greater ones.
    #[schema(value_type = String)]
    pub id: WebhookAttemptId,
    /// The event: `webhook-id` of every attempt to tell of it.
    #[schema(value_type = String)]
    pub event: EventId,
    /// The event's name.
    pub name: String,
    /// Which attempt to tell of this event it was, from 1.
    pub number: i64,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// How long it took.
    pub duration_ms: i64,
    /// `delivered`; `refused` for an answer other than 2xx; or why there was no answer: `busy`,
    /// `unreachable`, `connect`, `tls`, `timeout`, `broken`.
    pub outcome: String,
    /// The answer's status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<i64>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How the answer's body begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// What an answer's status means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken.
    Delivered,
    /// It was not; it is tried again later.
    Refused,
    /// It was not, and nothing shall be sent for so many seconds.
    Later(u32),
    /// Nothing shall be sent any more.
    Gone,
}

impl Verdict {
    /// The meaning of `status`, with the value of `Retry-After` in seconds if there was one.
    #[must_use]
    pub fn of(status: u16, retry_after: Option<&str>) -> Self {
        match status {
            200..=299 => Self::Delivered,
            410 => Self::Gone,
            429 | 503 => match retry_after.and_then(|seconds| seconds.trim().parse::<u32>().ok()) {
                Some(seconds) => Self::Later(seconds.clamp(1, RETRY_AFTER_SECONDS_MAX)),
                None => Self::Refused,
            },
            _ => Self::Refused,
        }
    }
}

/// How a body begins, for a person: what is no text or controls a terminal is replaced.
#[must_use]
pub fn excerpt(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let text: String = text
        .chars()
        .take(ANSWER_CHARS_MAX)
        .map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_2xx_is_a_success_and_only_a_number_is_waited_for() {
        for (status, retry_after, verdict) in [
            (200, None, Verdict::Delivered),
            (204, Some("5"), Verdict::Delivered),
            (301, None, Verdict::Refused),
            (404, None, Verdict::Refused),
            (410, None, Verdict::Gone),
            (429, Some("7"), Verdict::Later(7)),
            (503, Some("999999"), Verdict::Later(3_600)),
            (503, Some("0"), Verdict::Later(1)),
            (503, Some("Wed, 21 Oct 2026 07:28:00 GMT"), Verdict::Refused),
            (429, None, Verdict::Refused),
            (500, Some("7"), Verdict::Refused),
        ] {
            assert_eq!(Verdict::of(status, retry_after), verdict, "{status} {retry_after:?}");
        }
    }

    #[test]
    fn an_excerpt_cannot_write_to_a_terminal() {
        assert_eq!(excerpt(b"a\x1b[2Jb\r\n\xff").as_deref(), Some("a\u{fffd}[2Jb\u{fffd}\n\u{fffd}"));
        assert_eq!(excerpt(b""), None);
        assert_eq!(excerpt(&[b'x'; 10_000]).unwrap().len(), ANSWER_CHARS_MAX);
    }
}
