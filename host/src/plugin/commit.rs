//! Commits what an invocation wants to write: one transaction, in which all that
//! it has read is proven to be still so.

use std::sync::Arc;

use crate::blobs;
use crate::clock::Timestamp;
use crate::db::documents::{self, Owner, Put, SubjectVersion};
use crate::db::plugins::LogLine;
use crate::db::{self, Tx};
use crate::domain::code::Reason;
use crate::domain::ids::TenantId;
use crate::error::{Error, Result};
use crate::ops::Core;
use crate::ops::customers::{self, CustomerChange};
use crate::ops::plugins::Ack;
use crate::ops::plugins::files::{self, FileChange};
use crate::ops::timeline::{self, TimelineChange};

use super::buffer::{Buffer, Callee, Content, FileEntry, KvValue};
use super::registry::Enabled;
use super::shadow::Told;

/// Lines that a plugin's log keeps for a tenant.
pub(super) const LOG_KEEP: i64 = 1_000;

/// Everything that one transaction writes; it may run more than once.
pub(super) struct Commit {
    tenant: TenantId,
    at: Timestamp,
    pub(super) ack: Option<Ack>,
    /// What is written, for the comparison with a shadow, if there is one.
    pub(super) told: Option<Told>,
    customers: Vec<CustomerChange>,
    timeline: Vec<TimelineChange>,
    records: Vec<(&'static str, String, i64)>,
    /// The plugin that was invoked, and those that it has called.
    parts: Vec<Part>,
}

/// What one plugin has read and written of its own things.
struct Part {
    plugin: Arc<str>,
    /// The enablement under which it ran; not checked if absent, because `ack` writes it.
    enablement: Option<i64>,
    /// The canary that it was the new version of, which must still run.
    canary: Option<Timestamp>,
    log: Vec<LogLine>,
    read: Vec<SubjectVersion>,
    written: Vec<SubjectVersion>,
    absent: Vec<(String, String)>,
    puts: Vec<Put>,
    deletes: Vec<(String, String)>,
    kv: Vec<(String, Option<KvValue>)>,
    /// Files whose contents are not on the disk yet.
    written_files: Vec<(String, FileEntry)>,
    files: Vec<FileChange>,
}

impl Commit {
    /// Takes what `buffer` holds; nothing is proven for an invocation that writes nothing.
    pub(super) fn new((enabled, log): (&Enabled, Vec<LogLine>), at: Timestamp, mut buffer: Buffer) -> Self {
        let is_clean = buffer.is_clean();
        let callees = std::mem::take(&mut buffer.callees);
        let mut commit = Self {
            tenant: enabled.tenant.clone(),
            at,
            ack: None,
            told: None,
            customers: std::mem::take(&mut buffer.customer_changes),
            timeline: std::mem::take(&mut buffer.timeline_changes),
            records: Vec::new(),
            parts: Vec::with_capacity(callees.len() + 1),
        };
        if !is_clean {
            let records = std::mem::take(&mut buffer.records).into_iter();
            commit.records = records.map(|((kind, id), version)| (kind, id, version)).collect();
        }
        commit.parts.push(Part::new(enabled, log, buffer, is_clean));
        for Callee { enabled, buffer, log } in callees.into_values() {
            commit.parts.push(Part::new(&enabled, log, buffer, is_clean));
        }
        commit
    }

    /// Whether it writes more than the log and what `ack` does.
    pub(super) fn changes_anything(&self) -> bool {
        !self.customers.is_empty()
            || !self.timeline.is_empty()
            || self.parts.iter().any(Part::changes_anything)
    }

    /// Brings the contents of written files to the disk, before the transaction that names them.
    ///
    /// # Errors
    /// `Unavailable` if they cannot be kept.
    pub(super) async fn keep_files(&mut self, core: &Core) -> Result<()> {
        for part in &mut self.parts {
            part.keep_files(core, &self.tenant).await?;
        }
        Ok(())
    }

    /// Proves and writes all of it.
    ///
    /// # Errors
    /// A conflict with the code [`Reason::StaleRead`] if something that was read has changed.
    pub(super) async fn apply(&self, tx: &mut Tx) -> Result<()> {
        for part in &self.parts {
            part.check(tx, &self.tenant).await?;
        }
        for (kind, id, version) in &self.records {
            if documents::hold_record(tx, &self.tenant, kind, id).await? != Some(*version) {
                return Err(stale(kind));
            }
        }
        if !self.customers.is_empty() {
            customers::apply_many(tx, &self.customers.iter().collect::<Vec<_>>()).await?;
        }
        for change in &self.timeline {
            // One that its external id shows to be there already is dropped.
            timeline::apply(tx, change).await?;
        }
        for part in &self.parts {
            part.apply(tx, &self.tenant, self.at).await?;
        }
        match &self.ack {
            Some(ack) => ack(tx).await,
            None => Ok(()),
        }
    }
}

impl Part {
    fn new(enabled: &Enabled, log: Vec<LogLine>, buffer: Buffer, is_clean: bool) -> Self {
        let mut part = Self {
            plugin: Arc::clone(&enabled.plugin),
            enablement: enabled.version,
            canary: enabled.canary_since(),
            log,
            read: Vec::new(),
            written: Vec::new(),
            absent: Vec::new(),
            puts: Vec::new(),
            deletes: Vec::new(),
            kv: Vec::new(),
            written_files: Vec::new(),
            files: Vec::new(),
        };
        if !is_clean {
            part.take(buffer);
        }
        part
    }

