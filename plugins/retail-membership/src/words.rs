//! What the plugin says, in both languages.

use hospes_sdk::{Locale, Timestamp};

use crate::ledger::Kind;

/// The words of one language.
#[derive(Clone, Copy)]
pub(crate) struct Words(Locale);

/// One sentence without parameters.
macro_rules! words {
    ($($name:ident: $en:literal, $zh:literal;)+) => {
        impl Words {
            $(pub(crate) fn $name(self) -> &'static str {
                match self.0 {
                    Locale::En => $en,
                    Locale::ZhCn => $zh,
                }
            })+
        }
    };
}

words! {
    points: "Points", "积分";
    debt: "Points owed", "欠积分";
    card: "Card", "会员卡号";
    member_since: "Member since", "入会日期";
    tier_since: "Tier since", "等级起始";
    tier_until: "Tier until", "等级有效期至";
    rolling_spend: "Spend in the tier window", "等级周期内消费";
    lifetime: "Points of all time", "累计积分";
    benefits: "Benefits", "会员权益";
    ledger: "Points ledger", "积分明细";
    join: "Join", "加入会员";
    redeem: "Redeem", "兑换";
    redeem_title: "Redeem points", "兑换积分";
    adjust: "Adjust", "调整";
    adjust_title: "Adjust points", "调整积分";
    not_a_member: "This customer is not a member.", "该客户还不是会员。";
    already_member: "This customer is already a member.", "该客户已经是会员。";
    points_or_reward: "Say how many points or which reward.", "请填写积分数量或选择奖励。";
    points_positive: "The number of points must be greater than zero.", "积分数量必须大于零。";
    reason_required: "A reason is required.", "必须填写原因。";
    member_needs_contact:
        "A member needs at least one contact point.",
        "会员至少需要保留一种联系方式。";
}

impl Words {
    pub(crate) fn new(locale: Locale) -> Self {
        Self(locale)
    }

    pub(crate) fn ledger_columns(self) -> [&'static str; 5] {
        match self.0 {
            Locale::En => ["Date", "Kind", "Points", "Balance", "Note"],
            Locale::ZhCn => ["日期", "类型", "积分", "余额", "备注"],
        }
    }

    pub(crate) fn kind(self, kind: Kind) -> &'static str {
        match (self.0, kind) {
            (Locale::En, Kind::Earn) => "Earned",
            (Locale::En, Kind::Redeem) => "Redeemed",
            (Locale::En, Kind::Expire) => "Expired",
            (Locale::En, Kind::Reverse) => "Reversed",
            (Locale::En, Kind::Adjust) => "Adjusted",
            (Locale::ZhCn, Kind::Earn) => "获得",
            (Locale::ZhCn, Kind::Redeem) => "兑换",
            (Locale::ZhCn, Kind::Expire) => "过期",
            (Locale::ZhCn, Kind::Reverse) => "冲回",
            (Locale::ZhCn, Kind::Adjust) => "调整",
        }
    }

    pub(crate) fn joined(self, card: &str) -> String {
        match self.0 {
            Locale::En => format!("Joined with card {card}."),
            Locale::ZhCn => format!("已加入会员,卡号 {card}。"),
        }
    }

    pub(crate) fn redeemed(self, points: i64, reward: Option<&str>) -> String {
        match (self.0, reward) {
            (Locale::En, None) => format!("Redeemed {points} points."),
            (Locale::En, Some(reward)) => format!("Redeemed {points} points for {reward}."),
            (Locale::ZhCn, None) => format!("已兑换 {points} 积分。"),
            (Locale::ZhCn, Some(reward)) => format!("已用 {points} 积分兑换{reward}。"),
        }
    }

    pub(crate) fn adjusted(self, points: i64, reason: &str) -> String {
        match self.0 {
            Locale::En => format!("Adjusted by {points:+} points: {reason}"),
            Locale::ZhCn => format!("积分调整 {points:+}:{reason}"),
        }
    }

    pub(crate) fn too_few(self, balance: i64, wanted: i64) -> String {
        match self.0 {
            Locale::En => format!("The balance is {balance} points, {wanted} are needed."),
            Locale::ZhCn => format!("积分余额为 {balance},需要 {wanted}。"),
        }
    }

    pub(crate) fn unknown_reward(self, key: &str) -> String {
        match self.0 {
            Locale::En => format!("The programme has no reward `{key}`."),
            Locale::ZhCn => format!("会员计划中没有奖励“{key}”。"),
        }
    }

    pub(crate) fn reward_costs(self, points: i64) -> String {
        match self.0 {
            Locale::En => format!("This reward costs {points} points."),
            Locale::ZhCn => format!("该奖励需要 {points} 积分。"),
        }
    }

    pub(crate) fn redeem_reward(self, reward: &str, points: i64) -> String {
        match self.0 {
            Locale::En => format!("{reward} for {points} points"),
            Locale::ZhCn => format!("{points} 积分兑换{reward}"),
        }
    }

    pub(crate) fn to_next_tier(self, missing: &str, tier: &str) -> String {
        match self.0 {
            Locale::En => format!("{missing} to {tier}"),
            Locale::ZhCn => format!("距{tier}还差 {missing}"),
        }
    }

    pub(crate) fn expire_on(self, points: i64, at: Timestamp) -> String {
        let day = at.display_date();
        match self.0 {
            Locale::En => format!("{points} expire on {day}"),
            Locale::ZhCn => format!("{points} 积分将于 {day} 过期"),
        }
    }
}
