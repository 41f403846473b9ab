//! Scores that plugins give to customers that the actor sees, on demand and slice by slice.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::domain::actor::Actor;
use crate::domain::code::{FaultCode, TypeName};
use crate::domain::customer::Customer;
use crate::domain::field::{FieldEntity, Model, Scalar};
use crate::domain::ids::CustomerId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::query::{CONDITIONS_MAX, Comparison, Condition, CustomerFilter, CustomerSort};
use crate::error::{Error, Fault, Result};
use crate::ops::{self, Core, READ_MANY_MAX, customers, fields};

/// Customers that one request scores, and that a plugin gets at once.
pub const SLICE_MAX: u32 = 1_000;

/// How a value compares to that of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// The same.
    Eq,
    /// Another one, or none.
    Ne,
    /// Before it.
    Lt,
    /// Before it or the same.
    Lte,
    /// After it.
    Gt,
    /// After it or the same.
    Gte,
}

impl From<Operator> for Comparison {
    fn from(operator: Operator) -> Self {
        match operator {
            Operator::Eq => Self::Equal,
            Operator::Ne => Self::NotEqual,
            Operator::Lt => Self::Less,
            Operator::Lte => Self::LessOrEqual,
            Operator::Gt => Self::Greater,
            Operator::Gte => Self::GreaterOrEqual,
        }
    }
}

/// A condition on customers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScoreCondition {
    /// `lifecycle_stage`, `owner`, `org_unit`, `created_at`, `updated_at`, or the name of a field.
    #[schema(min_length = 1, max_length = 120)]
    pub field: String,
    /// How it compares.
    pub operator: Operator,
    /// With what: text, a number, a truth value, or a time as text.
    pub value: Value,
}

/// Which customers are scored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScoreQuery {
    /// These; all that the conditions hold for, if absent.
    #[schema(value_type = Option<Vec<String>>, min_items = 1, max_items = 1000)]
    pub customer_ids: Option<Vec<CustomerId>>,
    /// All must hold.
    #[serde(default)]
    #[schema(max_items = 8)]
    pub conditions: Vec<ScoreCondition>,
    /// Has this tag.
    #[schema(max_length = 50)]
    pub tag: Option<String>,
    /// Customers on the page; as many as a slice has, if absent.
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[schema(max_length = 4000)]
    pub cursor: Option<String>,
}

/// Why a score is what it is.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ScoreReason {
    /// As the plugin's manifest names it.
    pub name: String,
    /// In the reader's language.
    pub title: String,
    /// How much it has moved the score.
    pub weight: f64,
}

/// What a plugin thinks of a customer.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Score {
    /// The customer.
    #[schema(value_type = String)]
    pub customer_id: CustomerId,
    /// Null for a customer that the plugin has no score for.
    #[schema(required)]
    pub score: Option<f64>,
    /// The strongest first.
    pub reasons: Vec<ScoreReason>,
}

/// Lets a plugin score customers that the actor sees, at most a slice of them.
///
/// # Errors
/// `Forbidden`; `NotFound` for an unknown scoring; `Invalid` for conditions and
/// cursors that are none; `PluginRejected` and `PluginFailed`.
pub async fn score(
    core: &Core,
    actor: &Actor,
    (plugin, scoring): (&str, &str),
    query: ScoreQuery,
) -> Result<Page<Score>> {
    let page = select(core, actor, query).await?;
    let Page { items, next_cursor } = page;
    let items = core.plugins()?.score(actor, plugin, scoring, items).await?;
    Ok(Page { items, next_cursor })
}

async fn select(core: &Core, actor: &Actor, query: ScoreQuery) -> Result<Page<Customer>> {
    let ScoreQuery { customer_ids, conditions, tag, limit, cursor } = query;
    let Some(ids) = customer_ids else {
        let model = fields::readable(core, actor).await?;
        let conditions = read_conditions(&model, conditions)?;
        let filter = CustomerFilter { tag, conditions, ..CustomerFilter::default() };
        let page = PageRequest { limit: limit.unwrap_or(SLICE_MAX).clamp(1, SLICE_MAX), cursor };
        return customers::list(core, actor, (&filter, CustomerSort::Id), &page).await;
    };
    if !conditions.is_empty() || tag.is_some() || limit.is_some() || cursor.is_some() {
        let message = "name customers, or conditions for a page of them, and not both";
        return Err(Error::invalid("/customer_ids", FaultCode::NotAChoice, message));
    }
    let mut items = Vec::with_capacity(ids.len());
    for ids in ids.chunks(READ_MANY_MAX) {
        items.extend(customers::get_many(core, actor, ids).await?.into_iter().flatten());
    }
    Ok(Page { items, next_cursor: None })
}

fn read_conditions(model: &Model, conditions: Vec<ScoreCondition>) -> Result<Vec<Condition>> {
    let mut faults = Vec::new();
    let mut read = Vec::with_capacity(conditions.len().min(CONDITIONS_MAX));
    for (position, condition) in conditions.into_iter().enumerate() {
        let ScoreCondition { field, operator, value } = condition;
        let made = scalar(model, &field, &value)
            .and_then(|value| Condition::new(model, &field, operator.into(), value));
        match made {
            Ok(condition) => read.push(condition),
            Err((code, message)) => faults.push(Fault::new(format!("/conditions/{position}"), code, message)),
        }
    }
    if faults.is_empty() { Ok(read) } else { Err(Error::Invalid { faults }) }
}

/// The value as the type of the field that it is compared with.
fn scalar(model: &Model, field: &str, value: &Value) -> Result<Scalar, (FaultCode, String)> {
    if let Some(definition) = model.field_named(FieldEntity::Customer, field) {
        return definition.read(value);
    }
    let wrong = |kind| (FaultCode::wrong_type(&[kind]), format!("the value does not go with `{field}`"));
    let is_time = matches!(field, "created_at" | "updated_at");
    match value.as_str() {
        Some(text) if is_time => {
            Timestamp::parse(text).map(Scalar::Time).ok_or_else(|| wrong(TypeName::Time))
        }
        Some(text) => Ok(Scalar::Text(text.to_owned())),
        None if is_time => Err(wrong(TypeName::Time)),
        None => Err(wrong(TypeName::Text)),
    }
}

/// What is known of a customer's orders; cancelled ones do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OrderFacts {
    pub(crate) count: i64,
    /// In the tenant's currency, less refunds.
    pub(crate) spend_minor: i64,
    pub(crate) first_at: Timestamp,
    pub(crate) last_at: Timestamp,
}

/// What is known of the orders of customers that the actor sees, in `currency`.
///
/// # Errors
/// `Forbidden`.
pub(crate) async fn order_facts(
    core: &Core,
    actor: &Actor,
    customers: &[&CustomerId],
    currency: &str,
) -> Result<Vec<(CustomerId, OrderFacts)>> {
    let visibility = ops::visible(actor, crate::domain::permission::Permission::OrderRead)?;
    let mut reader = core.db.read(&actor.tenant).await?;
    let rows =
        crate::db::orders::facts(&mut reader, &actor.tenant, &visibility, (customers, currency)).await?;
    let facts = rows.into_iter().map(|row| {
        let facts = OrderFacts {
            count: row.orders,
            spend_minor: row.spend_minor,
            first_at: row.first_at,
            last_at: row.last_at,
        };
        (row.customer_id, facts)
    });
    Ok(facts.collect())
}
