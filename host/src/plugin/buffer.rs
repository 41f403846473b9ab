//! All that an invocation has read and wants to write.
//!
//! Reads come from here first, so that an invocation sees its own writes and
//! reads the same twice. Nothing here touches the database; `commit.rs` writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::registry::Enabled;
use crate::clock::Timestamp;
use crate::db::plugins::LogLine;
use crate::domain::ids::{BlobId, CustomerId};
use crate::ops::customers::CustomerChange;
use crate::ops::pending::Pending;
use crate::ops::timeline::TimelineChange;

/// Kind and id of what documents belong to.
pub(super) type SubjectKey = (String, String);
/// Collection and key of a document.
pub(super) type DocumentKey = (String, String);

/// A read that does not fit to an earlier one of the same invocation: another
/// invocation has committed in between, and this one must run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stale;

/// A document as the invocation sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) subject: SubjectKey,
    pub(super) version: i64,
    pub(super) body: String,
    /// Index names and values.
    pub(super) index: Vec<(String, String)>,
}

/// What is known of one document.
#[derive(Clone, Debug)]
pub(super) struct DocumentEntry {
    /// As it is in the database; absent if it does not exist there.
    pub(super) base: Option<Document>,
    /// As it shall be; absent if it is removed.
    pub(super) now: Option<Document>,
}

impl DocumentEntry {
    pub(super) fn is_changed(&self) -> bool {
        self.base != self.now
    }
}

/// The version of a subject when it was first read, and whether it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) version: i64,
    pub(super) written: bool,
}

/// A small value and when it is forgotten.
pub(super) type KvValue = (Vec<u8>, Option<Timestamp>);

/// What is known of one small value.
#[derive(Clone, Debug)]
pub(super) struct KvEntry {
    pub(super) now: Option<KvValue>,
    pub(super) changed: bool,
}

/// What a file holds.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// A blob that is there.
    Kept(BlobId),
    /// What this invocation writes.
    New(Arc<[u8]>),
}

/// A file as the invocation sees it.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) content: Content,
    /// In bytes.
    pub(super) size: i64,
    pub(super) modified_at: Timestamp,
}

/// What is known of one file.
#[derive(Clone, Debug)]
pub(super) struct FileEntry {
    /// As it is in the database: its blob and bytes; absent if it does not exist there.
    pub(super) base: Option<(BlobId, i64)>,
    /// As it shall be; absent if it is removed.
    pub(super) now: Option<File>,
}

impl FileEntry {
    pub(super) fn is_changed(&self) -> bool {
        match (&self.base, &self.now) {
            (None, None) => false,
            (Some((blob, _)), Some(File { content: Content::Kept(kept), .. })) => blob != kept,
            (Some(_) | None, Some(_)) | (Some(_), None) => true,
        }
    }
}

/// What a plugin that the invocation has called has read and written of its own things.
#[derive(Clone)]
pub(super) struct Callee {
    pub(super) enabled: Arc<Enabled>,
    pub(super) buffer: Buffer,
    pub(super) log: Vec<LogLine>,
}

impl Callee {
    /// The same without the lines that it has logged, which are somebody else's to write.
    fn unlogged(&self) -> Self {
        Self { enabled: Arc::clone(&self.enabled), buffer: self.buffer.clone(), log: Vec::new() }
    }
}

/// Reads and writes of one invocation.
#[derive(Clone, Default)]
pub(super) struct Buffer {
    pub(super) subjects: BTreeMap<SubjectKey, Seen>,
    pub(super) documents: BTreeMap<DocumentKey, DocumentEntry>,
    pub(super) kv: BTreeMap<String, KvEntry>,
    pub(super) files: BTreeMap<String, FileEntry>,
    /// Versions of core records that were read by id: kind and id.
    pub(super) records: BTreeMap<(&'static str, String), i64>,
    /// Customers as this invocation leaves them.
    pub(super) pending: Pending,
    /// Those of them that it has changed or made.
    pub(super) changed_customers: BTreeSet<CustomerId>,
    /// Their changes, prepared, in the order in which they were made.
    pub(super) customer_changes: Vec<CustomerChange>,
    /// Prepared entries of timelines.
    pub(super) timeline_changes: Vec<TimelineChange>,
    /// Plugins that it has called, by name.
    pub(super) callees: BTreeMap<Arc<str>, Callee>,
}

impl Buffer {
    /// Notes the version of a subject that was read.
    pub(super) fn see(&mut self, subject: &SubjectKey, version: i64) -> Result<(), Stale> {
        match self.subjects.get(subject) {
            Some(seen) if seen.version != version => Err(Stale),
            Some(_) => Ok(()),
            None => {
                self.subjects.insert(subject.clone(), Seen { version, written: false });
                Ok(())
            }
        }
    }

    /// Notes that a subject, which has been seen, is written.
    pub(super) fn touch(&mut self, subject: &SubjectKey) {
        if let Some(seen) = self.subjects.get_mut(subject) {
            seen.written = true;
        }
    }

