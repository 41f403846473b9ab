//! The way of a file into the database: chunk after chunk, each durable before the next is asked for.
//!
//! An upload that breaks off leaves what has arrived; it goes on at `received_bytes`,
//! on any node. One that begins at 0 again throws that away.

use serde_json::json;

use super::{Import, find_row, require_import};
use crate::db;
use crate::domain::actor::Actor;
use crate::domain::audit::Entry;
use crate::domain::code::{FaultCode, Reason};
use crate::domain::ids::ImportId;
use crate::domain::import::encoding::{Sniffer, looks_like_utf16};
use crate::domain::import::mapping::Mapping;
use crate::domain::import::{CONTENT_BYTES_MAX, ImportEntity};
use crate::error::{Error, Result};
use crate::ops::{Core, audit};

/// Bytes of a stored chunk.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// An upload that is going on.
pub struct Upload<'c> {
    core: &'c Core,
    actor: &'c Actor,
    import: ImportId,
    mapping: Mapping,
    sniffer: Sniffer,
    stored: u64,
    pending: Vec<u8>,
}

/// Begins an upload at `offset`, or goes on with one.
///
/// # Errors
/// `Forbidden`, `NotFound`, a conflict if the job no longer waits for its file or
/// another part of it comes next.
pub async fn begin<'c>(core: &'c Core, actor: &'c Actor, id: &ImportId, offset: u64) -> Result<Upload<'c>> {
    let row = find_row(core, &actor.tenant, id).await?;
    let entity = ImportEntity::from_name(&row.entity).unwrap_or(ImportEntity::Orders);
    require_import(actor, entity)?;
    if row.state != "receiving" {
        return Err(not_receiving(id));
    }
    let received = u64::try_from(row.received_bytes).map_err(Error::internal)?;
    let mut upload = Upload {
        core,
        actor,
        import: id.clone(),
        mapping: row.mapping.0,
        sniffer: Sniffer::from_bytes(&row.sniffer),
        stored: received,
        pending: Vec::with_capacity(CHUNK_BYTES),
    };
    match offset {
        _ if offset == received => Ok(upload),
        0 => {
            upload.restart().await?;
            Ok(upload)
        }
        _ => Err(wrong_offset(received)),
    }
}

fn not_receiving(id: &ImportId) -> Error {
    Error::conflict(Reason::ImportNotReceiving, format!("import `{id}` does not wait for a file"))
}

fn wrong_offset(received: u64) -> Error {
    Error::conflict(
        Reason::ImportOffset,
        format!("{received} bytes have arrived: go on there, or begin at 0"),
    )
}

/// Another upload of the same job was faster.
fn overtaken() -> Error {
    Error::conflict(
        Reason::ImportUploadOvertaken,
        "another upload of this import is going on, or it was cancelled",
    )
}

impl Upload<'_> {
    async fn restart(&mut self) -> Result<()> {
        let received = i64::try_from(self.stored).map_err(Error::internal)?;
        self.sniffer = Sniffer::default();
        let state = (
            (self.actor.tenant.clone(), self.import.clone()),
            received,
            self.sniffer.to_bytes(),
            self.core.now(),
        );
        let restarted = self
            .core
            .db
            .write(&self.actor.tenant, state, |tx, ((tenant, id), received, sniffer, now)| {
                Box::pin(db::imports::restart(tx, (tenant, id), *received, sniffer, *now))
            })
            .await?;
        self.stored = 0;
        if restarted { Ok(()) } else { Err(overtaken()) }
    }

    /// Takes the next bytes, and stores them once they make a chunk.
    ///
    /// # Errors
    /// `Limit` beyond [`CONTENT_BYTES_MAX`], `Invalid` for UTF-16, a conflict if
    /// another upload was faster or the job was cancelled.
    pub async fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        let total = self.stored + (self.pending.len() + bytes.len()) as u64;
        if total > CONTENT_BYTES_MAX {
            let message = format!("a file may have at most {CONTENT_BYTES_MAX} bytes");
            return Err(Error::Limit { code: Reason::ImportTooLarge, message, retry_after_s: 0 });
        }
        while !bytes.is_empty() {
            let room = CHUNK_BYTES - self.pending.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.pending.extend_from_slice(now);
            bytes = later;
            if self.pending.len() == CHUNK_BYTES {
                self.store().await?;
            }
        }
        Ok(())
    }

    /// Stores what is pending.
    async fn store(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if self.stored == 0 && looks_like_utf16(&self.pending) {
            let message = "the file is UTF-16; save it as UTF-8 or GB18030";
            return Err(Error::invalid("", FaultCode::Utf16, message));
        }
        let chunk = std::mem::replace(&mut self.pending, Vec::with_capacity(CHUNK_BYTES));
        self.sniffer.feed(self.stored, &chunk);
        let start = i64::try_from(self.stored).map_err(Error::internal)?;
        let length = chunk.len() as u64;
        let job = (self.actor.tenant.clone(), self.import.clone());
        let state = (job, start, chunk, self.sniffer.to_bytes(), self.core.now());
        let stored = self
            .core
            .db
            .write(&self.actor.tenant, state, |tx, ((tenant, id), start, chunk, sniffer, now)| {
                Box::pin(db::imports::receive(tx, (tenant, id), *start, chunk, (sniffer, *now)))
            })
            .await?;
        if !stored {
            return Err(overtaken());
        }
        self.stored += length;
        Ok(())
    }

    /// Stores the rest without saying that the file is whole: the connection broke, or
    /// more is to come.
    ///
    /// # Errors
    /// As for [`Upload::push`].
    pub async fn pause(mut self) -> Result<Import> {
        self.store().await?;
        let row = find_row(self.core, &self.actor.tenant, &self.import).await?;
        Ok(Import::shown(row, self.actor.locale))
    }

    /// Stores the rest; the file is whole, and the job waits for a node to work on it.
    ///
    /// # Errors
    /// As for [`Upload::push`], and `Invalid` for an empty file.
    pub async fn finish(mut self) -> Result<Import> {
        self.store().await?;
        if self.stored == 0 {
            return Err(Error::invalid("", FaultCode::Empty, "the file is empty"));
        }
        let now = self.core.now();
        let encoding = self.sniffer.finish(self.mapping.encoding);
        let changes = json!({"bytes": self.stored, "encoding": encoding.as_str()});
        let entry = Entry::new(&*self.core.ids, now, "import.start", "import", &self.import, changes);
        let received = i64::try_from(self.stored).map_err(Error::internal)?;
        let state = (self.actor.clone(), self.import.clone(), received, encoding.as_str(), entry);
        let completed = self
            .core
            .db
            .write(&self.actor.tenant, (state, now), |tx, ((actor, id, received, encoding, entry), now)| {
                Box::pin(async move {
                    let job = (&actor.tenant, id);
                    let completed = db::imports::complete(tx, job, *received, encoding, *now).await?;
                    if completed {
                        audit::append(tx, actor, *now, entry).await?;
                    }
                    Ok(completed)
                })
            })
            .await?;
        if !completed {
            return Err(overtaken());
        }
        let row = find_row(self.core, &self.actor.tenant, &self.import).await?;
        Ok(Import::shown(row, self.actor.locale))
    }
}
