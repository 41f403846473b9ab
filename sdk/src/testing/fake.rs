//! The fake host's functions, with the signatures of the generated imports.

use std::cmp::Ordering;

use serde_json::Value;

use super::manifest::Collection;
use super::{World, with};
use crate::{Comparison, Error, Result, Scalar, Timestamp};

pub(super) fn reading<T>(act: impl FnOnce(&World) -> Result<T>) -> Result<T> {
    with(|world| {
        world.calls += 1;
        act(world)
    })
}

pub(super) fn writing<T>(act: impl FnOnce(&mut World) -> Result<T>) -> Result<T> {
    with(|world| {
        world.calls += 1;
        if world.read_only {
            return Err(Error::Denied("this invocation may not write".to_owned()));
        }
        act(world)
    })
}

pub(super) fn at_most(what: &str, count: usize, most: usize) -> Result<()> {
    if count <= most { Ok(()) } else { Err(Error::Limit(format!("{what}: {count} of at most {most}"))) }
}

/// One page of what sorts in memory; the cursor is the place to go on from.
pub(super) fn page<T>(all: Vec<T>, limit: u32, cursor: Option<&String>) -> (Vec<T>, Option<String>) {
    let start = cursor.map_or(0, |cursor| cursor.parse().unwrap_or(0));
    let limit = limit as usize;
    let more = all.len() > start + limit;
    let page = all.into_iter().skip(start).take(limit).collect();
    (page, more.then(|| (start + limit).to_string()))
}

fn compare(value: &Scalar, other: &Scalar) -> Option<Ordering> {
    match (value, other) {
        (Scalar::Text(a), Scalar::Text(b)) => Some(a.cmp(b)),
        (Scalar::Integer(a), Scalar::Integer(b)) | (Scalar::Time(a), Scalar::Time(b)) => Some(a.cmp(b)),
        (Scalar::Number(a), Scalar::Number(b)) => a.partial_cmp(b),
        (Scalar::Boolean(a), Scalar::Boolean(b)) => Some(a.cmp(b)),
        (
            Scalar::Text(_) | Scalar::Integer(_) | Scalar::Number(_) | Scalar::Boolean(_) | Scalar::Time(_),
            _,
        ) => None,
    }
}

fn holds(comparison: Comparison, order: Ordering) -> bool {
    match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    }
}

/// A JSON value as the declared type, if it has it.
fn scalar(kind: &str, value: &Value) -> Option<Scalar> {
    match kind {
        "text" => value.as_str().map(|text| Scalar::Text(text.to_owned())),
        "integer" => value.as_i64().map(Scalar::Integer),
        "number" => value.as_f64().map(Scalar::Number),
        "boolean" => value.as_bool().map(Scalar::Boolean),
        "time" => {
            let time: Timestamp = value.as_str()?.parse().ok()?;
            Some(Scalar::Time(time.micros()))
        }
        _ => None,
    }
}

fn declared<'a>(world: &'a World, name: &str) -> Result<&'a Collection> {
    let missing = || Error::NotFound(format!("collection `{name}`"));
    world.manifest.collection(name).ok_or_else(missing)
}

fn entities<'a>(
    records: impl IntoIterator<Item = (&'a String, &'a Value)>,
) -> Vec<crate::bindings::types::Entity> {
    let entity = |(id, body): (&String, &Value)| crate::bindings::types::Entity {
        id: id.clone(),
        version: body["version"].as_i64().unwrap_or(1),
        body: body.to_string(),
    };
    records.into_iter().map(entity).collect()
}

pub(crate) mod context {
    use super::with;
    use crate::bindings::imports::hospes::plugin::context::Invocation;

    pub(crate) fn get() -> Invocation {
        with(|world| world.invocation.clone())
    }

