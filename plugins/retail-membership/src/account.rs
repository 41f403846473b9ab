//! A member's facts and the computation of what follows from them. Pure: no
//! host, no clock.
//!
//! Points are lots in the order of their time; what was spent takes from the
//! lots that had not expired then, the oldest first, the earliest spend first.
//! The result is a function of facts, programme and time, whatever the order in
//! which the facts arrived.

use hospes_sdk::{Order, Timestamp};

use crate::ledger::{Change, Kind};
use crate::member::{Closed, Expiry, Lot, Member, Source, Spend};
use crate::programme::Programme;
use crate::rating::Rating;
use crate::tier;

/// A member with more facts than this folds away what is settled.
const FACTS_KEPT: usize = 600;
/// A member with so many facts takes no more, to keep the document in bounds.
pub const FACTS_MAX: usize = 1_200;

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// It is among the facts now.
    Yes,
    /// A later version of it is already known, or its time is closed.
    Stale,
    /// The member has too many facts.
    Full,
}

impl Member {
    /// Takes an order into the facts, or what changed of it. A rating of nothing
    /// is an order that does not count. Adds to `changes` what moves in the
    /// ledger.
    pub fn record(&mut self, order: &Order, rating: Option<Rating>, changes: &mut Vec<Change>) -> Recorded {
        let place = self.lots.iter().position(|lot| lot.id == order.id);
        let lot = match place {
            Some(place) => &mut self.lots[place],
            None if self.is_closed_at(order.ordered_at) => return Recorded::Stale,
            None if self.facts() >= FACTS_MAX => return Recorded::Full,
            None => {
                self.lots.push(Lot::of_order(order));
                let last = self.lots.len() - 1;
                &mut self.lots[last]
            }
        };
        if order.version < lot.version {
            return Recorded::Stale;
        }
        lot.version = order.version;
        lot.at = order.ordered_at;
        lot.spend = rating.map_or(0, |rating| rating.spend);
        // What no longer counts keeps what it earned, and all of it is reversed.
        let earned = rating.map_or(lot.earned, |rating| rating.earned);
        let reversed = rating.map_or(earned, |rating| rating.earned - rating.kept);
        push(changes, Kind::Earn, earned - lot.earned, lot, order.ordered_at);
        let refund = order.refunds.iter().max_by_key(|refund| refund.refunded_at);
        let reversed_at = refund.map(|refund| refund.refunded_at);
        let reversed_at = reversed_at.or(order.updated_at).unwrap_or(order.ordered_at);
        push(changes, Kind::Reverse, lot.reversed - reversed, lot, reversed_at);
        lot.earned = earned;
        lot.reversed = reversed;
        self.joined_at = self.joined_at.min(order.ordered_at);
        Recorded::Yes
    }

    /// Gives points that no order earned.
    pub fn give(&mut self, id: String, points: i64, now: Timestamp) {
        self.lots.push(Lot { source: Source::Adjustment, earned: points, ..Lot::new(id, now) });
    }

    /// Takes points away; the caller has seen that the balance holds them.
    pub fn take(&mut self, id: String, points: i64, now: Timestamp) {
        self.spends.push(Spend { id, at: now, points });
    }

    /// How many facts the document holds.
    pub fn facts(&self) -> usize {
        self.lots.len() + self.spends.len()
    }

    fn is_closed_at(&self, at: Timestamp) -> bool {
        self.closed.as_ref().is_some_and(|closed| at <= closed.until)
    }

    /// Computes what follows from the facts at a time. Adds to `changes` what
    /// expired since the last time.
    pub fn settle(&mut self, programme: &Programme, now: Timestamp, changes: &mut Vec<Change>) {
        self.lots.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        self.spends.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        let left = self.allocate(programme);
        self.expire(programme, now, &left, changes);
        self.measure(programme, now);
        self.rank(programme, now);
        self.plan(programme, now, &left);
        if self.facts() > FACTS_KEPT {
            self.close(programme, now, &left);
        }
    }

    /// What spending leaves of each lot, expiry aside. What no lot covers is the
    /// debt.
    fn allocate(&mut self, programme: &Programme) -> Vec<i64> {
        let mut left: Vec<i64> = self.lots.iter().map(|lot| lot.kept().max(0)).collect();
        self.debt = 0;
        let mut first = 0;
        for spend in &self.spends {
            let mut owed = spend.points;
            // Spends are in order of time: a lot that is empty or expired for
            // this one is so for every later one.
            while first < left.len() && owed > 0 {
                let expired = programme.expiry(self.lots[first].at).is_some_and(|expiry| expiry <= spend.at);
                if !expired {
                    let taken = owed.min(left[first]);
                    left[first] -= taken;
                    owed -= taken;
                    if left[first] > 0 {
                        break;
                    }
                }
                first += 1;
            }
            self.debt += owed;
        }
        left
    }

