//! `settings`: what the tenant has set for this plugin.

use hospes_bindings::hospes::plugin::settings::Host;
use hospes_bindings::hospes::plugin::types;

use super::{Access, Invocation, answer};
use crate::domain::grant::Grant;

impl Host for Invocation {
    async fn get(&mut self) -> wasmtime::Result<Result<String, types::Error>> {
        let allowed = self.enter(Grant::SettingsOwn, "settings.get", Access::Read(0), 0);
        answer(allowed.map(|()| self.enabled.settings.to_string()))
    }
}
