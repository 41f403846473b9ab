//! The one rule that the plugin keeps at a save: a member stays reachable.

use hospes_sdk::{Customer, Error, Fault, Rejection, Value, context};

use crate::member::MEMBERS;
use crate::words::Words;

/// Refuses to take the last contact point from a member: expiring points and
/// falling tiers must be announced. The document is read only when a save does
/// that, so every other save costs no call.
pub(crate) fn before_save(before: Option<Customer>, after: &Customer) -> Result<Option<Value>, Rejection> {
    let Some(before) = before else {
        return Ok(None);
    };
    if before.contact_points.is_empty() || !after.contact_points.is_empty() {
        return Ok(None);
    }
    match MEMBERS.get(&before.id) {
        Ok(Some(_)) => {
            let words = Words::new(context::get().language());
            let message = words.member_needs_contact();
            Err(Rejection::new("member_needs_contact_point", message).at(Fault::new(
                "/contact_points",
                "member_needs_contact_point",
                message,
            )))
        }
        Ok(None) => Ok(None),
        Err(error) => Err(unknown(&error)),
    }
}

/// Whether the customer is a member could not be found out.
fn unknown(error: &Error) -> Rejection {
    Rejection::new("membership_unknown", error.to_string())
}
