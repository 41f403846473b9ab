//! `plugins`: functions of other plugins.

use hospes_bindings::hospes::plugin::types;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::json::{self, DOCUMENT_BYTES_MAX};
use super::{Access, Answered, Invocation, answer, limit};
use crate::domain::grant::Grant;
use crate::domain::point::Point;
use crate::plugin::functions::{CHAIN_MAX, FunctionCall};
use crate::plugin::invocation::clean;

const INTERFACE: &str = "hospes:plugin/plugins@1.0.0";

/// Plugin, function and input.
type Params = (String, String, String);
type Returned = (Result<String, types::Error>,);

/// Links the interface by hand: unlike all others its function needs the store, because the
/// callee burns the caller's fuel.
pub(in crate::plugin) fn link(linker: &mut Linker<Invocation>) -> wasmtime::Result<()> {
    linker.instance(INTERFACE)?.func_wrap_async("call", |store, params: Params| Box::new(call(store, params)))
}

async fn call(mut store: StoreContextMut<'_, Invocation>, params: Params) -> wasmtime::Result<Returned> {
    let fuel = store.get_fuel()?;
    let (used, answered) = store.data_mut().plugins_call(params, fuel).await;
    store.set_fuel(fuel.saturating_sub(used))?;
    answer(answered).map(|answered| (answered,))
}

impl Invocation {
    /// The fuel that the callee has burnt, and its output.
    async fn plugins_call(&mut self, params: Params, fuel: u64) -> (u64, Answered<String>) {
        let (plugin, function, input) = params;
        let input = match self.check_call(&plugin, &input) {
            Ok(input) => input,
            Err(refusal) => return (0, Err(refusal)),
        };
        let host = std::sync::Arc::clone(&self.host);
        let call = FunctionCall { plugin: &plugin, function: &function, input, fuel };
        let (used, answered) = Box::pin(host.call_function(self, call)).await;
        let answered = answered.and_then(|output| {
            self.move_bytes(output.len())?;
            Ok(output)
        });
        (used, answered)
    }

    fn check_call(&mut self, plugin: &str, input: &str) -> Answered<serde_json::Value> {
        self.enter(Grant::PluginsCall, "plugins.call", Access::Read(0), 0)?;
        if !self.enabled.may_call(plugin) {
            let shown = clean(plugin, 40);
            let why = format!("the grant `{}` is not for `{shown}`", Grant::PluginsCall);
            self.note_denied((Grant::PluginsCall, "plugins.call"), &why);
            return Err(types::Error::Denied(format!("{} of `{shown}`", Grant::PluginsCall)).into());
        }
        if self.point == Point::Hooks {
            let message = "hooks may not call other plugins".to_owned();
            return Err(types::Error::Denied(message).into());
        }
        if self.chain.iter().any(|one| **one == *plugin) {
            return Err(limit(format!("`{plugin}` is in this chain of calls already")));
        }
        if self.chain.len() > CHAIN_MAX {
            return Err(limit(format!("{CHAIN_MAX} calls in a chain")));
        }
        self.move_bytes(input.len())?;
        json::parse("", input, DOCUMENT_BYTES_MAX)
    }
}
