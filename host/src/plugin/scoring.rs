//! Scores: the host gathers columns of numbers under the rights of plugin and actor,
//! a guest scores a slice of them, and what it answers is checked.

use std::collections::HashMap;
use std::sync::Arc;

use hospes_bindings::exports::hospes::plugin::scoring as contract;
use serde_json::Value;

use super::PluginHost;
use super::call::{Answer, Call};
use super::registry::Enabled;
use super::run::{Effects, user_actor};
use crate::clock::Timestamp;
use crate::domain::actor::{Actor, Locale};
use crate::domain::code::{FailureCode, RecordKind};
use crate::domain::customer::Customer;
use crate::domain::event::Subject;
use crate::domain::grant::Grant;
use crate::domain::ids::CustomerId;
use crate::domain::manifest::{ColumnSource, OrderFact, Reason, Scoring};
use crate::domain::point::Point;
use crate::domain::sight::{Closed, Sight};
use crate::error::{Error, Result};
use crate::ops::plugins::scoring::{OrderFacts, SLICE_MAX, Score, ScoreReason, order_facts};

/// Reasons that a scoring may give.
const REASONS_MAX: usize = 16;

/// Why scores are not acceptable.
type Wrong = String;

impl PluginHost {
    pub(super) async fn score_customers(
        &self,
        actor: &Actor,
        (plugin, scoring): (&str, &str),
        customers: Vec<Customer>,
    ) -> Result<Vec<Score>> {
        let unknown = || Error::not_found(RecordKind::Scoring, format!("{plugin}/{scoring}"));
        let live = self.registry.find(&actor.tenant, plugin).await?.ok_or_else(unknown)?;
        let declared = declared_by(&live, scoring).ok_or_else(unknown)?;
        let Some(canary) = &live.canary else {
            return self.score_all(actor, (&live, declared), &customers).await;
        };
        let subjects: Vec<Subject> =
            customers.iter().map(|customer| Subject::Customer(customer.id.clone())).collect();
        let takes = self.takes(&live, canary, &subjects).await?;
        let (taken, rest): (Vec<_>, Vec<_>) =
            customers.into_iter().enumerate().zip(takes).partition(|(_, is_taken)| *is_taken);
        let parted = |part: Vec<((usize, Customer), bool)>| -> (Vec<usize>, Vec<Customer>) {
            part.into_iter().map(|(placed, _)| placed).unzip()
        };
        let ((mut places, taken), (rest_places, rest)) = (parted(taken), parted(rest));
        let mut scores = self.score_taken(actor, (&live, declared), (&canary.enabled, &taken)).await?;
        scores.extend(self.score_all(actor, (&live, declared), &rest).await?);
        places.extend(rest_places);
        let mut placed: Vec<(usize, Score)> = places.into_iter().zip(scores).collect();
        placed.sort_by_key(|(place, _)| *place);
        Ok(placed.into_iter().map(|(_, score)| score).collect())
    }

    /// Scores the customers of a canary. A page has customers of both versions, and no other customer's
    /// score may fail with the canary: since scoring writes nothing, the enabled version answers where the
    /// new one fails or has no such scoring. The failure counts all the same.
    async fn score_taken(
        &self,
        actor: &Actor,
        (live, declared): (&Arc<Enabled>, &Scoring),
        (canary, taken): (&Arc<Enabled>, &[Customer]),
    ) -> Result<Vec<Score>> {
        if taken.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(new) = declared_by(canary, &declared.name) {
            match self.score_all(actor, (canary, new), taken).await {
                Err(Error::PluginFailed { .. }) => {}
                scored => return scored,
            }
        }
        self.score_all(actor, (live, declared), taken).await
    }

    /// Scores customers with one version, slice by slice.
    async fn score_all(
        &self,
        actor: &Actor,
        (enabled, declared): (&Arc<Enabled>, &Scoring),
        customers: &[Customer],
    ) -> Result<Vec<Score>> {
        let user = user_actor(actor, enabled);
        check_grants(enabled, declared)?;
        check_fields(enabled, declared, &user)?;
        let mut scores = Vec::with_capacity(customers.len());
        for slice in customers.chunks(SLICE_MAX as usize) {
            scores.extend(self.score_slice(actor, enabled, declared, slice).await?);
        }
        Ok(scores)
    }

