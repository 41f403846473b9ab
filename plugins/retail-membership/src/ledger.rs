//! The points ledger: append-only documents under the customer.
//!
//! `amount` is what an entry does to balance less debt; `points` and `debt` say
//! how it falls on the two. So the balance is the sum of `points`, the debt that
//! of `debt`, and neither is ever negative.

use hospes_sdk::Timestamp;
use hospes_sdk::documents::Collection;
use serde::{Deserialize, Serialize};

/// One document an entry.
pub const LEDGER: Collection<Entry> = Collection::new("ledger");

/// Why points move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An order earned them, or was changed and earned more or less.
    Earn,
    Redeem,
    /// They expired. Positive when a late order shows that other points had
    /// expired instead.
    Expire,
    /// A refund or cancellation took them back.
    Reverse,
    /// A person gave or took them, with a reason.
    Adjust,
}

impl Kind {
    /// As in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Earn => "earn",
            Self::Redeem => "redeem",
            Self::Expire => "expire",
            Self::Reverse => "reverse",
            Self::Adjust => "adjust",
        }
    }
}

/// A movement of points, before it is written down.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub kind: Kind,
    pub amount: i64,
    /// When it takes effect.
    pub at: Timestamp,
    /// The order's id, or the id of the lot or spend.
    pub of: String,
    pub reason: Option<String>,
    /// The reward's key.
    pub reward: Option<String>,
}

/// An entry of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub kind: Kind,
    /// `points` less `debt`.
    pub amount: i64,
    /// What it does to the balance.
    pub points: i64,
    /// What it does to the debt.
    #[serde(default)]
    pub debt: i64,
    /// The balance after it.
    pub balance: i64,
    pub at: Timestamp,
    pub recorded_at: Timestamp,
    /// The order's id, for what concerns one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<String>,
}

/// Writes changes down, in order, from a balance and debt.
pub fn entries(changes: Vec<Change>, balance: i64, debt: i64, now: Timestamp) -> Vec<Entry> {
    let mut net = balance - debt;
    changes
        .into_iter()
        .map(|change| {
            let before = net;
            net += change.amount;
            Entry {
                kind: change.kind,
                amount: change.amount,
                points: net.max(0) - before.max(0),
                debt: (-net).max(0) - (-before).max(0),
                balance: net.max(0),
                at: change.at,
                recorded_at: now,
                of: Some(change.of).filter(|of| !of.is_empty()),
                reason: change.reason,
                reward: change.reward,
            }
        })
        .collect()
}
