//! The only ambient authority over files: owns every path that an operator names.
//!
//! It opens folders once and hands out cap-std [`Dir`]s, from which nothing outside
//! of them can be reached. SQLite opens its own file by path; that path comes from
//! here too. Nothing else in the host may use `std::fs`, which a lint and a test check.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

/// The largest configuration file that is read.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// The largest secret that is read from a file.
pub const SECRET_BYTES_MAX: u64 = 64 << 10;
/// The largest plugin component that is read; the engine's own limit is lower.
pub const COMPONENT_BYTES_MAX: u64 = 64 << 20;
/// Folders within folders in which a change of a source is looked for.
const CHANGE_DEPTH_MAX: u32 = 16;

/// The length of the key that authenticates the cache of compiled plugins.
pub const ARTEFACT_KEY_BYTES: usize = 32;

/// What went wrong with which file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refuses.
    #[error("cannot {verb} `{}`", path.display())]
    Io {
        /// What was tried, such as `read`.
        verb: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file is larger than what it is read for allows.
    #[error("`{}` is larger than {max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        max: u64,
    },
    /// The file is not text.
    #[error("`{}` is not UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// Another server has the database.
    #[error(
        "another server{} uses `{}`; stop it first, or name another data folder",
        Process(holder), path.display()
    )]
    InUse {
        /// The locked file.
        path: PathBuf,
        /// The process that holds it, as it has written itself down.
        holder: String,
    },
}

/// A process as part of a sentence; nothing if it is not known.
struct Process<'a>(&'a str);

impl fmt::Display for Process<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " (process {})", self.0) }
    }
}

/// The data folder of a server: SQLite's file and a cache that may be deleted.
#[derive(Debug)]
pub struct DataFolder {
    dir: Dir,
    path: PathBuf,
}

impl DataFolder {
    /// Opens the folder at `path`; makes it, readable by its owner only, if it is missing.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let fail = |verb| move |source| FileError::Io { verb, path: path.to_owned(), source };
        let missing = Dir::open_ambient_dir(path, ambient_authority()).is_err();
        Dir::create_ambient_dir_all(path, ambient_authority()).map_err(fail("make the folder"))?;
        let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(fail("open the folder"))?;
        if missing {
            restrict_to_owner(&dir).map_err(fail("restrict the folder"))?;
        }
        Ok(Self { dir, path: path.to_owned() })
    }

    /// Where the folder is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of the embedded database, unless the configuration names another.
    #[must_use]
    pub fn database_path(&self) -> PathBuf {
        self.path.join("hospes.db")
    }

    /// The cache of compiled plugins; what is missing in it is compiled again.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn artefacts(&self) -> Result<Dir, FileError> {
        const NAME: &str = "artefacts";
        let fail = |source| FileError::Io { verb: "open the folder", path: self.path.join(NAME), source };
        self.dir.create_dir_all(NAME).map_err(fail)?;
        self.dir.open_dir(NAME).map_err(fail)
    }

    /// The key under which the cache's files are authenticated; `fresh` becomes it in a new folder.
    ///
    /// It stays out of the cache's own folder, which an operator may delete or share.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn artefact_key(
        &self,
        fresh: [u8; ARTEFACT_KEY_BYTES],
    ) -> Result<[u8; ARTEFACT_KEY_BYTES], FileError> {
        const NAME: &str = "artefacts.key";
        let fail = |verb| move |source| FileError::Io { verb, path: self.path.join(NAME), source };
        if let Ok(kept) = self.dir.read(NAME)
            && let Ok(kept) = kept.try_into()
        {
            return Ok(kept);
        }
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        owner_only(&mut options);
        let mut file = self.dir.open_with(NAME, &options).map_err(fail("make"))?;
        file.write_all(&fresh).map_err(fail("write"))?;
        Ok(fresh)
    }
}

/// The folder at `path` where plugins' files are kept; made, readable by its owner only, if it is missing.
///
/// # Errors
/// [`FileError::Io`].
pub fn plugin_files(path: &Path) -> Result<Dir, FileError> {
    DataFolder::open(path).map(|folder| folder.dir)
}

#[cfg(unix)]
fn owner_only(options: &mut OpenOptions) {
    use cap_std::fs::OpenOptionsExt as _;
    options.mode(0o600);
}

#[cfg(not(unix))]
fn owner_only(_options: &mut OpenOptions) {}