    pub(crate) fn random(length: u32) -> Vec<u8> {
        assert!(length <= 1024, "at most 1,024 random bytes a call");
        with(|world| {
            let byte = |_| {
                // A fixed sequence (Knuth's generator), so that tests repeat.
                world.random = world.random.wrapping_mul(6_364_136_223_846_793_005);
                world.random = world.random.wrapping_add(1_442_695_040_888_963_407);
                world.random.to_be_bytes()[0]
            };
            (0..length).map(byte).collect()
        })
    }
}

pub(crate) mod log {
    use super::with;
    use crate::bindings::imports::hospes::plugin::log::Level;

    pub(crate) fn write(level: Level, message: &str) {
        with(|world| world.log.push(format!("{level:?}: {message}")));
    }
}

pub(crate) mod settings {
    use super::reading;
    use crate::Result;

    pub(crate) fn get() -> Result<String> {
        reading(|world| Ok(world.settings.to_string()))
    }
}

pub(crate) mod kv {
    use super::{at_most, reading, writing};
    use crate::Result;
    use crate::bindings::imports::hospes::plugin::kv::Entry;

    pub(crate) fn get_many(keys: &[String]) -> Result<Vec<Option<Entry>>> {
        at_most("keys", keys.len(), 100)?;
        reading(|world| {
            let now = world.invocation.now;
            let alive = |entry: &&Entry| entry.expires_at.is_none_or(|at| at > now);
            let find = |key| world.kv.get(key).filter(alive).cloned();
            Ok(keys.iter().map(find).collect())
        })
    }

    pub(crate) fn set_many(entries: &[Entry]) -> Result<()> {
        at_most("entries", entries.len(), 100)?;
        for entry in entries {
            at_most("bytes of a value", entry.value.len(), 64 * 1024)?;
            at_most("bytes of a key", entry.key.len(), 256)?;
        }
        writing(|world| {
            for entry in entries {
                world.kv.insert(entry.key.clone(), entry.clone());
            }
            Ok(())
        })
    }

    pub(crate) fn delete_many(keys: &[String]) -> Result<()> {
        at_most("keys", keys.len(), 100)?;
        writing(|world| {
            for key in keys {
                world.kv.remove(key);
            }
            Ok(())
        })
    }
}

pub(crate) mod documents {
    use std::cmp::Ordering;

    use super::{World, at_most, compare, declared, holds, page, reading, scalar, writing};
    use crate::bindings::imports::hospes::plugin::documents::{
        Direction, Expectation, Key, Page, Put, Search, Stored,
    };
    use crate::error::decode;
    use crate::{Error, Result, Scalar, Subject};

    pub(crate) fn get_many(keys: &[Key]) -> Result<Vec<Option<Stored>>> {
        at_most("keys", keys.len(), 500)?;
        reading(|world| {
            keys.iter()
                .map(|key| {
                    declared(world, &key.collection)?;
                    let place = (key.collection.clone(), key.key.clone());
                    Ok(world.documents.get(&place).cloned())
                })
                .collect()
        })
    }

    pub(crate) fn put_many(puts: &[Put]) -> Result<()> {
        at_most("documents", puts.len(), 500)?;
        writing(|world| {
            let before = world.documents.clone();
            let outcome = puts.iter().try_for_each(|put| put_one(world, put));
            if outcome.is_err() {
                world.documents = before;
            }
            outcome
        })
    }

    fn put_one(world: &mut World, put: &Put) -> Result<()> {
        let kind = match put.subject {
            Subject::Customer(_) => "customer",
            Subject::Order(_) => "order",
            Subject::Tenant => "tenant",
        };
        if declared(world, &put.collection)?.subject != kind {
            return Err(Error::invalid("/subject", "wrong_kind", put.collection.clone()));
        }
        if put.key.is_empty() || put.key.len() > 256 {
            return Err(Error::invalid("/key", "length", put.key.clone()));
        }
        at_most("bytes of a document", put.body.len(), 256 * 1024)?;
        decode::<serde_json::Value>(&put.collection, &put.body)?;
        let place = (put.collection.clone(), put.key.clone());
        let found = world.documents.get(&place);
        let name = format!("document `{}` of `{}`", put.key, put.collection);
        let expected = match (&put.expect, found) {
            (Expectation::Nothing, _) | (Expectation::Absent, None) => true,
            (Expectation::Version(version), Some(found)) => found.version == *version,
            (Expectation::Absent, Some(_)) | (Expectation::Version(_), None) => false,
        };
        if !expected || found.is_some_and(|found| found.subject != put.subject) {
            return Err(Error::Conflict(name));
        }
        let stored = Stored {
            key: put.key.clone(),
            subject: put.subject.clone(),
            version: found.map_or(1, |found| found.version + 1),
            body: put.body.clone(),
        };
        world.documents.insert(place, stored);
        Ok(())
    }