    fn changes_anything(&self) -> bool {
        !(self.puts.is_empty() && self.deletes.is_empty() && self.kv.is_empty() && self.files.is_empty())
    }

    fn take(&mut self, buffer: Buffer) {
        for ((kind, id), seen) in buffer.subjects {
            let into = if seen.written { &mut self.written } else { &mut self.read };
            into.push((kind, id, seen.version));
        }
        for ((collection, key), entry) in buffer.documents {
            if entry.base.is_none() {
                self.absent.push((collection.clone(), key.clone()));
            }
            if !entry.is_changed() {
                continue;
            }
            match entry.now {
                None => self.deletes.push((collection, key)),
                Some(now) => self.puts.push(Put {
                    collection,
                    key,
                    subject_kind: now.subject.0,
                    subject_id: now.subject.1,
                    version: now.version,
                    body: now.body,
                    index: now.index,
                }),
            }
        }
        let kv = buffer.kv.into_iter().filter(|(_, entry)| entry.changed);
        self.kv = kv.map(|(key, entry)| (key, entry.now)).collect();
        let files = buffer.files.into_iter().filter(|(_, entry)| entry.is_changed());
        self.written_files = files.collect();
    }

    async fn keep_files(&mut self, core: &Core, tenant: &TenantId) -> Result<()> {
        let owner = blobs::Owner { tenant: tenant.clone(), plugin: self.plugin.to_string() };
        let entries = std::mem::take(&mut self.written_files);
        let content = |(_, entry): &(String, FileEntry)| match &entry.now.as_ref()?.content {
            Content::New(content) => Some(Arc::clone(content)),
            Content::Kept(_) => None,
        };
        let contents: Vec<Arc<[u8]>> = entries.iter().filter_map(content).collect();
        let mut kept = files::keep(core, &owner, &contents).await?.into_iter();
        for (name, entry) in entries {
            // Only what is new has changed, so that each file that stays takes a blob.
            let after = entry.now.and_then(|file| Some((kept.next()?, file.size)));
            self.files.push(FileChange { name, before: entry.base, after });
        }
        Ok(())
    }

    async fn apply(&self, tx: &mut Tx, tenant: &TenantId, at: Timestamp) -> Result<()> {
        let owner = self.owner(tenant);
        if !self.puts.is_empty() {
            documents::put_many(tx, owner, at, &self.puts).await?;
        }
        if !self.deletes.is_empty() {
            documents::delete_many(tx, owner, &self.deletes).await?;
        }
        if !self.kv.is_empty() {
            db::kv::delete_expired(tx, owner, at).await?;
        }
        for (key, value) in &self.kv {
            match value {
                Some((value, expires_at)) => db::kv::set(tx, owner, key, value, *expires_at).await?,
                None => db::kv::delete(tx, owner, key).await?,
            }
        }
        if !self.files.is_empty() {
            files::apply(tx, owner, &self.files, at).await?;
        }
        db::plugins::append_log(tx, tenant, &self.plugin, &self.log, LOG_KEEP).await
    }

    fn owner<'a>(&'a self, tenant: &'a TenantId) -> Owner<'a> {
        Owner { tenant, plugin: &self.plugin }
    }

    /// Proves that rights and what was read are as they were.
    async fn check(&self, tx: &mut Tx, tenant: &TenantId) -> Result<()> {
        self.check_enablement(tx, tenant).await?;
        let owner = self.owner(tenant);
        if !self.written.is_empty() && !documents::bump_subjects(tx, owner, &self.written).await? {
            return Err(stale("a subject"));
        }
        if !self.read.is_empty() && !documents::hold_subjects(tx, owner, &self.read).await? {
            return Err(stale("a subject"));
        }
        if !self.absent.is_empty() && !documents::all_absent(tx, owner, &self.absent).await? {
            return Err(stale("a document"));
        }
        Ok(())
    }

    /// A grant that was withdrawn while the guest ran is withdrawn for its writes too.
    async fn check_enablement(&self, tx: &mut Tx, tenant: &TenantId) -> Result<()> {
        let Some(version) = self.enablement else { return Ok(()) };
        match db::plugins::hold_enablement(tx, tenant, &self.plugin).await? {
            Some(now) if now == version => {}
            Some(_) | None => return Err(stale("the plugin's enablement")),
        }
        let Some(since) = self.canary else { return Ok(()) };
        match db::canaries::hold(tx, tenant, &self.plugin).await? {
            Some(now) if now == since => Ok(()),
            Some(_) | None => Err(stale("the plugin's canary")),
        }
    }
}

/// What an invocation has read is no longer so.
pub(super) fn stale(what: &str) -> Error {
    Error::conflict(Reason::StaleRead, format!("{what} has changed while the plugin ran"))
}

/// Whether the invocation is worth another run with what is true now.
pub(super) fn is_stale(error: &Error) -> bool {
    match error {
        Error::Conflict { code, .. } => *code == Reason::StaleRead,
        Error::VersionMismatch { .. } => true,
        Error::Invalid { .. }
        | Error::NotFound { .. }
        | Error::Gone { .. }
        | Error::Unauthenticated(_)
        | Error::Forbidden(_)
        | Error::Refused { .. }
        | Error::Limit { .. }
        | Error::PluginRejected { .. }
        | Error::PluginFailed { .. }
        | Error::Unavailable(_)
        | Error::Internal(_) => false,
    }
}