    fn expire(&mut self, programme: &Programme, now: Timestamp, left: &[i64], changes: &mut Vec<Change>) {
        self.balance = 0;
        let mut expiries = Vec::new();
        for (lot, left) in self.lots.iter_mut().zip(left) {
            let expiry = programme.expiry(lot.at).filter(|expiry| *expiry <= now);
            let expired = if expiry.is_some() { *left } else { 0 };
            self.balance += left - expired;
            let at = expiry.unwrap_or(now);
            push(&mut expiries, Kind::Expire, lot.expired - expired, lot, at);
            lot.expired = expired;
        }
        // What turns out not to have expired comes first, so that the running
        // balance of the entries does not dip.
        expiries.sort_by_key(|change| std::cmp::Reverse(change.amount));
        changes.append(&mut expiries);
    }

    fn measure(&mut self, programme: &Programme, now: Timestamp) {
        let within = |lot: &&Lot| lot.at <= now && now < programme.leaves_window(lot.at);
        self.rolling_spend = self.lots.iter().filter(within).map(|lot| lot.spend).sum();
        self.rolling_points = self.lots.iter().filter(within).map(Lot::tier_points).sum();
        let orders: i64 = self.lots.iter().map(Lot::tier_points).sum();
        self.lifetime = orders + self.closed.as_ref().map_or(0, |closed| closed.lifetime);
    }

    fn rank(&mut self, programme: &Programme, now: Timestamp) {
        let basis = programme.tier_basis;
        let measures = self.lots.iter().map(|lot| (lot.at, basis.of(lot)));
        let standing = tier::standing(measures, programme, now);
        let key = programme.tiers.get(standing.tier).map_or_else(String::new, |tier| tier.key.clone());
        let unbroken = self.closed.is_some() && self.tier == key;
        // Facts that were folded away may hold the beginning of a tier.
        let since = standing.since.unwrap_or(self.joined_at);
        self.tier_since = if unbroken { since.min(self.tier_since) } else { since };
        self.tier = key;
        self.tier_until = standing.until;
        self.due_at = standing.changes_at;
    }

    /// Finds what time alone changes next. `due_at` holds the next change of tier.
    fn plan(&mut self, programme: &Programme, now: Timestamp, left: &[i64]) {
        let mut due = self.due_at;
        let mut soonest = |at: Timestamp| {
            if at > now && due.is_none_or(|due| at < due) {
                due = Some(at);
            }
        };
        self.next_expiry = None;
        for (lot, left) in self.lots.iter().zip(left) {
            if lot.spend != 0 || lot.tier_points() != 0 {
                soonest(lot.at);
                soonest(programme.leaves_window(lot.at));
            }
            let Some(expiry) = programme.expiry(lot.at).filter(|_| *left > 0) else {
                continue;
            };
            soonest(expiry);
            if expiry <= now {
                continue;
            }
            match &mut self.next_expiry {
                Some(next) if next.at == expiry => next.points += left,
                Some(_) => {}
                None => {
                    self.next_expiry = Some(Expiry { at: expiry, points: *left });
                }
            }
        }
        self.due_at = due;
    }

    /// Folds away the oldest lots that time, spending and orders of today can no
    /// longer change, together with the spends that they covered. Points that
    /// never expire are carried forward in one lot.
    fn close(&mut self, programme: &Programme, now: Timestamp, left: &[i64]) {
        let settled = |(lot, left): &(&Lot, &i64)| {
            let out = programme.leaves_window(lot.at).add_days(programme.tier_grace_days);
            let spent = **left == 0 || programme.expiry(lot.at).is_none_or(|expiry| expiry <= now);
            out < now && spent
        };
        let count = self.lots.iter().zip(left).take_while(settled).count();
        let Some(last) = count.checked_sub(1).and_then(|last| self.lots.get(last)) else {
            return;
        };
        let until = last.at;
        let lots: Vec<Lot> = self.lots.drain(..count).collect();
        let mut carried = 0;
        let mut covered = 0;
        let mut lifetime = self.closed.as_ref().map_or(0, |closed| closed.lifetime);
        for (lot, left) in lots.iter().zip(left) {
            lifetime += lot.tier_points();
            covered += lot.kept().max(0) - left;
            carried += left - lot.expired;
        }
        for spend in &mut self.spends {
            let cut = spend.points.min(covered);
            spend.points -= cut;
            covered -= cut;
        }
        self.spends.retain(|spend| spend.points > 0);
        if carried > 0 {
            self.lots.insert(
                0,
                Lot { source: Source::Carried, earned: carried, ..Lot::new("carried".to_owned(), until) },
            );
        }
        self.closed = Some(Closed { until, lifetime });
    }
}

impl crate::programme::Basis {
    /// What a lot counts for.
    fn of(self, lot: &Lot) -> i64 {
        match self {
            Self::Spend => lot.spend,
            Self::Points => lot.tier_points(),
        }
    }
}

impl Lot {
    fn new(id: String, at: Timestamp) -> Self {
        Self { id, source: Source::Order, version: 0, at, spend: 0, earned: 0, reversed: 0, expired: 0 }
    }

    fn of_order(order: &Order) -> Self {
        Self::new(order.id.clone(), order.ordered_at)
    }
}

fn push(changes: &mut Vec<Change>, kind: Kind, amount: i64, lot: &Lot, at: Timestamp) {
    if amount != 0 {
        changes.push(Change { kind, amount, at, of: lot.id.clone(), reason: None, reward: None });
    }
}
