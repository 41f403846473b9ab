//! Functions: one plugin calls another by name. The callee runs in an instance of its own, as
//! itself, within what is left of the caller's budget; what it writes commits together with what
//! the caller writes, or not at all.

use std::sync::Arc;
use std::time::Instant;

use hospes_bindings::exports::hospes::plugin::functions as contract;
use hospes_bindings::hospes::plugin::types;
use serde_json::Value;

use super::PluginHost;
use super::acceptance;
use super::budget::Budget;
use super::buffer::Buffer;
use super::call::{Answer, Call, Failure, invoke};
use super::host::{Abort, Answered, Refusal, parse_document};
use super::invocation::Invocation;
use super::registry::Enabled;
use super::run::{Effects, lines, plugin_actor, user_actor};
use crate::domain::actor::{Actor, Principal};
use crate::domain::code::{FailureCode, RecordKind};
use crate::domain::grant::Grant;
use crate::domain::point::Point;
use crate::error::{Error, Result};
use crate::ops::plugins::functions::FunctionRequest;

/// Calls in a chain: a plugin calls another, which calls another.
pub(super) const CHAIN_MAX: usize = 3;

/// A call that the caller may make.
pub(super) struct FunctionCall<'a> {
    pub(super) plugin: &'a str,
    pub(super) function: &'a str,
    pub(super) input: Value,
    /// What is left of the caller's fuel.
    pub(super) fuel: u64,
}

impl PluginHost {
    /// Runs a function for the plugin of `caller`, whose buffer has what came of it afterwards.
    /// Also answers the fuel that the callee has burnt, whatever came of it.
    pub(super) async fn call_function(
        &self,
        caller: &mut Invocation,
        call: FunctionCall<'_>,
    ) -> (u64, Answered<String>) {
        let FunctionCall { plugin, function, mut input, fuel } = call;
        let callee = match self.callee(caller, (plugin, function), &mut input).await {
            Ok(callee) => callee,
            Err(refusal) => return (0, Err(refusal)),
        };
        let Some(slot) = self.sandbox.nested_slot(&callee).await else {
            let busy = "all places for calls between plugins are taken".to_owned();
            return (0, Err(types::Error::Unavailable(busy).into()));
        };
        let loaded = match self.registry.loaded(&callee).await {
            Ok(loaded) => loaded,
            Err(error) => return (0, Err(error.into())),
        };
        let request = Call::Function(contract::Request {
            function: function.to_owned(),
            caller: caller.enabled.plugin.to_string(),
            input: input.to_string(),
        });
        let actor = match &caller.origin {
            Some(user) => user_actor(user, &callee),
            None if matches!(caller.actor.principal, Principal::Plugin(_)) => {
                plugin_actor(&callee, caller.actor.cause.clone())
            }
            None => user_actor(&caller.actor, &callee),
        };
        let known = caller.buffer.callees.get(&callee.plugin);
        if known.is_some_and(|known| known.enabled.version != callee.version) {
            return (0, Err(Refusal::Ended(Abort::Stale)));
        }
        let before = known.map(|known| known.buffer.clone());
        let buffer = caller.buffer.of_callee(before.as_ref());
        let invocation = Invocation::of_callee(caller, (Arc::clone(&callee), actor), buffer, fuel);
        let started = Instant::now();
        let (mut invocation, outcome) = invoke(&loaded, invocation, &request).await;
        drop(slot);
        invocation.took(started.elapsed());
        self.measure(&invocation, outcome.as_ref().err());
        self.tell_refusals(&invocation).await;
        let fuel = invocation.usage.fuel.saturating_add(invocation.called_fuel);
        caller.count_callee(&invocation);
        let answered = match outcome.and_then(output_of) {
            Ok(output) => {
                let Invocation { core, enabled, buffer, log, .. } = invocation;
                let fresh = lines(&core, &enabled, &log, Point::Functions);
                caller.buffer.take_callee(enabled, buffer, fresh);
                Ok(output)
            }
            Err(failure) => self.refuse_callee(caller, (invocation, before), failure).await,
        };
        (fuel, answered)
    }

    /// Runs a function for somebody who acts, without another plugin that calls it.
    pub(super) async fn serve_function(&self, actor: &Actor, request: FunctionRequest) -> Result<Value> {
        let FunctionRequest { plugin, function, caller, mut input } = request;
        let unknown = || Error::not_found(RecordKind::Function, format!("{plugin}/{function}"));
        let callee = self.registry.find(&actor.tenant, &plugin).await?.ok_or_else(unknown)?;
        let schemas = callee.facts.functions.get(&function).ok_or_else(unknown)?;
        if !callee.grants.has(Grant::PluginsServe) {
            let refused = (Grant::PluginsServe, "functions.call");
            self.write_denials(&callee, std::iter::once((refused, 1))).await;
            let message = format!("the plugin lacks a right: {}", Grant::PluginsServe);
            return Err(Error::PluginRejected {
                plugin,
                code: "denied".to_owned(),
                message,
                faults: Vec::new(),
            });
        }
        schemas.input.fill_defaults(&mut input);
        let faults = schemas.input.faults("", &input);
        if !faults.is_empty() {
            return Err(Error::Invalid { faults });
        }
        let beginning = self.begin(&callee, user_actor(actor, &callee), Point::Functions)?.of_user(actor);
        let call = Call::Function(contract::Request {
            function: function.clone(),
            caller,
            input: input.to_string(),
        });
        let answer = self.run(beginning, call, Effects::Commit(Arc::new(|_| None))).await?;
        let Answer::Output(output) = &answer else {
            return Err(Error::internal("a function answered with something else than an output"));
        };
        read_output(&callee, &function, output).map_err(|code| acceptance::error(&callee.plugin, code))
    }

