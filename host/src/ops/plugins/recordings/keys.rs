//! The keys that recordings are sealed with: one for each customer, and one that is about nobody.
//!
//! A recording is sealed as a whole, with a key made of those of all customers whom it is about. So
//! there is no part of it, such as a line of the log or the body of a request, that is overlooked, and
//! without the key of any one of them nobody reads it again.

use crate::clock::Timestamp;
use crate::db::Tx;
use crate::db::recordings::{self, KeyRow};
use crate::domain::ids::{CustomerId, TenantId};
use crate::error::Result;
use crate::ops::Core;
use crate::vault::{KEY_BYTES, Lock, Place};

/// In the place of a customer's id in the key that every recording needs.
const NOBODY: &str = "";
/// How old a key is whose customer may be missed: whoever is being made is not there yet.
const LOST_AFTER_SECONDS: i64 = 24 * 60 * 60;

/// Erases a customer from every recording: those that are about the customer cannot be read any more,
/// in no copy of the database that is made from now on. To be called in the unit that erases the
/// customer; answers whether there was anything to forget.
///
/// # Errors
/// Those of the database.
pub async fn forget_customer(tx: &mut Tx, tenant: &TenantId, customer: &CustomerId) -> Result<bool> {
    recordings::delete_key(tx, tenant, customer.as_str()).await
}

/// The lock of a recording about these customers; nothing if the key of one is gone.
pub(super) async fn lock_of(core: &Core, tenant: &TenantId, customers: &[String]) -> Result<Option<Lock>> {
    let names = names_of(customers);
    let mut reader = core.db.read(tenant).await?;
    let rows = recordings::keys(&mut reader, tenant, &names).await?;
    drop(reader);
    if rows.len() < names.len() { Ok(None) } else { lock(core, tenant, &rows).map(Some) }
}

/// As [`lock_of`], with new keys for those who have none.
pub(super) async fn make_lock(core: &Core, tenant: &TenantId, customers: &[String]) -> Result<Option<Lock>> {
    if let Some(lock) = lock_of(core, tenant, customers).await? {
        return Ok(Some(lock));
    }
    let names = names_of(customers);
    let mut made = Vec::with_capacity(names.len());
    for customer in names {
        let mut key = [0; KEY_BYTES];
        core.ids.fill_secret(&mut key);
        let row = place_of(&customer);
        let sealed = core.vault.seal(&*core.ids, Place { tenant, row: &row }, &key)?;
        made.push(KeyRow { customer, sealed });
    }
    let state = (tenant.clone(), made, core.now());
    let written = core.db.write(tenant, state, |tx, (tenant, made, now)| {
        Box::pin(async move {
            for row in made.iter() {
                // Whoever has one keeps it.
                recordings::insert_key(tx, tenant, row, *now).await?;
            }
            Ok(())
        })
    });
    written.await?;
    lock_of(core, tenant, customers).await
}

/// Forgets the keys of customers who are not there; answers how many.
pub(super) async fn forget_lost(tx: &mut Tx, tenant: &TenantId, now: Timestamp) -> Result<u64> {
    recordings::delete_lost_keys(tx, tenant, now.plus_seconds(-LOST_AFTER_SECONDS)).await
}

/// Each once and in order, so that the same customers make the same lock.
fn names_of(customers: &[String]) -> Vec<String> {
    let mut names: Vec<String> = customers.iter().cloned().chain([NOBODY.to_owned()]).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn lock(core: &Core, tenant: &TenantId, rows: &[KeyRow]) -> Result<Lock> {
    let open = |row: &KeyRow| core.vault.open(Place { tenant, row: &place_of(&row.customer) }, &row.sealed);
    Ok(Lock::of(&rows.iter().map(open).collect::<Result<Vec<_>>>()?))
}

fn place_of(customer: &str) -> String {
    format!("recording_keys/{customer}")
}
