//! Identity and secrets as arguments: owns [`Ids`], the only source of randomness in the host.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Timestamp;

/// Where new ids and secrets come from.
pub trait Ids: Send + Sync + 'static {
    /// Sixteen bytes of a new id, six of time in milliseconds and ten that are
    /// random; greater than all that this source has given before, so that ids
    /// made in one process sort in the order in which they were made.
    fn next(&self, now: Timestamp) -> u128;

    /// Fills `bytes` for a secret.
    fn fill_secret(&self, bytes: &mut [u8]);
}

/// Ids and secrets from the operating system's random source.
#[derive(Debug, Default)]
pub struct RandomIds(Mutex<Sequence>);

/// Ids that are drawn from one call of the operating system: every request and every run of a plugin
/// needs one, and each call costs as much as a lookup.
const DRAWN: usize = 64;

#[derive(Debug, Default)]
struct Sequence {
    last: u128,
    /// Drawn and not used yet. Ids are no secrets: those do not come from here.
    random: Vec<u128>,
}

impl RandomIds {
    fn draw() -> Vec<u128> {
        let mut bytes = [0; DRAWN * size_of::<u128>()];
        Self::fill(&mut bytes);
        let (numbers, _) = bytes.as_chunks();
        numbers.iter().copied().map(u128::from_le_bytes).collect()
    }

    fn fill(bytes: &mut [u8]) {
        #[expect(clippy::disallowed_methods, reason = "the one place that draws randomness")]
        getrandom::fill(bytes).expect("the operating system's random source answers");
    }
}

impl Ids for RandomIds {
    fn next(&self, now: Timestamp) -> u128 {
        let mut sequence = self.0.lock().expect("no code panics while it holds this lock");
        if sequence.random.is_empty() {
            sequence.random = Self::draw();
        }
        let random = sequence.random.pop().unwrap_or_default();
        sequence.last = compose(now, random).max(sequence.last + 1);
        sequence.last
    }

    fn fill_secret(&self, bytes: &mut [u8]) {
        Self::fill(bytes);
    }
}

/// Ids in a fixed order, the same in every run: for tests. Secrets are not secret.
#[derive(Debug, Default)]
pub struct SequentialIds {
    next: AtomicU64,
}

impl Ids for SequentialIds {
    fn next(&self, now: Timestamp) -> u128 {
        compose(now, u128::from(self.next.fetch_add(1, Ordering::SeqCst)))
    }

    fn fill_secret(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let next = self.next.fetch_add(1, Ordering::SeqCst).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            chunk.copy_from_slice(&next.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// The 48 low bits of the time in milliseconds, then 80 of `tail`.
fn compose(now: Timestamp, tail: u128) -> u128 {
    let millis = u128::from(now.as_micros().max(0).unsigned_abs() / 1_000) & ((1 << 48) - 1);
    (millis << 80) | (tail & ((1 << 80) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_source_never_go_back() {
        let ids = RandomIds::default();
        let late = ids.next(Timestamp::from_micros(5_000_000));
        let early = ids.next(Timestamp::from_micros(1_000_000));
        assert!(early > late);
    }

    #[test]
    fn no_randomness_is_used_twice() {
        let ids = RandomIds::default();
        // A later millisecond each time, so that every id has its own random tail.
        let next = |millis: i64| ids.next(Timestamp::from_micros(millis * 1_000)) & ((1 << 80) - 1);
        let tails: std::collections::HashSet<u128> = (1..=1_000).map(next).collect();
        assert_eq!(tails.len(), 1_000);
    }
}
