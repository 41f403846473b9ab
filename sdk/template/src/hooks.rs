//! Sees a customer before the save commits. A hook may read and must not write.

use hospes_sdk::{Customer, Fault, Hooks, Rejection, Value};

use crate::PluginType;

/// The tag that nobody may give.
const FORBIDDEN: &str = "forbidden";

impl Hooks for PluginType {
    fn before_save_customer(_before: Option<Customer>, after: Customer) -> Result<Option<Value>, Rejection> {
        if after.tags.iter().any(|tag| tag == FORBIDDEN) {
            let message = format!("The tag `{FORBIDDEN}` may not be given.");
            let fault = Fault::new("/tags", "forbidden_tag", message.clone());
            return Err(Rejection::new("forbidden_tag", message).at(fault));
        }
        Ok(None)
    }
}