#[cfg(unix)]
fn restrict_to_owner(dir: &Dir) -> io::Result<()> {
    use cap_std::fs::{Permissions, PermissionsExt as _};
    dir.set_permissions(".", Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn restrict_to_owner(_dir: &Dir) -> io::Result<()> {
    Ok(())
}

/// A folder that goes away with this value, for a demo without a name.
#[derive(Debug)]
pub struct TemporaryFolder {
    folder: DataFolder,
}

impl TemporaryFolder {
    /// Makes a new folder among the system's temporary files; `unique` tells it from others.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn create(unique: u128) -> Result<Self, FileError> {
        let path = std::env::temp_dir().join(format!("hospes-{unique:032x}"));
        DataFolder::open(&path).map(|folder| Self { folder })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &DataFolder {
        &self.folder
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let removed = self.folder.dir.try_clone().and_then(Dir::remove_open_dir_all);
        if let Err(error) = removed {
            tracing::warn!(%error, path = %self.folder.path.display(), "a temporary folder is left behind");
        }
    }
}

/// The exclusive right to serve a SQLite file; ends with this value, or with the process.
#[derive(Debug)]
pub struct DatabaseLock {
    #[expect(clippy::disallowed_types, reason = "cap-std has no file locks; the handle comes from a Dir")]
    _file: std::fs::File,
}

impl DatabaseLock {
    /// Takes the lock that stands beside the database at `path`.
    ///
    /// The operating system frees it when the process ends, however it ends, so
    /// that a lock file left by a crash is no obstacle.
    ///
    /// # Errors
    /// [`FileError::InUse`] if another process has it, [`FileError::Io`].
    pub fn take(path: &Path) -> Result<Self, FileError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock = NamedFile::at(Path::new(&name))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true);
        let file = lock.dir.open_with(&lock.name, &options).map_err(lock.fail("open"))?;
        let mut file = file.into_std();
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(FileError::InUse { path: path.to_owned(), holder: holder(&mut file) });
            }
            Err(std::fs::TryLockError::Error(source)) => return Err(lock.fail("lock")(source)),
        }
        write_holder(&mut file).map_err(lock.fail("write"))?;
        Ok(Self { _file: file })
    }
}

/// Who holds the lock; empty if it cannot be told.
fn holder(file: &mut (impl io::Read + ?Sized)) -> String {
    let mut text = String::new();
    match file.take(20).read_to_string(&mut text) {
        Ok(_) => text.trim().chars().filter(char::is_ascii_digit).collect(),
        Err(_) => String::new(),
    }
}

#[expect(clippy::disallowed_types, reason = "cap-std has no file locks; the handle comes from a Dir")]
fn write_holder(file: &mut std::fs::File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())
}

/// A file that an operator has named, with its folder opened.
#[derive(Debug)]
pub struct NamedFile {
    dir: Dir,
    name: OsString,
    path: PathBuf,
}

