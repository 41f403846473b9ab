//! What a list asks for: conditions, an order and the place to go on from.

use serde::{Deserialize, Serialize};

use super::field::{FieldEntity, Model, Scalar};
use super::ids::{CustomerId, OrgUnitId, UserId};
use super::order::OrderStatus;
use super::page::PageRequest;
use super::timeline::Category;
use crate::clock::Timestamp;
use crate::domain::code::{FaultCode, TypeName};
use crate::error::{Error, Result};

/// Conditions of a query.
pub const CONDITIONS_MAX: usize = 8;

/// How a value compares to that of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The same.
    Equal,
    /// Another one, or none.
    NotEqual,
    /// Before it.
    Less,
    /// Before it or the same.
    LessOrEqual,
    /// After it.
    Greater,
    /// After it or the same.
    GreaterOrEqual,
}

impl Comparison {
    /// The comparison of a query parameter, such as `gte`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "eq" => Self::Equal,
            "ne" => Self::NotEqual,
            "lt" => Self::Less,
            "lte" => Self::LessOrEqual,
            "gt" => Self::Greater,
            "gte" => Self::GreaterOrEqual,
            _ => return None,
        })
    }
}

/// A column of customers that conditions may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoreField {
    /// `lifecycle_stage`, a text.
    LifecycleStage,
    /// `owner`, a user's id as text.
    Owner,
    /// `org_unit`, a unit's id as text.
    OrgUnit,
    /// `created_at`, a time.
    CreatedAt,
    /// `updated_at`, a time.
    UpdatedAt,
}

/// What a condition is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// A column.
    Core(CoreField),
    /// A defined or declared field.
    Field {
        /// Empty for the tenant's own.
        namespace: String,
        /// The name in it.
        name: String,
    },
}

/// One condition; those of a query are joined by "and".
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// What it is about.
    pub operand: Operand,
    /// How it compares.
    pub comparison: Comparison,
    /// With what.
    pub value: Scalar,
}

impl Condition {
    /// Reads a condition on `field` as plugins name it: a core field, or `plugin.field`.
    ///
    /// # Errors
    /// A stable code and a text for a person.
    pub fn new(
        model: &Model,
        field: &str,
        comparison: Comparison,
        value: Scalar,
    ) -> Result<Self, (FaultCode, String)> {
        let core = match field {
            "lifecycle_stage" => Some(CoreField::LifecycleStage),
            "owner" => Some(CoreField::Owner),
            "org_unit" => Some(CoreField::OrgUnit),
            "created_at" => Some(CoreField::CreatedAt),
            "updated_at" => Some(CoreField::UpdatedAt),
            _ => None,
        };
        if let Some(core) = core {
            let is_time = matches!(core, CoreField::CreatedAt | CoreField::UpdatedAt);
            let fits = match &value {
                Scalar::Time(_) => is_time,
                Scalar::Text(_) => !is_time,
                Scalar::Integer(_) | Scalar::Number(_) | Scalar::Boolean(_) => false,
            };
            if !fits {
                let wanted = if is_time { TypeName::Time } else { TypeName::Text };
                let message = format!("the value does not go with `{field}`");
                return Err((FaultCode::wrong_type(&[wanted]), message));
            }
            return Ok(Self { operand: Operand::Core(core), comparison, value });
        }
        let Some(definition) = model.field_named(FieldEntity::Customer, field) else {
            return Err((FaultCode::UnknownField, format!("there is no field `{field}`")));
        };
        let json = value.to_json().ok_or_else(|| {
            (FaultCode::wrong_type(&[TypeName::Number]), "must be a finite number".to_owned())
        })?;
        let unlimited = super::field::FieldDefinition { minimum: None, maximum: None, ..definition.clone() };
        let value = unlimited.read(&json)?;
        let operand =
            Operand::Field { namespace: definition.namespace.clone(), name: definition.name.clone() };
        Ok(Self { operand, comparison, value })
    }
}

/// One condition on a defined or declared field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldCondition {
    /// Empty for the tenant's own fields, else the plugin's name.
    pub namespace: String,
    /// The name in it.
    pub name: String,
    /// How it compares.
    pub comparison: Comparison,
    /// With what.
    pub value: Scalar,
}

impl FieldCondition {
    /// Reads `name` or `name][gte`, the inside of `fields[…]` in a query string, and the text that it is set to.
    ///
    /// # Errors
    /// A stable code and a text for a person.
    pub fn read(
        model: &Model,
        entity: FieldEntity,
        key: &str,
        text: &str,
    ) -> Result<Self, (FaultCode, String)> {
        let (name, comparison) = key.split_once("][").unwrap_or((key, "eq"));
        let Some(comparison) = Comparison::from_name(comparison) else {
            let message = format!("`{comparison}` is none of eq, ne, lt, lte, gt, gte");
            return Err((FaultCode::not_allowed(["eq", "ne", "lt", "lte", "gt", "gte"]), message));
        };
        let Some(definition) = model.field_named(entity, name) else {
            return Err((FaultCode::UnknownField, format!("there is no field `{name}`")));
        };
        let value = definition.read_text(text)?;
        let (namespace, name) = (definition.namespace.clone(), definition.name.clone());
        Ok(Self { namespace, name, comparison, value })
    }
}

impl From<FieldCondition> for Condition {
    fn from(condition: FieldCondition) -> Self {
        let FieldCondition { namespace, name, comparison, value } = condition;
        Self { operand: Operand::Field { namespace, name }, comparison, value }
    }
}

