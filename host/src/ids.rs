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
pub struct RandomIds {
    last: Mutex<u128>,
}

impl Ids for RandomIds {
    fn next(&self, now: Timestamp) -> u128 {
        let mut random = [0; 16];
        self.fill_secret(&mut random);
        let fresh = compose(now, u128::from_le_bytes(random));
        let mut last = self.last.lock().expect("no code panics while it holds this lock");
        *last = fresh.max(*last + 1);
        *last
    }

    fn fill_secret(&self, bytes: &mut [u8]) {
        #[expect(clippy::disallowed_methods, reason = "the one place that draws randomness")]
        getrandom::fill(bytes).expect("the operating system's random source answers");
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
}
