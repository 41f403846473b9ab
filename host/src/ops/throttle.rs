//! How often somebody may try to sign in: by login name and by address, with a growing wait.
//!
//! An attempt counts before the password is looked at, so that many at once do not
//! slip through; a success takes it back.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::clock::Timestamp;
use crate::domain::code::Reason;
use crate::error::{Error, Result};

/// Failures of one login name that cost no wait.
const LOGIN_FREE: u32 = 5;
/// Failures of one address that cost no wait: many people may share it.
const ADDRESS_FREE: u32 = 50;
/// The longest wait: an attacker can make the owner of a name wait no longer.
const WAIT_SECONDS_MAX: i64 = 300;
/// Failures are forgotten after this long.
const FORGET_SECONDS: i64 = 3_600;
/// Names and addresses that are remembered; the oldest go first.
const REMEMBERED_MAX: usize = 20_000;

/// The failures of a server's last hour; part of [`super::Core`].
#[derive(Debug, Default)]
pub struct Throttle(Mutex<HashMap<String, Failures>>);

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Timestamp,
}

impl Throttle {
    /// Counts an attempt.
    ///
    /// # Errors
    /// [`Error::Limit`] with the seconds to wait.
    pub fn begin(&self, login: &str, address: Option<&str>, now: Timestamp) -> Result<()> {
        let mut failures = self.0.lock().expect("no code panics while it holds this lock");
        if failures.len() >= REMEMBERED_MAX {
            sweep(&mut failures, now);
        }
        let keys = [Some((login_key(login), LOGIN_FREE)), address.map(|a| (address_key(a), ADDRESS_FREE))];
        let keys = || keys.iter().flatten();
        let wait =
            keys().filter_map(|(key, free)| failures.get(key).map(|found| found.wait(*free, now))).max();
        if let Some(wait) = wait.filter(|wait| *wait > 0) {
            return Err(Error::Limit {
                code: Reason::TooManyLogins,
                message: "too many attempts to sign in; try again later".to_owned(),
                retry_after_s: u32::try_from(wait).unwrap_or(u32::MAX),
            });
        }
        for (key, _) in keys() {
            let found = failures.entry(key.clone()).or_insert(Failures { count: 0, last: now });
            if found.is_forgotten(now) {
                found.count = 0;
            }
            *found = Failures { count: found.count.saturating_add(1), last: now };
        }
        Ok(())
    }

    /// Takes back a successful attempt. The address keeps its other failures: a guesser may have an account too.
    pub fn succeed(&self, login: &str, address: Option<&str>) {
        let mut failures = self.0.lock().expect("no code panics while it holds this lock");
        failures.remove(&login_key(login));
        if let Some(found) = address.and_then(|address| failures.get_mut(&address_key(address))) {
            found.count = found.count.saturating_sub(1);
        }
    }
}

impl Failures {
    fn is_forgotten(self, now: Timestamp) -> bool {
        self.last.plus_seconds(FORGET_SECONDS) <= now
    }

    /// Seconds from `now` until the next attempt.
    fn wait(self, free: u32, now: Timestamp) -> i64 {
        if self.count < free || self.is_forgotten(now) {
            return 0;
        }
        let doubled = (self.count - free).min(16);
        let until = self.last.plus_seconds((1_i64 << doubled).min(WAIT_SECONDS_MAX));
        let micros = until.as_micros().saturating_sub(now.as_micros()).max(0);
        micros.unsigned_abs().div_ceil(1_000_000).try_into().unwrap_or(i64::MAX)
    }
}

fn sweep(failures: &mut HashMap<String, Failures>, now: Timestamp) {
    failures.retain(|_, found| !found.is_forgotten(now));
    if failures.len() < REMEMBERED_MAX {
        return;
    }
    let mut times: Vec<Timestamp> = failures.values().map(|found| found.last).collect();
    let middle = times.len() / 2;
    let (_, median, _) = times.select_nth_unstable(middle);
    let median = *median;
    failures.retain(|_, found| found.last > median);
}

fn login_key(login: &str) -> String {
    format!("l:{login}")
}

fn address_key(address: &str) -> String {
    format!("a:{address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(throttle: &Throttle, now: Timestamp) -> u32 {
        match throttle.begin("acme/ada", None, now) {
            Ok(()) => 0,
            Err(Error::Limit { retry_after_s, .. }) => retry_after_s,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn the_wait_doubles_after_five_failures_and_ends() {
        let throttle = Throttle::default();
        let mut now = Timestamp::default();
        for _ in 0..5 {
            assert_eq!(wait(&throttle, now), 0);
        }
        let mut waits = Vec::new();
        for _ in 0..10 {
            let seconds = wait(&throttle, now);
            waits.push(seconds);
            now = now.plus_seconds(i64::from(seconds));
            assert_eq!(wait(&throttle, now), 0);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert_eq!(wait(&throttle, now.plus_seconds(FORGET_SECONDS)), 0);
    }

    #[test]
    fn a_success_clears_the_name_but_not_the_address() {
        let throttle = Throttle::default();
        let now = Timestamp::default();
        for attempt in 0..ADDRESS_FREE {
            throttle.begin(&format!("acme/{attempt}"), Some("192.0.2.1"), now).unwrap();
        }
        throttle.succeed("acme/1", Some("192.0.2.1"));
        assert!(throttle.begin("acme/1", Some("192.0.2.1"), now).is_ok());
        assert!(throttle.begin("acme/1", Some("192.0.2.1"), now).is_err());
        assert!(throttle.begin("acme/1", Some("192.0.2.2"), now).is_ok());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let throttle = Throttle::default();
        for attempt in 0..(REMEMBERED_MAX + 10) {
            let now = Timestamp::from_micros(i64::try_from(attempt).unwrap());
            throttle.begin(&attempt.to_string(), None, now).unwrap();
        }
        assert!(throttle.0.lock().unwrap().len() <= REMEMBERED_MAX);
    }
}
