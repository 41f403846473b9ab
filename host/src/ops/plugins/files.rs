//! Plugins' files: names in the database, contents among the blobs.
//!
//! A content is noted as loose before it is written and becomes a file's with the commit that names
//! it. So whatever breaks off leaves a loose blob at most, which is removed after a while; and what
//! a file no longer names is still there for whoever has just read its name.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::blobs;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::db::documents::Owner;
use crate::db::files::{self, FileRow, Loose, Usage};
use crate::domain::code::Reason;
use crate::domain::ids::{BlobId, TenantId};
use crate::error::{Error, Result};
use crate::ops::Core;

/// Files of one plugin of a tenant.
pub(crate) const FILES_MAX: i64 = 10_000;
/// Bytes of all files of one plugin of a tenant.
pub(crate) const BYTES_MAX: i64 = 256 << 20;

/// How long a blob stays that no file names: longer than any invocation and its commit take, and
/// long enough to copy the folder after a copy of the database.
const LOOSE_SECONDS_MAX: i64 = 60 * 60;
/// Blobs that are removed at once.
const REMOVE_BATCH_MAX: u32 = 200;
/// Batches of one tenant in one look.
const REMOVE_BATCHES_MAX: u32 = 50;

/// A change of one file.
#[derive(Clone, Debug)]
pub(crate) struct FileChange {
    pub(crate) name: String,
    /// What it was: blob and bytes; absent if there was no such file.
    pub(crate) before: Option<(BlobId, i64)>,
    /// What it shall be; absent if it is removed.
    pub(crate) after: Option<(BlobId, i64)>,
}

/// Puts contents on the disk, for files that a commit will name.
///
/// # Errors
/// `Unavailable` if they cannot be kept.
pub(crate) async fn keep(core: &Core, owner: &blobs::Owner, contents: &[Arc<[u8]>]) -> Result<Vec<BlobId>> {
    if contents.is_empty() {
        return Ok(Vec::new());
    }
    let now = core.now();
    let ids: Vec<BlobId> = contents.iter().map(|_| BlobId::new(&*core.ids, now)).collect();
    let noted = core.db.write(&owner.tenant, (owner.clone(), ids.clone(), now), |tx, (owner, ids, now)| {
        Box::pin(async move {
            let ids: Vec<&BlobId> = ids.iter().collect();
            files::insert_loose(tx, row_owner(owner), &ids, *now).await
        })
    });
    noted.await?;
    let contents = ids.iter().cloned().zip(contents.iter().cloned()).collect();
    core.blobs.write(owner.clone(), contents).await?;
    Ok(ids)
}

/// Names contents that [`keep`] has put on the disk, and lets go of what the files were before.
///
/// # Errors
/// A conflict with the code [`Reason::StaleRead`] if a content has been removed meanwhile, because
/// the commit comes far too late; a limit if the files add up to more than a plugin may keep.
pub(crate) async fn apply(
    tx: &mut Tx,
    owner: Owner<'_>,
    changes: &[FileChange],
    at: Timestamp,
) -> Result<()> {
    let named: Vec<&BlobId> = changes.iter().filter_map(|change| Some(&change.after.as_ref()?.0)).collect();
    if files::take_loose(tx, owner, &named).await? != named.len() as u64 {
        return Err(Error::conflict(Reason::StaleRead, "the content of a file was given up"));
    }
    let mut more = Usage::default();
    for FileChange { name, before, after } in changes {
        match after {
            Some((blob, size)) => {
                let file = FileRow { name: name.clone(), blob: blob.clone(), size: *size };
                files::put(tx, owner, &file, at).await?;
            }
            None => files::delete(tx, owner, name).await?,
        }
        more.files += i64::from(after.is_some()) - i64::from(before.is_some());
        let bytes = |side: &Option<(BlobId, i64)>| side.as_ref().map_or(0, |(_, size)| *size);
        more.bytes += bytes(after) - bytes(before);
    }
    let loose: Vec<&BlobId> = changes.iter().filter_map(|change| Some(&change.before.as_ref()?.0)).collect();
    files::insert_loose(tx, owner, &loose, at).await?;
    let sum = files::add_usage(tx, owner, more).await?;
    // What was more before, because the limits were higher, may still become less.
    if (more.files > 0 && sum.files > FILES_MAX) || (more.bytes > 0 && sum.bytes > BYTES_MAX) {
        return Err(over_quota());
    }
    Ok(())
}

/// The refusal of more files than a plugin may keep.
pub(crate) fn over_quota() -> Error {
    Error::Limit {
        code: Reason::PluginFiles { files: FILES_MAX.to_string(), bytes: BYTES_MAX.to_string() },
        message: format!("a plugin keeps at most {FILES_MAX} files and {BYTES_MAX} bytes for a tenant"),
        retry_after_s: 0,
    }
}

/// Removes contents of a tenant that no file has named for long; answers how many.
///
/// # Errors
/// Those of the database and of the folder; the next look goes on.
pub async fn purge(core: &Core, tenant: &TenantId) -> Result<u64> {
    let before = core.now().plus_seconds(-LOOSE_SECONDS_MAX);
    let mut removed = 0;
    for _ in 0..REMOVE_BATCHES_MAX {
        // Doomed first: a commit that comes too late finds its content gone, and not half gone.
        let doomed = core.db.write(tenant, (tenant.clone(), before), |tx, (tenant, before)| {
            Box::pin(files::doom(tx, tenant, *before, REMOVE_BATCH_MAX))
        });
        let doomed: Vec<Loose> = doomed.await?;
        if doomed.is_empty() {
            break;
        }
        let mut of_plugins: BTreeMap<&str, Vec<BlobId>> = BTreeMap::new();
        for Loose { plugin, blob } in &doomed {
            of_plugins.entry(plugin).or_default().push(blob.clone());
        }
        for (plugin, blobs) in of_plugins {
            let owner = blobs::Owner { tenant: tenant.clone(), plugin: plugin.to_owned() };
            core.blobs.remove(owner, blobs).await?;
        }
        removed += doomed.len() as u64;
        let gone = core.db.write(tenant, (tenant.clone(), doomed), |tx, (tenant, doomed)| {
            Box::pin(files::delete_loose(tx, tenant, doomed))
        });
        gone.await?;
    }
    Ok(removed)
}

fn row_owner(owner: &blobs::Owner) -> Owner<'_> {
    Owner { tenant: &owner.tenant, plugin: &owner.plugin }
}
