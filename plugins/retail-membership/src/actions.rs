//! The buttons: join, redeem, adjust.

use hospes_sdk::{Error, Outcome, Result, Subject, Value, json, serde_json, timeline};
use serde::Deserialize;

use crate::account::FACTS_MAX;
use crate::ledger::{Change, Kind};
use crate::store::{Account, Desk};
use crate::words::Words;

/// Runs an action on a customer.
pub(crate) fn run(action: &str, target: Subject, input: Value) -> Result<Outcome> {
    let Subject::Customer(customer) = target else {
        return Err(Error::NotFound(format!("action `{action}` of this record")));
    };
    let desk = Desk::open()?;
    let account = desk.load_one(&customer)?;
    match action {
        "join" => join(&desk, account),
        "redeem" => redeem(&desk, account, read(input)?),
        "adjust" => adjust(&desk, account, &read(input)?),
        _ => Err(Error::NotFound(format!("action `{action}`"))),
    }
}

#[derive(Deserialize)]
struct Redeem {
    points: Option<i64>,
    reward: Option<String>,
}

#[derive(Deserialize)]
struct Adjust {
    points: i64,
    reason: String,
}

fn read<T: serde::de::DeserializeOwned>(input: Value) -> Result<T> {
    serde_json::from_value(input).map_err(|error| Error::invalid("", "wrong_input", error.to_string()))
}

fn join(desk: &Desk, mut account: Account) -> Result<Outcome> {
    let words = Words::new(desk.locale);
    if account.member.is_some() {
        return Err(Error::rejected("already_member", words.already_member()));
    }
    let mut member = desk.enrol(&account.customer, desk.now);
    member.signed_up_at = Some(desk.now);
    let message = words.joined(&member.card);
    account.member = Some(member);
    finish(desk, account, "member_joined", message, "join")
}

fn redeem(desk: &Desk, mut account: Account, input: Redeem) -> Result<Outcome> {
    let words = Words::new(desk.locale);
    let reward = match &input.reward {
        Some(key) => Some(
            desk.programme
                .reward(key)
                .ok_or_else(|| Error::invalid("/reward", "unknown_reward", words.unknown_reward(key)))?,
        ),
        None => None,
    };
    let points = match (input.points, reward) {
        (None, None) => {
            return Err(Error::invalid("/points", "required", words.points_or_reward()));
        }
        (Some(points), Some(reward)) if points != reward.points => {
            let message = words.reward_costs(reward.points);
            return Err(Error::invalid("/points", "not_the_price", message));
        }
        (_, Some(reward)) => reward.points,
        (Some(points), None) if points > 0 => points,
        (Some(_), None) => {
            return Err(Error::invalid("/points", "not_positive", words.points_positive()));
        }
    };
    let id = move_points(desk, &mut account, -points, |change| {
        change.kind = Kind::Redeem;
        change.reward = reward.map(|reward| reward.key.clone());
    })?;
    let name = reward.map(|reward| reward.name.get(desk.locale));
    finish(desk, account, "points_redeemed", words.redeemed(points, name), &id)
}

fn adjust(desk: &Desk, mut account: Account, input: &Adjust) -> Result<Outcome> {
    let words = Words::new(desk.locale);
    let reason = input.reason.trim();
    if reason.is_empty() {
        return Err(Error::invalid("/reason", "required", words.reason_required()));
    }
    if input.points == 0 {
        return Err(Error::invalid("/points", "zero", words.points_positive()));
    }
    let id = move_points(desk, &mut account, input.points, |change| {
        change.reason = Some(reason.to_owned());
    })?;
    let message = words.adjusted(input.points, reason);
    finish(desk, account, "points_adjusted", message, &id)
}

/// Gives or takes points by hand and answers the fact's id.
fn move_points(
    desk: &Desk,
    account: &mut Account,
    points: i64,
    describe: impl FnOnce(&mut Change),
) -> Result<String> {
    let words = Words::new(desk.locale);
    account.settle(desk);
    let Some(member) = &mut account.member else {
        return Err(Error::rejected("not_a_member", words.not_a_member()));
    };
    if points < 0 && member.balance < -points {
        let message = words.too_few(member.balance, -points);
        return Err(Error::rejected("not_enough_points", message));
    }
    if member.facts() >= FACTS_MAX {
        return Err(Error::Limit(format!("{FACTS_MAX} open facts of a member")));
    }
    // Entries are numbered per member, and this one is not written yet.
    let id = format!("m{}", member.entries + 1);
    if points < 0 {
        member.take(id.clone(), -points, desk.now);
    } else {
        member.give(id.clone(), points, desk.now);
    }
    let mut change = Change {
        kind: Kind::Adjust,
        amount: points,
        at: desk.now,
        of: id.clone(),
        reason: None,
        reward: None,
    };
    describe(&mut change);
    account.changes.push(change);
    Ok(id)
}

/// Writes the account and a line of the timeline.
fn finish(desk: &Desk, mut account: Account, kind: &str, message: String, id: &str) -> Result<Outcome> {
    desk.save([&mut account])?;
    let member = account.member.as_ref();
    let body = json!({
        "card": member.map(|member| &member.card),
        "balance": member.map(|member| member.balance),
        "tier": member.map(|member| &member.tier),
    });
    timeline::append(vec![timeline::Entry {
        customer: account.customer.clone(),
        kind: kind.to_owned(),
        occurred_at: desk.now,
        summary: message.chars().take(160).collect(),
        details: body.clone(),
        external_id: Some(format!("{}:{id}", account.customer)),
    }])?;
    Ok(Outcome { message, body })
}
