//! Puts the made-up history into a tenant, as a source system would over the API.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::catalogue::{CONTACTS, CORPORATE_SALES, UNITS, WARES, WORKERS};
use super::generator::{Behaviour, Contact, History, Person, Purchase};
use crate::cli::admin::make_up_password;
use crate::cli::output::{Failure, Outcome};
use crate::domain::actor::Actor;
use crate::domain::customer::Identity;
use crate::domain::ids::{CustomerId, OrgUnitId, UserId};
use crate::domain::org_unit::{NewOrgUnit, OrgUnitKind};
use crate::domain::timeline::NewEntry;
use crate::domain::user::{NewUser, Password};
use crate::error::Error;
use crate::ops::{Core, customers, orders, org_units, products, timeline, users};

/// Requests under way at once: enough to fill the writer's groups.
const AT_ONCE: usize = 64;
/// How the demo's records name the system that they come from.
const SOURCE: &str = "till";

/// Loads everything: units and people first, because customers belong to them.
pub(super) async fn all(core: &Arc<Core>, actor: &Actor, history: &History) -> Outcome {
    let units = load_units(core, actor).await?;
    let workers = load_workers(core, actor, &units).await?;
    together(WARES.iter().map(|ware| {
        let new = parse(json!({
            "sku": ware.sku, "name": ware.name, "class": ware.class, "price": money(ware.price_fen),
        }));
        async { products::create(core, actor, new?).await.map(drop).map_err(Failure::from) }
    }))
    .await?;
    let people = history.customers.iter().enumerate();
    let made = together(people.map(|(place, person)| {
        let new = customer(place, person, &units, &workers);
        async { customers::create(core, actor, parse(new)?).await.map_err(Failure::from) }
    }))
    .await?;
    let ids: Vec<CustomerId> = made.into_iter().map(|customer| customer.id).collect();
    together(history.orders.iter().map(|purchase| load_order(core, actor, &ids, purchase))).await?;
    together(history.contacts.iter().map(|contact| load_contact(core, actor, &ids, contact))).await?;
    together(history.behaviours.iter().map(|behaviour| load_behaviour(core, actor, &ids, behaviour))).await?;
    Ok(())
}

/// The customer with the highest rank in the generator, which comes first most often.
pub(super) async fn best_customer(core: &Core, actor: &Actor) -> Outcome<String> {
    let identity = Identity { source: SOURCE.to_owned(), external_id: external_id(0) };
    // A patch that says nothing changes nothing.
    let found = customers::upsert(core, actor, identity, parse(json!({}))?).await?;
    Ok(found.record.id.to_string())
}

async fn load_units(core: &Core, actor: &Actor) -> Outcome<Vec<OrgUnitId>> {
    let mut ids: Vec<OrgUnitId> = Vec::with_capacity(UNITS.len());
    for unit in UNITS {
        let kind = match (unit.parent, unit.store) {
            (None, _) => OrgUnitKind::Group,
            (Some(_), None) => OrgUnitKind::Region,
            (Some(_), Some(_)) => OrgUnitKind::Store,
        };
        let parent_id = unit.parent.map(|parent| ids[parent].clone());
        let new =
            NewOrgUnit { parent_id, kind, name: unit.name.to_owned(), code: unit.store.map(str::to_owned) };
        ids.push(org_units::create(core, actor, new).await?.id);
    }
    Ok(ids)
}

/// The workers' ids; the owner's place is empty, because the tenant was made with them.
async fn load_workers(core: &Core, actor: &Actor, units: &[OrgUnitId]) -> Outcome<Vec<Option<UserId>>> {
    let made = WORKERS.iter().enumerate().map(|(place, worker)| async move {
        if place == 0 {
            return Ok(None);
        }
        let new = NewUser {
            login: worker.email.to_owned(),
            name: worker.name.to_owned(),
            // Nobody signs in as them before the owner has given them a password.
            password: Password::new(make_up_password(&*core.ids)),
            roles: vec![worker.role],
            org_unit_id: Some(units[worker.unit].clone()),
            locale: None,
        };
        Ok(Some(users::create(core, actor, new).await?.id))
    });
    together(made).await
}

