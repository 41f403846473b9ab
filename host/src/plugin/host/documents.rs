//! `documents`: the plugin's own collections.
//!
//! The versions of subjects travel in the same snapshot as their documents, or
//! are read before them, so that what `commit.rs` proves is what the guest saw.

use hospes_bindings::hospes::plugin::documents::{Expectation, Key, Page, Put, Search, Stored};
use hospes_bindings::hospes::plugin::types;
use serde_json::Value;

use super::json::{self, DOCUMENT_BYTES_MAX};
use super::{Access, Answered, Invocation, invalid};
use crate::db::documents::{self, Owner};
use crate::domain::grant::Grant;
use crate::domain::ids::{CustomerId, OrderId};
use crate::domain::manifest::{Collection, SubjectKind};
use crate::error::Error;
use crate::plugin::buffer::{Document, DocumentEntry, DocumentKey, SubjectKey};
use crate::plugin::index;

const KEYS_MAX: usize = 500;
const KEY_BYTES_MAX: usize = 256;
/// Documents that one statement reads: what is too much is noticed in between.
const KEYS_AT_ONCE: usize = 50;

impl Invocation {
    pub(super) async fn documents_get(&mut self, keys: Vec<Key>) -> Answered<Vec<Option<Stored>>> {
        self.enter(Grant::DocumentsOwn, "documents.get-many", Access::Read(keys.len()), KEYS_MAX)?;
        let keys = self.check_keys(keys)?;
        self.documents_load(&keys).await?;
        Ok(keys.into_iter().map(|key| self.documents_now(&key)).collect())
    }

    fn documents_now(&self, key: &DocumentKey) -> Option<Stored> {
        self.buffer.documents.get(key)?.now.as_ref().map(|document| stored(&key.1, document))
    }

    pub(super) async fn documents_put(&mut self, puts: Vec<Put>) -> Answered<()> {
        self.enter(Grant::DocumentsOwn, "documents.put-many", Access::Write(puts.len()), KEYS_MAX)?;
        self.move_bytes(puts.iter().map(|put| put.body.len()).sum())?;
        let mut keys = Vec::with_capacity(puts.len());
        let mut documents = Vec::with_capacity(puts.len());
        for (position, put) in puts.into_iter().enumerate() {
            let collection = self.collection(&put.collection, position)?;
            check_key(&put.key, position)?;
            let subject = subject_of(collection, &put.subject, position)?;
            let body = json::parse(&format!("/{position}/body"), &put.body, DOCUMENT_BYTES_MAX)?;
            let index = index_of(collection, &body, position)?;
            keys.push((put.collection, put.key));
            documents.push((subject, put.expect, put.body, index));
        }
        self.documents_load(&keys).await?;
        self.subjects_load(documents.iter().map(|(subject, ..)| subject)).await?;
        // All are checked before one is kept, and a later one sees an earlier one of the same key.
        let mut changes: Vec<(DocumentKey, Document)> = Vec::with_capacity(keys.len());
        for (position, (key, (subject, expect, body, index))) in keys.into_iter().zip(documents).enumerate() {
            let earlier = changes.iter().rev().find(|(other, _)| *other == key).map(|(_, document)| document);
            let now = earlier.or_else(|| self.buffer.documents.get(&key)?.now.as_ref());
            check_expectation(&key, &expect, now)?;
            if now.is_some_and(|now| now.subject != subject) {
                let message = "a document never changes its subject";
                return Err(invalid(format!("/{position}/subject"), "subject", message));
            }
            let version = self.next_version(&key);
            changes.push((key, Document { subject, version, body, index }));
        }
        for (key, document) in changes {
            self.buffer.touch(&document.subject);
            if let Some(entry) = self.buffer.documents.get_mut(&key) {
                entry.now = Some(document);
            }
        }
        Ok(())
    }

