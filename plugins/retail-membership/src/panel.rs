//! What a customer's page shows of the membership.

use hospes_sdk::panels::{Blocks, Tone};
use hospes_sdk::{Error, Money, Result, Subject, json};

use crate::ledger::{Entry, LEDGER};
use crate::member::Member;
use crate::programme::{Basis, Tier};
use crate::store::Desk;
use crate::words::Words;

/// How many ledger entries the panel shows.
const ENTRIES_SHOWN: u32 = 10;

/// Renders a slot.
pub(crate) fn render(slot: &str, target: &Subject) -> Result<Blocks> {
    let (Subject::Customer(customer), "customer") = (target, slot) else {
        return Err(Error::NotFound(format!("slot `{slot}` of this record")));
    };
    let desk = Desk::open()?;
    let words = Words::new(desk.locale);
    let mut account = desk.load_one(customer)?;
    // As of now, even if the daily job has not come by yet.
    account.settle(&desk);
    let Some(member) = &account.member else {
        return Ok(Blocks::new().text(words.not_a_member()).button(
            "join",
            words.join(),
            &json!({}),
            Tone::Positive,
        ));
    };
    let ledger = LEDGER.find().of(target).descending("at").limit(ENTRIES_SHOWN).page()?;
    let entries: Vec<Entry> = ledger.documents.into_iter().map(|entry| entry.value).collect();
    let blocks = summary(&desk, words, member);
    let blocks = progress(&desk, words, member, blocks);
    let blocks = benefits(&desk, words, member, blocks);
    let blocks = blocks.table(
        Some(words.ledger().to_owned()),
        words.ledger_columns(),
        entries.iter().map(|entry| row(words, entry)).collect(),
    );
    Ok(actions(&desk, words, member, blocks))
}

fn summary(desk: &Desk, words: Words, member: &Member) -> Blocks {
    let tone = if tier(desk, member).is_some_and(|(at, _)| at > 0) { Tone::Positive } else { Tone::Neutral };
    let note = member.next_expiry.as_ref().map(|next| words.expire_on(next.points, next.at));
    let blocks = Blocks::new().badge(tier_name(desk, member), tone).stat(
        words.points(),
        member.balance.to_string(),
        note,
        Tone::Neutral,
    );
    let blocks = if member.debt > 0 {
        blocks.stat(words.debt(), member.debt.to_string(), None, Tone::Warning)
    } else {
        blocks
    };
    let mut pairs = vec![
        (words.card(), member.card.clone()),
        (words.member_since(), member.joined_at.display_date()),
        (words.tier_since(), member.tier_since.display_date()),
    ];
    if let Some(until) = member.tier_until {
        pairs.push((words.tier_until(), until.display_date()));
    }
    let spend = Money::new(member.rolling_spend, &desk.currency);
    pairs.push((words.rolling_spend(), spend.display()));
    pairs.push((words.lifetime(), member.lifetime.to_string()));
    blocks.pairs(pairs)
}

fn progress(desk: &Desk, words: Words, member: &Member, blocks: Blocks) -> Blocks {
    let measure = match desk.programme.tier_basis {
        Basis::Spend => member.rolling_spend,
        Basis::Points => member.rolling_points,
    };
    let reached = tier(desk, member).map_or(0, |(at, _)| at);
    let Some(next) = desk.programme.tiers.get(reached + 1) else {
        return blocks;
    };
    let missing = next.threshold - measure;
    let missing = match desk.programme.tier_basis {
        Basis::Spend => Money::new(missing, &desk.currency).display(),
        Basis::Points => missing.to_string(),
    };
    let label = words.to_next_tier(&missing, next.name.get(desk.locale));
    // A bar is for the eye: a float is near enough.
    blocks.progress(label, measure.max(0) as f64, next.threshold as f64)
}

fn benefits(desk: &Desk, words: Words, member: &Member, blocks: Blocks) -> Blocks {
    let Some((_, tier)) = tier(desk, member).filter(|(_, tier)| !tier.benefits.is_empty()) else {
        return blocks;
    };
    let lines =
        tier.benefits.iter().fold(Blocks::new(), |lines, benefit| lines.text(benefit.get(desk.locale)));
    blocks.group(words.benefits(), lines)
}

fn row(words: Words, entry: &Entry) -> Vec<String> {
    let note = entry.reason.as_deref().or(entry.reward.as_deref());
    vec![
        entry.at.display_date(),
        words.kind(entry.kind).to_owned(),
        format!("{:+}", entry.amount),
        entry.balance.to_string(),
        note.or(entry.of.as_deref()).unwrap_or_default().to_owned(),
    ]
}

fn actions(desk: &Desk, words: Words, member: &Member, blocks: Blocks) -> Blocks {
    let blocks =
        desk.programme.rewards.iter().filter(|reward| reward.points <= member.balance).take(10).fold(
            blocks,
            |blocks, reward| {
                let label = words.redeem_reward(reward.name.get(desk.locale), reward.points);
                blocks.button("redeem", label, &json!({"reward": reward.key}), Tone::Neutral)
            },
        );
    let blocks = if member.balance > 0 {
        blocks.form("redeem", words.redeem_title(), words.redeem(), &json!({"points": member.balance}))
    } else {
        blocks
    };
    blocks.form("adjust", words.adjust_title(), words.adjust(), &json!({}))
}

fn tier<'a>(desk: &'a Desk, member: &Member) -> Option<(usize, &'a Tier)> {
    let mut tiers = desk.programme.tiers.iter().enumerate();
    tiers.find(|(_, tier)| tier.key == member.tier)
}

fn tier_name<'a>(desk: &'a Desk, member: &'a Member) -> &'a str {
    tier(desk, member).map_or(&member.tier, |(_, tier)| tier.name.get(desk.locale))
}