impl NamedFile {
    /// The file at `path`, which need not exist; its folder must.
    ///
    /// # Errors
    /// [`FileError::Io`] if the path names no file or its folder cannot be opened.
    pub fn at(path: &Path) -> Result<Self, FileError> {
        let fail = |source| FileError::Io { verb: "open the folder of", path: path.to_owned(), source };
        let name = path
            .file_name()
            .ok_or_else(|| fail(io::Error::new(io::ErrorKind::InvalidInput, "this names no file")))?;
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        };
        let dir = Dir::open_ambient_dir(parent, ambient_authority()).map_err(fail)?;
        Ok(Self { dir, name: name.to_owned(), path: path.to_owned() })
    }

    /// As [`NamedFile::at`], for a file that shall be made: whoever then does what cannot be undone
    /// knows beforehand that there is a place for what comes of it.
    ///
    /// # Errors
    /// Those of [`NamedFile::at`], and [`FileError::Io`] if the file is there already.
    pub fn vacant(path: &Path) -> Result<Self, FileError> {
        let file = Self::at(path)?;
        if file.exists() {
            return Err(file.fail("make")(io::ErrorKind::AlreadyExists.into()));
        }
        Ok(file)
    }

    /// The path as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that the file is in.
    #[must_use]
    pub fn folder(&self) -> &Dir {
        &self.dir
    }

    /// Its name in the folder.
    #[must_use]
    pub fn name(&self) -> &Path {
        Path::new(&self.name)
    }

    /// Whether there is such a file now.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.dir.exists(&self.name)
    }

    /// The whole content, at most `max` bytes.
    ///
    /// # Errors
    /// [`FileError::TooLarge`], [`FileError::Io`].
    pub fn read(&self, max: u64) -> Result<Vec<u8>, FileError> {
        // Opened through std because a named file may be a link to one elsewhere
        // (`/dev/stdin`, a mounted secret), which a Dir refuses to follow.
        #[expect(clippy::disallowed_types, reason = "this module has the ambient authority")]
        let file = std::fs::File::open(&self.path).map_err(self.fail("read"))?;
        let mut content = Vec::new();
        file.take(max + 1).read_to_end(&mut content).map_err(self.fail("read"))?;
        if content.len() as u64 > max {
            return Err(FileError::TooLarge { path: self.path.clone(), max });
        }
        Ok(content)
    }

    /// Writes a new file; one that is there already stays as it is.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn create(&self, content: &[u8]) -> Result<(), FileError> {
        self.write(content, OpenOptions::new().write(true).create_new(true))
    }

    /// Writes the file, in the place of one that is there.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn replace(&self, content: &[u8]) -> Result<(), FileError> {
        self.write(content, OpenOptions::new().write(true).create(true).truncate(true))
    }

    /// As [`NamedFile::create`], readable by its owner only.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn create_secret(&self, content: &[u8]) -> Result<(), FileError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        owner_only(&mut options);
        self.write(content, &options)
    }

    /// Begins a new file, readable by its owner only, that is written piece by piece; one that is there
    /// already stays as it is.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn begin(self) -> Result<NewFile, FileError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        owner_only(&mut options);
        let file = self.dir.open_with(&self.name, &options).map_err(self.fail("make"))?;
        Ok(NewFile { named: self, file })
    }

    fn write(&self, content: &[u8], options: &OpenOptions) -> Result<(), FileError> {
        let mut file = self.dir.open_with(&self.name, options).map_err(self.fail("make"))?;
        file.write_all(content).and_then(|()| file.sync_all()).map_err(self.fail("write"))
    }

    fn fail(&self, verb: &'static str) -> impl FnOnce(io::Error) -> FileError {
        let path = self.path.clone();
        move |source| FileError::Io { verb, path, source }
    }
}

/// A new file that is written piece by piece.
#[derive(Debug)]
pub struct NewFile {
    named: NamedFile,
    file: cap_std::fs::File,
}

impl NewFile {
    /// Writes behind what is there.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn append(&mut self, piece: &[u8]) -> Result<(), FileError> {
        self.file.write_all(piece).map_err(self.named.fail("write"))
    }

    /// Puts all of it on the disk.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn finish(self) -> Result<(), FileError> {
        self.file.sync_all().map_err(self.named.fail("write"))
    }
}

/// The content of a file that an operator has named, at most `max` bytes.
///
/// # Errors
/// [`FileError::TooLarge`], [`FileError::Io`].
pub fn read(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    NamedFile::at(path)?.read(max)
}

/// The text of a file that an operator has named, at most `max` bytes.
///
/// # Errors
/// As for [`read`], and [`FileError::NotText`].
pub fn read_text(path: &Path, max: u64) -> Result<String, FileError> {
    let content = read(path, max)?;
    String::from_utf8(content).map_err(|_not_text| FileError::NotText { path: path.to_owned() })
}

/// The files in a folder whose names end with `ending`, by name; nothing if it is no folder.
///
/// # Errors
/// [`FileError::Io`].
pub fn list_ending(path: &Path, ending: &str) -> Result<Option<Vec<PathBuf>>, FileError> {
    let Ok(dir) = Dir::open_ambient_dir(path, ambient_authority()) else { return Ok(None) };
    let fail = |source| FileError::Io { verb: "list the folder", path: path.to_owned(), source };
    let mut found = Vec::new();
    for entry in dir.entries().map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        if name.to_str().is_some_and(|name| name.ends_with(ending)) {
            found.push(path.join(name));
        }
    }
    found.sort_unstable();
    Ok(Some(found))
}

