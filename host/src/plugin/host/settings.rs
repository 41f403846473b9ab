//! `settings`: what the tenant has set for this plugin.

use super::{Access, Answered, Invocation};
use crate::domain::grant::Grant;

impl Invocation {
    pub(super) async fn settings_get(&mut self) -> Answered<String> {
        self.enter(Grant::SettingsOwn, "settings.get", Access::Read(0), 0)?;
        Ok(self.enabled.settings.to_string())
    }
}
