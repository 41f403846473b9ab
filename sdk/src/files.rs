//! The plugin's own files of the tenant. What is about a person belongs in
//! [`documents`](crate::documents), under that person.

use crate::bindings::imports::hospes::plugin::files::{File, Search};
pub use crate::bindings::imports::hospes::plugin::files::{Info, Page};
use crate::{Result, host};

/// A file's content, if there is such a file.
pub fn read(name: &str) -> Result<Option<Vec<u8>>> {
    Ok(host::files::read_many(&[name.to_owned()])?.pop().flatten())
}

/// Writes a file of at most 2 MiB as a whole.
pub fn write(name: &str, content: impl Into<Vec<u8>>) -> Result<()> {
    host::files::write_many(&[File { name: name.to_owned(), content: content.into() }])
}

/// Removes a file; a missing one is no error.
pub fn delete(name: &str) -> Result<()> {
    host::files::delete_many(&[name.to_owned()])
}

/// One page of the files whose names begin with `prefix`, by name; at most 500.
pub fn list(prefix: &str, limit: u32, cursor: Option<String>) -> Result<Page> {
    host::files::query(&Search { prefix: prefix.to_owned(), limit, cursor })
}
