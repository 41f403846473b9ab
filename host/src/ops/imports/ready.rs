//! Making a batch ready: its rows get their external ids, and their changes are prepared. This may
//! happen while the batch before it is being written, so that neither the program nor the database waits
//! for the other.

use std::collections::{HashMap, HashSet};

use super::batch::{self, Prepared, Refusals};
use super::rows::{self, Named};
use crate::db;
use crate::db::imports::Claim;
use crate::domain::actor::Actor;
use crate::domain::customer::Identity;
use crate::domain::import::bound::Bound;
use crate::domain::import::lines::{self, Grouped};
use crate::domain::import::reader::Position;
use crate::domain::import::row::{ReadRow, RowIdentity};
use crate::domain::import::{ImportEntity, RowFault};
use crate::error::{Error, Result};
use crate::ops::Core;

/// Rows that are committed together.
pub struct Batch {
    /// The rows in their order, or what is wrong with each.
    pub rows: Vec<ReadRow>,
    /// Where the row after them begins.
    pub next: Position,
    /// Whether the file ends there.
    pub is_last: bool,
}

/// The good rows of a batch with their external ids, what is wrong with the others, and
/// what is to be remembered: how often rows like them were seen, or where orders ended.
pub(super) struct NamedRows {
    pub(super) rows: Vec<Named>,
    pub(super) refused: Vec<Vec<RowFault>>,
    pub(super) seen: Option<serde_json::Value>,
}

/// A batch that can be written.
pub struct Ready {
    pub(super) named: NamedRows,
    /// Absent if it cannot be told before the batch in flight is written.
    pub(super) prepared: Option<Prepared>,
    /// Where the row after it begins.
    pub(super) next: Position,
    /// Whether the file ends there.
    pub(super) is_last: bool,
}

/// What a batch in flight changes, as far as the one after it may ask for it.
#[derive(Default)]
pub struct Wake {
    seen: HashMap<String, i64>,
    external_ids: HashSet<String>,
    customers: HashSet<Identity>,
}

/// Whose import it is, and of what.
pub struct Importer {
    pub(super) claim: Claim,
    pub(super) actor: Actor,
    pub(super) entity: ImportEntity,
    pub(super) source: String,
}

impl Ready {
    /// Whether no batch comes after it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.is_last
    }

    /// What it changes.
    #[must_use]
    pub fn wake(&self) -> Wake {
        let seen = self.named.seen.iter().filter_map(serde_json::Value::as_object).flatten();
        let seen = seen.filter_map(|(key, value)| Some((key.clone(), value.as_i64()?)));
        Wake {
            seen: seen.collect(),
            external_ids: self.named.rows.iter().map(|named| named.external_id.clone()).collect(),
            customers: self.prepared.iter().flat_map(Prepared::identities).cloned().collect(),
        }
    }
}

impl Wake {
    fn is_empty(&self) -> bool {
        self.external_ids.is_empty()
    }
}