    async fn score_slice(
        &self,
        actor: &Actor,
        enabled: &Arc<Enabled>,
        declared: &Scoring,
        customers: &[Customer],
    ) -> Result<Vec<Score>> {
        let beginning = self.begin(enabled, user_actor(actor, enabled), Point::Scoring)?.of_user(actor);
        let sight = enabled.sight(Grant::CustomersRead, &beginning.actor);
        let facts = if needs(declared, Grant::OrdersRead) {
            let ids: Vec<&CustomerId> = customers.iter().map(|customer| &customer.id).collect();
            let facts = order_facts(&beginning.core, &beginning.actor, &ids, &enabled.home.currency);
            facts.await?.into_iter().collect()
        } else {
            HashMap::new()
        };
        let slice = contract::Slice {
            ids: customers.iter().map(|customer| customer.id.as_str()).collect::<Vec<_>>().join("\n"),
            columns: columns(declared, (customers, &facts), sight.as_ref()),
        };
        let call = Call::Score { scoring: declared.name.clone(), slice };
        let Answer::Scores(scores) = self.run(beginning, call, Effects::None).await? else {
            return Err(Error::internal("a scoring answered with something else than scores"));
        };
        Ok(read(declared, actor.locale, customers, &scores))
    }
}

fn declared_by<'e>(enabled: &'e Enabled, scoring: &str) -> Option<&'e Scoring> {
    enabled.facts.manifest.scoring.iter().find(|one| one.name == scoring)
}

/// The grant that a column's source needs.
fn grant_of(source: &ColumnSource) -> Grant {
    match source {
        ColumnSource::Pointer(_) | ColumnSource::Field(_) => Grant::CustomersRead,
        ColumnSource::Orders(_) => Grant::OrdersRead,
    }
}

fn needs(declared: &Scoring, grant: Grant) -> bool {
    declared.columns.iter().any(|column| grant_of(&column.source) == grant)
}

/// A column whose grant the tenant has withheld would be empty, and the scores wrong.
fn check_grants(enabled: &Enabled, declared: &Scoring) -> Result<()> {
    for grant in [Grant::CustomersRead, Grant::OrdersRead] {
        if needs(declared, grant) && !enabled.grants.has(grant) {
            return Err(lacks(enabled, &grant.to_string()));
        }
    }
    Ok(())
}

/// So would one of a field that is not opened to the plugin, or that the actor may not read.
fn check_fields(enabled: &Enabled, declared: &Scoring, user: &Actor) -> Result<()> {
    let customers = enabled.sight(Grant::CustomersRead, user);
    let orders = enabled.sight(Grant::OrdersRead, user);
    let closed = |source: &ColumnSource| match source {
        ColumnSource::Field(full_name) => {
            let (namespace, name) = full_name.split_once('.').unwrap_or(("", full_name));
            customers.as_ref()?.closed_to_condition(namespace, name)
        }
        // Who knows the sum of the orders knows their totals.
        ColumnSource::Orders(OrderFact::SpendMinor) => orders.as_ref()?.closed_to_read("total"),
        ColumnSource::Orders(OrderFact::Count | OrderFact::FirstAt | OrderFact::LastAt)
        | ColumnSource::Pointer(_) => None,
    };
    let mut columns = declared.columns.iter().map(|column| &column.source);
    match columns.find_map(|source| Some((grant_of(source), closed(source)?))) {
        None => Ok(()),
        Some((grant, Closed { path, class })) => {
            Err(lacks(enabled, &format!("{grant} classes={class}: `{path}`")))
        }
    }
}

fn lacks(enabled: &Enabled, right: &str) -> Error {
    let message = format!("the plugin lacks a right: {right}");
    let (plugin, code) = (enabled.plugin.to_string(), "denied".to_owned());
    Error::PluginRejected { plugin, code, message, faults: Vec::new() }
}

fn columns(
    declared: &Scoring,
    (customers, facts): (&[Customer], &HashMap<CustomerId, OrderFacts>),
    sight: Option<&Sight<'_>>,
) -> Vec<contract::Column> {
    let by_pointer = declared.columns.iter().any(|one| matches!(one.source, ColumnSource::Pointer(_)));
    let shown =
        |customer: &Customer| sight.map_or(Value::Null, |sight| sight.show_value(&customer.to_json()));
    let documents: Vec<Value> = if by_pointer { customers.iter().map(shown).collect() } else { Vec::new() };
    let column = |source: &ColumnSource| -> Vec<f64> {
        match source {
            ColumnSource::Pointer(pointer) => {
                documents.iter().map(|document| number(document.pointer(pointer))).collect()
            }
            ColumnSource::Field(name) => {
                customers.iter().map(|customer| number(field(customer, name))).collect()
            }
            ColumnSource::Orders(fact) => {
                customers.iter().map(|customer| order_fact(*fact, facts.get(&customer.id))).collect()
            }
        }
    };
    let columns = declared.columns.iter();
    columns.map(|one| contract::Column { name: one.name.clone(), values: column(&one.source) }).collect()
}

