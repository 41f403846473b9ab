//! What is told when a plugin has used up the rate of a grant: a plugin that takes all it can get is stopped
//! by its rate, and somebody should look.

use serde_json::json;

use crate::clock::Timestamp;
use crate::domain::actor::Actor;
use crate::domain::event::{Event, Subject};
use crate::domain::grant::Grant;
use crate::domain::ids::TenantId;
use crate::domain::parameters::Rate;
use crate::error::Result;
use crate::ops::{Core, events};

/// The event.
pub const REACHED: &str = "plugin.rate_reached";

/// A rate that is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateReached {
    /// The plugin's name.
    pub plugin: String,
    /// The version that ran.
    pub plugin_version: String,
    /// The grant whose rate it is.
    pub grant: Grant,
    /// The rate, as the tenant has granted it.
    pub rate: Rate,
    /// When it counts anew.
    pub until: Timestamp,
}

/// Appends the event, whatever becomes of the run that has used up the rate.
///
/// # Errors
/// Those of the database.
pub async fn tell(core: &Core, tenant: &TenantId, reached: &RateReached) -> Result<()> {
    let RateReached { plugin, plugin_version, grant, rate, until } = reached;
    let body = json!({
        "plugin": plugin, "plugin_version": plugin_version, "grant": grant.to_string(),
        "rate": rate.to_string(), "until": until,
    });
    let now = core.now();
    let event = Event::new(&*core.ids, now, REACHED, Subject::Tenant, body);
    let state = (Actor::server(tenant.clone()), event);
    core.db
        .write(tenant, state, move |tx, (server, event)| {
            Box::pin(async move { events::append_many(tx, server, now, &[event]).await })
        })
        .await
}
