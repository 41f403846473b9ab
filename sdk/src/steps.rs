//! Types of workflow steps.

use serde_json::Value;

use crate::{Rejection, Subject, Timestamp};

/// A step that is to be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The type, as the manifest declares it.
    pub name: String,
    /// The record that the workflow runs for.
    pub target: Subject,
    /// The same whenever this step of this run is called again.
    pub key: String,
    /// Valid by the manifest's schema.
    pub input: Value,
    /// 1 for the first call under this key; waiting counts too.
    pub attempt: u32,
}

/// How a step has gone.
#[derive(Debug, Clone, PartialEq)]
pub enum StepOutcome {
    /// It is done.
    Done(Value),
    /// It wants to be called again, not before this time.
    WaitUntil(Timestamp),
    /// It has ended without success and is not tried again.
    Failed(Rejection),
}
