//! Time as an argument: owns [`Timestamp`] and the [`Clock`] that everything asks for it.
//!
//! Nothing else in the host may read the system's clock, or a test could not move it.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Microseconds since 1970-01-01T00:00:00Z, the precision of both databases.
///
/// Read and written as RFC 3339 in UTC; everything below a microsecond is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest time that a record may carry: 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// The latest time that a record may carry: 9999-12-30T22:00:00Z, the end of the calendar library's range.
    pub const MAX: Self = Self(253_402_207_200_000_000);

    /// The time `micros` microseconds after the epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// This time and `seconds` more (or less, if negative); stops at the ends of the range.
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    /// This time and `millis` milliseconds more; stops at the ends of the range.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis.saturating_mul(1_000)))
    }

    /// Reads RFC 3339 with any offset; `None` if it is not, or outside [`Timestamp::MIN`]..=[`Timestamp::MAX`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let time: jiff::Timestamp = text.parse().ok()?;
        let time = Self(time.as_microsecond());
        (Self::MIN..=Self::MAX).contains(&time).then_some(time)
    }

    /// The same instant in the calendar library.
    #[must_use]
    pub fn to_jiff(self) -> jiff::Timestamp {
        let clamped = self.0.clamp(Self::MIN.0, Self::MAX.0);
        jiff::Timestamp::from_microsecond(clamped).expect("clamped to the library's range")
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.to_jiff())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format_args!(
                "`{text}` is not a time in RFC 3339 such as 2026-01-31T08:00:00Z"
            ))
        })
    }
}

/// Where the time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
        let now = jiff::Timestamp::now();
        Timestamp(now.as_microsecond())
    }
}

/// A clock that stands still until it is moved: for tests, and for the demo's history.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.as_micros()))
    }

    /// Moves the clock to `now`.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_micros(), Ordering::SeqCst);
    }

    /// Moves the clock forward.
    pub fn advance_seconds(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_microseconds_in_utc() {
        let time = Timestamp::parse("2026-01-31T16:00:00+08:00").unwrap();
        assert_eq!(time.to_string(), "2026-01-31T08:00:00.000000Z");
    }

    #[test]
    fn what_is_below_a_microsecond_is_cut() {
        let time = Timestamp::parse("1970-01-01T00:00:00.0000019Z").unwrap();
        assert_eq!(time.as_micros(), 1);
    }

    #[test]
    fn the_whole_range_reads_itself_back() {
        for time in [Timestamp::MIN, Timestamp::MAX, Timestamp::from_micros(-1)] {
            assert_eq!(Timestamp::parse(&time.to_string()), Some(time));
        }
    }
}