/// The column that a list of customers is ordered by; ties go by id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum CustomerSort {
    /// The id: the order in which they were made.
    #[default]
    #[serde(rename = "id")]
    Id,
    /// The latest first.
    #[serde(rename = "-id")]
    IdDescending,
    /// The name, without regard to case.
    #[serde(rename = "name")]
    Name,
    /// The name, backwards.
    #[serde(rename = "-name")]
    NameDescending,
    /// The last change, the oldest first.
    #[serde(rename = "updated_at")]
    UpdatedAt,
    /// The last change, the newest first.
    #[serde(rename = "-updated_at")]
    UpdatedAtDescending,
    /// The making, the oldest first.
    #[serde(rename = "created_at")]
    CreatedAt,
    /// The making, the newest first.
    #[serde(rename = "-created_at")]
    CreatedAtDescending,
}

/// What a list of customers asks for; everything that is stated must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CustomerFilter {
    /// The name begins with it, without regard to case.
    pub name_prefix: Option<String>,
    /// Has this tag.
    pub tag: Option<String>,
    /// Is of this kind.
    pub kind: Option<super::customer::CustomerKind>,
    /// Is in this stage.
    pub lifecycle_stage: Option<String>,
    /// Has this owner.
    pub owner_id: Option<UserId>,
    /// Belongs to this very unit.
    pub org_unit_id: Option<OrgUnitId>,
    /// Can be reached there.
    pub contact: Option<String>,
    /// Is known so: source and external id.
    pub identity: Option<(String, String)>,
    /// Further conditions, at most [`CONDITIONS_MAX`].
    pub conditions: Vec<Condition>,
}

/// The column that a list of orders is ordered by; ties go by id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum OrderSort {
    /// The id: the order in which the records were made.
    #[default]
    #[serde(rename = "id")]
    Id,
    /// The latest first.
    #[serde(rename = "-id")]
    IdDescending,
    /// The time of the order, the earliest first.
    #[serde(rename = "ordered_at")]
    OrderedAt,
    /// The time of the order, the latest first.
    #[serde(rename = "-ordered_at")]
    OrderedAtDescending,
    /// The last change, the oldest first.
    #[serde(rename = "updated_at")]
    UpdatedAt,
    /// The last change, the newest first.
    #[serde(rename = "-updated_at")]
    UpdatedAtDescending,
}

/// What a list of orders asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OrderFilter {
    /// Of this customer.
    pub customer_id: Option<CustomerId>,
    /// In this status.
    pub status: Option<OrderStatus>,
    /// By this channel.
    pub channel: Option<String>,
    /// In this store.
    pub store: Option<String>,
    /// Known so: source and external id.
    pub identity: Option<(String, String)>,
    /// Ordered at or after this time.
    pub since: Option<Timestamp>,
    /// Ordered before this time.
    pub until: Option<Timestamp>,
    /// Changed at or after this time.
    pub updated_since: Option<Timestamp>,
    /// Conditions on fields, at most [`CONDITIONS_MAX`].
    pub fields: Vec<FieldCondition>,
}

/// The column that a list of products is ordered by; ties go by id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum ProductSort {
    /// The id: the order in which the records were made.
    #[default]
    #[serde(rename = "id")]
    Id,
    /// The latest first.
    #[serde(rename = "-id")]
    IdDescending,
    /// The code.
    #[serde(rename = "sku")]
    Sku,
    /// The code, backwards.
    #[serde(rename = "-sku")]
    SkuDescending,
    /// The name, without regard to case.
    #[serde(rename = "name")]
    Name,
    /// The name, backwards.
    #[serde(rename = "-name")]
    NameDescending,
    /// The last change, the oldest first.
    #[serde(rename = "updated_at")]
    UpdatedAt,
    /// The last change, the newest first.
    #[serde(rename = "-updated_at")]
    UpdatedAtDescending,
}

/// What a list of products asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProductFilter {
    /// With this code.
    pub sku: Option<String>,
    /// Of this class.
    pub class: Option<String>,
    /// The name begins with it, without regard to case.
    pub name_prefix: Option<String>,
    /// Conditions on fields, at most [`CONDITIONS_MAX`].
    pub fields: Vec<FieldCondition>,
}

/// What a list of a customer's timeline asks for; the latest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimelineFilter {
    /// Of this category.
    pub category: Option<Category>,
    /// Of this kind; a plugin's with its name before it.
    pub kind: Option<String>,
    /// By this channel.
    pub channel: Option<String>,
    /// At or after this time.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
}

/// The key of the last row of a page: that of its order and, for ties, its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The list's name and order: a cursor of another list is refused.
    #[serde(rename = "l")]
    pub list: String,
    /// The text that the list is ordered by, if it is a text.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The number that the list is ordered by, if it is a number.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub number: Option<i64>,
    /// The id.
    #[serde(rename = "i")]
    pub id: String,
}

impl Position {
    /// The position that a cursor names in the list of this name and order.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a cursor of another list or order.
    pub fn of(request: &PageRequest, list: &str) -> Result<Option<Self>> {
        let position: Option<Self> = request.after()?;
        if position.as_ref().is_some_and(|position| position.list != list) {
            let message = "belongs to another list or order; begin without a cursor";
            return Err(Error::invalid("/cursor", FaultCode::BadCursor, message));
        }
        Ok(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::page::Page;

    #[test]
    fn a_cursor_of_another_order_is_refused() {
        let request = PageRequest { limit: 1, cursor: None };
        let page = Page::of(&request, vec!["a", "b"], |id| Position {
            list: "customers:id".to_owned(),
            text: None,
            number: None,
            id: (*id).to_owned(),
        });
        let next = PageRequest { limit: 1, cursor: page.next_cursor };
        assert_eq!(Position::of(&next, "customers:id").unwrap().unwrap().id, "a");
        assert!(Position::of(&next, "customers:name").is_err());
    }
}