    /// One more than in the database, however often one invocation writes it.
    fn next_version(&self, key: &DocumentKey) -> i64 {
        let base = self.buffer.documents.get(key).and_then(|entry| entry.base.as_ref());
        base.map_or(1, |base| base.version + 1)
    }

    pub(super) async fn documents_delete(&mut self, keys: Vec<Key>) -> Answered<()> {
        self.enter(Grant::DocumentsOwn, "documents.delete-many", Access::Write(keys.len()), KEYS_MAX)?;
        let keys = self.check_keys(keys)?;
        self.documents_load(&keys).await?;
        for key in keys {
            let Some(entry) = self.buffer.documents.get_mut(&key) else { continue };
            if let Some(document) = entry.now.take() {
                self.buffer.touch(&document.subject);
            }
        }
        Ok(())
    }

    pub(super) async fn documents_query(&mut self, search: Search) -> Answered<Page> {
        // A page that is asked for counts whole, because it is read whole.
        let limit = usize::try_from(search.limit).unwrap_or(usize::MAX);
        self.enter(Grant::DocumentsOwn, "documents.query", Access::Read(limit), KEYS_MAX)?;
        if search.limit == 0 {
            return Err(invalid("/limit", "limit", format!("a page has 1 to {KEYS_MAX} documents")));
        }
        let collection = self.collection(&search.collection, 0)?.clone();
        let subject =
            search.subject.as_ref().map(|subject| subject_of(&collection, subject, 0)).transpose()?;
        if let Some(subject) = &subject {
            self.subjects_load(std::iter::once(subject)).await?;
        }
        let owner = Owner { tenant: &self.enabled.tenant, plugin: &self.enabled.plugin };
        let page =
            crate::plugin::query::page(&self.core, owner, &self.buffer, (&collection, &search, subject))
                .await?;
        self.move_bytes(page.documents.iter().map(|document| document.body.len()).sum())?;
        Ok(page)
    }

    fn collection(&self, name: &str, position: usize) -> Answered<&Collection> {
        self.enabled.facts.manifest.collection(name).ok_or_else(|| {
            let message = format!("the manifest declares no collection `{name}`");
            invalid(format!("/{position}/collection"), "unknown_collection", message)
        })
    }

    fn check_keys(&self, keys: Vec<Key>) -> Answered<Vec<DocumentKey>> {
        for (position, key) in keys.iter().enumerate() {
            self.collection(&key.collection, position)?;
            check_key(&key.key, position)?;
        }
        Ok(keys.into_iter().map(|key| (key.collection, key.key)).collect())
    }

    /// Reads the documents that are not known yet; what does not exist is known then, too.
    async fn documents_load(&mut self, keys: &[DocumentKey]) -> Answered<()> {
        let mut missing: Vec<&DocumentKey> =
            keys.iter().filter(|key| !self.buffer.documents.contains_key(*key)).collect();
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() {
            return Ok(());
        }
        let owner = Owner { tenant: &self.enabled.tenant, plugin: &self.enabled.plugin };
        let mut reader = self.core.db.read(owner.tenant).await?;
        let mut found = Vec::new();
        let mut bytes = 0;
        let groups =
            missing.chunk_by(|one, other| one.0 == other.0).flat_map(|group| group.chunks(KEYS_AT_ONCE));
        for group in groups {
            let keys: Vec<&str> = group.iter().map(|(_, key)| key.as_str()).collect();
            let collection = group.first().map_or("", |(collection, _)| collection.as_str());
            let rows = documents::get_many(&mut reader, owner, collection, &keys).await?;
            bytes += rows.iter().map(|row| row.body.len()).sum::<usize>();
            found.extend(rows.into_iter().map(|row| (collection.to_owned(), row)));
            if bytes > self.budget.bytes {
                break;
            }
        }
        drop(reader);
        let missing: Vec<DocumentKey> = missing.into_iter().cloned().collect();
        self.move_bytes(bytes)?;
        for (collection, row) in found {
            let subject = (row.subject_kind, row.subject_id);
            self.buffer.see(&subject, row.subject_version)?;
            let base = Document { subject, version: row.version, body: row.body, index: Vec::new() };
            let now = Some(base.clone());
            self.buffer.documents.insert((collection, row.key), DocumentEntry { base: Some(base), now });
        }
        for key in missing {
            self.buffer.documents.entry(key).or_insert(DocumentEntry { base: None, now: None });
        }
        Ok(())
    }

