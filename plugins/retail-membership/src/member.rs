//! A member: facts, and what follows from them.

use hospes_sdk::Timestamp;
use hospes_sdk::documents::Collection;
use serde::{Deserialize, Serialize};

/// One document a member, keyed by the customer's id.
pub const MEMBERS: Collection<Member> = Collection::new("members");

/// A member's document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub card: String,
    /// The first order's time or that of the action `join`, whichever is earlier.
    pub joined_at: Timestamp,
    /// When the action `join` made the customer a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_up_at: Option<Timestamp>,

    // What follows from the facts, as of the last change or the last due time.
    pub balance: i64,
    /// Points that were spent and then reversed: future points pay it off. There
    /// is never a debt and a balance at once.
    pub debt: i64,
    /// All points of orders that were not reversed, spent and expired ones included.
    pub lifetime: i64,
    /// The tier's key.
    pub tier: String,
    pub tier_since: Timestamp,
    /// When the tier falls unless the member buys; absent for the lowest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier_until: Option<Timestamp>,
    /// Net spend within the window, in minor units.
    pub rolling_spend: i64,
    /// Points of orders within the window.
    pub rolling_points: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_expiry: Option<Expiry>,
    /// When time alone changes something next: the daily job looks here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,

    // The facts.
    /// How many ledger entries the member has.
    #[serde(default)]
    pub entries: u32,
    #[serde(default)]
    pub lots: Vec<Lot>,
    #[serde(default)]
    pub spends: Vec<Spend>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Closed>,
}

/// Points that expire together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expiry {
    pub at: Timestamp,
    pub points: i64,
}

/// Where a lot comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    #[default]
    Order,
    Adjustment,
    /// What was left of lots that were folded away.
    Carried,
}

impl Source {
    fn is_order(&self) -> bool {
        *self == Self::Order
    }
}

/// Points that were earned together, and the order they come from. `earned`,
/// `reversed` and `expired` are what the ledger says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lot {
    /// The order's id, or the ledger key of an adjustment.
    pub id: String,
    #[serde(default, skip_serializing_if = "Source::is_order")]
    pub source: Source,
    /// The order's version that was last seen.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub version: i64,
    pub at: Timestamp,
    /// What the order counts for in the rolling spend.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub spend: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub earned: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reversed: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub expired: i64,
}

impl Lot {
    /// What the lot holds before spending and expiry.
    pub fn kept(&self) -> i64 {
        self.earned - self.reversed
    }

    /// What it counts for in the rolling points.
    pub fn tier_points(&self) -> i64 {
        match self.source {
            Source::Order => self.kept(),
            Source::Adjustment | Source::Carried => 0,
        }
    }
}

/// Points that were redeemed or taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spend {
    /// Its ledger key.
    pub id: String,
    pub at: Timestamp,
    pub points: i64,
}

/// What is left of facts that can no longer change anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// Orders up to this time are no longer reconciled.
    pub until: Timestamp,
    pub lifetime: i64,
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}

impl Member {
    /// A member without facts, in the lowest tier until it is settled.
    pub fn new(card: String, joined_at: Timestamp) -> Self {
        Self {
            card,
            joined_at,
            signed_up_at: None,
            balance: 0,
            debt: 0,
            lifetime: 0,
            tier: String::new(),
            tier_since: joined_at,
            tier_until: None,
            rolling_spend: 0,
            rolling_points: 0,
            next_expiry: None,
            due_at: None,
            entries: 0,
            lots: Vec::new(),
            spends: Vec::new(),
            closed: None,
        }
    }
}
