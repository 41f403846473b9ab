//! `files`: the plugin's own files.

use hospes_bindings::hospes::plugin::files::{File, Host, Page, Search};
use hospes_bindings::hospes::plugin::types;

use super::{Access, Answered, Invocation, answer};
use crate::domain::grant::Grant;
use crate::error::Error;

const READ_MAX: usize = 20;
const WRITE_MAX: usize = 20;
const DELETE_MAX: usize = 100;
const PAGE_MAX: usize = 500;

impl Host for Invocation {
    async fn read_many(
        &mut self,
        names: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<Option<Vec<u8>>>, types::Error>> {
        answer(self.no_files("files.read-many", Access::Read(names.len()), READ_MAX))
    }

    async fn write_many(&mut self, files: Vec<File>) -> wasmtime::Result<Result<(), types::Error>> {
        answer(self.no_files("files.write-many", Access::Write(files.len()), WRITE_MAX))
    }

    async fn delete_many(&mut self, names: Vec<String>) -> wasmtime::Result<Result<(), types::Error>> {
        answer(self.no_files("files.delete-many", Access::Write(names.len()), DELETE_MAX))
    }

    async fn query(&mut self, search: Search) -> wasmtime::Result<Result<Page, types::Error>> {
        let limit = usize::try_from(search.limit).unwrap_or(usize::MAX);
        answer(self.no_files("files.query", Access::Read(limit), PAGE_MAX))
    }
}

impl Invocation {
    /// The host keeps no files yet.
    fn no_files<T>(&mut self, what: &'static str, access: Access, most: usize) -> Answered<T> {
        self.enter(Grant::FilesOwn, what, access, most)?;
        Err(Error::unavailable("this host keeps no files").into())
    }
}
