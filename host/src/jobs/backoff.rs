//! How long a failure waits for its next attempt: named schedules, spread so that many do not come back at once.

use crate::clock::Timestamp;
use crate::ids::Ids;

/// Seconds between the attempts of one delivery; after the last, it is a dead letter.
pub const DELIVERY: Backoff = Backoff(&[5, 30, 120, 600, 1_800, 7_200, 18_000]);
/// Seconds between the attempts to tell a webhook: the schedule that receivers know from others.
pub const WEBHOOK: Backoff = Backoff(&[5, 300, 1_800, 7_200, 18_000, 36_000, 36_000]);
/// Seconds between the attempts of a whole lane, a backfill or a schedule; it never gives up.
pub const BACKGROUND: Backoff = Backoff(&[5, 15, 60, 300]);

/// Delays in seconds after the first, second, … failure.
#[derive(Clone, Copy, Debug)]
pub struct Backoff(&'static [i64]);

impl Backoff {
    /// When to try again after `failures` failures in a row; `None` if the schedule ends before.
    #[must_use]
    pub fn next(self, ids: &dyn Ids, now: Timestamp, failures: i64) -> Option<Timestamp> {
        let place = usize::try_from(failures.max(1) - 1).ok()?;
        self.0.get(place).map(|seconds| spread(ids, now, *seconds))
    }

    /// As [`Backoff::next`], with the last delay for ever.
    #[must_use]
    pub fn next_or_last(self, ids: &dyn Ids, now: Timestamp, failures: i64) -> Timestamp {
        let last = self.0.last().copied().unwrap_or_default();
        self.next(ids, now, failures).unwrap_or_else(|| spread(ids, now, last))
    }
}

/// `seconds` from now, a fifth more or less.
fn spread(ids: &dyn Ids, now: Timestamp, seconds: i64) -> Timestamp {
    let mut random = [0; 4];
    ids.fill_secret(&mut random);
    let share = i64::from(u32::from_le_bytes(random)) * 400 / i64::from(u32::MAX);
    now.plus_millis(seconds * (800 + share))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SequentialIds;

    #[test]
    fn delays_grow_and_end() {
        let ids = SequentialIds::default();
        let start = Timestamp::from_micros(0);
        for (failures, seconds) in (1..).zip([5, 30, 120, 600, 1_800, 7_200, 18_000]) {
            let wait = DELIVERY.next(&ids, start, failures).unwrap().as_micros();
            assert!((seconds * 800_000..=seconds * 1_200_000).contains(&wait), "{failures}: {wait}");
        }
        assert_eq!(DELIVERY.next(&ids, start, 8), None);
        assert!(BACKGROUND.next_or_last(&ids, start, 1_000).as_micros() >= 240_000_000);
    }
}