impl Importer {
    pub(super) fn job<'a>(&'a self, core: &'a Core, bound: &'a Bound) -> batch::Job<'a> {
        batch::Job { core, actor: &self.actor, entity: self.entity, source: &self.source, bound }
    }

    /// Bytes of the file from `offset` on; none at its end.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn read(&self, core: &Core, offset: u64) -> Result<Vec<u8>> {
        let mut reader = core.db.read(&self.claim.tenant).await?;
        db::imports::read_content(&mut reader, &self.claim.tenant, &self.claim.import, offset).await
    }

    /// Makes a batch ready while another, whose wake this is, is being written. It is prepared too,
    /// unless it is about the same records.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn make_ready(&self, core: &Core, bound: &Bound, batch: Batch, wake: &Wake) -> Result<Ready> {
        let Batch { rows, next, is_last } = batch;
        let named = if bound.has_lines() {
            self.name_orders(core, bound, (&rows, wake)).await?
        } else {
            self.name(core, &rows, wake).await?
        };
        let mut ready = Ready { named, prepared: None, next, is_last };
        if !self.meets(&ready.named.rows, wake) {
            self.prepare(core, bound, &mut ready).await;
        }
        Ok(ready)
    }

    /// Prepares a batch that could not be prepared before.
    pub async fn prepare(&self, core: &Core, bound: &Bound, ready: &mut Ready) {
        if ready.prepared.is_none() {
            let prepared = batch::prepare(&self.job(core, bound), &ready.named.rows, &Refusals::new()).await;
            // Why it cannot be prepared is found again, and told, when it is to be written.
            ready.prepared = prepared.ok();
        }
    }

    /// Whether rows are about something that a batch in flight changes.
    fn meets(&self, rows: &[Named], wake: &Wake) -> bool {
        if wake.is_empty() {
            return false;
        }
        let source = &self.source;
        match self.entity {
            // Rows of several keys may be about one product.
            ImportEntity::Products => true,
            ImportEntity::Customers => rows.iter().any(|named| {
                let external_id = named.external_id.clone();
                wake.customers.contains(&Identity { source: source.clone(), external_id })
            }),
            ImportEntity::Orders | ImportEntity::Interactions | ImportEntity::Behaviour => {
                rows.iter().any(|named| {
                    let who = rows::customer_ref(&named.row, source);
                    wake.external_ids.contains(&named.external_id)
                        || wake
                            .customers
                            .contains(&Identity { source: who.source, external_id: who.external_id })
                })
            }
        }
    }

    /// Gives every row its external id, and counts rows that look the same.
    async fn name(&self, core: &Core, rows: &[ReadRow], wake: &Wake) -> Result<NamedRows> {
        let good = || rows.iter().filter_map(|row| row.as_ref().ok());
        let keys: Vec<&str> = good()
            .filter_map(|row| match &row.identity {
                Some(RowIdentity::Numbered { key, .. }) => Some(key.as_str()),
                Some(RowIdentity::Given(_)) | None => None,
            })
            .collect();
        let mut seen = self.count_seen(core, &keys, wake).await?;
        let mut changed = serde_json::Map::new();
        let mut named = Vec::with_capacity(rows.len());
        for row in good() {
            let occurrence = match &row.identity {
                Some(RowIdentity::Numbered { key, .. }) => {
                    let count = seen.entry(key.clone()).or_insert(0);
                    *count += 1;
                    changed.insert(key.clone(), serde_json::Value::from(*count));
                    count.unsigned_abs()
                }
                Some(RowIdentity::Given(_)) | None => 1,
            };
            let identity = row.identity.as_ref().ok_or_else(|| Error::internal("a row has no identity"))?;
            let external_id = identity.external_id(occurrence);
            named.push(Named { external_id, row: row.clone(), others: Vec::new() });
        }
        let refused = rows.iter().filter_map(|row| Some(row.as_ref().err()?.faults.clone())).collect();
        let seen = (!changed.is_empty()).then_some(serde_json::Value::Object(changed));
        Ok(NamedRows { rows: named, refused, seen })
    }

    /// Puts rows together to orders, and remembers where each has ended.
    async fn name_orders(
        &self,
        core: &Core,
        bound: &Bound,
        (rows, wake): (&[ReadRow], &Wake),
    ) -> Result<NamedRows> {
        let keys = lines::keys(rows);
        let seen = self.count_seen(core, &keys.iter().map(String::as_str).collect::<Vec<_>>(), wake).await?;
        let seen = seen.into_iter().map(|(key, line)| (key, line.unsigned_abs())).collect();
        let Grouped { orders, refused, last_lines } = bound.group(rows, &seen);
        let rows = orders.into_iter().filter_map(|(external_id, rows)| Named::order(external_id, rows));
        let last_lines = last_lines.into_iter().map(|(key, line)| (key, serde_json::Value::from(line)));
        let last_lines: serde_json::Map<_, _> = last_lines.collect();
        let seen = (!last_lines.is_empty()).then_some(serde_json::Value::Object(last_lines));
        Ok(NamedRows { rows: rows.collect(), refused, seen })
    }

    /// What is remembered by these keys, after the batch in flight.
    async fn count_seen(&self, core: &Core, keys: &[&str], wake: &Wake) -> Result<HashMap<String, i64>> {
        let mut seen = HashMap::new();
        if !keys.is_empty() {
            let Claim { tenant, import, .. } = &self.claim;
            let mut reader = core.db.read(tenant).await?;
            seen.extend(db::imports::count_seen(&mut reader, tenant, import, keys).await?);
        }
        // The database may show that batch already, or not yet.
        let in_flight = keys.iter().filter_map(|key| Some(((*key).to_owned(), *wake.seen.get(*key)?)));
        seen.extend(in_flight);
        Ok(seen)
    }
}
