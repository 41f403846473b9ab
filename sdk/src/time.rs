//! Points in time, without a clock: a guest has none but `context::now()`.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const MICROS_A_SECOND: i64 = 1_000_000;
const MICROS_A_DAY: i64 = 86_400 * MICROS_A_SECOND;

/// Microseconds since 1970-01-01T00:00:00Z; as JSON an RFC 3339 text in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since 1970.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Midnight UTC at the start of a day; months and days count from 1.
    pub const fn from_date(year: i64, month: i64, day: i64) -> Self {
        Self(days_from_civil(year, month, day) * MICROS_A_DAY)
    }

    /// Year, month and day in UTC.
    pub const fn date(self) -> (i64, i64, i64) {
        civil_from_days(self.0.div_euclid(MICROS_A_DAY))
    }

    /// Whole days later, or earlier if negative.
    #[must_use]
    pub const fn add_days(self, days: i64) -> Self {
        Self(self.0.saturating_add(days.saturating_mul(MICROS_A_DAY)))
    }

    /// Calendar months later in UTC, at the same time of day. A day that the
    /// month lacks becomes its last: 31 January and one month is 28 February.
    #[must_use]
    pub const fn add_months(self, months: i64) -> Self {
        let (year, month, day) = self.date();
        let count = year * 12 + (month - 1) + months;
        let (year, month) = (count.div_euclid(12), count.rem_euclid(12) + 1);
        let last = days_in_month(year, month);
        let day = if day > last { last } else { day };
        Self(Self::from_date(year, month, day).0 + self.0.rem_euclid(MICROS_A_DAY))
    }

    /// The day for a person: `1998-07-01`, in UTC.
    pub fn display_date(self) -> String {
        let (year, month, day) = self.date();
        format!("{year:04}-{month:02}-{day:02}")
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let micros = self.0.rem_euclid(MICROS_A_DAY);
        let seconds = micros / MICROS_A_SECOND;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
            micros % MICROS_A_SECOND
        )
    }
}

/// The text is no RFC 3339 time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotATime;

impl fmt::Display for NotATime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an RFC 3339 time")
    }
}

impl std::error::Error for NotATime {}

impl FromStr for Timestamp {
    type Err = NotATime;

    /// Reads RFC 3339 with any offset; digits below a microsecond are dropped.
    fn from_str(text: &str) -> Result<Self, NotATime> {
        let bytes = text.as_bytes();
        let (date, rest) = bytes.split_at_checked(10).ok_or(NotATime)?;
        let (clock, rest) = rest.split_at_checked(9).ok_or(NotATime)?;
        let (
            [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1],
            [b'T' | b't' | b' ', h0, h1, b':', i0, i1, b':', s0, s1],
        ) = (date, clock)
        else {
            return Err(NotATime);
        };
        let year = number(&[*y0, *y1, *y2, *y3])?;
        let month = within(number(&[*m0, *m1])?, 1, 12)?;
        let day = within(number(&[*d0, *d1])?, 1, days_in_month(year, month))?;
        let hour = within(number(&[*h0, *h1])?, 0, 23)?;
        let minute = within(number(&[*i0, *i1])?, 0, 59)?;
        let second = within(number(&[*s0, *s1])?, 0, 59)?;
        let (micros, rest) = fraction(rest)?;
        let seconds = hour * 3600 + minute * 60 + second - offset(rest)?;
        Ok(Self(Self::from_date(year, month, day).0 + seconds * MICROS_A_SECOND + micros))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|error| D::Error::custom(format!("`{text}` is {error}")))
    }
}

fn number(digits: &[u8]) -> Result<i64, NotATime> {
    digits.iter().try_fold(0, |value, digit| match digit {
        b'0'..=b'9' => Ok(value * 10 + i64::from(digit - b'0')),
        _ => Err(NotATime),
    })
}

fn within(value: i64, least: i64, most: i64) -> Result<i64, NotATime> {
    if (least..=most).contains(&value) { Ok(value) } else { Err(NotATime) }
}

/// Microseconds of `.123…`, and what follows.
fn fraction(rest: &[u8]) -> Result<(i64, &[u8]), NotATime> {
    let [b'.', rest @ ..] = rest else {
        return Ok((0, rest));
    };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = rest.split_at(length);
    if digits.is_empty() {
        return Err(NotATime);
    }
    let micros =
        (0..6).fold(0, |value, at| value * 10 + digits.get(at).map_or(0, |digit| i64::from(digit - b'0')));
    Ok((micros, rest))
}

/// Seconds east of UTC of `Z` or `+08:00`.
fn offset(rest: &[u8]) -> Result<i64, NotATime> {
    match rest {
        [b'Z' | b'z'] => Ok(0),
        [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1] => {
            let hours = within(number(&[*h0, *h1])?, 0, 23)?;
            let minutes = within(number(&[*m0, *m1])?, 0, 59)?;
            let seconds = hours * 3600 + minutes * 60;
            Ok(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => Err(NotATime),
    }
}

const fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar: counted from
/// March, so that the leap day is a year's last.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn text_and_back_is_the_same_time() {
        for text in [
            "1970-01-01T00:00:00.000000Z",
            "1998-07-01T23:59:59.999999Z",
            "2000-02-29T12:30:00.000001Z",
            "1969-12-31T23:59:59.500000Z",
        ] {
            assert_eq!(at(text).to_string(), text);
        }
        assert_eq!(at("1970-01-02T00:00:00Z").micros(), 86_400_000_000);
    }

    #[test]
    fn every_day_of_four_centuries_survives_the_calendar() {
        for days in -80_000..80_000 {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }

    #[test]
    fn offsets_are_taken_off() {
        assert_eq!(at("2026-01-01T08:00:00+08:00"), at("2026-01-01T00:00:00Z"));
        assert_eq!(at("2025-12-31T19:30:00.25-04:30"), at("2026-01-01T00:00:00.25Z"));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026",
            "2026-02-29T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "２０２６-01-01",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(NotATime), "{text}");
        }
    }

    #[test]
    fn a_month_later_keeps_to_the_month() {
        assert_eq!(at("2026-01-31T10:00:00Z").add_months(1), at("2026-02-28T10:00:00Z"));
        assert_eq!(at("2023-02-28T10:00:00Z").add_months(12), at("2024-02-28T10:00:00Z"));
        assert_eq!(at("2024-02-29T10:00:00Z").add_months(-12), at("2023-02-28T10:00:00Z"));
        assert_eq!(at("2026-11-15T10:00:00Z").add_months(2), at("2027-01-15T10:00:00Z"));
    }
}
