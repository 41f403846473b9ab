//! When scheduled work is due, in a tenant's time zone.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::Time;
use jiff::tz::TimeZone;

use super::manifest::Schedule;
use crate::clock::Timestamp;
use crate::error::{Error, Result};

/// The first time after `now` at which `schedule` is due. However many times were
/// missed, they are made up for by one run.
///
/// A daily time that a change of the clocks skips is due when the clocks have
/// moved, and one that comes twice is due the first time only. Intervals count from
/// midnight UTC, so that they neither drift nor depend on when they were set up.
/// A cron expression with a fixed hour and minute is a daily time in that; one with
/// a wildcard or a step goes by the clock on the wall, through a doubled hour twice.
///
/// # Errors
/// [`Error::Internal`] for a time or time zone that does not exist.
pub fn next_due(schedule: &Schedule, time_zone: &str, now: Timestamp) -> Result<Timestamp> {
    match schedule {
        Schedule::EveryMinutes(minutes) => {
            let step = i64::from((*minutes).max(1)) * 60_000_000;
            let passed = now.as_micros().div_euclid(step);
            Ok(Timestamp::from_micros(passed.saturating_add(1).saturating_mul(step)))
        }
        Schedule::Daily(at) => {
            let time: Time = at.parse().map_err(Error::internal)?;
            let zone = TimeZone::get(time_zone).map_err(Error::internal)?;
            let mut day = now.to_jiff().to_zoned(zone.clone()).date();
            // Yesterday's, today's and tomorrow's cannot all be past; one more for a day that a zone skips.
            for _ in 0..3 {
                let due = instant_of(day.to_datetime(time), &zone)?;
                if due > now {
                    return Ok(due);
                }
                day = day.tomorrow().map_err(Error::internal)?;
            }
            Err(Error::internal(format!("`{at}` has no next time in {time_zone}")))
        }
        Schedule::Cron(expression) => {
            let cron = parse_cron(expression).map_err(Error::internal)?;
            let zone = TimeZone::get(time_zone).map_err(Error::internal)?;
            let next = cron.find_next_occurrence(&now.to_jiff().to_zoned(zone), false);
            Ok(Timestamp::from_micros(next.map_err(Error::internal)?.timestamp().as_microsecond()))
        }
    }
}

/// Whether `expression` is a cron expression with a next time.
///
/// # Errors
/// Why it is not, for its author.
pub fn check_cron(expression: &str) -> Result<(), String> {
    let cron = parse_cron(expression)?;
    // Any time will do: what never comes is a date that no calendar has.
    let from = jiff::Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    match cron.find_next_occurrence(&from, false) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("`{expression}` never comes: {error}")),
    }
}

/// Five fields: minute, hour, day of month, month, day of week.
fn parse_cron(expression: &str) -> Result<Cron, String> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    parser.parse(expression).map_err(|error| format!("`{expression}` is no cron expression: {error}"))
}

