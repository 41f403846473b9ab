//! The customer as a whole, in one call: basics and preferences, orders, contacts, the
//! latest of the timeline, and what plugins show.

use serde::Serialize;

use super::plugins::Panel;
use super::{Core, visible};
use crate::clock::Timestamp;
use crate::db::{customers, orders, timeline};
use crate::domain::actor::{Actor, Visibility};
use crate::domain::code::RecordKind;
use crate::domain::customer::Customer;
use crate::domain::event::Subject;
use crate::domain::ids::CustomerId;
use crate::domain::money::{Currency, Money};
use crate::domain::page::PageRequest;
use crate::domain::permission::Permission;
use crate::domain::query::TimelineFilter;
use crate::domain::timeline::TimelineEntry;
use crate::error::{Error, Result};

/// Entries of the timeline that an overview shows.
pub const LATEST: u32 = 10;
/// The slot of panels on a customer.
const SLOT: &str = "customer";

/// Everything about a customer.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Overview {
    /// Basics, preferences, and the fields of tenant and plugins.
    pub customer: Customer,
    /// What the customer has bought; absent for one who may not see orders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orders: Option<OrdersSummary>,
    /// How the customer was served; absent for one who may not see the timeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceRecord>,
    /// The latest entries, the latest first; absent for one who may not see the timeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Vec<TimelineEntry>>,
    /// What the plugins show. One that fails says so in its own panel.
    pub panels: Vec<Panel>,
}

/// The sums of a customer's orders; cancelled ones do not count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct OrdersSummary {
    /// How many.
    pub count: i64,
    /// When the first was placed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub first_ordered_at: Option<Timestamp>,
    /// When the last was placed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_ordered_at: Option<Timestamp>,
    /// The sums, one for each currency.
    pub totals: Vec<OrderTotals>,
    /// The sums, one for each channel and currency.
    pub channels: Vec<ChannelTotals>,
}

/// Sums in one currency.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct OrderTotals {
    /// How many orders.
    pub count: i64,
    /// What they cost.
    pub total: Money,
    /// What was given back.
    pub refunded: Money,
    /// What one cost, without fractions of the minor unit.
    pub average: Money,
}

/// Sums of one channel in one currency.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ChannelTotals {
    /// The channel.
    pub channel: String,
    /// How many orders.
    pub count: i64,
    /// What they cost.
    pub total: Money,
}

/// How a customer was served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ServiceRecord {
    /// Contacts in all.
    pub contacts: i64,
    /// When the last was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_contact_at: Option<Timestamp>,
    /// Contacts by channel.
    pub channels: Vec<ChannelContacts>,
}

/// Contacts by one channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ChannelContacts {
    /// The channel.
    pub channel: String,
    /// How many.
    pub contacts: i64,
}

/// The overview of a customer.
///
/// # Errors
/// `Forbidden` and `NotFound` as for the customer alone; a plugin never breaks it.
pub async fn get(core: &Core, actor: &Actor, id: &CustomerId) -> Result<Overview> {
    let visibility = visible(actor, Permission::CustomerRead)?;
    let tenant = &actor.tenant;
    let mut reader = core.db.read(tenant).await?;
    let found = customers::find(&mut reader, tenant, &visibility, id).await?;
    let mut customer = found.ok_or_else(|| Error::not_found(RecordKind::Customer, id))?;
    super::customers::show(&mut reader, actor, std::slice::from_mut(&mut customer)).await?;
    let mut sums = None;
    if reaches(actor, Permission::OrderRead, &visibility) {
        sums = Some(summarise_orders(orders::summarise(&mut reader, tenant, id).await?));
    }
    let (mut service, mut latest) = (None, None);
    if reaches(actor, Permission::TimelineRead, &visibility) {
        service = Some(summarise_contacts(timeline::summarise(&mut reader, tenant, id).await?));
        let page = PageRequest { limit: LATEST, cursor: None };
        let filter = TimelineFilter::default();
        latest = Some(timeline::list(&mut reader, tenant, id, &filter, &page).await?.items);
    }
    // The reader goes back before plugins run, which read for themselves.
    drop(reader);
    let panels = match core.plugins()?.panels(actor, SLOT, Subject::Customer(id.clone())).await {
        Ok(panels) => panels,
        Err(error) => {
            tracing::warn!(%error, customer = %id, "an overview is shown without its panels");
            Vec::new()
        }
    };
    Ok(Overview { customer, orders: sums, service, timeline: latest, panels })
}

/// Whether another permission reaches the customer that this one has reached: the same records, or all.
fn reaches(actor: &Actor, permission: Permission, found_with: &Visibility) -> bool {
    actor
        .visibility(permission)
        .is_some_and(|visibility| visibility == Visibility::All || visibility == *found_with)
}

fn summarise_orders(sums: Vec<orders::ChannelSum>) -> OrdersSummary {
    let mut summary = OrdersSummary::default();
    for sum in sums {
        let currency = Currency::parse(&sum.currency).unwrap_or(Currency::XXX);
        let money = |amount_minor| Money { amount_minor, currency };
        summary.count += sum.orders;
        summary.first_ordered_at =
            Some(summary.first_ordered_at.map_or(sum.first_at, |first| first.min(sum.first_at)));
        summary.last_ordered_at = summary.last_ordered_at.max(Some(sum.last_at));
        match summary.totals.iter_mut().find(|totals| totals.total.currency == currency) {
            Some(totals) => {
                totals.count += sum.orders;
                totals.total.amount_minor += sum.total_minor;
                totals.refunded.amount_minor += sum.refunded_minor;
            }
            None => summary.totals.push(OrderTotals {
                count: sum.orders,
                total: money(sum.total_minor),
                refunded: money(sum.refunded_minor),
                average: money(0),
            }),
        }
        summary.channels.push(ChannelTotals {
            channel: sum.channel,
            count: sum.orders,
            total: money(sum.total_minor),
        });
    }
    for totals in &mut summary.totals {
        totals.average.amount_minor = totals.total.amount_minor / totals.count.max(1);
    }
    summary
}

fn summarise_contacts(sums: Vec<timeline::ContactSum>) -> ServiceRecord {
    let mut record = ServiceRecord::default();
    for sum in sums {
        record.contacts += sum.contacts;
        record.last_contact_at = record.last_contact_at.max(Some(sum.last_at));
        let channel = sum.channel.unwrap_or_default();
        record.channels.push(ChannelContacts { channel, contacts: sum.contacts });
    }
    record
}
