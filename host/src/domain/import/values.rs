//! Text of a file as values: money without floats, times with a time zone, whole numbers.

use jiff::civil;
use jiff::tz::TimeZone;

use super::mapping::{DecimalMark, MoneyOptions, TimeOptions};
use crate::clock::Timestamp;
use crate::domain::code::RowCode;
use crate::domain::money::AMOUNT_MINOR_MAX;

/// Reads a decimal number as minor units of a currency with `exponent` decimals, exactly.
pub(super) fn money(text: &str, exponent: u32, options: &MoneyOptions) -> Result<i64, RowCode> {
    let exponent = if options.minor_units { 0 } else { exponent };
    let wrong = || {
        let example = match (exponent, options.decimal) {
            (0, DecimalMark::Point | DecimalMark::Comma) => "-1234",
            (1.., DecimalMark::Point) => "-1234.50",
            (1.., DecimalMark::Comma) => "-1234,50",
        };
        RowCode::NotAnAmount { example: example.to_owned() }
    };
    let (negative, digits) = sign(text);
    let mark = options.decimal.as_char();
    let (whole, fraction) = digits.split_once(mark).unwrap_or((digits, ""));
    let whole = match options.grouping {
        Some(grouping) => ungroup(whole, grouping.as_char()).ok_or_else(wrong)?,
        None => whole.to_owned(),
    };
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !is_number(&whole) || !is_number(fraction) {
        return Err(wrong());
    }
    let fraction = fraction.trim_end_matches('0');
    let places = u32::try_from(fraction.len()).unwrap_or(u32::MAX);
    if places > exponent {
        return Err(RowCode::TooManyDecimals { max: exponent.to_string() });
    }
    let padding = "0".repeat(usize::try_from(exponent - places).unwrap_or_default());
    let minor: i64 = format!("0{whole}{fraction}{padding}").parse().unwrap_or(i64::MAX);
    if minor > AMOUNT_MINOR_MAX {
        // A person compares it with what stands in the file, which is rarely in minor units.
        let max = AMOUNT_MINOR_MAX / 10_i64.pow(exponent);
        return Err(RowCode::AmountOutOfRange { max: max.to_string() });
    }
    Ok(if negative { -minor } else { minor })
}

fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// Takes the marks between groups of three digits out; `None` if a group is not three long.
fn ungroup(whole: &str, mark: char) -> Option<String> {
    let mut groups = whole.split(mark);
    let first = groups.next().unwrap_or_default();
    let rest: Vec<&str> = groups.collect();
    let grouped = !rest.is_empty();
    if grouped && (first.is_empty() || first.len() > 3 || rest.iter().any(|group| group.len() != 3)) {
        return None;
    }
    Some(format!("{first}{}", rest.concat()))
}

/// Reads a time. Without a format: RFC 3339, or a local date with or without a time of day.
pub(super) fn time(text: &str, options: &TimeOptions, zone: &TimeZone) -> Result<Timestamp, RowCode> {
    let found = match &options.format {
        None => Timestamp::parse(text).or_else(|| local(text, zone)),
        Some(format) => formatted(text, format, zone),
    };
    found.ok_or_else(|| RowCode::NotATime {
        example: match &options.format {
            Some(format) => example(format),
            None => "2026-01-31, 2026-01-31 08:00:00, 2026-01-31T08:00:00+08:00".to_owned(),
        },
    })
}

/// A time in a format, for people who do not read formats.
fn example(format: &str) -> String {
    let sample = civil::date(2026, 1, 31).at(8, 0, 0, 0).to_zoned(TimeZone::UTC).expect("exists in UTC");
    jiff::fmt::strtime::format(format, &sample).unwrap_or_else(|_odd| format.to_owned())
}

fn local(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let is_date = text.len() == "2026-01-31".len();
    let local = if is_date {
        text.parse::<civil::Date>().ok()?.at(0, 0, 0, 0)
    } else {
        text.parse::<civil::DateTime>().ok()?
    };
    in_zone(local, zone)
}

fn formatted(text: &str, format: &str, zone: &TimeZone) -> Option<Timestamp> {
    let broken = jiff::fmt::strtime::parse(format, text).ok()?;
    if broken.offset().is_some() || broken.timestamp().is_some() {
        return in_range(broken.to_timestamp().ok()?);
    }
    let date = broken.to_date().ok()?;
    let time = broken.to_time().unwrap_or(civil::Time::midnight());
    in_zone(date.to_datetime(time), zone)
}

fn in_zone(local: civil::DateTime, zone: &TimeZone) -> Option<Timestamp> {
    // A time that the clocks pass over or show twice is read as the calendar
    // library does by default: later in a gap, the earlier one in a fold.
    in_range(local.to_zoned(zone.clone()).ok()?.timestamp())
}

fn in_range(time: jiff::Timestamp) -> Option<Timestamp> {
    let time = Timestamp::from_micros(time.as_microsecond());
    (Timestamp::MIN..=Timestamp::MAX).contains(&time).then_some(time)
}

