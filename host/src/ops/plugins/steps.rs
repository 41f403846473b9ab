//! Workflow steps that plugins have types of: each runs to its end once under its key.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::clock::Timestamp;
use crate::db::Tx;
use crate::db::steps::{self, Ended, StepKey};
use crate::domain::actor::Actor;
use crate::domain::code::{FaultCode, Reason};
use crate::domain::event::Subject;
use crate::domain::ids::TenantId;
use crate::error::{Error, Fault, Result};
use crate::ops::Core;

/// Bytes of a key at most.
const KEY_BYTES_MAX: usize = 200;
/// How long the end of a step is kept: longer than anybody asks again.
const KEPT_SECONDS: i64 = 90 * 24 * 60 * 60;

/// A step that is to be run.
#[derive(Clone, Debug)]
pub struct StepRequest {
    /// The plugin.
    pub plugin: String,
    /// The type of the step, as the manifest declares it.
    pub step: String,
    /// The record that the workflow runs for.
    pub target: Subject,
    /// The same whenever this step of this run is called again: 1 to 200 bytes.
    pub key: String,
    /// Its input.
    pub input: Value,
    /// 1 for the first call under this key.
    pub attempt: u32,
}

/// How a step has gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// It is done, with an output that is valid by the manifest's schema.
    Done(Value),
    /// It is to be called again under the same key, not before this time.
    WaitUntil(Timestamp),
    /// It has ended without success.
    Failed {
        /// The plugin's stable code.
        code: String,
        /// The plugin's reason, in the actor's language.
        message: String,
        /// Where the input is wrong, if it is the input.
        faults: Vec<StepFault>,
    },
}

/// One thing that a plugin finds wrong with a step's input, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepFault {
    /// JSON pointer into the input.
    pub pointer: String,
    /// The plugin's stable code.
    pub code: String,
    /// For a person.
    pub message: String,
}

impl From<Fault> for StepFault {
    fn from(fault: Fault) -> Self {
        Self { pointer: fault.pointer, code: fault.code.into_owned(), message: fault.message }
    }
}

/// What is committed together with a step's effects and outcome.
pub type StepAck =
    Arc<dyn for<'a> Fn(&'a mut Tx, &'a StepOutcome) -> BoxFuture<'a, Result<()>> + Send + Sync>;

/// Runs a step on behalf of the actor. Once it is done or has failed, a call under
/// its key answers the same without running anything.
///
/// # Errors
/// `NotFound` for an unknown step; `Invalid` for a key or an input that is none;
/// a conflict for a key that was used for another input; `PluginRejected`,
/// `PluginFailed` and `Unavailable`, after which nothing is written and the step
/// may be called again.
pub async fn run(core: &Core, actor: &Actor, request: StepRequest) -> Result<StepOutcome> {
    if request.key.is_empty() || request.key.len() > KEY_BYTES_MAX || request.key.contains('\0') {
        let format = format!("1 to {KEY_BYTES_MAX} bytes without a zero byte");
        return Err(Error::plain("/key", FaultCode::wrong_format(format)));
    }
    let key = StepKey {
        tenant: actor.tenant.clone(),
        plugin: request.plugin.clone(),
        step: request.step.clone(),
        key: request.key.clone(),
    };
    let fingerprint = fingerprint(&request);
    if let Some(outcome) = ended(core, &key, &fingerprint).await? {
        return Ok(outcome);
    }
    let ack = keep(key.clone(), fingerprint.clone(), core.now());
    match core.plugins()?.run_step(actor, request, ack).await {
        // Somebody else has run it to its end at the same time; nothing of this run was written.
        Err(Error::Conflict { code: Reason::StepHasEnded, .. }) => {
            let outcome = ended(core, &key, &fingerprint).await?;
            outcome.ok_or_else(|| Error::internal("a step that has ended has no row"))
        }
        outcome => outcome,
    }
}

/// Forgets the ends of a tenant's steps that are older than anybody asks for; answers how many.
///
/// # Errors
/// Those of the database.
pub async fn purge(core: &Core, tenant: &TenantId) -> Result<u64> {
    let state = (tenant.clone(), core.now().plus_seconds(-KEPT_SECONDS));
    core.db
        .write(tenant, state, |tx, (tenant, before)| Box::pin(steps::delete_before(tx, tenant, *before)))
        .await
}

async fn ended(core: &Core, key: &StepKey, fingerprint: &str) -> Result<Option<StepOutcome>> {
    let mut reader = core.db.read(&key.tenant).await?;
    let Some(ended) = steps::find(&mut reader, key).await? else { return Ok(None) };
    if ended.fingerprint != fingerprint {
        let message = format!("the key `{}` was used for a step with another input", key.key);
        return Err(Error::conflict(Reason::StepKeyReused, message));
    }
    serde_json::from_str(&ended.outcome).map(Some).map_err(Error::internal)
}

/// Keeps the end of a step in the transaction of its effects.
fn keep(key: StepKey, fingerprint: String, at: Timestamp) -> StepAck {
    let state = Arc::new((key, fingerprint, at));
    Arc::new(move |tx, outcome| {
        let state = Arc::clone(&state);
        Box::pin(async move {
            if matches!(outcome, StepOutcome::WaitUntil(_)) {
                return Ok(());
            }
            let (key, fingerprint, at) = &*state;
            let outcome = serde_json::to_string(outcome).map_err(Error::internal)?;
            let ended = Ended { fingerprint: fingerprint.clone(), outcome };
            if steps::insert(tx, key, &ended, *at).await? {
                return Ok(());
            }
            Err(Error::conflict(Reason::StepHasEnded, format!("the step `{}` has ended elsewhere", key.key)))
        })
    })
}

fn fingerprint(request: &StepRequest) -> String {
    let StepRequest { target, input, .. } = request;
    let text = json!([target.kind(), target.id(), input]).to_string();
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}
