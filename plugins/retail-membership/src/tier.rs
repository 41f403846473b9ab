//! Which tier a member has. Pure.
//!
//! The measure at a time `t` is the sum over the orders with
//! `ordered_at <= t < ordered_at + window`. It qualifies for the highest tier
//! whose threshold it reaches. The member *has* the highest tier that the measure
//! qualified for at some moment of `[t - grace, t]`: rising is immediate, falling
//! waits for the grace period.

use hospes_sdk::Timestamp;

use crate::programme::Programme;

/// What a member has at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The index of the tier.
    pub tier: usize,
    /// Since when without a break; nothing if since ever.
    pub since: Option<Timestamp>,
    /// When it falls if nothing is bought.
    pub until: Option<Timestamp>,
    /// When time alone changes it next, up or down.
    pub changes_at: Option<Timestamp>,
}

/// The standing at `now` by measures and their times.
pub fn standing(
    measures: impl Iterator<Item = (Timestamp, i64)>,
    programme: &Programme,
    now: Timestamp,
) -> Standing {
    let steps = Steps::new(measures, programme);
    let tier = steps.tier_at(now);
    let moments = steps.moments();
    let split = moments.partition_point(|moment| *moment <= now);
    let (past, future) = moments.split_at(split);
    let mut since = None;
    let mut unbroken = true;
    for moment in past.iter().rev() {
        unbroken = unbroken && steps.tier_at(*moment) == tier;
        if !unbroken {
            break;
        }
        since = Some(*moment);
    }
    // Unbroken to the first moment: before it everyone had the lowest tier.
    if unbroken && tier == 0 {
        since = None;
    }
    let change = |moment: &&Timestamp| steps.tier_at(**moment) != tier;
    let fall = |moment: &&Timestamp| steps.tier_at(**moment) < tier;
    Standing {
        tier,
        since,
        until: future.iter().find(fall).copied(),
        changes_at: future.iter().find(change).copied(),
    }
}

/// The measure over time: it has a value from each step to the next.
struct Steps {
    grace_days: i64,
    /// Start and tier that the measure qualifies for.
    steps: Vec<(Timestamp, usize)>,
}

impl Steps {
    fn new(measures: impl Iterator<Item = (Timestamp, i64)>, programme: &Programme) -> Self {
        let mut changes: Vec<(Timestamp, i64)> = measures
            .filter(|(_, measure)| *measure != 0)
            .flat_map(|(at, measure)| [(at, measure), (programme.leaves_window(at), -measure)])
            .collect();
        changes.sort_unstable();
        let mut steps: Vec<(Timestamp, usize)> = Vec::new();
        let mut sum = 0_i64;
        for (at, change) in changes {
            sum = sum.saturating_add(change);
            let tier = programme.tier_for(sum);
            match steps.last_mut() {
                Some((start, last)) if *start == at => *last = tier,
                Some(_) | None => steps.push((at, tier)),
            }
        }
        // Steps that change no tier are no steps; the measure before the first
        // is zero.
        let mut before = 0;
        steps.retain(|(_, tier)| std::mem::replace(&mut before, *tier) != *tier);
        Self { grace_days: programme.tier_grace_days, steps }
    }

    /// The highest tier within the grace period before a time.
    fn tier_at(&self, at: Timestamp) -> usize {
        let earliest = at.add_days(-self.grace_days);
        let end = self.steps.partition_point(|(start, _)| *start <= at);
        let mut highest = 0;
        for (start, tier) in self.steps.iter().take(end).rev() {
            highest = highest.max(*tier);
            if *start <= earliest {
                break;
            }
        }
        highest
    }

    /// Every time at which the tier may change.
    fn moments(&self) -> Vec<Timestamp> {
        let mut moments: Vec<Timestamp> =
            self.steps.iter().flat_map(|(start, _)| [*start, start.add_days(self.grace_days)]).collect();
        moments.sort_unstable();
        moments.dedup();
        moments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: &str) -> Timestamp {
        format!("{day}T00:00:00Z").parse().unwrap()
    }

    fn on(day: &str, spends: &[(&str, i64)]) -> Standing {
        let programme = Programme::default();
        let measures = spends.iter().map(|(day, spend)| (at(day), *spend));
        standing(measures, &programme, at(day))
    }

    #[test]
    fn a_tier_rises_at_once_and_falls_after_grace() {
        let spends = [("2025-01-10", 6_000), ("2025-03-01", 5_000)];
        assert_eq!(on("2025-02-28", &spends).tier, 0);
        assert_eq!(
            on("2025-03-01", &spends),
            Standing {
                tier: 1,
                since: Some(at("2025-03-01")),
                // The first order leaves on 2026-01-10; 30 days of grace follow.
                until: Some(at("2026-02-09")),
                changes_at: Some(at("2026-02-09")),
            }
        );
        assert_eq!(on("2026-02-08", &spends).tier, 1);
        assert_eq!(on("2026-02-09", &spends).tier, 0);
        assert_eq!(on("2026-02-09", &spends).since, Some(at("2026-02-09")));
    }

    #[test]
    fn a_purchase_within_grace_keeps_the_tier_without_a_break() {
        let spends = [("2025-01-10", 10_000), ("2026-01-20", 10_000)];
        let standing = on("2026-06-01", &spends);
        assert_eq!((standing.tier, standing.since), (1, Some(at("2025-01-10"))));
        assert_eq!(standing.until, Some(at("2027-02-19")));
    }

    #[test]
    fn tiers_fall_step_by_step() {
        let spends = [("2025-01-01", 50_000), ("2025-01-21", 10_000)];
        assert_eq!(on("2026-01-30", &spends).tier, 2);
        assert_eq!(on("2026-01-31", &spends).tier, 1);
        assert_eq!(on("2026-02-19", &spends).tier, 1);
        assert_eq!(on("2026-02-20", &spends).tier, 0);
    }

    #[test]
    fn nobody_is_below_the_lowest_tier() {
        let standing = on("2025-02-01", &[("2025-01-01", -5_000)]);
        assert_eq!((standing.tier, standing.since, standing.until), (0, None, None));
    }
}
