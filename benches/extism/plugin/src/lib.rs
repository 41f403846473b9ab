//! The rule of the bench `comparison` as an Extism plugin: decode both records, and say nothing if
//! the last way to reach the customer is not taken away.

use extism_pdk::{FnResult, plugin_fn};
use hospes_sdk::Customer;
use serde::Deserialize;

#[derive(Deserialize)]
struct Told {
    before: Customer,
    after: Customer,
}

#[plugin_fn]
pub fn before_save(input: String) -> FnResult<String> {
    let Told { before, after } = serde_json::from_str(&input)?;
    let refused = !before.contact_points.is_empty() && after.contact_points.is_empty();
    Ok(if refused { r#"{"code":"member_needs_contact_point"}"# } else { "null" }.to_owned())
}
