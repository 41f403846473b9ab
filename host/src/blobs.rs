//! Contents that are too large for rows: a file for each, under an id that is never used again.
//!
//! The database says which blobs there are, whose they are and what they are called; here are only
//! their bytes, in a folder of their own for each plugin of each tenant. A file is written once, as
//! a whole, and is on the disk before it is answered; it is never changed, only removed.

use std::io::{self, Read as _, Write as _};
use std::sync::{Arc, OnceLock};

use cap_std::fs::Dir;

use crate::domain::ids::{BlobId, TenantId};
use crate::error::{Error, Result};

/// Whose blobs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The tenant.
    pub tenant: TenantId,
    /// The name of the plugin.
    pub plugin: String,
}

/// A blob and what it holds.
pub type Content = (BlobId, Arc<[u8]>);

/// A blob and its bytes, as the database has counted them.
pub type Size = (BlobId, u64);

/// The folder of blobs. Servers on one database share one folder.
#[derive(Debug, Default)]
pub struct Blobs {
    root: OnceLock<Arc<Dir>>,
}

impl Blobs {
    /// Keeps blobs in `root` from now on. Does nothing the second time.
    pub fn keep_in(&self, root: Dir) {
        drop(self.root.set(Arc::new(root)));
    }

    /// Writes blobs; all of them are on the disk when this answers.
    ///
    /// # Errors
    /// `Unavailable` if there is no folder, no room, or an id is taken.
    pub async fn write(&self, owner: Owner, contents: Vec<Content>) -> Result<()> {
        self.work(move |root| {
            let folder = folder(root, &owner)?;
            for (blob, content) in &contents {
                // Never over another one: an id belongs to one content.
                let mut options = cap_std::fs::OpenOptions::new();
                let mut file = folder.open_with(blob.as_str(), options.write(true).create_new(true))?;
                file.write_all(content)?;
                file.sync_all()?;
            }
            sync(&folder)
        })
        .await
    }

    /// The contents of blobs, in their order.
    ///
    /// # Errors
    /// `Unavailable` if one is not there as the database says.
    pub async fn read(&self, owner: Owner, sizes: Vec<Size>) -> Result<Vec<Vec<u8>>> {
        self.work(move |root| {
            let folder = folder(root, &owner)?;
            sizes.iter().map(|size| read(&folder, size)).collect()
        })
        .await
    }

    /// Removes blobs; one that is gone already is no error.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn remove(&self, owner: Owner, blobs: Vec<BlobId>) -> Result<()> {
        self.work(move |root| {
            let folder = folder(root, &owner)?;
            for blob in &blobs {
                match folder.remove_file(blob.as_str()) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    Ok(()) | Err(_) => {}
                }
            }
            sync(&folder)
        })
        .await
    }

    /// Files block, so they are waited for in a thread of their own.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Dir) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let root =
            self.root.get().cloned().ok_or_else(|| Error::unavailable("this server keeps no files"))?;
        let done = tokio::task::spawn_blocking(move || work(&root)).await.map_err(Error::internal)?;
        done.map_err(|error| {
            tracing::error!(%error, "the folder of files does not work");
            Error::unavailable(error)
        })
    }
}

fn read(folder: &Dir, (blob, size): &Size) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    // One byte more than there should be, so that a longer file is noticed.
    folder.open(blob.as_str())?.take(size + 1).read_to_end(&mut content)?;
    if content.len() as u64 == *size {
        return Ok(content);
    }
    let message = format!("the blob {blob} has {} of {size} bytes", content.len());
    Err(io::Error::new(io::ErrorKind::InvalidData, message))
}

/// The folder of an owner; made if it is missing.
fn folder(root: &Dir, owner: &Owner) -> io::Result<Dir> {
    let tenant = subfolder(root, owner.tenant.as_str())?;
    subfolder(&tenant, &owner.plugin)
}

fn subfolder(parent: &Dir, name: &str) -> io::Result<Dir> {
    match parent.open_dir(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    match parent.create_dir(name) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    sync(parent)?;
    parent.open_dir(name)
}

/// Puts the names in a folder on the disk.
#[cfg(unix)]
fn sync(folder: &Dir) -> io::Result<()> {
    // Opened again, because a folder's own handle only leads to names and cannot be flushed.
    folder.open(".")?.sync_all()
}

#[cfg(not(unix))]
fn sync(_folder: &Dir) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use cap_std::ambient_authority;

    use super::*;
    use crate::clock::Timestamp;
    use crate::ids::RandomIds;

    fn owner(plugin: &str) -> Owner {
        let tenant = TenantId::new(&RandomIds::default(), Timestamp::default());
        Owner { tenant, plugin: plugin.to_owned() }
    }

    #[tokio::test]
    async fn a_blob_is_read_by_its_owner_alone_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::default();
        blobs.keep_in(Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap());
        let (ours, theirs) = (owner("abc"), owner("abc"));
        let blob = BlobId::new(&RandomIds::default(), Timestamp::default());
        let content = vec![(blob.clone(), Arc::from(b"12345".as_slice()))];
        blobs.write(ours.clone(), content.clone()).await.unwrap();
        blobs.write(ours.clone(), content).await.unwrap_err();

        let size = |size| vec![(blob.clone(), size)];
        assert_eq!(blobs.read(ours.clone(), size(5)).await.unwrap(), [b"12345"]);
        for wrong in [4, 6] {
            blobs.read(ours.clone(), size(wrong)).await.unwrap_err();
        }
        blobs.read(theirs, size(5)).await.unwrap_err();

        for _ in 0..2 {
            blobs.remove(ours.clone(), vec![blob.clone()]).await.unwrap();
        }
        blobs.read(ours, size(5)).await.unwrap_err();
    }

    /// Names of plugins and tenants are checked elsewhere; if a wrong one came through, it would
    /// still not lead out of the folder.
    #[tokio::test]
    async fn a_name_that_leads_out_of_the_folder_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let root = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
        root.create_dir("files").unwrap();
        root.write("secret", b"12345").unwrap();
        let blobs = Blobs::default();
        blobs.keep_in(root.open_dir("files").unwrap());
        for plugin in ["..", "../..", "/", "/etc", "../../secret"] {
            let secret = BlobId::from_stored("secret".to_owned());
            blobs.read(owner(plugin), vec![(secret.clone(), 5)]).await.unwrap_err();
            let up = BlobId::from_stored("../../secret".to_owned());
            blobs.read(owner("abc"), vec![(up, 5)]).await.unwrap_err();
        }
        // A link that somebody has put there is not followed either.
        #[cfg(unix)]
        {
            let owner = owner("abc");
            let own = super::folder(&root.open_dir("files").unwrap(), &owner).unwrap();
            own.symlink("../../../secret", "link").unwrap();
            let link = BlobId::from_stored("link".to_owned());
            blobs.read(owner, vec![(link, 5)]).await.unwrap_err();
        }
    }
}
