//! The programme: the tenant's rules, rewards and tiers, which are the plugin's
//! settings.

use hospes_sdk::{Error, Fault, Result, Text, Timestamp};
use serde::{Deserialize, Serialize};

/// The settings. Whole numbers only: no float touches money or points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Programme {
    pub enrol: Enrol,
    pub earn_on: EarnOn,
    pub rates: Vec<Rate>,
    pub classes: Vec<ClassRule>,
    pub campaigns: Vec<Campaign>,
    /// Zero: points never expire.
    pub points_expire_after_months: i64,
    pub tier_basis: Basis,
    pub tier_window_months: i64,
    pub tier_grace_days: i64,
    pub tiers: Vec<Tier>,
    pub rewards: Vec<Reward>,
    pub card_prefix: String,
}

/// How a customer becomes a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enrol {
    /// With the first order, whatever its status.
    Automatic,
    /// By the action `join`; earlier orders earn nothing.
    OnJoin,
}

/// When an order counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EarnOn {
    /// Unless it is cancelled.
    Placed,
    /// Only when it is completed.
    Completed,
}

/// What a tier goes by, within the rolling window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Net spend in minor units of the tenant's currency.
    Spend,
    /// Points earned by orders and not reversed.
    Points,
}

/// So many points for so many minor units, from a time on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// The tenant's, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    pub points: i64,
    pub per_minor_units: i64,
}

/// The percentage of the rate that a product class earns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassRule {
    pub class: String,
    pub percent: i64,
}

/// A higher percentage for a while, for all products or one class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Campaign {
    pub name: String,
    pub from: Timestamp,
    /// The first moment after the campaign.
    pub until: Timestamp,
    pub percent: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
}

/// A level of membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tier {
    /// What the customer's field `tier` says.
    pub key: String,
    pub name: Text,
    /// The least measure that reaches it, in the unit of `tier_basis`.
    pub threshold: i64,
    #[serde(default)]
    pub benefits: Vec<Text>,
}

/// Something that points buy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reward {
    pub key: String,
    pub name: Text,
    pub points: i64,
}

impl Default for Programme {
    /// What the schema in `plugin.toml` says; a test compares them.
    fn default() -> Self {
        Self {
            enrol: Enrol::Automatic,
            earn_on: EarnOn::Placed,
            rates: vec![Rate { from: None, currency: None, points: 1, per_minor_units: 100 }],
            classes: Vec::new(),
            campaigns: Vec::new(),
            points_expire_after_months: 12,
            tier_basis: Basis::Spend,
            tier_window_months: 12,
            tier_grace_days: 30,
            tiers: vec![
                tier("standard", "Standard", "普通会员", 0, &[]),
                tier("silver", "Silver", "银卡会员", 10_000, &[("Free delivery", "免运费")]),
                tier(
                    "gold",
                    "Gold",
                    "金卡会员",
                    50_000,
                    &[("Free delivery", "免运费"), ("Early access to sales", "促销优先购")],
                ),
            ],
            rewards: vec![Reward {
                key: "voucher-5".to_owned(),
                name: text("Voucher of 5", "5元代金券"),
                points: 100,
            }],
            card_prefix: "88".to_owned(),
        }
    }
}

fn text(en: &str, zh_cn: &str) -> Text {
    Text { en: en.to_owned(), zh_cn: zh_cn.to_owned() }
}

fn tier(key: &str, en: &str, zh_cn: &str, threshold: i64, benefits: &[(&str, &str)]) -> Tier {
    Tier {
        key: key.to_owned(),
        name: text(en, zh_cn),
        threshold,
        benefits: benefits.iter().map(|(en, zh_cn)| text(en, zh_cn)).collect(),
    }
}

impl Programme {
    /// What the schema cannot say: all that contradicts itself, at once.
    pub fn check(&self) -> Result<()> {
        let mut faults = Vec::new();
        let mut fault = |pointer: String, code, message: &str| {
            faults.push(Fault::new(&pointer, code, message));
        };
        if self.tiers.is_empty() {
            fault("/tiers".to_owned(), "empty", "a programme has at least one tier");
        }
        for (at, tier) in self.tiers.iter().enumerate() {
            let mut earlier = self.tiers.iter().take(at);
            if earlier.clone().any(|other| other.key == tier.key) {
                fault(format!("/tiers/{at}/key"), "duplicate", "another tier has this key");
            }
            if earlier.next_back().is_some_and(|other| other.threshold >= tier.threshold) {
                let message = "thresholds rise from tier to tier";
                fault(format!("/tiers/{at}/threshold"), "not_rising", message);
            }
        }
        for (at, campaign) in self.campaigns.iter().enumerate() {
            if campaign.from >= campaign.until {
                fault(format!("/campaigns/{at}/until"), "too_early", "a campaign ends after it begins");
            }
        }
        for (at, reward) in self.rewards.iter().enumerate() {
            if self.rewards.iter().take(at).any(|other| other.key == reward.key) {
                fault(format!("/rewards/{at}/key"), "duplicate", "another reward has this key");
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
    }

    /// When points earned at a time expire.
    pub fn expiry(&self, earned_at: Timestamp) -> Option<Timestamp> {
        (self.points_expire_after_months > 0).then(|| earned_at.add_months(self.points_expire_after_months))
    }

    /// When an order of a time leaves the rolling window.
    pub fn leaves_window(&self, ordered_at: Timestamp) -> Timestamp {
        ordered_at.add_months(self.tier_window_months)
    }

    /// The highest tier that a measure reaches; everyone has the lowest.
    pub fn tier_for(&self, measure: i64) -> usize {
        let reached = self.tiers.iter().rposition(|tier| tier.threshold <= measure);
        reached.unwrap_or(0)
    }

    /// The reward of a key.
    pub fn reward(&self, key: &str) -> Option<&Reward> {
        self.rewards.iter().find(|reward| reward.key == key)
    }
}
