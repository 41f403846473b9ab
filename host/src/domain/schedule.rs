//! When scheduled work is due, in a tenant's time zone.

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
    }
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

    #[test]
    fn intervals_do_not_drift_and_missed_ones_are_one() {
        let every = Schedule::EveryMinutes(15);
        let next = |now| next_due(&every, "UTC", at(now)).unwrap().to_string();
        assert_eq!(next("2026-01-31T08:07:30Z"), "2026-01-31T08:15:00.000000Z");
        assert_eq!(next("2026-01-31T11:00:00Z"), "2026-01-31T11:15:00.000000Z");
    }
}