    pub(crate) fn delete_many(keys: &[Key]) -> Result<()> {
        at_most("keys", keys.len(), 500)?;
        writing(|world| {
            for key in keys {
                declared(world, &key.collection)?;
                let place = (key.collection.clone(), key.key.clone());
                world.documents.remove(&place);
            }
            Ok(())
        })
    }

    pub(crate) fn query(search: &Search) -> Result<Page> {
        if search.limit == 0 || search.limit > 500 || search.conditions.len() > 8 {
            return Err(Error::invalid("/limit", "out_of_range", "1 to 500; 8 conditions"));
        }
        reading(|world| {
            let mut found = Vec::new();
            for ((collection, _), stored) in &world.documents {
                let wanted = search.subject.as_ref().is_none_or(|of| *of == stored.subject);
                if *collection == search.collection && wanted && matches(world, search, stored)? {
                    let order = match &search.order_by {
                        Some(index) => Some(value(world, search, index, stored)?),
                        None => None,
                    };
                    found.push((order.flatten(), stored.clone()));
                }
            }
            declared(world, &search.collection)?;
            found.retain(|(order, _)| search.order_by.is_none() || order.is_some());
            found.sort_by(|(a, one), (b, other)| {
                let order = match (a, b) {
                    (Some(a), Some(b)) => compare(a, b).unwrap_or(Ordering::Equal),
                    (None, _) | (_, None) => Ordering::Equal,
                };
                let order = order.then_with(|| one.key.cmp(&other.key));
                match search.direction {
                    Direction::Ascending => order,
                    Direction::Descending => order.reverse(),
                }
            });
            let found = found.into_iter().map(|(_, stored)| stored).collect();
            let (documents, cursor) = page(found, search.limit, search.cursor.as_ref());
            Ok(Page { documents, cursor })
        })
    }

