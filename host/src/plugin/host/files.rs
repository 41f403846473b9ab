//! `files`: the plugin's own files of the tenant. A name's version is validated like a subject's.

use std::collections::BTreeMap;

use hospes_bindings::hospes::plugin::files::{File, Info, Page, Search};

use super::{Access, Answered, Invocation, invalid, limit};
use crate::blobs;
use crate::db::documents::Owner;
use crate::db::files::{self as rows, SUBJECT_KIND};
use crate::domain::grant::Grant;
use crate::ops::plugins::files::{BYTES_MAX, FILES_MAX, over_quota};
use crate::plugin::buffer::{self, Content, FileEntry};

const READ_MAX: usize = 20;
const WRITE_MAX: usize = 20;
const DELETE_MAX: usize = 100;
const PAGE_MAX: usize = 500;
/// Files that one invocation writes: each of them is brought to the disk before the commit.
const WRITTEN_MAX: usize = 100;
const FILE_BYTES_MAX: usize = 2 << 20;
const NAME_BYTES_MAX: usize = 240;
const SEGMENT_BYTES_MAX: usize = 100;

impl Invocation {
    pub(super) async fn files_read(&mut self, names: Vec<String>) -> Answered<Vec<Option<Vec<u8>>>> {
        self.enter(Grant::FilesOwn, "files.read-many", Access::Read(names.len()), READ_MAX)?;
        check_names(names.iter())?;
        self.files_load(&names).await?;
        let found: Vec<Option<buffer::File>> =
            names.iter().map(|name| self.buffer.files.get(name)?.now.clone()).collect();
        // What is too much is refused before it is read.
        let sizes = found.iter().flatten().map(|file| usize::try_from(file.size).unwrap_or(usize::MAX));
        self.move_bytes(sizes.fold(0, usize::saturating_add))?;
        let kept = found.iter().flatten().filter_map(|file| match &file.content {
            Content::Kept(blob) => Some((blob.clone(), u64::try_from(file.size).unwrap_or(0))),
            Content::New(_) => None,
        });
        let kept: Vec<blobs::Size> = kept.collect();
        let read =
            if kept.is_empty() { Vec::new() } else { self.core.blobs.read(self.blob_owner(), kept).await? };
        let mut read = read.into_iter();
        let content = |file: Option<buffer::File>| match file?.content {
            Content::New(content) => Some(content.to_vec()),
            Content::Kept(_) => read.next(),
        };
        Ok(found.into_iter().map(content).collect())
    }

    pub(super) async fn files_write(&mut self, files: Vec<File>) -> Answered<()> {
        self.enter(Grant::FilesOwn, "files.write-many", Access::Write(files.len()), WRITE_MAX)?;
        check_names(files.iter().map(|file| &file.name))?;
        self.move_bytes(files.iter().map(|file| file.content.len()).sum())?;
        for (position, file) in files.iter().enumerate() {
            if file.content.len() > FILE_BYTES_MAX {
                let message = format!("a file has at most {FILE_BYTES_MAX} bytes");
                return Err(invalid(format!("/{position}/content"), "too_long", message));
            }
        }
        let names: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
        self.files_load(&names).await?;
        // All are checked before one is kept.
        let mut after = self.buffer.files.clone();
        for File { name, content } in files {
            let size = i64::try_from(content.len()).unwrap_or(i64::MAX);
            let content = Content::New(content.into());
            if let Some(entry) = after.get_mut(&name) {
                entry.now = Some(buffer::File { content, size, modified_at: self.now });
            }
        }
        self.files_check_room(&after).await?;
        self.buffer.files = after;
        for name in names {
            self.buffer.touch(&(SUBJECT_KIND.to_owned(), name));
        }
        Ok(())
    }

    pub(super) async fn files_delete(&mut self, names: Vec<String>) -> Answered<()> {
        self.enter(Grant::FilesOwn, "files.delete-many", Access::Write(names.len()), DELETE_MAX)?;
        check_names(names.iter())?;
        self.files_load(&names).await?;
        for name in names {
            let entry = self.buffer.files.get_mut(&name);
            if entry.and_then(|entry| entry.now.take()).is_some() {
                self.buffer.touch(&(SUBJECT_KIND.to_owned(), name));
            }
        }
        Ok(())
    }

    pub(super) async fn files_query(&mut self, search: Search) -> Answered<Page> {
        // A page that is asked for counts whole, because it is read whole.
        let count = usize::try_from(search.limit).unwrap_or(usize::MAX);
        self.enter(Grant::FilesOwn, "files.query", Access::Read(count), PAGE_MAX)?;
        if search.limit == 0 {
            return Err(invalid("/limit", "limit", format!("a page has 1 to {PAGE_MAX} files")));
        }
        let Search { prefix, limit: most, cursor } = search;
        if !is_prefix(&prefix) {
            return Err(invalid("/prefix", "file_name", "no name of a file begins so"));
        }
        let after = cursor.unwrap_or_default();
        if !after.is_empty() && !is_name(&after) {
            return Err(invalid("/cursor", "cursor", "this is no cursor of an earlier page"));
        }
        // So many more that a page is full even if all that has changed goes out of it.
        let changed = self.buffer.files.iter().filter(|(_, entry)| entry.is_changed());
        let removed = u32::try_from(changed.filter(|(_, entry)| entry.now.is_none()).count());
        let fetch = most.saturating_add(1).saturating_add(removed.unwrap_or(u32::MAX));
        let owner = Owner { tenant: &self.enabled.tenant, plugin: &self.enabled.plugin };
        let mut reader = self.core.db.read(owner.tenant).await?;
        let listed = rows::scan(&mut reader, owner, (&prefix, &after), fetch).await?;
        drop(reader);
        let complete = listed.len() < usize::try_from(fetch).unwrap_or(usize::MAX);
        let end = listed.last().map(|row| row.name.clone());
        let mut infos: BTreeMap<String, Info> = listed.into_iter().map(info_of_row).collect();
        for (name, entry) in self.buffer.files.iter().filter(|(_, entry)| entry.is_changed()) {
            // What comes after the last row that was read is for a later page.
            let is_here = name.starts_with(&prefix)
                && *name > after
                && (complete || end.as_ref().is_some_and(|end| name <= end));
            match &entry.now {
                Some(file) if is_here => drop(infos.insert(name.clone(), info(name, file))),
                Some(_) => {}
                None => drop(infos.remove(name)),
            }
        }
        let more = infos.len() > count || !complete;
        let files: Vec<Info> = infos.into_values().take(count).collect();
        let cursor = files.last().filter(|_| more).map(|file| file.name.clone());
        Ok(Page { files, cursor })
    }

