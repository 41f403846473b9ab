//! Jobs of plugins out of turn: somebody wants one now.

use serde::Serialize;
use serde_json::json;

use crate::clock::Timestamp;
use crate::db::schedules;
use crate::domain::actor::Actor;
use crate::domain::audit::Entry;
use crate::domain::code::RecordKind;
use crate::domain::permission::Permission;
use crate::error::{Error, Result};
use crate::ops::{self, Core, access};

/// A job that is due.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct DueJob {
    /// Its name.
    pub name: String,
    /// Since when; a server runs it within seconds.
    #[schema(value_type = String, format = DateTime)]
    pub due_at: Timestamp,
    /// Why its last run or try failed.
    pub last_error: Option<String>,
}

/// Makes a job due now; its next time is then the next of its schedule. One that is due already, or runs,
/// is left as it is.
///
/// # Errors
/// `Forbidden`; `NotFound` if the enabled version has no such job, or none is enabled.
pub async fn run_now(core: &Core, actor: &Actor, plugin: &str, job: &str) -> Result<DueJob> {
    ops::require(actor, Permission::PluginWrite)?;
    let now = core.now();
    let entry = Entry::new(&*core.ids, now, "plugin.run_job", "plugin", plugin, json!({ "job": job }));
    let state = (actor.clone(), (plugin.to_owned(), job.to_owned()), entry, now);
    core.db
        .write(&actor.tenant, state, |tx, (actor, (plugin, job), entry, now)| {
            Box::pin(async move {
                access::recheck(tx, actor, Permission::PluginWrite, *now).await?;
                if schedules::hasten(tx, &actor.tenant, (plugin, job), *now).await? {
                    ops::audit::append(tx, actor, *now, entry).await?;
                }
                let jobs = schedules::of_plugin(tx, &actor.tenant, plugin).await?;
                let found = jobs.into_iter().find(|row| row.job == *job);
                let row = found.ok_or_else(|| Error::not_found(RecordKind::Job, &*job))?;
                Ok(DueJob { name: row.job, due_at: row.due_at, last_error: row.last_error })
            })
        })
        .await
}