/// The first instant at which a clock of the zone shows `local` or more.
fn instant_of(local: jiff::civil::DateTime, zone: &TimeZone) -> Result<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(local);
    let instant = match ambiguous.offset() {
        // The end of the gap is where the clocks jump: the first instant with the later offset.
        jiff::tz::AmbiguousOffset::Gap { before, .. } => {
            let inside = before.to_timestamp(local).map_err(Error::internal)?;
            let jump = zone.preceding(inside).next();
            match jump {
                Some(jump) => jump.timestamp(),
                None => ambiguous.compatible().map_err(Error::internal)?,
            }
        }
        jiff::tz::AmbiguousOffset::Fold { .. } | jiff::tz::AmbiguousOffset::Unambiguous { .. } => {
            ambiguous.earlier().map_err(Error::internal)?
        }
    };
    Ok(Timestamp::from_micros(instant.as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn daily(time: &str, zone: &str, now: &str) -> String {
        next_due(&Schedule::Daily(time.to_owned()), zone, at(now)).unwrap().to_string()
    }

    #[test]
    fn a_daily_time_is_that_of_the_tenants_clocks() {
        assert_eq!(daily("03:30", "Asia/Shanghai", "2026-01-31T00:00:00Z"), "2026-01-31T19:30:00.000000Z");
        assert_eq!(daily("03:30", "Asia/Shanghai", "2026-01-31T19:30:00Z"), "2026-02-01T19:30:00.000000Z");
    }

    #[test]
    fn a_skipped_time_is_due_when_the_clocks_have_moved() {
        // In Berlin, 02:00 to 03:00 of 29 March 2026 does not exist.
        assert_eq!(daily("02:30", "Europe/Berlin", "2026-03-28T12:00:00Z"), "2026-03-29T01:00:00.000000Z");
        assert_eq!(daily("02:30", "Europe/Berlin", "2026-03-29T01:00:00Z"), "2026-03-30T00:30:00.000000Z");
    }

    #[test]
    fn a_doubled_time_is_due_once() {
        // In Berlin, 02:00 to 03:00 of 25 October 2026 comes twice.
        assert_eq!(daily("02:30", "Europe/Berlin", "2026-10-24T12:00:00Z"), "2026-10-25T00:30:00.000000Z");
        assert_eq!(daily("02:30", "Europe/Berlin", "2026-10-25T00:30:00Z"), "2026-10-26T01:30:00.000000Z");
    }

    fn cron(expression: &str, zone: &str, now: &str) -> String {
        next_due(&Schedule::Cron(expression.to_owned()), zone, at(now)).unwrap().to_string()
    }

    #[test]
    fn a_cron_expression_goes_by_the_tenants_clocks() {
        let weekdays = "30 9 * * MON-FRI";
        assert_eq!(cron(weekdays, "Asia/Shanghai", "2026-01-30T01:30:00Z"), "2026-02-02T01:30:00.000000Z");
        assert_eq!(cron("*/20 * * * *", "UTC", "2026-01-31T08:19:59.999999Z"), "2026-01-31T08:20:00.000000Z");
        assert_eq!(cron("0 8 L * *", "UTC", "2026-02-01T00:00:00Z"), "2026-02-28T08:00:00.000000Z");
    }

    #[test]
    fn a_fixed_cron_time_survives_the_change_of_the_clocks_as_a_daily_time_does() {
        let fixed = "30 2 * * *";
        assert_eq!(cron(fixed, "Europe/Berlin", "2026-03-28T12:00:00Z"), "2026-03-29T01:00:00.000000Z");
        assert_eq!(cron(fixed, "Europe/Berlin", "2026-03-29T01:00:00Z"), "2026-03-30T00:30:00.000000Z");
        assert_eq!(cron(fixed, "Europe/Berlin", "2026-10-24T12:00:00Z"), "2026-10-25T00:30:00.000000Z");
        assert_eq!(cron(fixed, "Europe/Berlin", "2026-10-25T00:30:00Z"), "2026-10-26T01:30:00.000000Z");
    }

    #[test]
    fn a_repeated_cron_time_comes_as_often_as_the_clocks_show_it() {
        // Both half past two of a doubled hour, and none of an hour that is skipped.
        let hourly = "30 * * * *";
        assert_eq!(cron(hourly, "Europe/Berlin", "2026-10-25T00:30:00Z"), "2026-10-25T01:30:00.000000Z");
        assert_eq!(cron(hourly, "Europe/Berlin", "2026-03-29T00:30:00Z"), "2026-03-29T01:30:00.000000Z");
    }

    #[test]
    fn what_is_no_cron_expression_is_refused() {
        for wrong in ["", "* * * *", "0 0 * * * *", "60 * * * *", "0 0 30 2 *", "often"] {
            assert!(check_cron(wrong).is_err(), "{wrong}");
        }
        assert_eq!(check_cron("0 0 29 2 *"), Ok(()));
    }

    #[test]
    fn intervals_do_not_drift_and_missed_ones_are_one() {
        let every = Schedule::EveryMinutes(15);
        let next = |now| next_due(&every, "UTC", at(now)).unwrap().to_string();
        assert_eq!(next("2026-01-31T08:07:30Z"), "2026-01-31T08:15:00.000000Z");
        assert_eq!(next("2026-01-31T11:00:00Z"), "2026-01-31T11:15:00.000000Z");
    }
}
