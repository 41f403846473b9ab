//! `kv`: small values of the tenant. A key's version is validated like a subject's.

use hospes_bindings::hospes::plugin::kv::Entry;

use super::{Access, Answered, Invocation, invalid, limit};
use crate::clock::Timestamp;
use crate::db::documents::Owner;
use crate::db::kv;
use crate::domain::grant::Grant;
use crate::plugin::buffer::KvEntry;

const KEYS_MAX: usize = 100;
const KEY_BYTES_MAX: usize = 256;
const VALUE_BYTES_MAX: usize = 64 * 1_024;
/// Entries of one plugin of one tenant.
const ENTRIES_MAX: i64 = 10_000;

impl Invocation {
    pub(super) async fn kv_get(&mut self, keys: Vec<String>) -> Answered<Vec<Option<Entry>>> {
        self.enter(Grant::KvOwn, "kv.get-many", Access::Read(keys.len()), KEYS_MAX)?;
        check_keys(keys.iter())?;
        self.kv_load(&keys).await?;
        let now = self.now;
        let entry = |key: String| {
            let (value, expires_at) = self.buffer.kv.get(&key)?.now.clone()?;
            if expires_at.is_some_and(|at| at <= now) {
                return None;
            }
            Some(Entry { key, value, expires_at: expires_at.map(Timestamp::as_micros) })
        };
        Ok(keys.into_iter().map(entry).collect())
    }

    pub(super) async fn kv_set(&mut self, entries: Vec<Entry>) -> Answered<()> {
        self.enter(Grant::KvOwn, "kv.set-many", Access::Write(entries.len()), KEYS_MAX)?;
        check_keys(entries.iter().map(|entry| &entry.key))?;
        self.move_bytes(entries.iter().map(|entry| entry.value.len()).sum())?;
        for (position, entry) in entries.iter().enumerate() {
            if entry.value.len() > VALUE_BYTES_MAX {
                let message = format!("a value has at most {VALUE_BYTES_MAX} bytes");
                return Err(invalid(format!("/{position}/value"), "too_long", message));
            }
        }
        let keys: Vec<String> = entries.iter().map(|entry| entry.key.clone()).collect();
        self.kv_load(&keys).await?;
        let fresh =
            keys.iter().filter(|key| self.buffer.kv.get(*key).is_some_and(|e| e.now.is_none())).count();
        if fresh > 0 {
            self.kv_check_room(fresh).await?;
        }
        for Entry { key, value, expires_at } in entries {
            let expires_at = expires_at.map(Timestamp::from_micros);
            self.kv_put(key, Some((value, expires_at)));
        }
        Ok(())
    }

    pub(super) async fn kv_delete(&mut self, keys: Vec<String>) -> Answered<()> {
        self.enter(Grant::KvOwn, "kv.delete-many", Access::Write(keys.len()), KEYS_MAX)?;
        check_keys(keys.iter())?;
        self.kv_load(&keys).await?;
        for key in keys {
            if self.buffer.kv.get(&key).is_some_and(|entry| entry.now.is_some()) {
                self.kv_put(key, None);
            }
        }
        Ok(())
    }

    fn kv_put(&mut self, key: String, now: Option<crate::plugin::buffer::KvValue>) {
        self.buffer.touch(&(kv::SUBJECT_KIND.to_owned(), key.clone()));
        self.buffer.kv.insert(key, KvEntry { now, changed: true });
    }

    /// Reads what is not known yet.
    async fn kv_load(&mut self, keys: &[String]) -> Answered<()> {
        let known = &self.buffer.kv;
        let missing: Vec<&str> =
            keys.iter().filter(|key| !known.contains_key(*key)).map(String::as_str).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let owner = Owner { tenant: &self.enabled.tenant, plugin: &self.enabled.plugin };
        let mut reader = self.core.db.read(owner.tenant).await?;
        let found = kv::get_many(&mut reader, owner, &missing).await?;
        drop(reader);
        self.move_bytes(found.iter().filter_map(|row| row.value.as_ref()).map(Vec::len).sum())?;
        for row in found {
            self.buffer.see(&(kv::SUBJECT_KIND.to_owned(), row.key.clone()), row.subject_version)?;
            let now = row.value.map(|value| (value, row.expires_at));
            self.buffer.kv.insert(row.key, KvEntry { now, changed: false });
        }
        Ok(())
    }

    async fn kv_check_room(&mut self, fresh: usize) -> Answered<()> {
        let owner = Owner { tenant: &self.enabled.tenant, plugin: &self.enabled.plugin };
        let mut reader = self.core.db.read(owner.tenant).await?;
        let count = kv::count(&mut reader, owner, ENTRIES_MAX + 1).await?;
        if count + i64::try_from(fresh).unwrap_or(i64::MAX) > ENTRIES_MAX {
            return Err(limit(format!("{ENTRIES_MAX} entries of one plugin")));
        }
        Ok(())
    }
}

fn check_keys<'a>(keys: impl Iterator<Item = &'a String>) -> Answered<()> {
    for (position, key) in keys.enumerate() {
        if key.is_empty() || key.len() > KEY_BYTES_MAX || key.contains('\0') {
            let message = format!("a key has 1 to {KEY_BYTES_MAX} bytes and no zero byte");
            return Err(invalid(format!("/{position}"), "key", message));
        }
    }
    Ok(())
}