    /// The plugin that is called, if it may be and the input is one of the function's.
    async fn callee(
        &self,
        caller: &Invocation,
        (plugin, function): (&str, &str),
        input: &mut Value,
    ) -> Answered<Arc<Enabled>> {
        let unknown = || Error::not_found(RecordKind::Function, format!("{plugin}/{function}"));
        let callee = self.registry.find(&caller.enabled.tenant, plugin).await?.ok_or_else(unknown)?;
        let schemas = callee.facts.functions.get(function).ok_or_else(unknown)?;
        if !callee.grants.has(Grant::PluginsServe) {
            let refused = (Grant::PluginsServe, "functions.call");
            self.write_denials(&callee, std::iter::once((refused, 1))).await;
            return Err(types::Error::Denied(format!("{} of `{plugin}`", Grant::PluginsServe)).into());
        }
        schemas.input.fill_defaults(input);
        let faults = schemas.input.faults("", input);
        if !faults.is_empty() {
            return Err(Error::Invalid { faults }.into());
        }
        if !self.breakers.allows(&callee.tenant, &callee.plugin, Point::Functions, caller.now) {
            return Err(types::Error::Unavailable(format!("`{plugin}` is paused after failures")).into());
        }
        Ok(callee)
    }

    /// A callee that answers an error has changed nothing, and the caller is told; one that breaks
    /// off takes the caller with it.
    async fn refuse_callee(
        &self,
        caller: &mut Invocation,
        (callee, before): (Invocation, Option<Buffer>),
        failure: Failure,
    ) -> Answered<String> {
        let (code, reason) = match &failure {
            Failure::Stale => return Err(Refusal::Ended(Abort::Stale)),
            Failure::Host(error) => return Err(Refusal::Ended(Abort::Host(error.clone()))),
            Failure::Rejected(told) => return Err(types::Error::Rejected(told.clone()).into()),
            Failure::Refused(told) => {
                let told = told.clone();
                keep_reads(caller, (callee, before))?;
                return Err(told.into());
            }
            Failure::Stopped { code, message, .. } => (code.clone(), message.clone()),
        };
        let plugin = callee.enabled.plugin.to_string();
        if let FailureCode::Unavailable { reason } = code {
            let told = types::Error::Unavailable(reason);
            // Its lines, and those of whom it called, are written here.
            let (enabled, reads) = (Arc::clone(&callee.enabled), callee.buffer.without_logs());
            drop(self.fail(callee, failure).await);
            caller.buffer.take_reads(enabled, (before, reads), Vec::new())?;
            return Err(told.into());
        }
        if !is_starved(&callee, &code) {
            drop(self.fail(callee, failure).await);
        }
        Err(Refusal::Ended(Abort::Callee { plugin, reason }))
    }
}

/// Whether a callee broke off because its caller has left it too little: then it has not failed.
fn is_starved(callee: &Invocation, code: &FailureCode) -> bool {
    let own = Budget::of_plugin(&callee.enabled, Point::Functions, 1, &callee.core);
    let is_short = callee.budget.fuel < own.fuel || callee.budget.ticks < own.ticks;
    is_short && matches!(code, FailureCode::Fuel { .. } | FailureCode::Deadline { .. })
}

/// What a callee has read stays a ground of what its caller does after the refusal.
fn keep_reads(
    caller: &mut Invocation,
    (callee, before): (Invocation, Option<Buffer>),
) -> Result<(), Refusal> {
    let Invocation { core, enabled, buffer, log, .. } = callee;
    let fresh = lines(&core, &enabled, &log, Point::Functions);
    caller.buffer.take_reads(enabled, (before, buffer), fresh).map_err(Refusal::from)
}

/// The output as another plugin gets it.
fn output_of(answer: Answer) -> Result<String, Failure> {
    let Answer::Output(output) = answer else {
        return Err(Failure::Host(Error::internal("a function answered with something else than an output")));
    };
    Ok(output)
}

/// The output as a value, or why it is none of this function's.
pub(super) fn read_output(callee: &Enabled, function: &str, output: &str) -> Result<Value, FailureCode> {
    let value = parse_document(output).map_err(|reason| FailureCode::Outcome { reason })?;
    let schemas = callee.facts.functions.get(function);
    let faults = schemas.map(|schemas| schemas.output.faults("", &value)).unwrap_or_default();
    match faults.first() {
        None => Ok(value),
        Some(first) => {
            Err(FailureCode::Outcome { reason: format!("`{}`: {}", first.pointer, first.message) })
        }
    }
}