fn customer(place: usize, person: &Person, units: &[OrgUnitId], workers: &[Option<UserId>]) -> Value {
    let mut new = json!({
        "kind": if person.is_company { "company" } else { "person" },
        "name": person.name,
        "org_unit_id": units[person.unit].to_string(),
        "tags": person.tags,
        "contact_points": [
            {"kind": "phone", "value": person.phone, "primary": true},
            {"kind": "email", "value": person.email, "primary": true},
        ],
        "identities": [{"source": SOURCE, "external_id": external_id(place)}],
    });
    if person.is_company
        && let Some(owner) = &workers[CORPORATE_SALES]
    {
        new["owner_id"] = json!(owner.to_string());
    }
    new
}

async fn load_order(core: &Core, actor: &Actor, ids: &[CustomerId], purchase: &Purchase) -> Outcome {
    let lines: Vec<Value> = purchase
        .lines
        .iter()
        .map(|(ware, quantity)| {
            let ware = &WARES[*ware];
            json!({
                "sku": ware.sku, "name": ware.name, "class": ware.class, "quantity": quantity,
                "unit_price": money(ware.price_fen), "amount": money(ware.price_fen * quantity),
            })
        })
        .collect();
    let store = UNITS[purchase.unit].store;
    let new = parse(json!({
        "customer_id": ids[purchase.customer].to_string(),
        "source": SOURCE,
        "external_id": purchase.number,
        "status": "completed",
        "channel": if store == Some("online") { "online" } else { "store" },
        "store": store,
        "ordered_at": purchase.at,
        "total": money(purchase.total_fen()),
        "lines": lines,
    }))?;
    let order = orders::upsert(core, actor, new).await?.record;
    if purchase.refund_fen == 0 {
        return Ok(());
    }
    let refund = parse(json!({
        "amount": money(purchase.refund_fen),
        "refunded_at": purchase.at.plus_seconds(3_600),
        "reason": "brought back",
    }))?;
    orders::refund(core, actor, (&order.id, None), refund).await?;
    Ok(())
}

async fn load_contact(core: &Core, actor: &Actor, ids: &[CustomerId], contact: &Contact) -> Outcome {
    let (channel, direction, summary) = CONTACTS[contact.kind];
    let new = parse(json!({
        "occurred_at": contact.at, "channel": channel, "direction": direction, "summary": summary,
    }))?;
    timeline::append(core, actor, &ids[contact.customer], NewEntry::Interaction(new)).await?;
    Ok(())
}

async fn load_behaviour(core: &Core, actor: &Actor, ids: &[CustomerId], behaviour: &Behaviour) -> Outcome {
    let new = parse(json!({"type": behaviour.name, "occurred_at": behaviour.at, "channel": "web"}))?;
    timeline::append(core, actor, &ids[behaviour.customer], NewEntry::Behaviour(new)).await?;
    Ok(())
}

fn external_id(place: usize) -> String {
    format!("C{:04}", place + 1)
}

fn money(fen: i64) -> Value {
    json!({"amount_minor": fen, "currency": "CNY"})
}

/// A body as the API would read it.
fn parse<T: DeserializeOwned>(body: Value) -> Outcome<T> {
    serde_json::from_value(body).map_err(|error| Failure::from(Error::internal(error)))
}

/// Runs many at once, and answers in their order.
async fn together<T>(work: impl IntoIterator<Item = impl Future<Output = Outcome<T>>>) -> Outcome<Vec<T>> {
    let running = stream::iter(work).buffered(AT_ONCE);
    let outcomes: Vec<Outcome<T>> = running.collect().await;
    outcomes.into_iter().collect()
}