/// Reads a whole number; `3.0` and `3.00` are whole too, as spreadsheets write them.
pub(super) fn integer(text: &str, minimum: i64, maximum: i64) -> Result<i64, RowCode> {
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => whole,
        _ => text,
    };
    let digits = sign(whole).1;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(RowCode::NotAWholeNumber);
    }
    let number = whole.parse::<i64>().ok().filter(|number| (minimum..=maximum).contains(number));
    number.ok_or_else(|| RowCode::NumberOutOfRange { min: minimum.to_string(), max: maximum.to_string() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::mapping::GroupingMark;
    use super::*;

    fn amount(text: &str) -> Result<i64, &'static str> {
        money(text, 2, &MoneyOptions::default()).map_err(|wrong| wrong.as_str())
    }

    #[test]
    fn amounts_are_exact() {
        assert_eq!(amount("29.33"), Ok(2_933));
        assert_eq!(amount("0.00"), Ok(0));
        assert_eq!(amount("-.5"), Ok(-50));
        assert_eq!(amount("+7"), Ok(700));
        assert_eq!(amount("1.100"), Ok(110));
        assert_eq!(amount("900000000.00"), Ok(AMOUNT_MINOR_MAX));
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", "-", ".", "1,5", "1e3", "1 000", "٣", "--1", "NaN", "¥3"] {
            assert_eq!(amount(text), Err("not_an_amount"), "{text}");
        }
        assert_eq!(amount("1.001"), Err("too_many_decimals"));
        assert_eq!(amount("900000000.01"), Err("amount_out_of_range"));
        assert_eq!(amount("99999999999999999999999999"), Err("amount_out_of_range"));
    }

    #[test]
    fn grouping_must_be_by_thousands() {
        let options = MoneyOptions {
            decimal: DecimalMark::Comma,
            grouping: Some(GroupingMark::Point),
            minor_units: false,
        };
        assert_eq!(money("1.234.567,8", 2, &options), Ok(123_456_780));
        assert_eq!(money("234,8", 2, &options), Ok(23_480));
        assert_eq!(money("12.34,00", 2, &options).unwrap_err().as_str(), "not_an_amount");
    }

    #[test]
    fn minor_units_are_whole() {
        let options = MoneyOptions { minor_units: true, ..MoneyOptions::default() };
        assert_eq!(money("2933", 2, &options), Ok(2_933));
        assert_eq!(
            money("29.33", 2, &options).unwrap_err(),
            RowCode::TooManyDecimals { max: "0".to_owned() }
        );
    }

    #[test]
    fn what_is_told_of_an_amount_is_written_as_the_file_writes_amounts() {
        let of_units = MoneyOptions { minor_units: true, ..MoneyOptions::default() };
        let whole = RowCode::NotAnAmount { example: "-1234".to_owned() };
        assert_eq!(money("none", 2, &of_units), Err(whole.clone()));
        assert_eq!(money("none", 0, &MoneyOptions::default()), Err(whole));
        let range = RowCode::AmountOutOfRange { max: "900000000".to_owned() };
        assert_eq!(money("900000000.01", 2, &MoneyOptions::default()), Err(range));
    }

    fn micros(text: &str, format: Option<&str>, zone: &str) -> Option<String> {
        let options = TimeOptions { format: format.map(str::to_owned), time_zone: None };
        time(text, &options, &TimeZone::get(zone).unwrap()).ok().map(|time| time.to_string())
    }

    #[test]
    fn a_local_date_begins_at_midnight_of_its_zone() {
        let time = micros("1997-01-01", None, "Asia/Shanghai");
        assert_eq!(time.as_deref(), Some("1996-12-31T16:00:00.000000Z"));
        let time = micros("1997-07-01 12:30", None, "America/New_York");
        assert_eq!(time.as_deref(), Some("1997-07-01T16:30:00.000000Z"));
        let time = micros("31/12/1997 08:05", Some("%d/%m/%Y %H:%M"), "UTC");
        assert_eq!(time.as_deref(), Some("1997-12-31T08:05:00.000000Z"));
    }

    #[test]
    fn an_offset_in_the_text_wins_over_the_zone() {
        let time = micros("1997-01-01T00:00:00+08:00", None, "America/New_York");
        assert_eq!(time.as_deref(), Some("1996-12-31T16:00:00.000000Z"));
    }

    #[test]
    fn what_is_no_time_is_answered_with_one() {
        let options = TimeOptions { format: Some("%d/%m/%Y %H:%M".to_owned()), time_zone: None };
        let example = "31/01/2026 08:00".to_owned();
        assert_eq!(time("2026-01-31", &options, &TimeZone::UTC), Err(RowCode::NotATime { example }));
    }

    #[test]
    fn a_day_that_does_not_exist_is_refused() {
        for text in ["1997-02-29", "1997-13-01", "01.02.1997", "", "yesterday", "1997"] {
            assert_eq!(micros(text, None, "UTC"), None, "{text}");
        }
    }

    #[test]
    fn whole_numbers_have_a_range() {
        assert_eq!(integer("12", 0, 99), Ok(12));
        assert_eq!(integer("-3.00", -9, 9), Ok(-3));
        let outside = RowCode::NumberOutOfRange { min: "0".to_owned(), max: "99".to_owned() };
        assert_eq!(integer("100", 0, 99), Err(outside));
        assert_eq!(integer("1.5", 0, 99), Err(RowCode::NotAWholeNumber));
    }

    proptest! {
        #[test]
        fn every_amount_reads_itself_back(minor in -AMOUNT_MINOR_MAX..=AMOUNT_MINOR_MAX, exponent in 0_u32..5) {
            let unit = 10_u64.pow(exponent);
            let (whole, fraction) = (minor.unsigned_abs() / unit, minor.unsigned_abs() % unit);
            let sign = if minor < 0 { "-" } else { "" };
            let width = usize::try_from(exponent).unwrap();
            let text = match exponent {
                0 => format!("{sign}{whole}"),
                _ => format!("{sign}{whole}.{fraction:0width$}"),
            };
            prop_assert_eq!(money(&text, exponent, &MoneyOptions::default()), Ok(minor));
        }

        #[test]
        fn no_text_makes_a_value_parser_panic(text in "\\PC{0,20}") {
            let zone = TimeZone::UTC;
            drop(money(&text, 2, &MoneyOptions::default()));
            drop(time(&text, &TimeOptions::default(), &zone));
            drop(integer(&text, 0, 9));
        }
    }
}
