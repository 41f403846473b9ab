//! `plugins`: functions of other plugins.

use hospes_bindings::hospes::plugin::types;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::imports::{Import, Kind, told};
use super::json::{self, DOCUMENT_BYTES_MAX};
use super::{Access, Answered, Invocation, limit};
use crate::domain::grant::Grant;
use crate::domain::point::Point;
use crate::plugin::functions::{CHAIN_MAX, FunctionCall};
use crate::plugin::invocation::clean;
use crate::plugin::replay::Player;

const INTERFACE: &str = "hospes:plugin/plugins@1.0.0";

/// Plugin, function and input.
type Params = (String, String, String);
type Returned = (Result<String, types::Error>,);

const CALL: Import = Import { name: "plugins.call", kind: Kind::Asks };

/// Links the interface by hand: unlike all others its function needs the store, because the
/// callee burns the caller's fuel.
pub(super) fn link(linker: &mut Linker<Invocation>) -> wasmtime::Result<()> {
    linker.instance(INTERFACE)?.func_wrap_async("call", |store, params: Params| Box::new(call(store, params)))
}

async fn call(mut store: StoreContextMut<'_, Invocation>, params: Params) -> wasmtime::Result<Returned> {
    let fuel = store.get_fuel()?;
    let heard = store.data_mut().hear(CALL, || (&params.0, &params.1, &params.2));
    let (used, answered) = store.data_mut().plugins_call(params, fuel).await;
    store.set_fuel(fuel.saturating_sub(used))?;
    let answered = told(answered);
    store.data_mut().note_call(heard, &answered, used);
    answered.map(|answered| (answered,))
}

/// The same in a replay: the callee has a recording of its own, and here its answer and fuel.
pub(super) fn link_player(linker: &mut Linker<Player>) -> wasmtime::Result<()> {
    linker.instance(INTERFACE)?.func_wrap("call", |mut store, params: Params| -> wasmtime::Result<Returned> {
        let answered = store.data_mut().answer(CALL, &(&params.0, &params.1, &params.2));
        let used = store.data_mut().take_called_fuel();
        let fuel = store.get_fuel()?;
        store.set_fuel(fuel.saturating_sub(used))?;
        answered.map(|answered| (answered,))
    })
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