    /// Notes the version of a core record that was read by id.
    pub(super) fn see_record(&mut self, kind: &'static str, id: &str, version: i64) -> Result<(), Stale> {
        match self.records.insert((kind, id.to_owned()), version) {
            Some(before) if before != version => Err(Stale),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether there is nothing to write.
    pub(super) fn is_clean(&self) -> bool {
        self.customer_changes.is_empty()
            && self.timeline_changes.is_empty()
            && !self.documents.values().any(DocumentEntry::is_changed)
            && !self.kv.values().any(|entry| entry.changed)
            && !self.files.values().any(FileEntry::is_changed)
            && self.callees.values().all(|callee| callee.buffer.is_clean())
    }

    /// What a plugin that is called now begins with: its own things as it has left them, if it was
    /// called before, and core records as this invocation leaves them.
    pub(super) fn of_callee(&self, own: Option<&Self>) -> Self {
        let mut buffer = own.cloned().unwrap_or_default();
        buffer.records.clone_from(&self.records);
        buffer.pending.clone_from(&self.pending);
        buffer.changed_customers.clone_from(&self.changed_customers);
        buffer.customer_changes.clone_from(&self.customer_changes);
        buffer.timeline_changes.clone_from(&self.timeline_changes);
        buffer.callees =
            self.callees.iter().map(|(name, known)| (Arc::clone(name), known.unlogged())).collect();
        buffer
    }

    /// The same without what callees have logged.
    pub(super) fn without_logs(&self) -> Self {
        let callees = self.callees.iter().map(|(name, known)| (Arc::clone(name), known.unlogged()));
        Self { callees: callees.collect(), ..self.clone() }
    }

    /// Takes what a callee, which began with [`Buffer::of_callee`], has made of it.
    pub(super) fn take_callee(&mut self, enabled: Arc<Enabled>, mut buffer: Self, fresh: Vec<LogLine>) {
        self.records = std::mem::take(&mut buffer.records);
        self.pending = std::mem::take(&mut buffer.pending);
        self.changed_customers = std::mem::take(&mut buffer.changed_customers);
        self.customer_changes = std::mem::take(&mut buffer.customer_changes);
        self.timeline_changes = std::mem::take(&mut buffer.timeline_changes);
        for callee in std::mem::take(&mut buffer.callees).into_values() {
            self.put_callee(callee.enabled, callee.buffer, callee.log);
        }
        self.put_callee(enabled, buffer, fresh);
    }

    /// Takes what a callee has read, and nothing of what it has written since `before`.
    pub(super) fn take_reads(
        &mut self,
        enabled: Arc<Enabled>,
        (before, mut after): (Option<Self>, Self),
        fresh: Vec<LogLine>,
    ) -> Result<(), Stale> {
        for ((kind, id), version) in std::mem::take(&mut after.records) {
            self.see_record(kind, &id, version)?;
        }
        for callee in std::mem::take(&mut after.callees).into_values() {
            let before = self.callees.get(&callee.enabled.plugin).map(|known| known.buffer.clone());
            self.take_reads(callee.enabled, (before, callee.buffer), callee.log)?;
        }
        let mut own = before.unwrap_or_default();
        own.add_reads(after);
        self.put_callee(enabled, own, fresh);
        Ok(())
    }

    fn put_callee(&mut self, enabled: Arc<Enabled>, buffer: Self, fresh: Vec<LogLine>) {
        let plugin = Arc::clone(&enabled.plugin);
        let mut log = self.callees.remove(&plugin).map(|known| known.log).unwrap_or_default();
        log.extend(fresh);
        self.callees.insert(plugin, Callee { enabled, buffer, log });
    }

    /// Adds what `other` has read of the plugin's own things and this has not, as it was read.
    fn add_reads(&mut self, other: Self) {
        for (subject, seen) in other.subjects {
            self.subjects.entry(subject).or_insert(Seen { written: false, ..seen });
        }
        for (key, entry) in other.documents {
            let now = entry.base.clone();
            self.documents.entry(key).or_insert(DocumentEntry { base: entry.base, now });
        }
        // Values and files are read again when they are wanted: their versions are known.
    }

    /// The documents of a collection that this invocation has changed.
    pub(super) fn changed_in<'a>(
        &'a self,
        collection: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a DocumentEntry)> {
        let from = (collection.to_owned(), String::new());
        self.documents
            .range(from..)
            .take_while(move |((name, _), _)| name == collection)
            .filter(|(_, entry)| entry.is_changed())
            .map(|((_, key), entry)| (key.as_str(), entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_that_has_moved_between_two_reads_makes_the_invocation_stale() {
        let subject = ("customer".to_owned(), "c1".to_owned());
        let mut buffer = Buffer::default();
        assert_eq!(buffer.see(&subject, 3), Ok(()));
        assert_eq!(buffer.see(&subject, 3), Ok(()));
        assert_eq!(buffer.see(&subject, 4), Err(Stale));
    }

    #[test]
    fn a_document_that_is_made_and_removed_again_is_no_change() {
        let mut buffer = Buffer::default();
        let key = ("cards".to_owned(), "k".to_owned());
        buffer.documents.insert(key, DocumentEntry { base: None, now: None });
        assert!(buffer.is_clean());
        assert_eq!(buffer.changed_in("cards").count(), 0);
    }
}
