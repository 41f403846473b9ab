//! Times in which a tenant wants no upgrades, such as a shopping festival or the end of a quarter.

use serde::{Deserialize, Serialize};

use super::check::Faults;
use super::code::FaultCode;
use crate::clock::Timestamp;

/// Times that one calendar has.
pub const FREEZES_MAX: usize = 50;
/// Characters of a reason.
const REASON_CHARS_MAX: usize = 200;

/// A time without upgrades of plugins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// When it begins.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Timestamp,
    /// When it is over; later than it begins.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Timestamp,
    /// Why, for whoever is held up.
    #[schema(min_length = 1, max_length = 200)]
    pub reason: String,
}

impl Freeze {
    /// Whether it holds at `time`.
    #[must_use]
    pub fn covers(&self, time: Timestamp) -> bool {
        self.starts_at <= time && time < self.ends_at
    }
}

/// Notes what is wrong with a calendar at `pointer`.
pub fn check_freezes(freezes: &[Freeze], pointer: &str, faults: &mut Faults) {
    faults.count(pointer, freezes.len(), FREEZES_MAX);
    for (position, freeze) in freezes.iter().enumerate().take(FREEZES_MAX) {
        faults.text(&format!("{pointer}/{position}/reason"), &freeze.reason, REASON_CHARS_MAX);
        if freeze.ends_at <= freeze.starts_at {
            faults.plain(format!("{pointer}/{position}/ends_at"), FaultCode::EndsBeforeStart);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn freeze(starts_at: &str, ends_at: &str) -> Freeze {
        let time = |text| Timestamp::parse(text).unwrap();
        Freeze { starts_at: time(starts_at), ends_at: time(ends_at), reason: "11.11".to_owned() }
    }

    #[test]
    fn a_freeze_holds_from_its_start_until_its_end() {
        let freeze = freeze("2026-11-01T00:00:00Z", "2026-11-12T00:00:00Z");
        assert!(freeze.covers(freeze.starts_at));
        assert!(!freeze.covers(freeze.ends_at));
    }

    #[test]
    fn a_calendar_is_checked_entry_by_entry() {
        let backwards = freeze("2026-11-12T00:00:00Z", "2026-11-12T00:00:00Z");
        let blank =
            Freeze { reason: " ".to_owned(), ..freeze("2026-11-01T00:00:00Z", "2026-11-12T00:00:00Z") };
        let mut faults = Faults::default();
        check_freezes(&[backwards, blank], "/freezes", &mut faults);
        let places: Vec<_> = faults.into_vec().into_iter().map(|fault| fault.pointer).collect();
        assert_eq!(places, ["/freezes/0/ends_at", "/freezes/1/reason"]);
    }
}
