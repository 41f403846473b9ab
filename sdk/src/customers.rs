//! The tenant's customers.

use serde::Serialize;
use serde_json::Value;

pub use crate::bindings::imports::hospes::plugin::customers::FieldValue;
use crate::bindings::imports::hospes::plugin::customers::{Patch, Search};
use crate::error::{decode, encode};
use crate::{Condition, Customer, Result, Scalar, host};

/// One customer.
pub fn get(id: &str) -> Result<Option<Customer>> {
    Ok(get_many(&[id.to_owned()])?.pop().flatten())
}

/// At most 200 customers in the order of the ids.
pub fn get_many(ids: &[String]) -> Result<Vec<Option<Customer>>> {
    host::customers::get_many(ids)?
        .into_iter()
        .map(|found| found.map(|entity| decode("a customer", &entity.body)).transpose())
        .collect()
}

/// One page of customers in the order of their ids, with the cursor of the next.
pub fn query(
    conditions: Vec<Condition>,
    limit: u32,
    cursor: Option<String>,
) -> Result<(Vec<Customer>, Option<String>)> {
    let page = host::customers::query(&Search { conditions, limit, cursor })?;
    let customers =
        page.entities.into_iter().map(|entity| decode("a customer", &entity.body)).collect::<Result<_>>()?;
    Ok((customers, page.cursor))
}

/// Creates customers, at most 100, and answers their ids.
pub fn create<T: Serialize>(customers: &[T]) -> Result<Vec<String>> {
    let bodies =
        customers.iter().map(|customer| encode("a customer", customer)).collect::<Result<Vec<_>>>()?;
    host::customers::create_many(&bodies)
}

/// Changes a customer by JSON Merge Patch, if it still has the version given.
pub fn update(id: &str, expected_version: Option<i64>, patch: &Value) -> Result<()> {
    host::customers::update_many(&[Patch { id: id.to_owned(), expected_version, body: patch.to_string() }])
}

/// A value for [`set_fields`]: a declared field, without the plugin's name.
pub fn field(customer: &str, field: &str, value: impl Into<Scalar>) -> FieldValue {
    FieldValue { customer: customer.to_owned(), field: field.to_owned(), value: Some(value.into()) }
}

/// Sets at most 500 of the plugin's own fields; all or none.
pub fn set_fields(values: &[FieldValue]) -> Result<()> {
    host::customers::set_fields(values)
}