/// Writes new files below a folder that must not be there yet, which is made with those in between.
///
/// # Errors
/// [`FileError::Io`]; what was written until then stays.
pub fn write_new_tree<'a>(
    folder: &Path,
    files: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Result<(), FileError> {
    let fail = |verb, path: &Path| {
        let path = path.to_owned();
        move |source| FileError::Io { verb, path, source }
    };
    let at = NamedFile::at(folder)?;
    at.dir.create_dir(&at.name).map_err(fail("make the folder", folder))?;
    let dir = at.dir.open_dir(&at.name).map_err(fail("open the folder", folder))?;
    for (name, content) in files {
        let path = folder.join(name);
        if let Some(parent) = Path::new(name).parent() {
            dir.create_dir_all(parent).map_err(fail("make the folder of", &path))?;
        }
        dir.write(name, content).map_err(fail("write", &path))?;
    }
    Ok(())
}

/// Writes a file that an operator has named; it appears under its name only when it is whole.
///
/// # Errors
/// [`FileError::Io`].
pub fn write(path: &Path, content: &[u8]) -> Result<(), FileError> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        let fail = |source| FileError::Io { verb: "make the folder", path: parent.to_owned(), source };
        Dir::create_ambient_dir_all(parent, ambient_authority()).map_err(fail)?;
    }
    let file = NamedFile::at(path)?;
    let mut temporary = file.name.clone();
    temporary.push(format!(".{}.part", std::process::id()));
    file.dir.write(&temporary, content).map_err(file.fail("write"))?;
    file.dir.rename(&temporary, &file.dir, &file.name).map_err(file.fail("rename to"))
}

/// The latest change of a file or, with all that is in it, of a folder; `None` if there is none.
/// Hidden entries, and `target`, count for nothing.
#[must_use]
pub fn last_change(path: &Path) -> Option<SystemTime> {
    let file = NamedFile::at(path).ok()?;
    latest(&file.dir, &file.name, CHANGE_DEPTH_MAX)
}

fn latest(dir: &Dir, name: &OsStr, depth: u32) -> Option<SystemTime> {
    let metadata = dir.metadata(name).ok()?;
    let own = metadata.modified().ok().map(cap_std::time::SystemTime::into_std);
    if !metadata.is_dir() || depth == 0 {
        return own;
    }
    let inside = dir.open_dir(name).ok()?;
    let entries = inside.entries().ok()?.filter_map(Result::ok).map(|entry| entry.file_name());
    let seen = entries.filter(|name| name != "target" && !name.as_encoded_bytes().starts_with(b"."));
    seen.filter_map(|name| latest(&inside, &name, depth - 1)).chain(own).max()
}

/// How many entries a folder has; `None` if it cannot be read.
#[must_use]
pub fn count_entries(path: &Path) -> Option<u32> {
    let dir = Dir::open_ambient_dir(path, ambient_authority()).ok()?;
    u32::try_from(dir.entries().ok()?.count()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary() -> TemporaryFolder {
        use crate::ids::Ids as _;
        let unique = crate::ids::RandomIds::default().next(crate::clock::Timestamp::default());
        TemporaryFolder::create(unique).unwrap()
    }

    #[test]
    fn a_second_server_on_one_file_is_refused_by_name() {
        let temporary = temporary();
        let path = temporary.folder().database_path();
        let first = DatabaseLock::take(&path).unwrap();
        let refused = DatabaseLock::take(&path).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("another server (process {}) uses", std::process::id())),
            "{refused}"
        );
        drop(first);
        DatabaseLock::take(&path).unwrap();
    }

    #[test]
    fn a_temporary_folder_takes_its_content_with_it() {
        let temporary = temporary();
        let path = temporary.folder().path().to_owned();
        temporary.folder().artefacts().unwrap().write("some", b"thing").unwrap();
        drop(temporary);
        assert!(Dir::open_ambient_dir(&path, ambient_authority()).is_err());
    }

    #[test]
    fn a_file_above_the_limit_is_refused_and_one_at_the_limit_is_read() {
        let temporary = temporary();
        temporary.folder().dir.write("five", b"12345").unwrap();
        let path = temporary.folder().path().join("five");
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert!(matches!(read(&path, 4), Err(FileError::TooLarge { max: 4, .. })));
    }

    #[test]
    fn the_key_of_the_cache_is_made_once() {
        let temporary = temporary();
        assert_eq!(temporary.folder().artefact_key([1; 32]).unwrap(), [1; 32]);
        assert_eq!(temporary.folder().artefact_key([2; 32]).unwrap(), [1; 32]);
    }

    #[cfg(unix)]
    #[test]
    fn a_new_data_folder_is_closed_to_others() {
        use cap_std::fs::PermissionsExt as _;
        let temporary = temporary();
        let mode = temporary.folder().dir.dir_metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