    /// Reads what is not known yet; what does not exist is known then, too.
    async fn files_load(&mut self, names: &[String]) -> Answered<()> {
        let known = &self.buffer.files;
        let missing: Vec<&str> =
            names.iter().filter(|name| !known.contains_key(*name)).map(String::as_str).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let owner = Owner { tenant: &self.enabled.tenant, plugin: &self.enabled.plugin };
        let mut reader = self.core.db.read(owner.tenant).await?;
        let found = rows::get_many(&mut reader, owner, &missing).await?;
        drop(reader);
        for row in found {
            self.buffer.see(&(SUBJECT_KIND.to_owned(), row.name.clone()), row.subject_version)?;
            let base = row.blob.zip(row.size);
            let now = base.clone().zip(row.modified_at).map(|((blob, size), modified_at)| buffer::File {
                content: Content::Kept(blob),
                size,
                modified_at,
            });
            self.buffer.files.insert(row.name, FileEntry { base, now });
        }
        Ok(())
    }

    /// Whether the plugin may keep what it has with these changes; the commit checks it again.
    async fn files_check_room(&mut self, after: &BTreeMap<String, FileEntry>) -> Answered<()> {
        let changed: Vec<&FileEntry> = after.values().filter(|entry| entry.is_changed()).collect();
        if changed.iter().filter(|entry| entry.now.is_some()).count() > WRITTEN_MAX {
            return Err(limit(format!("{WRITTEN_MAX} files written by one invocation")));
        }
        let owner = Owner { tenant: &self.enabled.tenant, plugin: &self.enabled.plugin };
        let mut reader = self.core.db.read(owner.tenant).await?;
        let mut sum = rows::usage(&mut reader, owner).await?;
        drop(reader);
        for entry in changed {
            sum.files += i64::from(entry.now.is_some()) - i64::from(entry.base.is_some());
            sum.bytes += entry.now.as_ref().map_or(0, |file| file.size);
            sum.bytes -= entry.base.as_ref().map_or(0, |(_, size)| *size);
        }
        if sum.files > FILES_MAX || sum.bytes > BYTES_MAX {
            return Err(over_quota().into());
        }
        Ok(())
    }

    fn blob_owner(&self) -> blobs::Owner {
        blobs::Owner { tenant: self.enabled.tenant.clone(), plugin: self.enabled.plugin.to_string() }
    }
}

fn info_of_row(row: rows::Listed) -> (String, Info) {
    let rows::Listed { name, size, modified_at } = row;
    let size = u64::try_from(size).unwrap_or(0);
    (name.clone(), Info { name, size, modified_at: modified_at.as_micros() })
}

fn info(name: &str, file: &buffer::File) -> Info {
    let size = u64::try_from(file.size).unwrap_or(0);
    Info { name: name.to_owned(), size, modified_at: file.modified_at.as_micros() }
}

fn check_names<'a>(names: impl Iterator<Item = &'a String>) -> Answered<()> {
    for (position, name) in names.enumerate() {
        if !is_name(name) {
            let shown: String = name.chars().take(60).filter(|letter| !letter.is_control()).collect();
            return Err(invalid(
                format!("/{position}"),
                "file_name",
                format!("`{shown}` is no name of a file"),
            ));
        }
    }
    Ok(())
}

/// A name is relative and has one form only: nothing in it leads up, is hidden, or is left out.
fn is_name(name: &str) -> bool {
    let is_segment = |part: &str| {
        (1..=SEGMENT_BYTES_MAX).contains(&part.len()) && !part.starts_with('.') && part.bytes().all(is_plain)
    };
    name.len() <= NAME_BYTES_MAX && name.split('/').all(is_segment)
}

/// Whether a name can begin so.
fn is_prefix(prefix: &str) -> bool {
    prefix.is_empty() || is_name(prefix) || is_name(&format!("{prefix}x"))
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_nowhere_else() {
        for good in ["a", "reports/2026-03.csv", "A/b/C_d.e", "a/".repeat(119).trim_end_matches('/')] {
            assert!(is_name(good), "{good}");
        }
        let long = "a".repeat(101);
        let deep = "a/".repeat(120) + "ab";
        let bad = [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../b",
            "a/..",
            "./a",
            "a/./b",
            "a//b",
            "a/",
            ".hidden",
            "a/.b",
            "a\0b",
            "a\\b",
            "C:",
            "~",
            "a b",
            "ä",
            "a\u{2215}b",
            "%2e%2e",
            "a\n",
            &long,
            &deep,
        ];
        for bad in bad {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