    fn matches(world: &World, search: &Search, stored: &Stored) -> Result<bool> {
        for condition in &search.conditions {
            let value = value(world, search, &condition.field, stored)?;
            let order = value.and_then(|value| compare(&value, &condition.value));
            if !order.is_some_and(|order| holds(condition.comparison, order)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn value(world: &World, search: &Search, name: &str, stored: &Stored) -> Result<Option<Scalar>> {
        let collection = declared(world, &search.collection)?;
        let Some(index) = collection.indexes.iter().find(|index| index.name == name) else {
            return Err(Error::invalid("/field", "no_index", name));
        };
        let body: serde_json::Value = decode(&search.collection, &stored.body)?;
        Ok(body.pointer(&index.pointer).and_then(|value| scalar(&index.kind, value)))
    }
}

pub(crate) mod customers {
    use super::{World, at_most, compare, entities, holds, page, reading, scalar, writing};
    use crate::bindings::imports::hospes::plugin::customers::{FieldValue, Patch, Search};
    use crate::bindings::types::{Condition, Entity, EntityPage};
    use crate::error::decode;
    use crate::{Error, Result, Scalar};

    pub(crate) fn get_many(ids: &[String]) -> Result<Vec<Option<Entity>>> {
        at_most("ids", ids.len(), 200)?;
        reading(|world| {
            let find = |id| entities(world.customers.get_key_value(id)).pop();
            Ok(ids.iter().map(find).collect())
        })
    }

    pub(crate) fn query(search: &Search) -> Result<EntityPage> {
        at_most("limit", search.limit as usize, 200)?;
        reading(|world| {
            let wanted = |(id, body): &(&String, &serde_json::Value)| {
                let holds = |condition| matches(world, id, body, condition);
                search.conditions.iter().all(holds)
            };
            let found = entities(world.customers.iter().filter(wanted));
            let (entities, cursor) = page(found, search.limit, search.cursor.as_ref());
            Ok(EntityPage { entities, cursor })
        })
    }

    fn matches(world: &World, id: &str, body: &serde_json::Value, condition: &Condition) -> bool {
        let own = condition.field.strip_prefix(&format!("{}.", world.manifest.name));
        let value = match own {
            Some(field) => world.fields.get(&(id.to_owned(), field.to_owned())).cloned(),
            None if condition.field.ends_with("_at") => scalar("time", &body[&condition.field]),
            None => scalar("text", &body[&condition.field]),
        };
        value
            .and_then(|value| compare(&value, &condition.value))
            .is_some_and(|order| holds(condition.comparison, order))
    }

    pub(crate) fn create_many(bodies: &[String]) -> Result<Vec<String>> {
        at_most("customers", bodies.len(), 100)?;
        writing(|world| {
            let mut ids = Vec::new();
            for body in bodies {
                let mut body: serde_json::Value = decode("a customer", body)?;
                let id = format!("cus_{}", world.customers.len() + 1);
                body["id"] = id.clone().into();
                body["version"] = 1.into();
                world.customers.insert(id.clone(), body);
                ids.push(id);
            }
            Ok(ids)
        })
    }

    pub(crate) fn update_many(patches: &[Patch]) -> Result<()> {
        at_most("patches", patches.len(), 100)?;
        writing(|world| {
            let mut customers = world.customers.clone();
            for patch in patches {
                let name = format!("customer `{}`", patch.id);
                let Some(customer) = customers.get_mut(&patch.id) else {
                    return Err(Error::NotFound(name));
                };
                let version = customer["version"].as_i64().unwrap_or(1);
                if patch.expected_version.is_some_and(|expected| expected != version) {
                    return Err(Error::Conflict(name));
                }
                merge(customer, &decode("a patch", &patch.body)?);
                customer["version"] = (version + 1).into();
            }
            world.customers = customers;
            Ok(())
        })
    }

    /// JSON Merge Patch, RFC 7396.
    fn merge(target: &mut serde_json::Value, patch: &serde_json::Value) {
        let Some(patch) = patch.as_object() else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = serde_json::json!({});
        }
        for (key, value) in patch {
            if value.is_null() {
                target.as_object_mut().map(|target| target.remove(key));
            } else {
                merge(&mut target[key], value);
            }
        }
    }

    pub(crate) fn set_fields(values: &[FieldValue]) -> Result<()> {
        at_most("fields", values.len(), 500)?;
        writing(|world| {
            for value in values {
                check(world, value)?;
            }
            for value in values {
                let place = (value.customer.clone(), value.field.clone());
                match &value.value {
                    Some(scalar) => world.fields.insert(place, scalar.clone()),
                    None => world.fields.remove(&place),
                };
            }
            Ok(())
        })
    }

    fn check(world: &World, value: &FieldValue) -> Result<()> {
        if !world.customers.contains_key(&value.customer) {
            return Err(Error::NotFound(format!("customer `{}`", value.customer)));
        }
        let field = world.manifest.fields.iter().find(|field| field.name == value.field);
        let Some(field) = field else {
            return Err(Error::NotFound(format!("field `{}`", value.field)));
        };
        let kind = match &value.value {
            Some(Scalar::Text(_)) => "text",
            Some(Scalar::Integer(_)) => "integer",
            Some(Scalar::Number(_)) => "number",
            Some(Scalar::Boolean(_)) => "boolean",
            Some(Scalar::Time(_)) => "time",
            None => return Ok(()),
        };
        if field.kind == kind {
            Ok(())
        } else {
            Err(Error::invalid("/value", "wrong_type", value.field.clone()))
        }
    }
}

pub(crate) mod orders {
    use super::{at_most, entities, page, reading, scalar};
    use crate::bindings::imports::hospes::plugin::orders::Search;
    use crate::bindings::types::{Entity, EntityPage};
    use crate::{Result, Scalar};

    pub(crate) fn get_many(ids: &[String]) -> Result<Vec<Option<Entity>>> {
        at_most("ids", ids.len(), 200)?;
        reading(|world| {
            let find = |id| entities(world.orders.get_key_value(id)).pop();
            Ok(ids.iter().map(find).collect())
        })
    }

    pub(crate) fn query(search: &Search) -> Result<EntityPage> {
        at_most("limit", search.limit as usize, 200)?;
        reading(|world| {
            let mut found = Vec::new();
            for (id, body) in &world.orders {
                let Some(Scalar::Time(at)) = scalar("time", &body["ordered_at"]) else {
                    continue;
                };
                let wanted = body["customer_id"] == search.customer.as_str()
                    && search.since.is_none_or(|since| at >= since)
                    && search.until.is_none_or(|until| at < until);
                if wanted {
                    found.push((at, id, body));
                }
            }
            found.sort_by_key(|(at, id, _)| (*at, (*id).clone()));
            let found = entities(found.into_iter().map(|(_, id, body)| (id, body)));
            let (entities, cursor) = page(found, search.limit, search.cursor.as_ref());
            Ok(EntityPage { entities, cursor })
        })
    }
}

pub(crate) mod timeline {
    use super::{World, at_most, page, reading, writing};
    use crate::bindings::imports::hospes::plugin::timeline::{Entry, Search};
    use crate::bindings::types::{Entity, EntityPage};
    use crate::error::decode;
    use crate::{Error, Result, Timestamp, timeline};

    pub(crate) fn append_many(entries: &[Entry]) -> Result<()> {
        at_most("entries", entries.len(), 200)?;
        writing(|world| {
            for entry in entries {
                if !world.customers.contains_key(&entry.customer) {
                    return Err(Error::NotFound(format!("customer `{}`", entry.customer)));
                }
                at_most("bytes of a summary", entry.summary.len(), 500)?;
            }
            entries.iter().try_for_each(|entry| append(world, entry))
        })
    }

    fn append(world: &mut World, entry: &Entry) -> Result<()> {
        let known =
            |other: &timeline::Entry| entry.external_id.is_some() && other.external_id == entry.external_id;
        if world.timeline.iter().any(known) {
            return Ok(());
        }
        world.timeline.push(timeline::Entry {
            customer: entry.customer.clone(),
            kind: format!("{}.{}", world.manifest.name, entry.kind),
            occurred_at: Timestamp::from_micros(entry.occurred_at),
            summary: entry.summary.clone(),
            details: decode("details", &entry.details)?,
            external_id: entry.external_id.clone(),
        });
        Ok(())
    }

    pub(crate) fn query(search: &Search) -> Result<EntityPage> {
        at_most("limit", search.limit as usize, 200)?;
        reading(|world| {
            let wanted = |entry: &&timeline::Entry| {
                entry.customer == search.customer
                    && search.kind.as_ref().is_none_or(|kind| entry.kind == *kind)
            };
            let mut found: Vec<_> = world.timeline.iter().filter(wanted).collect();
            found.sort_by_key(|entry| std::cmp::Reverse(entry.occurred_at));
            let found = found.into_iter().enumerate().map(entity).collect();
            let (entities, cursor) = page(found, search.limit, search.cursor.as_ref());
            Ok(EntityPage { entities, cursor })
        })
    }

    fn entity((at, entry): (usize, &timeline::Entry)) -> Entity {
        Entity {
            id: format!("int_{at}"),
            version: 1,
            body: serde_json::json!({
                "kind": entry.kind,
                "occurred_at": entry.occurred_at,
                "summary": entry.summary,
                "details": entry.details,
            })
            .to_string(),
        }
    }
}