fn field<'a>(customer: &'a Customer, name: &str) -> Option<&'a Value> {
    if name.contains('.') { customer.fields.get(name) } else { customer.custom_fields.get(name) }
}

/// A value as a number: a truth value is 0 or 1, a time its seconds since 1970.
fn number(value: Option<&Value>) -> f64 {
    match value {
        Some(Value::Number(number)) => {
            number.as_f64().filter(|number| number.is_finite()).unwrap_or(f64::NAN)
        }
        Some(Value::Bool(truth)) => f64::from(u8::from(*truth)),
        Some(Value::String(text)) => Timestamp::parse(text).map_or(f64::NAN, seconds),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => f64::NAN,
    }
}

fn seconds(time: Timestamp) -> f64 {
    time.as_micros() as f64 / 1e6
}

/// Who has ordered nothing has a count and a sum, but no first and no last order.
fn order_fact(fact: OrderFact, facts: Option<&OrderFacts>) -> f64 {
    match (fact, facts) {
        (OrderFact::Count, Some(facts)) => facts.count as f64,
        (OrderFact::SpendMinor, Some(facts)) => facts.spend_minor as f64,
        (OrderFact::FirstAt, Some(facts)) => seconds(facts.first_at),
        (OrderFact::LastAt, Some(facts)) => seconds(facts.last_at),
        (OrderFact::Count | OrderFact::SpendMinor, None) => 0.0,
        (OrderFact::FirstAt | OrderFact::LastAt, None) => f64::NAN,
    }
}

/// Whether there is a score for each record, and a weight for each declared reason.
pub(super) fn check(
    enabled: &Enabled,
    (scoring, slice): (&str, &contract::Slice),
    scores: &contract::Scores,
) -> Result<(), FailureCode> {
    let declared = declared_by(enabled, scoring);
    let declared = declared.map(|declared| &declared.reasons[..]).unwrap_or_default();
    let rows = slice.ids.split('\n').count();
    check_scores(declared, rows, scores).map_err(|reason| FailureCode::Scores { reason })
}

fn check_scores(declared: &[Reason], rows: usize, scores: &contract::Scores) -> Result<(), Wrong> {
    check_length("scores", &scores.values, rows)?;
    if scores.reasons.len() > REASONS_MAX {
        return Err(format!("{} reasons; at most {REASONS_MAX} are taken", scores.reasons.len()));
    }
    scores.reasons.iter().try_for_each(|column| {
        check_length("weights", &column.values, rows)?;
        if declared.iter().any(|reason| reason.name == column.name) {
            return Ok(());
        }
        Err(format!("the manifest declares no reason `{}`", super::invocation::clean(&column.name, 60)))
    })
}

/// The scores of customers, with the reasons in a language.
fn read(declared: &Scoring, locale: Locale, customers: &[Customer], scores: &contract::Scores) -> Vec<Score> {
    let reasons = scores.reasons.iter().filter_map(|column| {
        let reason = declared.reasons.iter().find(|reason| reason.name == column.name)?;
        Some((&reason.name, reason.title.get(locale), &column.values))
    });
    let reasons: Vec<_> = reasons.collect();
    let score = |(row, customer): (usize, &Customer)| {
        let weights = reasons.iter().filter_map(|(name, title, values)| {
            let weight = values.get(row).copied().filter(|weight| *weight != 0.0 && !weight.is_nan())?;
            Some(ScoreReason { name: (*name).clone(), title: (*title).to_owned(), weight })
        });
        let mut weights: Vec<ScoreReason> = weights.collect();
        weights.sort_by(|one, other| other.weight.abs().total_cmp(&one.weight.abs()));
        let score = scores.values.get(row).copied().filter(|score| !score.is_nan());
        Score { customer_id: customer.id.clone(), score, reasons: weights }
    };
    customers.iter().enumerate().map(score).collect()
}

fn check_length(what: &str, values: &[f64], rows: usize) -> Result<(), Wrong> {
    if values.len() != rows {
        return Err(format!("{} {what} for {rows} records", values.len()));
    }
    if values.iter().any(|value| value.is_infinite()) {
        return Err(format!("{what} that are infinite"));
    }
    Ok(())
}
