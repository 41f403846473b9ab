//! Rows of field values: one typed row for each value that a record has, for lists to be filtered by.

use serde_json::Map;

use super::filter::{Insert, Select};
use super::{Arg, Tx, args, statements};
use crate::domain::field::{FieldEntity, Scalar};
use crate::domain::field_value::{FieldChanges, FieldValue, Fields};
use crate::domain::ids::TenantId;
use crate::domain::query::Comparison;
use crate::error::Result;

statements! {
    DELETE_ALL = "DELETE FROM field_values WHERE tenant = $1 AND entity = $2 AND record_id = $3";
    DELETE = "
        DELETE FROM field_values
        WHERE tenant = $1
          AND entity = $2
          AND record_id = $3
          AND namespace = $4
          AND name = $5";
}

const INSERT: Insert = Insert {
    head: "INSERT INTO field_values (tenant, entity, record_id, namespace, name, text_value, integer_value,
        number_value) VALUES",
    columns: 8,
    tail: "",
};

/// A record that has fields: its kind and id.
pub(super) type Record<'a> = (FieldEntity, &'a str);

/// Inserts the values of new records.
pub(super) async fn insert_many<'a>(
    tx: &mut Tx,
    tenant: &TenantId,
    records: impl Iterator<Item = (Record<'a>, Option<&'a FieldChanges>)>,
) -> Result<()> {
    let set = records.filter_map(|(record, changes)| Some((record, &changes?.set)));
    let rows = set.flat_map(|(record, set)| set.iter().flat_map(move |value| row(tenant, record, value)));
    INSERT.run(tx, rows.collect()).await.map(drop)
}

/// Writes how the values of a record change.
pub(super) async fn change(
    tx: &mut Tx,
    tenant: &TenantId,
    record: Record<'_>,
    changes: Option<&FieldChanges>,
) -> Result<()> {
    let Some(FieldChanges { gone, set }) = changes else {
        return Ok(());
    };
    let (entity, id) = record;
    for (namespace, name) in gone {
        tx.execute(DELETE, args![tenant, entity.as_str(), id, namespace, name]).await?;
    }
    INSERT.run(tx, set.iter().flat_map(|value| row(tenant, record, value)).collect()).await.map(drop)
}

/// Deletes the values of a record that goes.
pub(super) async fn delete_all(tx: &mut Tx, tenant: &TenantId, (entity, id): Record<'_>) -> Result<()> {
    tx.execute(DELETE_ALL, args![tenant, entity.as_str(), id]).await.map(drop)
}

fn row(tenant: &TenantId, (entity, id): Record<'_>, value: &FieldValue) -> Vec<Arg> {
    let FieldValue { namespace, name, value } = value;
    let mut row = args![tenant, entity.as_str(), id, namespace, name];
    row.extend(typed(value));
    row
}

/// The three typed columns of a value.
pub(super) fn typed(value: &Scalar) -> [Arg; 3] {
    let (mut text, mut integer, mut number) = (None, None, None);
    match value {
        Scalar::Text(value) => text = Some(value.as_str()),
        Scalar::Integer(value) => integer = Some(*value),
        Scalar::Number(value) => number = Some(*value),
        Scalar::Boolean(value) => integer = Some(i64::from(*value)),
        Scalar::Time(value) => integer = Some(value.as_micros()),
    }
    [Arg::from(text), Arg::from(integer), Arg::from(number)]
}

/// A record's fields as the text that is kept with it; nothing if it has none.
pub(super) fn kept(fields: Fields<'_>) -> Option<String> {
    let is_empty = fields.custom_fields.is_empty() && fields.fields.is_none_or(Map::is_empty);
    (!is_empty).then(|| serde_json::to_string(&fields).expect("fields are plain data"))
}

/// The beginning of a condition on a field of the record with this alias.
macro_rules! has_field {
    ($alias:literal, $entity:literal) => {
        concat!(
            " EXISTS (SELECT 1 FROM field_values v
                WHERE v.tenant = ",
            $alias,
            ".tenant AND v.entity = '",
            $entity,
            "' AND v.record_id = ",
            $alias,
            ".id AND v.namespace = ? AND v.name = ? AND "
        )
    };
}
pub(super) use has_field;

/// Adds the condition that a field compares so; `has` is a [`has_field!`].
pub(super) fn push_condition(
    select: &mut Select,
    has: &'static str,
    (namespace, name): (&str, &str),
    comparison: Comparison,
    value: &Scalar,
) {
    // Without a value is another value.
    let is_negated = comparison == Comparison::NotEqual;
    select.push(if is_negated { " AND NOT" } else { " AND" }, Vec::new());
    select.push(has, args![namespace, name]);
    let [text, integer, number] = typed(value);
    let (column, value) = match value {
        Scalar::Text(_) => ("v.text_value", text),
        Scalar::Integer(_) | Scalar::Boolean(_) | Scalar::Time(_) => ("v.integer_value", integer),
        Scalar::Number(_) => ("v.number_value", number),
    };
    select.push(column, Vec::new());
    select.push(operator(if is_negated { Comparison::Equal } else { comparison }), vec![value]);
    select.push(")", Vec::new());
}

/// A comparison with an argument.
pub(super) const fn operator(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => " = ?",
        Comparison::NotEqual => " <> ?",
        Comparison::Less => " < ?",
        Comparison::LessOrEqual => " <= ?",
        Comparison::Greater => " > ?",
        Comparison::GreaterOrEqual => " >= ?",
    }
}