    /// Reads the versions of subjects that have not been seen yet.
    async fn subjects_load(&mut self, subjects: impl Iterator<Item = &SubjectKey>) -> Answered<()> {
        let missing: Vec<&SubjectKey> =
            subjects.filter(|subject| !self.buffer.subjects.contains_key(*subject)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let owner = Owner { tenant: &self.enabled.tenant, plugin: &self.enabled.plugin };
        let mut reader = self.core.db.read(owner.tenant).await?;
        for subject in missing {
            if !self.buffer.subjects.contains_key(subject) {
                let version = documents::subject_version(&mut reader, owner, &subject.0, &subject.1).await?;
                self.buffer.see(subject, version)?;
            }
        }
        Ok(())
    }
}

pub(in crate::plugin) fn stored(key: &str, document: &Document) -> Stored {
    Stored {
        key: key.to_owned(),
        subject: subject(&document.subject),
        version: document.version,
        body: document.body.clone(),
    }
}

fn subject((kind, id): &SubjectKey) -> types::Subject {
    match kind.as_str() {
        "customer" => types::Subject::Customer(id.clone()),
        "order" => types::Subject::Order(id.clone()),
        _ => types::Subject::Tenant,
    }
}

fn check_key(key: &str, position: usize) -> Answered<()> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX || key.contains('\0') {
        let message = format!("a key has 1 to {KEY_BYTES_MAX} bytes and no zero byte");
        return Err(invalid(format!("/{position}/key"), "key", message));
    }
    Ok(())
}

fn subject_of(collection: &Collection, subject: &types::Subject, position: usize) -> Answered<SubjectKey> {
    let wrong = |message: String| invalid(format!("/{position}/subject"), "subject", message);
    let (kind, id) = match subject {
        types::Subject::Customer(id) if id.parse::<CustomerId>().is_ok() => {
            (SubjectKind::Customer, id.clone())
        }
        types::Subject::Order(id) if id.parse::<OrderId>().is_ok() => (SubjectKind::Order, id.clone()),
        types::Subject::Tenant => (SubjectKind::Tenant, String::new()),
        types::Subject::Customer(id) | types::Subject::Order(id) => {
            return Err(wrong(format!(
                "`{}` is no id of that kind",
                id.chars().take(60).collect::<String>()
            )));
        }
    };
    if kind != collection.subject {
        let (name, wants) = (&collection.name, collection.subject.as_str());
        return Err(wrong(format!("documents of `{name}` belong to a {wants}")));
    }
    Ok((kind.as_str().to_owned(), id))
}

fn index_of(collection: &Collection, body: &Value, position: usize) -> Answered<Vec<(String, String)>> {
    index::of_document(collection, body).map_err(|faults| {
        let faults = faults.into_iter().map(|mut fault| {
            fault.pointer.insert_str(0, &format!("/{position}/body"));
            fault
        });
        Error::Invalid { faults: faults.collect() }.into()
    })
}

fn check_expectation(key: &DocumentKey, expect: &Expectation, now: Option<&Document>) -> Answered<()> {
    let met = match (expect, now) {
        (Expectation::Nothing, _) | (Expectation::Absent, None) => true,
        (Expectation::Version(version), Some(now)) => now.version == *version,
        (Expectation::Absent, Some(_)) | (Expectation::Version(_), None) => false,
    };
    if met {
        return Ok(());
    }
    let (collection, key) = key;
    Err(types::Error::Conflict(format!("document `{key}` of `{collection}` is not as expected")).into())
}
